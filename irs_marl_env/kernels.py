"""Compiled versions (numba, extra ``fast``) of the few hot primitives, equal to the plain ones within stated error.

Imported only where numba is installed and wanted. Each kernel names the plain function whose formula it repeats;
the tests hold the two together. One thread each; results do not depend on the number of environments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Philox4x64-10, Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011
_M0, _M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_W0, _W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_ONE, _TWO, _LOW2 = np.uint64(1), np.uint64(2), np.uint64(3)
_BLOCK = 512  # words turned into normals at once, a multiple of four


@intrinsic
def _high_product(typing_context: Any, a: Any, b: Any) -> Any:
    """Upper 64 bits of the 128-bit product of two uint64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), codegen


high_product: Any = _high_product  # called with the context numba adds


@njit(cache=True, inline="always")
def _philox(counter: Any, key0: Any, key1: Any) -> Any:
    """The four words of one value of the counter (whose upper three words are zero)."""
    a, b, c, d = counter, np.uint64(0), np.uint64(0), np.uint64(0)
    for _ in range(10):
        high0, high1 = high_product(_M0, a), high_product(_M1, c)
        low0, low1 = _M0 * a, _M1 * c
        a, b, c, d = high1 ^ b ^ key0, low1, high0 ^ d ^ key1, low0
        key0 += _W0
        key1 += _W1
    return a, b, c, d


@njit(cache=True, error_model="numpy")
def _box_muller(words: Any, count: Any, radius: Any, real: Any, imag: Any) -> None:
    """``streams._to_normal`` of ``words[:count]``, by polynomials (Cephes) that vectorise; ``radius`` is scratch."""
    bits = radius.view(np.int32)
    for i in range(count):
        upper = np.float32(np.uint32(words[i] & np.uint64(0xFFFFFFFF)))
        radius[i] = upper * np.float32(2.0**-32) + np.float32(2.0**-33)
    for i in range(count):  # -ln: mantissa in [sqrt(1/2), sqrt(2)) and exponent
        shifted = np.int32(bits[i] - np.int32(0x3F3504F3))
        exponent = np.float32(np.int32(shifted >> np.int32(23)))
        bits[i] = np.int32((shifted & np.int32(0x007FFFFF)) + np.int32(0x3F3504F3))
        f = radius[i] - np.float32(1.0)
        z = f * f
        p = np.float32(7.0376836292e-2)
        p = p * f + np.float32(-1.1514610310e-1)
        p = p * f + np.float32(1.1676998740e-1)
        p = p * f + np.float32(-1.2420140846e-1)
        p = p * f + np.float32(1.4249322787e-1)
        p = p * f + np.float32(-1.6668057665e-1)
        p = p * f + np.float32(2.0000714765e-1)
        p = p * f + np.float32(-2.4999993993e-1)
        p = p * f + np.float32(3.3333331174e-1)
        log = f * z * p + exponent * np.float32(-2.12194440e-4) - np.float32(0.5) * z
        log = f + log + exponent * np.float32(0.693359375)
        radius[i] = np.sqrt(max(-log, np.float32(0.0)))
    for i in range(count):  # quarter turns apart, the rest is within +-pi/4
        turn = np.uint32(words[i] >> np.uint64(32))
        quarter = np.uint32(np.uint32(turn + np.uint32(0x20000000)) >> np.uint32(30))
        rest = np.int32(np.uint32(turn - np.uint32(quarter << np.uint32(30))))
        a = np.float32(rest) * np.float32(1.4629180792671596e-09)  # 2 pi / 2^32
        z = a * a
        sine = np.float32(-1.9515295891e-4)
        sine = sine * z + np.float32(8.3321608736e-3)
        sine = sine * z + np.float32(-1.6666654611e-1)
        sine = sine * z * a + a
        cosine = np.float32(2.443315711809948e-5)
        cosine = cosine * z + np.float32(-1.388731625493765e-3)
        cosine = cosine * z + np.float32(4.166664568298827e-2)
        cosine = cosine * z * z - np.float32(0.5) * z + np.float32(1.0)
        odd = (quarter & np.uint32(1)) != 0
        x = sine if odd else cosine
        y = cosine if odd else sine
        negate_x = ((quarter + np.uint32(1)) & np.uint32(2)) != 0
        negate_y = (quarter & np.uint32(2)) != 0
        real[i] = radius[i] * (-x if negate_x else x)
        imag[i] = radius[i] * (-y if negate_y else y)


