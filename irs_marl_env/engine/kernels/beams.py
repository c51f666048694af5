"""What the decoder of structured actions computes over users and antennas: beams and receivers.

Inside a cell the elements of all its IRSs stand on one axis and Pmax = sigma^2 = 1, as in the solvers.
All is double precision, because the systems of equations may be badly conditioned. Functions see memory for the largest
cell there can be; ``users`` says how much of it counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from irs_marl_env.engine.kernels.scratch import UserScratch
from irs_marl_env.engine.kernels.types import C128, F32, F64, Float, Int

_TINY = float(np.finfo(np.float64).tiny)
_FLOOR = 64.0 * float(np.finfo(np.float32).eps)  # of beamforming.rzf


@njit(inline="always")
def abs2(x: Any) -> Any:
    """``radio.abs2`` of one number."""
    return x.real * x.real + x.imag * x.imag


@njit(forceinline=True, fastmath={"contract", "reassoc"})
def row_energy(rows: C128, i: Int) -> Any:
    """Squared norm of a row."""
    total = 0.0
    for b in range(rows.shape[1]):
        total += abs2(rows[i, b])
    return total


@njit(forceinline=True, fastmath={"contract", "reassoc"})
def set_gram(channel: C128, users: Int, gram: C128) -> None:
    for i in range(users):
        for j in range(i + 1):
            total = 0j
            for b in range(channel.shape[1]):
                total += channel[i, b] * channel[j, b].conjugate()
            gram[i, j], gram[j, i] = total, total.conjugate()


@njit(forceinline=True, fastmath={"contract", "reassoc"})
def set_products(channel: C128, beams: C128, users: Int, products: C128) -> None:
    """``radio.beam_products``."""
    for i in range(users):
        for j in range(users):
            total = 0j
            for b in range(channel.shape[1]):
                total += channel[i, b] * beams[j, b]
            products[i, j] = total


@njit(forceinline=True, fastmath={"contract"}, error_model="numpy")
def _solve(matrix: C128, right: C128, size: Int, width: Int, least: Float) -> None:
    """``right <- matrix^-1 right`` by Gaussian elimination; the matrix is overwritten.

    It is ``least I`` plus a positive semidefinite one whose columns may have been scaled by numbers that are not
    negative. So its leading minors, and with them all pivots, are those of a Hermitian matrix with no eigenvalue below
    ``least``: positive, and not to be sought.

    Args:
        matrix: ``(size, size)``.
        right: ``(size, width)``.
        size: of the system.
        width: number of right sides.
        least: positive.
    """
    one, size, width = np.uint64(1), np.uint64(size), np.uint64(width)
    for p in range(size):
        inverse = 1.0 / max(matrix[p, p].real, least)
        for r in range(p + one, size):
            factor = inverse * matrix[r, p]
            for q in range(p + one, size):
                matrix[r, q] -= factor * matrix[p, q]
            for q in range(width):
                right[r, q] -= factor * right[p, q]
    for back in range(size):
        p = size - one - back
        inverse = 1.0 / max(matrix[p, p].real, least)
        for q in range(width):
            right[p, q] *= inverse
        for r in range(p):
            factor = matrix[r, p]
            for q in range(width):
                right[r, q] -= factor * right[p, q]


@njit(forceinline=True, fastmath={"contract"})
def _set_filters(u: UserScratch, users: Int, alpha: Float) -> None:
    """``beams[k] <- (sum_j share_j h_j^H h_j + alpha I)^-1 h_k^H``, over users or over antennas, whichever are fewer.

    The filters of ``beamforming.rzf`` (all shares one) and of ``beamforming._wmmse_step`` (alpha one).
    """
    channel, matrix, right = u.channel, u.matrix, u.right
    num_antennas = channel.shape[1]
    if users <= num_antennas:
        for i in range(users):
            for j in range(users):
                matrix[i, j] = u.share[j] * u.gram[i, j]
            matrix[i, i] += alpha
            for b in range(num_antennas):
                right[i, b] = channel[i, b]
        _solve(matrix, right, users, num_antennas, alpha)
        for i in range(users):
            for b in range(num_antennas):
                u.beams[i, b] = right[i, b].conjugate()
        return
    for a in range(num_antennas):
        for b in range(num_antennas):
            matrix[a, b] = 0.0
    for i in range(users):
        for a in range(num_antennas):
            weighted = u.share[i] * channel[i, a].conjugate()
            for b in range(num_antennas):
                matrix[a, b] += weighted * channel[i, b]
            right[a, i] = channel[i, a].conjugate()
    for a in range(num_antennas):
        matrix[a, a] += alpha
    _solve(matrix, right, num_antennas, users, alpha)
    for i in range(users):
        for b in range(num_antennas):
            u.beams[i, b] = right[b, i]


@njit(forceinline=True, error_model="numpy")
def start_beams(u: UserScratch, powers: F32, regularizer: F32, users: Int) -> None:
    """``beamforming.rzf`` with relative powers of the users, and the products of its beams."""
    energy = present = total = 0.0
    for i in range(users):
        u.share[i] = 1.0
        received = row_energy(u.channel, i)
        energy += received
        if received > 0.0:
            present += 1.0
            total += powers[i]
    alpha = max(present * regularizer, _FLOOR * energy)
    _set_filters(u, users, alpha if alpha > 0.0 else 1.0)
    for i in range(users):
        norm2 = row_energy(u.beams, i)
        amplitude = np.sqrt(powers[i] / total / norm2) if norm2 > 0.0 and total > 0.0 else 0.0
        for b in range(u.beams.shape[1]):
            u.beams[i, b] *= amplitude
    set_products(u.channel, u.beams, users, u.products)


@njit(forceinline=True, error_model="numpy")
def set_receivers(products: C128, users: Int, gain: C128, cost: F64) -> None:
    """``beamforming._receivers`` without weights."""
    for i in range(users):
        disturbance = 1.0 + interference_at(products, i, users)
        signal = abs2(products[i, i])
        gain[i] = (1.0 / disturbance) * products[i, i]
        cost[i] = signal / (disturbance * (disturbance + signal))


@njit(forceinline=True, fastmath={"contract", "reassoc"})
def interference_at(products: C128, i: Int, users: Int) -> Any:
    """Power of the others' beams at user i, of ``radio.received_power``."""
    total = 0.0
    for j in range(i):
        total += abs2(products[i, j])
    for j in range(i + 1, users):
        total += abs2(products[i, j])
    return total


@njit(forceinline=True, error_model="numpy")
def step_beams(u: UserScratch, users: Int) -> None:
    """``beamforming._wmmse_step`` from the present products, and those of the new beams."""
    set_receivers(u.products, users, u.gain, u.cost)
    load = power = 0.0
    for i in range(users):
        load += u.cost[i]
    for i in range(users):
        u.share[i] = u.cost[i] / load if load > 0.0 else 0.0
    _set_filters(u, users, 1.0)
    for i in range(users):
        power += abs2(u.gain[i]) * row_energy(u.beams, i)
    factor = 1.0 / np.sqrt(power) if power > _TINY else 1.0  # link.power_factor, "sphere"
    for i in range(users):
        amplitude = factor * u.gain[i]
        for b in range(u.beams.shape[1]):
            u.beams[i, b] *= amplitude
    set_products(u.channel, u.beams, users, u.products)
