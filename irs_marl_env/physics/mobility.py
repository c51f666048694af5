"""Mobility: how users walk about the area.

Positions are in m, float64, ``(E, K, 2)``; the area is the rectangle ``scenario.bounds_m``. A mobility model is
an object with two methods, of which :data:`MOBILITY` has the built-in ones by name:

- ``start(constants, streams, position)`` draws the motion of a new episode;
- ``advance(constants, motion, streams)`` moves it by one slot.

A motion is a dict of arrays with the environment as leading axis; ``"position" (E, K, 2)`` is one of them. Draw from
the streams ``"mobility"`` (uniform numbers) and ``"velocity"`` (normal ones), as many in every slot whatever happens,
and keep the users inside the area: ``streams.uniform("mobility", K, 2)`` is ``(E, K, 2)`` in [0, 1), and
``streams.complex_normal("velocity", K)`` is ``(E, K)`` with two normal numbers of variance 1/2 in each entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env import arrays, checks
from irs_marl_env.array_files import load_array, path_of
from irs_marl_env.arrays import namespace
from irs_marl_env.scenario import Scenario, ScenarioError
from irs_marl_env.streams import Streams

Array = Any
Motion = dict[str, Array]
Targets = Callable[["MobilityConstants", Array], Array]  # new targets from (..., 2) uniform numbers


class MobilityConstants(NamedTuple):
    """What the mobility models need of a scenario, as arrays."""

    scenario: Scenario
    origin: Array  # (2,) corner of the area with the least coordinates, m
    area: Array  # (2,) sides of the area, m
    twice_area: Array
    member: Array  # (K,) group of each user
    num_groups: int
    quarter_turn: Array  # (2,) turns; the sine of an angle plus these is the angle's (cosine, sine)


def mobility_constants(scenario: Scenario, xp: Any, device: Any = None) -> MobilityConstants:
    """The constants of a scenario in an array namespace."""
    groups = min(scenario.num_groups, scenario.num_users)
    area = np.asarray(scenario.area_m)
    values = (
        np.asarray(scenario.bounds_m[:2]),
        area,
        2 * area,
        np.arange(scenario.num_users) % groups,
        np.array([0.25, 0.0]),
    )
    origin, sides, twice, member, quarter_turn = (arrays.constant(x, None, xp, device) for x in values)
    return MobilityConstants(scenario, origin, sides, twice, member, groups, quarter_turn)


def longest_way_m(scenario: Scenario) -> float:
    """How far a user comes in a slot at most [m], by which observed velocities are divided; never 0.

    By random waypoint 1.5 ``speed_mps``. For all other models twice that: a member of a group walks while its group
    walks; with "gauss_markov" it is four standard deviations beyond the mean speed; of a trace, of recorded positions
    and of a model of one's own nobody knows, and what is beyond it is clipped.
    """
    share = 1.5 if scenario.mobility == "random_waypoint" else 3.0
    return share * scenario.slot_s * scenario.speed_mps or 1.0


# --- walks --------------------------------------------------------------------------------------------------


def _fold(constants: MobilityConstants, x: Array) -> tuple[Array, Array]:
    """Coordinates reflected at the borders until they are inside; and before the mirroring, from the origin on."""
    wrapped = namespace(x).remainder(x - constants.origin, constants.twice_area)
    return constants.origin + (constants.area - abs(constants.area - wrapped)), wrapped


def _direction(constants: MobilityConstants, turn: Array) -> Array:
    """Unit vectors ``(..., 2)`` of angles given in turns."""
    return namespace(turn).sin(2 * math.pi * (turn[..., None] + constants.quarter_turn))


def _walk(constants: MobilityConstants, motion: Motion, uniform: Array, targets: Targets) -> Motion:
    """Random waypoint: every point walks to its target; the one that arrives gets the next leg.

    ``uniform (E, P, 3)`` is drawn in every slot, whoever arrives, so that streams stay aligned.
    """
    xp = namespace(uniform)
    point, target, travel = motion["point"], motion["target"], motion["travel"]
    step = target - point
    distance2 = xp.vecdot(step, step)
    arrived = distance2 <= travel * travel
    if arrays.on_host(arrived) and not arrived.any():  # the frequent case
        return {**motion, "point": point + (travel / np.sqrt(distance2))[..., None] * step}
    share = xp.where(arrived, 1.0, travel / xp.sqrt(xp.where(arrived, 1.0, distance2)))
    new_target, new_travel = _leg(constants, uniform, targets)
    return {
        "point": point + share[..., None] * step,
        "target": xp.where(arrived[..., None], new_target, target),
        "travel": xp.where(arrived, new_travel, travel),
    }


def _leg(constants: MobilityConstants, uniform: Array, targets: Targets) -> tuple[Array, Array]:
    """Targets and travel per slot [m] at U(.5, 1.5) times the nominal speed, from ``(E, P, 3)`` uniform numbers."""
    travel = (constants.scenario.slot_s * constants.scenario.speed_mps) * (0.5 + uniform[..., 2])
    return targets(constants, uniform[..., :2]), travel


def _in_area(constants: MobilityConstants, uniform: Array) -> Array:
    """Points uniform in the area, from ``(..., 2)`` uniform numbers."""
    return constants.origin + uniform * constants.area


def _in_disc(constants: MobilityConstants, uniform: Array) -> Array:
    """Points uniform in the disc of a group, from ``(..., 2)`` uniform numbers."""
    radius = constants.scenario.group_radius_m * namespace(uniform).sqrt(uniform[..., :1])
    return radius * _direction(constants, uniform[..., 1])


def _group_points(constants: MobilityConstants, uniform: Array) -> Array:
    """Group centres in the area, then members in the disc around them, from ``(..., P, 2)`` uniform numbers."""
    g = constants.num_groups
    parts = [_in_area(constants, uniform[..., :g, :]), _in_disc(constants, uniform[..., g:, :])]
    return namespace(uniform).concat(parts, axis=-2)


def _group_position(constants: MobilityConstants, motion: Motion) -> Motion:
    point = motion["point"]
    around = point[:, constants.member] + point[:, constants.num_groups :]
    return {**motion, "position": _fold(constants, around)[0]}


def _group_start(constants: MobilityConstants, streams: Streams, position: Array | None) -> Motion:
    num_points = constants.num_groups + constants.scenario.num_users
    if position is None:
        point = _group_points(constants, streams.uniform("layout", num_points, 2))
    else:  # given positions: the members around the mean of their group
        xp = namespace(position)
        means = [xp.mean(position[:, constants.member == g], axis=-2) for g in range(constants.num_groups)]
        centres = xp.stack(means, axis=-2)
        point = xp.concat([centres, position - centres[:, constants.member]], axis=-2)
    target, travel = _leg(constants, streams.uniform("mobility", num_points, 3), _group_points)
    return _group_position(constants, {"point": point, "target": target, "travel": travel})


def _group_advance(constants: MobilityConstants, motion: Motion, streams: Streams) -> Motion:
    uniform = streams.uniform("mobility", constants.num_groups + constants.scenario.num_users, 3)
    return _group_position(constants, _walk(constants, motion, uniform, _group_points))


def _uniform_position(constants: MobilityConstants, streams: Streams) -> Array:
    return _in_area(constants, streams.uniform("layout", constants.scenario.num_users, 2))


def _waypoint_start(constants: MobilityConstants, streams: Streams, position: Array | None) -> Motion:
    point = _uniform_position(constants, streams) if position is None else position
    target, travel = _leg(constants, streams.uniform("mobility", constants.scenario.num_users, 3), _in_area)
    return {"point": point, "target": target, "travel": travel, "position": point}


def _waypoint_advance(constants: MobilityConstants, motion: Motion, streams: Streams) -> Motion:
    uniform = streams.uniform("mobility", constants.scenario.num_users, 3)
    walked = _walk(constants, motion, uniform, _in_area)
    return {**walked, "position": walked["point"]}


def _gauss_markov_start(constants: MobilityConstants, streams: Streams, position: Array | None) -> Motion:
    start = _uniform_position(constants, streams) if position is None else position
    turn = streams.uniform("mobility", constants.scenario.num_users)
    drift = constants.scenario.speed_mps * _direction(constants, turn)
    return {"position": start, "velocity": drift, "drift": drift}


def _gauss_markov_advance(constants: MobilityConstants, motion: Motion, streams: Streams) -> Motion:
    """``v' = a v + (1 - a) v_mean + s sqrt(1 - a^2) n``, s half the nominal speed per axis (Liang, Haas 1999)."""
    xp = namespace(motion["position"])
    memory, spread = constants.scenario.gauss_markov_memory, 0.5 * constants.scenario.speed_mps
    noise = streams.complex_normal("velocity", constants.scenario.num_users)
    normal = math.sqrt(2.0) * xp.stack([noise.real, noise.imag], axis=-1)
    velocity = memory * motion["velocity"] + (1 - memory) * motion["drift"]
    velocity = velocity + spread * math.sqrt(1 - memory**2) * normal
    position, wrapped = _fold(constants, motion["position"] + constants.scenario.slot_s * velocity)
    sign = xp.where(wrapped > constants.area, -1.0, 1.0)  # a mirrored coordinate turns round
    return {"position": position, "velocity": velocity * sign, "drift": motion["drift"] * sign}


