"""Actors and critics: the networks of all agents stacked, so that one batched product serves any number of BSs.

Tensors have the networks in front, then the batch: ``(A, B, S, ...)``, where each of A networks serves S base stations.
There is a network for each of M base stations (A = M, S = 1), or one that they share (A = 1, S = M).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from irs_marl_env.spaces.layout import Layout
from irs_marl_env.training.settings import Args

# blocks of observations and states that not every scenario has: (K, 2) of users, (L,) of IRSs
USER_BLOCKS = ("velocity", "position")
IRS_BLOCKS = ("switching", "first_value", "last_value")


class StackedLinear(nn.Module):
    """A linear layer per agent: ``(A, R, fan_in) -> (A, R, fan_out)`` for R rows."""

    def __init__(self, stack: int, fan_in: int, fan_out: int, generator: torch.Generator, scale: float = 1.0) -> None:
        super().__init__()
        bound = scale / math.sqrt(max(fan_in, 1))
        self.weight = nn.Parameter((2 * torch.rand(stack, fan_in, fan_out, generator=generator) - 1) * bound)
        self.bias = nn.Parameter(torch.zeros(stack, 1, fan_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class Block(nn.Module):
    """A linear layer, LayerNorm if wanted, and ReLU, per agent."""

    def __init__(self, stack: int, fan_in: int, width: int, norm: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = StackedLinear(stack, fan_in, width, generator)
        self.gain = nn.Parameter(torch.ones(stack, 1, width)) if norm else None
        self.shift = nn.Parameter(torch.zeros(stack, 1, width)) if norm else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.finish(self.linear(x))

    def finish(self, y: torch.Tensor) -> torch.Tensor:
        """What follows the linear layer, ``(A, R, width)``."""
        if self.gain is not None and self.shift is not None:
            width = y.shape[-1:]
            if len(y) == 1:  # torch has one kernel for gain and shift too, if they are those of all rows
                y = F.layer_norm(y, width, self.gain.view(width), self.shift.view(width))
            else:
                y = torch.addcmul(self.shift, F.layer_norm(y, width), self.gain)
        return F.relu_(y)


def mlp(stack: int, fan_in: int, args: Args, generator: torch.Generator) -> nn.Sequential:
    """The hidden layers of a multilayer perceptron per agent."""
    widths = [fan_in] + [args.width] * args.depth
    pairs = itertools.pairwise(widths)
    return nn.Sequential(*(Block(stack, a, b, args.layer_norm, generator) for a, b in pairs))


class SetTrunk(nn.Module):
    """DeepSets over pairs of IRS and user: features of pairs, of IRSs and of the whole, equivariant in both.

    A user is there for one base station at most. Where base stations share a network, a pair is worked out once, for
    the base station of its user, and not for the others as well.

    Args:
        stack: number of networks, A.
        features: of a pair, F.
        pool: factor on the mean over users, so that its size does not depend on the number of cells.
        args: settings; the width W of hidden layers and whether they have LayerNorm.
        generator: of the initial weights.
    """

    def __init__(self, stack: int, features: int, pool: float, args: Args, generator: torch.Generator) -> None:
        super().__init__()
        self.pool = pool
        width = args.width // 2  # there are many pairs: they decide the cost
        self.pair = nn.Sequential(
            Block(stack, features, width, False, generator),
            Block(stack, width, width, args.layer_norm, generator),
        )
        self.irs = Block(stack, 2 * width, args.width, args.layer_norm, generator)

    def forward(
        self, pairs: torch.Tensor, present: torch.Tensor, beside: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Features of pairs, of IRSs and of the whole.

        Args:
            pairs: ``(A, B, K, L, F)``, or ``(1, B, K, L, F)`` where they are the same for all networks.
            present: ``(A, B, S, K)`` 0/1, which users are there for which base station.
            beside: ``(A, B K L, W / 2)``, what comes to the first linear layer of each network beside ``pairs``.

        Returns:
            ``(A, B, K, L, W / 2)``, ``(A, B, S, L, W)`` and ``(A, B, S, W / 2)``.

        The features of pairs are those of users, present or not; IRSs and the whole know of the present ones alone.
        """
        A, B, S, K = present.shape
        L = pairs.shape[3]
        first: Any = self.pair[0]
        y = first.linear(pairs.reshape(len(pairs), B * K * L, -1).expand(A, -1, -1))
        pair = self.pair[1](first.finish(y if beside is None else y + beside))
        width = pair.shape[-1]
        summed = torch.bmm(present.reshape(A * B, S, K) * (self.pool / K), pair.view(A * B, K, L * width))
        users = summed.view(A, B, S, L, width)
        whole = users.mean(3)
        linear: Any = self.irs.linear
        near, far = linear.weight.split(width, 1)  # what it takes of an IRS's users and of all of them
        of_whole = torch.baddbmm(linear.bias, whole.view(A, B * S, width), far)
        irs = torch.bmm(users.view(A, B * S * L, width), near).view(A, B * S, L, -1) + of_whole[:, :, None]
        irs = self.irs.finish(irs.view(A, B * S * L, -1))
        return pair.view(A, B, K, L, width), irs.view(A, B, S, L, -1), whole


