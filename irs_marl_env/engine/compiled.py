"""The parts of a step with kernels (extra ``fast``), by the names that :mod:`irs_marl_env.engine.core` asks for.

Each part is the plain one with some methods overridden by a kernel that computes the same. This module alone imports
kernels, and it alone knows for which options each of them holds: for all others the plain method is called. The tests
hold every kernel to what it overrides.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irs_marl_env import philox, streams
from irs_marl_env.arrays import writable
from irs_marl_env.engine import kernels, observe, set_rates, slot
from irs_marl_env.engine.buffers import SMALL, Pool
from irs_marl_env.engine.plain import observer as plain_observer
from irs_marl_env.engine.state import State
from irs_marl_env.physics import channel, models
from irs_marl_env.physics.channel import Gains, element_energy
from irs_marl_env.physics.mobility import MOBILITY, Mobility, MobilityConstants, Motion
from irs_marl_env.physics.radio import served
from irs_marl_env.scenario import Scenario
from irs_marl_env.spaces.layout import CSI_LIMIT
from irs_marl_env.spaces.observations import CsiObservationCodec
from irs_marl_env.spaces.optional_blocks import optional_shapes

__all__ = ["ChannelModel", "SetRates", "Slot", "Streams", "channel_model", "mobility_model", "observer"]

Array = Any
LARGE_SYSTEM = 64  # users and antennas from which BLAS solves a single cell quicker (docs/performance.md)


def for_kernel(x: np.ndarray) -> np.ndarray:
    """``x``, copied where it is not one block of memory that may be written into.

    Numba takes such an array for another type: it would compile the kernel again, in the middle of a run.
    """
    return writable(np.ascontiguousarray(x))


# --- a slot ---------------------------------------------------------------------------------------------------------


def _decodes(s: Scenario) -> bool:
    """Whether the kernel decodes structured actions: with ideal elements, unless BLAS is quicker."""
    large = s.num_bs == 1 and min(s.num_users, s.max_antennas) >= LARGE_SYSTEM
    return s.element_amplitude is None and not large


class Slot(slot.Slot):
    """Owners and rates by kernels."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        s = scenario
        ideal = s.element_amplitude is None
        self.decodes = _decodes(s)
        default = (s.reflection, s.sinr, s.phase_bits, s.inter_cell_interference)
        default_link = ideal and default == ("owned", "physical", None, False)
        # the decoder of structured actions knows the rates as well, where CSI is the truth about all owned IRSs
        truth_known = s.csi_error_variance == 0 and (s.csi == "all" or s.association_delay == 1)
        self.whole_slot = default_link and (s.action == "raw" or (self.decodes and truth_known))
        self._elements, self._antennas = np.array(s.elements, np.int64), np.array(s.antennas, np.int64)
        self._powers = np.array(s.tx_powers_w)
        self._limits = self._powers.astype(np.float32), s.power == "sphere", np.float32(s.noise_power_w)

    def finite(self, action: Array) -> bool:
        return kernels.finite(action)

    def auction(self, action: Array, streams: streams.Streams) -> tuple[Array, Array]:
        if not self._by_auction:
            return super().auction(action, streams)
        s = self.scenario
        bids = np.empty((len(action), s.num_bs, s.num_irs), np.float32)
        owner = np.empty((len(action), s.num_irs), np.int64)
        stream = streams.keys["association"], streams.index["association"]
        kernels.auction(action, self.action_codec.layout.slices["bids"].start, *stream, bids, owner)
        return bids, owner

    def owned_gains(self, gains: Gains, own_user: Array, owner: Array, cell: Array) -> Gains:
        owned = Gains(*(np.empty(gain.shape, np.float32) for gain in gains))
        kernels.owned_gains(*map(for_kernel, gains), owner, cell, *owned)
        return owned

    def rates(self, state: State, action: Array, owner: Array) -> tuple[Array, Array, Array]:
        if not self.whole_slot:
            return super().rates(state, action, owner)
        if self.scenario.action == "structured":
            return self._structured(state, self.decode(action), owner)[2:]
        results = self._empty_results(len(action))
        sizes = self._elements, self._antennas
        kernels.raw_slot(action, *state.channels, owner, state.cell, *sizes, *self._limits, *results)
        return results

    def _beams_and_phases(self, state: State, named: dict[str, Array], owner: Array) -> tuple[Array, Array]:
        if not self.decodes:
            return super()._beams_and_phases(state, named, owner)
        return self._structured(state, named, owner)[:2]

    def _structured(self, state: State, named: dict[str, Array], owner: Array) -> tuple[Any, ...]:
        """Beams and phases, and what the BSs expect of them: rates, their sums and powers."""
        s = self.scenario
        reach = self.reach(state, owner)
        if s.csi == "owned":
            reach = reach & (state.holder == owner)[..., None]
        w = np.zeros(state.csi.H.shape, np.complex64)
        phi = np.ones((*owner.shape, s.max_elements), np.complex64)
        results = w, phi, *self._empty_results(len(owner))
        weights = named["focus"], named["powers"], named["regularizer"]
        csi = self.at_share(state.csi, named) if self._power_control else state.csi
        cells = *csi, owner, state.cell, for_kernel(reach), self._elements
        kernels.structured_slot(*weights, *cells, self._powers, s.noise_power_w, s.sweeps, *results)
        if self._power_control:  # the kernel takes the beams, which are those of Pmax, for what is radiated
            results[-1][...] *= named["total_power"]
        return results

    def _empty_results(self, num_envs: int) -> tuple[Array, Array, Array]:
        """Memory for rates ``(E, K)``, their sums ``(E, M)`` and powers ``(E, M)``."""
        s = self.scenario
        rates, sum_rate, power = (np.empty((num_envs, n), np.float32) for n in (s.num_users, s.num_bs, s.num_bs))
        return rates, sum_rate, power

    def _owned_channel(self, state: State, owner: Array, phi: Array) -> Array:
        if self.scenario.reflection != "owned":
            return super()._owned_channel(state, owner, phi)
        H, G, h = state.channels
        out = np.empty((len(H), *H.shape[2:]), np.complex64)
        kernels.owned_channel(H, G, h, phi, owner, state.cell, out)
        return out


