"""Large arrays handed out again once nobody refers to them: fresh memory costs more than filling it."""

from __future__ import annotations

import sys

import numpy as np


class Buffer:
    """An observation array, zero outside the channel blocks of the masks, which say what it holds."""

    def __init__(self, shape: tuple[int, ...], own_user: np.ndarray, held: np.ndarray) -> None:
        self.array = np.zeros(shape, np.float32)
        self.own_user = np.zeros(own_user.shape, np.float32)
        self.held = np.zeros(held.shape, np.float32)

    def view(self) -> np.ndarray:
        """The array, read-only: what it holds outside the masks must stay zero."""
        view = self.array.view()
        view.flags.writeable = False
        return view


class Pool:
    """Buffers of one shape. One is free when its views are gone; a caller that keeps some makes the pool grow."""

    def __init__(self) -> None:
        self._buffers: list[Buffer] = []

    def take(self, shape: tuple[int, ...], own_user: np.ndarray, held: np.ndarray) -> Buffer:
        """A buffer that nobody sees.

        Args:
            shape: of the array.
            own_user, held: masks of the shapes that the buffer's have.
        """
        free = None
        for buffer in self._buffers:
            # two references: the buffer's own and the argument of getrefcount
            if buffer.array.shape == shape and sys.getrefcount(buffer.array) == 2:
                free = buffer
        if free is None:
            free = Buffer(shape, own_user, held)
            self._buffers = [free, *self._buffers[: _MOST - 1]]
        return free


_MOST = 3  # buffers remembered; one that is forgotten lives as long as its views
