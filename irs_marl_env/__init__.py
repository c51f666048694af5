"""irs-marl-env: base stations compete for intelligent reflecting surfaces.

``make_env`` gives a PettingZoo ``ParallelEnv``, ``make_vec_env`` the same physics for many environments at once.
"""

from __future__ import annotations

from typing import Any

from irs_marl_env import link, policies, solvers
from irs_marl_env.engine.view import View
from irs_marl_env.evaluation import Result, evaluate
from irs_marl_env.parallel_env import MdlbiParallelEnv
from irs_marl_env.registration import register_presets
from irs_marl_env.scenario import Scenario, get_scenario, scenario_ids
from irs_marl_env.vector_env import MdlbiVectorEnv

__version__ = "0.1.0"
__all__ = [
    "MdlbiParallelEnv",
    "MdlbiVectorEnv",
    "Result",
    "Scenario",
    "View",
    "evaluate",
    "get_scenario",
    "link",
    "make_env",
    "make_vec_env",
    "policies",
    "scenario_ids",
    "solvers",
]


def make_env(
    scenario: str | Scenario = "mdlbi-v0",
    *,
    render_mode: str | None = None,
    fast: bool | None = None,
    **overrides: Any,
) -> MdlbiParallelEnv:
    """A PettingZoo ``ParallelEnv`` of a preset or scenario, with scenario fields overridden by keyword.

    See :class:`MdlbiParallelEnv`.

    Raises:
        ValueError: unknown scenario, field or render mode, or an impossible value.
    """
    return MdlbiParallelEnv(scenario, render_mode=render_mode, fast=fast, **overrides)


def make_vec_env(
    scenario: str | Scenario = "mdlbi-v0",
    num_envs: int = 1,
    *,
    backend: str = "numpy",
    device: Any = None,
    autoreset: bool = True,
    stagger: bool = False,
    fast: bool | None = None,
    read_only: bool = False,
    **overrides: Any,
) -> MdlbiVectorEnv:
    """``num_envs`` environments stepped at once; see :class:`MdlbiVectorEnv`.

    Raises:
        ValueError: unknown scenario, field or backend, or an impossible value.
    """
    return MdlbiVectorEnv(
        scenario,
        num_envs,
        backend=backend,
        device=device,
        autoreset=autoreset,
        stagger=stagger,
        fast=fast,
        read_only=read_only,
        **overrides,
    )


register_presets()