class SetRates(set_rates.SetRates):
    """Own rates of sets of IRSs by the kernel of the decoder."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self.covered = _decodes(scenario) and scenario.phase_bits is None and scenario.sinr == "physical"
        self._sizes = np.array(scenario.elements, np.int64), np.array(scenario.tx_powers_w)

    def _values(self, state: State, sets: np.ndarray) -> Array:
        if not self.covered:
            return super()._values(state, sets)
        s, cell = self.scenario, state.cell
        sets = np.ascontiguousarray(sets)
        reach = np.empty((len(cell), *sets.shape, s.num_users), bool)
        if s.reflection != "single" and s.csi == "all":
            reach[...] = sets[:, :, None]
        else:
            strength = element_energy(state.csi.G, state.csi.h) if s.reflection == "single" else None
            for c, members in enumerate(sets):
                reach[:, c] = served(self._served_over(state, members, strength), cell).swapaxes(1, 2)
        value = np.empty((*state.own_user.shape[:2], len(sets)), np.float32)
        kernels.set_rates(*state.csi, cell, sets, reach, *self._sizes, s.noise_power_w, s.sweeps, value)
        return value


# --- observations ---------------------------------------------------------------------------------------------------


class _CsiObserver(observe.Observer):
    """CSI observations by a kernel, which writes what has changed; large ones in memory with no outside reference."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._pool = Pool()
        self._ones: dict[int, tuple[Array, Array]] = {}
        rho = ("none", "owner", "bids").index(self.scenario.rho)
        self._written_as = rho, self.codec.factors, np.float32(CSI_LIMIT)

    def observe(self, state: State) -> Array:
        own, all_users_all_irs = state.own_user, self._all_ones_masks(len(state.own_user))
        held = all_users_all_irs[1] if self.scenario.csi == "all" else observe.Known(state, self).held
        shape, holds = (*own.shape[:2], self.codec.size), all_users_all_irs  # fresh memory may hold anything
        if math.prod(shape) <= SMALL:
            out = np.empty(shape, np.float32)
        else:
            buffer = self._pool.take(shape, lambda: (np.zeros_like(own), np.zeros_like(held)))
            out = buffer.array
            if self.read_only:  # memory that could be written into may hold anything, too
                holds = buffer.holds
            buffer.holds = own, held
        kernels.write_csi(out, *state.csi, own, held, *holds, state.owner, state.bids, *self._written_as)
        view = out.view()  # never the buffer's own array
        view.flags.writeable = not self.read_only
        return view

    def _all_ones_masks(self, num_envs: int) -> tuple[Array, Array]:
        """Masks of all users ``(E, M, K)`` and all IRSs ``(E, M, L)``, made once."""
        if num_envs not in self._ones:
            s = self.scenario
            users, irs = (np.ones((num_envs, s.num_bs, size), np.float32) for size in (s.num_users, s.num_irs))
            self._ones[num_envs] = users, irs
        return self._ones[num_envs]


def observer(scenario: Scenario, xp: Any, device: Any, read_only: bool, values: set_rates.SetRates) -> observe.Observer:
    """The observer of a scenario; the kernel writes CSI of IRSs that are all of one size."""
    plain = plain_observer(scenario, xp, device, read_only, values)
    # of CSI and rho alone, and not of a class that overrides it
    covered = type(plain.codec) is CsiObservationCodec and not plain.codec.padded and not optional_shapes(scenario)
    return _CsiObserver(scenario, xp, device, read_only, values) if covered else plain


# --- channels -------------------------------------------------------------------------------------------------------


