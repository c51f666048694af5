"""Structured actions of a slot decoded, cell by cell: only users that are there and IRSs that serve one of them.

Inside a cell the elements of all its IRSs stand on one axis and Pmax = sigma^2 = 1, as in the solvers. What runs over
elements is single precision, real and imaginary parts apart: a row is S real and S imaginary parts. What runs over
users and antennas alone is double, because its systems of equations may be badly conditioned.

Functions see memory for the largest cell there can be; ``users`` and ``size`` (S) say how much of it counts.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from irs_marl_env.kernels.radio import row_product

_NONE, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.uint64(2)
_PER_BIT = 1.0 / math.log(2.0)
_TINY = float(np.finfo(np.float32).tiny)
_FLOOR = 64.0 * float(np.finfo(np.float32).eps)  # of beamforming.rzf


class _Elements(NamedTuple):
    """Memory for what runs over the elements of a cell, float32."""

    G: Any  # (Nb 2 S,) BS to elements, a row per antenna
    h: Any  # (K 2 S,) elements to users, a row per user
    at_irs: Any  # (K 2 S,) amplitude at the elements, a row per beam
    phi: Any  # (2, S)
    field: Any  # (2, S)
    curvature: Any  # (S,)
    path: Any  # (2, S)
    left: Any  # (2, max(K, Nb)), a row that multiplies matrices, and
    product: Any  # (2, 2 S), what its real and its imaginary parts make of them


class _Users(NamedTuple):
    """Memory for what runs over the users and antennas of a cell, complex128 and float64."""

    direct: Any  # (K, Nb) BS to users
    channel: Any  # (K, Nb) with what the IRSs reflect
    gram: Any  # (K, K) of the rows of the channel; not made with more users than antennas
    beams: Any  # (K, Nb)
    products: Any  # (K, K) of channel and beams
    matrix: Any  # (D, D), D = min(K, Nb)
    right: Any  # (D, max(K, Nb))
    gain: Any  # (K,) and
    cost: Any  # (K,) of the receivers
    share: Any  # (K,)


@njit(cache=True)
def _memory(num_users: Any, num_antennas: Any, size: Any) -> Any:
    wide, small = max(num_users, num_antennas), min(num_users, num_antennas)
    elements = _Elements(
        G=np.empty(2 * num_antennas * size, np.float32),
        h=np.empty(2 * num_users * size, np.float32),
        at_irs=np.empty(2 * num_users * size, np.float32),
        phi=np.empty((2, size), np.float32),
        field=np.empty((2, size), np.float32),
        curvature=np.empty(size, np.float32),
        path=np.empty((2, size), np.float32),
        left=np.empty((2, wide), np.float32),
        product=np.empty((2, 2 * size), np.float32),
    )
    users = _Users(
        direct=np.empty((num_users, num_antennas), np.complex128),
        channel=np.empty((num_users, num_antennas), np.complex128),
        gram=np.empty((num_users, num_users), np.complex128),
        beams=np.empty((num_users, num_antennas), np.complex128),
        products=np.empty((num_users, num_users), np.complex128),
        matrix=np.empty((small, small), np.complex128),
        right=np.empty((small, wide), np.complex128),
        gain=np.empty(num_users, np.complex128),
        cost=np.empty(num_users, np.float64),
        share=np.empty(num_users, np.float64),
    )
    return elements, users


@njit(cache=True, inline="always")
def _abs2(x: Any) -> Any:
    """``link.abs2`` of one number."""
    return x.real * x.real + x.imag * x.imag


# --- over elements -------------------------------------------------------------------------------------------------


@njit(cache=True, forceinline=True)
def _clear(rows: Any, start: Any, end: Any) -> None:
    for n in range(np.uint64(start), np.uint64(end)):
        rows[n] = _NONE


@njit(cache=True, forceinline=True)
def _put(rows: Any, at: Any, size: Any, values: Any, count: Any) -> None:
    """``count`` complex values into a row, from ``at`` on."""
    at, size = np.uint64(at), np.uint64(size)
    for n in range(np.uint64(count)):
        rows[at + n] = values[n].real
        rows[at + size + n] = values[n].imag


@njit(cache=True, forceinline=True)
def _multiply(left: Any, count: Any, rows: Any, size: Any, product: Any) -> None:
    """``left[:count] @ rows (count, S)``, in the two parts that :func:`_entry` puts together."""
    _clear(product[0], 0, 2 * size)
    _clear(product[1], 0, 2 * size)
    row_product(left[0], left[1], count, rows, np.uint64(0), np.uint64(2 * size), product[0], product[1])


@njit(cache=True, inline="always")
def _entry(product: Any, size: Any, s: Any) -> Any:
    """Real and imaginary part of an entry of :func:`_multiply`."""
    return product[0, s] - product[1, size + s], product[0, size + s] + product[1, s]


@njit(cache=True, forceinline=True, fastmath={"contract"})
def _add_matched(product: Any, h: Any, first: Any, size: Any, weight: Any, begin: Any, end: Any, field: Any) -> None:
    """Add ``weight h product`` to the field of some elements; the user's row of h begins at ``first``."""
    for s in range(np.uint64(begin), np.uint64(end)):
        real, imag = _entry(product, size, s)
        h_real, h_imag = h[first + s], h[first + size + s]
        field[0, s] += weight * (h_real * real - h_imag * imag)
        field[1, s] += weight * (h_real * imag + h_imag * real)


