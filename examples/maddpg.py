"""Base stations learn to compete for intelligent reflecting surfaces: MDLBI, MADDPG, DDPG and a fixed association.

    python examples/maddpg.py --quick                        # about 3 minutes on 2 cores
    python examples/maddpg.py --algo maddpg --scenario mdlbi-small-v0 --set num_irs=1 --set fading=ar1
    python examples/maddpg.py --preset paper --stabilised    # raw beams and phases on one frozen channel
    python examples/maddpg.py --resume runs/NAME             # go on as if never stopped
    python examples/maddpg.py --eval examples/checkpoints/mdlbi-blocked-small-v0.safetensors

``--algo mdlbi`` is the paper's multi-agent DDPG: an actor and a local critic Q(o_m, a_m) per base station (BS), where
o_m holds rho, the other BSs' last association. ``ddpg`` is the same without rho, ``maddpg`` has central critics on the
global state and all actions, ``fixed`` learns all but the association, which is the best one of the first slot, held.

``--preset structured`` (default) acts through bids, focus weights and powers on large-scale observations, with a team
reward, and learns in minutes. ``--preset paper`` is Table I of arXiv:2106.12883 on raw beams, phases and CSI: measured,
it learns only where the channel is one frozen realisation, so that is what it trains on, and its figures say no more.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from irs_marl_env import evaluate, make_vec_env
from irs_marl_env.policies.cells import Cells
from irs_marl_env.policies.rules import MAX_CELLS, RULES, Memory
from irs_marl_env.policies.view import View

CHECKPOINT, POLICY, ARGS, RESULT, CURVE = (
    "checkpoint.safetensors",
    "policy.safetensors",
    "args.json",
    "result.json",
    "curve.png",
)
LAST = 3  # evaluations averaged into the headline


# --- settings --------------------------------------------------------------------------------------------------------


@dataclass
class Args:
    """Settings; ``--preset``, ``--stabilised`` and ``--quick`` change the defaults shown, any other flag overrides."""

    algo: Literal["mdlbi", "maddpg", "ddpg", "fixed"] = "mdlbi"
    """mdlbi: local critics with rho; ddpg: without rho; maddpg: central critics; fixed: association not learned"""
    preset: Literal["structured", "paper"] = "structured"
    """structured: bids, focus weights, powers; paper: Table I on raw beams and phases, one frozen channel"""
    stabilised: bool = False
    """of --preset paper: layer norm, penalty, critic warm-up, discount 0, decaying noise"""
    quick: bool = False
    """about 3 minutes on 2 cores, yardsticks included: all BSs share networks, which then need half the batch"""
    scenario: str = "mdlbi-blocked-small-v0"
    """any id of irs_marl_env.scenario_ids()"""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """a scenario field, key=value; may be repeated"""
    seed: int = 1
    """of networks, exploration, replay and training environments"""
    updates: int = 4000
    """of every critic, the critic-only ones included"""
    num_envs: int = 32
    """environments stepped at once"""
    updates_per_step: int = 1
    """updates per step of all environments"""

    net: Literal["deepsets", "mlp"] = "deepsets"
    """deepsets: equivariant in users and IRSs (structured actions, large-scale observations); mlp: anything"""
    width: int = 64
    """of hidden layers"""
    depth: int = 2
    """hidden layers of an mlp"""
    layer_norm: bool = True
    """LayerNorm in hidden layers; without it structured actions saturate"""
    share_actor: bool = False
    """one actor for all BSs"""
    share_critic: bool = False
    """one local critic for all BSs, which learns from the transitions of all; central critics are never shared"""
    actor_init: float = 0.1
    """scale of the actor's initial output layer"""
    decoder_scale: float = 1.0
    """bound of all structured entries but the bids: less protects a good decoder from early critic noise"""

    gamma: float | None = None
    """discount; none: 0 where bids act in their own slot (a contextual bandit), 0.9 with association_delay=1"""
    actor_lr: float = 3e-4
    """learning rate of the actors (Adam)"""
    critic_lr: float = 1e-3
    """learning rate of the critics (Adam)"""
    lr_decay: bool = True
    """both learning rates fall linearly to a tenth"""
    tau: float = 5e-3
    """Polyak factor of the target networks"""
    batch: int = 256
    """transitions per update"""
    buffer: int = 131_072
    """transitions kept; large enough never to forget in the default run, which measurably helps"""
    reward_scale: float = 0.2
    """factor on rewards before they become targets"""
    pretanh_penalty: float = 0.05
    """on the mean square of the actor's outputs before tanh, which would saturate"""
    critic_warmup: int = 300
    """updates of the critics alone at the start"""
    noise_start: float = 0.4
    """standard deviation of Gaussian exploration noise at the start"""
    noise_end: float = 0.05
    """the same at the end"""
    noise_fraction: float = 0.6
    """share of the updates over which it falls"""
    eval_network: Literal["online", "target"] = "online"
    """which actor is evaluated and saved; target is the Polyak average"""

    eval_every: int = 500
    """updates between evaluations"""
    eval_episodes: int = 100
    """episodes of the evaluation bank; the yardsticks run on the same draws"""
    eval_slots: int = 20
    """slots measured per episode, spread evenly over it"""
    eval_seed: int = 10_000
    """of the first episode of the bank; training environments have seeds from 100,000 (seed + 1)"""
    eval_sweeps: tuple[int, ...] = ()
    """further decoder sweeps the last evaluations are repeated with (structured)"""
    yardsticks: bool = True
    """also run policies that need no learning"""

    threads: int = 1
    """of torch; more than the free cores slows everything down"""
    device: str = "auto"
    """of the networks: auto takes a GPU when there is one. Resuming is bit for bit on a CPU"""
    out: str = "runs"
    """folder of runs"""
    name: str | None = None
    """folder of this run in it; none: from algorithm, scenario, seed and time"""
    checkpoint_every: int = 500
    """updates between checkpoints"""
    resume: str | None = None
    """folder of a run to go on with; all other settings are the run's own"""
    eval: str | None = None
    """a checkpoint or policy file to evaluate instead of training"""
    tensorboard: bool = True
    """write TensorBoard logs"""
    wandb: bool = False
    """also log to Weights & Biases (pip install wandb)"""
    progress: bool = True
    """show a progress bar"""


