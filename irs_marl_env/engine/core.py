"""The environment as functions on a batch of states; the only place that orders a step.

One step, with ``association_delay=0``: bids -> owners -> decode and project w, Phi -> rates of slot t on the channels
that were observed -> reward and info -> users move -> path loss -> fading -> observation. With delay 1 the bids of slot
t decide the owners of slot t + 1, and w, Phi act on the owners decided before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irs_marl_env import arrays, checks, rewards
from irs_marl_env.engine import plain
from irs_marl_env.engine.compilation import obstacle
from irs_marl_env.engine.state import Outcome, State, Switching
from irs_marl_env.engine.view import View
from irs_marl_env.physics import recorded
from irs_marl_env.physics.association import IDLE
from irs_marl_env.physics.mobility import Motion, check_reset_options, load_trace, mobility_constants
from irs_marl_env.scenario import Scenario
from irs_marl_env.streams import Streams

Array = Any


class Core:
    """The dynamics of E environments of one scenario.

    The parts of a step (slot, values of sets of IRSs, observer, channel model, mobility, streams) are taken once, plain
    or with kernels; the core knows no other difference between the two.

    Args:
        scenario: the scenario.
        xp: array namespace (``numpy``, or ``array_api_compat.torch``).
        device: where the arrays live.
        fast: use the compiled kernels (extra ``fast``); ``None``: where they are installed.
        read_only: observations of numpy are read-only arrays, of which the kernels write only what changed.

    Raises:
        ImportError: ``fast=True`` where kernels cannot be compiled.
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
        self._wanted, self.fast = fast, _use_kernels(xp, fast)
        parts: Any = _compiled() if self.fast else plain
        self._parts = parts
        self.slot = parts.Slot(scenario)
        self.set_rates = parts.SetRates(scenario)
        self.observer = parts.observer(scenario, xp, device, read_only, self.set_rates)
        self.model = parts.channel_model(scenario, xp, device)
        self.mobility = parts.mobility_model(scenario)
        self.reward = rewards.reward_function(scenario)
        self.action_codec, self.observation_codec = self.slot.action_codec, self.observer.codec
        self.state_encoder = self.observer.state_encoder
        self.finite, self.observe = self.slot.finite, self.observer.observe
        self.global_state = self.observer.global_state
        self._walk_constants = mobility_constants(scenario, xp, device)
        self.trace, self.recording = load_trace(scenario), scenario.recording()
        # with these options no BS can use or see a channel of an IRS it does not own, so those need not exist
        self._owned_only = (
            self.model.draws
            and scenario.association_delay == 1
            and scenario.csi == "owned"
            and scenario.reflection != "all"
            and not scenario.inter_cell_interference
        )

    def __getstate__(self) -> dict[str, Any]:
        # what was wanted, not what was found: the copy may wake up where there are other extras
        setting = {"device": self.device, "fast": self._wanted, "read_only": self.read_only}
        return {"scenario": self.scenario, "xp": arrays.name_of(self.xp), **setting}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # all else follows from these; mypy forbids the call because a subclass could have another __init__
        xp, _ = arrays.backend(state["xp"], state["device"])
        self.__init__(**{**state, "xp": xp})  # type: ignore[misc]

    def with_horizon(self, slots: int) -> Core:
        """The same dynamics with episodes of another length."""
        scenario = self.scenario.replace(horizon=slots)
        return Core(scenario, self.xp, self.device, self._wanted, self.read_only)

    def streams(self, seed: int | Sequence[int | None] | None, num_envs: int, on_device: bool | None = None) -> Streams:
        """Streams of environments seeded ``seed, seed + 1, ...``, or each with its own; ``None``: fresh entropy."""
        return self._parts.Streams.from_seed(seed, num_envs, self.xp, self.device, on_device)

    def check_reset_options(
        self, options: dict[str, Any] | None, also: tuple[str, ...] = ()
    ) -> np.ndarray | int | None:
        """The ``positions`` of :meth:`reset` from the options that a shell was given, validated.

        Args:
            options: as given.
            also: names of further options that the shell knows.
        """
        if self.recording is not None:
            return recorded.check_episode(self.recording, options, also)
        return check_reset_options(self.scenario, options, also)

    def check_trace_length(self, state: State) -> None:
        """Refuse a trace, given with reset, that ends before the episode does."""
        trace = state.motion.get("trace")
        if trace is not None and trace.shape[1] <= self.scenario.horizon:
            raise checks.refusal("horizon", self.scenario.horizon, f"less than the {trace.shape[1]} slots of the trace")

    def view(self, state: State, rates: Array | None = None) -> View:
        """What a policy without learning may read of a state."""
        return View(self, state, rates)

    # --- transitions -------------------------------------------------------------------------------------------

    def reset(self, streams: Streams, positions: Array | None = None) -> State:
        """Begin an episode in every environment.

        Args:
            streams: the environments' generators, advanced.
            positions: validated initial positions ``(K, 2)`` or a trace ``(slots, K, 2)`` for all environments, or
                traces ``(E, slots, K, 2)``, as an array of the core's kind; with channels of one's own the number of
                the episode to play. ``None`` follows the scenario.
        """
        s, num_envs = self.scenario, streams.num_envs
        start = self._initial_positions(num_envs, positions)
        motion = self.mobility.start(self._walk_constants, streams, start)
        scattered = self.model.start(streams, motion)
        bids = self._constant(np.zeros((num_envs, s.num_bs, s.num_irs)), np.float32)
        owner = self._initial_owners(streams)
        return self._enter(None, motion, scattered, owner, self.slot.begin_held(owner), bids, streams)

    def step(self, state: State, action: Array, streams: Streams) -> tuple[State, Array, Outcome]:
        """One slot.

        Args:
            state: unchanged.
            action: ``(E, M, D_a)`` finite; entries beyond [-1, 1] count as the nearer limit.
            streams: the environments' generators, advanced.

        Returns:
            The state after the slot, the rewards ``(E, M)`` and what else the slot brought.
        """
        bids, winner = self.slot.auction(action, streams)
        decided, switching = self.slot.hand_over(state, winner)
        owner = decided if self.scenario.association_delay == 0 else state.owner
        rates, sum_rate, power_w = self.slot.rates(state, action, owner)
        outcome = Outcome(rates, sum_rate, power_w, owner, state.cell, state.own_user, bids, winner)
        reward = self.reward(outcome, state)
        motion = self.mobility.advance(self._walk_constants, state.motion, streams)
        scattered = self.model.evolve(state.scattered, streams, state.motion, motion)
        remembered = arrays.detached(bids)  # gradients end with the slot
        return self._enter(state, motion, scattered, decided, switching, remembered, streams), reward, outcome

    def _enter(
        self,
        last: State | None,
        motion: Motion,
        scattered: dict[str, Array],
        owner: Array,
        switching: Switching | None,
        bids: Array,
        streams: Streams,
    ) -> State:
        """The next slot: where users are decides cells and path loss, and with the fading the channels."""
        cell, own_user, gains = self.model.large_scale(motion, scattered)
        used, G = gains, None
        if self._owned_only:
            # an IRS that changes hands is measured, too
            holder = owner if switching is None else switching.holder
            used = self.slot.owned_gains(gains, own_user, holder, cell)
        elif last is not None:
            G = last.channels.G
        channels = self.model.channels(used, scattered, motion, streams, G)
        estimate = self.model.estimate(channels, used, streams)
        slot = np.zeros(streams.num_envs, np.int64) if last is None else last.slot + 1
        moved = _way(last, motion) if self.scenario.observe_velocity else None
        return State(slot, motion, cell, own_user, gains, scattered, channels, estimate, owner, bids, switching, moved)

    def begin_again(self, state: State, rows: np.ndarray, streams: Streams, positions: Array | None = None) -> State:
        """The state with new episodes in some environments.

        Args:
            state: of E environments.
            rows: which, ``(n,)``.
            streams: of these n environments, advanced.
            positions: as for :meth:`reset`; ``None``: as the scenario says, and on a trace once more along it.
        """
        if self.scenario.mobility == "trace":
            trace = state.motion["trace"]
            if positions is None:
                positions = trace[0] if arrays.is_same_in_all_rows(trace) else trace[rows]
            else:  # another trace than the other rows have: all of one length
                slots = self.scenario.horizon + 1
                apart = {"trace": trace[:, :slots], "position": state.motion["position"]}
                apart = {name: arrays.of_ones_own(x) for name, x in apart.items()}
                positions, state = positions[:slots], state._replace(motion={**state.motion, **apart})
        fresh = self.reset(streams, positions)
        return fresh if len(rows) == len(state.slot) else self.replace_rows(state, rows, fresh)

    def replace_rows(self, state: State, rows: np.ndarray, fresh: State) -> State:
        """The state with some environments replaced by those of another, as new arrays.

        Args:
            state: of E environments.
            rows: which, ``(n,)``.
            fresh: of n environments.
        """

        def replaced(old: Any, new: Any) -> Any:
            if isinstance(old, dict):
                return {name: replaced(value, new[name]) for name, value in old.items()}
            if isinstance(old, tuple):
                return type(old)(*map(replaced, old, new))
            return None if old is None else arrays.with_rows(old, rows, new)

        return replaced(state, fresh)

    # --- the beginning of an episode ---------------------------------------------------------------------------

    def _initial_owners(self, streams: Streams) -> Array:
        s, num_envs = self.scenario, streams.num_envs
        if s.initial_owner == "none":
            return self._constant(np.full((num_envs, s.num_irs), IDLE), np.int64)
        everyone = self._constant(np.ones(num_envs), bool)
        chance = streams.uniform_where(everyone, "association", s.num_irs)
        return self.xp.astype(chance * s.num_bs, self.xp.int64)  # "the association matrix is randomly initialized"

    def _initial_positions(self, num_envs: int, positions: Array | None) -> Array | None:
        s = self.scenario
        if self.recording is not None:
            return None if positions is None else np.full(num_envs, positions, np.int64)
        if positions is None:
            positions = self.trace
        if positions is not None and s.mobility == "trace":
            trace = self._constant(positions, np.float64) if arrays.on_host(positions) else positions
            return trace if trace.ndim == 4 else arrays.same_in_all_rows(trace, num_envs)
        if positions is not None:
            first = self._constant(positions, np.float64)
        elif s.layout == "frozen" and s.mobility != "trace":
            frozen = Streams.frozen(s.frozen_seed, self.xp, self.device)
            first = self.mobility.start(self._walk_constants, frozen, None)["position"][0]
        else:
            return None
        return arrays.copy(arrays.same_in_all_rows(first, num_envs))  # rows part ways when one begins anew

    def _constant(self, values: Any, dtype: Any) -> Array:
        return arrays.constant(values, dtype, self.xp, self.device)


def _way(last: State | None, motion: Motion) -> Array:
    """How far users came in a slot, ``(E, K, 2)`` m; nowhere where an episode begins."""
    position = motion["position"]
    return position - (position if last is None else last.motion["position"])


def _compiled() -> Any:
    """The parts with kernels, imported only where they are wanted."""
    from irs_marl_env.engine import compiled

    return compiled


def _use_kernels(xp: Any, fast: bool | None) -> bool:
    if fast is not None and not isinstance(fast, bool):
        raise checks.refusal("fast", fast, "True, False or None")
    if fast and not arrays.is_numpy(xp):
        raise ValueError("fast=True: the compiled kernels work on numpy arrays alone; must be None or False here")
    if fast is False or not arrays.is_numpy(xp):
        return False
    missing = obstacle()
    if fast and missing:
        raise ImportError(f"fast=True {missing}")
    return not missing
