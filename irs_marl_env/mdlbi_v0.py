"""PettingZoo module of ``mdlbi-v0``: ``parallel_env``, ``env`` and ``raw_env``, each taking scenario overrides."""

from __future__ import annotations

from typing import Any

from pettingzoo.utils import conversions, wrappers
from pettingzoo.utils.env import AECEnv

from irs_marl_env.parallel_env import MdlbiParallelEnv
from irs_marl_env.scenario import Scenario

__all__ = ["env", "parallel_env", "raw_env"]


def parallel_env(
    scenario: str | Scenario = "mdlbi-v0",
    *,
    max_cycles: int | None = None,
    render_mode: str | None = None,
    **overrides: Any,
) -> MdlbiParallelEnv:
    """The parallel environment; ``max_cycles`` is PettingZoo's name for ``horizon``."""
    if max_cycles is not None:
        overrides["horizon"] = max_cycles
    return MdlbiParallelEnv(scenario, render_mode=render_mode, **overrides)


def raw_env(*args: Any, **kwargs: Any) -> AECEnv:
    """The agent-by-agent (AEC) view of :func:`parallel_env`, without checks of the calling order."""
    return conversions.parallel_to_aec_wrapper(parallel_env(*args, **kwargs))


def env(*args: Any, **kwargs: Any) -> AECEnv:
    """The AEC view with PettingZoo's usual check of the calling order."""
    return wrappers.OrderEnforcingWrapper(raw_env(*args, **kwargs))
