"""Structured actions of a slot decoded, cell by cell: only users that are there and IRSs that serve one of them."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from irs_marl_env.engine.compilation import kernel
from irs_marl_env.engine.kernels.beams import abs2, interference_at, row_energy, set_products, start_beams, step_beams
from irs_marl_env.engine.kernels.elements import align_phases, clear_row, put_row, set_channel, sweep_phases
from irs_marl_env.engine.kernels.scratch import ElementScratch, UserScratch, scratch_memory
from irs_marl_env.engine.kernels.types import C64, C128, F32, F64, I64, Float, Int, Mask

_PER_BIT = 1.0 / math.log(2.0)


@njit(forceinline=True)
def _decode(
    x: ElementScratch,
    u: UserScratch,
    focus: F32,
    powers: F32,
    regularizer: F32,
    begin: I64,
    users: Int,
    scale: Float,
    sweeps: Int,
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
    align_phases(x, u.direct, focus, begin, users)
    for i in range(2 * users * size):  # _cells.unit_noise
        x.h[i] *= np.float32(scale)
    for i in range(users):
        for b in range(u.direct.shape[1]):
            u.direct[i, b] *= scale
    set_channel(x, u, users, size)
    start_beams(u, powers, regularizer, users)
    for step in range(2 * sweeps + 1 if sweeps > 0 else 0):
        if step > 0 and step % 2 == 0 and size > 0:
            sweep_phases(x, u, users, size)
            set_channel(x, u, users, size)
            set_products(u.channel, u.beams, users, u.products)
        step_beams(u, users)


@njit(forceinline=True)
def _find_users(cell: I64, m: Int, member: I64) -> Int:
    """The users of BS m into ``member``; how many."""
    count = 0
    for k in range(len(cell)):
        if cell[k] == m:
            member[count] = k
            count += 1
    return count


@njit(forceinline=True)
def _find_irss(owner: I64, m: Int, reach: Mask, elements: I64, served: I64, begin: I64) -> Int:
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


@njit(forceinline=True)
def _load_cell(
    x: ElementScratch,
    u: UserScratch,
    H: C64,
    G: C64,
    h: C64,
    reach: Mask,
    member: I64,
    users: Int,
    served: I64,
    irss: Int,
    begin: I64,
    elements: I64,
) -> None:
    """Channels of a BS to its users and over its IRSs, ``H (K, Nb)``, ``G (L, N, Nb)``, ``h (L, K, N)``, to where
    :func:`_decode` wants them."""
    size, num_antennas = begin[irss], H.shape[1]
    for i in range(users):
        for b in range(num_antennas):
            u.direct[i, b] = H[member[i], b]
    for j in range(irss):
        irs, first, count = served[j], begin[j], elements[served[j]]
        for b in range(num_antennas):
            put_row(x.G, 2 * b * size + first, size, G[irs, :, b], count)
        for i in range(users):
            at = 2 * i * size + first
            if reach[irs, member[i]]:
                put_row(x.h, at, size, h[irs, member[i]], count)
            else:
                clear_row(x.h, at, at + count)
                clear_row(x.h, at + size, at + size + count)


@njit(forceinline=True)
def _rate(products: C128, i: Int, users: Int) -> Float:
    """What user i of a decoded cell gets [bit/s/Hz]."""
    return np.log1p(abs2(products[i, i]) / (1.0 + interference_at(products, i, users))) * _PER_BIT


@kernel(error_model="numpy")
def structured_slot(
    focus: F32,
    powers: F32,
    regularizer: F32,
    H: C64,
    G: C64,
    h: C64,
    owner: I64,
    cell: I64,
    reach: Mask,
    elements: I64,
    max_powers: F64,
    noise_power: Float,
    sweeps: Int,
    w: C64,
    phi: C64,
    rates: F32,
    sum_rate: F32,
    power: F32,
) -> None:
    """``decoder.decode_structured`` for every BS, its own users and the IRSs it serves them over; and what it expects.

    The rates are those of ``radio.sinr`` ("physical", without inter-cell interference) and ``radio.rates`` if the
    channels that the BSs know are the true ones and an IRS reflects for nobody but those it serves.

    Args:
        focus: ``(E, M, L, K)``, powers ``(E, M, K)``, regularizer ``(E, M)``, float32, of
            ``actions.StructuredActionCodec``.
        H: ``(E, M, K, Nb)``, G ``(E, M, L, N, Nb)``, h ``(E, L, K, N)``, complex64, as the BSs know them.
        owner: ``(E, L)`` int64.
        cell: ``(E, K)`` int64.
        reach: ``(E, L, K)`` bool, users that the owner of an IRS serves over it; all of them its own.
        elements: ``(L,)`` int64, N_l.
        max_powers: ``(M,)`` float64, Pmax [W].
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
    x, u = scratch_memory(num_users, num_antennas, elements.sum())
    member, served, begin = np.empty(num_users, np.int64), np.empty(num_irs, np.int64), np.zeros(num_irs + 1, np.int64)
    weight, shares = np.empty((num_irs, num_users), np.float32), np.empty(num_users, np.float32)
    for e in range(len(H)):
        for m in range(num_bs):
            amplitude, scale = np.sqrt(max_powers[m]), np.sqrt(max_powers[m] / noise_power)
            users = _find_users(cell[e], m, member)
            irss = _find_irss(owner[e], m, reach[e], elements, served, begin)
            for i in range(users):
                shares[i] = powers[e, m, member[i]]
                for j in range(irss):
                    weight[j, i] = focus[e, m, served[j], member[i]]
            _load_cell(x, u, H[e, m], G[e, m], h[e], reach[e], member, users, served, irss, begin, elements)
            _decode(x, u, weight, shares, regularizer[e, m], begin[: irss + 1], users, scale, sweeps)
            radiated = total = 0.0
            for i in range(users):
                for b in range(num_antennas):
                    w[e, m, member[i], b] = amplitude * u.beams[i, b]
                radiated += row_energy(u.beams, i)
                rate = _rate(u.products, i, users)
                rates[e, member[i]] = rate
                total += rate
            sum_rate[e, m], power[e, m] = total, max_powers[m] * min(radiated, 1.0)
            for j in range(irss):
                for n in range(elements[served[j]]):
                    phi[e, served[j], n] = complex(x.phi[0, begin[j] + n], x.phi[1, begin[j] + n])