@dataclass(frozen=True)
class Sizes:
    """What networks need to know of an environment."""

    num_bs: int
    num_users: int
    num_irs: int
    observation: Layout
    action: Layout
    state: Layout

    @classmethod
    def of(cls, env: Any) -> Sizes:
        """Sizes and layouts of an environment, a batched or a single one."""
        s = env.scenario
        seen = getattr(env.observation_codec, "layout", None)
        if seen is None:  # an observation of one's own without named blocks
            seen = Layout({"observation": (env.observation_codec.size,)})
        return cls(s.num_bs, s.num_users, s.num_irs, seen, env.action_codec.layout, env.state_encoder.layout)

    def own_pairs(self) -> torch.Tensor:
        """Where the features of an agent's pairs stand in what :meth:`own_view` gives: ``(K, L, F)``, F at least 6."""
        size, K, L = self.observation.size, self.num_users, self.num_irs
        own, direct, over_irs, held = (
            _rows(self.observation, n) for n in ("own_user", "direct_gain", "irs_gain", "held")
        )
        means, rivals = size + torch.arange(K), size + K + torch.arange(L)
        return torch.stack(
            [
                over_irs.T,
                *(users[:, None].expand(K, L) for users in (own, direct, means)),
                *(irs.expand(K, L) for irs in (held, rivals)),
                *_further(self.observation, K, L),
            ],
            -1,
        )

    def own_view(self, obs: torch.Tensor) -> torch.Tensor:
        """Observations ``(..., D_o)``, means over IRSs of the users' gains, and whether a rival holds an IRS."""
        lead, K, L = obs.shape[:-1], self.num_users, self.num_irs
        over_irs, rho = (obs[..., self.observation.slices[name]] for name in ("irs_gain", "rho"))
        means = over_irs.unflatten(-1, (L, K)).mean(-2)
        rivals = rho.unflatten(-1, (-1, L)).amax(-2) if self.num_bs > 1 else obs.new_zeros(*lead, L)
        return torch.cat([obs, means, rivals], -1)

    def own_look(self, view: torch.Tensor, pairs: torch.Tensor) -> Look:
        """What networks take of observations ``(A, B, S, D_o)``; ``pairs`` is :meth:`own_pairs` on their device."""
        A, B, S, _ = view.shape
        present = view[..., self.observation.slices["own_user"]]
        rows = first_rows(A, B, S, view.device)
        for station in range(1, S):  # argmax is slow over so few
            rows = torch.add(rows, present[:, :, station, :, None, None].long(), alpha=station)
        return Look(view, gathered(self.own_view(view), rows, pairs), present, rows)

    def action_pairs(self) -> torch.Tensor:
        """Where the 3 features of pairs stand in a structured action: ``(K, L, 3)``."""
        bids, focus, powers = (_rows(self.action, name) for name in ("bids", "focus", "powers"))
        focus = focus.T
        return torch.stack([focus, powers[:, None].expand_as(focus), bids.expand_as(focus)], -1)

    def state_pairs(self) -> torch.Tensor:
        """Where the features of pairs stand in a global state: ``(K, L, F)``, F at least 4 M + 2."""
        named = {name: _rows(self.state, name) for name in self.state.shapes}
        users = torch.cat([named["direct_gain"], named["cell"], named["position"].T])
        K, L = self.num_users, self.num_irs
        return torch.stack(
            [
                *named["irs_gain"].mT,
                *(at[:, None].expand(K, L) for at in users),
                *(at.expand(K, L) for at in named["owner"]),
                *_further(self.state, K, L, of_users=("velocity",)),
            ],
            -1,
        )


