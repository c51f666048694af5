"""The service area of a scenario, which follows from its sites where nobody says it, and the distance that is typical.

Takes any record with the geometry fields of :class:`irs_marl_env.Scenario`, which it stands below.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irs_marl_env import checks
from irs_marl_env.array_files import real_numbers

Bounds = tuple[float, float, float, float]

LONGEST_M = 1e6  # a coordinate is no further from zero, a side of the area no longer
SHORTEST_M = 1e-3  # a side is no shorter
BOUNDS = f"None, or (x_min, y_min, x_max, y_max) in m within +-{LONGEST_M:g}, with sides of {SHORTEST_M:g} m at least"


def bounds_m(scenario: Any) -> Bounds:
    """The rectangle ``(x_min, y_min, x_max, y_max)`` in which users are [m].

    It is ``area_bounds_m`` where that is given. The street is ``area_width_m`` wide and ``cell_depth_m`` deep for each
    BS. For BSs of one's own it is the box around all sites of one's own, with a margin on each side: half the largest
    distance from a BS to the one nearest to it, ``cell_depth_m`` for a single BS.
    """
    if scenario.area_bounds_m is not None:
        return scenario.area_bounds_m
    if scenario.bs_positions_m is None:
        return 0.0, 0.0, scenario.area_width_m, scenario.cell_depth_m * scenario.num_bs
    bs = np.array(scenario.bs_positions_m)[:, :2]
    sites = np.concatenate([bs, np.array(scenario.irs_positions_m or (), float).reshape(-1, 3)[:, :2]])
    margin = _margin(bs, scenario.cell_depth_m)
    (x_min, y_min), (x_max, y_max) = sites.min(0) - margin, sites.max(0) + margin
    return float(x_min), float(y_min), float(x_max), float(y_max)


def _margin(bs: np.ndarray, alone_m: float) -> float:
    """Half the largest distance from one of ``bs (M, 2)`` to the one nearest to it; ``alone_m`` where there is none."""
    if len(bs) == 1:
        return alone_m
    distance = np.linalg.norm(bs[:, None] - bs, axis=-1) + np.diag(np.full(len(bs), np.inf))
    return float(distance.min(0).max()) / 2 or alone_m  # BSs that all stand at one place


def reference_distance_m(scenario: Any) -> float:
    """A distance typical for a user and its BS, at whose path gain observations are scaled [m].

    Half the width of the street; for sites or an area of one's own half the side of a square cell, ``sqrt(A / M) / 2``.
    """
    if scenario.bs_positions_m is None and scenario.area_bounds_m is None:
        return scenario.area_width_m / 2.0
    x_min, y_min, x_max, y_max = bounds_m(scenario)
    return math.sqrt((x_max - x_min) * (y_max - y_min) / scenario.num_bs) / 2.0


def check_bounds(name: str, value: Any) -> Bounds | None:
    """``None``, or ``(x_min, y_min, x_max, y_max)`` of a rectangle.

    Raises:
        ValueError: it is none.
    """
    if value is None:
        return None
    rows = checks.Rows(4, LONGEST_M)
    try:
        ((x_min, y_min, x_max, y_max),) = rows(name, (tuple(value),))
        if min(x_max - x_min, y_max - y_min) < SHORTEST_M:
            raise ValueError
    except Exception:  # a stranger's value may raise anything when it is asked what it is
        raise checks.refusal(name, value, BOUNDS) from None
    return x_min, y_min, x_max, y_max


def check_sites(scenario: Any) -> None:
    """Refuse numbers of BSs and IRSs, facings and element patterns that do not go with the sites.

    Raises:
        ValueError: the message names the field.
    """
    s = scenario
    if s.bs_positions_m is not None and s.num_bs != len(s.bs_positions_m):
        raise checks.refusal("num_bs", s.num_bs, f"left out, or {len(s.bs_positions_m)}, the rows of bs_positions_m")
    if s.irs_positions_m is not None and s.num_irs not in (0, len(s.irs_positions_m)):
        allowed = f"left out, {len(s.irs_positions_m)}, the rows of irs_positions_m, or 0 for none of them"
        raise checks.refusal("num_irs", s.num_irs, allowed)
    if s.irs_facing is not None:
        if s.num_irs not in (0, len(s.irs_facing)):
            raise checks.refusal("irs_facing", s.irs_facing, f"None, or one row for each of num_irs={s.num_irs} IRSs")
        for irs, normal in enumerate(s.irs_facing):
            if not math.hypot(*normal) > 0:
                raise checks.refusal(f"irs_facing[{irs}]", normal, "a direction (x, y, z), not all zero")
    elif s.irs_element_exponent:
        raise checks.refusal("irs_element_exponent", s.irs_element_exponent, "0 unless irs_facing is given")


def check_positions(scenario: Any, name: str, positions: Any, num_slots: int | None = None) -> np.ndarray:
    """User positions from outside as a new float64 array; see :meth:`irs_marl_env.Scenario.check_positions`.

    Raises:
        ValueError: wrong shape, not finite, or outside the area.
    """
    x_min, y_min, x_max, y_max = bounds_m(scenario)
    shape = (scenario.num_users, 2) if num_slots is None else (f">={num_slots}", scenario.num_users, 2)
    allowed = f"finite positions of shape {shape} inside [{x_min:g}, {x_max:g}] x [{y_min:g}, {y_max:g}] m"
    try:
        array = real_numbers(positions)
    except ValueError:
        raise checks.refusal(name, positions, allowed) from None
    right_shape = array.shape[-2:] == (scenario.num_users, 2) and (
        array.ndim == 2 if num_slots is None else array.ndim == 3 and array.shape[0] >= num_slots
    )
    if not right_shape:
        raise ValueError(f"{name}=<array of shape {array.shape}>: must be {allowed}")
    outside = (array < (x_min, y_min)).any(-1) | (array > (x_max, y_max)).any(-1)
    bad = ~np.isfinite(array).all(-1) | outside
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise checks.refusal(f"{name}{list(where)}", array[where].tolist(), allowed)
    return array
