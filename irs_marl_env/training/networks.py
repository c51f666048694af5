"""Actors and critics: the networks of all agents stacked, so that one batched product serves any number of BSs.

Tensors have the agents in front: ``(A, B, ...)`` for A networks and a batch of B.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from irs_marl_env.spaces.layout import Layout
from irs_marl_env.training.settings import Args


class StackedLinear(nn.Module):
    """A linear layer per agent: ``(A, ..., fan_in) -> (A, ..., fan_out)``."""

    def __init__(self, stack: int, fan_in: int, fan_out: int, generator: torch.Generator, scale: float = 1.0) -> None:
        super().__init__()
        bound = scale / math.sqrt(max(fan_in, 1))
        self.weight = nn.Parameter((2 * torch.rand(stack, fan_in, fan_out, generator=generator) - 1) * bound)
        self.bias = nn.Parameter(torch.zeros(stack, 1, fan_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stack, _, fan_out = self.bias.shape
        flat = x.reshape(stack, math.prod(x.shape[1:-1]), x.shape[-1])
        return torch.baddbmm(self.bias, flat, self.weight).reshape(*x.shape[:-1], fan_out)


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
            flat = F.layer_norm(y, y.shape[-1:]).reshape(y.shape[0], math.prod(y.shape[1:-1]), y.shape[-1])
            y = torch.addcmul(self.shift, flat, self.gain).reshape(y.shape)
        return F.relu(y)


def mlp(stack: int, fan_in: int, args: Args, generator: torch.Generator) -> nn.Sequential:
    """The hidden layers of a multilayer perceptron per agent."""
    widths = [fan_in] + [args.width] * args.depth
    pairs = itertools.pairwise(widths)
    return nn.Sequential(*(Block(stack, a, b, args.layer_norm, generator) for a, b in pairs))


class SetTrunk(nn.Module):
    """DeepSets over pairs of IRS and user: features of pairs, of IRSs and of the whole, equivariant in both.

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
        """``(A, B, L, K, F)``, ``(A, B, K)`` 0/1 to ``(A, B, L, K, W / 2)``, ``(A, B, L, W)``, ``(A, B, W / 2)``."""
        pair = self.pair(pairs) * present[..., None, :, None]
        users = self.pool * pair.mean(-2)
        whole = users.mean(-2)
        irs = self.irs(torch.cat([users, whole[..., None, :].expand_as(users)], -1))
        return pair, irs, whole


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

    def own_pairs(self, obs: torch.Tensor) -> list[torch.Tensor]:
        """Features ``(A, B, L, K, .)`` of an agent's pairs of IRS and user, from observations ``(A, B, D_o)``."""
        own, direct, over_irs, held, rho = (
            self.observation.take(obs, name) for name in ("own_user", "direct_gain", "irs_gain", "held", "rho")
        )
        rivals = rho.amax(-2) if self.num_bs > 1 else torch.zeros_like(held)
        users = torch.stack([own, direct, over_irs.mean(-2)], -1)
        irs = torch.stack([held, rivals], -1)
        return [over_irs[..., None], self.each_irs(users), self.each_user(irs)]

    def action_pairs(self, action: torch.Tensor) -> list[torch.Tensor]:
        """Features of pairs, as in :meth:`own_pairs`, from structured actions ``(A, B, D_a)``."""
        bids, focus, powers = (self.action.take(action, name) for name in ("bids", "focus", "powers"))
        return [focus[..., None], self.each_irs(powers[..., None]), self.each_user(bids[..., None])]

    def state_pairs(self, state: torch.Tensor) -> list[torch.Tensor]:
        """Features of pairs, as in :meth:`own_pairs`, from global states ``(A, B, D_s)``."""
        named = {name: self.state.take(state, name) for name in self.state.shapes}
        users = torch.cat([named["direct_gain"], named["cell"], named["position"].transpose(-1, -2)], -2)
        return [
            named["irs_gain"].movedim(-3, -1),
            self.each_irs(users.transpose(-1, -2)),
            self.each_user(named["owner"].transpose(-1, -2)),
        ]

    def each_irs(self, users: torch.Tensor) -> torch.Tensor:
        """Features ``(..., K, F)`` of users, repeated for every IRS: ``(..., L, K, F)``."""
        return users[..., None, :, :].expand(*users.shape[:-2], self.num_irs, self.num_users, users.shape[-1])

    def each_user(self, irs: torch.Tensor) -> torch.Tensor:
        """Features ``(..., L, F)`` of IRSs, repeated for every user: ``(..., L, K, F)``."""
        return irs[..., None, :].expand(*irs.shape[:-2], self.num_irs, self.num_users, irs.shape[-1])


