"""Observations of all BSs, written block by block."""

from __future__ import annotations

import numpy as np
from numba import njit

from irs_marl_env.engine.compilation import kernel
from irs_marl_env.engine.kernels.types import C64, F32, I64, Float, Int


@njit
def _put(out: F32, real: Int, imag: Int, parts: F32, first: Int, count: Int, scale: Float, limit: Float) -> None:
    """``count`` interleaved complex values from ``first``, scaled and clipped, to two places of flat ``out``."""
    for i in range(count):
        x, y = parts[first + np.uint64(2 * i)] * scale, parts[first + np.uint64(2 * i + 1)] * scale
        out[real + np.uint64(i)] = min(max(x, -limit), limit)
        out[imag + np.uint64(i)] = min(max(y, -limit), limit)


@njit
def _clear(out: F32, real: Int, imag: Int, count: Int) -> None:
    for i in range(count):
        out[real + np.uint64(i)] = np.float32(0.0)
    for i in range(count):
        out[imag + np.uint64(i)] = np.float32(0.0)


@kernel()
def write_csi(
    out: F32,
    H: C64,
    G: C64,
    h: C64,
    own: F32,
    held: F32,
    own_before: F32,
    held_before: F32,
    owner: I64,
    bids: F32,
    rho: Int,
    scales: F32,
    limit: Float,
) -> None:
    """``observations.CsiObservationCodec.observe`` with ``observe.Known.rho``, touching what changes alone.

    For IRSs of one size.

    Args:
        out: ``(E, M, D_o)`` float32, zero in the channel blocks except where ``own_before``, ``held_before`` say so.
        H, G, h: channels as the BSs know them.
        own: ``(E, M, K)`` float32, 1 for the users of each BS.
        held: ``(E, M, L)`` float32, 1 for the IRSs whose CSI each BS sees.
        own_before, held_before: the same for what ``out`` holds; ones for memory that may hold anything.
        owner: ``(E, L)`` int64, decided last.
        bids: ``(E, M, L)`` float32, of the last slot.
        rho: what the others' last strategies are: 0 nothing, 1 owners, 2 bids.
        scales: three float32, the factors of H, G and h.
        limit: float32, clip.
    """
    num_envs, num_bs, num_users, num_antennas = H.shape
    num_irs, num_elements = G.shape[2], G.shape[3]
    row_size = out.shape[2]
    flat = out.reshape(-1)
    H_parts = H.reshape(-1).view(np.float32)
    G_parts = G.reshape(-1).view(np.float32)
    h_parts = h.reshape(-1).view(np.float32)
    size_H, size_G = num_users * num_antennas, num_elements * num_antennas
    start_G, start_h = 2 * size_H, 2 * size_H + 2 * num_irs * size_G
    for e in range(num_envs):
        for m in range(num_bs):
            row = (e * num_bs + m) * row_size
            for k in range(num_users):
                real = np.uint64(row + k * num_antennas)
                imag = real + np.uint64(size_H)
                if own[e, m, k] != 0:
                    first = np.uint64(2 * ((e * num_bs + m) * num_users + k) * num_antennas)
                    _put(flat, real, imag, H_parts, first, num_antennas, scales[0], limit)
                elif own_before[e, m, k] != 0:
                    _clear(flat, real, imag, num_antennas)
            for irs in range(num_irs):
                if held[e, m, irs] == 0 and held_before[e, m, irs] == 0:
                    continue
                real = np.uint64(row + start_G + irs * size_G)
                imag = real + np.uint64(num_irs * size_G)
                if held[e, m, irs] != 0:
                    first = np.uint64(2 * ((e * num_bs + m) * num_irs + irs) * size_G)
                    _put(flat, real, imag, G_parts, first, size_G, scales[1], limit)
                else:
                    _clear(flat, real, imag, size_G)
                for k in range(num_users):
                    real = np.uint64(row + start_h + (irs * num_users + k) * num_elements)
                    imag = real + np.uint64(num_irs * num_users * num_elements)
                    if own[e, m, k] != 0 and held[e, m, irs] != 0:
                        first = np.uint64(2 * ((e * num_irs + irs) * num_users + k) * num_elements)
                        _put(flat, real, imag, h_parts, first, num_elements, scales[2], limit)
                    elif own_before[e, m, k] != 0 and held_before[e, m, irs] != 0:
                        _clear(flat, real, imag, num_elements)
            at = row + row_size - (num_bs - 1) * num_irs
            for other in range(num_bs):
                if other == m:
                    continue
                for irs in range(num_irs):
                    value = np.float32(0.0)
                    if rho == 1:
                        value = np.float32(owner[e, irs] == other)
                    elif rho == 2:
                        value = bids[e, other, irs]
                    flat[at + irs] = value
                at += num_irs
