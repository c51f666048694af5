"""PettingZoo with discrete actions: the bids alone, in a few levels, for QMIX, VDN and other discrete learners."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv
from pettingzoo.utils.wrappers import BaseParallelWrapper

from irs_marl_env import checks
from irs_marl_env.scenario import Scenario
from irs_marl_env.spaces.actions import StructuredActionCodec

MOST = 4_096  # joint choices of one base station; where there are more, each IRS has a choice of its own


class BidLevels:
    """Choices among bids of n levels, from -1 to 1 in equal steps; all else of the structured action is neutral.

    Attributes:
        joint: a choice is one number for all IRSs, ``sum_l level_l n^(L - 1 - l)``; otherwise the levels ``(L,)``.
        count: how many choices there are: n^L, at most 4,096, or n for each IRS.
        num_irs: L.

    Args:
        scenario: one with ``action="structured"`` and an IRS.
        levels: n.

    Raises:
        ValueError: another action, no IRS, or fewer than 2 levels.

    Example:
        >>> BidLevels(Scenario(action="structured", num_irs=2), 3).actions(np.array([5]))[:, :3]
        array([[0., 1., 0.]], dtype=float32)
    """

    def __init__(self, scenario: Scenario, levels: int) -> None:
        if scenario.action != "structured":
            raise checks.refusal("action", scenario.action, "'structured', where all but the bids has a neutral value")
        if not scenario.num_irs:
            raise checks.refusal("num_irs", scenario.num_irs, "at least 1: without IRSs there is nothing to bid for")
        levels, self.num_irs = checks.check_whole("levels", levels, 2), scenario.num_irs
        self._codec, self._bids = StructuredActionCodec(scenario), np.linspace(-1.0, 1.0, levels)
        self.joint = levels**self.num_irs <= MOST
        if self.joint:
            self._bids = np.stack(np.meshgrid(*[self._bids] * self.num_irs, indexing="ij"), -1).reshape(
                -1, self.num_irs
            )
        self.count = len(self._bids)

    def actions(self, choices: np.ndarray) -> np.ndarray:
        """Flat actions ``(..., D_a)`` float32 of choices ``(...)`` if they are joint, of ``(..., L)`` if not."""
        bids = self._bids[choices]
        flat = np.tile(self._codec.neutral, (*bids.shape[:-1], 1))
        flat[..., self._codec.layout.slices["bids"]] = bids
        return flat


class _MultiDiscrete(spaces.MultiDiscrete):
    """One whose ``sample`` takes a flat mask as well, which is what PettingZoo and TorchRL pass around."""

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        if isinstance(mask, np.ndarray):
            mask = tuple(np.split(mask, np.cumsum(self.nvec)[:-1]))
        return super().sample(mask, probability) if probability is not None else super().sample(mask)


class DiscreteBids(BaseParallelWrapper):
    """A single environment in which a base station chooses its bids alone, each from n levels.

    The action space is ``Discrete(n^L)`` where that is at most 4,096, else ``MultiDiscrete([n] * L)``; see
    :class:`BidLevels` for what a number means. Every choice is legal at all times, so every mask is full of ones.

    Args:
        env: from ``make_env``, with ``action="structured"``.
        levels: n.
        action_mask: observations are ``{"observation": (D_o,), "action_mask": (n^L,) or (L n,) int8}``, and infos have
            ``action_mask`` too, at reset as well; ``False``: observations stay the ``Box`` they are.

    Raises:
        ValueError: another action, no IRS, fewer than 2 levels; in ``step`` a choice outside the space.

    Example:
        >>> from irs_marl_env import make_env
        >>> env = DiscreteBids(make_env("mdlbi-small-v0", action="structured", fast=False), levels=3)
        >>> env.action_space("bs_0"), env.reset(seed=0)[0]["bs_0"]["action_mask"].shape
        (Discrete(9), (9,))
    """

    def __init__(self, env: ParallelEnv, levels: int, action_mask: bool = True) -> None:
        super().__init__(env)
        self.levels = BidLevels(env.scenario, levels)
        self.action_mask = checks.Flag()("action_mask", action_mask)
        count, each = self.levels.count, self.levels.num_irs
        self._mask = np.ones(count if self.levels.joint else each * count, np.int8)
        # one object per agent, the same at every call; the dicts are read by older wrappers
        self.action_spaces = {
            agent: spaces.Discrete(count) if self.levels.joint else _MultiDiscrete([count] * each)
            for agent in env.possible_agents
        }
        self.observation_spaces = {agent: self._masked_space(agent) for agent in env.possible_agents}

    def _masked_space(self, agent: str) -> spaces.Space[Any]:
        plain = self.env.observation_space(agent)
        mask = spaces.Box(0, 1, self._mask.shape, np.int8)
        return spaces.Dict({"observation": plain, "action_mask": mask}) if self.action_mask else plain

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Its choices."""
        return self.action_spaces[agent]

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """What it observes, with the mask."""
        return self.observation_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Begin an episode."""
        return self._with_masks(*super().reset(seed, options))

    def step(self, actions: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """One slot."""
        flat = actions
        if isinstance(actions, dict):  # what else is wrong the environment says
            flat = {agent: self._flat(agent, choice) for agent, choice in actions.items()}
        observations, rewards, terminations, truncations, infos = super().step(flat)
        observations, infos = self._with_masks(observations, infos)
        return observations, rewards, terminations, truncations, infos

    def _flat(self, agent: str, choice: Any) -> Any:
        space = self.action_spaces.get(agent)
        if space is None:
            return choice
        one = np.asarray(choice)
        if one.dtype.kind not in "iu" or not space.contains(one if one.ndim else one[()]):
            raise checks.refusal(f"actions[{agent!r}]", choice, f"in {space}")
        return self.levels.actions(one)

    def _with_masks(self, observations: dict[str, Any], infos: dict[str, Any]) -> tuple[Any, Any]:
        if not self.action_mask:
            return observations, infos
        seen = {agent: {"observation": x, "action_mask": self._mask.copy()} for agent, x in observations.items()}
        return seen, {agent: {**info, "action_mask": self._mask.copy()} for agent, info in infos.items()}
