"""What the decoder of structured actions computes over the elements of a cell's IRSs: phases and effective channels.

Inside a cell the elements of all its IRSs stand on one axis and Pmax = sigma^2 = 1, as in the solvers.
Functions see memory for the largest cell there can be; ``users`` and ``size`` (S) say how much of it counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from irs_marl_env.engine.kernels.beams import set_gram, set_receivers
from irs_marl_env.engine.kernels.radio import row_product
from irs_marl_env.engine.kernels.scratch import ElementScratch, UserScratch
from irs_marl_env.engine.kernels.types import C64, C128, F32, Float, Int

_NONE, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.uint64(2)
_TINY = float(np.finfo(np.float32).tiny)


@njit(forceinline=True)
def clear_row(rows: F32, start: Int, end: Int) -> None:
    for n in range(np.uint64(start), np.uint64(end)):
        rows[n] = _NONE


@njit(forceinline=True)
def put_row(rows: F32, at: Int, size: Int, values: C64, count: Int) -> None:
    """``count`` complex values into a row, from ``at`` on."""
    at, size = np.uint64(at), np.uint64(size)
    for n in range(np.uint64(count)):
        rows[at + n] = values[n].real
        rows[at + size + n] = values[n].imag


@njit(forceinline=True)
def _multiply(left: F32, count: Int, rows: F32, size: Int, product: F32) -> None:
    """``left[:count] @ rows (count, S)``, in the two parts that :func:`_entry` puts together."""
    clear_row(product[0], 0, 2 * size)
    clear_row(product[1], 0, 2 * size)
    row_product(left[0], left[1], count, rows, np.uint64(0), np.uint64(2 * size), product[0], product[1])


@njit(inline="always")
def _entry(product: F32, size: Int, s: Int) -> Any:
    """Real and imaginary part of an entry of :func:`_multiply`."""
    return product[0, s] - product[1, size + s], product[0, size + s] + product[1, s]


@njit(forceinline=True, fastmath={"contract"})
def _add_matched(product: F32, h: F32, first: Int, size: Int, weight: Float, begin: Int, end: Int, field: F32) -> None:
    """Add ``weight h product`` to the field of some elements; the user's row of h begins at ``first``."""
    for s in range(np.uint64(begin), np.uint64(end)):
        real, imag = _entry(product, size, s)
        h_real, h_imag = h[first + s], h[first + size + s]
        field[0, s] += weight * (h_real * real - h_imag * imag)
        field[1, s] += weight * (h_real * imag + h_imag * real)


@njit(forceinline=True, error_model="numpy")
def _turn(field: F32, curvature: F32, phi: F32, size: Int) -> None:
    """``phi <- _cells.unit_phase(conj(field) + curvature phi)``."""
    for s in range(np.uint64(size)):
        x = np.float64(curvature[s] * phi[0, s] + field[0, s])
        y = np.float64(curvature[s] * phi[1, s] - field[1, s])
        modulus = np.sqrt(x * x + y * y)  # squares of single numbers are not lost in double
        lost = modulus < _TINY
        phi[0, s] = _ONE if lost else np.float32(x / modulus)
        phi[1, s] = _NONE if lost else np.float32(y / modulus)


@njit(forceinline=True)
def align_phases(x: ElementScratch, direct: C128, focus: F32, begin: Int, users: Int) -> None:
    """``phases.align_phases`` of channels in their own units.

    Args:
        x: the elements.
        direct: BS to users.
        focus: ``(I, K)`` float32, weights of the users at each of the cell's IRSs.
        begin: ``(I + 1,)``, the first element of each.
        users: how many.
    """
    num_antennas, num_irs = direct.shape[1], len(begin) - 1
    size = np.uint64(begin[num_irs])
    for rows in (x.phi[0], x.phi[1], x.field[0], x.field[1], x.curvature):
        clear_row(rows, 0, size)
    for i in range(users):
        for b in range(num_antennas):
            x.left[0, b], x.left[1, b] = direct[i, b].real, -direct[i, b].imag
        _multiply(x.left, num_antennas, x.G, size, x.product)
        first = _TWO * np.uint64(i) * size
        for j in range(num_irs):
            _add_matched(x.product, x.h, first, size, focus[j, i], begin[j], begin[j + 1], x.field)
    _turn(x.field, x.curvature, x.phi, size)


