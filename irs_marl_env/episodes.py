"""A policy at work: what a name stands for, how its actions are checked, and an episode of it, slot by slot."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env.checks import Choice, check_whole, near, plain_text, shown, warn
from irs_marl_env.engine.view import View
from irs_marl_env.policies import POLICIES
from irs_marl_env.scenario import Scenario, get_scenario
from irs_marl_env.sizes import LARGEST_SEED
from irs_marl_env.vector_env import MdlbiVectorEnv

BOUND = "upper-bound"  # evaluated like a policy, though no policy reaches it
INTERFACES = ("arrays", "dicts")

__all__ = [
    "BOUND",
    "INTERFACES",
    "Played",
    "Policy",
    "actor",
    "adapted",
    "play",
    "policy_named",
    "resolved",
    "warn_of_neglects",
]

Policy = Any  # a name, an object with ``bind(env, seed)``, or a callable observations -> actions
_WANTS_DICTS = "works with dicts by agent, so say interface='dicts'"


# --- which policy -----------------------------------------------------------------------------------------------


def policy_named(policy: Policy) -> Any:
    """The policy that a name stands for, or the object that was given.

    Raises:
        ValueError: an unknown name.
        TypeError: something that is no policy.
    """
    return resolved(policy)[0]


def resolved(policy: Policy) -> tuple[Any, str]:
    """The policy itself and its name; see :func:`policy_named`."""
    if isinstance(policy, str):
        policy = plain_text(policy)
        if policy == BOUND:
            return BOUND, BOUND
        if policy not in POLICIES:
            known = (*POLICIES, BOUND)
            allowed = f"{', '.join(known)}, or a callable (for commands MODULE:NAME, or FILE.safetensors)"
            raise ValueError(f"policy {shown(policy)} is not known; allowed: {allowed}{near(policy, known)}")
        return POLICIES[policy], policy
    if isinstance(policy, type):
        name = policy.__name__
        raise TypeError(f"policy {name} is a class: must be an object made of it, such as {name}()")
    if not callable(policy) and not hasattr(policy, "bind"):
        raise TypeError(f"policy of type {type(policy).__name__}: must be a name, a callable, or have bind(env, seed)")
    return policy, str(getattr(policy, "name", getattr(policy, "__name__", type(policy).__name__)))


def adapted(policy: Policy, scenario: str | Scenario) -> Scenario:
    """The scenario that a policy plays: the same physics and draws, with the actions and observations it needs.

    Raises:
        ValueError: a policy or a scenario that is not known, a bound, or a policy that cannot play this scenario.
        TypeError: something that is no policy.
    """
    policy, label = resolved(policy)
    if label == BOUND:
        raise ValueError(f"policy {BOUND!r}: a bound does not act, so there is nothing to see")
    scenario = get_scenario(scenario)
    return policy.adapt(scenario) if hasattr(policy, "adapt") else scenario


def warn_of_neglects(policy: Any, label: str, scenario: Scenario) -> None:
    """A warning for each option of a scenario that a policy chooses as if it were not there."""
    for neglect in getattr(policy, "neglects", lambda scenario: [])(scenario):
        warn(f"policy {label!r} neglects {neglect}")


# --- an episode -------------------------------------------------------------------------------------------------


class Played(NamedTuple):
    """An episode after its reset, and after each of its slots.

    Attributes:
        env: a batch of one, as it stands now.
        view: of the slot that was played, before anybody moved; ``None`` after the reset.
        action: ``(1, M, D_a)`` what the policy did in it; ``None`` after the reset.
        infos: of that step; empty after the reset.
    """

    env: MdlbiVectorEnv
    view: View | None
    action: np.ndarray | None
    infos: dict[str, Any]


def play(
    policy: Policy,
    scenario: str | Scenario = "mdlbi-v0",
    seed: int = 0,
    slots: int | None = None,
    *,
    render_mode: str | None = None,
    interface: str = "arrays",
    name: str | None = None,
) -> Iterator[Played]:
    """One episode of a policy: once after the reset, then after each slot.

    Everything is checked before the first slot is asked for. The draws are those of the episode with this seed in
    :func:`irs_marl_env.evaluate`, whatever the policy.

    Args:
        policy: as for :func:`irs_marl_env.evaluate`; a bound does not act.
        scenario: preset name or scenario.
        seed: of the episode, and of the policy's own draws.
        slots: how many; ``None``: the whole episode.
        render_mode: of the environment; with ``"rgb_array"`` it draws (``env.render()``).
        interface: what a callable takes and returns; see :func:`irs_marl_env.evaluate`.
        name: what messages call the policy; ``None``: its own name.

    Raises:
        ValueError: what :func:`adapted` refuses, impossible numbers; later on, actions that are none.
        TypeError: something that is no policy.

    Example:
        >>> for played in play("structured-local-gain", "mdlbi-small-v0", slots=2):
        ...     print(sorted(played.infos))
        []
        ['cell', 'owner', 'power_w', 'rates', 'sum_rate']
        ['cell', 'owner', 'power_w', 'rates', 'sum_rate']
    """
    scenario = adapted(policy, scenario)
    policy, label = resolved(policy)
    seed = check_whole("seed", seed, 0, LARGEST_SEED)
    slots = scenario.horizon if slots is None else check_whole("slots", slots, 1, scenario.horizon)
    interface = Choice(INTERFACES)("interface", interface)
    label = label if name is None else name
    warn_of_neglects(policy, label, scenario)
    env = MdlbiVectorEnv(scenario, 1, render_mode=render_mode, autoreset=False)
    observations, _ = env.reset(seed=seed)
    act = actor(policy, env, seed, label, interface)
    return _slots(env, observations, act, slots)


def _slots(env: MdlbiVectorEnv, observations: Any, act: Callable[[Any], np.ndarray], slots: int) -> Iterator[Played]:
    try:
        yield Played(env, None, None, {})
        for _ in range(slots):
            view, action = env.view(), act(observations)
            observations, _, _, _, infos = env.step(action)
            yield Played(env, view, action, infos)
    finally:
        env.close()


# --- its actions, checked ---------------------------------------------------------------------------------------


def actor(policy: Any, env: MdlbiVectorEnv, seed: int, label: str, interface: str = "arrays") -> Callable[[Any], Any]:
    """A policy as a callable on the observations of a batch, whose actions are checked.

    Args:
        policy: the policy itself, not its name.
        env: what it acts in, after the reset.
        seed: of the first row.
        label: what messages call the policy.
        interface: of a callable, one of :data:`INTERFACES`; ``"dicts"`` is for a batch of one.
    """
    act = policy.bind(env, seed) if hasattr(policy, "bind") else policy
    by_agent = interface == "dicts" and not hasattr(policy, "bind")
    built_in = any(policy is each for each in POLICIES.values())

    def checked(observations: np.ndarray) -> np.ndarray:
        given = dict(zip(env.agents, observations[0], strict=True)) if by_agent else observations
        try:
            actions = act(given)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            if policy is act and not by_agent and _asks_a_dict(error):
                raise ValueError(f"policy {label!r} {_WANTS_DICTS} ({error})") from error
            raise
        except (ValueError, OSError, ImportError) as error:
            if built_in:
                raise
            # alone it would look like a fault of the input, or of a file that a command reads or writes
            raise ValueError(f"policy {label!r} failed: {type(error).__name__}: {error}{_place(error)}") from error
        return _actions(label, env, _stacked(label, env, actions) if by_agent else actions)

    return checked


def _asks_a_dict(error: Exception) -> bool:
    """Whether an error is what an array answers to somebody who takes it for a dict by agent."""
    if isinstance(error, AttributeError):
        return isinstance(getattr(error, "obj", None), np.ndarray) and hasattr(dict, error.name or "")
    if isinstance(error, TypeError):
        return "unhashable type: 'numpy.ndarray'" in str(error)  # {agent: ... for agent in observations}
    return isinstance(error, IndexError) and "only integers" in str(error)  # observations["bs_0"]


def _place(error: Exception) -> str:
    """Where an error was raised, for whoever sees its message alone."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _stacked(label: str, env: MdlbiVectorEnv, actions: Any) -> np.ndarray:
    """Actions ``(1, M, D_a)`` from those of a policy for ``interface="dicts"``."""
    names = ", ".join(env.agents)
    if not isinstance(actions, Mapping):
        kind = type(actions).__name__
        raise ValueError(f"policy {label!r} returned {kind}: with interface='dicts' must be a dict of {names}")
    missing = [agent for agent in env.agents if agent not in actions]
    if missing:
        raise ValueError(f"policy {label!r} returned no action of {', '.join(missing)}: must be a dict of {names}")
    for agent in env.agents:
        if np.shape(actions[agent]) != (env.action_size,):
            raise ValueError(
                f"policy {label!r} returned an action of {agent} of shape {np.shape(actions[agent])}: "
                f"must be ({env.action_size},), for action={env.scenario.action!r}"
            )
    return np.stack([actions[agent] for agent in env.agents])[None]


def _actions(label: str, env: MdlbiVectorEnv, actions: Any) -> np.ndarray:
    """The actions ``(E, M, D_a)`` that a policy returned, if they are ones of this environment.

    Raises:
        ValueError: they are something else; the message says what they must be.
    """
    shape = (env.num_envs, env.scenario.num_bs, env.action_size)
    if isinstance(actions, Mapping):
        raise ValueError(f"policy {label!r} returned a dict: it {_WANTS_DICTS}")
    try:
        found = np.asarray(actions)
    except Exception as error:  # a tensor that asks for gradients or lives elsewhere, a ragged list
        raise ValueError(f"policy {label!r} returned no array of shape {shape} ({error})") from error
    if found.shape != shape:
        sizes = f"{shape} = (episodes, BSs, D_a), for action={env.scenario.action!r}"
        raise ValueError(f"policy {label!r} returned actions of shape {found.shape}: must be {sizes}")
    if found.dtype.kind not in "fiub" or not np.isfinite(found).all():
        kind = "entries that are not finite" if found.dtype.kind == "f" else f"entries of type {found.dtype}"
        raise ValueError(f"policy {label!r} returned {kind}: must be finite numbers in [-1, 1]")
    return found