@njit(cache=True)
def _draw_words(first: Any, count: Any, key0: Any, key1: Any, words: Any, place: Any) -> None:
    """Words ``first .. first + count`` of a stream into ``words[place:]``."""
    skip, wanted = np.int64(first & _LOW2), np.int64(count)
    for j in range((np.uint64(skip) + count + _LOW2) >> _TWO):
        # numpy's Philox increments before it generates: its first value has counter 1
        a, b, c, d = _philox((first >> _TWO) + j + _ONE, key0, key1)
        at = np.int64(j << _TWO) - skip  # where a goes; before the start if the stream stands inside a value
        if at >= 0 and at + 4 <= wanted:
            to = place + np.uint64(at)
            words[to], words[to + _ONE], words[to + _TWO], words[to + _LOW2] = a, b, c, d
        else:
            for value in (a, b, c, d):
                if 0 <= at < wanted:
                    words[place + np.uint64(at)] = value
                at += 1


@njit(cache=True)
def scaled_normals(keys: Any, starts: Any, amplitude: Any, out: Any) -> None:
    """Blocks of CN(0, a^2) from given places of Philox streams.

    ``streams._to_normal`` of the same words times the amplitude of the block, within 2e-6 of the amplitude. Words
    belong to places, so a block of amplitude zero costs nothing and shifts nothing.

    Args:
        keys: ``(E, 2)`` uint64 Philox keys.
        starts: ``(E,)`` uint64, index of the first word of each row.
        amplitude: ``(E, B)`` float32.
        out: ``(E, B, 2 n)`` float32, zeros: the n numbers of each block (real, imaginary).
    """
    words = np.empty(_BLOCK, np.uint64)
    radius, real, imag = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    # pieces of blocks are gathered until there is a full load for the vectorised part
    begins, scales, counts = np.empty(_BLOCK, np.uint64), np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.uint64)
    num_rows, num_blocks, size = out.shape[0], out.shape[1], out.shape[2] // 2
    flat = out.reshape(-1)
    loaded, pieces = np.uint64(0), 0
    for row in range(num_rows):
        for block in range(num_blocks):
            scale = amplitude[row, block]
            done = np.uint64(0 if scale != 0 else size)
            while done < np.uint64(size):
                count = min(np.uint64(_BLOCK) - loaded, np.uint64(size) - done)
                first = starts[row] + np.uint64(block * size) + done
                _draw_words(first, count, keys[row, 0], keys[row, 1], words, loaded)
                begins[pieces] = np.uint64(2) * (np.uint64((row * num_blocks + block) * size) + done)
                scales[pieces], counts[pieces] = scale, count
                loaded, pieces, done = loaded + count, pieces + 1, done + count
                if loaded == np.uint64(_BLOCK):
                    _box_muller(words, loaded, radius, real, imag)
                    _scatter(flat, real, imag, pieces, begins, scales, counts)
                    loaded, pieces = np.uint64(0), 0
    _box_muller(words, loaded, radius, real, imag)
    _scatter(flat, real, imag, pieces, begins, scales, counts)


@njit(cache=True)
def _scatter(flat: Any, real: Any, imag: Any, pieces: Any, begins: Any, scales: Any, counts: Any) -> None:
    """Put gathered pieces where they belong, scaled."""
    place = np.uint64(0)
    for piece in range(pieces):
        begin, scale = begins[piece], scales[piece]
        for i in range(counts[piece]):
            flat[begin + _TWO * i] = scale * real[place + i]
            flat[begin + _TWO * i + _ONE] = scale * imag[place + i]
        place += counts[piece]


@njit(cache=True)
def owned_channel(H: Any, G: Any, h: Any, phi: Any, owner: Any, cell: Any, out: Any) -> None:
    """``link.cell_channel`` of every user over the IRSs its serving BS owns, without touching any other channel.

    Args:
        H: ``(E, M, K, Nb)``, G ``(E, M, L, N, Nb)``, h ``(E, L, K, N)``, phi ``(E, L, N)``, all complex64.
        owner: ``(E, L)`` int64.
        cell: ``(E, K)`` int64.
        out: ``(E, K, Nb)`` complex64, overwritten.
    """
    num_envs, num_irs, num_users, num_elements = h.shape
    num_bs, num_antennas = H.shape[1], H.shape[3]
    parts = G.reshape(-1).view(np.float32)
    # sums of (real part of a path) x G and (imaginary part) x G, both over interleaved G: plain vector arithmetic
    by_real, by_imag = np.empty(2 * num_antennas, np.float32), np.empty(2 * num_antennas, np.float32)
    width = np.uint64(2 * num_antennas)
    for e in range(num_envs):
        for k in range(num_users):
            m = cell[e, k]
            by_real[:] = np.float32(0.0)
            by_imag[:] = np.float32(0.0)
            for irs in range(num_irs):
                if owner[e, irs] == m:
                    at = np.uint64(((e * num_bs + m) * num_irs + irs) * num_elements) * width
                    for n in range(num_elements):
                        path = h[e, irs, k, n] * phi[e, irs, n]
                        real, imag = path.real, path.imag
                        for i in range(width):
                            by_real[i] += real * parts[at + i]
                            by_imag[i] += imag * parts[at + i]
                        at += width
            for b in range(num_antennas):
                out[e, k, b] = H[e, m, k, b] + complex(
                    by_real[2 * b] - by_imag[2 * b + 1], by_real[2 * b + 1] + by_imag[2 * b]
                )


