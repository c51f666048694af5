"""Antenna arrays: which antennas and elements there are, and the lines of sight of the Rician links.

A line of sight is made of the responses of the arrays at both ends and the phase of the distance. BSs have
half-wavelength uniform linear arrays along y, IRSs half-wavelength planar arrays in the y-z plane, or across the way
they face, as square as their number of elements allows. In the far field the path of an element at p towards a unit
direction u is shorter by ``p . u``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irs_marl_env.arrays import namespace
from irs_marl_env.scenario import Scenario

Array = Any


def existing_antennas(scenario: Scenario) -> np.ndarray:
    """``(M, Nb)`` bool, false for the antennas that pad a BS."""
    return np.arange(scenario.max_antennas) < np.array(scenario.antennas)[:, None]


def existing(scenario: Scenario) -> dict[str, np.ndarray]:
    """Which entries of a channel there are, by link: bool, of the shape of the channels or with axes of length one.

    All others pad BSs of fewer antennas and IRSs of fewer elements, and are zero.

    Example:
        >>> masks = existing(Scenario(num_antennas=(1, 2), num_irs=0, num_elements=1))
        >>> masks["direct"].tolist()
        [[[True, False]], [[True, True]]]
    """
    antennas = existing_antennas(scenario)
    elements = np.arange(scenario.max_elements) < np.array(scenario.elements, int)[:, None]  # (L, N)
    bs_irs = elements[:, :, None]
    if not antennas.all():
        bs_irs = antennas[:, None, None] & bs_irs
    return {"direct": antennas[:, None], "bs_irs": bs_irs, "irs_user": elements[:, None]}


def linear_array(num_antennas: int) -> np.ndarray:
    """Index along y of each antenna of a half-wavelength uniform linear array."""
    return np.arange(num_antennas)


def planar_array(elements: tuple[int, ...], max_elements: int) -> tuple[np.ndarray, np.ndarray]:
    """Column (y) and row (z) index ``(L, N)`` of each element of half-wavelength planar arrays, as square as can be.

    Example:
        >>> [index.tolist() for index in planar_array((4,), 4)]
        [[[0, 1, 0, 1]], [[0, 0, 1, 1]]]
    """
    index = np.arange(max_elements)
    columns = [n // max(r for r in range(1, math.isqrt(n) + 1) if n % r == 0) for n in elements]
    return np.array([index % c for c in columns]), np.array([index // c for c in columns])


def unit(phase: Array) -> Array:
    """``exp(j phase)`` complex64."""
    xp = namespace(phase)
    return xp.astype(xp.cos(phase) + 1j * xp.sin(phase), xp.complex64)


def between_masts(scenario: Scenario, offset: np.ndarray, irs_axes: np.ndarray | None = None) -> np.ndarray:
    """Line of sight ``(M, L, N, Nb)`` between the masts: array responses at both ends, and the phase of the distance.

    Args:
        scenario: sizes and wavelength.
        offset: ``(M, L, 3)`` m, from each BS to each IRS.
        irs_axes: ``(L, 3, 3)`` of :func:`irs_marl_env.physics.deployment.irs_axes`; ``None``: columns along y, rows
            along z.
    """
    if not scenario.num_irs:
        return np.zeros((scenario.num_bs, 0, scenario.max_elements, scenario.max_antennas), complex)
    distance = np.linalg.norm(offset, axis=-1)
    direction = offset / np.maximum(distance, 1e-9)[..., None]
    at_bs = np.pi * direction[..., 1, None] * linear_array(scenario.max_antennas)  # (M, L, Nb)
    column, row = planar_array(scenario.elements, scenario.max_elements)
    across, up = direction[..., 1], direction[..., 2]  # direction cosines along y and z
    if irs_axes is not None:
        across, up = (np.vecdot(direction, irs_axes[:, i]) for i in (0, 1))
    at_irs = -np.pi * (across[..., None] * column + up[..., None] * row)  # (M, L, N)
    phase = -2 * np.pi / scenario.wavelength_m * distance
    return np.exp(1j * (phase[..., None, None] + at_irs[..., None] + at_bs[..., None, :]))


def at_linear_array(path_phase: Array, across: Array, antennas: Array) -> Array:
    """Line of sight ``(..., Nb)`` from a BS to a user.

    Args:
        path_phase: ``(..., 1)`` phase of the distance, rad.
        across: ``(...)`` direction cosine along y.
        antennas: ``(Nb,)`` of :func:`linear_array`.
    """
    return unit(path_phase + math.pi * across[..., None] * antennas)


def at_planar_array(path_phase: Array, across: Array, up: Array, column: Array, row: Array) -> Array:
    """Line of sight ``(E, L, K, N)`` from IRSs to users.

    Args:
        path_phase: ``(E, L, K, 1)`` phase of the distance, rad.
        across, up: ``(E, L, K)`` direction cosines along y and z.
        column, row: ``(L, N)`` of :func:`planar_array`.
    """
    at_irs = across[..., None] * column[:, None] + up[..., None] * row[:, None]
    return unit(path_phase + math.pi * at_irs)
