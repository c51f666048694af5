"""Random streams of a batch: one counter-based generator per environment and cause.

Each cause of randomness has its own stream, so that two methods can be compared on the same draws and an
option never shifts the draws of another. Words come from Philox4x64-10 (numpy's bit generator), keyed through
``SeedSequence(seed).spawn``; environment i of a batch draws the same words as a single environment with its seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
)
_FROZEN_KEY = 0x1257  # keeps the scenario's frozen realisation apart from the streams of any environment


class Streams:
    """The generators of E environments.

    Args:
        seeds: one ``numpy.random.SeedSequence`` per environment.
        xp: array namespace of what is returned.
        device: device of what is returned, ``None`` for the default.
    """

    def __init__(self, seeds: Sequence[np.random.SeedSequence], xp: Any, device: Any = None) -> None:
        spawned = [seed.spawn(len(CAUSES)) for seed in seeds]
        self._generators = {
            cause: [np.random.Philox(keys[index]) for keys in spawned] for index, cause in enumerate(CAUSES)
        }
        self.xp, self._device = xp, device
        self.num_envs = len(spawned)

    @classmethod
    def from_seed(cls, seed: int | None, num_envs: int, xp: Any, device: Any = None) -> Streams:
        """Streams of environments seeded ``seed, seed + 1, ...`` (``None``: fresh entropy)."""
        entropy = np.random.SeedSequence().entropy if seed is None else seed
        assert isinstance(entropy, int)
        return cls([np.random.SeedSequence(entropy + i) for i in range(num_envs)], xp, device)

    @classmethod
    def frozen(cls, seed: int, xp: Any, device: Any = None) -> Streams:
        """The streams, of one environment, behind every ``frozen`` option of a scenario."""
        return cls([np.random.SeedSequence(seed, spawn_key=(_FROZEN_KEY,))], xp, device)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "xp": self.xp.__name__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import importlib

        self.__dict__.update(state)
        self.xp = importlib.import_module(state["xp"])

    def _words(
        self, shapes: dict[str, tuple[int, ...]], rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, list[slice]]:
        """Raw 64-bit words ``(E, total)`` of several causes side by side, and where each cause's are."""
        slices, total = [], 0
        for shape in shapes.values():
            count = math.prod(shape)
            slices.append(slice(total, total + count))
            total += count
        words = (np.empty if rows is None else np.zeros)((self.num_envs, total), np.uint64)
        for cause, block in zip(shapes, slices, strict=True):
            count = block.stop - block.start
            generators = self._generators[cause]
            for row in range(self.num_envs) if rows is None else rows:
                words[row, block] = generators[row].random_raw(count)
        return words, slices

    def _export(self, values: np.ndarray) -> Array:
        return values if self.xp is np else self.xp.asarray(values, device=self._device)

    def uniform(self, cause: str, *shape: int, rows: np.ndarray | None = None) -> Array:
        """Independent U[0, 1), ``(E, *shape)`` float64, one 64-bit word each.

        ``rows``, indices of environments, leaves the streams of the others where they are (their values are 0).
        """
        words, _ = self._words({cause: shape}, rows)
        return self._export(((words >> np.uint64(11)) * 2.0**-53).reshape(self.num_envs, *shape))

    def complex_normal(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
        """Independent CN(0, 1) by cause, ``(E, *shape)`` complex64, one 64-bit word each.

        Box-Muller from the word's two 32-bit halves: ``z = sqrt(-ln u1) exp(2 pi j u2)``, E|z|^2 = 1. With
        32 bits ``|z|`` ends at 4.78, which cuts off a probability of 1.2e-10.
        """
        words, slices = self._words(shapes)
        halves = words.view(np.uint32).reshape(*words.shape, 2).astype(np.float32)
        radius = halves[..., 0] * np.float32(2.0**-32) + np.float32(2.0**-33)  # in (0, 1], never above 1
        np.log(radius, out=radius)
        np.sqrt(np.negative(radius, out=radius), out=radius)
        angle = halves[..., 1] * np.float32(2.0 * math.pi * 2.0**-32)
        values = np.empty(words.shape, np.complex64)
        np.multiply(radius, np.cos(angle), out=values.real)
        np.multiply(radius, np.sin(angle), out=values.imag)
        values = self._export(values)
        parts = zip(shapes.items(), slices, strict=True)
        return {cause: values[:, block].reshape(self.num_envs, *shape) for (cause, shape), block in parts}
