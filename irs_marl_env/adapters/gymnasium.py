"""Gymnasium: all base stations as one agent, for single-agent algorithms; one environment, or a vector of them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from irs_marl_env import checks
from irs_marl_env.adapters import METRICS, batch_of, per_agent
from irs_marl_env.scenario import Scenario
from irs_marl_env.vector_env import MdlbiVectorEnv


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
        self.batch = batch_of(scenario, 1, {**options, "render_mode": render_mode}, autoreset=False)
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
        one = per_agent(action, self.action_space.shape or (), 1, len(self.batch.agents))
        observations, rewards, _, truncations, metrics = self.batch.step(one)
        info: dict[str, Any] = {name: metrics[name][0] for name in METRICS}
        if truncations[0, 0]:
            info["TimeLimit.truncated"] = True
        return observations.reshape(-1), float(rewards.sum()), False, bool(truncations[0, 0]), info

    def render(self) -> np.ndarray | None:
        """A picture of the present slot."""
        frames = self.batch.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Forget the picture."""
        self.batch.close()


class GymnasiumVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """``num_envs`` of :class:`CentralEnv` in one step.

    As it comes, the step that ends an episode hands out the first observation of the next one; the last one is in
    ``infos["final_obs"]``, where the mask ``infos["_final_obs"]`` is true, and its metrics in ``infos["final_info"]``.

    Args:
        scenario: preset name or scenario.
        num_envs: E.
        autoreset_mode: Gymnasium's, or its text. ``SAME_STEP``: as above. ``NEXT_STEP``: the step after the end begins
            the next episode, whatever its action, with a reward of 0 and no metrics; some wrappers,
            ``NormalizeObservation`` among them, take nothing else. ``DISABLED``: :meth:`reset` begins it.
        **options: of :func:`irs_marl_env.make_vec_env` (``stagger``, ``fast``, ``render_mode``), and scenario fields.

    Raises:
        ValueError: an impossible value; ``stagger`` with another mode than ``SAME_STEP``.

    Example:
        >>> vec = GymnasiumVectorEnv("mdlbi-small-v0", 3, fast=False)
        >>> vec.reset(seed=0)[0].shape
        (3, 1092)
    """

    def __init__(
        self,
        scenario: str | Scenario = "mdlbi-v0",
        num_envs: int = 1,
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
        **options: Any,
    ) -> None:
        names = checks.Choice(tuple(mode.value for mode in AutoresetMode))
        mode = AutoresetMode(names("autoreset_mode", getattr(autoreset_mode, "value", autoreset_mode)))
        same_step = mode is AutoresetMode.SAME_STEP
        self.batch = batch_of(scenario, num_envs, options, autoreset=same_step)
        self.num_envs, self.render_mode = num_envs, self.batch.render_mode
        self.metadata = {**self.batch.metadata, "autoreset_mode": mode}
        self.single_observation_space, self.single_action_space = _spaces(self.batch)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._begins = False  # NEXT_STEP: the coming step begins an episode

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode in every environment, or where ``options["reset_mask"]`` is true.

        Raises:
            ValueError: an impossible seed or option; with ``NEXT_STEP`` a mask that leaves rows out, since there all
                rows end at the same step.
        """
        mask = (options or {}).get("reset_mask", True)
        if self.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP and not np.all(mask):
            raise checks.refusal("options['reset_mask']", mask, "True for all rows with AutoresetMode.NEXT_STEP")
        observations, _ = self.batch.reset(seed=seed, options=options)
        if isinstance(seed, int):
            super().reset(seed=seed)
        self._begins = False
        return observations.reshape(self.num_envs, -1), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One slot in every environment."""
        no = np.zeros(self.num_envs, bool)
        if self._begins:
            return self.reset()[0], np.zeros(self.num_envs), no, no.copy(), {}
        action = per_agent(actions, self.action_space.shape or (), self.num_envs, len(self.batch.agents))
        observations, rewards, _, truncations, metrics = self.batch.step(action)
        infos: dict[str, Any] = {name: metrics[name] for name in METRICS}
        infos |= {f"_{name}": np.ones(self.num_envs, bool) for name in METRICS}
        over, flat = truncations[:, 0].copy(), observations.reshape(self.num_envs, -1)
        if over.any() and self.batch.autoreset:
            infos["final_obs"] = last = np.full(self.num_envs, None)  # an array of objects, as Gymnasium's own
            for row in np.flatnonzero(over):
                last[row] = metrics["final_obs"][row].ravel()
            infos |= {name: metrics[name] for name in ("final_info", "_final_obs", "_final_info")}
        elif over.any():
            infos |= {"TimeLimit.truncated": over.copy(), "_TimeLimit.truncated": over.copy()}
            self._begins = self.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
        return flat, rewards.sum(-1), no, over, infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A picture of every environment."""
        return self.batch.render()

    def close_extras(self, **kwargs: Any) -> None:
        """Forget the pictures."""
        if hasattr(self, "batch"):  # Gymnasium also closes what was refused while it was made
            self.batch.close()
