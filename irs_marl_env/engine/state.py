"""What stands between two steps, and what a slot brought."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from irs_marl_env.physics.channel import Channels, Gains
from irs_marl_env.physics.mobility import Motion

Array = Any


class Switching(NamedTuple):
    """IRSs that change hands, where that takes time (``switching_slots``)."""

    holder: Array  # (E, L) the BS that each IRS is set up for, or is being set up for; -1 for none
    idle: Array  # (E, L) slots for which it is idle from now on, unless it changes hands again


class State(NamedTuple):
    """A batch of environments between two steps. Never written in place: a step makes a new one."""

    slot: np.ndarray  # (E,) slots done in the episode; on the host, since nothing random enters
    motion: Motion  # of users; "position" (E, K, 2) m
    cell: Array  # (E, K) serving BS
    own_user: Array  # (E, M, K) float32, the same as a mask: 1 where BS m serves user k
    gains: Gains  # amplitude gains
    scattered: dict[str, Array]  # what the channel model remembers: fading by link, and what else it keeps
    channels: Channels  # the true ones, which decide the rates
    estimate: Channels | None  # what the BSs take them for; None: they know the true ones
    owner: Array  # (E, L) decided last, -1 for none
    bids: Array  # (E, M, L) of the last slot
    switching: Switching | None = None  # None: an IRS serves its new owner at once
    moved: Array | None = None  # (E, K, 2) m, how far users came in the last slot; None: nobody looks at it

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> State:
        """A state from its fields, in which gains and channels are still dicts by link."""
        kinds: dict[str, Any] = {"gains": Gains, "channels": Channels, "estimate": Channels, "switching": Switching}
        made = {name: kinds[name](**x) if name in kinds and x is not None else x for name, x in fields.items()}
        return cls(**made)

    @property
    def csi(self) -> Channels:
        """The channels as the BSs know them."""
        return self.channels if self.estimate is None else self.estimate

    @property
    def holder(self) -> Array:
        """``(E, L)`` the BS that holds each IRS, even while it is idle because it changes hands; -1 for none."""
        return self.owner if self.switching is None else self.switching.holder


class Outcome(NamedTuple):
    """What a slot brought, before the reward is shaped."""

    rates: Array  # (E, K) bit/s/Hz of every user, served by cell[k]
    sum_rate: Array  # (E, M) bit/s/Hz of each BS's users
    power_w: Array  # (E, M) radiated
    owner: Array  # (E, L) the owners in this slot, -1 for none
    cell: Array  # (E, K) the cells in this slot
    own_user: Array  # (E, M, K) float32, the same as a mask
    bids: Array  # (E, M, L) of this slot
    winner: Array  # (E, L) who won each IRS by these bids, -1 for nobody; it may own it later (delay, switching)