@njit(cache=True, forceinline=True, error_model="numpy")
def _turn(field: Any, curvature: Any, phi: Any, size: Any) -> None:
    """``phi <- _cells.unit_phase(conj(field) + curvature phi)``."""
    for s in range(np.uint64(size)):
        x = np.float64(curvature[s] * phi[0, s] + field[0, s])
        y = np.float64(curvature[s] * phi[1, s] - field[1, s])
        modulus = np.sqrt(x * x + y * y)  # squares of single numbers are not lost in double
        lost = modulus < _TINY
        phi[0, s] = _ONE if lost else np.float32(x / modulus)
        phi[1, s] = _NONE if lost else np.float32(y / modulus)


@njit(cache=True, forceinline=True)
def _align(x: Any, direct: Any, focus: Any, begin: Any, users: Any) -> None:
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
        _clear(rows, 0, size)
    for i in range(users):
        for b in range(num_antennas):
            x.left[0, b], x.left[1, b] = direct[i, b].real, -direct[i, b].imag
        _multiply(x.left, num_antennas, x.G, size, x.product)
        first = _TWO * np.uint64(i) * size
        for j in range(num_irs):
            _add_matched(x.product, x.h, first, size, focus[j, i], begin[j], begin[j + 1], x.field)
    _turn(x.field, x.curvature, x.phi, size)


@njit(cache=True, forceinline=True, fastmath={"contract"})
def _arrive(x: Any, beams: Any, users: Any, size: Any) -> None:
    """``phases._beams_at_irs``, and in ``path[0]`` the energy of all beams at each element."""
    energy, product, at_irs = x.path[0], x.product, x.at_irs
    _clear(energy, 0, size)
    for j in range(users):
        for b in range(beams.shape[1]):
            x.left[0, b], x.left[1, b] = beams[j, b].real, beams[j, b].imag
        _multiply(x.left, beams.shape[1], x.G, size, product)
        first = _TWO * np.uint64(j) * size
        for s in range(size):
            real, imag = _entry(product, size, s)
            at_irs[first + s], at_irs[first + size + s] = real, imag
            energy[s] += real * real + imag * imag


@njit(cache=True, forceinline=True, fastmath={"contract"})
def _add_curvature(h: Any, first: Any, size: Any, cost: Any, curvature: Any) -> None:
    """Add ``cost |h|^2`` of one user."""
    for s in range(size):
        real, imag = h[first + s], h[first + size + s]
        curvature[s] += cost * (real * real + imag * imag)


@njit(cache=True, forceinline=True)
def _sweep(x: Any, u: Any, users: Any, size: Any) -> None:
    """``phases._parallel_sweep`` from the present products, with damping one."""
    size = np.uint64(size)
    _set_receivers(u.products, users, u.gain, u.cost)
    _arrive(x, u.beams, users, size)
    for rows in (x.field[0], x.field[1], x.curvature):
        _clear(rows, 0, size)
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


