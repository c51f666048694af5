"""Random streams of a batch: one counter-based generator per environment and cause.

Each cause of randomness has its own stream, so that two methods can be compared on the same draws and an
option never shifts the draws of another. A stream is a key and an index: entry i of a stream is a pure function of the
key and i (Philox4x64-10, keyed through ``SeedSequence(seed).spawn``; :mod:`irs_marl_env.philox`), whoever computes it:
numpy's generator, or torch on its device. Environment i of a batch draws the same random bits as a single environment
with its seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irs_marl_env import arrays, checks, philox

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
    "shadowing",
    "episode",  # counts episodes, from the seed on: which of a number of recorded ones comes next
)
_FIRST_CAUSES = CAUSES[:8]  # a state that was saved before the others came holds these alone
_FROZEN_KEY = 0x1257  # keeps the scenario's frozen realisation apart from the streams of any environment


class Streams:
    """The generators of E environments.

    A cause yields either uniform or normal numbers, always in the order of its random bits. ``keys`` and ``index`` say
    where every stream stands; ``index`` lags behind while prefetched numbers are handed out.

    Args:
        keys: ``(E, 2)`` uint64 by cause.
        index: ``(E,)`` uint64 by cause, of the next random bits.
        xp: array namespace of what is returned.
        device: device of what is returned, ``None`` for the default.
        on_device: compute the random bits where the arrays live, without a copy from the host; ``None``: on any torch
            device but the CPU.
    """

    def __init__(
        self,
        keys: dict[str, np.ndarray],
        index: dict[str, np.ndarray],
        xp: Any,
        device: Any = None,
        on_device: bool | None = None,
    ) -> None:
        self.xp, self._device = xp, device
        self.on_device = getattr(device, "type", "cpu") != "cpu" if on_device is None else on_device
        self._set_position(self._to_device(keys), self._to_device(index))

    def _to_device(self, by_cause: dict[str, np.ndarray]) -> dict[str, Array]:
        """Keys or indices, where random bits are made."""
        if not self.on_device:
            return by_cause
        return {cause: philox.to_device(values, self._device) for cause, values in by_cause.items()}

    def _set_position(self, keys: dict[str, Array], index: dict[str, Array]) -> None:
        self.keys, self.index = keys, index
        self.num_envs = len(keys[CAUSES[0]])
        self._prefetched = {cause: philox.Prefetched() for cause in CAUSES}  # by numpy
        self._windows = {cause: philox.Window() for cause in CAUSES}  # on a device
        self._made: dict[str, Callable[[np.ndarray], Array]] = {}

    @classmethod
    def from_sequences(cls, seeds: Sequence[np.random.SeedSequence], xp: Any, *args: Any, **kwargs: Any) -> Streams:
        """Streams at their beginning, one environment per seed sequence."""
        drawn = [[child.generate_state(2, np.uint64) for child in seed.spawn(len(CAUSES))] for seed in seeds]
        keys = np.array(drawn, np.uint64)  # (E, causes, 2), as numpy.random.Philox would take them
        by_cause = {cause: np.ascontiguousarray(keys[:, i]) for i, cause in enumerate(CAUSES)}
        index = {cause: np.zeros(len(seeds), np.uint64) for cause in CAUSES}
        index["episode"] += np.array([_as_count(seed.entropy) for seed in seeds], np.uint64)
        return cls(by_cause, index, xp, *args, **kwargs)

    @classmethod
    def from_seed(
        cls,
        seed: int | Sequence[int | None] | None,
        num_envs: int,
        xp: Any,
        device: Any = None,
        on_device: bool | None = None,
    ) -> Streams:
        """Streams of environments seeded ``seed, seed + 1, ...``, or each with its own; ``None``: fresh entropy."""
        seeds = seed
        if not isinstance(seeds, Sequence):
            entropy = np.random.SeedSequence().entropy if seeds is None else seeds
            assert isinstance(entropy, int)
            seeds = [entropy + i for i in range(num_envs)]
        return cls.from_sequences([np.random.SeedSequence(seed) for seed in seeds], xp, device, on_device)

    @classmethod
    def frozen(cls, seed: int, xp: Any, device: Any = None) -> Streams:
        """The streams, of one environment, behind every ``frozen`` option of a scenario."""
        return cls.from_sequences([np.random.SeedSequence(seed, spawn_key=(_FROZEN_KEY,))], xp, device)

    # --- some of the environments ------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Count the prefetched values that were handed out."""
        for cause, prefetched in self._prefetched.items():
            count = prefetched.taken()
            if count:
                self.index[cause] += np.uint64(count)

    def rows(self, rows: np.ndarray) -> Streams:
        """Streams of some environments, standing where these stand; see :meth:`merge`."""
        self._catch_up()
        at = philox.to_device(rows, self._device) if self.on_device else rows
        some = object.__new__(type(self))
        some.xp, some._device, some.on_device = self.xp, self._device, self.on_device
        some._set_position({c: self.keys[c][at] for c in CAUSES}, {c: self.index[c][at] for c in CAUSES})
        if self.on_device:
            some._windows = {cause: window.rows(at) for cause, window in self._windows.items()}
        return some

    def merge(self, rows: np.ndarray, some: Streams) -> None:
        """Go on where :meth:`rows` of the same rows have come to."""
        self._catch_up()
        some._catch_up()
        at = philox.to_device(rows, self._device) if self.on_device else rows
        for cause in CAUSES:
            if self.on_device:
                self._windows[cause].move_on(some._windows[cause].taken)
            elif not np.array_equal(self.index[cause][at], some.index[cause]):
                self._prefetched[cause] = philox.Prefetched()  # made for other indices
            self.index[cause][at] = some.index[cause]

    def put(self, rows: np.ndarray, some: Streams) -> None:
        """Replace the streams of some environments by others, which may have other keys."""
        self._catch_up()
        some._catch_up()
        at = philox.to_device(rows, self._device) if self.on_device else rows
        for cause in CAUSES:
            self.keys[cause][at], self.index[cause][at] = some.keys[cause], some.index[cause]
            self._prefetched[cause], self._windows[cause] = philox.Prefetched(), philox.Window()  # made with other keys

    # --- numbers -----------------------------------------------------------------------------------------------

    def uniform(self, cause: str, *shape: int) -> Array:
        """Independent U[0, 1), ``(E, *shape)`` float64, 64 random bits each."""
        return self._take(cause, shape, "uniform")

    def count_episodes(self) -> np.ndarray:
        """``(E,)`` int64 on the host: the seed of each environment plus the episodes counted before, and count one."""
        count = philox.to_host(self.index["episode"]).astype(np.int64)
        self.index["episode"] += 1 if self.on_device else np.uint64(1)
        return count

    def complex_normal(self, cause: str, *shape: int) -> Array:
        """Independent CN(0, 1), ``(E, *shape)`` complex64, 64 random bits each; see :func:`philox.to_normal`."""
        return self._take(cause, shape, "normal")

    def scaled_normal(self, cause: str, amplitude: Array, *shape: int) -> Array:
        """Independent CN(0, a^2), ``(E, *B, *shape)`` complex64, for amplitudes ``(E, *B)`` float32.

        Every number has its random bits whatever the amplitudes, so an amplitude of zero shifts nothing.
        """
        normal = self._take(cause, (*amplitude.shape[1:], *shape), "normal")
        amplitude = amplitude.reshape(*amplitude.shape, *(1,) * len(shape))
        if arrays.on_host(normal) and shape and normal.flags.c_contiguous:
            # nobody else has these numbers; real and imaginary parts are half the work of complex numbers
            parts = normal.view(np.float32)
            np.multiply(amplitude, parts, out=parts)
            return normal
        return amplitude * normal

    def uniform_where(self, chosen: Array, cause: str, *shape: int) -> Array:
        """:meth:`uniform` for the environments where ``chosen (E,)`` is true; the others draw nothing and get zeros."""
        count = math.prod(shape)
        if self.on_device:
            values = self._windows[cause].take("uniform", self.keys[cause], self.index[cause], count)
            self.index[cause] += count * chosen
            return (values * chosen[:, None]).reshape(self.num_envs, *shape)
        index = np.flatnonzero(np.asarray(chosen))
        if len(index) == self.num_envs:  # much cheaper than for some: a single environment with a tie comes here
            return self.uniform(cause, *shape)
        values = np.zeros((self.num_envs, *shape))
        if len(index):
            some = self.rows(index)
            some.xp = np
            values[index] = some.uniform(cause, *shape)
            self.merge(index, some)
        return arrays.constant(values, None, self.xp, self._device)

    def _take(self, cause: str, shape: tuple[int, ...], kind: str) -> Array:
        if cause not in self.keys:
            raise ValueError(f"no random stream {cause!r}: must be one of {', '.join(map(repr, CAUSES))}")
        keys, index, count = self.keys[cause], self.index[cause], math.prod(shape)
        values: Array
        if self.on_device:
            values = self._windows[cause].take(kind, keys, index, count)
            index += count
        else:
            if kind not in self._made:
                self._made[kind] = self._maker(kind)
            values = self._prefetched[cause].take(keys, index, count, self._made[kind])
        return values.reshape(self.num_envs, *shape)

    def _maker(self, kind: str) -> Callable[[np.ndarray], Array]:
        """A function from random bits to numbers, in the namespace of what is returned."""
        convert, xp, device = philox.CONVERT[kind], self.xp, self._device
        return lambda bits: arrays.constant(convert(bits), None, xp, device)

    # --- state ---------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, list[dict[str, Any]]]:
        """Where every stream stands, JSON-able: its key, and how many 64-bit words were used, by cause and row."""
        self._catch_up()
        state = {}
        for cause in CAUSES:
            keys, index = (philox.to_host(x[cause]) for x in (self.keys, self.index))
            state[cause] = [{"key": k.tolist(), "words": int(n)} for k, n in zip(keys, index, strict=True)]
        return state

    def set_state(self, state: dict[str, list[dict[str, Any]]]) -> None:
        """Put every stream where :meth:`get_state` found it.

        Raises:
            ValueError: a state of other causes or another number of environments, or a key or a count that is none;
                nothing has changed then.
        """
        if isinstance(state, dict) and set(state) == set(_FIRST_CAUSES):  # its scenario has no use for the later ones
            unused = [{"key": [0, 0], "words": 0}] * self.num_envs
            state = {**state, **dict.fromkeys(CAUSES[len(_FIRST_CAUSES) :], unused)}
        if (
            not isinstance(state, dict)
            or set(state) != set(CAUSES)
            or any(not isinstance(rows, (list, tuple)) or len(rows) != self.num_envs for rows in state.values())
        ):
            raise ValueError(f"streams state must hold {', '.join(CAUSES)}, each of {self.num_envs} environments")
        keys, index = {}, {}
        for cause in CAUSES:
            stood = [_position(f"streams[{cause!r}][{i}]", row) for i, row in enumerate(state[cause])]
            keys[cause] = np.array([key for key, _ in stood], np.uint64)
            index[cause] = np.array([words for _, words in stood], np.uint64)
        self._set_position(self._to_device(keys), self._to_device(index))

    def __getstate__(self) -> dict[str, Any]:
        # by name: modules cannot be pickled; what was prefetched follows from where the streams stand
        setting = {"xp": arrays.name_of(self.xp), "_device": self._device, "on_device": self.on_device}
        return {**setting, "num_envs": self.num_envs, "state": self.get_state()}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        state = pickled.pop("state")
        self.__dict__.update(pickled)
        self.xp, _ = arrays.backend(pickled["xp"], pickled["_device"])
        self.set_state(state)


def _as_count(entropy: Any) -> int:
    """A seed, as a number that can be counted on from."""
    return int(entropy) % 2**62 if isinstance(entropy, (int, np.integer)) else 0


def _position(name: str, row: Any) -> tuple[list[int], int]:
    """Key and index of one stream, from its entry in a state."""
    allowed = "{'key': two integers, 'words': an integer}, all in [0, 2^64)"
    if not isinstance(row, dict) or set(row) != {"key", "words"}:
        raise checks.refusal(name, row, allowed)
    if not isinstance(row["key"], (list, tuple)) or len(row["key"]) != 2:
        raise checks.refusal(f"{name}['key']", row["key"], "two integers in [0, 2^64)")
    key = [checks.check_whole(f"{name}['key']", word, 0, 2**64 - 1) for word in row["key"]]
    return key, checks.check_whole(f"{name}['words']", row["words"], 0, 2**64 - 1)
