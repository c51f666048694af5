"""Thin shells of other libraries over the batched environment, each imported where it is used.

All of them say of the end of an episode what it is, a time limit: nothing terminates, a learner bootstraps from the
last observation. docs/libraries.md has what was measured with each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from irs_marl_env.checks import refusal
from irs_marl_env.physics.association import in_cell
from irs_marl_env.scenario import Scenario
from irs_marl_env.vector_env import MdlbiVectorEnv

METRICS = ("rates", "cell", "owner", "sum_rate", "power_w")  # of a step, by the names of the batch


def batch_of(
    scenario: str | Scenario, num_envs: int, options: dict[str, Any], *, backend: str = "numpy", **chosen: Any
) -> MdlbiVectorEnv:
    """The batch under an adapter: with the options that a user gave, and those that the adapter chooses itself.

    Libraries keep observations beyond the next step, so memory is never used again (``read_only``).

    Raises:
        ValueError: an option that the adapter chooses otherwise.
    """
    chosen = {"backend": backend, "autoreset": True, "read_only": False, **chosen}
    for name, value in chosen.items():
        if name in options and options[name] != value:
            raise refusal(name, options[name], f"left out, or {value!r}, which this adapter needs")
    return MdlbiVectorEnv(scenario, num_envs, **{**options, **chosen})


def per_agent(action: Any, shape: tuple[int, ...], num_envs: int, num_agents: int) -> np.ndarray:
    """An action of the shape a library has, as ``(E, M, D_a)``; the batch checks the rest.

    Raises:
        ValueError: the action has another shape.
    """
    action = np.asarray(action)
    if action.shape != shape:
        raise ValueError(f"action has shape {action.shape}: must be {shape}")
    return action.reshape(num_envs, num_agents, -1)


def own_rates(metrics: dict[str, Any], num_agents: int) -> Any:
    """Rates ``(E, M, K)`` [bit/s/Hz] of each BS's own users, zero for all others, from the infos of a step."""
    return metrics["rates"][:, None] * in_cell(metrics["cell"], num_agents)


def spaces_of_one(batch: MdlbiVectorEnv) -> tuple[spaces.Box, spaces.Box]:
    """Observations ``(D_o,)`` and actions ``(D_a,)`` of a base station, which are those of all."""
    observations, actions = batch.single_observation_space, batch.single_action_space
    return spaces.Box(observations.low[0], observations.high[0]), spaces.Box(actions.low[0], actions.high[0])
