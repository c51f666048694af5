"""Random streams of a batch: one counter-based generator per environment and cause.

Each cause of randomness has its own stream, so that two methods can be compared on the same draws and an
option never shifts the draws of another. Words come from Philox4x64-10 (numpy's bit generator), keyed through
``SeedSequence(seed).spawn``; environment i of a batch draws the same words as a single environment with its seed.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = Any

# append only: the position of a cause is its key
CAUSES = (
    "layout",  # initial positions
    "mobility",
    "association",  # initial owners and ties
    "direct_fading",
    "bs_irs_fading",
    "irs_user_fading",
    "csi_error",
    "velocity",  # random part of Gauss-Markov mobility
)
# drawn by the compiled kernel where there is one; not "velocity": a Rician phase turns rounding of positions into more
COMPILED_CAUSES = ("direct_fading", "bs_irs_fading", "irs_user_fading", "csi_error")
_PIECE = 16384  # words turned into normals at once
_AHEAD = 4096  # words made ahead per refill: enough to share the overhead, few enough to stay in the cache
_FROZEN_KEY = 0x1257  # keeps the scenario's frozen realisation apart from the streams of any environment


class _Queue:
    """Values of one cause made ahead, so that small draws share the cost of a large one; the values are the same."""

    def __init__(self) -> None:
        self.values: Array = None
        self.used = self.size = 0

    def left(self) -> int:
        """Values per environment that are ready but not handed out."""
        return self.size - self.used


class Streams:
    """The generators of E environments.

    A cause yields either uniform or normal numbers, always in the order of its words.

    Args:
        seeds: one ``numpy.random.SeedSequence`` per environment.
        xp: array namespace of what is returned.
        device: device of what is returned, ``None`` for the default.
        fast: draw normals with the compiled kernel (numba, numpy arrays only): the same words, within 2e-6.
    """

    def __init__(
        self, seeds: Sequence[np.random.SeedSequence], xp: Any, device: Any = None, fast: bool = False
    ) -> None:
        spawned = [seed.spawn(len(CAUSES)) for seed in seeds]
        self.xp, self._device, self._fast = xp, device, fast
        self.num_envs = len(spawned)
        self._set({cause: [np.random.Philox(row[i]) for row in spawned] for i, cause in enumerate(CAUSES)})

    def _set(self, generators: dict[str, list[np.random.Philox]]) -> None:
        self._generators = generators
        self._queues = {cause: _Queue() for cause in CAUSES}
        # the compiled normals need keys and places alone; the generators of those causes then stand still
        normal = COMPILED_CAUSES if self._fast else ()
        self._keys = {cause: np.array([_key(g) for g in generators[cause]], np.uint64) for cause in normal}
        self._places = {cause: np.array([_words_drawn(g) for g in generators[cause]], np.uint64) for cause in normal}

    @classmethod
    def from_seed(cls, seed: int | None, num_envs: int, xp: Any, device: Any = None, fast: bool = False) -> Streams:
        """Streams of environments seeded ``seed, seed + 1, ...`` (``None``: fresh entropy)."""
        entropy = np.random.SeedSequence().entropy if seed is None else seed
        assert isinstance(entropy, int)
        return cls([np.random.SeedSequence(entropy + i) for i in range(num_envs)], xp, device, fast)

    @classmethod
    def frozen(cls, seed: int, xp: Any, device: Any = None) -> Streams:
        """The streams, of one environment, behind every ``frozen`` option of a scenario."""
        return cls([np.random.SeedSequence(seed, spawn_key=(_FROZEN_KEY,))], xp, device)

    # --- numbers -----------------------------------------------------------------------------------------------

    def uniform(self, cause: str, *shape: int) -> Array:
        """Independent U[0, 1), ``(E, *shape)`` float64, one 64-bit word each."""
        return self._take(cause, shape, _to_uniform)

    def complex_normal(self, cause: str, *shape: int) -> Array:
        """Independent CN(0, 1), ``(E, *shape)`` complex64, one 64-bit word each; see :func:`_to_normal`."""
        if cause in self._places:
            return self.scaled_normal(cause, np.ones((self.num_envs, 1), np.float32), *shape)[:, 0]
        return self._take(cause, shape, _to_normal)

    def scaled_normal(self, cause: str, amplitude: Array, *shape: int) -> Array:
        """Independent CN(0, a^2), ``(E, *B, *shape)`` complex64, for amplitudes ``(E, *B)`` float32.

        Every number has its word whatever the amplitudes, so an amplitude of zero shifts nothing.
        """
        blocks = tuple(amplitude.shape[1:])
        if cause not in self._places:
            normal = self._take(cause, (*blocks, *shape), _to_normal)
            return amplitude.reshape(*amplitude.shape, *(1,) * len(shape)) * normal
        from irs_marl_env import kernels

        count, size = math.prod(blocks), math.prod(shape)
        out = np.zeros((self.num_envs, *blocks, *shape), np.complex64)
        if out.size:
            flat = out.view(np.float32).reshape(self.num_envs, count, 2 * size)
            flat_amplitude = amplitude.reshape(self.num_envs, count)
            kernels.scaled_normals(self._keys[cause], self._places[cause], flat_amplitude, flat)
            self._places[cause] += np.uint64(count * size)
        return out

    def uniform_where(self, rows: np.ndarray, cause: str, *shape: int) -> Array:
        """:meth:`uniform` for some environments (indices ``rows``); the others draw nothing and get zeros.

        Rows move apart, so nothing is made ahead: a cause uses this method alone or not at all.
        """
        count = math.prod(shape)
        words = np.zeros((self.num_envs, count), np.uint64)
        for row in rows:
            words[row] = self._generators[cause][row].random_raw(count)
        return self._export(_to_uniform(words).reshape(self.num_envs, *shape))

    def _take(self, cause: str, shape: tuple[int, ...], convert: Callable[[np.ndarray], np.ndarray]) -> Array:
        count = math.prod(shape)
        queue = self._queues[cause]
        if queue.values is None or queue.size - queue.used < count:
            self._refill(cause, queue, count, convert)
        values = queue.values[:, queue.used : queue.used + count]
        queue.used += count
        return values.reshape(self.num_envs, *shape)

    def _refill(self, cause: str, queue: _Queue, count: int, convert: Callable[[np.ndarray], np.ndarray]) -> None:
        ahead = max(1, _AHEAD // max(1, count * self.num_envs)) * count
        words = np.empty((self.num_envs, ahead), np.uint64)
        for row, generator in enumerate(self._generators[cause]):
            words[row] = generator.random_raw(ahead)
        fresh = self._export(convert(words))
        if queue.left():  # a draw of another size before; what is ready goes first
            fresh = self.xp.concat([queue.values[:, queue.used :], fresh], axis=1)
        queue.values, queue.used, queue.size = fresh, 0, fresh.shape[1]

    def _export(self, values: np.ndarray) -> Array:
        return values if self.xp is np else self.xp.asarray(values, device=self._device)

    # --- state ---------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, list[dict[str, Any]]]:
        """Where every stream stands, JSON-able: key and number of words used, by cause and environment."""
        state = {}
        for cause, generators in self._generators.items():
            ready = self._queues[cause].left()
            words = [_words_drawn(g) - ready for g in generators]
            if cause in self._places:
                words = [int(place) for place in self._places[cause]]
            state[cause] = [{"key": _key(g), "words": n} for g, n in zip(generators, words, strict=True)]
        return state

    def set_state(self, state: dict[str, list[dict[str, Any]]]) -> None:
        """Put every stream where :meth:`get_state` found it.

        Raises:
            ValueError: a state of other causes or another number of environments; nothing has changed then.
        """
        if set(state) != set(CAUSES) or any(len(rows) != self.num_envs for rows in state.values()):
            raise ValueError(f"streams state must hold {', '.join(CAUSES)}, each of {self.num_envs} environments")
        self._set({cause: [_philox(**row) for row in state[cause]] for cause in CAUSES})

    def __getstate__(self) -> dict[str, Any]:
        # by name: modules cannot be pickled, and what is ready follows from the words used
        setting = {"xp": self.xp.__name__, "_device": self._device, "_fast": self._fast, "num_envs": self.num_envs}
        return {**setting, "state": self.get_state()}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        state = pickled.pop("state")
        self.__dict__.update(pickled)
        self.xp = importlib.import_module(pickled["xp"])
        self.set_state(state)


# --- words ---------------------------------------------------------------------------------------------------------


def _key(generator: np.random.Philox) -> list[int]:
    state: Any = generator.state
    return [int(word) for word in state["state"]["key"]]


def _words_drawn(generator: np.random.Philox) -> int:
    """Words handed out so far: four per value of the 256-bit counter, less those still buffered."""
    state: Any = generator.state
    counter = sum(int(word) << (64 * i) for i, word in enumerate(state["state"]["counter"]))
    return 4 * counter - (4 - int(state["buffer_pos"]))


def _philox(key: list[int], words: int) -> np.random.Philox:
    generator = np.random.Philox(key=np.array(key, np.uint64))
    generator.advance(words // 4)
    generator.random_raw(words % 4)
    return generator


def _to_uniform(words: np.ndarray) -> np.ndarray:
    """U[0, 1) float64 from the upper 53 bits."""
    return (words >> np.uint64(11)) * 2.0**-53


def _to_normal(words: np.ndarray) -> np.ndarray:
    """CN(0, 1) complex64 by Box-Muller from the word's two 32-bit halves: ``sqrt(-ln u1) exp(2 pi j u2)``.

    E|z|^2 = 1. With 32 bits ``|z|`` ends at 4.78, which cuts off a probability of 1.2e-10.
    """
    values = np.empty(words.shape, np.complex64)
    flat_words, flat_values = words.reshape(-1), values.reshape(-1)
    # in pieces whose scratch arrays stay in the cache: four times as fast as in one go
    size = min(_PIECE, words.size)
    halves = np.empty((size, 2), np.float32)
    scratch = np.empty((3, size), np.float32)
    for start in range(0, words.size, _PIECE):
        piece = flat_words[start : start + _PIECE]
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
