"""Bids that are computed and not learned: a critic of a BS's own sets of IRSs, and the auction of what it expects.

Without interference between cells nothing but the set of IRSs that a BS wins decides its own rate. So its critic
Q(o, S), of its own observation and a set S, is a regression on its own returns: no other agent is in the target. A bid
for IRS l is what l is expected to add to the set T that the BS wins of the others,

    b_l = E[Q(o, T + l) - Q(o, T)],    T = {j: b_j > b'_j},

where b' are the highest bids of the rivals. They are not known; a sample of them is remembered. A bid decides nothing
unless the rivals' is about as high, so that samples weigh the more the nearer their b'_l is to b_l, and the more alike
the number of own users was. Bids and samples are found in turns, beginning with the mean of first and last marginal,
(Q({l}) - Q({}) + Q(all) - Q(all but l)) / 2. With more than 4 IRSs that mean is the bid, for which 2 L + 2 sets are
valued.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from irs_marl_env.training.learner import GradientLearner
from irs_marl_env.training.networks import Block, Sizes, StackedLinear
from irs_marl_env.training.settings import Args

MOST_ENUMERATED = 4  # IRSs of which every set is valued; of more, 2 L + 2 sets
ROUNDS = 3  # of finding bids and what is won with them
SAMPLES = 512  # of rivals' bids
WIDTH = 1.0  # of what counts as near, in standard deviations of the samples
EVERY = 50  # updates between looks at the bids of all


class Seen(NamedTuple):
    """What a critic takes of observations, whatever the set is; R rows for each of A networks.

    Only the users that are there count: U of them, those of all rows one after the other. Where A networks have unequal
    numbers of them, the last ones of some stand for nobody, with a ``present`` of 0.

    Attributes:
        pairs: ``(A, L, U, W)`` features of every pair of IRS and user.
        users: ``(A, U, F)`` what is known of users without an IRS.
        present: ``(A, U, 1)`` 0/1, which of them are there.
        row: ``(A, U)`` whose they are, among all A R.
        load: ``(A, R)`` how many users BSs have of their own: 0 for an equal share of all, -1 for none.
        marginals: ``(A, R, 2, L)`` own first and last marginal rates where they are observed, else ``None``.
    """

    pairs: torch.Tensor
    users: torch.Tensor
    present: torch.Tensor
    row: torch.Tensor
    load: torch.Tensor
    marginals: torch.Tensor | None


def own_users(present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which users are there in ``present (A, R, K)``: their places ``(A, U)`` among all A R K, and 0/1 ``(A, U)``, as
    in :class:`Seen`."""
    there = present.flatten(1) > 0
    if len(there) == 1:
        places = there[0].nonzero().T
        return places, torch.ones_like(places, dtype=present.dtype)
    counts = there.sum(1)
    places = there.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : int(counts.max())]
    first = there.shape[1] * torch.arange(len(there), device=present.device)[:, None]
    return first + places, (torch.arange(places.shape[1], device=present.device) < counts[:, None]).to(present.dtype)