def _static_start(constants: MobilityConstants, streams: Streams, position: Array | None) -> Motion:
    return {"position": _uniform_position(constants, streams) if position is None else position}


def _static_advance(constants: MobilityConstants, motion: Motion, streams: Streams) -> Motion:
    return motion


def _trace_start(constants: MobilityConstants, streams: Streams, position: Array | None) -> Motion:
    if position is None:
        raise ScenarioError("mobility='trace' needs positions: set Scenario.trace or reset(options={'trace': ...})")
    return {"trace": position, "slot": np.zeros(streams.num_envs, np.int64), "position": position[:, 0]}


def _trace_advance(constants: MobilityConstants, motion: Motion, streams: Streams) -> Motion:
    slot = motion["slot"] + 1
    rows = np.arange(len(slot))
    return {"trace": motion["trace"], "slot": slot, "position": motion["trace"][rows, slot]}


class Mobility(NamedTuple):
    """A mobility model made of two functions.

    Attributes:
        start: ``(constants, streams, position) -> motion`` of a new episode; ``position`` is ``None`` (draw from the
            stream "layout"), given ones ``(E, K, 2)``, or a trace ``(E, slots, K, 2)``.
        advance: ``(constants, motion, streams) -> motion`` of the next slot, in new arrays.
    """

    start: Callable[[MobilityConstants, Streams, Array | None], Motion]
    advance: Callable[[MobilityConstants, Motion, Streams], Motion]


