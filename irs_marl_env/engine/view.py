"""What a policy that does not learn may read of a slot: CSI, cells, owners and path gains, as numpy arrays."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from irs_marl_env.arrays import constant, read_only, to_numpy
from irs_marl_env.checks import refusal
from irs_marl_env.engine.state import State
from irs_marl_env.physics import association
from irs_marl_env.physics.channel import Channels, Gains
from irs_marl_env.scenario import Scenario

if TYPE_CHECKING:
    from irs_marl_env.engine.core import Core

Array = Any


class View:
    """One slot of E environments, as ``env.view()`` returns it: arrays that cannot be written into.

    It joins what the BSs know, ``csi`` (with its errors, whatever the scenario's CSI scope), so that a policy that
    reads it is a baseline with perfect exchange between the BSs unless it restricts itself to its own cell.

    Attributes:
        scenario: the scenario.

    Example:
        >>> from irs_marl_env import make_vec_env
        >>> env = make_vec_env("mdlbi-small-v0", num_envs=3, fast=False)
        >>> _ = env.reset(seed=0)
        >>> env.view().cell.shape, env.view().csi.H.shape
        ((3, 4), (3, 2, 4, 4))
    """

    def __init__(self, core: Core, state: State, rates: Array | None = None) -> None:
        self.scenario: Scenario = core.scenario
        self._core, self._state, self._rates = core, state, rates

    @property
    def slot(self) -> np.ndarray:
        """``(E,)`` slots done in the episode."""
        return _shown(self._state.slot)

    @cached_property
    def rates(self) -> np.ndarray:
        """``(E, K)`` bit/s/Hz of every user in the last slot; 0 where an episode begins and after ``set_state``."""
        if self._rates is None:
            return read_only(np.zeros(self.cell.shape, np.float32))
        return read_only(np.where(self.slot[:, None] == 0, np.float32(0), to_numpy(self._rates)))

    @cached_property
    def position(self) -> np.ndarray:
        """``(E, K, 2)`` m, where the users are; the middle of the area where recorded channels do not say it."""
        return _shown(self._state.motion["position"])

    @cached_property
    def cell(self) -> np.ndarray:
        """``(E, K)`` serving BS of each user."""
        return _shown(self._state.cell)

    @cached_property
    def own_user(self) -> np.ndarray:
        """``(E, M, K)`` bool, the same as a mask."""
        return read_only(self.cell[:, None] == np.arange(self.scenario.num_bs)[:, None])

    @cached_property
    def owner(self) -> np.ndarray:
        """``(E, L)`` BS that owns each IRS, -1 for none; with ``association_delay=1`` it acts in this slot."""
        return _shown(self._state.owner)

    @cached_property
    def holder(self) -> np.ndarray:
        """``(E, L)`` BS that each IRS is set up for; not ``owner`` where ``switching_slots`` keep one idle."""
        return _shown(self._state.holder)

    @cached_property
    def idle(self) -> np.ndarray:
        """``(E, L)`` slots for which each IRS is idle from this one on unless it changes hands again."""
        switching = self._state.switching
        return read_only(np.zeros(self.owner.shape, np.int64)) if switching is None else _shown(switching.idle)

    def owners(self, decided: np.ndarray) -> np.ndarray:
        """``(E, L)`` owners in this slot if bids decided ``decided (E, L)``; with ``association_delay=1`` those it has.

        Example:
            >>> from irs_marl_env import make_vec_env
            >>> env = make_vec_env("mdlbi-small-v0", num_envs=1, fast=False, switching_slots=2)
            >>> _ = env.reset(seed=0)
            >>> env.view().owners(1 - env.view().holder)
            array([[-1, -1]])
        """
        decided = self._owners("decided", decided)
        slots = self.scenario.switching_slots
        if self.scenario.association_delay == 1:
            return self.owner
        return association.switch(self.holder, self.idle, decided, slots)[2] if slots else decided

    @cached_property
    def csi(self) -> Channels:
        """``H (E, M, K, Nb)``, ``G (E, M, L, N, Nb)``, ``h (E, L, K, N)`` complex64, as the BSs know them."""
        return Channels(*map(_shown, self._state.csi))

    @cached_property
    def channels(self) -> Channels:
        """The true channels, which decide the rates: for bounds and for checks, not for policies."""
        return Channels(*map(_shown, self._state.channels))

    @cached_property
    def gains(self) -> Gains:
        """Amplitude gains ``direct (E, M, K)``, ``bs_irs (E, M, L)``, ``irs_user (E, L, K)`` float32."""
        return Gains(*map(_shown, self._state.gains))

    @cached_property
    def irs_gain(self) -> np.ndarray:
        """``(E, M, L, K)`` path gain BS-IRS-user, linear power, float64."""
        amplitude = self.gains.bs_irs[..., None] * self.gains.irs_user[:, None]
        return read_only(amplitude.astype(np.float64) ** 2)

    # --- what other owners would bring ---------------------------------------------------------------------------

    def set_rates(self, sets: np.ndarray) -> np.ndarray:
        """``(E, M, C)`` [bit/s/Hz] that each BS would expect of its users with each of the sets ``(C, L)`` of IRSs.

        By the CSI that the BS has itself, the environment's decoder with neutral entries, and without interference
        between cells: :mod:`irs_marl_env.engine.set_rates`.

        Example:
            >>> import numpy as np
            >>> from irs_marl_env import make_vec_env
            >>> env = make_vec_env("mdlbi-small-v0", num_envs=3, fast=False)
            >>> _ = env.reset(seed=0)
            >>> env.view().set_rates(np.array([[False, False], [True, True]])).shape
            (3, 2, 2)
        """
        return _shown(self._core.set_rates.set_rates(self._state, sets))

    @cached_property
    def marginal_rates(self) -> tuple[np.ndarray, np.ndarray]:
        """First and last marginal rates ``(E, M, L)`` of each IRS to each BS, ``v({l}) - v({})`` and
        ``v(all) - v(all but l)``, v of :meth:`set_rates`."""
        first, last = self._core.set_rates.marginal_rates(self._state)
        return _shown(first), _shown(last)

    def rates_if(self, owner: np.ndarray, action: np.ndarray | None = None) -> np.ndarray:
        """True rates ``(E, K)`` [bit/s/Hz] of the slot if ``owner (E, L)`` held the IRSs and the BSs did ``action``.

        For bounds and for checks, not for policies: it knows the true channels and the actions of all.

        Args:
            owner: integers from -1 (nobody) to M - 1; the bids of the action have no say.
            action: ``(E, M, D_a)`` finite numbers; ``None``: of structured ones the neutral one.

        Raises:
            ValueError: arrays of other shapes, types or values.
        """
        state, action, owner = self._state, *self._done("rates_if", owner, action)
        return _shown(self._core.slot.rates(state, action, owner)[0])

    def shares_if(self, owner: np.ndarray, action: np.ndarray | None = None) -> np.ndarray:
        """Shares ``(E, L, K)`` of each user's signal that come over each IRS, if owners and actions were these.

        What user k receives of its own beam is a sum of complex amplitudes, ``T = direct + sum_l r_l``; the share of
        IRS l is ``Re(r_l conj(T)) / |T|^2``. The shares of the IRSs and of the direct path add up to 1. One is negative
        where a path works against the sum, and 0 for IRSs that do not serve the user and for users without a signal.

        For pictures and checks, as :meth:`rates_if`, with its arguments and errors.

        Example:
            >>> from irs_marl_env import make_vec_env
            >>> env = make_vec_env("mdlbi-small-v0", action="structured", fast=False, blockage_db=300.0)
            >>> _ = env.reset(seed=0)
            >>> shares = env.view().shares_if(env.view().cell[:, :1].repeat(2, 1))
            >>> shares.shape, shares.sum(1)[0, 0].round(3).item()
            ((1, 2, 4), 1.0)
        """
        state, action, owner = self._state, *self._done("shares_if", owner, action)
        return _shown(self._core.slot.shares(state, action, owner))

    def _done(self, asked: str, owner: np.ndarray, action: np.ndarray | None) -> tuple[Array, Array]:
        """Actions ``(E, M, D_a)`` and owners ``(E, L)`` from outside, checked, as arrays of the environment's kind."""
        core, owner = self._core, self._owners("owner", owner)
        if action is None:
            if self.scenario.action != "structured":
                raise ValueError(
                    f"{asked} without an action: must be given, since only action='structured' has a neutral one"
                )
            action = np.tile(core.action_codec.neutral, (*self.own_user.shape[:2], 1))
        action, shape = np.asarray(action), (*self.own_user.shape[:2], core.action_codec.size)
        if action.shape != shape or action.dtype.kind not in "fiu" or not np.isfinite(action).all():
            raise refusal("action", action, f"finite numbers of shape {shape}, (E, M, D_a)")
        # torch takes no array that cannot be written into
        chosen = constant(action.copy(), np.float32, core.xp, core.device)
        return chosen, constant(owner.copy(), np.int64, core.xp, core.device)

    def _owners(self, name: str, owner: np.ndarray) -> np.ndarray:
        """Owners ``(E, L)`` from outside."""
        found, shape, most = np.asarray(owner), self.owner.shape, self.scenario.num_bs - 1
        if found.shape != shape or found.dtype.kind not in "iu" or ((found < association.IDLE) | (found > most)).any():
            raise refusal(name, owner, f"integers from -1 (nobody) to {most}, of shape {shape}, (E, L)")
        return found


def _shown(x: Array) -> np.ndarray:
    """The array on the host, to be read and not to be written."""
    return read_only(to_numpy(x))
