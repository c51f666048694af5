"""Where things stand on the picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from irs_marl_env.figure_style import DPI
from irs_marl_env.physics import deployment
from irs_marl_env.scenario import Scenario

MOST_LISTED = 12  # BSs that have a row in the table
Box = tuple[float, float, float, float]  # left, bottom, width and height in inches


class Plan(NamedTuple):
    """The parts of the picture."""

    size_in: tuple[float, float]
    map_in: Box
    table_in: Box
    rates_in: Box
    owners_in: Box | None  # None: there is no IRS
    extent_m: tuple[float, float, float, float]  # left, right, bottom and top of the map
    axes: tuple[str, str]  # their names

    def to_map(self, position: np.ndarray) -> np.ndarray:
        """Positions ``(..., 2)`` in m as the map has them: a long street lies on its side."""
        return position if self.axes[0] == "x" else position[..., ::-1]

    @property
    def metres_per_point(self) -> float:
        """Metres on the map in one point, 1/72 inch, of the picture."""
        left, right, bottom, top = self.extent_m
        return max((right - left) / self.map_in[2], (top - bottom) / self.map_in[3]) / 72


def plan(scenario: Scenario) -> Plan:
    """A compact area has the panel beside it, an oblong one lies flat with the panel underneath."""
    sites = np.concatenate([deployment.bs_positions(scenario), deployment.irs_positions(scenario)])[:, :2]
    bounds = np.array(scenario.bounds_m)  # sites may stand outside the area of the users
    (left, bottom), (right, top) = np.minimum(bounds[:2], sites.min(0)), np.maximum(bounds[2:], sites.max(0))
    lying = top - bottom > 1.8 * (right - left)
    extent, axes = (left, right, bottom, top), ("x", "y")
    if lying:
        extent, axes = (bottom, top, left, right), ("y", "x")
    aspect = (extent[1] - extent[0]) / (extent[3] - extent[2])
    rows = min(scenario.num_bs, MOST_LISTED + 1)
    arrange = _beside if aspect < 1.6 else _underneath
    return Plan(*arrange(aspect, rows, scenario.num_irs), extent, axes)


_Parts = tuple[tuple[float, float], Box, Box, Box, Box | None]
_MARGIN = 0.7  # left of the map
_LEGEND = 0.8  # under it
_HEAD = 0.5  # above it: policy and scenario
_TICKS = 0.55  # under the last axis of time: numbers, seconds and a label


def _beside(aspect: float, rows: int, num_irs: int) -> _Parts:
    height = 4.7
    map_width = min(height * aspect, 6.0)
    size = (_even(max(_MARGIN + map_width, 5.3) + 3.6), _even(height + _LEGEND + _HEAD))
    left = max(_MARGIN + map_width, 5.3) + 0.85
    panel = size[0] - left - 0.25
    table_height = min(0.6 + 0.22 * (rows + 1.3), 2.5)
    table = (left - 0.15, size[1] - 0.12 - table_height, panel + 0.15, table_height)
    owners_height = _rows_in(num_irs)
    foot = _TICKS + 0.3  # above the legend, which may reach under it
    owners = (left, foot, panel, owners_height) if num_irs else None
    bottom = foot + (owners_height + 0.14 if num_irs else 0.0)
    rates = (left, bottom, panel, table[1] - bottom - 0.15)
    return size, (_MARGIN, _LEGEND, map_width, height), table, rates, owners


def _underneath(aspect: float, rows: int, num_irs: int) -> _Parts:
    map_width = min(max(7.0, 2.75 * aspect), 11.0)
    map_height = max(map_width / aspect, 1.2)
    owners_height = _rows_in(num_irs)
    panel = max(2.1 + (owners_height if num_irs else 0.0), 0.75 + 0.2 * (rows + 1.4))
    size = (_even(_MARGIN + map_width + 0.35), _even(map_height + _LEGEND + panel + 0.55 + _HEAD - 0.25))
    table = (_MARGIN, 0.1, 2.7, panel)
    left = _MARGIN + 3.5
    width = size[0] - _MARGIN - 3.8
    owners = (left, _TICKS, width, owners_height) if num_irs else None
    bottom = _TICKS + (owners_height + 0.14 if num_irs else 0.0)
    rates = (left, bottom, width, panel - bottom)
    map_bottom = size[1] - map_height - _HEAD
    return size, (_MARGIN, map_bottom, map_width, map_height), table, rates, owners


def _rows_in(num_irs: int) -> float:
    """Height of the owners' timeline [inches]."""
    return min(max(0.19 * num_irs, 0.22), 1.4)


def _even(inches: float) -> float:
    """Rounded so that the picture has an even number of pixels, which video encoders want."""
    return (2 * round(inches * DPI / 2) + 1e-6) / DPI  # matplotlib 3.9 cuts off what 3.11 rounds