MOBILITY: dict[str, Mobility] = {
    "group": Mobility(_group_start, _group_advance),
    "random_waypoint": Mobility(_waypoint_start, _waypoint_advance),
    "gauss_markov": Mobility(_gauss_markov_start, _gauss_markov_advance),
    "static": Mobility(_static_start, _static_advance),
    "trace": Mobility(_trace_start, _trace_advance),
}


def mobility_model(scenario: Scenario) -> Mobility:
    """The mobility model of a scenario; what one of one's own (an object, or a class that makes it) returns is checked.

    Raises:
        ValueError: (later) a motion without users, or with users that are not inside the area.
    """
    chosen = scenario.strategy("mobility")
    if isinstance(scenario.mobility, str):
        return chosen
    model = chosen() if isinstance(chosen, type) else chosen

    def start(constants: MobilityConstants, streams: Streams, position: Array | None) -> Motion:
        return _checked(model, model.start(constants, streams, position), constants, streams.num_envs)

    def advance(constants: MobilityConstants, motion: Motion, streams: Streams) -> Motion:
        moved = model.advance(constants, arrays.read_only(motion), streams)
        return _checked(model, moved, constants, streams.num_envs)

    return Mobility(start, advance)


def _checked(model: Any, motion: Motion, constants: MobilityConstants, num_envs: int) -> Motion:
    """The motion that somebody else's model made, if it is one."""
    position = motion.get("position") if isinstance(motion, dict) else None
    shape, like = (num_envs, constants.scenario.num_users, 2), constants.area
    if not arrays.is_array_of(position, like, shape, ("real floating", "integral")):
        found = arrays.described(position, like)
        allowed = f"a dict with 'position' {shape}, real numbers"
        raise ValueError(f"mobility {checks.shown(model)} returned positions {found}: must be {allowed}")
    away = abs(position - constants.origin - constants.area / 2)  # from the middle; 1e-9: rounding along the border
    if not namespace(position).all(away <= (0.5 + 1e-9) * constants.area):  # NaN is nowhere
        x_min, y_min, x_max, y_max = constants.scenario.bounds_m
        sides = f"[{x_min:g}, {x_max:g}] x [{y_min:g}, {y_max:g}]"
        raise ValueError(f"mobility {model!r} put users outside the area: must be inside {sides} m")
    xp = namespace(position)
    motion = {**motion, "position": xp.astype(position, xp.float64, copy=False)}
    return {name: arrays.of_ones_own(x) if hasattr(x, "shape") else x for name, x in motion.items()}


