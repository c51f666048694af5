"""Random bits of Philox on a CUDA device, by one kernel of Triton.

What :func:`irs_marl_env.philox.bits_of_torch` says in some two hundred operations of torch, a GPU does here in one. The
kernel is a copy of it, and is held to it before it is used.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

_LANES = 256  # counters of a program


@triton.jit(do_not_specialize=["count", "counters", "total"])
def _philox(keys, index, out, count, counters, total, LANES: tl.constexpr):  # type: ignore[no-untyped-def]  # typed by Triton
    lane = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    inside = lane < total
    row, counter = lane // counters, lane % counters
    first = tl.load(index + row, mask=inside, other=0).to(tl.uint64)
    key0 = tl.load(keys + 2 * row, mask=inside, other=0).to(tl.uint64)
    key1 = tl.load(keys + 2 * row + 1, mask=inside, other=0).to(tl.uint64)
    a = (first >> 2) + counter.to(tl.uint64) + 1
    b = tl.zeros_like(a)
    c = tl.zeros_like(a)
    d = tl.zeros_like(a)
    factor0 = tl.full(a.shape, 0xD2E7470EE14C6C93, tl.uint64)
    factor1 = tl.full(a.shape, 0xCA5A826395121157, tl.uint64)
    for _ in range(10):
        high0, low0 = tl.umulhi(a, factor0), a * factor0
        high1, low1 = tl.umulhi(c, factor1), c * factor1
        a, c = high1 ^ b ^ key0, high0 ^ d ^ key1
        b, d = low1, low0
        key0 += 0x9E3779B97F4A7C15
        key1 += 0xBB67AE8584CAA73B
    column = 4 * counter - (first & 3).to(tl.int64)  # of word a; a stream may stand inside a counter
    place = out + row * count + column
    tl.store(place, a.to(tl.int64), mask=inside & (column >= 0) & (column < count))
    tl.store(place + 1, b.to(tl.int64), mask=inside & (column >= -1) & (column < count - 1))
    tl.store(place + 2, c.to(tl.int64), mask=inside & (column >= -2) & (column < count - 2))
    tl.store(place + 3, d.to(tl.int64), mask=inside & (column < count - 3))


def bits(keys: Any, index: Any, count: int) -> Any:
    """Random bits ``(E, count)`` int64 from ``index (E,)`` of the streams with ``keys (E, 2)``, on a CUDA device."""
    out = torch.empty((len(keys), count), dtype=torch.int64, device=keys.device)
    counters = (count + 6) // 4
    total = counters * len(keys)
    with torch.cuda.device(keys.device):
        _philox[(triton.cdiv(total, _LANES),)](keys.contiguous(), index, out, count, counters, total, LANES=_LANES)
    return out
