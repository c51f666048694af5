"""Named blocks in flat vectors, and the constants that scale what stands in them.

All layouts use the global user and IRS indices; what is absent (users of other cells, padded elements) is zero.
Scales are constants of the scenario, never statistics of a sample, so that a value means the same at every step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irs_marl_env.arrays import namespace
from irs_marl_env.link_budget import path_gain_at
from irs_marl_env.scenario import Scenario

Array = Any
Named = dict[str, Array]

CSI_LIMIT = 100.0  # CSI is clipped here: 40 dB above the gain at the reference distance
GAIN_LIMIT = 20.0  # the same for log path gains, in units of 10 dB
VALUE_UNIT = 1.0  # bit/s/Hz: marginal rates are divided by this
VALUE_LIMIT = 20.0  # and clipped here


class Layout:
    """Consecutive named blocks of a flat vector.

    Args:
        blocks: name to block shape, in order.

    Example:
        >>> layout = Layout({"bids": (2,), "powers": (3,)})
        >>> layout.size, layout.slices["powers"]
        (5, slice(2, 5, None))
    """

    def __init__(self, blocks: dict[str, tuple[int, ...]]) -> None:
        self.shapes = dict(blocks)
        self.slices: dict[str, slice] = {}
        start = 0
        for name, shape in blocks.items():
            self.slices[name] = slice(start, start + math.prod(shape))
            start += math.prod(shape)
        self.size = start

    def check(self, flat: Array) -> None:
        """Refuse arrays that are not ``(..., size)``, which would be taken apart in other places.

        Raises:
            ValueError: the last axis is not :attr:`size` long.
        """
        shape = tuple(getattr(flat, "shape", ()))
        if shape[-1:] != (self.size,):
            raise ValueError(f"an array of shape {shape}: the last axis must be {self.size} long")

    def take(self, flat: Array, name: str) -> Array:
        """Block ``name`` of ``flat (..., size)``, shaped."""
        return flat[..., self.slices[name]].reshape((*flat.shape[:-1], *self.shapes[name]))

    def split(self, flat: Array) -> Named:
        """All blocks of ``flat (..., size)`` by name, shaped; the inverse of :meth:`join`.

        Raises:
            ValueError: as :meth:`check`.
        """
        self.check(flat)
        return {name: self.take(flat, name) for name in self.shapes}

    def join(self, named: Named) -> Array:
        """Flat vector ``(..., size)`` of all blocks."""
        name, shape = next(iter(self.shapes.items()))
        first = named[name]
        xp, lead = namespace(first), first.shape[: first.ndim - len(shape)]
        return xp.concat([xp.reshape(named[name], (*lead, -1)) for name in self.shapes], axis=-1)


def valid_elements(scenario: Scenario) -> list[tuple[int, int]]:
    """``(irs, n)`` of every real (not padded) element."""
    return [(irs, n) for irs, count in enumerate(scenario.elements) for n in range(count)]


class ElementAxis:
    """Between padded ``(..., L, N)`` arrays and the flat ``sum_l N_l`` real elements."""

    def __init__(self, scenario: Scenario) -> None:
        self._shape = (scenario.num_irs, scenario.max_elements)
        index = [irs * scenario.max_elements + n for irs, n in valid_elements(scenario)]
        self._index = np.array(index, dtype=np.int64)
        self.padded = len(index) != scenario.num_irs * scenario.max_elements
        source = np.full(self._shape[0] * self._shape[1], len(index))
        source[self._index] = np.arange(len(index))
        self._source = source

    def flatten(self, padded: Array) -> Array:
        """``(..., L, N)`` to ``(..., sum N_l)``."""
        flat = padded.reshape(*padded.shape[:-2], self._shape[0] * self._shape[1])
        return flat[..., self._index] if self.padded else flat

    def pad(self, flat: Array) -> Array:
        """``(..., sum N_l)`` to ``(..., L, N)``, zeros in the padding."""
        if self.padded:
            flat = namespace(flat).concat([flat, flat[..., :1] * 0], axis=-1)[..., self._source]
        return flat.reshape(*flat.shape[:-1], *self._shape)


# --- scales ---------------------------------------------------------------------------------------------------------


class CsiScale:
    """Amplitudes that CSI is divided by: of each link's path gain at the scenario's reference distance.

    With channels of one's own it is the root mean square of all entries of the link that are not zero, over the whole
    file: a constant of the file, that no episode changes.
    """

    def __init__(self, scenario: Scenario) -> None:
        recording = scenario.recording()
        if recording is not None:
            self.direct, self.bs_irs, self.irs_user = recording.scales.values()
            return
        distance_m = scenario.reference_distance_m
        self.direct = math.sqrt(path_gain_at(scenario, "direct", distance_m))
        self.bs_irs = math.sqrt(path_gain_at(scenario, "bs_irs", distance_m))
        self.irs_user = math.sqrt(path_gain_at(scenario, "irs_user", distance_m))


def log_gain(amplitude: Array, reference: float) -> Array:
    """Path gain relative to a reference, in units of 10 dB, from amplitude gains (0 stays finite)."""
    xp = namespace(amplitude)
    return 2.0 * xp.log10(xp.clip(amplitude / reference, 1e-30, None))