def load_trace(scenario: Scenario) -> np.ndarray | None:
    """The positions ``(slots, K, 2)`` of ``scenario.trace``, read from its .npz or .npy where it is a path.

    Raises:
        ScenarioError: no such file, a damaged one, no array ``positions`` in it, or positions that do not fit.
    """
    return None if scenario.trace is None else _trace(scenario, "trace", scenario.trace)


def _trace(scenario: Scenario, name: str, trace: Any) -> np.ndarray:
    """A trace ``(slots, K, 2)`` that fits the scenario, from positions or a path."""
    try:
        path = path_of(trace)
        if path is not None:
            name, trace = f"{name} ({path})", load_array(path, "positions")
    except Exception as error:  # of somebody else's __fspath__, too
        raise ScenarioError(f"{name}: {error}") from None
    return scenario.check_positions(name, trace, num_slots=scenario.horizon + 1)


def check_reset_options(
    scenario: Scenario, options: dict[str, Any] | None, also: tuple[str, ...] = ()
) -> np.ndarray | None:
    """User positions ``(K, 2)``, or trace ``(slots, K, 2)``, of an episode, from ``reset(options=...)``.

    An option of a name that is neither one of these nor in ``also`` brings a warning, and changes nothing.

    Raises:
        ValueError: no dict, positions that do not fit the scenario, or positions where a trace belongs.
    """
    options = {} if options is None else options
    if not isinstance(options, dict):
        raise checks.refusal("options", options, "None or a dict by name")
    warn_of_unknown(options, ("positions", "trace", *also))
    trace, positions = options.get("trace"), options.get("positions")
    if scenario.mobility == "trace":
        if positions is not None:
            raise ValueError("options['positions'] does not go with mobility='trace': give options['trace']")
        if trace is not None:
            return _trace(scenario, "options['trace']", trace)
        if scenario.trace is None:
            raise ValueError("mobility='trace' needs positions: Scenario.trace or reset(options={'trace': ...})")
        return None
    if trace is not None:
        raise ValueError(f"options['trace'] needs mobility='trace' (mobility={scenario.mobility!r})")
    return None if positions is None else scenario.check_positions("options['positions']", positions)


def warn_of_unknown(options: dict[str, Any], known: tuple[str, ...]) -> None:
    """A warning for each reset option of a name that is not known, which changes nothing."""
    for name in options:
        if name in known or name == "options":  # PettingZoo's own tests pass {"options": 1}
            continue
        there_are = ", ".join(map(repr, known))
        shown = checks.shown(name)
        checks.warn(
            f"reset option {shown} is unknown and changes nothing; there are {there_are}{checks.near(name, known)}"
        )
