"""Deployment: where BSs and IRSs stand, which way IRSs face, and which BS serves a user.

A rule that says which BS serves a user is a function ``rule(links) -> cell``: from :class:`Links` to integers
``(E, K)``. :data:`CELL_RULES` has the built-in ones by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env.arrays import described, is_array_of, namespace
from irs_marl_env.checks import shown
from irs_marl_env.scenario import Scenario

Array = Any


def bs_positions(scenario: Scenario) -> np.ndarray:
    """Positions ``(M, 3)`` of the BSs [m].

    Two BSs face each other across a block of ``area_width_m x 2 cell_depth_m``; more BSs repeat the block along
    the street (y). The last block of an odd number is half as deep and has a single BS, on the left. With
    ``bs_positions_m`` they stand there.

    Example:
        >>> bs_positions(Scenario()).tolist()
        [[0.0, 40.0, 10.0], [80.0, 40.0, 10.0]]
    """
    if scenario.bs_positions_m is not None:
        return np.array(scenario.bs_positions_m)
    width, depth = scenario.area_width_m, scenario.cell_depth_m * scenario.num_bs
    block = 2 * scenario.cell_depth_m
    positions = []
    for m in range(scenario.num_bs):
        start = (m // 2) * block
        middle = (start + min(start + block, depth)) / 2
        positions.append((width * (m % 2), middle, scenario.bs_height_m))
    return np.array(positions)


def irs_positions(scenario: Scenario) -> np.ndarray:
    """Positions ``(L, 3)`` of the IRSs [m]: evenly spaced on the border ``x = width / 2`` of the facing cells.

    For BSs or an area of one's own this is the middle line, in the direction of y, of the area. With
    ``irs_positions_m`` they stand there.

    Example:
        >>> irs_positions(Scenario(num_irs=2)).tolist()
        [[40.0, 20.0, 5.0], [40.0, 60.0, 5.0]]
    """
    if scenario.irs_positions_m is not None:
        return np.array(scenario.irs_positions_m).reshape(-1, 3)[: scenario.num_irs]
    (x_min, y_min, *_), (width, depth) = scenario.bounds_m, scenario.area_m
    y = y_min + depth * (np.arange(scenario.num_irs) + 0.5) / max(scenario.num_irs, 1)
    return np.stack([np.full_like(y, x_min + width / 2), y, np.full_like(y, scenario.irs_height_m)], axis=-1)


def irs_axes(scenario: Scenario) -> np.ndarray | None:
    """Unit vectors ``(L, 3, 3)`` of each IRS: along its columns, along its rows, and its normal; ``None``: no facing.

    Columns are level, ``z x normal``, and rows are ``normal x columns``: an IRS that faces x has columns along y and
    rows along z, as one without a facing has. One that faces straight up or down has columns along y.

    Example:
        >>> irs_axes(Scenario(num_irs=1, irs_facing=[(2, 0, 0)])).tolist()
        [[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]]
    """
    if scenario.irs_facing is None:
        return None
    normal = np.array(scenario.irs_facing).reshape(-1, 3)[: scenario.num_irs]
    normal = np.ldexp(normal, -np.frexp(abs(normal).max(-1, keepdims=True))[1])  # squares of short ones would be zero
    normal = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
    columns = np.cross([0.0, 0.0, 1.0], normal)
    level = np.linalg.norm(columns, axis=-1, keepdims=True)
    columns = np.where(level > 1e-9, columns / np.maximum(level, 1e-9), [0.0, 1.0, 0.0])
    return np.stack([columns, np.cross(normal, columns), normal], axis=1)


# --- who serves whom ----------------------------------------------------------------------------------------------


class Links(NamedTuple):
    """What decides which BS serves a user."""

    distance_m: Array  # (E, M, K) from each BS, in three dimensions
    direct_gain: Array  # (E, M, K) path gain of the direct link with blockage and shadowing, linear power
    tx_power_w: Array  # (M,) Pmax of each BS
    position: Array  # (E, K, 2) m


CellRule = Callable[[Links], Array]


def nearest(distance: Array) -> Array:
    """The nearest BS of each user: distances ``(..., M, K)``, or their squares, to ``(..., K)`` integer."""
    return distance.argmin(-2)


def _nearest(links: Links) -> Array:
    return nearest(links.distance_m)


def _strongest(links: Links) -> Array:
    return (links.tx_power_w[:, None] * links.direct_gain).argmax(-2)


# "nearest": the BS at the shortest distance; "strongest": the one received best at Pmax, without the IRSs' help
CELL_RULES: dict[str, CellRule] = {"nearest": _nearest, "strongest": _strongest}


def serving(rule: str | CellRule, links: Links) -> Array:
    """The cell ``(E, K)`` int64 of each user by a rule, a built-in name or a function of one's own.

    Raises:
        ValueError: what a rule of one's own returned is no cell for each user.

    Example:
        >>> links = Links(np.array([[[3.0]], [[2.0]]]).swapaxes(0, 1), np.array([[[1.0], [0.1]]]), np.ones(2), None)
        >>> serving("nearest", links).tolist(), serving("strongest", links).tolist()
        ([[1]], [[0]])
    """
    if isinstance(rule, str):
        return CELL_RULES[rule](links)
    cell = rule(links)
    xp, (num_envs, num_bs, num_users) = namespace(links.direct_gain), links.direct_gain.shape
    if not is_array_of(cell, links.direct_gain, (num_envs, num_users), ("integral",)):
        found = described(cell, links.direct_gain)
        raise ValueError(f"cell_rule {shown(rule)} returned {found}: must be integers of shape {(num_envs, num_users)}")
    if not xp.all((cell >= 0) & (cell < num_bs)):
        raise ValueError(f"cell_rule {shown(rule)} returned cells that are none: must be in [0, {num_bs - 1}]")
    return xp.astype(cell, xp.int64)