@njit(cache=True, forceinline=True, fastmath={"contract", "reassoc"})
def _reflected(path: Any, G: Any, first: Any, size: Any) -> Any:
    """``sum_s path[s] G[b, s]`` for the antenna whose row of G begins at ``first``."""
    real = imag = _NONE
    for s in range(size):
        path_real, path_imag = path[0, s], path[1, s]
        G_real, G_imag = G[first + s], G[first + size + s]
        real += path_real * G_real - path_imag * G_imag
        imag += path_real * G_imag + path_imag * G_real
    return complex(real, imag)


@njit(cache=True, forceinline=True, fastmath={"contract"})
def _follow(h: Any, first: Any, size: Any, phi: Any, path: Any) -> None:
    """``h phi`` of a user."""
    for s in range(size):
        real, imag = h[first + s], h[first + size + s]
        path[0, s] = real * phi[0, s] - imag * phi[1, s]
        path[1, s] = real * phi[1, s] + imag * phi[0, s]


@njit(cache=True, forceinline=True)
def _set_channel(x: Any, u: Any, users: Any, size: Any) -> None:
    """``link.cell_channel``, and the Gram matrix where filters need it."""
    num_antennas, size = u.direct.shape[1], np.uint64(size)
    for i in range(users):
        _follow(x.h, _TWO * np.uint64(i) * size, size, x.phi, x.path)
        for b in range(num_antennas):
            u.channel[i, b] = u.direct[i, b] + _reflected(x.path, x.G, _TWO * np.uint64(b) * size, size)
    if users <= num_antennas:
        _set_gram(u.channel, users, u.gram)


# --- over users and antennas ---------------------------------------------------------------------------------------


@njit(cache=True, forceinline=True, fastmath={"contract", "reassoc"})
def _energy(rows: Any, i: Any) -> Any:
    """Squared norm of a row."""
    total = 0.0
    for b in range(rows.shape[1]):
        total += _abs2(rows[i, b])
    return total


@njit(cache=True, forceinline=True, fastmath={"contract", "reassoc"})
def _set_gram(channel: Any, users: Any, gram: Any) -> None:
    for i in range(users):
        for j in range(i + 1):
            total = 0j
            for b in range(channel.shape[1]):
                total += channel[i, b] * channel[j, b].conjugate()
            gram[i, j], gram[j, i] = total, total.conjugate()


@njit(cache=True, forceinline=True, fastmath={"contract", "reassoc"})
def _set_products(channel: Any, beams: Any, users: Any, products: Any) -> None:
    """``link.beam_products``."""
    for i in range(users):
        for j in range(users):
            total = 0j
            for b in range(channel.shape[1]):
                total += channel[i, b] * beams[j, b]
            products[i, j] = total


@njit(cache=True, forceinline=True, fastmath={"contract"}, error_model="numpy")
def _solve(matrix: Any, right: Any, size: Any, width: Any, least: Any) -> None:
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


@njit(cache=True, forceinline=True, fastmath={"contract"})
def _set_filters(u: Any, users: Any, alpha: Any) -> None:
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


@njit(cache=True, forceinline=True, error_model="numpy")
def _start_beams(u: Any, powers: Any, regularizer: Any, users: Any) -> None:
    """``beamforming.rzf`` with relative powers of the users, and the products of its beams."""
    energy = present = total = 0.0
    for i in range(users):
        u.share[i] = 1.0
        received = _energy(u.channel, i)
        energy += received
        if received > 0.0:
            present += 1.0
            total += powers[i]
    alpha = max(present * regularizer, _FLOOR * energy)
    _set_filters(u, users, alpha if alpha > 0.0 else 1.0)
    for i in range(users):
        norm2 = _energy(u.beams, i)
        amplitude = np.sqrt(powers[i] / total / norm2) if norm2 > 0.0 and total > 0.0 else 0.0
        for b in range(u.beams.shape[1]):
            u.beams[i, b] *= amplitude
    _set_products(u.channel, u.beams, users, u.products)


