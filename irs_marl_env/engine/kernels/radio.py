"""The radio link of one slot: who owns what, effective channels, rates."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from irs_marl_env.engine.compilation import kernel
from irs_marl_env.engine.kernels.random_numbers import bits_at, cosine_sine
from irs_marl_env.engine.kernels.types import C64, F32, I64, U64, Bits, Float, Int

_NONE = np.float32(0.0)
_PER_BIT = np.float32(1.0 / math.log(2.0))


@njit(inline="always")
def _limited(x: Float) -> Float:
    """``arrays.limit`` to [-1, 1]."""
    return min(max(x, np.float32(-1.0)), np.float32(1.0))


@njit(inline="always")
def _parts(x: C64) -> F32:
    """Real and imaginary parts in turn, flat."""
    return x.reshape(-1).view(np.float32)


@kernel(fastmath={"reassoc"})
def finite(x: F32) -> bool:
    """``numpy.isfinite(x).all()`` of float32."""
    flat = x.reshape(-1)
    total = _NONE
    for i in range(np.uint64(len(flat))):
        total += flat[i] * _NONE  # NaN from there on if one is not finite
    return total == _NONE


@kernel()
def auction(action: F32, start: Int, keys: U64, index: U64, bids: F32, owner: I64) -> None:
    """Bids of actions, limited, and ``association.assign`` by auction.

    Only environments with a tie draw, as with ``Streams.uniform_where``.

    Args:
        action: ``(E, M, D_a)`` float32.
        start: where the bids stand in an action.
        keys: ``(E, 2)`` Philox keys of the stream that decides ties.
        index: ``(E,)`` of its next number; moved on by M L where an auction is tied.
        bids: ``(E, M, L)`` float32, overwritten.
        owner: ``(E, L)`` int64, overwritten.
    """
    num_envs, num_bs, num_irs = bids.shape
    for e in range(num_envs):
        tied = False
        for irs in range(num_irs):
            best, equal = np.float32(-2.0), False
            for m in range(num_bs):
                bid = _limited(action[e, m, start + irs])
                bids[e, m, irs] = bid
                if bid > best:
                    best, owner[e, irs], equal = bid, m, False
                elif bid == best:
                    equal = True
            tied = tied or equal
        if tied:
            _break_ties(index[e], keys[e, 0], keys[e, 1], bids[e], owner[e])
            index[e] += np.uint64(num_bs * num_irs)


@njit(inline="always")
def _break_ties(first: Bits, key0: Bits, key1: Bits, bids: F32, owner: I64) -> None:
    """Of the highest bidders for an IRS the one with the largest number of a stream becomes the owner.

    Args:
        first: index of the number of BS 0 and IRS 0; that of BS m and IRS l comes m L + l later.
        key0, key1: of the stream.
        bids: ``(M, L)``.
        owner: ``(L,)``: the first of the highest bidders; overwritten.
    """
    num_bs, num_irs = bids.shape
    for irs in range(num_irs):
        leader = owner[irs]
        best = bids[leader, irs]
        largest = _number(first, leader * num_irs + irs, key0, key1)
        for m in range(leader + 1, num_bs):
            if bids[m, irs] == best:
                number = _number(first, m * num_irs + irs, key0, key1)
                if number > largest:
                    largest, owner[irs] = number, m


@njit(inline="always")
def _number(first: Bits, offset: Int, key0: Bits, key1: Bits) -> Bits:
    """``2^53 philox.to_uniform`` of the random bits ``offset`` after the first."""
    return bits_at(first + np.uint64(offset), key0, key1) >> np.uint64(11)


@njit(forceinline=True, fastmath={"contract"})
def row_product(
    path_real: F32, path_imag: F32, count: Int, parts: F32, at: Int, width: Int, by_real: F32, by_imag: F32
) -> None:
    """Row times matrix, ``path G``: add ``Re(path[n]) G[n]`` and ``Im(path[n]) G[n]`` over n, for interleaved G.

    Four rows at a time: sums are read and written once for four of them.
    """
    n = 0
    while n + 4 <= count:
        a0, a1, a2, a3 = path_real[n], path_real[n + 1], path_real[n + 2], path_real[n + 3]
        b0, b1, b2, b3 = path_imag[n], path_imag[n + 1], path_imag[n + 2], path_imag[n + 3]
        row0 = at + np.uint64(n) * width
        row1 = row0 + width
        row2 = row1 + width
        row3 = row2 + width
        for i in range(width):
            g0, g1, g2, g3 = parts[row0 + i], parts[row1 + i], parts[row2 + i], parts[row3 + i]
            by_real[i] += a0 * g0 + a1 * g1 + a2 * g2 + a3 * g3
            by_imag[i] += b0 * g0 + b1 * g1 + b2 * g2 + b3 * g3
        n += 4
    while n < count:
        a0, b0 = path_real[n], path_imag[n]
        row0 = at + np.uint64(n) * width
        for i in range(width):
            by_real[i] += a0 * parts[row0 + i]
            by_imag[i] += b0 * parts[row0 + i]
        n += 1


@njit(forceinline=True, fastmath={"contract"})
def _paths(h: F32, first: Int, count: Int, phi_real: F32, phi_imag: F32, path_real: F32, path_imag: F32) -> None:
    """``h[n] phi[n]`` from interleaved h, real and imaginary parts apart."""
    for n in range(count):
        real, imag = h[first + np.uint64(2 * n)], h[first + np.uint64(2 * n + 1)]
        path_real[n] = real * phi_real[n] - imag * phi_imag[n]
        path_imag[n] = real * phi_imag[n] + imag * phi_real[n]


@kernel()
def owned_channel(H: C64, G: C64, h: C64, phi: C64, owner: I64, cell: I64, out: C64) -> None:
    """``radio.cell_channel`` of every user over the IRSs its serving BS owns, without touching any other channel.

    Args:
        H: ``(E, M, K, Nb)``, G ``(E, M, L, N, Nb)``, h ``(E, L, K, N)``, phi ``(E, L, N)``, all complex64.
        owner: ``(E, L)`` int64.
        cell: ``(E, K)`` int64.
        out: ``(E, K, Nb)`` complex64, overwritten.
    """
    num_envs, num_irs, num_users, num_elements = h.shape
    num_bs, num_antennas = H.shape[1], H.shape[3]
    G_parts, h_parts = _parts(G), _parts(h)
    by_real, by_imag = np.empty(2 * num_antennas, np.float32), np.empty(2 * num_antennas, np.float32)
    path_real, path_imag = np.empty(num_elements, np.float32), np.empty(num_elements, np.float32)
    phi_real, phi_imag = np.empty(num_elements, np.float32), np.empty(num_elements, np.float32)
    width = np.uint64(2 * num_antennas)
    for e in range(num_envs):
        for k in range(num_users):
            for b in range(num_antennas):
                out[e, k, b] = H[e, cell[e, k], k, b]
        for irs in range(num_irs):
            m = owner[e, irs]
            if m < 0:
                continue
            for n in range(num_elements):
                phi_real[n], phi_imag[n] = phi[e, irs, n].real, phi[e, irs, n].imag
            at = np.uint64(((e * num_bs + m) * num_irs + irs) * num_elements) * width
            for k in range(num_users):
                if cell[e, k] != m:
                    continue
                by_real[:] = _NONE
                by_imag[:] = _NONE
                first = np.uint64(2 * ((e * num_irs + irs) * num_users + k) * num_elements)
                _paths(h_parts, first, num_elements, phi_real, phi_imag, path_real, path_imag)
                row_product(path_real, path_imag, num_elements, G_parts, at, width, by_real, by_imag)
                for b in range(num_antennas):
                    out[e, k, b] += complex(by_real[2 * b] - by_imag[2 * b + 1], by_real[2 * b + 1] + by_imag[2 * b])


@kernel(fastmath={"contract"}, error_model="numpy")
def raw_slot(
    action: F32,
    H: C64,
    G: C64,
    h: C64,
    owner: I64,
    cell: I64,
    elements: I64,
    antennas: I64,
    max_powers: F32,
    sphere: bool,
    noise_power: Float,
    rates: F32,
    sum_rate: F32,
    power: F32,
) -> None:
    """One slot of raw actions: decoding, power limit, phases, channels over owned IRSs, SINR and rate.

    What ``actions.RawActionCodec.decode``, ``radio.power_factor``, ``radio.phase_shifts``, ``radio.cell_channel``,
    ``radio.sinr`` ("physical", without inter-cell interference) and ``radio.rates`` make of the same arrays in turn.

    Args:
        action: ``(E, M, D_a)`` float32; entries beyond [-1, 1] count as the limit.
        H: ``(E, M, K, Nb)``, G ``(E, M, L, N, Nb)``, h ``(E, L, K, N)``, complex64.
        owner: ``(E, L)`` int64.
        cell: ``(E, K)`` int64.
        elements: ``(L,)`` int64, N_l.
        antennas: ``(M,)`` int64, how many of the Nb antennas each BS has; the others do not radiate.
        max_powers: ``(M,)`` float32, Pmax [W].
        sphere: always radiate Pmax.
        noise_power: float32 [W].
        rates: ``(E, K)`` float32 bit/s/Hz, overwritten.
        sum_rate: ``(E, M)`` float32, overwritten.
        power: ``(E, M)`` float32 W, overwritten.
    """
    num_envs, num_irs, num_users, num_elements = h.shape
    num_bs, num_antennas = H.shape[1], H.shape[3]
    H_parts, G_parts, h_parts = _parts(H), _parts(G), _parts(h)
    width = np.uint64(2 * num_antennas)
    member = np.empty(num_users, np.int64)
    beams = np.empty(2 * num_antennas * num_users, np.float32)
    by_real = np.empty((num_users, 2 * num_antennas), np.float32)
    by_imag = np.empty_like(by_real)
    path_real, path_imag = np.empty(num_elements, np.float32), np.empty(num_elements, np.float32)
    phi_real, phi_imag = np.empty(num_elements, np.float32), np.empty(num_elements, np.float32)
    h_real, h_imag = np.empty(num_antennas, np.float32), np.empty(num_antennas, np.float32)
    at_real, at_imag = np.empty(2 * num_users, np.float32), np.empty(2 * num_users, np.float32)
    size_w = num_users * num_antennas
    for e in range(num_envs):
        for m in range(num_bs):
            act = action[e, m]
            existing, max_power = antennas[m], max_powers[m]
            amplitude = np.sqrt(max_power)
            least = np.float32(1.1754944e-38) * max(max_power, np.float32(1.0))  # of radio._sphere
            # own users
            count = 0
            for k in range(num_users):
                if cell[e, k] == m:
                    member[count] = k
                    count += 1
            # their beams, antenna by antenna (real, imaginary of each user), and the power limit
            total = _NONE
            for i in range(count):
                at = member[i] * num_antennas
                for b in range(existing):
                    real, imag = _limited(act[at + b]), _limited(act[size_w + at + b])
                    beams[2 * (b * count + i)], beams[2 * (b * count + i) + 1] = real, imag
                    total += real * real + imag * imag
            total *= max_power
            reference = max(total, max_power)
            if sphere:
                reference = total if total > least else max_power
            factor = np.sqrt(max_power / reference)
            power[e, m] = total * factor * factor
            scale = amplitude * factor
            # effective channels of own users over own IRSs
            for i in range(count):
                by_real[i, :] = _NONE
                by_imag[i, :] = _NONE
            start = 2 * size_w
            for irs in range(num_irs):
                size = elements[irs]
                if owner[e, irs] == m and count > 0:
                    for n in range(size):
                        # theta = pi a; a in [-1, 1] is a / 2 turns, and a x 2^31 is exact
                        turn = np.int64(_limited(act[start + n]) * np.float32(2147483648.0))
                        phi_real[n], phi_imag[n] = cosine_sine(np.uint32(turn & 0xFFFFFFFF))
                    at = np.uint64(((e * num_bs + m) * num_irs + irs) * num_elements) * width
                    for i in range(count):
                        first = np.uint64(2 * ((e * num_irs + irs) * num_users + member[i]) * num_elements)
                        _paths(h_parts, first, size, phi_real, phi_imag, path_real, path_imag)
                        row_product(path_real, path_imag, size, G_parts, at, width, by_real[i], by_imag[i])
                start += size
            summed = _NONE
            for i in range(count):
                first = np.uint64(2 * ((e * num_bs + m) * num_users + member[i]) * num_antennas)
                for b in range(existing):
                    at = first + np.uint64(2 * b)
                    h_real[b] = scale * (H_parts[at] + by_real[i, 2 * b] - by_imag[i, 2 * b + 1])
                    h_imag[b] = scale * (H_parts[at + np.uint64(1)] + by_real[i, 2 * b + 1] + by_imag[i, 2 * b])
                at_real[: 2 * count] = _NONE
                at_imag[: 2 * count] = _NONE
                row_product(h_real, h_imag, existing, beams, np.uint64(0), np.uint64(2 * count), at_real, at_imag)
                signal = interference = _NONE
                for j in range(count):
                    real, imag = at_real[2 * j] - at_imag[2 * j + 1], at_real[2 * j + 1] + at_imag[2 * j]
                    received = real * real + imag * imag
                    if j == i:
                        signal = received
                    else:
                        interference += received
                rate = np.log1p(signal / (interference + noise_power)) * _PER_BIT
                rates[e, member[i]] = rate
                summed += rate
            sum_rate[e, m] = summed