TABLE_I = {
    "preset": "paper",
    "scenario": "mdlbi-v0",
    "share_actor": False,
    "share_critic": False,
    "num_envs": 1,
    "net": "mlp",
    "width": 256,  # not in the paper
    "layer_norm": False,
    "actor_init": 1.0,
    "gamma": 0.99,
    "actor_lr": 1e-4,
    "critic_lr": 1e-3,
    "lr_decay": False,
    "tau": 1e-3,
    "batch": 64,
    "buffer": 10_000,
    "reward_scale": 1.0,
    "pretanh_penalty": 0.0,
    "critic_warmup": 0,
    "noise_start": 0.1,  # not in the paper
    "noise_end": 0.1,
    "updates": 3000,
    "eval_episodes": 4,  # the channel is frozen: only the first owners differ
}
STABILISED = {
    **TABLE_I,
    "stabilised": True,
    "num_envs": 8,
    "layer_norm": True,
    "actor_init": 0.1,
    "gamma": None,
    "actor_lr": 3e-4,
    "tau": 5e-3,
    "batch": 128,
    "reward_scale": 0.2,
    "pretanh_penalty": 0.05,
    "critic_warmup": 300,
    "noise_start": 0.4,
    "noise_end": 0.05,
}
QUICK = {"updates": 4000, "eval_every": 500, "share_actor": True, "share_critic": True, "batch": 128}

PRESET_SCENARIO: dict[str, dict[str, Any]] = {
    "structured": {"action": "structured", "observation": "large_scale", "reward": "team"},
    "paper": {
        "action": "raw",
        "observation": "csi",
        "reward": "local",
        "fading": "frozen",
        "bs_irs_fading": "frozen",
        "mobility": "static",
        "layout": "frozen",
    },
}


def parse(argv: list[str] | None = None) -> Args:
    """Args of a command line, over the defaults of the presets it names."""
    argv = sys.argv[1:] if argv is None else argv
    defaults: dict[str, Any] = {}
    named = {argument.replace("_", "-") for argument in argv}
    if "--preset=paper" in named or ("--preset" in argv and argv[argv.index("--preset") + 1 :][:1] == ["paper"]):
        defaults = STABILISED if "--stabilised" in named else TABLE_I
    if "--quick" in named:
        defaults = {**QUICK, **defaults}
    return tyro.cli(Args, args=argv, default=replace(Args(), **defaults), description=__doc__)


def overrides(args: Args) -> dict[str, Any]:
    """Scenario fields of the preset, the algorithm and ``--set``, the last of which wins."""
    chosen = dict(PRESET_SCENARIO[args.preset])
    if args.algo == "ddpg":
        chosen["rho"] = "none"
    for item in args.set:
        key, equals, text = item.partition("=")
        if not equals:
            raise ValueError(f"--set {item!r}: must be key=value")
        try:
            chosen[key] = json.loads(text)
        except json.JSONDecodeError:
            chosen[key] = {"None": None, "True": True, "False": False}.get(text, text)
    return chosen


def discount(args: Args, delay: int) -> float:
    """The discount factor, see ``Args.gamma``."""
    if args.gamma is not None:
        return args.gamma
    return 0.9 if delay else 0.0


# --- networks: those of all agents stacked, so that one batched product serves any number of BSs ----------------------


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
    """Linear layer, LayerNorm if wanted, ReLU; per agent."""

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
    """Hidden layers."""
    widths = [fan_in] + [args.width] * args.depth
    pairs = itertools.pairwise(widths)
    return nn.Sequential(*(Block(stack, a, b, args.layer_norm, generator) for a, b in pairs))


