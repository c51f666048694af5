"""Actors and critics: the networks of all agents stacked, so that one batched product serves any number of BSs.

Tensors have the agents in front: ``(A, B, ...)`` for A networks and a batch of B.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
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
        y = self.linear(x)
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

    The batch stands behind IRSs and users, so that sums over these add up long pieces of memory.

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

    def forward(self, pairs: torch.Tensor, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """``(A, F, L, K, B)``, ``(A, K, B)`` 0/1 to ``(A, L, K, B, W / 2)``, ``(A, L, B, W)``, ``(A, B, W / 2)``."""
        A, _, L, K, B = pairs.shape
        pair = self.pair(pairs.flatten(2).mT).view(A, L, K, B, -1) * present[:, None, :, :, None]
        users = pair.sum(2) * (self.pool / K)
        whole = users.mean(1)
        irs = self.irs(torch.cat([users, whole[:, None].expand_as(users)], -1).flatten(1, 2))
        return pair, irs.view(A, L, B, -1), whole


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
        """Where the features of an agent's pairs stand in what :meth:`own_view` gives: ``(F, L, K)``, F at least 6."""
        size, K, L = self.observation.size, self.num_users, self.num_irs
        own, direct, over_irs, held = (
            _rows(self.observation, n) for n in ("own_user", "direct_gain", "irs_gain", "held")
        )
        means, rivals = size + torch.arange(K), size + K + torch.arange(L)
        return torch.stack(
            [
                over_irs,
                *(users.expand(L, K) for users in (own, direct, means)),
                *(irs[:, None].expand(L, K) for irs in (held, rivals)),
                *_further(self.observation, L, K),
            ]
        )

    def own_view(self, obs: torch.Tensor) -> torch.Tensor:
        """Observations ``(A, D_o, R)``, means over IRSs of the users' gains, and whether a rival holds an IRS."""
        over_irs, rho = (obs[:, self.observation.slices[name]] for name in ("irs_gain", "rho"))
        A, R, K, L = len(obs), obs.shape[-1], self.num_users, self.num_irs
        means = over_irs.view(A, L, K, R).mean(1)
        rivals = rho.view(A, -1, L, R).amax(1) if self.num_bs > 1 else obs.new_zeros(A, L, R)
        return torch.cat([obs, means, rivals], 1)

    def own_look(self, view: torch.Tensor, pairs: torch.Tensor) -> Look:
        """What networks take of observations ``(A, D_o, R)``; ``pairs`` is :meth:`own_pairs` on their device."""
        return Look(view, gathered(self.own_view(view), pairs), view[:, self.observation.slices["own_user"]])

    def action_pairs(self) -> torch.Tensor:
        """Where the 3 features of pairs stand in a structured action: ``(3, L, K)``."""
        bids, focus, powers = (_rows(self.action, name) for name in ("bids", "focus", "powers"))
        return torch.stack([focus, powers.expand_as(focus), bids[:, None].expand_as(focus)])

    def state_pairs(self) -> torch.Tensor:
        """Where the features of pairs stand in a global state: ``(F, L, K)``, F at least 4 M + 2."""
        named = {name: _rows(self.state, name) for name in self.state.shapes}
        over_irs = named["irs_gain"]  # (M, L, K)
        users = torch.cat([named["direct_gain"], named["cell"], named["position"].T])
        irs = named["owner"]
        shape = over_irs.shape[1:]
        further = [rows[None] for rows in _further(self.state, shape[0], shape[1], of_users=("velocity",))]
        return torch.cat([over_irs, users[:, None].expand(-1, *shape), irs[:, :, None].expand(-1, *shape), *further])


def _rows(layout: Layout, name: str) -> torch.Tensor:
    """Where the entries of a block stand, in the block's shape."""
    return layout.take(torch.arange(layout.size), name)


def _further(layout: Layout, L: int, K: int, of_users: tuple[str, ...] = USER_BLOCKS) -> list[torch.Tensor]:
    """Where the entries of blocks that not every scenario has stand, ``(L, K)`` for each feature of a pair."""
    users = [x for name in of_users if name in layout.shapes for x in _rows(layout, name).T]
    irss = [_rows(layout, name) for name in IRS_BLOCKS if name in layout.shapes]
    return [*(x.expand(L, K) for x in users), *(x[:, None].expand(L, K) for x in irss)]


class Look(NamedTuple):
    """What networks take of observations or states, whatever the actions are.

    Attributes:
        view: ``(A, D, R)``, a column for each of the ``A R = M B`` inputs of A networks.
        pairs: ``(A, F, L, K, R)``, features of pairs of IRS and user; ``None`` for an mlp.
        present: ``(A, K, R)`` 0/1, which users are there; ``None`` for an mlp.
    """

    view: torch.Tensor
    pairs: torch.Tensor | None = None
    present: torch.Tensor | None = None


def columns(x: torch.Tensor, stack: int) -> torch.Tensor:
    """``(M, B, D)`` to ``(A, D, R)``, see :class:`Look`."""
    M, B, D = x.shape
    if stack == 1:
        return x.permute(2, 0, 1).reshape(1, D, M * B)
    return x.mT.contiguous()


