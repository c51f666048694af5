"""Random streams of a batch: one counter-based generator per environment and cause.

Each cause of randomness has its own stream, so that two methods can be compared on the same draws and an
option never shifts the draws of another. A stream is a key and a place: word i of a stream is a pure function of the
key and i (Philox4x64-10, keyed through ``SeedSequence(seed).spawn``; :mod:`irs_marl_env.words`), whoever computes it:
numpy's generator, the compiled kernels, or torch on its device. Environment i of a batch draws the same words as a
single environment with its seed.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env import words
from irs_marl_env.buffers import SMALL, Pool

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
# normals by the kernel where there is one; not "velocity": a Rician phase makes more of a rounded position
COMPILED_CAUSES = ("direct_fading", "bs_irs_fading", "irs_user_fading", "csi_error")
_FROZEN_KEY = 0x1257  # keeps the scenario's frozen realisation apart from the streams of any environment


def load_kernels(wanted: bool) -> Any:
    """The compiled kernels, or ``None``; imported only where they are wanted."""
    if not wanted:
        return None
    from irs_marl_env import kernels

    return kernels


class _Plan(NamedTuple):
    """How a kernel sees a draw of scaled normals: the same draw comes in every slot."""

    blocks: tuple[int, int]  # of amplitudes
    full: tuple[int, int, int]  # of real and imaginary parts
    result: tuple[int, ...]  # as the caller wants them
    pool: Pool | None  # of large results

    @classmethod
    def of(cls, amplitude: tuple[int, ...], shape: tuple[int, ...]) -> _Plan:
        num_envs, count = amplitude[0], math.prod(amplitude[1:])
        full = (num_envs, count, 2 * math.prod(shape))
        return cls((num_envs, count), full, (*amplitude, *shape), Pool() if math.prod(full) > SMALL else None)

    def shaped(self, drawn: np.ndarray) -> np.ndarray:
        """The numbers as complex64."""
        return drawn.view(np.complex64).reshape(self.result)


class Streams:
    """The generators of E environments.

    A cause yields either uniform or normal numbers, always in the order of its words. ``keys`` and ``places`` are what
    the kernels draw by; places lag behind where numpy makes numbers ahead.

    Args:
        keys: ``(E, 2)`` uint64 by cause.
        places: ``(E,)`` uint64 by cause, index of the next word.
        xp: array namespace of what is returned.
        device: device of what is returned, ``None`` for the default.
        fast: make numbers with the compiled kernels (numba, numpy arrays only): the same words, normals within 2e-6.
        on_device: compute the words where the arrays live, without a copy from the host; ``None``: on any torch device
            but the CPU.
    """

    def __init__(
        self,
        keys: dict[str, np.ndarray],
        places: dict[str, np.ndarray],
        xp: Any,
        device: Any = None,
        fast: bool = False,
        on_device: bool | None = None,
    ) -> None:
        self.xp, self._device, self._fast = xp, device, fast
        self.on_device = getattr(device, "type", "cpu") != "cpu" if on_device is None else on_device
        self._stand(self._here(keys), self._here(places))

    def _here(self, by_cause: dict[str, np.ndarray]) -> dict[str, Array]:
        """Keys or places where words are made."""
        if not self.on_device:
            return by_cause
        return {cause: words.to_device(values, self._device) for cause, values in by_cause.items()}

    def _stand(self, keys: dict[str, Array], places: dict[str, Array]) -> None:
        self.keys, self.places = keys, places
        self.num_envs = len(keys[CAUSES[0]])
        self._kernels = load_kernels(self._fast)
        self._ahead = {cause: words.Ahead() for cause in CAUSES}
        self._plans: dict[tuple[Any, ...], _Plan] = {}

    @classmethod
    def from_sequences(cls, seeds: Sequence[np.random.SeedSequence], xp: Any, *args: Any, **kwargs: Any) -> Streams:
        """Streams at their beginning, one environment per seed sequence."""
        drawn = [[child.generate_state(2, np.uint64) for child in seed.spawn(len(CAUSES))] for seed in seeds]
        keys = np.array(drawn, np.uint64)  # (E, causes, 2), as numpy.random.Philox would take them
        by_cause = {cause: np.ascontiguousarray(keys[:, i]) for i, cause in enumerate(CAUSES)}
        return cls(by_cause, {cause: np.zeros(len(seeds), np.uint64) for cause in CAUSES}, xp, *args, **kwargs)

    @classmethod
    def from_seed(
        cls,
        seed: int | None,
        num_envs: int,
        xp: Any,
        device: Any = None,
        fast: bool = False,
        on_device: bool | None = None,
    ) -> Streams:
        """Streams of environments seeded ``seed, seed + 1, ...`` (``None``: fresh entropy)."""
        entropy = np.random.SeedSequence().entropy if seed is None else seed
        assert isinstance(entropy, int)
        sequences = [np.random.SeedSequence(entropy + i) for i in range(num_envs)]
        return cls.from_sequences(sequences, xp, device, fast, on_device)

    @classmethod
    def frozen(cls, seed: int, xp: Any, device: Any = None) -> Streams:
        """The streams, of one environment, behind every ``frozen`` option of a scenario."""
        return cls.from_sequences([np.random.SeedSequence(seed, spawn_key=(_FROZEN_KEY,))], xp, device)

    # --- some of the environments ------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Count the words that were handed out of those made ahead."""
        for cause, ahead in self._ahead.items():
            count = ahead.taken()
            if count:
                self.places[cause] += np.uint64(count)

    def rows(self, index: np.ndarray) -> Streams:
        """Streams of some environments, standing where these stand; see :meth:`merge`."""
        self._catch_up()
        at = words.to_device(index, self._device) if self.on_device else index
        some = object.__new__(Streams)
        some.xp, some._device, some._fast, some.on_device = self.xp, self._device, self._fast, self.on_device
        some._stand({c: self.keys[c][at] for c in CAUSES}, {c: self.places[c][at] for c in CAUSES})
        return some

    def merge(self, index: np.ndarray, some: Streams) -> None:
        """Go on where :meth:`rows` of the same index have come to."""
        self._catch_up()
        some._catch_up()
        at = words.to_device(index, self._device) if self.on_device else index
        for cause in CAUSES:
            if not self.on_device and not np.array_equal(self.places[cause][at], some.places[cause]):
                self._ahead[cause] = words.Ahead()  # made for other places
            self.places[cause][at] = some.places[cause]

    # --- numbers -----------------------------------------------------------------------------------------------

    def uniform(self, cause: str, *shape: int) -> Array:
        """Independent U[0, 1), ``(E, *shape)`` float64, one 64-bit word each."""
        return self._take(cause, shape, "uniform")

    def complex_normal(self, cause: str, *shape: int) -> Array:
        """Independent CN(0, 1), ``(E, *shape)`` complex64, one 64-bit word each; see :func:`words.to_normal`."""
        if self._fast and cause in COMPILED_CAUSES:
            return self.scaled_normal(cause, np.ones((self.num_envs, 1), np.float32), *shape)[:, 0]
        return self._take(cause, shape, "normal")

    def scaled_normal(self, cause: str, amplitude: Array, *shape: int) -> Array:
        """Independent CN(0, a^2), ``(E, *B, *shape)`` complex64, for amplitudes ``(E, *B)`` float32.

        Every number has its word whatever the amplitudes, so an amplitude of zero shifts nothing. With kernels, the
        memory of a large result is used again once nobody refers to it: copy what you want to write into.
        """
        if not (self._fast and cause in COMPILED_CAUSES):
            normal = self._take(cause, (*amplitude.shape[1:], *shape), "normal")
            amplitude = amplitude.reshape(*amplitude.shape, *(1,) * len(shape))
            if self.xp is np and shape and normal.flags.c_contiguous:
                # nobody else has these numbers; real and imaginary parts are half the work of complex numbers
                parts = normal.view(np.float32)
                np.multiply(amplitude, parts, out=parts)
                return normal
            return amplitude * normal
        plan, prepared = self._prepare(cause, amplitude, shape)
        self._kernels.scaled_normals(*prepared)
        return plan.shaped(prepared[-1])

    def scaled_normals(self, draws: Sequence[tuple[str, Array, tuple[int, ...]]]) -> list[Array]:
        """:meth:`scaled_normal` of three draws ``(cause, amplitude, shape)``, of three causes."""
        if not self._fast:
            return [self.scaled_normal(cause, amplitude, *shape) for cause, amplitude, shape in draws]
        (plan0, first), (plan1, second), (plan2, third) = [self._prepare(*draw) for draw in draws]
        self._kernels.scaled_normals_of_three(*first, *second, *third)
        return [plan0.shaped(first[-1]), plan1.shaped(second[-1]), plan2.shaped(third[-1])]

    def _prepare(self, cause: str, amplitude: Array, shape: tuple[int, ...]) -> tuple[_Plan, tuple[np.ndarray, ...]]:
        """How to draw, and what the kernel takes: keys, places, amplitudes, what the last argument holds, and that."""
        plan = self._plans.get((cause, amplitude.shape, shape))
        if plan is None:
            plan = self._plans[cause, amplitude.shape, shape] = _Plan.of(amplitude.shape, shape)
        flat = np.ascontiguousarray(amplitude.reshape(plan.blocks))
        if plan.pool is None:
            out, before = np.zeros(plan.full, np.float32), flat  # blocks of amplitude zero hold zeros already
        else:
            buffer = plan.pool.take(plan.full, lambda: np.zeros_like(flat))
            out, before = buffer.array.view(), buffer.holds
            buffer.holds = flat
        return plan, (self.keys[cause], self.places[cause], flat, before, out)

    def uniform_where(self, chosen: Array, cause: str, *shape: int) -> Array:
        """:meth:`uniform` for the environments where ``chosen (E,)`` is true; the others draw nothing and get zeros."""
        count = math.prod(shape)
        if self.on_device:
            values = words.uniform_on_device(self.keys[cause], self.places[cause], count)
            self.places[cause] += count * chosen
            return (values * chosen[:, None]).reshape(self.num_envs, *shape)
        index = np.flatnonzero(np.asarray(chosen))
        values = np.zeros((self.num_envs, *shape))
        if len(index):
            some = self.rows(index)
            some.xp = np
            values[index] = some.uniform(cause, *shape)
            self.merge(index, some)
        return self._export(values)

    def _take(self, cause: str, shape: tuple[int, ...], kind: str) -> Array:
        keys, places, count = self.keys[cause], self.places[cause], math.prod(shape)
        values: Array
        if self.on_device:
            make = words.uniform_on_device if kind == "uniform" else words.normal_on_device
            values = make(keys, places, count)
            places += count
        elif self._fast:
            drawn = np.empty((self.num_envs, count), np.uint64)
            self._kernels.words(keys, places, drawn)
            values = words.CONVERT[kind](drawn)
        else:
            values = self._ahead[cause].take(keys, places, count, self._made(kind))
        return values.reshape(self.num_envs, *shape)

    def _made(self, kind: str) -> Callable[[np.ndarray], Array]:
        convert = words.CONVERT[kind]
        return convert if self.xp is np else lambda drawn: self._export(convert(drawn))

    def _export(self, values: np.ndarray) -> Array:
        return values if self.xp is np else self.xp.asarray(values, device=self._device)

    # --- state ---------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, list[dict[str, Any]]]:
        """Where every stream stands, JSON-able: key and number of words used, by cause and environment."""
        self._catch_up()
        state = {}
        for cause in CAUSES:
            keys, places = (words.to_host(x[cause]) for x in (self.keys, self.places))
            state[cause] = [{"key": k.tolist(), "words": int(n)} for k, n in zip(keys, places, strict=True)]
        return state

    def set_state(self, state: dict[str, list[dict[str, Any]]]) -> None:
        """Put every stream where :meth:`get_state` found it.

        Raises:
            ValueError: a state of other causes or another number of environments; nothing has changed then.
        """
        if set(state) != set(CAUSES) or any(len(rows) != self.num_envs for rows in state.values()):
            raise ValueError(f"streams state must hold {', '.join(CAUSES)}, each of {self.num_envs} environments")
        keys = {cause: np.array([row["key"] for row in state[cause]], np.uint64) for cause in CAUSES}
        places = {cause: np.array([row["words"] for row in state[cause]], np.uint64) for cause in CAUSES}
        self._stand(self._here(keys), self._here(places))

    def __getstate__(self) -> dict[str, Any]:
        # by name: modules cannot be pickled, and what is ready follows from the words used
        setting = {"xp": self.xp.__name__, "_device": self._device, "_fast": self._fast, "on_device": self.on_device}
        return {**setting, "num_envs": self.num_envs, "state": self.get_state()}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        state = pickled.pop("state")
        self.__dict__.update(pickled)
        self.xp = importlib.import_module(pickled["xp"])
        self.set_state(state)
