"""HARL and on-policy: the vector environment of their runners, with the global state for a critic of all agents."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from irs_marl_env.adapters import METRICS, batch_of, per_agent, spaces_of_one
from irs_marl_env.scenario import Scenario


class ShareEnv:
    """``num_envs`` environments in one step; no library needed.

    It stands in for ``ShareDummyVecEnv`` and ``ShareSubprocVecEnv`` of HARL (``harl/envs/env_wrappers.py``) and of
    on-policy (``onpolicy/envs/env_wrappers.py``), environments included: it is what HARL's ``make_train_env`` returns.

    Every info has ``bad_transition``: true where the episode is truncated, so that both bootstrap. As HARL's wrappers
    do, such a step puts the last observations, the last state and the available actions into the infos of the first
    agent: ``original_obs (M, D_o)``, ``original_state (M, D_s)`` and ``original_avail_actions``. Infos also hold the
    metrics of the step: ``rates (K,)`` and ``cell (K,)`` of the system, ``owner (L,)``, ``sum_rate`` and ``power_w``.

    Args:
        scenario: preset name or scenario.
        num_envs: E.
        seed: of the next :meth:`reset`; ``None``: entropy.
        **options: of :func:`irs_marl_env.make_vec_env` (``stagger``, ``fast``, ``render_mode``), and scenario fields.

    Example:
        >>> vec = ShareEnv("mdlbi-small-v0", 3, seed=0, fast=False)
        >>> observations, states, available_actions = vec.reset()
        >>> observations.shape, states.shape, list(available_actions)
        ((3, 2, 546), (3, 2, 852), [None, None, None])
    """

    def __init__(
        self, scenario: str | Scenario = "mdlbi-v0", num_envs: int = 1, seed: int | None = None, **options: Any
    ) -> None:
        self.batch = batch = batch_of(scenario, num_envs, options)
        self.num_envs, self.n_agents = num_envs, len(batch.agents)
        observations, actions = spaces_of_one(batch)
        state = spaces.Box(batch.state_encoder.low, batch.state_encoder.high)
        self.observation_space = [observations for _ in batch.agents]
        self.share_observation_space = [state for _ in batch.agents]
        self.action_space = [actions for _ in batch.agents]
        self._seed, self._actions = seed, np.zeros(0)

    def seed(self, seed: int | None) -> None:
        """Seed environment e with ``seed + e`` at the next :meth:`reset`."""
        self._seed = seed

    def reset(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Observations ``(E, M, D_o)``, states ``(E, M, D_s)`` and available actions, ``(E,)`` of None."""
        observations, _ = self.batch.reset(seed=self._seed)
        self._seed = None
        return observations, self._shared(self.batch.state()), self._available()

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[list[dict[str, Any]]], np.ndarray]:
        """One slot, with actions ``(E, M, D_a)``.

        Returns:
            Observations ``(E, M, D_o)``, states ``(E, M, D_s)``, rewards ``(E, M, 1)``, dones ``(E, M)`` bool, a dict
            for each agent of each environment, and available actions ``(E,)`` of None.
        """
        shape = (self.num_envs, self.n_agents, *self.action_space[0].shape)
        action = per_agent(actions, shape, self.num_envs, self.n_agents)
        observations, rewards, _, dones, metrics = self.batch.step(action)
        states = self._shared(self.batch.state())
        infos = [[self._info(metrics, e, m) for m in range(self.n_agents)] for e in range(self.num_envs)]
        for e in np.flatnonzero(dones[:, 0]):
            for info in infos[e]:
                info["bad_transition"] = True
            infos[e][0]["original_obs"] = metrics["final_observation"][e]
            infos[e][0]["original_state"] = self._shared(metrics["final_state"])[e]
            infos[e][0]["original_avail_actions"] = None
        return observations, states, rewards[..., None], dones, infos, self._available()

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions of a step."""
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[list[dict[str, Any]]], np.ndarray]:
        """What :meth:`step` returns."""
        return self.step(self._actions)

    def _info(self, metrics: dict[str, Any], e: int, m: int) -> dict[str, Any]:
        of_agents = {name: metrics[name][e, m].item() for name in ("sum_rate", "power_w")}
        return {"bad_transition": False, **{name: metrics[name][e] for name in METRICS}, **of_agents}

    def _shared(self, states: np.ndarray) -> np.ndarray:
        return np.repeat(states[:, None], self.n_agents, axis=1)

    def _available(self) -> np.ndarray:
        return np.full(self.num_envs, None)

    def render(self, mode: str = "rgb_array") -> tuple[np.ndarray, ...] | None:
        """A picture of every environment."""
        return self.batch.render()

    def close(self) -> None:
        """Forget the pictures."""
        self.batch.close()
