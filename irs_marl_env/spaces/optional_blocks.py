"""Blocks that stand behind the others of an observation where a field of the scenario asks for them.

They are the same in every built-in observation. A class of one's own finds what they are made of in
:class:`irs_marl_env.engine.observe.Known`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env.arrays import namespace
from irs_marl_env.scenario import Scenario
from irs_marl_env.spaces.layout import Layout, Named

Array = Any


class OptionalBlock(NamedTuple):
    """A block of an observation that not every scenario has."""

    wanted: Callable[[Scenario], bool]
    shape: Callable[[Scenario], tuple[int, ...]]
    low: float  # of every entry
    high: float
    seen: Callable[[Any], Array]  # (E, M, *shape), from what is known


def _of_own_users(values: Array, own_user: Array) -> Array:
    """``(E, M, K, 2)`` of ``(E, K, 2)``: zero for users of other cells."""
    return values[:, None] * own_user[..., None]


OPTIONAL_BLOCKS: dict[str, OptionalBlock] = {
    "switching": OptionalBlock(
        lambda s: s.switching_slots > 0,
        lambda s: (s.num_irs,),
        0.0,
        1.0,
        lambda known: namespace(known.held).broadcast_to(known.switching[:, None], known.held.shape),
    ),
    "velocity": OptionalBlock(
        lambda s: s.observe_velocity,
        lambda s: (s.num_users, 2),
        -1.0,
        1.0,
        lambda known: _of_own_users(known.velocity, known.own_user),
    ),
    "position": OptionalBlock(
        lambda s: s.observe_velocity,
        lambda s: (s.num_users, 2),
        -1.0,
        1.0,
        lambda known: _of_own_users(known.place, known.own_user),
    ),
}


def optional_shapes(scenario: Scenario) -> dict[str, tuple[int, ...]]:
    """The shapes of the optional blocks of a scenario by name, in order."""
    return {name: block.shape(scenario) for name, block in OPTIONAL_BLOCKS.items() if block.wanted(scenario)}


def set_bounds(layout: Layout, low: np.ndarray, high: np.ndarray) -> None:
    """Write the bounds of the optional blocks of a layout into those of all entries, ``(D_o,)`` each."""
    for name, entries in layout.slices.items():
        if name in OPTIONAL_BLOCKS:
            low[entries], high[entries] = OPTIONAL_BLOCKS[name].low, OPTIONAL_BLOCKS[name].high


def optional_entries(layout: Layout, known: Any) -> Named:
    """What every BS sees in the optional blocks of a layout, ``(E, M, ...)`` by name."""
    return {name: OPTIONAL_BLOCKS[name].seen(known) for name in layout.shapes if name in OPTIONAL_BLOCKS}