def _rows(layout: Layout, name: str) -> torch.Tensor:
    """Where the entries of a block stand, in the block's shape."""
    return layout.take(torch.arange(layout.size), name)


def _further(layout: Layout, K: int, L: int, of_users: tuple[str, ...] = USER_BLOCKS) -> list[torch.Tensor]:
    """Where the entries of blocks that not every scenario has stand, ``(K, L)`` for each feature of a pair."""
    users = [x for name in of_users if name in layout.shapes for x in _rows(layout, name).T]
    irss = [_rows(layout, name) for name in IRS_BLOCKS if name in layout.shapes]
    return [*(x[:, None].expand(K, L) for x in users), *(x.expand(K, L) for x in irss)]


class Look(NamedTuple):
    """What networks take of observations or states, whatever the actions are.

    Attributes:
        view: ``(A, B, S, D)``.
        pairs: ``(A, B, K, L, F)``, features of pairs of user and IRS; ``None`` for an mlp. Central critics see the same
            state: ``(1, B, K, L, F)``, and a view ``(1, B, 1, D)``.
        present: ``(A, B, S, K)`` 0/1, which users are there; ``None`` for an mlp.
        rows: ``(A, B, K, 1, 1)``, or ``(A, B, 1, 1, 1)`` for all users alike: which of the ``A B S`` rows the pairs
            of a user are taken from; ``None`` for an mlp.
    """

    view: torch.Tensor
    pairs: torch.Tensor | None = None
    present: torch.Tensor | None = None
    rows: torch.Tensor | None = None


def by_network(x: torch.Tensor, stack: int) -> torch.Tensor:
    """``(M, B, D)`` to ``(A, B, S, D)``."""
    return x.transpose(0, 1)[None] if stack == 1 else x[:, :, None]


def by_agent(y: torch.Tensor) -> torch.Tensor:
    """The inverse of :func:`by_network`."""
    return y[0].transpose(0, 1) if len(y) == 1 else y[:, :, 0]


@lru_cache(maxsize=8)
def first_rows(A: int, B: int, S: int, device: torch.device) -> torch.Tensor:
    """The first of S rows of every network and sample, ``(A, B, 1, 1, 1)``."""
    with torch.inference_mode(False):
        return torch.arange(0, A * B * S, S, device=device).view(A, B, 1, 1, 1)