@kernel(error_model="numpy")
def set_rates(
    H: C64,
    G: C64,
    h: C64,
    cell: I64,
    sets: Mask,
    reach: Mask,
    elements: I64,
    max_powers: F64,
    noise_power: Float,
    sweeps: Int,
    value: F32,
) -> None:
    """``engine.set_rates.SetRates.set_rates``: what each BS expects of its users' rates with each of some sets of IRSs.

    Structured entries are neutral, and the rates are those of :func:`structured_slot`.

    Args:
        H: ``(E, M, K, Nb)``, G ``(E, M, L, N, Nb)``, h ``(E, L, K, N)``, complex64, as the BSs know them.
        cell: ``(E, K)`` int64.
        sets: ``(C, L)`` bool.
        reach: ``(E, C, L, K)`` bool, users whom their own BS serves over an IRS if it has the set.
        elements: ``(L,)`` int64, N_l.
        max_powers: ``(M,)`` float64, Pmax [W].
        noise_power: sigma^2 [W].
        sweeps: rounds of refinement.
        value: ``(E, M, C)`` float32 bit/s/Hz, overwritten.
    """
    num_irs, num_users = reach.shape[2:]
    x, u = scratch_memory(num_users, H.shape[3], elements.sum())
    member, served, begin = np.empty(num_users, np.int64), np.empty(num_irs, np.int64), np.zeros(num_irs + 1, np.int64)
    weight, shares = np.ones((num_irs, num_users), np.float32), np.ones(num_users, np.float32)
    owner = np.empty(num_irs, np.int64)
    for e in range(len(H)):
        for m in range(H.shape[1]):
            scale, users = np.sqrt(max_powers[m] / noise_power), _find_users(cell[e], m, member)
            for c in range(len(sets)):
                total = 0.0
                if users > 0:
                    for irs in range(num_irs):
                        owner[irs] = m if sets[c, irs] else -1
                    irss = _find_irss(owner, m, reach[e, c], elements, served, begin)
                    _load_cell(x, u, H[e, m], G[e, m], h[e], reach[e, c], member, users, served, irss, begin, elements)
                    _decode(x, u, weight, shares, np.float32(1.0), begin[: irss + 1], users, scale, sweeps)
                    for i in range(users):
                        total += _rate(u.products, i, users)
                value[e, m, c] = total