class SetTrunk(nn.Module):
    """DeepSets over pairs of IRS and user: features of pairs, of IRSs and of the whole, equivariant in both.

    Args:
        pool: factor on the mean over users, so that its size does not depend on the number of cells.
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
    observation: Any  # Layout
    action: Any  # Layout
    state: Any  # Layout

    @classmethod
    def of(cls, env: Any) -> Sizes:
        """Sizes and layouts of a batched environment."""
        s = env.scenario
        layouts = (env.observation_codec.layout, env.action_codec.layout, env.state_codec.layout)
        return cls(s.num_bs, s.num_users, s.num_irs, *layouts)

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
        """The same of a structured action ``(A, B, D_a)``."""
        bids, focus, powers = (self.action.take(action, name) for name in ("bids", "focus", "powers"))
        return [focus[..., None], self.each_irs(powers[..., None]), self.each_user(bids[..., None])]

    def state_pairs(self, state: torch.Tensor) -> list[torch.Tensor]:
        """The same of global states ``(A, B, D_s)``."""
        named = {name: self.state.take(state, name) for name in self.state.shapes}
        users = torch.cat([named["direct_gain"], named["cell"], named["position"].transpose(-1, -2)], -2)
        return [
            named["irs_gain"].movedim(-3, -1),
            self.each_irs(users.transpose(-1, -2)),
            self.each_user(named["owner"].transpose(-1, -2)),
        ]

    def each_irs(self, users: torch.Tensor) -> torch.Tensor:
        """``(..., K, F)`` for every IRS."""
        return users[..., None, :, :].expand(*users.shape[:-2], self.num_irs, self.num_users, users.shape[-1])

    def each_user(self, irs: torch.Tensor) -> torch.Tensor:
        """``(..., L, F)`` for every user."""
        return irs[..., None, :].expand(*irs.shape[:-2], self.num_irs, self.num_users, irs.shape[-1])


class Actor(nn.Module):
    """Observations ``(M, B, D_o)`` to actions ``(M, B, D_a)`` in [-1, 1] and the values before tanh."""

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
        central: sees the global state and all actions (MADDPG) instead of an agent's own observation and action.
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
        """``view``: observations ``(M, B, D_o)``, or for central critics states ``(M, B, D_s)``; ``action``: ``(M, B,
        D_a)``, or of all agents for each agent ``(M, B, M, D_a)``."""
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


# --- replay and learning ---------------------------------------------------------------------------------------------


class Replay:
    """The last transitions, in a ring of preallocated arrays by name.

    Args:
        capacity: transitions kept.
        shapes: of one transition's arrays, float32.
        device: where they live.
    """

    def __init__(self, capacity: int, shapes: dict[str, tuple[int, ...]], device: Any = "cpu") -> None:
        self.capacity, self.size, self.next = capacity, 0, 0
        self.arrays = {name: torch.zeros(capacity, *shape, device=device) for name, shape in shapes.items()}

    def add(self, **rows: np.ndarray) -> None:
        """Append rows ``(E, ...)`` of every array, over the oldest ones once full."""
        count = len(next(iter(rows.values())))
        if count > self.capacity:
            raise ValueError(f"{count} transitions at once do not fit a buffer of {self.capacity}")
        at = (self.next + torch.arange(count)) % self.capacity
        for name, array in self.arrays.items():
            array[at] = torch.as_tensor(rows[name], dtype=torch.float32).to(array.device)
        self.next = (self.next + count) % self.capacity
        self.size = min(self.size + count, self.capacity)

    def sample(self, batch: int, generator: np.random.Generator) -> dict[str, torch.Tensor]:
        """``batch`` transitions drawn with replacement."""
        at = torch.from_numpy(generator.integers(self.size, size=batch))
        return {name: array[at.to(array.device)] for name, array in self.arrays.items()}


class Diverged(RuntimeError):
    """A loss is no longer finite."""


class Learner:
    """Actors, critics, their targets and optimisers; one update of all.

    Args:
        sizes: of the environment.
        args: settings.
        gamma: discount.
        device: of the networks.
    """

    def __init__(self, sizes: Sizes, args: Args, gamma: float, device: Any = "cpu") -> None:
        self.sizes, self.args, self.gamma, self.device = sizes, args, gamma, device
        self.central = args.algo == "maddpg"
        generator = torch.Generator().manual_seed(args.seed)
        self.nets = nn.ModuleDict(
            {"actor": Actor(sizes, args, generator), "critic": Critic(sizes, self.central, args, generator)}
        )
        self.targets = nn.ModuleDict(
            {
                "actor": Actor(sizes, args, generator),
                "critic": Critic(sizes, self.central, args, generator),
            }
        ).requires_grad_(False)
        self.targets.load_state_dict(self.nets.state_dict())
        self.nets.to(device), self.targets.to(device)
        rates = {"actor": args.actor_lr, "critic": args.critic_lr}
        self.optimisers = {
            name: torch.optim.Adam(self.nets[name].parameters(), lr=rate, foreach=True) for name, rate in rates.items()
        }
        self.updates = 0

    def act(self, obs: np.ndarray, network: str = "online") -> np.ndarray:
        """Actions ``(E, M, D_a)`` for observations ``(E, M, D_o)``, without exploration."""
        actor = (self.nets if network == "online" else self.targets)["actor"]
        with torch.no_grad():
            action, _ = actor(torch.from_numpy(obs).to(self.device).transpose(0, 1).contiguous())
        return action.transpose(0, 1).cpu().numpy()

    def update(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        """One step of the critics, then of the actors (after the warm-up), then of the targets.

        Args:
            batch: ``obs``, ``next_obs (B, M, D_o)``, ``action (B, M, D_a)``, ``reward (B, M)``; for central critics
                also ``state``, ``next_state (B, D_s)``. Episodes end by time alone, so every target looks ahead.

        Returns:
            Losses and the mean Q.

        Raises:
            Diverged: a loss is not finite; the networks are as they were.
        """
        obs, action = batch["obs"].transpose(0, 1), batch["action"].transpose(0, 1)
        q = self._q(self.nets["critic"], batch, obs, action, "state")
        critic_loss = (q - self.target(batch)).square().mean(1).sum()
        self._step("critic", critic_loss)
        losses = {"critic_loss": critic_loss.item(), "q": q.mean().item() / self.args.reward_scale}
        if self.updates >= self.args.critic_warmup:
            self.nets["critic"].requires_grad_(False)
            own, raw = self.nets["actor"](obs)
            value = self._q(self.nets["critic"], batch, obs, own, "state", others=action)
            penalty = self.args.pretanh_penalty * raw.square().mean((1, 2))
            actor_loss = (penalty - value.mean(1)).sum()
            self._step("actor", actor_loss)
            self.nets["critic"].requires_grad_(True)
            losses |= {"actor_loss": actor_loss.item(), "pretanh": raw.detach().square().mean().item()}
        polyak(self.targets, self.nets, self.args.tau)
        self.updates += 1
        return losses

    def target(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """``scale * r + gamma * Q'(o', mu'(o'))``, ``(M, B)``."""
        reward = self.args.reward_scale * batch["reward"].transpose(0, 1)
        if self.gamma == 0.0:
            return reward
        with torch.no_grad():
            after = batch["next_obs"].transpose(0, 1)
            action, _ = self.targets["actor"](after)
            return reward + self.gamma * self._q(self.targets["critic"], batch, after, action, "next_state")

    def _q(
        self,
        critic: nn.Module,
        batch: dict[str, torch.Tensor],
        obs: torch.Tensor,
        action: torch.Tensor,
        state: str,
        others: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Q ``(M, B)``; ``others``: actions of the other agents as a central critic sees them, if not ``action``."""
        if not self.central:
            return critic(obs, action)
        M = self.sizes.num_bs
        joint = (action if others is None else others).transpose(0, 1)[None].expand(M, -1, -1, -1)
        if others is not None:  # agent m's own action in its own copy
            mine = torch.eye(M, dtype=torch.bool, device=action.device)[:, None, :, None]
            joint = torch.where(mine, action[:, :, None], joint)
        return critic(batch[state][None].expand(M, -1, -1), joint)

    def _step(self, name: str, loss: torch.Tensor) -> None:
        if not torch.isfinite(loss):
            raise Diverged(f"the {name} loss is {loss.item()} in update {self.updates}")
        optimiser = self.optimisers[name]
        if self.args.lr_decay:
            first = {"actor": self.args.actor_lr, "critic": self.args.critic_lr}[name]
            optimiser.param_groups[0]["lr"] = first * (1 - 0.9 * min(1.0, self.updates / self.args.updates))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def finite(self) -> bool:
        """Whether all weights are finite."""
        return all(bool(torch.isfinite(p).all()) for p in self.nets.parameters())


