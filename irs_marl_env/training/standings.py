"""What a base station that claims IRSs remembers between slots: how each IRS stands to it, and users that crossed.

Under ``contention="collision"`` nothing is sent between the BSs, but what each held in a slot shows in the next one's
observations, so that claims are messages. Everything here follows from a BS's own observations and own claims.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray
Named = dict[str, Any]

MEMORY_SLOTS = 8.0  # after so many slots what is known of a user that came or left counts 1 / e
FLOOR = 1e-2  # added to path gains, relative to the reference of the observation, before their logarithm
STANDINGS = 6  # of an IRS, as a BS sees it: see standing()
FEATURES = 15  # of an IRS: see Sightings


def standing(mine: Array, others: Array, claimed: Array, mine_before: Array) -> Array:
    """How an IRS stands to a BS after a slot, as a number below :data:`STANDINGS`; all arguments bool, any shape.

    0: it is mine. 1: another's. Else nobody held it: 2, 3: I had kept off (it was free, or lost to others);
    4, 5: I had claimed it (contested). In 3 and 5 I was the last to hold it, in 2 and 4 another.
    """
    nobody = 2 + 2 * claimed.astype(int) + mine_before
    return np.where(mine, 0, np.where(others, 1, nobody))


class Standings:
    """The memory of claims: :meth:`see` after every slot what was held, set :attr:`claimed` before it.

    Attributes:
        claimed: ``(E, M, L)`` bool, own claims of the last slot.
        mine_before: ``(E, M, L)`` bool, whether the BS was the last one that held the IRS. Where nobody has held IRS l
            since the episode began, BS l mod M counts as the last one.
    """

    claimed: Array | None = None
    mine_before: Array | None = None

    def see(self, named: Named, begins: Array) -> Array:
        """Views ``(E, M, L)`` of the last slot, numbers below 6 L: the standing times L, plus the other IRSs held.

        Args:
            named: observations by name.
            begins: ``(E,)`` bool, rows in which an episode begins.
        """
        mine, others = named["held"] > 0, (named["rho"] > 0).any(-2)
        M, L = mine.shape[1:]
        anew = begins[:, None, None]
        claimed, before = self.claimed, self.mine_before
        if claimed is None or before is None:
            claimed, before, anew = mine, mine, np.ones_like(anew)
        usual = np.arange(L) % M == np.arange(M)[:, None]
        self.claimed = np.where(anew, mine, claimed)
        self.mine_before = np.where(mine | others, mine, np.where(anew, usual, before))
        return view(standing(mine, others, self.claimed, self.mine_before), mine)


def view(stands: Array, mine: Array) -> Array:
    """What an actor sees of standings ``(..., L)``: see :meth:`Standings.see`."""
    L = mine.shape[-1]
    return stands * L + mine.sum(-1, keepdims=True) - mine


class Sightings:
    """The memory of users: what the actor is told of an IRS, besides its standing.

    :meth:`features` gives, for each IRS: the value of having it first and of having it last; its own users' gain; the
    BS's share of users; value and gain of the other IRSs (their mean); gains of users that left and that came, fading
    with time, and of those that did so in this very slot; how many more users there are than in the last slot; users
    that left less users that came, fading; and by how much first value and gain grew in the last slot.
    """

    own: Array | None = None  # (E, M, K) bool, users of the last slot
    seen: Array  # (E, M, L, K) path gain when the user was last in the cell, relative to the observation's reference
    left: Array  # (E, M, K) slots since the user was last in the cell; inf: it never was
    came: Array  # (E, M, K) slots since it came; inf: it was here when the episode began
    trend: Array  # (E, M, L, 2) first value and gain in the last slot

    def features(self, named: Named, values: Array, begins: Array) -> Array:
        """Features ``(E, M, L, F)`` float32 of a slot; call it in every slot of an episode.

        Args:
            named: observations by name.
            values: ``(E, M, 2^L)`` own rate with each set of IRSs, bit/s/Hz.
            begins: ``(E,)`` bool, rows in which an episode begins.
        """
        own = named["own_user"] > 0
        (M, K), L = own.shape[1:], named["irs_gain"].shape[-2]
        gain = np.where(own[:, :, None], 10.0 ** named["irs_gain"].astype(float), 0.0)
        marginal = np.concatenate([_first_and_last(values), _level(gain)[..., None]], -1)  # (E, M, L, 3)
        now = marginal[..., [0, 2]]
        if self.own is None:
            begins = np.ones_like(begins)
            self.own, self.seen, self.trend = own, gain, now
            self.left = self.came = np.full(own.shape, np.inf)
        new_episode = begins[:, None, None]
        before = np.where(new_episode, own, self.own)
        self.left = np.where(own, 0.0, np.where(new_episode, np.inf, self.left + 1.0))
        self.came = np.where(own & ~before, 0.0, np.where(new_episode, np.inf, self.came + 1.0))
        self.seen = np.where(own[:, :, None], gain, self.seen)  # what is older than the episode weighs nothing
        grown = now - np.where(new_episode[..., None], now, self.trend)
        gone = np.where(own, 0.0, np.exp((1.0 - self.left) / MEMORY_SLOTS))
        new = np.where(own, np.exp(-self.came / MEMORY_SLOTS), 0.0)
        parts = (gone, new, ~own & (self.left == 1), own & (self.came == 0))
        crossed = np.stack([1.0 + _level(self.seen * weight[:, :, None]) for weight in parts], -1)  # (E, M, L, 4)

        others = (marginal.sum(-2, keepdims=True) - marginal) / max(1, L - 1)
        of_bs = [own.sum(-1) * M / K - 1.0, own.sum(-1) - before.sum(-1), gone.sum(-1) - new.sum(-1)]  # (E, M) each
        shared = np.broadcast_to(np.stack(of_bs, -1)[:, :, None], (*marginal.shape[:3], 3))
        self.own, self.trend = own, now
        return np.concatenate([marginal, others, crossed, shared, grown], -1).astype(np.float32)


def _level(gain: Array) -> Array:
    """Logarithm of the sum of gains over users ``(..., K)``, in factors of ten."""
    level: Array = np.log10(FLOOR + gain.sum(-1))
    return level


def _first_and_last(values: Array) -> Array:
    """``(..., L, 2)``: what an IRS adds to none and to all others, of values ``(..., 2^L)``."""
    bit = 1 << np.arange(values.shape[-1].bit_length() - 1)
    first, last = values[..., bit] - values[..., :1], values[..., -1:] - values[..., bit.sum() - bit]
    return np.stack([first, last], -1)
