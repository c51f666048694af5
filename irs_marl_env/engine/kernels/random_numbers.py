"""Random bits at given indices of Philox streams, and complex normals made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from irs_marl_env.engine.compilation import kernel
from irs_marl_env.engine.kernels.types import F32, U64, Bits, Int

# Philox4x64-10, Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011
_M0, _M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_W0, _W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_ZERO, _ONE, _TWO, _THREE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
_BLOCK = 512  # numbers turned into normals at once, a multiple of eight


@intrinsic
def _product(typing_context: Any, a: Any, b: Any) -> Any:
    """Upper and lower 64 bits of the product of two uint64, by one instruction."""
    signature = types.UniTuple(types.uint64, 2)(types.uint64, types.uint64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        whole = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        upper = builder.trunc(builder.lshr(whole, ir.Constant(wide, 64)), ir.IntType(64))
        lower = builder.trunc(whole, ir.IntType(64))
        return context.make_tuple(builder, signature.return_type, (upper, lower))

    return signature, codegen


product: Any = _product  # called with the context numba adds


@njit(inline="always")
def philox(counter: Bits, key0: Bits, key1: Bits) -> Any:
    """The four 64-bit words of one value of the counter (whose upper three words are zero)."""
    a, b, c, d = counter, _ZERO, _ZERO, _ZERO
    for _ in range(10):
        high0, low0 = product(_M0, a)
        high1, low1 = product(_M1, c)
        a, b, c, d = high1 ^ b ^ key0, low1, high0 ^ d ^ key1, low0
        key0 += _W0
        key1 += _W1
    return a, b, c, d


@njit(inline="always")
def _philox_pair(counter: Bits, key0: Bits, key1: Bits) -> Any:
    """:func:`philox` of a value and the next: two chains of multiplications that the processor overlaps."""
    a, b, c, d = counter, _ZERO, _ZERO, _ZERO
    e, f, g, h = counter + _ONE, _ZERO, _ZERO, _ZERO
    for _ in range(10):
        high0, low0 = product(_M0, a)
        high1, low1 = product(_M1, c)
        high2, low2 = product(_M0, e)
        high3, low3 = product(_M1, g)
        a, b, c, d = high1 ^ b ^ key0, low1, high0 ^ d ^ key1, low0
        e, f, g, h = high3 ^ f ^ key0, low3, high2 ^ h ^ key1, low2
        key0 += _W0
        key1 += _W1
    return a, b, c, d, e, f, g, h


@njit(inline="always")
def bits_at(index: Bits, key0: Bits, key1: Bits) -> Bits:
    """The 64 random bits at one index of a stream."""
    # numpy's Philox increments before it generates: its first value has counter 1
    a, b, c, d = philox((index >> _TWO) + _ONE, key0, key1)
    which = index & _THREE
    if which < _TWO:
        return a if which == _ZERO else b
    return c if which == _TWO else d


@kernel()
def random_bits(keys: U64, index: U64, out: U64) -> None:
    """The next random bits of every row; ``numpy.random.Philox.random_raw``, bit by bit.

    Args:
        keys: ``(E, 2)`` Philox keys.
        index: ``(E,)`` of the first number; moved on.
        out: ``(E, count)``, overwritten.
    """
    for row in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[row, i] = bits_at(index[row] + np.uint64(i), keys[row, 0], keys[row, 1])
        index[row] += np.uint64(out.shape[1])


@njit
def _draw(first: Bits, count: Bits, key0: Bits, key1: Bits, out: U64, at: Bits) -> None:
    """Numbers ``first .. first + count`` of a stream into ``out[at:]``."""
    counter, skip, end = (first >> _TWO) + _ONE, first & _THREE, at + count
    if skip != _ZERO or count < np.uint64(8):  # the stream stands inside a value of the counter
        at = _draw_part(counter, skip, key0, key1, out, at, end)
        counter += _ONE
    for _ in range((end - at) >> _THREE):
        a, b, c, d, e, f, g, h = _philox_pair(counter, key0, key1)
        out[at], out[at + _ONE], out[at + _TWO], out[at + _THREE] = a, b, c, d
        at += np.uint64(4)
        out[at], out[at + _ONE], out[at + _TWO], out[at + _THREE] = e, f, g, h
        at += np.uint64(4)
        counter += _TWO
    while at < end:
        at = _draw_part(counter, _ZERO, key0, key1, out, at, end)
        counter += _ONE


@njit
def _draw_part(counter: Bits, skip: Bits, key0: Bits, key1: Bits, out: U64, at: Bits, end: Bits) -> Bits:
    """Words of one value of the counter, from ``skip`` on, into ``out[at:end]``; where they end."""
    a, b, c, d = philox(counter, key0, key1)
    if skip == _ZERO and at < end:
        out[at] = a
        at += _ONE
    if skip <= _ONE and at < end:
        out[at] = b
        at += _ONE
    if skip <= _TWO and at < end:
        out[at] = c
        at += _ONE
    if at < end:
        out[at] = d
        at += _ONE
    return at


@njit(inline="always")
def cosine_sine(turn: Any) -> Any:
    """Cosine and sine, float32, of an angle in 2^-32 turns (uint32), by polynomials (Cephes) that vectorise."""
    # quarter turns apart, the rest is within +-pi/4
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
    return (-x if negate_x else x), (-y if negate_y else y)


@njit(error_model="numpy")
def _box_muller(halves: Any, count: Int, scale: F32, radius: F32, turn: Any, real: F32, imag: F32) -> None:
    """``philox.to_normal`` of ``count`` numbers times ``scale``; the logarithm too by polynomials that vectorise.

    Args:
        halves: random bits as pairs of uint32, the lower half first.
        count: of numbers.
        scale: of each number, float32.
        radius, turn: scratch, float32 and uint32.
        real, imag: float32, overwritten.
    """
    bits = radius.view(np.int32)
    for i in range(count):
        radius[i] = np.float32(halves[2 * i]) * np.float32(2.0**-32) + np.float32(2.0**-33)
        turn[i] = halves[2 * i + 1]
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
        radius[i] = scale[i] * np.sqrt(max(-log, np.float32(0.0)))
    for i in range(count):
        x, y = cosine_sine(turn[i])
        real[i] = radius[i] * x
        imag[i] = radius[i] * y


@kernel()
def scaled_normals(keys: U64, index: U64, amplitude: F32, holds: F32, out: F32) -> None:
    """Blocks of CN(0, a^2) from given indices of Philox streams.

    ``philox.to_normal`` of the same random bits times the amplitude of the block, within 2e-6 of the amplitude. Every
    number has its index, so a block of amplitude zero costs no draw and shifts nothing.

    Args:
        keys: ``(E, 2)`` Philox keys.
        index: ``(E,)`` of the first number of each row; moved on.
        amplitude: ``(E, B)``.
        holds: ``(E, B)``, zero for blocks of ``out`` that hold zeros already.
        out: ``(E, B, 2 n)``: the n numbers of each block (real, imaginary).
    """
    num_rows, num_blocks, size = out.shape[0], out.shape[1], out.shape[2] // 2
    flat = out.reshape(-1)
    # runs of blocks are gathered until there is a full load for the vectorised part
    bits, turn = np.empty(_BLOCK, np.uint64), np.empty(_BLOCK, np.uint32)
    scale, radius = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    real, imag = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    halves = bits.view(np.uint32)
    begins, counts = np.empty(_BLOCK, np.uint64), np.empty(_BLOCK, np.uint64)
    loaded = pieces = 0
    for row in range(num_rows):
        block = 0
        while block < num_blocks:
            if amplitude[row, block] == 0:
                if holds[row, block] != 0:
                    out[row, block, :] = np.float32(0.0)
                block += 1
                continue
            end = block + 1
            while end < num_blocks and amplitude[row, end] != 0:
                end += 1
            done, wanted = 0, (end - block) * size
            while done < wanted:
                count = min(_BLOCK - loaded, wanted - done)
                first = index[row] + np.uint64(block * size + done)
                _draw(first, np.uint64(count), keys[row, 0], keys[row, 1], bits, np.uint64(loaded))
                _spread(amplitude[row], block, size, done, count, scale, loaded)
                begins[pieces], counts[pieces] = 2 * ((row * num_blocks + block) * size + done), count
                loaded, pieces, done = loaded + count, pieces + 1, done + count
                if loaded == _BLOCK:
                    _box_muller(halves, loaded, scale, radius, turn, real, imag)
                    _interleave(flat, real, imag, pieces, begins, counts)
                    loaded = pieces = 0
            block = end
        index[row] += np.uint64(num_blocks * size)
    _box_muller(halves, loaded, scale, radius, turn, real, imag)
    _interleave(flat, real, imag, pieces, begins, counts)


@njit
def _spread(amplitude: F32, block: Int, size: Int, done: Int, count: Int, scale: F32, at: Int) -> None:
    """Amplitude of each of ``count`` numbers of a run of blocks, ``done`` numbers after the start of ``block``."""
    block, inside, end = block + done // size, done % size, at + count
    while at < end:
        stop, value = min(end, at + size - inside), amplitude[block]
        for i in range(np.uint64(at), np.uint64(stop)):
            scale[i] = value
        block, inside, at = block + 1, 0, stop


@njit
def _interleave(flat: F32, real: F32, imag: F32, pieces: Int, begins: U64, counts: U64) -> None:
    """Put gathered pieces where they belong, real and imaginary parts in turn."""
    at = _ZERO  # unsigned indices throughout: signed ones may be negative, which keeps loops from vectorising
    for piece in range(pieces):
        begin, count = begins[piece], counts[piece]
        for i in range(count):
            flat[begin + _TWO * i] = real[at + i]
            flat[begin + _TWO * i + _ONE] = imag[at + i]
        at += count