def polyak(targets: nn.Module, nets: nn.Module, tau: float) -> None:
    """``theta' <- (1 - tau) theta' + tau theta`` (Eqs. 11, 12)."""
    with torch.no_grad():
        torch._foreach_lerp_(list(targets.parameters()), list(nets.parameters()), tau)


class FixedAssociation:
    """Bids of the control ``--algo fixed``: the best association of an episode's first slot, held to its end."""

    def __init__(self, env: Any, seed: int) -> None:
        self.env = env
        self.memory = Memory(range(seed, seed + env.num_envs))
        self._bids = env.action_codec.layout.slices["bids"]

    def impose(self, action: np.ndarray) -> np.ndarray:
        """The action ``(E, M, D_a)`` with the bids overwritten."""
        view = View.of(self.env)
        action = action.copy()
        action[..., self._bids] = RULES["fixed"](view, Cells(view), self.memory)
        return action


@dataclass
class LearnedPolicy:
    """The trained agents as :func:`irs_marl_env.evaluate` wants them."""

    learner: Learner
    name: str = "trained"

    def bind(self, env: Any, seed: int) -> Any:
        """A callable ``observations -> actions``."""
        args = self.learner.args
        fixed = FixedAssociation(env, seed) if args.algo == "fixed" else None

        def act(obs: np.ndarray) -> np.ndarray:
            action = self.learner.act(obs, args.eval_network)
            return action if fixed is None else fixed.impose(action)

        return act


# --- a run -----------------------------------------------------------------------------------------------------------


@dataclass
class Progress:
    """What a run remembers besides its networks; JSON-able."""

    steps: int = 0  # of all environments together
    curve: list[dict[str, Any]] = field(default_factory=list)
    window: dict[str, list[float]] = field(default_factory=dict)  # sums and counts since the last evaluation
    seconds: float = 0.0  # of training and its evaluations, in all processes that went on with the run
    cpu_seconds: float = 0.0

    def note(self, **values: float) -> None:
        """Add to the running means."""
        for name, value in values.items():
            total = self.window.setdefault(name, [0.0, 0])
            total[0] += value
            total[1] += 1

    def means(self) -> dict[str, float]:
        """The running means, which begin anew."""
        means = {name: total / count for name, (total, count) in self.window.items()}
        self.window.clear()
        return means


