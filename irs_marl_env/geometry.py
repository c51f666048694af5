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
from array_api_compat import array_namespace

from irs_marl_env.scenario import Scenario, ScenarioError
from irs_marl_env.streams import Streams

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
    return array_namespace(distance2).argmin(distance2, axis=-2)


# --- mobility --------------------------------------------------------------------------------------------------


def _fold(x: Array, area: Array) -> tuple[Array, Array]:
    """Reflect coordinates at the borders until they are inside; also says which were mirrored."""
    xp = array_namespace(x)
    wrapped = xp.remainder(x, 2 * area)
    inside = area - xp.abs(area - wrapped)
    return xp.clip(inside, xp.zeros_like(area), area), wrapped > area


def _area(scenario: Scenario, like: Array) -> Array:
    return array_namespace(like).asarray(scenario.area_m, dtype=like.dtype, device=getattr(like, "device", None))


def _direction(turn: Array) -> Array:
    """Unit vectors ``(..., 2)`` of angles given in turns."""
    xp = array_namespace(turn)
    return xp.stack([xp.cos(2 * math.pi * turn), xp.sin(2 * math.pi * turn)], axis=-1)


def _speed(scenario: Scenario, uniform: Array) -> Array:
    return scenario.speed_mps * (0.5 + uniform)  # U(.5, 1.5) times the nominal speed


def _walk(motion: Motion, new_target: Array, new_speed: Array, slot_s: float) -> Motion:
    """Random waypoint: every point walks to its target; the one that arrives gets the next leg."""
    xp = array_namespace(new_target)
    point, target, speed = motion["point"], motion["target"], motion["speed"]
    step = target - point
    distance2 = xp.sum(step * step, axis=-1)
    travel = speed * slot_s
    arrived = distance2 <= travel * travel
    share = travel / xp.sqrt(xp.where(arrived, xp.ones_like(distance2), distance2))
    share = xp.where(arrived, xp.ones_like(share), share)[..., None]
    return {
        "point": point + share * step,
        "target": xp.where(arrived[..., None], new_target, target),
        "speed": xp.where(arrived, new_speed, speed),
    }


def _in_disc(scenario: Scenario, uniform: Array) -> Array:
    """Points uniform in the disc of a group, from ``(..., 2)`` uniform numbers."""
    xp = array_namespace(uniform)
    return scenario.group_radius_m * xp.sqrt(uniform[..., :1]) * _direction(uniform[..., 1])


def _group_of_user(scenario: Scenario, like: Array) -> Array:
    xp = array_namespace(like)
    index = xp.arange(scenario.num_users, device=getattr(like, "device", None))
    return index % min(scenario.num_groups, scenario.num_users)


def _group_legs(scenario: Scenario, uniform: Array) -> tuple[Array, Array]:
    """Next targets and speeds of the group centres (in the area) and of the members (in the disc)."""
    xp = array_namespace(uniform)
    groups = uniform.shape[-2] - scenario.num_users
    centres = uniform[..., :groups, :2] * _area(scenario, uniform)
    offsets = _in_disc(scenario, uniform[..., groups:, :2])
    return xp.concat([centres, offsets], axis=-2), _speed(scenario, uniform[..., 2])


def _group_position(scenario: Scenario, motion: Motion) -> Motion:
    point = motion["point"]
    groups = point.shape[-2] - scenario.num_users
    around = point[..., _group_of_user(scenario, point), :]
    position, _ = _fold(around + point[..., groups:, :], _area(scenario, point))
    return {**motion, "position": position}


def _group_start(scenario: Scenario, streams: Streams, position: Array | None) -> Motion:
    xp = array_namespace(position) if position is not None else streams.xp
    groups = min(scenario.num_groups, scenario.num_users)
    layout = streams.uniform("layout", groups + scenario.num_users, 2)
    centres = layout[..., :groups, :] * _area(scenario, layout)
    offsets = _in_disc(scenario, layout[..., groups:, :])
    if position is not None:  # given positions: the members around the mean of their group
        member = _group_of_user(scenario, position)
        centres = xp.stack([xp.mean(position[..., member == g, :], axis=-2) for g in range(groups)], axis=-2)
        offsets = position - centres[..., member, :]
    target, speed = _group_legs(scenario, streams.uniform("mobility", groups + scenario.num_users, 3))
    point = xp.concat([centres, offsets], axis=-2)
    return _group_position(scenario, {"point": point, "target": target, "speed": speed})