@njit(cache=True)
def _put(out: Any, real: Any, imag: Any, x: Any, first: Any, count: Any, scale: Any, limit: Any) -> None:
    """``count`` values of flat ``x`` from ``first``, scaled and clipped, to two places of flat ``out``."""
    for i in range(count):
        value = x[first + np.uint64(i)]
        out[real + np.uint64(i)] = min(max(value.real * scale, -limit), limit)
        out[imag + np.uint64(i)] = min(max(value.imag * scale, -limit), limit)


@njit(cache=True)
def _clear(out: Any, real: Any, imag: Any, count: Any) -> None:
    for i in range(count):
        out[real + np.uint64(i)] = np.float32(0.0)
        out[imag + np.uint64(i)] = np.float32(0.0)


@njit(cache=True)
def write_csi(
    out: Any, H: Any, G: Any, h: Any, own: Any, held: Any, own_before: Any, held_before: Any, scales: Any, limit: Any
) -> None:
    """``codec.CsiObservationCodec.write`` for IRSs of one size: the H, G and h blocks, touching what changes alone.

    Args:
        out: ``(E, M, D_o)`` float32, zero in these blocks except where ``own_before``, ``held_before`` say otherwise.
        H, G, h: channels as the BSs know them.
        own: ``(E, M, K)`` float32, 1 for the users of each BS.
        held: ``(E, M, L)`` float32, 1 for the IRSs whose CSI each BS sees.
        own_before, held_before: the same for what ``out`` holds.
        scales: three float32, the factors of H, G and h.
        limit: float32, clip.
    """
    num_envs, num_bs, num_users, num_antennas = H.shape
    num_irs, num_elements = G.shape[2], G.shape[3]
    row_size = out.shape[2]
    flat, flat_H, flat_G, flat_h = out.reshape(-1), H.reshape(-1), G.reshape(-1), h.reshape(-1)
    size_H, size_G = num_users * num_antennas, num_elements * num_antennas
    start_G, start_h = 2 * size_H, 2 * size_H + 2 * num_irs * size_G
    for e in range(num_envs):
        for m in range(num_bs):
            row = (e * num_bs + m) * row_size
            for k in range(num_users):
                real = np.uint64(row + k * num_antennas)
                imag = real + np.uint64(size_H)
                if own[e, m, k] != 0:
                    first = np.uint64(((e * num_bs + m) * num_users + k) * num_antennas)
                    _put(flat, real, imag, flat_H, first, num_antennas, scales[0], limit)
                elif own_before[e, m, k] != 0:
                    _clear(flat, real, imag, num_antennas)
            for irs in range(num_irs):
                if held[e, m, irs] == 0 and held_before[e, m, irs] == 0:
                    continue
                real = np.uint64(row + start_G + irs * size_G)
                imag = real + np.uint64(num_irs * size_G)
                if held[e, m, irs] != 0:
                    first = np.uint64(((e * num_bs + m) * num_irs + irs) * size_G)
                    _put(flat, real, imag, flat_G, first, size_G, scales[1], limit)
                else:
                    _clear(flat, real, imag, size_G)
                for k in range(num_users):
                    real = np.uint64(row + start_h + (irs * num_users + k) * num_elements)
                    imag = real + np.uint64(num_irs * num_users * num_elements)
                    if own[e, m, k] != 0 and held[e, m, irs] != 0:
                        first = np.uint64(((e * num_irs + irs) * num_users + k) * num_elements)
                        _put(flat, real, imag, flat_h, first, num_elements, scales[2], limit)
                    elif own_before[e, m, k] != 0 and held_before[e, m, irs] != 0:
                        _clear(flat, real, imag, num_elements)
