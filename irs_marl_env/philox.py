"""Random bits of counter-based streams, and numbers made of them: on the host with numpy, on a device with torch.

A stream is a sequence of 64-bit integers, called random bits. Entry i of the stream with a key is word ``i mod 4`` of
Philox4x64-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) at counter
``i // 4 + 1``, which is the order of ``numpy.random.Philox``. Whoever else computes them is held to these bit by bit
by the tests.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env.arrays import namespace

Array = Any

_log = logging.getLogger(__name__)
_PIECE = 16384  # random bits turned into normals at once
_PREFETCH = 4096  # values made per refill: enough to share the overhead, few enough to stay in the cache


class Prefetched:
    """Values of one cause that numpy made in advance, so that small draws share the cost of a large one."""

    def __init__(self) -> None:
        self._generators: list[np.random.Philox] | None = None
        self._values: Array = None
        self._used = self._size = self._uncounted = 0

    def take(self, keys: np.ndarray, index: np.ndarray, count: int, convert: Callable[[np.ndarray], Array]) -> Array:
        """The next ``(E, count)`` values.

        Args:
            keys: ``(E, 2)`` uint64.
            index: ``(E,)`` uint64, where the streams stood when :meth:`taken` was last asked.
            count: values per environment.
            convert: random bits ``(E, n)`` to values.
        """
        if self._values is None or self._size - self._used < count:
            self._refill(keys, index, count, convert)
        values = self._values[:, self._used : self._used + count]
        self._used += count
        self._uncounted += count
        return values

    def taken(self) -> int:
        """Values per environment taken since this was last asked."""
        count, self._uncounted = self._uncounted, 0
        return count

    def _refill(self, keys: np.ndarray, index: np.ndarray, count: int, convert: Callable[[np.ndarray], Array]) -> None:
        if self._generators is None:
            begin = index + np.uint64(self._uncounted)
            self._generators = [_philox(key, int(first)) for key, first in zip(keys, begin, strict=True)]
        size = max(1, _PREFETCH // max(1, count * len(keys))) * count
        bits = np.empty((len(keys), size), np.uint64)
        for row, generator in enumerate(self._generators):
            bits[row] = generator.random_raw(size)
        fresh = convert(bits)
        if self._used < self._size:  # a draw of another size came before; what is left of it goes first
            left = self._values[:, self._used :]
            fresh = namespace(fresh).concat([left, fresh], axis=1)
        self._values, self._used, self._size = fresh, 0, fresh.shape[1]


def _philox(key: np.ndarray, index: int) -> np.random.Philox:
    generator = np.random.Philox(key=key)
    generator.advance(index // 4)
    generator.random_raw(index % 4)
    return generator


def to_uniform(bits: np.ndarray) -> np.ndarray:
    """U[0, 1) float64 from the upper 53 bits."""
    return (bits >> np.uint64(11)) * 2.0**-53


def to_normal(bits: np.ndarray) -> np.ndarray:
    """CN(0, 1) complex64 by Box-Muller from the two 32-bit halves of each number: ``sqrt(-ln u1) exp(2 pi j u2)``.

    E|z|^2 = 1. With 32 bits ``|z|`` ends at 4.78, which cuts off a probability of 1.2e-10.
    """
    values = np.empty(bits.shape, np.complex64)
    flat_bits, flat_values = bits.reshape(-1), values.reshape(-1)
    # in pieces whose scratch arrays stay in the cache: four times as fast as in one go
    size = min(_PIECE, bits.size)
    halves = np.empty((size, 2), np.float32)
    scratch = np.empty((3, size), np.float32)
    for start in range(0, bits.size, _PIECE):
        piece = flat_bits[start : start + _PIECE]
        count = piece.size
        half, (radius, angle, wave) = halves[:count], scratch[:, :count]
        half[...] = piece.view(np.uint32).reshape(count, 2)
        np.multiply(half[:, 0], 2.0**-32, out=radius)
        np.add(radius, 2.0**-33, out=radius)  # in (0, 1], never above 1
        np.negative(np.log(radius, out=radius), out=radius)
        np.sqrt(radius, out=radius)
        np.multiply(half[:, 1], 2.0 * math.pi * 2.0**-32, out=angle)
        out = flat_values[start : start + _PIECE]
        np.multiply(radius, np.cos(angle, out=wave), out=out.real)
        np.multiply(radius, np.sin(angle, out=wave), out=out.imag)
    return values


CONVERT: dict[str, Callable[[np.ndarray], np.ndarray]] = {"uniform": to_uniform, "normal": to_normal}


# --- on a torch device ---------------------------------------------------------------------------------------------
# int64 holds the 64 bits: sums and products wrap, and a shift is made logical by a mask


def _torch() -> Any:
    import torch

    return torch


def to_device(values: np.ndarray, device: Any) -> Array:
    """Random bits or indices as int64 on a device, bit by bit."""
    return _torch().from_numpy(np.array(values).view(np.int64)).to(device)


def to_host(values: Array) -> np.ndarray:
    """Keys or indices as uint64, bit by bit."""
    return values if type(values) is np.ndarray else values.cpu().numpy().view(np.uint64)


_LOWER = 0xFFFFFFFF


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _upper_half(x: Array) -> Array:
    return (x >> 32) & _LOWER


class _Constants(NamedTuple):
    """What a round of Philox needs, on a device, for words 2 and 0 of the counter: ``(2, 1, 1)`` int64."""

    factor: Array
    low: Array  # lower 32 bits of the factor
    high: Array
    step: Array  # that the key takes a round, for words 0 and 2


@lru_cache(maxsize=16)
def _constants(device: Any) -> _Constants:
    factors, steps = (0xCA5A826395121157, 0xD2E7470EE14C6C93), (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
    low, high = [x & _LOWER for x in factors], [x >> 32 for x in factors]
    columns = ([_signed(x) for x in factors], low, high, [_signed(x) for x in steps])
    return _Constants(*(_torch().tensor(column, device=device).reshape(2, 1, 1) for column in columns))


def _product(constants: _Constants, x: Array) -> tuple[Array, Array]:
    """Upper and lower 64 bits of the 128-bit product with the factors, by 32-bit halves."""
    x_low, x_high = x & _LOWER, _upper_half(x)
    cross = x_high * constants.low + _upper_half(x_low * constants.low)
    other = x_low * constants.high + (cross & _LOWER)
    upper = x_high * constants.high + _upper_half(cross) + _upper_half(other)
    return upper, x * constants.factor


def bits_on_device(keys: Array, index: Array, count: int) -> Array:
    """Random bits ``(E, count)`` int64 from ``index (E,)`` of the streams with ``keys (E, 2)``."""
    kernel = _kernel(keys.device) if keys.is_cuda and count and len(keys) else None
    return bits_of_torch(keys, index, count) if kernel is None else kernel(keys, index, count)


def bits_of_torch(keys: Array, index: Array, count: int) -> Array:
    """:func:`bits_on_device` by operations of torch, on any device."""
    torch = _torch()
    constants = _constants(keys.device)
    counters = torch.arange((count + 6) // 4, device=keys.device)  # a stream may stand inside one of them
    first = (index >> 2)[:, None] + counters + 1
    # the words of the counter in pairs, since a device takes as long for a short operation as for two at once
    zero_and_two = torch.stack([first, torch.zeros_like(first)])
    one_and_three = torch.zeros_like(zero_and_two)
    key = keys.T[:, :, None]
    for _ in range(10):
        upper, lower = _product(constants, zero_and_two.flip(0))
        zero_and_two, one_and_three = upper ^ one_and_three ^ key, lower
        key = key + constants.step
    words = torch.stack([zero_and_two, one_and_three], dim=-1)  # (2, E, counters, 2)
    bits = words.permute(1, 2, 0, 3).reshape(len(keys), 4 * len(counters))
    columns = (index & 3)[:, None] + torch.arange(count, device=keys.device)
    return bits.gather(1, columns)


@lru_cache(maxsize=16)
def _kernel(device: Any) -> Callable[[Array, Array, int], Array] | None:
    """The kernel of :mod:`irs_marl_env.philox_triton`, if it runs on a CUDA device and agrees."""
    torch = _torch()
    try:
        from irs_marl_env import philox_triton

        keys = torch.tensor([[3, -5], [2**62, 7]], device=device)
        index = torch.tensor([0, 2**40 + 3], device=device)
        if not torch.equal(philox_triton.bits(keys, index, 9), bits_of_torch(keys, index, 9)):
            raise RuntimeError("it yields other numbers")
    except Exception as error:  # no Triton, no C compiler, a folder that cannot be written, a device it does not know
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        _log.warning("random numbers on %s by operations of torch, a kernel of Triton does not run: %s", device, reason)
        return None
    return philox_triton.bits


def uniform_on_device(keys: Array, index: Array, count: int) -> Array:
    """:func:`to_uniform` of :func:`bits_on_device`."""
    bits = (bits_on_device(keys, index, count) >> 11) & ((1 << 53) - 1)
    return bits.to(_torch().float64) * 2.0**-53


def normal_on_device(keys: Array, index: Array, count: int) -> Array:
    """:func:`to_normal` of :func:`bits_on_device`, within float32 rounding."""
    torch = _torch()
    bits = bits_on_device(keys, index, count)
    uniform = (bits & _LOWER).to(torch.float32) * 2.0**-32 + 2.0**-33
    radius = torch.sqrt(-torch.log(uniform))
    angle = _upper_half(bits).to(torch.float32) * (2.0 * math.pi * 2.0**-32)
    return torch.complex(radius * torch.cos(angle), radius * torch.sin(angle))


_MAKE = {"uniform": uniform_on_device, "normal": normal_on_device}
_SLOTS = 64  # draws made at once, at most: random bits are then a tenth of a step's launches without a kernel
_WINDOW = 2**22  # values made at once for all environments, 32 MiB of normals; more for a single draw alone


class Window:
    """Values of one cause that a device made in advance.

    Random bits are hundreds of operations, each as long as it takes to launch it, so one launch serves many draws. Row
    i holds the values of stream i from the index on where the window begins; the streams stand where they like in it,
    and nobody asks the device where that is.
    """

    def __init__(self) -> None:
        self._values: Array = None
        self._begin: Array = None  # (E,) index of the first value
        self._furthest = 0  # no stream stands beyond this value of its row
        self.taken = 0  # values of a row, since it was made

    def take(self, kind: str, keys: Array, index: Array, count: int) -> Array:
        """The next ``(E, count)`` values of streams that stand at ``index (E,)``."""
        torch = _torch()
        if self._values is None or self._furthest + count > self._values.shape[1]:
            draws = min(_SLOTS, _WINDOW // max(1, count * len(keys)))
            self._values = _MAKE[kind](keys, index, max(1, draws) * count)
            self._begin, self._furthest = index.clone(), 0
        columns = (index - self._begin)[:, None] + torch.arange(count, device=keys.device)
        self.move_on(count)
        return self._values.gather(1, columns)

    def move_on(self, count: int) -> None:
        """Streams may have gone on by ``count`` values."""
        self._furthest += count
        self.taken += count

    def rows(self, at: Array) -> Window:
        """The window of some environments."""
        some = Window()
        if self._values is not None:
            some._values, some._begin, some._furthest = self._values[at], self._begin[at], self._furthest
        return some