class Run:
    """Training from beginning to end.

    Args:
        args: settings.
        env: batched environment, by default the one the settings name.
    """

    def __init__(self, args: Args, env: Any = None) -> None:
        check(args)
        self.args = args
        self.env = env if env is not None else make_vec_env(args.scenario, args.num_envs, **overrides(args))
        s = self.env.scenario
        if args.net == "deepsets" and (s.action, s.observation) != ("structured", "large_scale"):
            raise ValueError("net='deepsets' needs action='structured' and observation='large_scale': use --net mlp")
        if args.net == "deepsets" and s.num_irs == 0:
            raise ValueError("net='deepsets' needs an IRS: num_irs=0 works with --net mlp")
        self.device = torch.device(
            args.device if args.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        )
        self.learner = Learner(Sizes.of(self.env), args, discount(args, s.association_delay), self.device)
        M = s.num_bs
        shapes = {"obs": (M, self.env.observation_size), "next_obs": (M, self.env.observation_size)}
        shapes |= {"action": (M, self.env.action_size), "reward": (M,)}
        if self.learner.central:
            shapes |= {"state": (self.env.state_size,), "next_state": (self.env.state_size,)}
        self.replay = Replay(args.buffer, shapes, self.device)
        keys = np.random.SeedSequence(args.seed).spawn(2)
        self.generators = {
            name: np.random.Generator(np.random.Philox(key))
            for name, key in zip(("noise", "replay"), keys, strict=True)
        }
        self.progress = Progress()
        env_seed = 100_000 * (args.seed + 1)
        self.span = self.learner.nets["actor"].span.cpu().numpy()  # exploration stays inside the actor's bounds
        self.obs, _ = self.env.reset(seed=env_seed)
        self.fixed = FixedAssociation(self.env, env_seed) if args.algo == "fixed" else None

    def step(self) -> None:
        """One step of the environments into the replay memory."""
        env, obs = self.env, self.obs
        noise = self.generators["noise"].standard_normal((len(obs), *obs.shape[1:-1], env.action_size), np.float32)
        action = np.clip(self.learner.act(obs) + self.noise_level() * self.span * noise, -1, 1)
        if self.fixed is not None:
            action = self.fixed.impose(action)
        before = {"state": env.state()} if self.learner.central else {}
        self.obs, reward, _, truncated, infos = env.step(action)
        ended = bool(truncated.any())  # all rows at once; the next observation is then that of a new episode
        if self.learner.central:
            before["next_state"] = infos["final_state"] if ended else env.state()
        following = infos["final_observation"] if ended else self.obs
        self.replay.add(obs=obs, action=action, reward=reward, next_obs=following, **before)
        self.progress.steps += len(obs)
        self.progress.note(train=float(infos["sum_rate"].sum(-1).mean()), idle=float((infos["owner"] < 0).mean()))

    def noise_level(self) -> float:
        """Standard deviation of exploration now."""
        args = self.args
        done = self.learner.updates / max(1.0, args.noise_fraction * args.updates)
        return args.noise_start + min(1.0, done) * (args.noise_end - args.noise_start)

    def advance(self) -> None:
        """Steps and updates until the number of updates has grown by one."""
        if self.learner.updates % self.args.updates_per_step == 0:
            self.step()
            while self.replay.size < self.args.batch:
                self.step()
        losses = self.learner.update(self.replay.sample(self.args.batch, self.generators["replay"]))
        self.progress.note(**losses)

    def evaluate(self) -> dict[str, Any]:
        """A point of the learning curve."""
        args, s = self.args, self.env.scenario
        result = on_bank(LearnedPolicy(self.learner), args, s)
        point: dict[str, Any] = {"update": self.learner.updates, "steps": self.progress.steps}
        point |= {"score": result.mean, "standard_error": result.standard_error, **self.progress.means()}
        if args.eval_sweeps and self.learner.updates > args.updates - LAST * args.eval_every:
            point["sweeps"] = {
                str(n): on_bank(LearnedPolicy(self.learner), args, s.replace(sweeps=n)).mean for n in args.eval_sweeps
            }
        return point

    # --- saving ------------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Everything that decides how the run goes on, into one file that replaces the old one at once."""
        tensors = {f"nets.{k}": v for k, v in self.learner.nets.state_dict().items()}
        tensors |= {f"targets.{k}": v for k, v in self.learner.targets.state_dict().items()}
        for name, optimiser in self.learner.optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{name}.{index}.{k}": v for k, v in state.items()}
        filled = self.replay.size
        tensors |= {f"replay.{name}": array[:filled] for name, array in self.replay.arrays.items()}
        env = self.env.get_state()
        arrays = {k: np.asarray(v) for k, v in env.items() if hasattr(v, "shape")}
        tensors |= {f"env.{k}": torch.from_numpy(np.ascontiguousarray(v)) for k, v in arrays.items()}
        if self.fixed is not None and self.fixed.memory.held is not None:
            tensors["fixed.held"] = torch.from_numpy(self.fixed.memory.held)
        plain = {
            "args": asdict(self.args),
            "updates": self.learner.updates,
            "replay": [self.replay.size, self.replay.next],
            "generators": {name: plain_state(g) for name, g in self.generators.items()},
            "env": {k: v for k, v in env.items() if k not in arrays},
            "progress": asdict(self.progress),
        }
        write_tensors(path, tensors, plain)

    def load(self, path: Path) -> None:
        """Go on where :meth:`save` was called."""
        tensors, plain = read_tensors(path)

        def under(prefix: str) -> dict[str, torch.Tensor]:
            return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

        self.learner.nets.load_state_dict(under("nets."))
        self.learner.targets.load_state_dict(under("targets."))
        for name, optimiser in self.learner.optimisers.items():
            state: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in under(f"optimiser.{name}.").items():
                index, _, entry = key.partition(".")
                state.setdefault(int(index), {})[entry] = value
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        self.learner.updates = plain["updates"]
        self.replay.size, self.replay.next = plain["replay"]
        for name, value in under("replay.").items():
            self.replay.arrays[name][: self.replay.size] = value.to(self.device)
        for name, generator in self.generators.items():
            restore_state(generator, plain["generators"][name])
        self.env.set_state({**{k: v.numpy() for k, v in under("env.").items()}, **plain["env"]})
        self.obs = self.env.observe()
        if self.fixed is not None and "fixed.held" in tensors:
            self.fixed.memory.held = tensors["fixed.held"].numpy()
        self.progress = Progress(**plain["progress"])


