"""AgileRL: a vector of environments by agent, all of them in one step of this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from agilerl.vector.pz_vec_env import PettingZooVecEnv

from irs_marl_env.adapters import batch_of, own_rates, per_agent, spaces_of_one
from irs_marl_env.scenario import Scenario

Step = tuple[
    dict[str, np.ndarray],
    dict[str, np.ndarray],
    dict[str, np.ndarray],
    dict[str, np.ndarray],
    dict[str, dict[str, Any]],
]


class AgileVecEnv(PettingZooVecEnv):
    """``num_envs`` environments, in place of ``AsyncPettingZooVecEnv`` with a process for each.

    Infos by agent hold the metrics of every step: own ``rates (E, K)``, ``sum_rate (E,)``, ``owner (E, L)``,
    ``power_w (E,)`` and ``cell (E, K)``. The step that ends an episode hands out the first observation of the next one;
    the last one is in ``infos[agent]["terminal_observation"] (E, D_o)`` of the rows where
    ``infos[agent]["TimeLimit.truncated"] (E,)`` is true. AgileRL's own vector loses both at the end of an episode.

    AgileRL shares one network between agents whose names differ in their number alone: all base stations.

    Args:
        scenario: preset name or scenario.
        num_envs: E.
        **options: of :func:`irs_marl_env.make_vec_env` (``stagger``, ``fast``, ``render_mode``), and scenario fields.

    Example:
        >>> vec = AgileVecEnv("mdlbi-small-v0", 3, fast=False)
        >>> vec.reset(seed=0)[0]["bs_1"].shape
        (3, 546)
    """

    def __init__(self, scenario: str | Scenario = "mdlbi-v0", num_envs: int = 1, **options: Any) -> None:
        self.batch = batch = batch_of(scenario, num_envs, options)
        spaces = [dict.fromkeys(batch.agents, space) for space in spaces_of_one(batch)]
        names, looks = list(batch.agents), {"metadata": batch.metadata, "render_mode": batch.render_mode}
        super().__init__(num_envs, *spaces, names, **looks)
        self._actions: Mapping[str, Any] = {}

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Begin an episode in every environment; environment e is seeded with ``seed + e``."""
        observations, _ = self.batch.reset(seed=seed, options=options)
        return self._by_agent(observations), {agent: {} for agent in self.agents}

    def step(self, actions: Mapping[str, Any], *args: Any, **kwargs: Any) -> Step:
        """One slot in every environment, with actions ``(E, D_a)`` by agent."""
        self._actions = actions
        return self.step_wait()

    def step_async(self, actions: list[dict[str, Any]]) -> None:
        """Take the actions of a step: a dict by agent for each environment."""
        self._actions = {agent: [row[agent] for row in actions] for agent in self.agents}

    def step_wait(self, timeout: float | None = None) -> Step:
        """What :meth:`step` returns."""
        stacked = np.stack([np.asarray(self._actions[agent]) for agent in self.agents], axis=1)
        shape = (self.num_envs, self.num_agents, self.batch.action_size)
        *found, metrics = self.batch.step(per_agent(stacked, shape, self.num_envs, self.num_agents))
        observations, rewards, terminations, truncations = map(self._by_agent, found)
        infos = {agent: self._info(metrics, m) for m, agent in enumerate(self.agents)}
        return observations, rewards, terminations, truncations, infos

    def _by_agent(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return {agent: x[:, m] for m, agent in enumerate(self.agents)}

    def _info(self, metrics: dict[str, Any], m: int) -> dict[str, Any]:
        rates = own_rates(metrics, self.num_agents)[:, m]
        info = {"rates": rates, "cell": metrics["cell"], "owner": metrics["owner"]}
        info |= {name: metrics[name][:, m] for name in ("sum_rate", "power_w")}
        if "final_observation" in metrics:
            info["TimeLimit.truncated"] = metrics["TimeLimit.truncated"]
            info["terminal_observation"] = metrics["final_observation"][:, m]
        return info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A picture of every environment."""
        return self.batch.render()

    def close_extras(self, **kwargs: Any) -> None:
        """Forget the pictures."""
        self.batch.close()
