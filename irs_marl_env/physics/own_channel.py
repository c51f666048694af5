"""A channel model of one's own (``Scenario.channel_model``), and the check of what it returns.

It is a class that is made with the scenario, or a function. Called once for every slot, it makes the channels::

    model(gains, memory, motion, streams) -> H (E, M, K, Nb), G (E, M, L, N, Nb), h (E, L, K, N)   # complex

``gains`` are the amplitude gains ``direct (E, M, K)``, ``bs_irs (E, M, L)`` and ``irs_user (E, L, K)``, by the path
loss of the scenario; ``motion`` is where users are (``motion["position"] (E, K, 2)``). A class may have three methods
more:

- ``start(streams, motion) -> memory``: of a new episode, a dict of arrays with the environment as leading axis;
- ``evolve(memory, streams, last, motion) -> memory``: the same in the next slot, into which users went from ``last`` to
  ``motion``; without it the memory of an episode stays as it is;
- ``gains(usual, memory, motion) -> (direct, bs_irs, irs_user)``: amplitude gains of its own, which then count for
  cells by ``"strongest"``, observations and rules of association; ``usual`` are those by the scenario's path loss.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irs_marl_env import arrays, checks
from irs_marl_env.arrays import namespace
from irs_marl_env.link_budget import MOST_SNR_DB, strongest_snr_db
from irs_marl_env.physics.channel import ChannelModel, Channels, Gains, Memory, Motion
from irs_marl_env.scenario import Scenario
from irs_marl_env.streams import Streams

Array = Any
METHODS = ("start", "evolve", "gains")


class OwnChannelModel(ChannelModel):
    """Somebody else's model; cells, path loss, shadowing and errors of CSI are those of the scenario.

    Raises:
        ScenarioError: a class that cannot be made with the scenario.
        ValueError: (later) channels, gains or a memory that are none; the message names the model.
    """

    draws = False  # it makes all links in every slot, whoever holds the IRSs

    def __init__(self, scenario: Scenario, xp: Any, device: Any = None) -> None:
        super().__init__(scenario, xp, device)
        self._own = _made(scenario)

    def greatest_amplitudes(self, sigmas: float = 0.0) -> dict[str, float] | None:
        return None  # theirs to know

    def start(self, streams: Streams, motion: Motion) -> Memory:
        shadowing = self._start_shadowing(streams)
        if not hasattr(self._own, "start"):
            return shadowing
        started = self._own.start(streams, arrays.read_only(motion))
        return self._remembered("start", started, streams.num_envs) | shadowing

    def evolve(self, memory: Memory, streams: Streams, last: Motion, motion: Motion) -> Memory:
        shadowing = {name: memory[name] for name in ("shadowing",) if self._shadowed}
        shadowing = super().evolve(shadowing, streams, last, motion)
        if not hasattr(self._own, "evolve"):
            return memory | shadowing
        shown = (arrays.read_only(x) for x in (last, motion))
        evolved = self._own.evolve(arrays.read_only(memory), streams, *shown)
        return self._remembered("evolve", evolved, streams.num_envs) | shadowing

    def large_scale(self, motion: Motion, memory: Memory) -> tuple[Array, Array, Gains]:
        cell, own_user, gains = super().large_scale(motion, memory)
        if not hasattr(self._own, "gains"):
            return cell, own_user, gains
        found = self._own.gains(*map(arrays.read_only, (gains, memory, motion)))
        own = self._checked("gains", found, [tuple(x.shape) for x in gains], "real")
        if any(bool(namespace(x).any(x < 0)) for x in own):
            raise ValueError(f"channel_model {checks.shown(self._own)} returned gains below 0: must be amplitudes >= 0")
        if not self._by_distance:
            cell, own_user = self._serve(motion["position"], own[0])
        return cell, own_user, Gains(*own)

    def channels(
        self, gains: Gains, memory: Memory, motion: Motion, streams: Streams, G: Array | None = None
    ) -> Channels:
        shown = (arrays.read_only(x) for x in (gains, memory, motion))
        shapes = [(streams.num_envs, *shape) for shape in self._shape.values()]
        own = self._checked("channels", self._own(*shown, streams), shapes, "complex")
        self._check_strongest(own)
        return Channels(*(self._without_padding(link, x) for link, x in zip(self._shape, own, strict=True)))

    def _checked(self, what: str, found: Any, shapes: list[tuple[int, ...]], kind: str) -> list[Array]:
        """Three arrays of these shapes, in single precision and in memory of their own."""
        names = Channels._fields if what == "channels" else Gains._fields
        allowed = ", ".join(f"{name} {shape}" for name, shape in zip(names, shapes, strict=True))
        got = f"channel_model {checks.shown(self._own)} returned"
        if not isinstance(found, (tuple, list)) or len(found) != len(shapes):
            raise ValueError(f"{got} {what} {checks.shown(type(found).__name__)}: must be three arrays {allowed}")
        kept = []
        for name, x, shape in zip(names, found, shapes, strict=True):
            x = np.asarray(x) if isinstance(x, np.ndarray) else x
            xp, size = self._xp, getattr(x, "shape", type(x).__name__)
            if not arrays.is_array_of(x, self._tx_power_w, shape, ("numeric", "bool")):
                kind_of_array = f"as arrays of the environment's kind, {type(self._tx_power_w).__name__}"
                raise ValueError(f"{got} {name} of shape {size}: must be {allowed}, {kind_of_array}")
            if not xp.isdtype(x.dtype, ("complex floating", "real floating") if kind == "complex" else "real floating"):
                raise ValueError(f"{got} {name} of {x.dtype}: must be {kind} numbers")
            with np.errstate(over="ignore", invalid="ignore"):  # infinite in single precision is refused below
                single = xp.astype(x, xp.complex64 if kind == "complex" else xp.float32)
            if not bool(xp.all(xp.isfinite(single))):
                raise ValueError(f"{got} {name} with entries that are not finite: must be finite in single precision")
            kept.append(arrays.contiguous(arrays.of_ones_own(single)))
        return kept

    def _check_strongest(self, channels: list[Array]) -> None:
        """Refuse channels over which a signal would be stronger than single precision holds."""
        with np.errstate(over="ignore"):
            most = [float(self._xp.max(abs(arrays.detached(x)))) if math.prod(x.shape) else 0.0 for x in channels]
        snr_db = strongest_snr_db(self.scenario, *most)
        if snr_db > MOST_SNR_DB:
            raise ValueError(
                f"channel_model {checks.shown(self._own)} returned channels over which the strongest signal could be "
                f"{snr_db:.4g} dB above the noise: must be at most {MOST_SNR_DB:g} dB, which single precision holds"
            )

    def _remembered(self, method: str, memory: Any, num_envs: int) -> Memory:
        """A memory, if it is one."""
        if not isinstance(memory, dict) or not all(
            isinstance(name, str) and tuple(getattr(x, "shape", ()))[:1] == (num_envs,) for name, x in memory.items()
        ):
            found = checks.shown(memory if not isinstance(memory, dict) else {n: _shape(x) for n, x in memory.items()})
            raise ValueError(
                f"channel_model {checks.shown(self._own)} returned {found} from {method}: must be a dict of arrays "
                f"by name, each of shape ({num_envs}, ...)"
            )
        return {name: arrays.of_ones_own(x) for name, x in memory.items()}


def _shape(x: Any) -> Any:
    return getattr(x, "shape", type(x).__name__)


def _made(scenario: Scenario) -> Any:
    """The model itself: a function as it is, of a class an object."""
    chosen = scenario.strategy("channel_model")
    if not isinstance(chosen, type):
        return chosen
    allowed = "a class that is made with the scenario and whose objects are called for the channels of a slot"
    try:
        made = chosen(scenario)
    except TypeError as error:
        raise checks.refusal("channel_model", chosen, f"{allowed} ({error})") from error
    if not callable(made):
        raise checks.refusal("channel_model", chosen, allowed)
    return made
