"""The replay memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from irs_marl_env.sizes import check_memory


class Replay:
    """The last transitions, in a ring of preallocated arrays by name.

    Args:
        capacity: transitions kept.
        shapes: of one transition's arrays, float32.
        device: where they live.

    Raises:
        ValueError: they do not fit into memory.

    Attributes:
        size: transitions in it.
        next: row of the arrays that is written next.
    """

    def __init__(self, capacity: int, shapes: dict[str, tuple[int, ...]], device: Any = "cpu") -> None:
        self.capacity, self.size, self.next = capacity, 0, 0
        check_memory(f"buffer={capacity}", 4 * capacity * sum(map(math.prod, shapes.values())), device)
        self.arrays = {name: torch.zeros(capacity, *shape, device=device) for name, shape in shapes.items()}

    def add(self, **rows: np.ndarray) -> None:
        """Append rows ``(E, ...)`` of every array, over the oldest ones once full.

        Raises:
            ValueError: more rows at once than there is room for.
        """
        count = len(next(iter(rows.values())))
        if count > self.capacity:
            raise ValueError(f"{count} transitions at once do not fit a buffer of {self.capacity}")
        at = (self.next + torch.arange(count, device="cpu")) % self.capacity
        for name, array in self.arrays.items():
            array[at] = torch.as_tensor(rows[name], dtype=torch.float32, device=array.device)
        self.next = (self.next + count) % self.capacity
        self.size = min(self.size + count, self.capacity)

    def sample(self, batch: int, generator: np.random.Generator) -> dict[str, torch.Tensor]:
        """``batch`` transitions drawn with replacement, by name ``(batch, ...)``."""
        at = torch.from_numpy(generator.integers(self.size, size=batch))
        return {name: array[at.to(array.device)] for name, array in self.arrays.items()}
