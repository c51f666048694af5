"""Geometry of the "street": sites of BSs and IRSs, cells, and how users move.

Positions are in m, float64, ``(E, K, 2)`` for users; the area is the rectangle ``[0, width] x [0, depth]``.
A mobility model is a pair of functions in :data:`MOBILITY`: ``start`` draws the motion of an episode, ``advance``
moves it by one slot. A motion is a dict of arrays with the environment as leading axis; ``position`` is one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env.link import namespace
from irs_marl_env.scenario import Scenario, ScenarioError
from irs_marl_env.streams import Streams, load_kernels

Array = Any
Motion = dict[str, Array]


def bs_positions(scenario: Scenario) -> np.ndarray:
    """Positions ``(M, 3)`` of the BSs [m].

    Two BSs face each other across a block of ``area_width_m x 2 cell_depth_m``; more BSs repeat the block along
    the street (y). The last block of an odd number is half as deep and has a single BS, on the left.
    """
    width, depth = scenario.area_m
    block = 2 * scenario.cell_depth_m
    positions = []
    for m in range(scenario.num_bs):
        start = (m // 2) * block
        middle = (start + min(start + block, depth)) / 2
        positions.append((width * (m % 2), middle, scenario.bs_height_m))
    return np.array(positions)


def irs_positions(scenario: Scenario) -> np.ndarray:
    """Positions ``(L, 3)`` of the IRSs [m]: evenly spaced on the border ``x = width / 2`` of the facing cells."""
    width, depth = scenario.area_m
    y = depth * (np.arange(scenario.num_irs) + 0.5) / max(scenario.num_irs, 1)
    return np.stack([np.full_like(y, width / 2), y, np.full_like(y, scenario.irs_height_m)], axis=-1)


def nearest(distance2: Array) -> Array:
    """Cell of each user, the nearest BS: ``(..., M, K)`` squared distances to ``(..., K)`` integer."""
    return distance2.argmin(-2)


class Street(NamedTuple):
    """What the mobility models need of a scenario, as arrays."""

    scenario: Scenario
    area: Array  # (2,) m
    twice_area: Array
    member: Array  # (K,) group of each user
    num_groups: int
    quarter: Array  # (2,) turns; sin of an angle plus these is (cos, sin) of it
    kernels: Any = None  # compiled, to walk by; None for numpy and torch


def street(scenario: Scenario, xp: Any, device: Any = None, fast: bool = False) -> Street:
    """Constants of a scenario in an array namespace."""

    def const(values: Any) -> Array:
        array = np.asarray(values)
        return array if xp is np else xp.asarray(array, device=device)

    groups = min(scenario.num_groups, scenario.num_users)
    member = np.arange(scenario.num_users) % groups
    area = np.asarray(scenario.area_m)
    return Street(scenario, const(area), const(2 * area), const(member), groups, const([0.25, 0.0]), load_kernels(fast))


# --- mobility --------------------------------------------------------------------------------------------------


def _fold(place: Street, x: Array) -> tuple[Array, Array]:
    """Coordinates reflected at the borders until they are inside, and the same before the mirroring."""
    wrapped = namespace(x).remainder(x, place.twice_area)
    return place.area - abs(place.area - wrapped), wrapped


def _direction(place: Street, turn: Array) -> Array:
    """Unit vectors ``(..., 2)`` of angles given in turns."""
    return namespace(turn).sin(2 * math.pi * (turn[..., None] + place.quarter))


def _walk(place: Street, motion: Motion, uniform: Array, targets: Callable[[Street, Array], Array]) -> Motion:
    """Random waypoint: every point walks to its target; the one that arrives gets the next leg.

    ``uniform (E, P, 3)`` is drawn in every slot, whoever arrives, so that streams stay aligned.
    """
    xp = namespace(uniform)
    point, target, travel = motion["point"], motion["target"], motion["travel"]
    step = target - point
    distance2 = xp.vecdot(step, step)
    arrived = distance2 <= travel * travel
    if xp is np and not arrived.any():  # the frequent case; an accelerator would have to wait for the answer
        return {**motion, "point": point + (travel / np.sqrt(distance2))[..., None] * step}
    share = xp.where(arrived, 1.0, travel / xp.sqrt(xp.where(arrived, 1.0, distance2)))
    new_target, new_travel = _leg(place, uniform, targets)
    return {
        "point": point + share[..., None] * step,
        "target": xp.where(arrived[..., None], new_target, target),
        "travel": xp.where(arrived, new_travel, travel),
    }


def _leg(place: Street, uniform: Array, targets: Callable[[Street, Array], Array]) -> tuple[Array, Array]:
    """Targets and travel per slot [m] at U(.5, 1.5) times the nominal speed, from ``(E, P, 3)`` uniform numbers."""
    travel = (place.scenario.slot_s * place.scenario.speed_mps) * (0.5 + uniform[..., 2])
    return targets(place, uniform[..., :2]), travel


def _in_area(place: Street, uniform: Array) -> Array:
    """Points uniform in the area, from ``(..., 2)`` uniform numbers."""
    return uniform * place.area


def _in_disc(place: Street, uniform: Array) -> Array:
    """Points uniform in the disc of a group, from ``(..., 2)`` uniform numbers."""
    radius = place.scenario.group_radius_m * namespace(uniform).sqrt(uniform[..., :1])
    return radius * _direction(place, uniform[..., 1])


def _group_points(place: Street, uniform: Array) -> Array:
    """Group centres in the area, then members in the disc around them, from ``(..., P, 2)`` uniform numbers."""
    g = place.num_groups
    parts = [_in_area(place, uniform[..., :g, :]), _in_disc(place, uniform[..., g:, :])]
    return namespace(uniform).concat(parts, axis=-2)


def _group_position(place: Street, motion: Motion) -> Motion:
    point = motion["point"]
    around = point[:, place.member] + point[:, place.num_groups :]
    return {**motion, "position": _fold(place, around)[0]}


def _group_start(place: Street, streams: Streams, position: Array | None) -> Motion:
    num_points = place.num_groups + place.scenario.num_users
    if position is None:
        point = _group_points(place, streams.uniform("layout", num_points, 2))
    else:  # given positions: the members around the mean of their group
        xp = namespace(position)
        means = [xp.mean(position[:, place.member == g], axis=-2) for g in range(place.num_groups)]
        centres = xp.stack(means, axis=-2)
        point = xp.concat([centres, position - centres[:, place.member]], axis=-2)
    target, travel = _leg(place, streams.uniform("mobility", num_points, 3), _group_points)
    return _group_position(place, {"point": point, "target": target, "travel": travel})


def _walk_compiled(place: Street, motion: Motion, streams: Streams, member: Array) -> Motion:
    """:func:`_walk`, drawing for those who arrive alone, and :func:`_group_position` where there are members."""
    s, position = place.scenario, motion["position"]
    point, target, travel = motion["point"], motion["target"], motion["travel"]
    walked = {"point": np.empty(point.shape), "target": np.empty(point.shape), "travel": np.empty(travel.shape)}
    walked["position"] = np.empty(position.shape) if len(member) else walked["point"]
    num_centres = point.shape[1] - len(member)
    stream = streams.keys["mobility"], streams.places["mobility"]
    limits = num_centres, place.area, s.group_radius_m, s.slot_s * s.speed_mps
    results = walked["point"], walked["target"], walked["travel"], member, walked["position"]
    place.kernels.walk(*stream, point, target, travel, *limits, *results)
    return walked


def _group_advance(place: Street, motion: Motion, streams: Streams) -> Motion:
    if place.kernels:
        return _walk_compiled(place, motion, streams, place.member)
    uniform = streams.uniform("mobility", place.num_groups + place.scenario.num_users, 3)
    return _group_position(place, _walk(place, motion, uniform, _group_points))


def _uniform_position(place: Street, streams: Streams) -> Array:
    return _in_area(place, streams.uniform("layout", place.scenario.num_users, 2))


def _waypoint_start(place: Street, streams: Streams, position: Array | None) -> Motion:
    point = _uniform_position(place, streams) if position is None else position
    target, travel = _leg(place, streams.uniform("mobility", place.scenario.num_users, 3), _in_area)
    return {"point": point, "target": target, "travel": travel, "position": point}


def _waypoint_advance(place: Street, motion: Motion, streams: Streams) -> Motion:
    if place.kernels:
        return _walk_compiled(place, motion, streams, place.member[:0])
    uniform = streams.uniform("mobility", place.scenario.num_users, 3)
    walked = _walk(place, motion, uniform, _in_area)
    return {**walked, "position": walked["point"]}


def _gauss_markov_start(place: Street, streams: Streams, position: Array | None) -> Motion:
    start = _uniform_position(place, streams) if position is None else position
    turn = streams.uniform("mobility", place.scenario.num_users)
    drift = place.scenario.speed_mps * _direction(place, turn)
    return {"position": start, "velocity": drift, "drift": drift}


def _gauss_markov_advance(place: Street, motion: Motion, streams: Streams) -> Motion:
    """``v' = a v + (1 - a) v_mean + s sqrt(1 - a^2) n``, s half the nominal speed per axis (Liang, Haas 1999)."""
    xp = namespace(motion["position"])
    memory, spread = place.scenario.gauss_markov_memory, 0.5 * place.scenario.speed_mps
    noise = streams.complex_normal("velocity", place.scenario.num_users)
    normal = math.sqrt(2.0) * xp.stack([noise.real, noise.imag], axis=-1)
    velocity = memory * motion["velocity"] + (1 - memory) * motion["drift"]
    velocity = velocity + spread * math.sqrt(1 - memory**2) * normal
    position, wrapped = _fold(place, motion["position"] + place.scenario.slot_s * velocity)
    sign = xp.where(wrapped > place.area, -1.0, 1.0)  # a mirrored coordinate turns round
    return {"position": position, "velocity": velocity * sign, "drift": motion["drift"] * sign}


