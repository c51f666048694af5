"""Usual places of sites: positions [m] for ``bs_positions_m`` and ``irs_positions_m``, facings for ``irs_facing``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from irs_marl_env.checks import Real, Rows, Whole
from irs_marl_env.service_area import LONGEST_M

Points = tuple[tuple[float, float, float], ...]
_LENGTH = Real(0.0, LONGEST_M, above=True)
_COORDINATE = Real(-LONGEST_M, LONGEST_M)

__all__ = ["grid", "hexagonal", "midpoints", "towards"]


def hexagonal(
    rings: int, inter_site_distance_m: float, height_m: float = 25.0, centre_m: Sequence[float] = (0.0, 0.0)
) -> Points:
    """A site in the middle and rings of sites around it: each has six nearest neighbours at the inter-site distance.

    Args:
        rings: 0 for the middle alone, 1 for 7 sites, 2 for 19; ``1 + 3 rings (rings + 1)`` in all.
        inter_site_distance_m: between neighbours.
        height_m: of all sites.
        centre_m: x and y of the middle.

    Example:
        >>> len(hexagonal(1, 200.0)), hexagonal(1, 200.0)[:2]
        (7, ((0.0, 0.0, 25.0), (200.0, 0.0, 25.0)))
    """
    rings = Whole(0, 100)("rings", rings)
    side = _LENGTH("inter_site_distance_m", inter_site_distance_m)
    corners = [(math.cos(math.pi / 3 * i), math.sin(math.pi / 3 * i)) for i in range(6)]
    points = [(0.0, 0.0)]
    for ring in range(1, rings + 1):
        for (x, y), (next_x, next_y) in zip(corners, corners[1:] + corners[:1], strict=True):
            steps = [(ring - i, i) for i in range(ring)]  # along the edge from one corner to the next
            points += [(a * x + b * next_x, a * y + b * next_y) for a, b in steps]
    return _placed([(side * x, side * y) for x, y in points], height_m, centre_m)


def grid(
    rows: int, columns: int, spacing_m: float, height_m: float = 25.0, centre_m: Sequence[float] = (0.0, 0.0)
) -> Points:
    """Sites on a square grid around a centre, row by row from the least x and y.

    Args:
        rows: number along y.
        columns: number along x.
        spacing_m: between neighbours.
        height_m: of all sites.
        centre_m: x and y of the middle of the grid.

    Example:
        >>> grid(1, 2, 100.0, height_m=10.0)
        ((-50.0, 0.0, 10.0), (50.0, 0.0, 10.0))
    """
    counts = Whole(1, 1000)("rows", rows), Whole(1, 1000)("columns", columns)
    spacing = _LENGTH("spacing_m", spacing_m)
    y, x = ([spacing * (i - (count - 1) / 2) for i in range(count)] for count in counts)
    return _placed([(a, b) for b in y for a in x], height_m, centre_m)


def midpoints(positions_m: Sequence[Sequence[float]], height_m: float = 5.0) -> Points:
    """The middles between sites that are neighbours: where cells meet, and an IRS helps either.

    Two sites are neighbours if they are at most 1 % further apart than the nearest two are.

    Args:
        positions_m: ``(M, 3)`` of the sites, at least two.
        height_m: of the middles.

    Example:
        >>> midpoints([(0, 0, 25), (100, 0, 25)])
        ((50.0, 0.0, 5.0),)
    """
    sites = np.array(_sites("positions_m", positions_m))[:, :2]
    if len(sites) < 2:
        raise ValueError("positions_m has one site: must have two at least, to have a middle between them")
    first, second = np.triu_indices(len(sites), 1)
    distance = np.linalg.norm(sites[first] - sites[second], axis=-1)
    near = distance <= 1.01 * distance.min()
    return _placed(((sites[first] + sites[second]) / 2)[near].tolist(), height_m)


def towards(positions_m: Sequence[Sequence[float]], target_m: Sequence[float] = (0.0, 0.0)) -> Points:
    """Level unit vectors from each site to a point: IRSs that face it.

    Args:
        positions_m: ``(L, 3)``.
        target_m: x and y; a site at this very place faces x.

    Example:
        >>> towards([(-30.0, 0.0, 5.0)])
        ((1.0, 0.0, 0.0),)
    """
    (target,) = _sites("target_m", [target_m], columns=2)
    facings = []
    for x, y, _ in _sites("positions_m", positions_m):
        away = math.hypot(target[0] - x, target[1] - y)
        facings.append(((target[0] - x) / away, (target[1] - y) / away, 0.0) if away else (1.0, 0.0, 0.0))
    return tuple(facings)


def _sites(name: str, positions: Any, columns: int = 3) -> tuple[tuple[float, ...], ...]:
    return Rows(columns, LONGEST_M)(name, positions)


def _placed(points: Any, height_m: float, centre_m: Sequence[float] = (0.0, 0.0)) -> Points:
    """Points ``(x, y)`` around the origin as sites around a centre, rounded to nanometres: sqrt(3) has no end."""
    height = _COORDINATE("height_m", height_m)
    ((x, y),) = _sites("centre_m", [centre_m], columns=2)
    return tuple((round(a + x, 9) + 0.0, round(b + y, 9) + 0.0, height) for a, b in points)