@njit(cache=True, forceinline=True, error_model="numpy")
def _set_receivers(products: Any, users: Any, gain: Any, cost: Any) -> None:
    """``beamforming._receivers`` without weights."""
    for i in range(users):
        disturbance = 1.0 + _interference(products, i, users)
        signal = _abs2(products[i, i])
        gain[i] = (1.0 / disturbance) * products[i, i]
        cost[i] = signal / (disturbance * (disturbance + signal))


@njit(cache=True, forceinline=True, fastmath={"contract", "reassoc"})
def _interference(products: Any, i: Any, users: Any) -> Any:
    """Power of the others' beams at user i, of ``link.received_power``."""
    total = 0.0
    for j in range(i):
        total += _abs2(products[i, j])
    for j in range(i + 1, users):
        total += _abs2(products[i, j])
    return total


@njit(cache=True, forceinline=True, error_model="numpy")
def _step_beams(u: Any, users: Any) -> None:
    """``beamforming._wmmse_step`` from the present products, and those of the new beams."""
    _set_receivers(u.products, users, u.gain, u.cost)
    load = power = 0.0
    for i in range(users):
        load += u.cost[i]
    for i in range(users):
        u.share[i] = u.cost[i] / load if load > 0.0 else 0.0
    _set_filters(u, users, 1.0)
    for i in range(users):
        power += _abs2(u.gain[i]) * _energy(u.beams, i)
    factor = 1.0 / np.sqrt(power) if power > _TINY else 1.0  # link.power_factor, "sphere"
    for i in range(users):
        amplitude = factor * u.gain[i]
        for b in range(u.beams.shape[1]):
            u.beams[i, b] *= amplitude
    _set_products(u.channel, u.beams, users, u.products)


# --- a cell --------------------------------------------------------------------------------------------------------


@njit(cache=True, forceinline=True)
def _decode(
    x: Any, u: Any, focus: Any, powers: Any, regularizer: Any, begin: Any, users: Any, scale: Any, sweeps: Any
) -> None:
    """``decoder.decode_structured`` of one cell in its own units; beams have Pmax = 1, and products are theirs.

    Args:
        x, u: the cell; ``x.G``, ``x.h`` and ``u.direct`` are set.
        focus: ``(I, K)``, powers ``(K,)`` and regularizer float32, of the users and IRSs of the cell.
        begin: ``(I + 1,)``, the first element of each of the cell's IRSs.
        users: how many.
        scale: sqrt(Pmax / sigma^2).
        sweeps: rounds of refinement.
    """
    size = begin[len(begin) - 1]
    _align(x, u.direct, focus, begin, users)
    for i in range(2 * users * size):  # _cells.unit_noise
        x.h[i] *= np.float32(scale)
    for i in range(users):
        for b in range(u.direct.shape[1]):
            u.direct[i, b] *= scale
    _set_channel(x, u, users, size)
    _start_beams(u, powers, regularizer, users)
    for step in range(2 * sweeps + 1 if sweeps > 0 else 0):
        if step > 0 and step % 2 == 0 and size > 0:
            _sweep(x, u, users, size)
            _set_channel(x, u, users, size)
            _set_products(u.channel, u.beams, users, u.products)
        _step_beams(u, users)


@njit(cache=True, forceinline=True)
def _find_users(cell: Any, m: Any, member: Any) -> Any:
    """The users of BS m into ``member``; how many."""
    count = 0
    for k in range(len(cell)):
        if cell[k] == m:
            member[count] = k
            count += 1
    return count


@njit(cache=True, forceinline=True)
def _find_irss(owner: Any, m: Any, reach: Any, elements: Any, served: Any, begin: Any) -> Any:
    """The IRSs of BS m that serve somebody into ``served``, and the first element of each into ``begin``; how many."""
    count = 0
    for irs in range(len(owner)):
        if owner[irs] != m:
            continue
        for k in range(reach.shape[1]):
            if reach[irs, k]:
                served[count], begin[count + 1] = irs, begin[count] + elements[irs]
                count += 1
                break
    return count


