"""Many independent trainings at once: the networks of all seeds stacked, trained by the trainer's own update.

A :class:`examples.maddpg.Learner` keeps a network per base station in one batched product and sums their losses, so it
serves S trainings of M base stations as if they were S M base stations: every network sees its own observations,
actions and rewards alone, and Adam works entry by entry. What must differ between trainings does: initial weights,
environments, exploration noise and the transitions sampled. A block of 16 costs about five single runs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from examples.maddpg import Learner
from irs_marl_env import make_vec_env
from irs_marl_env.training.networks import Sizes
from irs_marl_env.training.replay import Replay
from irs_marl_env.training.settings import Args, check, discount, scenario_of


class Stacked:
    """S trainings with the same settings.

    Args:
        args: of the trainer; ``args.seed`` names the block, ``net`` must be ``"mlp"`` and critics local.
        members: S.

    Raises:
        ValueError: settings whose networks do not stack.
    """

    def __init__(self, args: Args, members: int) -> None:
        if args.net != "mlp" or args.algo not in ("mdlbi", "ddpg"):
            raise ValueError(f"net={args.net!r}, algo={args.algo!r}: must be 'mlp' with 'mdlbi' or 'ddpg' to stack")
        check(args)
        self.args, self.members = args, members
        self.env = make_vec_env(scenario_of(args), members * args.num_envs)
        self.scenario = self.env.scenario
        self.bs = M = self.scenario.num_bs
        sizes = replace(Sizes.of(self.env), num_bs=members * M)
        self.learner = Learner(sizes, args, discount(args, self.scenario.association_delay))
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("obs", "next_obs"), (members, M, self.env.observation_size))
        shapes |= {"action": (members, M, self.env.action_size), "reward": (members, M)}
        self.replay = Replay(args.buffer, shapes)
        noise, sample = np.random.SeedSequence(args.seed).spawn(2)
        self.noise, self.sampler = np.random.default_rng(noise), np.random.default_rng(sample)
        obs, _ = self.env.reset(seed=100_000 * (args.seed + 1))
        self.obs = self._by_member(obs)

    def _by_member(self, rows: np.ndarray) -> np.ndarray:
        """``(S E, ...)`` to ``(S, E, ...)``."""
        return rows.reshape(self.members, -1, *rows.shape[1:])

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Actions ``(S, E, M, D_a)`` of each training for its observations ``(S, E, M, D_o)``."""
        S, E, M = obs.shape[:3]
        flat = np.ascontiguousarray(obs.swapaxes(0, 1)).reshape(E, S * M, -1)
        return self.learner.act(flat).reshape(E, S, M, -1).swapaxes(0, 1)

    def step(self) -> None:
        """One step of all environments into the replay memory."""
        args, obs = self.args, self.obs
        done = self.learner.updates / max(1.0, args.noise_fraction * args.updates)
        level = args.noise_start + min(1.0, done) * (args.noise_end - args.noise_start)
        action = self.act(obs)
        action = np.clip(action + level * self.noise.standard_normal(action.shape, np.float32), -1, 1)
        following, reward, _, truncated, infos = self.env.step(action.reshape(-1, *action.shape[2:]))
        self.obs = self._by_member(following)
        after = self._by_member(infos["final_observation"]) if truncated.any() else self.obs
        rows = {"obs": obs, "next_obs": after, "action": action, "reward": self._by_member(reward)}
        self.replay.add(**{name: np.ascontiguousarray(value.swapaxes(0, 1)) for name, value in rows.items()})

    def sample(self) -> dict[str, torch.Tensor]:
        """A batch of its own transitions for each training, laid out for the learner: ``(B, S M, ...)``."""
        S = self.members
        at = torch.from_numpy(self.sampler.integers(self.replay.size, size=(self.args.batch, S)))
        member = torch.arange(S)
        return {name: array[at, member].flatten(1, 2) for name, array in self.replay.arrays.items()}

    def train(self, updates: int) -> None:
        """Steps and updates until so many updates are done."""
        while self.learner.updates < updates:
            self.step()
            while self.replay.size < self.args.batch:
                self.step()
            self.learner.update(self.sample())