def gathered(x: torch.Tensor, rows: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Features of pairs, ``(A, B, K, L, F)``.

    Args:
        x: ``(A, B, S, D)``.
        rows: of x that they are taken from, see :class:`Look`.
        index: where they stand in a row, ``(K, L, F)``.
    """
    return x.contiguous().take(torch.add(index, rows, alpha=x.shape[-1]))  # take is ten times as slow on other strides


class Actor(nn.Module):
    """Observations ``(M, B, D_o)`` to actions ``(M, B, D_a)`` in [-1, 1] and the values before tanh.

    Attributes:
        span: ``(D_a,)`` bound of each entry of an action.
    """

    span: torch.Tensor
    pairs: torch.Tensor

    def __init__(self, sizes: Sizes, args: Args, generator: torch.Generator) -> None:
        super().__init__()
        self.sizes, self.stack, width = sizes, 1 if args.share_actor else sizes.num_bs, args.width
        span = torch.ones(sizes.action.size)
        if "focus" in sizes.action.slices:
            span[sizes.num_irs :] = args.decoder_scale
            span[sizes.action.slices.get("total_power", slice(0))] = 1.0  # all of it, to be silent or at Pmax
        self.register_buffer("span", span, persistent=False)

        def head(fan_in: int, fan_out: int) -> StackedLinear:
            return StackedLinear(self.stack, fan_in, fan_out, generator, args.actor_init)

        if args.net == "mlp":
            self.trunk: nn.Module = mlp(self.stack, sizes.observation.size, args, generator)
            self.heads = nn.ModuleDict(
                {"action": head(width if args.depth else sizes.observation.size, sizes.action.size)}
            )
        else:
            self.register_buffer("pairs", sizes.own_pairs(), persistent=False)
            self.trunk = SetTrunk(self.stack, self.pairs.shape[-1], sizes.num_bs, args, generator)
            heads = {"bids": width, "focus": width + width // 2, "powers": 2 * (width // 2), "regularizer": width // 2}
            if "total_power" in sizes.action.shapes:
                heads["total_power"] = width // 2
            self.heads = nn.ModuleDict({name: head(fan_in, 1) for name, fan_in in heads.items()})
        if "total_power" in sizes.action.slices:  # it begins near Pmax, where everybody is without power control
            last: Any = self.heads["action" if args.net == "mlp" else "total_power"]
            with torch.no_grad():
                last.bias[..., -1] = 1.5

    def look(self, obs: torch.Tensor) -> Look:
        """What the networks take of observations ``(M, B, D_o)``."""
        view = by_network(obs, self.stack)
        return self.sizes.own_look(view, self.pairs) if isinstance(self.trunk, SetTrunk) else Look(view)

    def forward(self, obs: torch.Tensor | Look) -> tuple[torch.Tensor, torch.Tensor]:
        look = obs if isinstance(obs, Look) else self.look(obs)
        raw = by_agent(self._raw(look))
        return torch.tanh(raw) * self.span, raw

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions ``(E, M, D_a)`` for observations ``(E, M, D_o)``, without exploration."""
        with torch.inference_mode():
            action, _ = self(torch.from_numpy(observations).to(self.span.device).transpose(0, 1))
        return action.transpose(0, 1).cpu().numpy()

    def _raw(self, look: Look) -> torch.Tensor:
        """The values before tanh, ``(A, B, S, D_a)``."""
        if look.pairs is None or look.present is None:
            A, B, S, D = look.view.shape
            return self.heads["action"](self.trunk(look.view.reshape(A, B * S, D))).view(A, B, S, -1)
        pair, irs, whole = self.trunk(look.pairs, look.present)
        A, B, S, L, _ = irs.shape
        heads: Any = self.heads
        bids, focus, powers, regularizer = (heads[name] for name in ("bids", "focus", "powers", "regularizer"))
        near, far = focus.weight.split([pair.shape[-1], irs.shape[-1]], 1)  # what it takes of a pair and of its IRS
        own, rest = powers.weight.chunk(2, 1)  # of a user's mean over IRSs and of the whole
        of_pairs, of_irs, of_whole = pair.flatten(1, 3), irs.flatten(1, 3), whole.flatten(1, 2)
        focus_of_pairs = torch.bmm(of_pairs, near).view(A, B, 1, -1, L).mT  # (A, B, 1, L, K)
        focus_of_irs = torch.baddbmm(focus.bias, of_irs, far).view(A, B, S, L, 1)
        powers_of_users = torch.bmm(of_pairs, own / L).view(A, B, 1, -1, L).sum(4)
        powers_of_all = torch.baddbmm(powers.bias, of_whole, rest).view(A, B, S, 1)
        named = {
            "bids": bids(of_irs).view(A, B, S, L),
            "focus": torch.addcmul(focus_of_irs, look.present[..., None, :], focus_of_pairs).flatten(3),
            "powers": torch.addcmul(powers_of_all, look.present, powers_of_users),
            "regularizer": regularizer(of_whole).view(A, B, S, 1),
        }
        if "total_power" in self.heads:
            named["total_power"] = heads["total_power"](of_whole).view(A, B, S, 1)
        return torch.cat([named[name] for name in self.sizes.action.shapes], -1)


class Critic(nn.Module):
    """Q of every agent, ``(M, B)``.

    Args:
        sizes: of the environment.
        central: whether it sees the global state and all actions (MADDPG) instead of an agent's own.
        args: settings.
        generator: of the initial weights.
    """

    pairs: torch.Tensor
    action_pairs: torch.Tensor

    def __init__(self, sizes: Sizes, central: bool, args: Args, generator: torch.Generator) -> None:
        super().__init__()
        self.sizes, self.central = sizes, central
        self.stack = 1 if args.share_critic and not central else sizes.num_bs
        M, stack, joint = sizes.num_bs, self.stack, sizes.num_bs if central else 1
        if args.net == "mlp":
            fan_in = joint * sizes.action.size + (sizes.state.size if central else sizes.observation.size)
            self.trunk: nn.Module = mlp(stack, fan_in, args, generator)
            self.head: nn.Module = StackedLinear(stack, args.width if args.depth else fan_in, 1, generator)
        else:
            self.register_buffer("pairs", sizes.state_pairs() if central else sizes.own_pairs(), persistent=False)
            acted = [m * sizes.action.size + sizes.action_pairs() for m in range(joint)]
            self.register_buffer("action_pairs", torch.cat(acted, -1), persistent=False)
            features = self.pairs.shape[-1] + self.action_pairs.shape[-1]
            rest = sizes.action.size - sizes.action.slices["regularizer"].start  # entries of the whole BS
            self.trunk = SetTrunk(stack, features, 1 if central else M, args, generator)
            self.head = nn.Sequential(
                Block(stack, args.width + args.width // 2 + joint * rest, args.width, args.layer_norm, generator),
                StackedLinear(stack, args.width, 1, generator),
            )

    def look(self, view: torch.Tensor) -> Look:
        """What the networks take of observations ``(M, B, D_o)``, or central critics of states ``(B, D_s)``."""
        view = view[None, :, None] if self.central else by_network(view, self.stack)
        if not isinstance(self.trunk, SetTrunk):
            return Look(view)
        if not self.central:
            return self.sizes.own_look(view, self.pairs)
        B, K = view.shape[1], self.sizes.num_users
        rows = first_rows(1, B, 1, view.device)
        return Look(view, gathered(view, rows, self.pairs), view.new_ones(self.stack, B, 1, K), rows)

    def forward(
        self, view: torch.Tensor | Look, action: torch.Tensor, replayed: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Values of actions.

        Args:
            view: observations, or states of central critics, as for :meth:`look`; or what that gave.
            action: own actions ``(M, B, D_a)``.
            replayed: actions ``(M, B, D_a)`` that a central critic sees of the other agents instead of ``action``.
        """
        look = view if isinstance(view, Look) else self.look(view)
        others = action if replayed is None else replayed
        if look.pairs is None or look.present is None or look.rows is None:
            seen = self._seen(action, others)
            x = self.trunk(torch.cat([look.view.expand(*seen.shape[:3], -1), seen], -1).flatten(1, 2))
            return by_agent(self.head(x).view(seen.shape[:3]))
        beside = self._own_change(action - others) if self.central and replayed is not None else None
        alike = others.transpose(0, 1).flatten(1)[None, :, None] if self.central else by_network(action, self.stack)
        pairs = torch.cat([look.pairs, gathered(alike, look.rows, self.action_pairs)], -1)
        _, irs, whole = self.trunk(pairs, look.present, beside)
        of_bs = self.sizes.action.slices["regularizer"].start  # from there on entries are of the whole BS
        rest = self._seen(action[..., of_bs:], others[..., of_bs:])
        x = torch.cat([irs.mean(3), whole, rest], -1).flatten(1, 2)
        return by_agent(self.head(x).view(rest.shape[:3]))

    def _seen(self, own: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """What each network sees of entries of actions ``(M, B, D)``: ``(A, B, S, D)``, or with a central critic the
        agent's own and the others' in the order of the agents, ``(M, B, 1, M D)``.
        """
        if not self.central:
            return by_network(own, self.stack)
        mine = torch.eye(len(own), dtype=torch.bool, device=own.device)[:, None, :, None]
        return torch.where(mine, own[:, :, None], others.transpose(0, 1)[None]).flatten(2)[:, :, None]

    def _own_change(self, change: torch.Tensor) -> torch.Tensor:
        """What a change of the agents' own actions ``(M, B, D_a)`` changes behind the first linear layer of their
        central critics, ``(M, B K L, W / 2)``: all else that they see is the same, and is worked out once for all.
        """
        M, B, _ = change.shape
        trunk: Any = self.trunk
        features = self.action_pairs.shape[-1] // M  # of a pair in one action; those of agent 0 come first
        rows = first_rows(M, B, 1, change.device)
        of_pairs = gathered(change[:, :, None], rows, self.action_pairs[..., :features]).view(M, -1, features)
        of_actions = trunk.pair[0].linear.weight[:, -M * features :].unflatten(1, (M, features))
        return torch.bmm(of_pairs, of_actions.diagonal(dim1=0, dim2=1).permute(2, 0, 1))