class Actor(nn.Module):
    """Observations ``(M, B, D_o)`` to actions ``(M, B, D_a)`` in [-1, 1] and the values before tanh.

    Attributes:
        span: ``(D_a,)`` bound of each entry of an action.
    """

    span: torch.Tensor

    def __init__(self, sizes: Sizes, args: Args, generator: torch.Generator) -> None:
        super().__init__()
        self.sizes, self.stack, width = sizes, 1 if args.share_actor else sizes.num_bs, args.width
        span = torch.ones(sizes.action.size)
        if "focus" in sizes.action.slices:
            span[sizes.num_irs :] = args.decoder_scale
        self.register_buffer("span", span, persistent=False)

        def head(fan_in: int, fan_out: int) -> StackedLinear:
            return StackedLinear(self.stack, fan_in, fan_out, generator, args.actor_init)

        if args.net == "mlp":
            self.trunk: nn.Module = mlp(self.stack, sizes.observation.size, args, generator)
            self.heads = nn.ModuleDict(
                {"action": head(width if args.depth else sizes.observation.size, sizes.action.size)}
            )
        else:
            self.trunk = SetTrunk(self.stack, 6, sizes.num_bs, args, generator)
            heads = {"bids": width, "focus": width + width // 2, "powers": 2 * (width // 2), "regularizer": width // 2}
            self.heads = nn.ModuleDict({name: head(fan_in, 1) for name, fan_in in heads.items()})

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        raw = self._raw(obs.reshape(self.stack, -1, obs.shape[-1])).reshape(*obs.shape[:-1], -1)
        return torch.tanh(raw) * self.span, raw

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions ``(E, M, D_a)`` for observations ``(E, M, D_o)``, without exploration."""
        with torch.no_grad():
            action, _ = self(torch.from_numpy(observations).to(self.span.device).transpose(0, 1).contiguous())
        return action.transpose(0, 1).cpu().numpy()

    def _raw(self, obs: torch.Tensor) -> torch.Tensor:
        if not isinstance(self.trunk, SetTrunk):
            return self.heads["action"](self.trunk(obs))
        own = self.sizes.observation.take(obs, "own_user")
        pair, irs, whole = self.trunk(torch.cat(self.sizes.own_pairs(obs), -1), own)
        users = pair.mean(-3)
        named = {
            "bids": self.heads["bids"](irs),
            "focus": self.heads["focus"](torch.cat([pair, self.sizes.each_user(irs)], -1)),
            "powers": self.heads["powers"](torch.cat([users, whole[..., None, :].expand_as(users)], -1)),
            "regularizer": self.heads["regularizer"](whole),
        }
        return torch.cat([named[name].flatten(2) for name in self.sizes.action.shapes], -1)


class Critic(nn.Module):
    """Q of every agent, ``(M, B)``.

    Args:
        sizes: of the environment.
        central: whether it sees the global state and all actions (MADDPG) instead of an agent's own.
        args: settings.
        generator: of the initial weights.
    """

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
            features = 4 * M + 2 if central else 6
            self.trunk = SetTrunk(stack, features + 3 * joint, 1 if central else M, args, generator)
            self.head = nn.Sequential(
                Block(stack, args.width + args.width // 2 + joint, args.width, args.layer_norm, generator),
                StackedLinear(stack, args.width, 1, generator),
            )

    def forward(self, view: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Values of actions.

        Args:
            view: observations ``(M, B, D_o)``, or for central critics states ``(M, B, D_s)``.
            action: own actions ``(M, B, D_a)``, or for central critics those of all agents for each ``(M, B, M, D_a)``.
        """
        shape, joint = view.shape[:2], action.shape[2:]
        view = view.reshape(self.stack, -1, view.shape[-1])
        return self._value(view, action.reshape(self.stack, -1, *joint)).reshape(shape)

    def _value(self, view: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        if not isinstance(self.trunk, SetTrunk):
            return self.head(self.trunk(torch.cat([view, action.flatten(2)], -1)))[..., 0]
        sizes = self.sizes
        if self.central:
            pairs = sizes.state_pairs(view)
            for m in range(sizes.num_bs):
                pairs += sizes.action_pairs(action[:, :, m])
            present = torch.ones_like(view[..., : sizes.num_users])
        else:
            pairs = sizes.own_pairs(view) + sizes.action_pairs(action)
            present = sizes.observation.take(view, "own_user")
        _, irs, whole = self.trunk(torch.cat(pairs, -1), present)
        rest = sizes.action.take(action, "regularizer").reshape(*view.shape[:2], -1)
        return self.head(torch.cat([irs.mean(-2), whole, rest], -1))[..., 0]