def check(args: Args) -> None:
    """Refuse impossible settings.

    Raises:
        ValueError: names the setting, its value and what is allowed.
    """
    for name in ("updates", "num_envs", "updates_per_step", "batch", "buffer", "eval_every", "eval_episodes"):
        if getattr(args, name) < 1:
            raise ValueError(f"{name}={getattr(args, name)}: must be at least 1")
    for name in ("eval_slots", "checkpoint_every", "threads", "width"):
        if getattr(args, name) < 1:
            raise ValueError(f"{name}={getattr(args, name)}: must be at least 1")
    if args.buffer < max(args.batch, args.num_envs):
        raise ValueError(f"buffer={args.buffer}: must be at least batch={args.batch} and num_envs={args.num_envs}")
    if args.gamma is not None and not 0 <= args.gamma < 1:
        raise ValueError(f"gamma={args.gamma}: must be in [0, 1)")
    if args.reward_scale <= 0:
        raise ValueError(f"reward_scale={args.reward_scale}: must be positive")


def plain_state(generator: np.random.Generator) -> dict[str, Any]:
    """State of a generator in JSON types."""
    state: Any = generator.bit_generator.state
    numbers = {k: v.tolist() for k, v in state["state"].items()}
    return {**state, "state": numbers, "buffer": state["buffer"].tolist()}


def restore_state(generator: np.random.Generator, state: dict[str, Any]) -> None:
    """The inverse of :func:`plain_state`."""
    numbers = {k: np.array(v, np.uint64) for k, v in state["state"].items()}
    generator.bit_generator.state = {**state, "state": numbers, "buffer": np.array(state["buffer"], np.uint64)}


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], plain: dict[str, Any]) -> None:
    """A safetensors file with JSON in its header, complete or not there at all, whenever the process dies."""
    real = {}
    for name, value in tensors.items():
        value = value.detach().cpu()
        if value.is_complex():
            name, value = f"{name}|complex", torch.view_as_real(value)
        real[name] = value.contiguous().clone()
    partial = path.with_name(f".{path.name}.partial")
    save_file(real, partial, metadata={"json": json.dumps(plain)})
    replace_file(partial, path)


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The inverse of :func:`write_tensors`."""
    tensors = {}
    with safe_open(path, framework="pt") as file:
        plain = json.loads(file.metadata()["json"])
        for name in file.keys():  # noqa: SIM118  (not a dict)
            value = file.get_tensor(name).clone()
            plain_name, _, kind = name.partition("|")
            tensors[plain_name] = torch.view_as_complex(value) if kind else value
    return tensors, plain


def write_json(path: Path, content: Any) -> None:
    """JSON, complete or not there at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    replace_file(partial, path)


