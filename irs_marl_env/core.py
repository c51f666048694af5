"""The environment as functions on a batch of states; the only place that orders a step.

One step, with ``association_delay=0``: bids -> owners -> decode and project w, Phi -> rates of slot t on the channels
that were observed -> reward and info -> users move -> path loss -> fading -> observation. With delay 1 the bids of slot
t decide the owners of slot t + 1, and w, Phi act on the owners decided before.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env import association, decoder, link
from irs_marl_env.buffers import SMALL, Pool
from irs_marl_env.channel import ChannelModel, Channels, Gains, element_energy
from irs_marl_env.codec import ACTION_CODECS, CSI_LIMIT, OBSERVATION_CODECS, CsiObservationCodec, StateCodec, log_gain
from irs_marl_env.geometry import MOBILITY, Motion, load_trace, street
from irs_marl_env.scenario import Scenario
from irs_marl_env.streams import Streams, load_kernels

Array = Any
LARGE_SYSTEM = 64  # users and antennas


class State(NamedTuple):
    """A batch of environments between two steps. Never written in place: a step makes a new one."""

    slot: np.ndarray  # (E,) slots done in the episode; on the host, since nothing random enters
    motion: Motion  # of users; "position" (E, K, 2) m
    cell: Array  # (E, K) serving BS
    own_user: Array  # (E, M, K) float32, 1 where BS m serves user k
    gains: Gains  # amplitude gains
    scattered: dict[str, Array]  # small-scale fading by link
    channels: Channels  # the true ones, which decide the reward
    csi: Channels  # what the BSs know; the same object when CSI is perfect
    owner: Array  # (E, L) decided last, -1 for none
    bids: Array  # (E, M, L) of the last slot


class Outcome(NamedTuple):
    """What a slot brought; rates and powers as physics has them, before any shaping of the reward."""

    reward: Array  # (E, M) float32
    rates: Array  # (E, K) bit/s/Hz of every user, served by cell[k]
    sum_rate: Array  # (E, M) bit/s/Hz of each BS's users
    power_w: Array  # (E, M) radiated
    owner: Array  # (E, L) the owners in this slot
    cell: Array  # (E, K) the cells in this slot
    own_user: Array  # (E, M, K) float32, the same as a mask


class Core:
    """The dynamics of E environments of one scenario.

    Args:
        scenario: the scenario.
        xp: array namespace (``numpy``, or ``array_api_compat.torch``).
        device: where the arrays live.
        fast: use the compiled kernels (extra ``fast``); ``None``: where they are installed.
        read_only: CSI observations of numpy are read-only arrays, of which the kernels write only what changed.

    Raises:
        ImportError: ``fast=True`` without numba.
        ValueError: ``fast=True`` with another namespace than numpy.
    """

    def __init__(
        self,
        scenario: Scenario,
        xp: Any = np,
        device: Any = None,
        fast: bool | None = None,
        read_only: bool = False,
    ) -> None:
        self.scenario, self.xp, self.device, self.read_only = scenario, xp, device, read_only
        self._pool = Pool()
        self._masks: dict[int, Any] = {}
        self.fast = _use_kernels(xp, fast)
        self._kernels = load_kernels(self.fast)
        self.model = ChannelModel(scenario, xp, device, self.fast)
        self.action_codec = ACTION_CODECS[scenario.action](scenario)
        self.observation_codec = OBSERVATION_CODECS[scenario.observation](scenario)
        self.state_codec = StateCodec(scenario, xp, device)
        codec = self.observation_codec
        self._bounds = self._const(codec.low, np.float32), self._const(codec.high, np.float32)
        self._mobility = MOBILITY[scenario.mobility]
        self._street = street(scenario, xp, device, self.fast)
        self._trace = load_trace(scenario)
        delayed_none = scenario.association_delay == 1 and scenario.initial_owner == "none"
        # with these options no BS can use or see a channel of an IRS it does not own, so those need not exist
        self._owned_only = (
            scenario.association_delay == 1
            and scenario.csi == "owned"
            and scenario.reflection != "all"
            and not scenario.inter_cell_interference
        )
        self._may_idle = scenario.contention != "auction" or delayed_none
        s = scenario
        # a single cell with systems of this size: BLAS is quicker (measured, docs/performance.md)
        self._compiled_decoder = self.fast and not (s.num_bs == 1 and min(s.num_users, s.num_antennas) >= LARGE_SYSTEM)
        plain = (s.reflection, s.sinr, s.phase_bits, s.inter_cell_interference) == ("owned", "physical", None, False)
        # the decoder knows the rates as well, where CSI is the truth about all owned IRSs
        truth = s.csi_error_variance == 0 and (s.csi == "all" or s.association_delay == 1)
        self._compiled_slot = plain and (self.fast if s.action == "raw" else self._compiled_decoder and truth)
        self._elements = np.array(scenario.elements, np.int64)
        self._limits = np.float32(s.tx_power_w), s.power == "sphere", np.float32(s.noise_power_w)
        if isinstance(self.observation_codec, CsiObservationCodec):
            rho = ("none", "owner", "bids").index(scenario.rho)
            self._written_as = rho, self.observation_codec.factors, np.float32(CSI_LIMIT)
        self._stations = self._const(np.arange(scenario.num_bs)[:, None], np.int64)  # (M, 1)
        self._irs_index = self._const(np.arange(scenario.num_irs), np.int64)
        others = [[j for j in range(scenario.num_bs) if j != m] for m in range(scenario.num_bs)]
        self._others = self._const(np.array(others).reshape(scenario.num_bs, scenario.num_bs - 1), np.int64)

    def __getstate__(self) -> dict[str, Any]:
        setting = {"device": self.device, "fast": self.fast, "read_only": self.read_only}
        return {"scenario": self.scenario, "xp": self.xp.__name__, **setting}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**{**state, "xp": importlib.import_module(state["xp"])})  # type: ignore[misc]

    def _const(self, values: np.ndarray, dtype: Any) -> Array:
        values = np.asarray(values, dtype=dtype)
        return values if self.xp is np else self.xp.asarray(values, device=self.device)

    def finite(self, action: Array) -> bool:
        """Whether all entries of an action, float32, are finite."""
        return self._kernels.finite(action) if self.fast else bool(self.xp.all(self.xp.isfinite(action)))

    # --- transitions -------------------------------------------------------------------------------------------

    def reset(self, streams: Streams, positions: np.ndarray | None = None) -> State:
        """Begin an episode in every environment.

        Args:
            streams: the environments' generators, advanced.
            positions: validated initial positions ``(K, 2)`` or a trace ``(slots, K, 2)`` for all environments;
                ``None`` follows the scenario.
        """
        s, xp = self.scenario, self.xp
        motion = self._mobility.start(self._street, streams, self._initial_positions(streams.num_envs, positions))
        shape = (streams.num_envs, s.num_irs)
        owner = self._const(np.full(shape, -1), np.int64)
        if s.initial_owner == "random":  # "the association matrix A [is] randomly initialized" (Alg. 1)
            everyone = self._const(np.ones(streams.num_envs), bool)
            chance = streams.uniform_where(everyone, "association", s.num_irs)
            owner = xp.astype(chance * s.num_bs, xp.int64)
        bids = self._const(np.zeros((streams.num_envs, s.num_bs, s.num_irs)), np.float32)
        return self._enter(None, motion, self.model.start(streams), owner, bids, streams)

    def step(self, state: State, action: Array, streams: Streams) -> tuple[State, Outcome]:
        """One slot.

        Args:
            state: unchanged.
            action: ``(E, M, D_a)`` finite; entries beyond [-1, 1] count as the nearer limit.
            streams: the environments' generators, advanced.

        Returns:
            The state after the slot and what the slot brought.
        """
        s, xp = self.scenario, self.xp
        named = None
        if self._compiled_slot:
            bids, decided = self._auction(action, streams)
        else:
            named = self.action_codec.decode(link.limit(action, -1.0, 1.0))
            bids = named["bids"]
            decided = self._assign(bids, streams)
        owner = decided if s.association_delay == 0 else state.owner
        if named is None:
            rates, sum_rate, power_w = self._slot(state, action, owner)
        else:
            w, power_w, phi = self._transmission(state, named, owner)
            rates = self._rates(state, w, phi, owner)
            sum_rate = xp.vecdot(rates[:, None, :], state.own_user)
        outcome = Outcome(self._reward(sum_rate, bids), rates, sum_rate, power_w, owner, state.cell, state.own_user)
        motion = self._mobility.advance(self._street, state.motion, streams)
        scattered = self.model.evolve(state.scattered, streams)
        if xp is not np:
            bids = bids.detach()  # gradients end with the slot
        return self._enter(state, motion, scattered, decided, bids, streams), outcome

    def _assign(self, bids: Array, streams: Streams) -> Array:
        return association.assign(bids, self.scenario.contention, lambda tied: self._tie_break(tied, streams))

    def _enter(
        self,
        last: State | None,
        motion: Motion,
        scattered: dict[str, Array],
        owner: Array,
        bids: Array,
        streams: Streams,
    ) -> State:
        cell, own_user, gains = self.model.large_scale(motion["position"])
        used, G = gains, None
        if self._owned_only:
            used = self._owned_gains(gains, own_user, owner, cell)
        elif last is not None:
            G = last.channels.G
        channels = self.model.channels(used, scattered, motion["position"], streams, G)
        csi = self.model.estimate(channels, used, streams)
        slot = np.zeros(streams.num_envs, np.int64) if last is None else last.slot + 1
        return State(slot, motion, cell, own_user, gains, scattered, channels, csi, owner, bids)

    def replace_rows(self, state: State, rows: np.ndarray, fresh: State) -> State:
        """The state with some environments replaced by those of another, as new arrays.

        Args:
            state: of E environments.
            rows: which, ``(n,)``.
            fresh: of n environments.
        """
        at = self._const(rows, np.int64)

        def replaced(old: Any, new: Any) -> Any:
            if isinstance(old, dict):
                return {name: replaced(value, new[name]) for name, value in old.items()}
            if isinstance(old, tuple):
                return type(old)(*map(replaced, old, new))
            if isinstance(old, np.ndarray):
                if old.strides[0] == 0:  # frozen: one for all environments
                    return old
                out = old.copy()
                out[rows] = new
                return out
            if old.stride(0) == 0:
                return old
            return old.index_copy(0, at, new)

        merged = replaced(state, fresh)
        return merged._replace(csi=merged.channels) if state.csi is state.channels else merged

    def _owned_gains(self, gains: Gains, own_user: Array, owner: Array, cell: Array) -> Gains:
        """The gains of links that some BS can use, zero for all others."""
        if self.fast:
            owned = Gains(*(np.empty(gain.shape, np.float32) for gain in gains))
            self._kernels.owned_gains(*gains, owner, cell, *owned)
            return owned
        reach = self.xp.astype(owner[:, :, None] == cell[:, None, :], self.xp.float32)
        return Gains(gains.direct * own_user, gains.bs_irs * self._held(owner), gains.irs_user * reach)

    def _initial_positions(self, num_envs: int, positions: np.ndarray | None) -> Array | None:
        s, xp = self.scenario, self.xp
        if positions is None:
            positions = self._trace
        if positions is None and s.layout == "frozen" and s.mobility != "trace":
            frozen = self._mobility.start(self._street, Streams.frozen(s.frozen_seed, xp, self.device), None)[
                "position"
            ]
            return xp.broadcast_to(frozen, (num_envs, *frozen.shape[1:]))
        if positions is None:
            return None
        return xp.broadcast_to(self._const(positions, np.float64), (num_envs, *positions.shape))

    def _tie_break(self, tied: Array, streams: Streams) -> Array:
        """Keys ``(E, M, L)`` for tied auctions; only environments with a tie draw, so that rows stay independent."""
        return streams.uniform_where(tied, "association", self.scenario.num_bs, self.scenario.num_irs)

    # --- one slot of physics, compiled ---------------------------------------------------------------------------

    def _auction(self, action: Array, streams: Streams) -> tuple[Array, Array]:
        """Bids ``(E, M, L)`` of actions, and what :meth:`_assign` makes of them."""
        s = self.scenario
        bids = np.empty((len(action), s.num_bs, s.num_irs), np.float32)
        owner = np.empty((len(action), s.num_irs), np.int64)
        tied = self._kernels.auction(action, self.action_codec.layout.slices["bids"].start, bids, owner)
        if tied or s.contention != "auction":
            owner = self._assign(bids, streams)
        return bids, owner

    def _slot(self, state: State, action: Array, owner: Array) -> tuple[Array, ...]:
        """Rates ``(E, K)``, their sums ``(E, M)`` and powers ``(E, M)``: :meth:`_transmission` and :meth:`_rates`."""
        if self.scenario.action == "structured":
            return self._structured_slot(state, self.action_codec.decode(link.limit(action, -1.0, 1.0)), owner)[2:]
        results = self._slot_results(len(action))
        self._kernels.raw_slot(action, *state.channels, owner, state.cell, self._elements, *self._limits, *results)
        return results

    def _structured_slot(self, state: State, named: dict[str, Array], owner: Array) -> tuple[Array, ...]:
        """:meth:`_decode_structured`, and the results of :meth:`_slot` as the BSs expect them."""
        s = self.scenario
        if s.reflection == "single":
            reach = self._reach(state, owner)[..., 0] != 0
        else:
            reach = owner[:, :, None] == state.cell[:, None, :]
        if s.csi == "owned":
            reach &= (state.owner == owner)[..., None]
        w = np.zeros(state.csi.H.shape, np.complex64)
        phi = np.ones((*owner.shape, s.max_elements), np.complex64)
        results = w, phi, *self._slot_results(len(owner))
        weights = named["focus"], named["powers"], named["regularizer"]
        cells = *state.csi, owner, state.cell, reach, self._elements
        self._kernels.structured_slot(*weights, *cells, s.tx_power_w, s.noise_power_w, s.sweeps, *results)
        return results

    def _slot_results(self, num_envs: int) -> tuple[Array, ...]:
        s = self.scenario
        shapes = (s.num_users, s.num_bs, s.num_bs)
        return tuple(np.empty((num_envs, size), np.float32) for size in shapes)

    # --- one slot of physics -------------------------------------------------------------------------------------

    def _held(self, owner: Array) -> Array:
        """``(E, M, L)`` float32, 1 where BS m owns IRS l."""
        return self.xp.astype(owner[:, None, :] == self._stations, self.xp.float32)

    def _of_owner(self, x: Array, owner: Array) -> Array:
        """``(E, M, L, ...)`` to ``(E, L, ...)``: each IRS's entry of its owner (some BS's where there is none)."""
        rows = link.row_index(owner)
        return x[rows, owner, self._irs_index]  # -1 takes the last BS's

    def _user_irs(self, state: State, owner: Array) -> Array:
        s = self.scenario
        strength = element_energy(state.csi.G, state.csi.h) if s.reflection == "single" else None
        return association.user_irs(owner, state.cell, s.num_bs, s.reflection, strength)

    def _transmission(self, state: State, named: dict[str, Array], owner: Array) -> tuple[Array, Array, Array]:
        """Feasible beamformers ``(E, M, K, Nb)``, powers ``(E, M)`` and phases ``(E, L, N)``, given the owners."""
        s, xp = self.scenario, self.xp
        if s.action == "raw":
            w, theta = named["w"], self._of_owner(named["theta"], owner)
        else:
            if self._compiled_decoder:
                w, phi = self._structured_slot(state, named, owner)[:2]
            else:
                w, phi = self._decode_structured(state, named, owner)
            theta = xp.atan2(phi.imag, phi.real)
        if self._may_idle:  # nobody drives an idle IRS: all its elements at phase 0
            theta = xp.where((owner < 0)[..., None], 0.0, theta)
        w = w * state.own_user[..., None]
        power = link.transmit_power(w)
        factor = link.power_factor(power, s.tx_power_w, s.power)
        return w * factor[..., None, None], power * factor * factor, link.phase_shifts(theta, s.phase_bits)

    def _decode_structured(self, state: State, named: dict[str, Array], owner: Array) -> tuple[Array, Array]:
        """Beamformers ``(E, M, K, Nb)`` and phases ``(E, L, N)`` of structured actions.

        Every BS decodes on what it knows: its own users, the IRSs it holds in this slot.
        """
        s, xp = self.scenario, self.xp
        usable = xp.astype(self._user_irs(state, owner), xp.float32) * self._held(owner)[:, :, None, :]
        if s.csi == "owned":  # CSI was measured before the bids of this slot
            usable = usable * self._held(state.owner)[:, :, None, :]
        h = state.csi.h[:, None] * xp.matrix_transpose(usable)[..., None]
        H = state.csi.H * state.own_user[..., None]
        w, phi = decoder.decode_structured(named, H, state.csi.G, h, s.tx_power_w, s.noise_power_w, s.sweeps)
        return w, self._of_owner(phi, owner)

    def _rates(self, state: State, w: Array, phi: Array, owner: Array) -> Array:
        s = self.scenario
        H, G, h = state.channels
        cell, cross = state.cell, None
        if s.inter_cell_interference:
            cross = link.cross_channel(H, G, h, phi, self._user_irs(state, owner), cell)
            h_eff = link.served(cross, cell)
        elif s.reflection == "all":
            h_eff = link.effective_channel(H, G, h, phi, self._user_irs(state, owner), cell)
        else:  # an IRS serves its owner's users alone: the owners' channels are enough, 1/M of the work
            h_eff = self._owned_channel(state, owner, phi)
        direct = None if s.sinr == "physical" else link.served(H, cell)
        return link.rates(link.sinr(h_eff, w, cell, s.noise_power_w, mode=s.sinr, h_direct=direct, h_cross=cross))

    def _owned_channel(self, state: State, owner: Array, phi: Array) -> Array:
        H, G, h = state.channels
        if self.fast and self.scenario.reflection == "owned":
            out = np.empty((len(H), *H.shape[2:]), np.complex64)
            self._kernels.owned_channel(H, G, h, phi, owner, state.cell, out)
            return out
        reach = self._reach(state, owner)
        return link.cell_channel(link.served(H, state.cell), self._of_owner(G, owner), h * reach, phi)

    def _reach(self, state: State, owner: Array) -> Array:
        """``(E, L, K, 1)`` float32, 1 where IRS l serves user k."""
        if self.scenario.reflection == "single":
            user_irs = link.served(self._user_irs(state, owner), state.cell)
            reach = self.xp.matrix_transpose(user_irs)[..., None]
        else:
            reach = owner[:, :, None, None] == state.cell[:, None, :, None]
        return self.xp.astype(reach, self.xp.float32)

    def _reward(self, sum_rate: Array, bids: Array) -> Array:
        s, xp = self.scenario, self.xp
        reward = sum_rate
        if s.reward != "local":
            weight = 1.0 if s.reward == "team" else s.team_weight
            reward = weight * xp.mean(sum_rate, axis=-1, keepdims=True) + (1.0 - weight) * sum_rate
        if s.bid_cost:
            reward = reward - s.bid_cost * xp.sum(xp.clip(bids, 0.0, None), axis=-1)
        return reward

    # --- what agents see ------------------------------------------------------------------------------------------

    def _everything(self, num_envs: int) -> tuple[Array, Array]:
        """Masks of all users ``(E, M, K)`` and all IRSs ``(E, M, L)``, made once."""
        if num_envs not in self._masks:
            s = self.scenario
            sizes = (s.num_users, s.num_irs)
            self._masks[num_envs] = tuple(np.ones((num_envs, s.num_bs, size), np.float32) for size in sizes)
        return self._masks[num_envs]

    def _rho(self, state: State) -> Array:
        """Last strategies of the other BSs ``(E, M, M - 1, L)`` (the paper's rho_-m)."""
        if self.scenario.rho == "bids":
            return state.bids[:, self._others]
        held = self._held(state.owner)[:, self._others]
        return held if self.scenario.rho == "owner" else self.xp.zeros_like(held)

    def _log_gains(self, gains: Gains) -> tuple[Array, Array]:
        """Log path gains of users to all BSs: direct ``(E, M, K)``, and over each IRS, both legs, ``(E, M, L, K)``."""
        scale = self.state_codec.scale
        over_irs = gains.bs_irs[..., None] * gains.irs_user[:, None]
        return log_gain(gains.direct, scale.direct), log_gain(over_irs, scale.bs_irs * scale.irs_user)

    def observe(self, state: State) -> Array:
        """Observations of all BSs ``(E, M, D_o)`` float32, a fresh array inside the bounds."""
        xp, own_user = self.xp, state.own_user
        if isinstance(self.observation_codec, CsiObservationCodec):
            shape = (*own_user.shape[:2], self.observation_codec.size)
            everything = self.scenario.csi == "all"
            if self.fast and not self.observation_codec.padded:
                return self._observe_compiled(state, shape)
            if xp is np and math.prod(shape) > SMALL:
                out = self._pool.take(shape, lambda: None).array.view()
            else:
                out = xp.empty(shape, dtype=xp.float32, device=self.device)
            held = None if everything else self._held(state.owner)
            self.observation_codec.write(out, state.csi, own_user, held, self._rho(state))
            if xp is np:
                out.flags.writeable = not self.read_only
            return out
        direct, over_irs = self._log_gains(state.gains)
        named = {
            "own_user": own_user,
            "direct_gain": direct * own_user,
            "irs_gain": over_irs * own_user[:, :, None, :],
            "held": self._held(state.owner),
            "rho": self._rho(state),
        }
        return xp.clip(self.observation_codec.encode(named), *self._bounds)

    def _observe_compiled(self, state: State, shape: tuple[int, ...]) -> Array:
        """CSI observations by the kernel; large ones in memory that nobody refers to any more."""
        own, before = state.own_user, self._everything(shape[0])
        held = before[1] if self.scenario.csi == "all" else self._held(state.owner)
        if math.prod(shape) <= SMALL:
            out = np.empty(shape, np.float32)
        else:
            buffer = self._pool.take(shape, lambda: (np.zeros_like(own), np.zeros_like(held)))
            out = buffer.array
            if self.read_only:  # a writable one may hold anything by now
                before = buffer.holds
            buffer.holds = own, held
        self._kernels.write_csi(out, *state.csi, own, held, *before, state.owner, state.bids, *self._written_as)
        view = out.view()  # never the buffer's own array
        view.flags.writeable = not self.read_only
        return view

    def global_state(self, state: State) -> Array:
        """Global state ``(E, D_s)`` float32 of :class:`irs_marl_env.codec.StateCodec`."""
        known: dict[str, Any] = {"csi": state.csi}
        if self.scenario.observation != "csi":
            known["direct_gain"], known["irs_gain"] = self._log_gains(state.gains)
            del known["csi"]
        own_user, held = state.own_user, self._held(state.owner)
        return self.state_codec.encode(known, state.motion["position"], own_user, held)


def _use_kernels(xp: Any, fast: bool | None) -> bool:
    installed = importlib.util.find_spec("numba") is not None
    if fast and xp is not np:
        raise ValueError("fast=True: the compiled kernels work on numpy arrays alone; must be None or False here")
    if fast and not installed:
        raise ImportError("fast=True needs numba: pip install 'irs-marl-env[fast]'")
    return xp is np and installed and fast is not False
