"""What agents see of a state: observations of every BS, and the global state (docs/model.md, "Observations and state").

Plain arrays, numpy and torch alike: this is the definition of what is seen.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from irs_marl_env import checks
from irs_marl_env.arrays import REAL, constant, described, is_array_of, limit, namespace, on_host, read_only
from irs_marl_env.engine.set_rates import SetRates
from irs_marl_env.engine.state import State
from irs_marl_env.physics import association
from irs_marl_env.physics.channel import Channels
from irs_marl_env.physics.mobility import longest_way_m
from irs_marl_env.scenario import Scenario
from irs_marl_env.spaces.layout import log_gain
from irs_marl_env.spaces.state import StateEncoder

Array = Any


class Known:
    """What the BSs know of a state, block by block, each computed when it is asked for."""

    def __init__(self, state: State, observer: Observer) -> None:
        self._state, self._observer = state, observer

    @property
    def own_user(self) -> Array:
        """``(E, M, K)`` float32, 1 where BS m serves user k."""
        return self._state.own_user

    @property
    def csi(self) -> Channels:
        """The channels ``H (E, M, K, Nb)``, ``G (E, M, L, N, Nb)``, ``h (E, L, K, N)`` as the BSs know them."""
        return self._state.csi

    @property
    def position(self) -> Array:
        """``(E, K, 2)`` m, where the users are."""
        return self._state.motion["position"]

    @property
    def bids(self) -> Array:
        """``(E, M, L)`` of the last slot."""
        return self._state.bids

    @cached_property
    def held(self) -> Array:
        """``(E, M, L)`` float32, 1 where BS m holds IRS l by the last decision."""
        return association.held(self._state.holder, self.own_user.shape[1])

    @cached_property
    def switching(self) -> Array:
        """``(E, L)`` float32, the share of ``switching_slots`` for which an IRS that changed hands is still idle."""
        assert self._state.switching is not None
        xp, idle = namespace(self.own_user), self._state.switching.idle
        return xp.astype(idle, xp.float32) / self._observer.scenario.switching_slots

    @cached_property
    def velocity(self) -> Array:
        """``(E, K, 2)`` float32 in [-1, 1], how far users came in the last slot, of what a user can come."""
        assert self._state.moved is not None
        xp, scale_m = namespace(self.own_user), longest_way_m(self._observer.scenario)
        return limit(xp.astype(self._state.moved / scale_m, xp.float32), -1.0, 1.0)

    @cached_property
    def place(self) -> Array:
        """``(E, K, 2)`` float32 in [-1, 1], where users are, from the middle of the area in half sides."""
        xp, encoder = namespace(self.own_user), self._observer.state_encoder
        return limit(xp.astype(2.0 * encoder.share(self.position) - 1.0, xp.float32), -1.0, 1.0)

    @cached_property
    def rho(self) -> Array:
        """Last strategies of the other BSs ``(E, M, M - 1, L)`` (the paper's rho_-m)."""
        observer = self._observer
        if observer.scenario.rho == "bids":
            return self.bids[:, observer.others]
        held = self.held[:, observer.others]
        return held if observer.scenario.rho == "owner" else namespace(held).zeros_like(held)

    @cached_property
    def direct_gain(self) -> Array:
        """``(E, M, K)`` log path gains of all users to all BSs, in units of 10 dB above the reference."""
        return log_gain(self._state.gains.direct, self._observer.state_encoder.scale.direct)

    @cached_property
    def irs_gain(self) -> Array:
        """``(E, M, L, K)``, the same over each IRS, both legs."""
        gains, scale = self._state.gains, self._observer.state_encoder.scale
        return log_gain(gains.bs_irs[..., None] * gains.irs_user[:, None], scale.bs_irs * scale.irs_user)

    @cached_property
    def marginal_rates(self) -> tuple[Array, Array]:
        """First and last marginal rates ``(E, M, L)`` [bit/s/Hz] of each IRS to each BS, by its own CSI."""
        return self._observer.set_rates.marginal_rates(self._state)

    def empty(self, shape: tuple[int, ...]) -> Array:
        """A float32 array of the right kind for an observation; it may hold anything."""
        return self._observer.empty(shape)


def _codec(scenario: Scenario) -> Any:
    """The observation of a scenario; what a class of one's own makes must be able to do what an observation does."""
    make = scenario.strategy("observation")
    if isinstance(scenario.observation, str):
        return make(scenario)
    allowed = "a class that is made with the scenario and has size, low, high and observe(known)"
    try:
        codec = make(scenario)
    except TypeError as error:
        raise checks.refusal("observation", make, f"{allowed} ({error})") from error
    size = getattr(codec, "size", None)
    if not isinstance(size, (int, np.integer)) or not callable(getattr(codec, "observe", None)):
        raise checks.refusal("observation", make, f"{allowed}; it made {checks.shown(codec)}")
    for name in ("low", "high"):
        bound: Any = getattr(codec, name, None)
        if np.shape(bound) != (size,) or not _are_finite(bound):
            raise checks.refusal(f"{name} of observation", bound, f"an array of shape ({size},) of finite numbers")
    if not np.all(np.asarray(codec.low) <= np.asarray(codec.high)):
        raise checks.refusal("low of observation", codec.low, "nowhere above high")
    return codec


def _are_finite(bound: Any) -> bool:
    array = np.asarray(bound)
    with np.errstate(over="ignore"):
        return array.dtype.kind in "fiub" and bool(np.isfinite(array.astype(np.float32)).all())


class Observer:
    """Observations and global states of a scenario.

    Args:
        scenario: the scenario.
        xp: array namespace.
        device: where the arrays live.
        read_only: observations of numpy cannot be written into.
        set_rates: values sets of IRSs.
    """

    def __init__(self, scenario: Scenario, xp: Any, device: Any, read_only: bool, set_rates: SetRates) -> None:
        self.scenario, self.xp, self.device, self.read_only = scenario, xp, device, read_only
        self.set_rates = set_rates
        self.codec = codec = _codec(scenario)
        self.state_encoder = StateEncoder(scenario, xp, device)
        M = scenario.num_bs
        others = [[j for j in range(M) if j != m] for m in range(M)]
        self.others = constant(np.array(others).reshape(M, M - 1), np.int64, xp, device)
        self._bounds = None
        if not isinstance(scenario.observation, str):
            self._bounds = tuple(constant(bound, np.float32, xp, device) for bound in (codec.low, codec.high))

    def observe(self, state: State) -> Array:
        """Observations of all BSs ``(E, M, D_o)`` float32, a fresh array inside the bounds."""
        if self._bounds is None:
            observation = self.codec.observe(Known(state, self))
        else:  # somebody else's, who may write into what is known and forget the bounds
            observation = self._inside(self.codec.observe(Known(read_only(state), self)), state)
        if self.read_only and on_host(observation):
            observation.flags.writeable = False
        return observation

    def _inside(self, observation: Array, state: State) -> Array:
        """An observation of somebody else's class, checked and clipped to its bounds."""
        expected = (*state.own_user.shape[:2], self.codec.size)
        if not is_array_of(observation, state.own_user, expected, REAL):
            found = described(observation, state.own_user)
            raise ValueError(
                f"observation {checks.shown(self.codec)} returned {found}: must be an array of shape {expected}, "
                "of real numbers"
            )
        with np.errstate(over="ignore"):  # infinite is beyond the bounds, and clipped
            single = self.xp.astype(observation, self.xp.float32)
        if self.xp.any(self.xp.isnan(single)):
            name = checks.shown(self.codec)
            raise ValueError(f"observation {name} returned NaN: must be numbers, clipped to its bounds")
        assert self._bounds is not None
        return limit(single, *self._bounds)

    def empty(self, shape: tuple[int, ...]) -> Array:
        """A float32 array that may hold anything."""
        return self.xp.empty(shape, dtype=self.xp.float32, device=self.device)

    def global_state(self, state: State) -> Array:
        """Global state ``(E, D_s)`` float32 of :class:`irs_marl_env.spaces.state.StateEncoder`."""
        known = Known(state, self)
        if self.scenario.observation == "csi":
            channels: dict[str, Any] = {"csi": known.csi}
        else:
            channels = {"direct_gain": known.direct_gain, "irs_gain": known.irs_gain}
        optional: dict[str, Any] = {} if state.switching is None else {"switching": known.switching}
        if state.moved is not None:
            optional["velocity"] = known.velocity
        return self.state_encoder.encode(channels, known.position, known.own_user, known.held, optional)