@njit(cache=True, error_model="numpy")
def structured_slot(
    focus: Any,
    powers: Any,
    regularizer: Any,
    H: Any,
    G: Any,
    h: Any,
    owner: Any,
    cell: Any,
    reach: Any,
    elements: Any,
    max_power: Any,
    noise_power: Any,
    sweeps: Any,
    w: Any,
    phi: Any,
    rates: Any,
    sum_rate: Any,
    power: Any,
) -> None:
    """``decoder.decode_structured`` for every BS, its own users and the IRSs it serves them over; and what it expects.

    The rates are those of ``link.sinr`` ("physical", without inter-cell interference) and ``link.rates`` if the
    channels that the BSs know are the true ones and an IRS reflects for nobody but those it serves.

    Args:
        focus: ``(E, M, L, K)``, powers ``(E, M, K)``, regularizer ``(E, M)``, float32, of
            ``codec.StructuredActionCodec``.
        H: ``(E, M, K, Nb)``, G ``(E, M, L, N, Nb)``, h ``(E, L, K, N)``, complex64, as the BSs know them.
        owner: ``(E, L)`` int64.
        cell: ``(E, K)`` int64.
        reach: ``(E, L, K)`` bool, users that the owner of an IRS serves over it; all of them its own.
        elements: ``(L,)`` int64, N_l.
        max_power: Pmax [W].
        noise_power: sigma^2 [W].
        sweeps: rounds of refinement.
        w: ``(E, M, K, Nb)`` complex64 sqrt(W), all zero; written for the users of each BS.
        phi: ``(E, L, N)`` complex64, all one; written for the IRSs that serve somebody.
        rates: ``(E, K)`` float32 bit/s/Hz, overwritten.
        sum_rate: ``(E, M)`` float32, overwritten.
        power: ``(E, M)`` float32 W, overwritten.
    """
    num_irs, num_users = reach.shape[1:]
    num_bs, num_antennas = H.shape[1], H.shape[3]
    x, u = _memory(num_users, num_antennas, elements.sum())
    member, served, begin = np.empty(num_users, np.int64), np.empty(num_irs, np.int64), np.zeros(num_irs + 1, np.int64)
    weight, shares = np.empty((num_irs, num_users), np.float32), np.empty(num_users, np.float32)
    amplitude, scale = np.sqrt(max_power), np.sqrt(max_power / noise_power)
    for e in range(len(H)):
        for m in range(num_bs):
            users = _find_users(cell[e], m, member)
            irss = _find_irss(owner[e], m, reach[e], elements, served, begin)
            size = begin[irss]
            for i in range(users):
                shares[i] = powers[e, m, member[i]]
                for b in range(num_antennas):
                    u.direct[i, b] = H[e, m, member[i], b]
            for j in range(irss):
                irs, first, count = served[j], begin[j], elements[served[j]]
                for b in range(num_antennas):
                    _put(x.G, 2 * b * size + first, size, G[e, m, irs, :, b], count)
                for i in range(users):
                    weight[j, i] = focus[e, m, irs, member[i]]
                    at = 2 * i * size + first
                    if reach[e, irs, member[i]]:
                        _put(x.h, at, size, h[e, irs, member[i]], count)
                    else:
                        _clear(x.h, at, at + count)
                        _clear(x.h, at + size, at + size + count)
            _decode(x, u, weight, shares, regularizer[e, m], begin[: irss + 1], users, scale, sweeps)
            radiated = total = 0.0
            for i in range(users):
                for b in range(num_antennas):
                    w[e, m, member[i], b] = amplitude * u.beams[i, b]
                radiated += _energy(u.beams, i)
                sinr = _abs2(u.products[i, i]) / (1.0 + _interference(u.products, i, users))
                rate = np.log1p(sinr) * _PER_BIT
                rates[e, member[i]] = rate
                total += rate
            sum_rate[e, m], power[e, m] = total, max_power * min(radiated, 1.0)
            for j in range(irss):
                for n in range(elements[served[j]]):
                    phi[e, served[j], n] = complex(x.phi[0, begin[j] + n], x.phi[1, begin[j] + n])
