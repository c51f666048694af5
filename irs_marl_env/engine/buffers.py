"""Large arrays handed out again once nobody refers to them: fresh memory costs more than filling it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

SMALL = 16384  # entries; below this fresh memory is cheap
_MOST = 3  # buffers remembered; one that is forgotten lives as long as its views


class Buffer:
    """A float32 array, and what its user wants to remember of what it holds."""

    def __init__(self, shape: tuple[int, ...], holds: Any) -> None:
        self.array = np.zeros(shape, np.float32)
        self.holds = holds


class Pool:
    """Buffers of one shape. One is free when its views are gone; a caller that keeps some makes the pool grow."""

    def __init__(self) -> None:
        self._buffers: list[Buffer] = []

    def take(self, shape: tuple[int, ...], nothing: Callable[[], Any]) -> Buffer:
        """A buffer with no outside reference. Hand out views of its array, never the array itself.

        Args:
            shape: of the array.
            nothing: makes ``holds`` of a buffer of zeros.
        """
        for buffer in self._buffers:
            # two references: the buffer's own and the argument of getrefcount
            if buffer.array.shape == shape and sys.getrefcount(buffer.array) == 2:
                return buffer
        fresh = Buffer(shape, nothing())
        self._buffers = [fresh, *self._buffers[: _MOST - 1]]
        return fresh