def at(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Entries ``(A, U, F)`` of ``x (..., F)`` at places ``(A, U)`` among all that stand in front of the last axis."""
    return x.reshape(-1, x.shape[-1]).index_select(0, places.flatten()).view(*places.shape, x.shape[-1])


def sums_of_rows(x: torch.Tensor, row: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """``x (A, U, F)`` added up by row ``(A, U)``, to ``(A, R, F)`` for a shape ``(A, R)``."""
    zeros = x.new_zeros(shape[0] * shape[1], x.shape[-1])
    return zeros.index_add(0, row.flatten(), x.flatten(0, 1)).view(*shape, x.shape[-1])


class SetCritic(nn.Module):
    """Q(o, S): the own return of a BS that holds the set S, a sum over its users. It knows no order of users and IRSs.

    Every pair of user and IRS gets features; those of the IRSs in the set are added up for each user, and an estimate
    for each user follows from its own features and the sum of those of all. Where a BS observes its first and last
    marginal rates (``observation="values"``), the network has only to learn what they leave open: added to it is what
    they say of a set S, between the first ones (of a single IRS) and the last ones (of all), times a learned factor,

        sum of l in S:  first_l + (last_l - first_l) (|S| - 1) / (2 (L - 1)),

    which for two IRSs is exactly by how much the rate with S exceeds that without any.

    Args:
        sizes: of the environment.
        args: settings; half the width is that of the hidden layers.
        generator: of the initial weights.
    """

    BY_USER, BY_IRS = ("direct_gain", "velocity", "position"), ("first_value", "last_value", "switching", "held")

    def __init__(self, sizes: Sizes, args: Args, generator: torch.Generator) -> None:
        super().__init__()
        self.sizes, self.stack = sizes, 1 if args.share_critic else sizes.num_bs
        blocks = sizes.observation.shapes
        self.by_user = [name for name in self.BY_USER if name in blocks]
        own = [name for name in self.BY_IRS if name in blocks]
        self.by_irs = [name for name in own if name != "held" or "switching" in own]  # held matters to what idles
        users = 1 + sum(blocks[name][1] if len(blocks[name]) > 1 else 1 for name in self.by_user)
        stack, width, norm = self.stack, args.width // 2, args.layer_norm
        self.pair = Block(stack, 1 + users + len(self.by_irs), width, False, generator)
        self.user = nn.Sequential(
            Block(stack, width + users, width, norm, generator), Block(stack, width, width, False, generator)
        )
        self.head = nn.Sequential(
            Block(stack, 2 * width + users, width, norm, generator), StackedLinear(stack, width, 1, generator)
        )
        self.trust = nn.Parameter(torch.ones(stack, 1)) if {"first_value", "last_value"} <= set(own) else None

    def look(self, obs: torch.Tensor) -> Seen:
        """What the critic takes of observations ``(M, B, D_o)``."""
        view = obs.reshape(self.stack, -1, obs.shape[-1])  # one base station's rows after the other's
        M, K, L = self.sizes.num_bs, self.sizes.num_users, self.sizes.num_irs
        A, R, _ = view.shape

        def block(name: str, *shape: int) -> torch.Tensor:
            return view[..., self.sizes.observation.slices[name]].reshape(A, R, *shape)

        own = block("own_user", K)
        places, present = own_users(own)
        row, load = places // K, own.sum(2, keepdim=True) * (M / K) - 1
        users = [at(load, row), *(at(block(name, K, -1), places) for name in self.by_user)]
        of_pairs = [at(block("irs_gain", L, K).mT, places).mT[..., None]]  # (A, L, U, 1)
        of_pairs += [x[:, None].expand(-1, L, -1, -1) for x in users]
        of_pairs += [at(block(name, L), row).mT[..., None] for name in self.by_irs]
        pairs = self.pair(torch.cat(of_pairs, -1).flatten(1, 2)).unflatten(1, (L, places.shape[1]))
        marginals = None
        if self.trust is not None:
            marginals = torch.stack([block("first_value", L), block("last_value", L)], 2)
        return Seen(pairs, torch.cat(users, -1), present[..., None], row, load[..., 0], marginals)

    def forward(self, seen: Seen, held: torch.Tensor) -> torch.Tensor:
        """Q ``(A, R)`` of sets ``held (A, R, L)`` 0/1."""
        shape, row = (held.shape[0], held.shape[1]), seen.row
        over_irs = (seen.pairs * at(held, row).mT[..., None]).sum(1)
        user = self.user(torch.cat([over_irs, seen.users], -1)) * seen.present
        cell = sums_of_rows(user, row, shape) * (self.sizes.num_bs / self.sizes.num_users)
        rates = self.head(torch.cat([user, at(cell, row), seen.users], -1)) * seen.present
        q = sums_of_rows(rates, row, shape)[..., 0]
        if seen.marginals is None or self.trust is None:
            return q
        first, last = seen.marginals.unbind(2)
        others = (held.sum(-1, keepdim=True) - 1) / (2 * max(1, held.shape[-1] - 1))
        return q + self.trust * (held * (first + (last - first) * others)).sum(-1)


def all_sets(num_irs: int, device: Any = "cpu") -> torch.Tensor:
    """Every set of IRSs ``(2^L, L)`` 0/1; the empty one is the first and that of all the last."""
    sets = list(itertools.product((0.0, 1.0), repeat=num_irs))
    return torch.tensor(sets, device=device).view(2**num_irs, num_irs)


def mean_marginal(none: torch.Tensor, alone: torch.Tensor, others: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Mean of first and last marginal ``(..., L)``, from values of no IRS, of one alone, of all others and of all."""
    return (alone - none + whole - others) / 2


def mean_marginals(q: torch.Tensor) -> torch.Tensor:
    """Mean of first and last marginal of every IRS, ``(..., L)``, from values of all sets ``(..., 2^L)``."""
    last = q.shape[-1] - 1
    alone = 2 ** torch.arange(last.bit_length() - 1, -1, -1, device=q.device)  # the rows of the sets of one IRS
    return mean_marginal(q[..., :1], q[..., alone], q[..., last - alone], q[..., -1:])


def pivotal_marginals(q: torch.Tensor, bids: torch.Tensor, rivals: torch.Tensor, alike: torch.Tensor) -> torch.Tensor:
    """What each IRS is expected to add to the set that is won of the others, if the bid for it just decides.

    Args:
        q: ``(..., 2^L)`` value of every set of :func:`all_sets`.
        bids: ``(..., L)`` own ones.
        rivals: ``(S, L)`` samples of the highest of the rivals.
        alike: ``(..., S)`` logarithm of the weight of each sample, for other reasons than its bids.

    Returns:
        ``(..., L)``.
    """
    rows = 2 ** torch.arange(rivals.shape[1] - 1, -1, -1, device=q.device)  # what an IRS adds to the row of a set
    won = (bids[..., None, :] > rivals) * rows  # (..., S, L)
    added = []
    for irs, row in enumerate(rows):
        others = won.sum(-1) - won[..., irs]
        marginal = q.gather(-1, others + row) - q.gather(-1, others)
        weights = torch.softmax(alike + nearness(bids[..., irs], rivals[:, irs]), -1)
        added.append((weights * marginal).sum(-1))
    return torch.stack(added, -1)


def nearness(x: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
    """Logarithm of a Gaussian weight ``(..., S)`` of samples ``(S,)`` around each of ``x (...)``."""
    return -0.5 * ((x[..., None] - samples) / (WIDTH * samples.std() + 1e-6)).square()


class ValueBids(nn.Module):
    """A policy ``(M, B, D_o)`` to actions ``(M, B, D_a)``: bids from a critic, all other entries neutral.

    Attributes:
        critic: the network.
        rivals: ``(S, L)`` samples of the highest bids of all other BSs, in the unit of the reward.
        loads: ``(S,)`` how many users of its own the BS had whose rivals these were, see :meth:`SetCritic.look`.
        span: ``(D_a,)`` bounds of exploration: bids alone.
        neutral: ``(D_a,)`` the action that favours nobody: bids of 0, at Pmax.
    """

    span: torch.Tensor
    neutral: torch.Tensor
    rivals: torch.Tensor
    loads: torch.Tensor

    def __init__(self, sizes: Sizes, args: Args, generator: torch.Generator) -> None:
        super().__init__()
        self.sizes, self.scale = sizes, args.reward_scale
        self.critic = SetCritic(sizes, args, generator)
        span = torch.zeros(sizes.action.size)
        span[sizes.action.slices["bids"]] = 1.0
        self.register_buffer("span", span, persistent=False)
        neutral = torch.zeros(sizes.action.size)
        neutral[sizes.action.slices.get("total_power", slice(0))] = 1.0  # of power_control: Pmax
        self.register_buffer("neutral", neutral, persistent=False)
        self.register_buffer("rivals", torch.zeros(SAMPLES, sizes.num_irs))
        self.register_buffer("loads", torch.zeros(SAMPLES))

    def values(self, obs: torch.Tensor) -> torch.Tensor:
        """Expected marginal values ``(M, B, L)`` of the IRSs, in the unit of the reward."""
        seen, L = self.critic.look(obs), self.sizes.num_irs

        def q(sets: torch.Tensor) -> torch.Tensor:  # (C, L) or (A, R, C, L) to (A, R, C)
            several = sets.expand(*seen.load.shape, -1, -1)
            return torch.stack([self.critic(seen, one) for one in several.unbind(2)], -1)

        if L <= MOST_ENUMERATED:
            of_all = q(all_sets(L, obs.device)) / self.scale
            bids, alike = mean_marginals(of_all), nearness(seen.load, self.loads)
            for _ in range(ROUNDS):
                bids = pivotal_marginals(of_all, bids, self.rivals, alike)
        else:
            one = torch.eye(L, device=obs.device)
            bids = mean_marginal(q(0 * one[:1]), q(one), q(1 - one), q(1 + 0 * one[:1])) / self.scale
        return bids.reshape(*obs.shape[:2], L)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Actions ``(M, B, D_a)``; only the order of bids counts, so that any increasing map into [-1, 1] does."""
        values = self.values(obs)
        action = self.neutral.repeat(*values.shape[:2], 1)
        action[..., self.sizes.action.slices["bids"]] = values / (1 + values.abs())
        return action

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions ``(E, M, D_a)`` for observations ``(E, M, D_o)``, without exploration."""
        with torch.inference_mode():
            action = self(torch.from_numpy(observations).to(self.span.device).transpose(0, 1))
        return action.transpose(0, 1).cpu().numpy()


class OwnValueLearner(GradientLearner):
    """The regression of own returns on own observations and the sets that were won.

    Args:
        sizes: of the environment.
        args: settings.
        gamma: discount inside a return of several slots.
        device: of the networks.
    """

    remembers = ("obs", "won", "reward")

    def __init__(self, sizes: Sizes, args: Args, gamma: float, device: Any = "cpu") -> None:
        generator = torch.Generator().manual_seed(args.seed)
        actor = ValueBids(sizes, args, generator).to(device)
        super().__init__({"actor": actor}, {"actor": args.critic_lr}, args, gamma, device)
        self.actor = actor

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Neutral actions ``(E, M, D_a)``: with noise on equal bids owners are random, and every set is seen."""
        return np.tile(self.actor.neutral.cpu().numpy(), (*observations.shape[:2], 1))

    def update(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        """One step of the critic down the square of Q(o, S) - return; now and then a look at the bids of all.

        Args:
            batch: ``obs (B, M, D_o)``, ``won (B, M, L)`` the sets that the bids of that slot won, 0/1, and ``reward
                (B, M)`` the returns from the slot on in which these sets were held.

        Returns:
            The loss and the mean Q.

        Raises:
            Diverged: the loss is not finite; the networks are as they were.
        """
        critic, obs = self.actor.critic, batch["obs"].transpose(0, 1)
        won = batch["won"].transpose(0, 1).reshape(critic.stack, -1, batch["won"].shape[-1])
        q = critic(critic.look(obs), won).view(obs.shape[:2])
        error = q - self.args.reward_scale * batch["reward"].T
        loss, q_mean = self.descend("actor", error.square().mean(1).sum(), q.mean())
        if self.updates % EVERY == 0:
            self.look_around(obs)
        self.follow()
        self.updates += 1
        return {"critic_loss": loss, "q": q_mean / self.args.reward_scale}

    @torch.no_grad()
    def look_around(self, obs: torch.Tensor) -> None:
        """Remember what rivals bid, from the bids of all BSs in observations ``(M, B, D_o)`` of the same slots."""
        bids, loads = self.actor.values(obs), self.actor.critic.look(obs).load.reshape(obs.shape[:2])
        M = len(bids)
        highest = torch.full_like(bids, -1e6)  # (M, B, L)
        if M > 1:
            others = [[j for j in range(M) if j != m] for m in range(M)]
            highest = bids[torch.tensor(others, device=obs.device)].amax(1)
        some = torch.arange(SAMPLES, device=obs.device) % loads.numel()  # all BSs of a slot, then those of the next one
        average: Any = self.targets["actor"]
        for actor in (self.actor, average):
            actor.rivals.copy_(highest.transpose(0, 1).flatten(0, 1)[some])
            actor.loads.copy_(loads.T.flatten()[some])