@njit(forceinline=True, fastmath={"contract"})
def _arrive(x: ElementScratch, beams: C128, users: Int, size: Int) -> None:
    """``phases._beams_at_irs``, and in ``path[0]`` the energy of all beams at each element."""
    energy, product, at_irs = x.path[0], x.product, x.at_irs
    clear_row(energy, 0, size)
    for j in range(users):
        for b in range(beams.shape[1]):
            x.left[0, b], x.left[1, b] = beams[j, b].real, beams[j, b].imag
        _multiply(x.left, beams.shape[1], x.G, size, product)
        first = _TWO * np.uint64(j) * size
        for s in range(size):
            real, imag = _entry(product, size, s)
            at_irs[first + s], at_irs[first + size + s] = real, imag
            energy[s] += real * real + imag * imag


@njit(forceinline=True, fastmath={"contract"})
def _add_curvature(h: F32, first: Int, size: Int, cost: Float, curvature: F32) -> None:
    """Add ``cost |h|^2`` of one user."""
    for s in range(size):
        real, imag = h[first + s], h[first + size + s]
        curvature[s] += cost * (real * real + imag * imag)


@njit(forceinline=True)
def sweep_phases(x: ElementScratch, u: UserScratch, users: Int, size: Int) -> None:
    """``phases._parallel_sweep`` from the present products, with damping one."""
    size = np.uint64(size)
    set_receivers(u.products, users, u.gain, u.cost)
    _arrive(x, u.beams, users, size)
    for rows in (x.field[0], x.field[1], x.curvature):
        clear_row(rows, 0, size)
    for i in range(users):
        for j in range(users):
            residual = (u.gain[i] if i == j else 0.0) - u.cost[i] * u.products[i, j]
            x.left[0, j], x.left[1, j] = residual.real, -residual.imag
        _multiply(x.left, users, x.at_irs, size, x.product)
        first = _TWO * np.uint64(i) * size
        _add_matched(x.product, x.h, first, size, _ONE, 0, size, x.field)
        _add_curvature(x.h, first, size, np.float32(u.cost[i]), x.curvature)
    for s in range(size):
        x.curvature[s] *= x.path[0, s]
    _turn(x.field, x.curvature, x.phi, size)


@njit(forceinline=True, fastmath={"contract", "reassoc"})
def _reflected(path: F32, G: F32, first: Int, size: Int) -> Any:
    """``sum_s path[s] G[b, s]`` for the antenna whose row of G begins at ``first``."""
    real = imag = _NONE
    for s in range(size):
        path_real, path_imag = path[0, s], path[1, s]
        G_real, G_imag = G[first + s], G[first + size + s]
        real += path_real * G_real - path_imag * G_imag
        imag += path_real * G_imag + path_imag * G_real
    return complex(real, imag)


@njit(forceinline=True, fastmath={"contract"})
def _follow(h: F32, first: Int, size: Int, phi: F32, path: F32) -> None:
    """``h phi`` of a user."""
    for s in range(size):
        real, imag = h[first + s], h[first + size + s]
        path[0, s] = real * phi[0, s] - imag * phi[1, s]
        path[1, s] = real * phi[1, s] + imag * phi[0, s]


@njit(forceinline=True)
def set_channel(x: ElementScratch, u: UserScratch, users: Int, size: Int) -> None:
    """``radio.cell_channel``, and the Gram matrix where filters need it."""
    num_antennas, size = u.direct.shape[1], np.uint64(size)
    for i in range(users):
        _follow(x.h, _TWO * np.uint64(i) * size, size, x.phi, x.path)
        for b in range(num_antennas):
            u.channel[i, b] = u.direct[i, b] + _reflected(x.path, x.G, _TWO * np.uint64(b) * size, size)
    if users <= num_antennas:
        set_gram(u.channel, users, u.gram)
