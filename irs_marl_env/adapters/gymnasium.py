"""Gymnasium: all base stations as one agent, for single-agent algorithms; one environment, or a vector of them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space

from irs_marl_env.scenario import Scenario
from irs_marl_env.vector_env import MdlbiVectorEnv

_METRICS = ("rates", "cell", "owner", "sum_rate", "power_w")


def _spaces(batch: MdlbiVectorEnv) -> tuple[spaces.Box, spaces.Box]:
    """Observations ``(M D_o,)`` and actions ``(M D_a,)`` of all base stations, one after the other."""
    observations, actions = batch.single_observation_space, batch.single_action_space
    central = spaces.Box(observations.low.ravel(), observations.high.ravel())
    return central, spaces.Box(actions.low.ravel(), actions.high.ravel())


class CentralEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """One controller sees and acts for all base stations.

    Observations are those of all base stations one after the other ``(M D_o,)``, actions likewise ``(M D_a,)``, and the
    reward is the sum of theirs, with ``reward="local"`` the system sum rate [bit/s/Hz]. An episode is truncated after
    ``horizon`` slots.

    Args:
        scenario: preset name or scenario.
        render_mode: ``None`` or ``"rgb_array"``.
        **options: ``fast``, and scenario fields.

    Example:
        >>> env = CentralEnv("mdlbi-small-v0", fast=False, action="structured")
        >>> env.reset(seed=0)[0].shape, env.action_space.shape
        ((1092,), (30,))
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  (Gymnasium's own form)

    def __init__(self, scenario: str | Scenario = "mdlbi-v0", render_mode: str | None = None, **options: Any) -> None:
        self.batch = MdlbiVectorEnv(scenario, 1, **{**options, "autoreset": False, "render_mode": render_mode})
        self.render_mode = render_mode
        self.observation_space, self.action_space = _spaces(self.batch)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        observations, _ = self.batch.reset(seed=seed, options=options)
        return observations.reshape(-1), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One slot."""
        one = np.asarray(action).reshape(1, len(self.batch.agents), -1)
        observations, rewards, _, truncations, metrics = self.batch.step(one)
        info = {name: metrics[name][0] for name in _METRICS}
        return observations.reshape(-1), float(rewards.sum()), False, bool(truncations[0, 0]), info

    def render(self) -> np.ndarray | None:
        """A picture of the present slot."""
        frames = self.batch.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Forget the picture."""
        self.batch.close()


class GymnasiumVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """``num_envs`` of :class:`CentralEnv` in one step, with ``AutoresetMode.SAME_STEP``.

    The step that ends an episode hands out the first observation of the next one; the last one is in
    ``infos["final_obs"]``, where the mask ``infos["_final_obs"]`` is true, and its metrics in ``infos["final_info"]``.

    Args:
        scenario: preset name or scenario.
        num_envs: E.
        **options: of :func:`irs_marl_env.make_vec_env` (``stagger``, ``fast``, ``render_mode``), and scenario fields.

    Example:
        >>> vec = GymnasiumVectorEnv("mdlbi-small-v0", 3, fast=False)
        >>> vec.reset(seed=0)[0].shape
        (3, 1092)
    """

    def __init__(self, scenario: str | Scenario = "mdlbi-v0", num_envs: int = 1, **options: Any) -> None:
        self.batch = MdlbiVectorEnv(scenario, num_envs, **{**options, "backend": "numpy", "autoreset": True})
        self.num_envs, self.metadata, self.render_mode = num_envs, self.batch.metadata, self.batch.render_mode
        self.single_observation_space, self.single_action_space = _spaces(self.batch)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode in every environment, or where ``options["reset_mask"]`` is true."""
        if isinstance(seed, int):
            super().reset(seed=seed)
        observations, _ = self.batch.reset(seed=seed, options=options)
        return observations.reshape(self.num_envs, -1), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One slot in every environment."""
        action = np.asarray(actions).reshape(self.num_envs, len(self.batch.agents), -1)
        observations, rewards, terminations, truncations, infos = self.batch.step(action)
        for name in _METRICS:
            infos[f"_{name}"] = np.ones(self.num_envs, bool)
        for name in ("final_obs", "final_observation"):
            if name in infos:
                infos[name] = infos[name].reshape(self.num_envs, -1)
        flat = observations.reshape(self.num_envs, -1)
        return flat, rewards.sum(-1), terminations[:, 0], truncations[:, 0], infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A picture of every environment."""
        return self.batch.render()

    def close_extras(self, **kwargs: Any) -> None:
        """Forget the pictures."""
        self.batch.close()