def by_agent(y: torch.Tensor, num_bs: int) -> torch.Tensor:
    """The inverse of :func:`columns`."""
    if len(y) == num_bs:
        return y.mT
    return y.view(y.shape[1], num_bs, -1).permute(1, 2, 0)


def gathered(rows: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Features ``(A, F, L, K, R)`` of pairs from ``rows (A, D, R)`` and where they stand there, ``(F, L, K)``."""
    return rows.index_select(1, index.view(-1)).view(len(rows), *index.shape, rows.shape[-1])


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
            self.trunk = SetTrunk(self.stack, len(self.pairs), sizes.num_bs, args, generator)
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
        view = columns(obs, self.stack)
        return self.sizes.own_look(view, self.pairs) if isinstance(self.trunk, SetTrunk) else Look(view)

    def forward(self, obs: torch.Tensor | Look) -> tuple[torch.Tensor, torch.Tensor]:
        look = obs if isinstance(obs, Look) else self.look(obs)
        raw = by_agent(self._raw(look), self.sizes.num_bs if self.stack == 1 else self.stack)
        return torch.tanh(raw) * self.span, raw

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions ``(E, M, D_a)`` for observations ``(E, M, D_o)``, without exploration."""
        with torch.inference_mode():
            action, _ = self(torch.from_numpy(observations).to(self.span.device).transpose(0, 1))
        return action.transpose(0, 1).cpu().numpy()

    def _raw(self, look: Look) -> torch.Tensor:
        """The values before tanh, ``(A, D_a, R)``."""
        if look.pairs is None or look.present is None:
            return self.heads["action"](self.trunk(look.view.mT)).mT
        pair, irs, whole = self.trunk(look.pairs, look.present)
        A, L, K, R, _ = pair.shape
        users = pair.mean(1)
        of_users = torch.cat([users, whole[:, None].expand_as(users)], -1).view(A, K * R, -1)
        of_irs = irs.view(A, L * R, -1)
        focus: Any = self.heads["focus"]
        near, far = focus.weight.split([pair.shape[-1], irs.shape[-1]], 1)  # what it takes of a pair and of its IRS
        of_pairs = torch.bmm(pair.view(A, L * K * R, -1), near).view(A, L, K, R)
        named = {
            "bids": self.heads["bids"](of_irs).view(A, L, R),
            "focus": (of_pairs + torch.baddbmm(focus.bias, of_irs, far).view(A, L, 1, R)).view(A, L * K, R),
            "powers": self.heads["powers"](of_users).view(A, K, R),
            "regularizer": self.heads["regularizer"](whole).view(A, 1, R),
        }
        if "total_power" in self.heads:
            named["total_power"] = self.heads["total_power"](whole).view(A, 1, R)
        return torch.cat([named[name] for name in self.sizes.action.shapes], 1)


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
            self.register_buffer("action_pairs", torch.cat(acted), persistent=False)
            features = len(self.pairs) + len(self.action_pairs)
            rest = sizes.action.size - sizes.action.slices["regularizer"].start  # entries of the whole BS
            self.trunk = SetTrunk(stack, features, 1 if central else M, args, generator)
            self.head = nn.Sequential(
                Block(stack, args.width + args.width // 2 + joint * rest, args.width, args.layer_norm, generator),
                StackedLinear(stack, args.width, 1, generator),
            )

    def look(self, view: torch.Tensor) -> Look:
        """What the networks take of observations ``(M, B, D_o)``, or for central critics of states ``(M, B, D_s)``."""
        flat = columns(view, self.stack)
        if not isinstance(self.trunk, SetTrunk):
            return Look(flat)
        if not self.central:
            return self.sizes.own_look(flat, self.pairs)
        return Look(flat, gathered(flat, self.pairs), torch.ones_like(flat[:, : self.sizes.num_users]))

    def forward(self, view: torch.Tensor | Look, action: torch.Tensor) -> torch.Tensor:
        """Values of actions.

        Args:
            view: observations, or states of central critics, as for :meth:`look`; or what that gave.
            action: own actions ``(M, B, D_a)``, or for central critics those of all agents for each ``(M, B, M, D_a)``.
        """
        look = view if isinstance(view, Look) else self.look(view)
        q = self._value(look, columns(action.flatten(2), self.stack))
        return q.view(action.shape[:2])

    def _value(self, look: Look, action: torch.Tensor) -> torch.Tensor:
        """``(A, R, 1)`` for actions ``(A, D_a, R)``."""
        if look.pairs is None or look.present is None:
            return self.head(self.trunk(torch.cat([look.view, action], 1).mT))
        _, irs, whole = self.trunk(torch.cat([look.pairs, gathered(action, self.action_pairs)], 1), look.present)
        of_all = self.sizes.action
        rest = action.unflatten(1, (-1, of_all.size))[:, :, of_all.slices["regularizer"].start :].flatten(1, 2).mT
        return self.head(torch.cat([irs.mean(1), whole, rest], -1))