def _static_start(place: Street, streams: Streams, position: Array | None) -> Motion:
    return {"position": _uniform_position(place, streams) if position is None else position}


def _static_advance(place: Street, motion: Motion, streams: Streams) -> Motion:
    return motion


def _trace_start(place: Street, streams: Streams, position: Array | None) -> Motion:
    if position is None:
        raise ScenarioError("mobility='trace' needs positions: set Scenario.trace or reset(options={'trace': ...})")
    return {"trace": position, "slot": np.zeros(streams.num_envs, np.int64), "position": position[:, 0]}


def _trace_advance(place: Street, motion: Motion, streams: Streams) -> Motion:
    slot = motion["slot"] + 1
    rows = np.arange(len(slot))
    return {"trace": motion["trace"], "slot": slot, "position": motion["trace"][rows, slot]}


class Mobility(NamedTuple):
    """``start(place, streams, position)`` and ``advance(place, motion, streams)``.

    ``position`` is ``None`` (draw from the layout stream), ``(E, K, 2)``, or ``(E, slots, K, 2)`` for a trace.
    """

    start: Callable[[Street, Streams, Array | None], Motion]
    advance: Callable[[Street, Motion, Streams], Motion]


MOBILITY: dict[str, Mobility] = {
    "group": Mobility(_group_start, _group_advance),
    "random_waypoint": Mobility(_waypoint_start, _waypoint_advance),
    "gauss_markov": Mobility(_gauss_markov_start, _gauss_markov_advance),
    "static": Mobility(_static_start, _static_advance),
    "trace": Mobility(_trace_start, _trace_advance),
}


def load_trace(scenario: Scenario) -> np.ndarray | None:
    """The positions ``(slots, K, 2)`` of ``scenario.trace``, read from its .npz where it is a path.

    Raises:
        ScenarioError: no such file, no array ``positions`` in it, or positions that do not fit the scenario.
    """
    if scenario.trace is None:
        return None
    positions: Any = scenario.trace
    if isinstance(positions, str):
        if not Path(positions).is_file():
            raise ScenarioError(f"trace={positions!r}: no such file; must be an .npz with an array 'positions'")
        with np.load(positions, allow_pickle=False) as archive:
            if "positions" not in archive:
                raise ScenarioError(f"trace={positions!r} holds {archive.files}; must hold an array 'positions'")
            positions = archive["positions"]
    return scenario.check_positions("trace", positions, num_slots=scenario.horizon + 1)
