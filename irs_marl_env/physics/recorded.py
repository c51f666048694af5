"""Channels of one's own at play: an episode of a recording (:mod:`irs_marl_env.recordings`), slot by slot.

Which episode: environments count theirs from their seed on, so the environment with seed s begins with episode
``s mod n`` of n, and goes on to the next with every reset.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irs_marl_env import checks
from irs_marl_env.arrays import constant, namespace
from irs_marl_env.physics import association, deployment
from irs_marl_env.physics.channel import ChannelModel, Channels, Gains, Memory, Motion
from irs_marl_env.physics.mobility import Mobility, MobilityConstants, warn_of_unknown
from irs_marl_env.recordings import Recording
from irs_marl_env.scenario import Scenario
from irs_marl_env.streams import Streams

Array = Any


def recorded(scenario: Scenario) -> Recording:
    """The recording of a scenario that has one."""
    recording = scenario.recording()
    assert recording is not None
    return recording


# --- where users are ------------------------------------------------------------------------------------------------


def recorded_mobility(scenario: Scenario) -> Mobility:
    """Users stand where the recording says, in the middle of the area if it does not.

    A motion has, beside ``"position" (E, K, 2)``, ``"episode"`` and ``"slot"`` ``(E,)``, on the host.
    """
    recording = recorded(scenario)

    def start(constants: MobilityConstants, streams: Streams, chosen: Array | None) -> Motion:
        counted = streams.count_episodes() % recording.episodes
        episode = counted if chosen is None else chosen
        return motion(constants, episode, np.zeros(len(episode), np.int64))

    def advance(constants: MobilityConstants, last: Motion, streams: Streams) -> Motion:
        return motion(constants, last["episode"], last["slot"] + 1)

    def motion(constants: MobilityConstants, episode: np.ndarray, slot: np.ndarray) -> Motion:
        if "positions" in recording.arrays:
            position = recording.at("positions", episode, slot).astype(np.float64)
        else:
            position = np.tile(_middle(scenario), (len(slot), scenario.num_users, 1))
        like = constants.area
        position = constant(position, np.float64, namespace(like), like.device)
        return {"position": position, "episode": episode, "slot": slot}

    return Mobility(start, advance)


def _middle(scenario: Scenario) -> np.ndarray:
    x_min, y_min, x_max, y_max = scenario.bounds_m
    return np.array([(x_min + x_max) / 2, (y_min + y_max) / 2])


def check_episode(recording: Recording, options: dict[str, Any] | None, also: tuple[str, ...]) -> int | None:
    """The episode that ``reset(options={"episode": i})`` asks for; ``None``: the next one.

    Raises:
        ValueError: no dict, no episode of the recording, or positions, which the recording has.
    """
    options = {} if options is None else options
    if not isinstance(options, dict):
        raise checks.refusal("options", options, "None or a dict by name")
    for name in ("positions", "trace"):
        if options.get(name) is not None:
            raise ValueError(f"options[{name!r}] does not go with channels, which say where users are")
    warn_of_unknown(options, ("episode", "positions", "trace", *also))
    episode = options.get("episode")
    return None if episode is None else checks.check_whole("options['episode']", episode, 0, recording.episodes - 1)


# --- channels -------------------------------------------------------------------------------------------------------


class RecordedModel(ChannelModel):
    """Channels, gains and cells of a recording.

    The gain of a link in a slot is its mean power over antennas and elements. The cell of a user is what ``cell`` says;
    else it follows by the scenario's rule from where the user is and from these gains; without positions the BS that is
    received best stands for the nearest one.
    """

    draws = False

    def __init__(self, scenario: Scenario, xp: Any, device: Any = None) -> None:
        super().__init__(scenario, xp, device)
        self._recording = recorded(scenario)
        self._has = self._recording.arrays
        self._elements = np.array(scenario.elements, np.float64)  # (L,)
        self._num_antennas = np.array(scenario.antennas, np.float64)[:, None]  # (M, 1)
        self._fixed = not scenario.num_irs or self._has["G"].shape[1] == 1  # G holds for a whole episode
        self._read: tuple[Motion, dict[str, np.ndarray]] | None = None

    def greatest_amplitudes(self, sigmas: float = 0.0) -> dict[str, float]:
        return self._recording.greatest_amplitudes

    def start(self, streams: Streams, motion: Motion) -> Memory:
        return {}

    def evolve(self, memory: Memory, streams: Streams, last: Motion, motion: Motion) -> Memory:
        return memory

    def large_scale(self, motion: Motion, memory: Memory) -> tuple[Array, Array, Gains]:
        at = self._slot(motion)
        N, Nb = self._elements, self._num_antennas
        direct = _amplitude(at["H"], 3, Nb)
        bs_irs = _amplitude(at["G"], 3, N * Nb)
        irs_user = _amplitude(at["h"], 3, N[:, None])
        gains = Gains(*(self._constant(gain, np.float32) for gain in (direct, bs_irs, irs_user)))
        cell = self._constant(at["cell"], np.int64) if "cell" in self._has else self._served(motion["position"], direct)
        return cell, association.in_cell(cell, self.scenario.num_bs), gains

    def _served(self, position: Array, direct: np.ndarray) -> Array:
        """Cells ``(E, K)`` by the scenario's rule; without positions no BS is the nearest, but one is the strongest."""
        rule: Any = self.scenario.cell_rule
        if "positions" not in self._has and rule == "nearest":
            rule = "strongest"
        distance = self._seen(position)[3][:, : self.scenario.num_bs]
        power_gain = self._constant(direct**2, np.float64)
        return deployment.serving(rule, deployment.Links(distance, power_gain, self._tx_power_w, position))

    def channels(
        self, gains: Gains, memory: Memory, motion: Motion, streams: Streams, G: Array | None = None
    ) -> Channels:
        at = self._slot(motion)
        H, h = (self._constant(at[key], np.complex64) for key in ("H", "h"))
        if G is None or not self._fixed:
            G = self._constant(at["G"], np.complex64)
        return Channels(H, G, h)

    def _slot(self, motion: Motion) -> dict[str, np.ndarray]:
        """The arrays of the recording in a slot, ``(E, ...)`` in memory of their own; read once for a motion."""
        if self._read is None or self._read[0] is not motion:
            where = motion["episode"], motion["slot"]
            at: dict[str, np.ndarray] = {key: self._of_irs(key, *where) for key in ("G", "h")}
            at |= {key: self._recording.at(key, *where) for key in self._has if key in ("H", "cell")}
            self._read = motion, at
            return at
        return self._read[1]

    def _of_irs(self, key: str, episode: np.ndarray, slot: np.ndarray) -> np.ndarray:
        if self.scenario.num_irs:
            return self._recording.at(key, episode, slot)
        shape = self._shape["bs_irs" if key == "G" else "irs_user"]  # a policy without IRSs plays the same recording
        return np.zeros((len(slot), *shape), np.complex64)


def _amplitude(channel: np.ndarray, first: int, count: Any) -> np.ndarray:
    """Root of the mean power over the axes from ``first`` on, of which ``count`` entries are real ones."""
    power = channel.real.astype(np.float64) ** 2 + channel.imag.astype(np.float64) ** 2
    gain: np.ndarray = np.sqrt(power.sum(tuple(range(first, power.ndim))) / count)
    return gain