def _group_advance(scenario: Scenario, motion: Motion, streams: Streams) -> Motion:
    uniform = streams.uniform("mobility", motion["point"].shape[-2], 3)
    return _group_position(scenario, _walk(motion, *_group_legs(scenario, uniform), scenario.slot_s))


def _uniform_position(scenario: Scenario, streams: Streams) -> Array:
    uniform = streams.uniform("layout", scenario.num_users, 2)
    return uniform * _area(scenario, uniform)


def _waypoint_legs(scenario: Scenario, streams: Streams) -> tuple[Array, Array]:
    uniform = streams.uniform("mobility", scenario.num_users, 3)
    return uniform[..., :2] * _area(scenario, uniform), _speed(scenario, uniform[..., 2])


def _waypoint_start(scenario: Scenario, streams: Streams, position: Array | None) -> Motion:
    point = _uniform_position(scenario, streams) if position is None else position
    target, speed = _waypoint_legs(scenario, streams)
    return {"point": point, "target": target, "speed": speed, "position": point}


def _waypoint_advance(scenario: Scenario, motion: Motion, streams: Streams) -> Motion:
    walked = _walk(motion, *_waypoint_legs(scenario, streams), scenario.slot_s)
    return {**walked, "position": walked["point"]}


def _gauss_markov_start(scenario: Scenario, streams: Streams, position: Array | None) -> Motion:
    start = _uniform_position(scenario, streams) if position is None else position
    heading = _direction(streams.uniform("mobility", scenario.num_users))
    drift = scenario.speed_mps * heading
    return {"position": start, "velocity": drift, "drift": drift}


def _gauss_markov_advance(scenario: Scenario, motion: Motion, streams: Streams) -> Motion:
    """``v' = a v + (1 - a) v_mean + s sqrt(1 - a^2) n`` with s = half the nominal speed per axis (Liang & Haas 1999)."""
    xp = array_namespace(motion["position"])
    memory, spread = scenario.gauss_markov_memory, 0.5 * scenario.speed_mps
    noise = streams.complex_normal("mobility", scenario.num_users)
    kick = math.sqrt(2.0) * xp.stack([xp.real(noise), xp.imag(noise)], axis=-1)
    velocity = memory * motion["velocity"] + (1 - memory) * motion["drift"]
    velocity = velocity + spread * math.sqrt(1 - memory**2) * kick
    moved = motion["position"] + scenario.slot_s * velocity
    position, mirrored = _fold(moved, _area(scenario, moved))
    sign = xp.where(mirrored, -xp.ones_like(moved), xp.ones_like(moved))
    return {"position": position, "velocity": velocity * sign, "drift": motion["drift"] * sign}


def _static_start(scenario: Scenario, streams: Streams, position: Array | None) -> Motion:
    return {"position": _uniform_position(scenario, streams) if position is None else position}


def _static_advance(scenario: Scenario, motion: Motion, streams: Streams) -> Motion:
    return motion


def _trace_start(scenario: Scenario, streams: Streams, trace: Array | None) -> Motion:
    if trace is None:
        raise ScenarioError("mobility='trace' needs positions: set Scenario.trace or reset(options={'trace': ...})")
    xp = array_namespace(trace)
    slot = xp.zeros(trace.shape[0], dtype=xp.int64, device=getattr(trace, "device", None))
    return {"trace": trace, "slot": slot, "position": trace[:, 0]}


def _trace_advance(scenario: Scenario, motion: Motion, streams: Streams) -> Motion:
    trace, slot = motion["trace"], motion["slot"] + 1
    rows = array_namespace(trace).arange(trace.shape[0], device=getattr(trace, "device", None))
    return {"trace": trace, "slot": slot, "position": trace[rows, slot]}


class Mobility(NamedTuple):
    """``start(scenario, streams, position)`` and ``advance(scenario, motion, streams)``.

    ``position`` is ``None`` (draw from the layout stream), ``(E, K, 2)``, or ``(E, slots, K, 2)`` for a trace.
    """

    start: Callable[[Scenario, Streams, Array | None], Motion]
    advance: Callable[[Scenario, Motion, Streams], Motion]


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