class ChannelModel(channel.ChannelModel):
    """Cells and path loss by a kernel."""

    def __init__(self, scenario: Scenario, xp: Any, device: Any) -> None:
        super().__init__(scenario, xp, device)
        self._site = np.concatenate([self._site_x, self._site_y, self._rise2], axis=1)  # (M + L, 3)
        self._per_site = self._unit_amplitude[:, 0].copy(), self._slope[:, 0].copy()

    def _cells_and_amplitudes(self, position: Array) -> tuple[Array, Array, Array]:
        num_envs, num_users = position.shape[:2]
        cell = np.empty((num_envs, num_users), np.int64)
        own_user = np.empty((num_envs, self.scenario.num_bs, num_users), np.float32)
        amplitude = np.empty((num_envs, len(self._site), num_users), np.float32)
        kernels.large_scale(for_kernel(position), self._site, *self._per_site, cell, own_user, amplitude)
        return cell, own_user, amplitude


def channel_model(scenario: Scenario, xp: Any, device: Any = None) -> channel.ChannelModel:
    """The channel model of a scenario; the kernel knows path loss and fading."""
    if scenario.channels is None and scenario.strategy("channel_model") is channel.ChannelModel:
        return ChannelModel(scenario, xp, device)
    return models.channel_model(scenario, xp, device)


# --- walks ----------------------------------------------------------------------------------------------------------


def _walk(constants: MobilityConstants, motion: Motion, streams: streams.Streams, member: Array) -> Motion:
    """``mobility._walk``, drawing for those who arrive alone, and the users' positions around ``member`` if any."""
    s, position = constants.scenario, motion["position"]
    point, target, travel = motion["point"], motion["target"], motion["travel"]
    walked = {"point": np.empty(point.shape), "target": np.empty(point.shape), "travel": np.empty(travel.shape)}
    walked["position"] = np.empty(position.shape) if len(member) else walked["point"]
    num_centres = point.shape[1] - len(member)
    stream = streams.keys["mobility"], streams.index["mobility"]
    limits = num_centres, constants.origin, constants.area, s.group_radius_m, s.slot_s * s.speed_mps
    results = walked["point"], walked["target"], walked["travel"], member, walked["position"]
    kernels.walk(*stream, point, target, travel, *limits, *results)
    return walked


def _group_advance(constants: MobilityConstants, motion: Motion, streams: streams.Streams) -> Motion:
    return _walk(constants, motion, streams, constants.member)


def _waypoint_advance(constants: MobilityConstants, motion: Motion, streams: streams.Streams) -> Motion:
    return _walk(constants, motion, streams, constants.member[:0])


_ADVANCE = {"group": _group_advance, "random_waypoint": _waypoint_advance}


def mobility_model(scenario: Scenario) -> Mobility:
    """The mobility model of a scenario; the kernel walks by random waypoint."""
    name = scenario.mobility
    if scenario.channels is None and isinstance(name, str) and name in _ADVANCE:
        return Mobility(MOBILITY[name].start, _ADVANCE[name])
    return models.mobility_model(scenario)


# --- random numbers -------------------------------------------------------------------------------------------------

# normals by a kernel, within 2e-6; not those of "velocity": a Rician phase makes more of a rounded position
_COMPILED_CAUSES = ("direct_fading", "bs_irs_fading", "irs_user_fading", "csi_error")


class Streams(streams.Streams):
    """The same random bits; the memory of large draws is used again once nobody refers to it."""

    def _set_position(self, keys: dict[str, Array], index: dict[str, Array]) -> None:
        super()._set_position(keys, index)
        self._pools: dict[tuple[Any, ...], Pool] = {}

    def complex_normal(self, cause: str, *shape: int) -> Array:
        if cause not in _COMPILED_CAUSES:
            return super().complex_normal(cause, *shape)
        return self.scaled_normal(cause, np.ones((self.num_envs, 1), np.float32), *shape)[:, 0]

    def scaled_normal(self, cause: str, amplitude: Array, *shape: int) -> Array:
        if cause not in _COMPILED_CAUSES:
            return super().scaled_normal(cause, amplitude, *shape)
        flat = for_kernel(amplitude.reshape(self.num_envs, math.prod(amplitude.shape[1:])))
        full = (*flat.shape, 2 * math.prod(shape))
        if math.prod(full) <= SMALL:
            out, holds = np.zeros(full, np.float32), flat  # blocks of amplitude zero hold zeros already
        else:
            buffer = self._pools.setdefault((cause, full), Pool()).take(full, lambda: np.zeros_like(flat))
            out, holds = buffer.array.view(), buffer.holds
            buffer.holds = flat
        kernels.scaled_normals(self.keys[cause], self.index[cause], flat, holds, out)
        return out.view(np.complex64).reshape(*amplitude.shape, *shape)

    def _take(self, cause: str, shape: tuple[int, ...], kind: str) -> Array:
        if cause not in self.keys:
            return super()._take(cause, shape, kind)  # which says what there is
        bits = np.empty((self.num_envs, math.prod(shape)), np.uint64)
        kernels.random_bits(self.keys[cause], self.index[cause], bits)
        return philox.CONVERT[kind](bits).reshape(self.num_envs, *shape)
