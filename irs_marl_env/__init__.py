"""irs-marl-env: base stations compete for intelligent reflecting surfaces.

``make_env`` gives a PettingZoo ``ParallelEnv``, ``make_vec_env`` the same physics for many environments at once.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if getattr(sys, "argv", [])[:1] == ["-m"] and sys.orig_argv[-len(sys.argv)] in ("irs_marl_env", "-mirs_marl_env"):
    from irs_marl_env.signals import end_without_words

    end_without_words()  # python -m irs_marl_env comes here before its own first line, and the imports take a while

from irs_marl_env import layouts, link, policies, solvers
from irs_marl_env.comparison import Comparison, Sweep, compare, sweep
from irs_marl_env.engine.view import View
from irs_marl_env.evaluation import Result, evaluate
from irs_marl_env.parallel_env import MdlbiParallelEnv
from irs_marl_env.registration import register_presets
from irs_marl_env.scenario import Scenario, get_scenario, scenario_ids
from irs_marl_env.vector_env import MdlbiVectorEnv

if TYPE_CHECKING:
    from os import PathLike

    from irs_marl_env.training.claims import ClaimsPolicy
    from irs_marl_env.training.foresight import Foresight
    from irs_marl_env.training.joint_bids import JointBidsPolicy
    from irs_marl_env.training.policy import TrainedPolicy

__version__ = "0.2.0"
__all__ = [
    "Comparison",
    "MdlbiParallelEnv",
    "MdlbiVectorEnv",
    "Result",
    "Scenario",
    "Sweep",
    "View",
    "compare",
    "evaluate",
    "get_scenario",
    "layouts",
    "link",
    "load_policy",
    "make_env",
    "make_vec_env",
    "policies",
    "scenario_ids",
    "solvers",
    "sweep",
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

    Example:
        >>> from irs_marl_env import make_env
        >>> env = make_env("mdlbi-small-v0", num_irs=3, reward="team")
        >>> observations, infos = env.reset(seed=0)
        >>> env.agents, observations["bs_0"].shape, env.action_space("bs_0").shape
        (['bs_0', 'bs_1'], (803,), (83,))
        >>> actions = {agent: env.action_space(agent).sample() for agent in env.agents}
        >>> observations, rewards, terminations, truncations, infos = env.step(actions)
        >>> infos["bs_0"]["rates"].shape, rewards["bs_0"] == rewards["bs_1"], truncations["bs_0"]
        ((4,), True, False)
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
    render_mode: str | None = None,
    **overrides: Any,
) -> MdlbiVectorEnv:
    """``num_envs`` environments stepped at once; see :class:`MdlbiVectorEnv`.

    Raises:
        ValueError: unknown scenario, field or backend, or an impossible value.

    Example:
        >>> import numpy as np
        >>> from irs_marl_env import make_vec_env
        >>> fields = {"observation": "large_scale", "action": "structured"}
        >>> vec = make_vec_env("mdlbi-small-v0", num_envs=16, **fields)
        >>> observations, infos = vec.reset(seed=0)
        >>> actions = np.zeros((16, 2, vec.action_size))
        >>> observations, rewards, terminations, truncations, infos = vec.step(actions)
        >>> observations.shape, rewards.shape, infos["rates"].shape
        ((16, 2, 20), (16, 2), (16, 4))
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
        render_mode=render_mode,
        **overrides,
    )


def load_policy(
    path: str | PathLike[str], trusted: bool = False, **fields: Any
) -> TrainedPolicy | ClaimsPolicy | Foresight | JointBidsPolicy:
    """A trained policy from a file, for :func:`evaluate` and for one's own loop.

    ``policy(observations)`` gives actions ``(E, M, D_a)`` for observations ``(E, M, D_o)`` of ``policy.scenario``, and
    ``evaluate(policy, policy.scenario)`` its rates::

        policy = load_policy("runs/NAME/policy.safetensors")
        result = evaluate(policy, policy.scenario, episodes=100, processes=2)

    Args:
        path: a policy file or a checkpoint that ``examples/maddpg.py`` wrote, or a policy file of
            ``examples/collision.py``, ``examples/foresight.py`` or ``examples/joint_bids.py``.
        trusted: import the modules of parts of one's own (mobility, reward ...) that the training had.
        **fields: scenario fields in which ``policy.scenario`` shall differ from the scenario of the training; the
            number of users, IRSs or base stations too where the networks allow.

    Raises:
        ImportError: the extra ``train`` is not installed.
        ValueError: the file is something else, or does not fit the fields.
        OSError: the file cannot be read.

    Example:
        >>> from irs_marl_env import evaluate, load_policy
        >>> policy = load_policy("examples/checkpoints/mdlbi-blocked-small-v0.safetensors")
        >>> result = evaluate(policy, policy.scenario, episodes=1, slots=2)
        >>> result.rates.shape  # (episodes, slots, M)
        (1, 2, 2)
    """
    try:
        from irs_marl_env.training import policy_files
    except ModuleNotFoundError as error:
        raise ImportError(f"load_policy needs {error.name}: pip install 'irs-marl-env[train]'") from error
    return policy_files.load_policy(path, trusted, **fields)


register_presets()
