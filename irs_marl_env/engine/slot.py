"""One slot of physics as the equations say it: bids -> owners -> beams and phases -> rates.

Plain arrays, numpy and torch alike: this is the definition of the model (docs/model.md, "One slot").
"""

from __future__ import annotations

from typing import Any, cast

from irs_marl_env.arrays import constant_like, limit, namespace, one_or_each
from irs_marl_env.engine.state import State, Switching
from irs_marl_env.physics import association, radio
from irs_marl_env.physics.channel import Channels, Gains, element_energy
from irs_marl_env.scenario import Scenario
from irs_marl_env.solvers.decoder import decode_structured
from irs_marl_env.spaces.actions import ACTIONS
from irs_marl_env.streams import Streams

Array = Any


def one_slot_less(idle: Array) -> Array:
    """Idle slots that are left after one of them."""
    xp = namespace(idle)
    return xp.where(idle > 0, idle - 1, idle)


def root_of(share: Array) -> Array:
    """The amplitude that belongs to a share of the power, with a finite gradient at 0."""
    xp = namespace(share)
    positive = share > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, share, xp.ones_like(share))), xp.zeros_like(share))


class Slot:
    """What happens in a slot, given the state before it and the actions.

    Args:
        scenario: the scenario.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.action_codec = ACTIONS[scenario.action](scenario)
        rule = scenario.contention
        self._by_auction = isinstance(rule, str) and rule in association.HIGHEST_BID_WINS
        begins_idle = scenario.association_delay == 1 and scenario.initial_owner == "none"
        self._may_idle = begins_idle or not self._by_auction or scenario.switching_slots > 0
        self.hand_over = self._switch if scenario.switching_slots else self._at_once
        self._element_amplitude = scenario.element_amplitude
        self._power_control = scenario.power_control and scenario.action == "structured"
        self._max_power = one_or_each(scenario.tx_powers_w)  # of all BSs, or (M,)

    def finite(self, action: Array) -> bool:
        """Whether all entries of an action, float32, are finite."""
        xp = namespace(action)
        return bool(xp.all(xp.isfinite(action)))

    # --- who owns what -----------------------------------------------------------------------------------------

    def auction(self, action: Array, streams: Streams) -> tuple[Array, Array]:
        """Bids ``(E, M, L)`` of actions, and the owners ``(E, L)`` they decide."""
        bids = limit(self.action_codec.layout.take(action, "bids"), -1.0, 1.0)
        return bids, self._decide(bids, streams)

    def _decide(self, bids: Array, streams: Streams) -> Array:
        s, rule = self.scenario, cast(Any, self.scenario.contention)  # a name, or a rule of one's own

        def tie_break(tied: Array) -> Array:
            # only environments with a tie draw, so that rows stay independent
            return streams.uniform_where(tied, "association", s.num_bs, s.num_irs)

        return association.assign(bids, rule, tie_break)

    def _at_once(self, state: State, decided: Array) -> tuple[Array, None]:
        return decided, None

    def _switch(self, state: State, decided: Array) -> tuple[Array, Switching]:
        """The owners ``(E, L)`` that a decision makes where a change of hands takes time, and who holds what now."""
        assert state.switching is not None
        holder, idle = state.switching
        delayed = self.scenario.association_delay == 1
        if delayed:  # the decision is for the next slot: this one is over
            idle = one_slot_less(idle)
        holder, idle, owner = association.switch(holder, idle, decided, self.scenario.switching_slots)
        return owner, Switching(holder, idle if delayed else one_slot_less(idle))

    def begin_held(self, owner: Array) -> Switching | None:
        """Who holds what where an episode begins: the first owners, without waiting."""
        return Switching(owner, namespace(owner).zeros_like(owner)) if self.scenario.switching_slots else None

    def held(self, owner: Array) -> Array:
        """``(E, M, L)`` float32, 1 where BS m owns IRS l."""
        return association.held(owner, self.scenario.num_bs)

    def reach(self, state: State, owner: Array) -> Array:
        """``(E, L, K)`` bool, true where IRS l serves user k for its owner."""
        if self.scenario.reflection == "single":
            return namespace(owner).matrix_transpose(radio.served(self._user_irs(state, owner), state.cell))
        return owner[:, :, None] == state.cell[:, None, :]

    def owned_gains(self, gains: Gains, own_user: Array, owner: Array, cell: Array) -> Gains:
        """The gains of links that some BS can use, zero for all others."""
        xp = namespace(owner)
        reach = xp.astype(owner[:, :, None] == cell[:, None, :], xp.float32)
        return Gains(gains.direct * own_user, gains.bs_irs * self.held(owner), gains.irs_user * reach)

    # --- what it brings ----------------------------------------------------------------------------------------

    def rates(self, state: State, action: Array, owner: Array) -> tuple[Array, Array, Array]:
        """Rates ``(E, K)``, their sums ``(E, M)`` by BS and radiated powers ``(E, M)``, given the owners."""
        w, power, phi = self.transmission(state, self.decode(action), owner)
        rates = self._rates(state, w, phi, owner)
        return rates, namespace(rates).vecdot(rates[:, None, :], state.own_user), power

    def shares(self, state: State, action: Array, owner: Array) -> Array:
        """Shares ``(E, L, K)`` of each user's signal that come over each IRS; see ``View.shares_if``."""
        xp, (H, G, h), cell = namespace(owner), state.channels, state.cell
        w, _, phi = self.transmission(state, self.decode(action), owner)
        reflected = radio.reflected_products(G, h, phi, self._user_irs(state, owner), w, cell)
        direct = xp.sum(radio.served(H, cell) * radio.served(w, cell), axis=-1)
        total = direct + xp.sum(reflected, axis=1)
        power = radio.abs2(total)
        there = power > 0
        shares = (reflected * xp.conj(total)[:, None]).real / xp.where(there, power, xp.ones_like(power))[:, None]
        return xp.where(there[:, None], shares, xp.zeros_like(shares))

    def decode(self, action: Array) -> dict[str, Array]:
        """Named arrays of actions; entries beyond [-1, 1] count as the nearer limit."""
        return self.action_codec.decode(limit(action, -1.0, 1.0))

    def transmission(self, state: State, named: dict[str, Array], owner: Array) -> tuple[Array, Array, Array]:
        """Feasible beamformers ``(E, M, K, Nb)``, powers ``(E, M)`` and phases ``(E, L, N)``, given the owners."""
        s, xp = self.scenario, namespace(owner)
        if s.action == "raw":
            w, theta = named["w"], association.of_owner(named["theta"], owner)
        else:
            w, phi = self._beams_and_phases(state, named, owner)
            theta = xp.atan2(phi.imag, phi.real)
        if self._may_idle:  # nobody drives an idle IRS: all its elements at phase 0
            theta = xp.where((owner == association.IDLE)[..., None], 0.0, theta)
        w = w * state.own_user[..., None]
        power = radio.transmit_power(w)
        limit_w = self._max_power if isinstance(self._max_power, float) else constant_like(self._max_power, power)
        factor = radio.power_factor(power, limit_w, s.power)
        if self._power_control:
            factor = factor * root_of(named["total_power"])
        return w * factor[..., None, None], power * factor * factor, self._coefficients(theta)

    def _coefficients(self, theta: Array) -> Array:
        """What elements do to a wave, given their phases."""
        return radio.phase_shifts(theta, self.scenario.phase_bits, self._element_amplitude)

    def _beams_and_phases(self, state: State, named: dict[str, Array], owner: Array) -> tuple[Array, Array]:
        """Beamformers ``(E, M, K, Nb)`` and phases ``(E, L, N)`` of structured actions.

        Every BS decodes on what it knows: its own users, the IRSs it holds in this slot.
        """
        s, xp = self.scenario, namespace(owner)
        usable = xp.astype(self._user_irs(state, owner), xp.float32) * self.held(owner)[:, :, None, :]
        if s.csi == "owned":  # CSI was measured before the bids of this slot
            usable = usable * self.held(state.holder)[:, :, None, :]
        csi = self.at_share(state.csi, named) if self._power_control else state.csi
        h = csi.h[:, None] * xp.matrix_transpose(usable)[..., None]
        H = csi.H * state.own_user[..., None]
        link = self._max_power, s.noise_power_w, s.sweeps
        lossy = None if self._element_amplitude is None else self._coefficients
        w, phi = decode_structured(named, H, csi.G, h, *link, lossy)
        return w, association.of_owner(phi, owner)

    def at_share(self, csi: Channels, named: dict[str, Array]) -> Channels:
        """Channels over which Pmax brings what the BS's share of it brings over those that are there.

        So beams are made for the power that is radiated, and a share of 0 asks for nothing that divides by it.
        """
        root = root_of(named["total_power"])  # (E, M)
        return Channels(csi.H * root[..., None, None], csi.G * root[..., None, None, None], csi.h)

    def _rates(self, state: State, w: Array, phi: Array, owner: Array) -> Array:
        s = self.scenario
        H, G, h = state.channels
        cell, cross = state.cell, None
        if s.inter_cell_interference:
            cross = radio.cross_channel(H, G, h, phi, self._user_irs(state, owner), cell)
            h_eff = radio.served(cross, cell)
        elif s.reflection == "all":
            h_eff = radio.effective_channel(H, G, h, phi, self._user_irs(state, owner), cell)
        else:
            h_eff = self._owned_channel(state, owner, phi)
        direct = None if s.sinr == "physical" else radio.served(H, cell)
        return radio.rates(radio.sinr(h_eff, w, cell, s.noise_power_w, mode=s.sinr, h_direct=direct, h_cross=cross))

    def _owned_channel(self, state: State, owner: Array, phi: Array) -> Array:
        """The effective channel where an IRS serves its owner's users alone: 1/M of the work of the general one."""
        H, G, h = state.channels
        xp = namespace(owner)
        reach = xp.astype(self.reach(state, owner), xp.float32)[..., None]
        return radio.cell_channel(radio.served(H, state.cell), association.of_owner(G, owner), h * reach, phi)

    def _user_irs(self, state: State, owner: Array) -> Array:
        s = self.scenario
        strength = element_energy(state.csi.G, state.csi.h) if s.reflection == "single" else None
        return association.user_irs(owner, state.cell, s.num_bs, s.reflection, strength)