def replace_file(partial: Path, path: Path) -> None:
    """Move a finished file to its place once it is on the disk."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


# --- evaluation and report -------------------------------------------------------------------------------------------


def on_bank(policy: Any, args: Args, scenario: Any) -> Any:
    """A policy on the evaluation bank, the same draws for every policy."""
    every = max(1, scenario.horizon // args.eval_slots)
    slots = min(args.eval_slots, scenario.horizon)
    return evaluate(policy, scenario, args.eval_episodes, args.eval_seed, slots=slots, every=every, progress=False)


def yardsticks(args: Args, scenario: Any) -> dict[str, Any]:
    """Policies that need no learning, on the evaluation bank, by name."""
    results = {"random": on_bank("random", args, scenario.replace(action="raw"))}
    small = scenario.num_bs * 2**scenario.num_irs <= MAX_CELLS
    names = ["fixed-ao", "proximity-ao", "exhaustive-ao" if small else "greedy-ao"]
    if scenario.action == "structured":
        results["random-structured"] = on_bank("random", args, scenario)
        names = ["structured-fixed", "structured-random", "structured-auction", *names]
    for name in names:
        results[name] = on_bank(name, args, scenario)
    return results


def table(trained: Any, others: dict[str, Any], label: str) -> str:
    """Trained agents next to the yardsticks."""
    explain = {
        "random": "uniform beams, phases and bids (raw action)",
        "random-structured": "uniform structured action",
        "structured-fixed": "untrained: association of the first slot, neutral decoder",
        "structured-random": "untrained: random association, neutral decoder",
        "structured-auction": "untrained: local-gain auction, neutral decoder",
        "fixed-ao": "association of the first slot + alternating optimisation",
        "proximity-ao": "local-gain auction + alternating optimisation",
        "greedy-ao": "greedy association + alternating optimisation",
        "exhaustive-ao": "best association + alternating optimisation",
    }
    lines = [f"{'policy':<20} {'bit/s/Hz':>9} {'+- SE':>7} {'trained/it':>10}   on the same draws"]
    for name, result in [(label, trained), *others.items()]:
        ratio = trained.mean / result.mean if result.mean else math.nan
        row = f"{name:<20} {result.mean:9.3f} {result.standard_error:7.3f} {ratio:10.3f}   "
        lines.append(row + explain.get(name, "trained agents, last weights"))
    return "\n".join(lines)


def plot(path: Path, curve: list[dict[str, Any]], others: dict[str, Any], title: str) -> None:
    """The learning curve with a line per yardstick."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    updates, scores = [p["update"] for p in curve], np.array([p["score"] for p in curve])
    errors = np.nan_to_num([p["standard_error"] for p in curve])
    axes.plot(updates, scores, "o-", color="black", label="trained", zorder=3)
    axes.fill_between(updates, scores - errors, scores + errors, color="black", alpha=0.15)
    for index, (name, result) in enumerate(others.items()):
        axes.axhline(result.mean, color=f"C{index}", linestyle="--", linewidth=1, label=name)
    axes.set(xlabel="updates", ylabel="system sum rate [bit/s/Hz]", title=title)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def provenance() -> dict[str, Any]:
    """Versions and the commit this ran on."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = None
    packages: dict[str, str | None] = {}
    for name in ("irs-marl-env", "torch", "numpy", "gymnasium", "pettingzoo", "numba"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:  # numba: its kernels round otherwise, and trainings amplify that
            packages[name] = None
    return {"commit": commit, "python": platform.python_version(), **packages}


def headline(curve: list[dict[str, Any]]) -> float:
    """Mean score of the last evaluations."""
    return float(np.mean([point["score"] for point in curve[-LAST:]]))


def train(run: Run, folder: Path) -> None:
    """Train to the end, with evaluations, logs and checkpoints on the way.

    Raises:
        Diverged: a loss is not finite; the message names the last good checkpoint.
    """
    from tqdm import tqdm

    args, learner, progress = run.args, run.learner, run.progress
    writer = logger(args, folder, learner.updates)
    started, steps_before = time.perf_counter(), progress.steps
    spent_before, cpu_before = progress.seconds, progress.cpu_seconds - time.process_time()
    bar = tqdm(total=args.updates, initial=learner.updates, unit="update", disable=not args.progress)
    try:
        while True:
            due = learner.updates % args.eval_every == 0 or learner.updates == args.updates
            if due and (not progress.curve or progress.curve[-1]["update"] < learner.updates):
                progress.curve.append(run.evaluate())
                log(writer, progress.curve[-1])
            progress.seconds = spent_before + time.perf_counter() - started
            progress.cpu_seconds = cpu_before + time.process_time()
            if learner.updates and (learner.updates % args.checkpoint_every == 0 or learner.updates == args.updates):
                if not learner.finite():
                    raise Diverged(f"weights are not finite after update {learner.updates}")
                run.save(folder / CHECKPOINT)
            if learner.updates >= args.updates:
                break
            run.advance()
            bar.update()
            if learner.updates % 20 == 0:
                rate = (progress.steps - steps_before) / (time.perf_counter() - started)
                bar.set_postfix(score=f"{progress.curve[-1]['score']:.3f}", steps_per_s=f"{rate:.0f}")
    except Diverged as error:
        good = folder / CHECKPOINT
        last = f"the last good checkpoint is {good}" if good.is_file() else "there is no checkpoint yet"
        raise Diverged(f"training stopped: {error}; {last}") from None
    finally:
        bar.close()
        if writer is not None:
            writer.close()


def logger(args: Args, folder: Path, updates: int) -> Any:
    """A TensorBoard writer, or ``None``; what a killed run wrote beyond its checkpoint is purged."""
    if args.wandb:
        try:
            import wandb
        except ImportError as error:
            raise ImportError("--wandb needs Weights & Biases: pip install wandb") from error
        run = {"name": folder.name, "id": folder.name, "resume": "allow"}  # a resumed run goes on in the same place
        wandb.init(project="irs-marl-env", config=asdict(args), sync_tensorboard=True, **run)
    if not (args.tensorboard or args.wandb):
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=updates + 1 if updates else None)


def log(writer: Any, point: dict[str, Any]) -> None:
    """A point of the curve to TensorBoard."""
    if writer is None:
        return
    for name, value in point.items():
        if isinstance(value, float) and math.isfinite(value):
            writer.add_scalar(f"train/{name}" if name in ("train", "idle") else name, value, point["update"])
    writer.flush()


def report(run: Run, folder: Path) -> dict[str, Any]:
    """Yardsticks, table, plot, policy file and result.json of a finished run."""
    args, scenario, curve = run.args, run.env.scenario, run.progress.curve
    trained = on_bank(LearnedPolicy(run.learner), args, scenario)
    others = yardsticks(args, scenario) if args.yardsticks else {}
    result: dict[str, Any] = {
        "config": asdict(args),
        "scenario": json.loads(scenario.to_json()),
        "gamma": run.learner.gamma,
        "seeds": {
            "training": args.seed,
            "environments": [100_000 * (args.seed + 1), args.num_envs],
            "evaluation": [args.eval_seed, args.eval_episodes],
        },
        "versions": provenance(),
        "curve": curve,
        "final": {
            "score": headline(curve),
            "score_of": f"mean of the last {min(LAST, len(curve))} evaluations",
            "last": trained.mean,
            "standard_error": trained.standard_error,
            "episodes": trained.episodes.round(5).tolist(),
            "start": curve[0]["score"],
            "yardsticks": {
                name: {
                    "mean": other.mean,
                    "standard_error": other.standard_error,
                    "difference": trained.difference(other).mean,
                    "difference_standard_error": trained.difference(other).standard_error,
                    "ratio": headline(curve) / other.mean,
                }
                for name, other in others.items()
            },
        },
        "seconds": run.progress.seconds,
        "cpu_seconds": run.progress.cpu_seconds,
        "threads": args.threads,
        "device": str(run.device),
    }
    save_policy(run.learner, folder / POLICY)
    title = f"{args.algo}, {args.scenario}, seed {args.seed}" + (" (frozen channel)" if args.preset == "paper" else "")
    plot(folder / CURVE, curve, others, title)
    write_json(folder / RESULT, result)
    print(table(trained, others, args.algo))
    print(
        f"\n{args.algo} on {args.scenario}: {headline(curve):.3f} bit/s/Hz (mean of the last evaluations; start "
        f"{curve[0]['score']:.3f}), {args.updates} updates in {run.progress.seconds:.0f} s; "
        f"{args.eval_episodes} episodes of {args.eval_slots} slots from seed {args.eval_seed}"
    )
    best = others.get("exhaustive-ao") or others.get("greedy-ao")
    if best is not None:
        print(f"share of {best.policy}: {headline(curve) / best.mean:.3f}")
    if args.preset == "paper":
        print("one frozen channel: the agents searched for one action, they did not learn to react to channels")
    print(f"{folder}/: {RESULT}, {CURVE}, {POLICY}, {CHECKPOINT}")
    return result


def save_policy(learner: Learner, path: Path) -> None:
    """The actors alone, with the settings to rebuild them."""
    actor = (learner.nets if learner.args.eval_network == "online" else learner.targets)["actor"]
    tensors = {f"nets.actor.{k}": v for k, v in actor.state_dict().items()}
    write_tensors(path, tensors, {"args": asdict(learner.args), "versions": provenance()})


def load_policy(path: Path, extra: tuple[str, ...] = ()) -> tuple[Learner, Any]:
    """The trained agents in a checkpoint or policy file, and the scenario they act in.

    Args:
        path: the file.
        extra: further scenario fields, key=value.
    """
    tensors, plain = read_tensors(path)
    args = restored_args(plain["args"])
    args = replace(args, set=(*args.set, *extra))
    env = make_vec_env(args.scenario, 1, **overrides(args))
    learner = Learner(Sizes.of(env), args, discount(args, env.scenario.association_delay))
    prefix = (
        "targets.actor." if args.eval_network == "target" and "targets.actor" in str(list(tensors)) else "nets.actor."
    )
    weights = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    for nets in (learner.nets, learner.targets):
        nets["actor"].load_state_dict(weights)
    return learner, env.scenario


def restored_args(values: dict[str, Any]) -> Args:
    """Args from JSON."""
    return Args(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def evaluate_file(args: Args) -> None:
    """``--eval``: a trained policy next to the yardsticks."""
    learner, scenario = load_policy(Path(str(args.eval)), args.set)
    trained = on_bank(LearnedPolicy(learner), args, scenario)
    print(table(trained, yardsticks(args, scenario) if args.yardsticks else {}, learner.args.algo))


def main(argv: list[str] | None = None) -> dict[str, Any] | None:
    """The command line."""
    args = parse(argv)
    torch.set_num_threads(args.threads)
    if args.eval is not None:
        evaluate_file(args)
        return None
    if args.resume is not None:
        folder = Path(args.resume)
        if not (folder / ARGS).is_file():
            raise SystemExit(f"--resume {folder}: no {ARGS} there; must be the folder of a run")
        args = restored_args(json.loads((folder / ARGS).read_text()))
        torch.set_num_threads(args.threads)
    else:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        folder = Path(args.out) / (args.name or f"{args.algo}-{args.scenario}-s{args.seed}-{stamp}")
        if (folder / ARGS).is_file():
            raise SystemExit(f"{folder} holds a run already: --resume {folder}, or another --name")
    run = Run(args)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / ARGS, asdict(args))
    if (folder / CHECKPOINT).is_file():
        run.load(folder / CHECKPOINT)
        print(f"going on after update {run.learner.updates}")
    train(run, folder)
    return report(run, folder)


if __name__ == "__main__":
    try:
        main()
    except (Diverged, ValueError, ImportError) as error:
        raise SystemExit(f"error: {error}") from None
