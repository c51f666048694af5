"""Deployment: where BSs and IRSs stand on the "street", and which BS serves a user."""

from __future__ import annotations

from typing import Any

import numpy as np

from irs_marl_env.scenario import Scenario

Array = Any


def bs_positions(scenario: Scenario) -> np.ndarray:
    """Positions ``(M, 3)`` of the BSs [m].

    Two BSs face each other across a block of ``area_width_m x 2 cell_depth_m``; more BSs repeat the block along
    the street (y). The last block of an odd number is half as deep and has a single BS, on the left.

    Example:
        >>> bs_positions(Scenario()).tolist()
        [[0.0, 40.0, 10.0], [80.0, 40.0, 10.0]]
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
    """Positions ``(L, 3)`` of the IRSs [m]: evenly spaced on the border ``x = width / 2`` of the facing cells.

    Example:
        >>> irs_positions(Scenario(num_irs=2)).tolist()
        [[40.0, 20.0, 5.0], [40.0, 60.0, 5.0]]
    """
    width, depth = scenario.area_m
    y = depth * (np.arange(scenario.num_irs) + 0.5) / max(scenario.num_irs, 1)
    return np.stack([np.full_like(y, width / 2), y, np.full_like(y, scenario.irs_height_m)], axis=-1)


def nearest(distance2: Array) -> Array:
    """Cell of each user, the nearest BS: ``(..., M, K)`` squared distances to ``(..., K)`` integer."""
    return distance2.argmin(-2)
