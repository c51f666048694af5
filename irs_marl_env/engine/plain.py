"""The parts of a step without kernels, by the names that :mod:`irs_marl_env.engine.core` asks for."""

from __future__ import annotations

import math
from typing import Any

from irs_marl_env.arrays import is_numpy
from irs_marl_env.engine import observe
from irs_marl_env.engine.buffers import SMALL, Pool
from irs_marl_env.engine.set_rates import SetRates
from irs_marl_env.engine.slot import Slot
from irs_marl_env.physics.models import channel_model, mobility_model
from irs_marl_env.scenario import Scenario
from irs_marl_env.streams import Streams

__all__ = ["SetRates", "Slot", "Streams", "channel_model", "mobility_model", "observer"]

Array = Any


class _ReusingObserver(observe.Observer):
    """The observer of numpy arrays: the memory of large observations is used again once nobody refers to it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._pool = Pool()

    def empty(self, shape: tuple[int, ...]) -> Array:
        if math.prod(shape) <= SMALL:
            return super().empty(shape)
        return self._pool.take(shape, lambda: None).array.view()


def observer(scenario: Scenario, xp: Any, device: Any, read_only: bool, values: SetRates) -> observe.Observer:
    """The observer of an array namespace."""
    kind = _ReusingObserver if is_numpy(xp) else observe.Observer
    return kind(scenario, xp, device, read_only, values)
