"""RLlib: a ``MultiAgentEnv`` whose truncation is no termination, for the new API stack."""

from __future__ import annotations

from typing import Any

import numpy as np
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from irs_marl_env.parallel_env import MdlbiParallelEnv


class RLlibEnv(MultiAgentEnv):
    """One environment; every base station is an agent, ``"bs_0"``, ``"bs_1"`` and so on.

    RLlib's own wrapper of PettingZoo flags each agent at the end of an episode, and its learner then takes a time limit
    for a termination. Here the last step says ``truncateds = {"__all__": True}`` and nothing else.

    Args:
        config: ``"scenario"``, a preset name or a scenario; all other entries are those of
            :func:`irs_marl_env.make_env` (``fast``, ``render_mode``) and scenario fields.

    Example:
        >>> from ray.rllib.algorithms.ppo import PPOConfig
        >>> config = PPOConfig().environment(RLlibEnv, env_config={"scenario": "mdlbi-small-v0", "reward": "team"})
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        super().__init__()
        options = {"scenario": "mdlbi-v0", **(config or {})}
        self.env = env = MdlbiParallelEnv(options.pop("scenario"), **options)
        self.render_mode = env.render_mode
        self.possible_agents = list(env.possible_agents)
        self.agents = list(env.possible_agents)
        self.observation_spaces = {agent: env.observation_space(agent) for agent in env.possible_agents}
        self.action_spaces = {agent: env.action_space(agent) for agent in env.possible_agents}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Begin an episode."""
        return self.env.reset(seed=seed, options=options)

    def step(
        self, action_dict: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """One slot."""
        observations, rewards, _, truncations, infos = self.env.step(action_dict)
        over = {"__all__": all(truncations.values())}
        return observations, rewards, {"__all__": False}, over, infos

    def render(self) -> Any:
        """A picture of the present slot."""
        return self.env.render()

    def close(self) -> None:
        """Forget the picture."""
        self.env.close()
