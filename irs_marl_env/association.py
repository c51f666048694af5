"""Association: bids of the BSs -> owner of each IRS -> the binary matrix A of users and IRSs.

The paper's A_m is K x L while its action holds L entries; the reading here is L bids per BS, from which
:func:`assign` derives the owners and :func:`user_irs` derives A.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import array_namespace

Array = Any
TieBreak = Callable[[Array], Array]


def _auction(bids: Array, tie_break: TieBreak) -> Array:
    """The highest bid wins; equal highest bids are decided by ``tie_break``."""
    xp = np if type(bids) is np.ndarray else array_namespace(bids)  # numpy as it is: half the time
    best = xp.max(bids, axis=-2)
    highest = bids == best[..., None, :]
    if xp is np and np.count_nonzero(highest) == best.size:  # one winner each; an accelerator would have to wait for it
        return bids.argmax(-2)
    tied = xp.count_nonzero(highest, axis=(-2, -1)) > bids.shape[-1]
    return xp.argmax(xp.where(highest, tie_break(tied), -1.0), axis=-2)


def _claims(bids: Array) -> tuple[Array, Array, Any]:
    xp = array_namespace(bids)
    claims = xp.astype(bids > 0, xp.int64)
    return claims, xp.sum(claims, axis=-2), xp


def _collision(bids: Array, tie_break: TieBreak) -> Array:
    """A bid > 0 is a claim: a single claim wins, contested IRSs are unusable, unclaimed ones idle."""
    claims, count, xp = _claims(bids)
    return xp.where(count == 1, xp.argmax(claims, axis=-2), -1)


def _priority(bids: Array, tie_break: TieBreak) -> Array:
    """A bid > 0 is a claim: the claimant with the lowest BS index wins, unclaimed IRSs idle."""
    claims, count, xp = _claims(bids)
    return xp.where(count > 0, xp.argmax(claims, axis=-2), -1)


CONTENTION: dict[str, Callable[[Array, TieBreak], Array]] = {
    "auction": _auction,
    "collision": _collision,
    "priority": _priority,
}


def assign(bids: Array, contention: str, tie_break: TieBreak) -> Array:
    """Owner of every IRS from the bids of one slot; at most one BS per IRS by construction.

    Args:
        bids: ``(..., M, L)`` real.
        contention: ``"auction"``, ``"collision"`` or ``"priority"``.
        tie_break: called with ``(...)`` bool, where an auction is tied (numpy: only if one is; elsewhere always, since
            looking would wait for the device); returns ``(..., M, L)`` non-negative keys, the largest of which decides.

    Returns:
        ``(..., L)`` integer owner, -1 for none.
    """
    return CONTENTION[contention](bids, tie_break)


def _single(mine: Array, strength: Array | None) -> Array:
    xp = array_namespace(mine)
    assert strength is not None
    among_mine = xp.where(mine, strength, -1.0)
    best = among_mine == xp.max(among_mine, axis=-1, keepdims=True)
    first = xp.cumulative_sum(xp.astype(best, xp.int64), axis=-1) == 1  # never two of equal strength
    return mine & best & first


def user_irs(owner: Array, cell: Array, num_bs: int, reflection: str, strength: Array | None = None) -> Array:
    """The binary association A: does IRS l serve user k of BS m?

    Args:
        owner: ``(..., L)`` integer, -1 for none.
        cell: ``(..., K)`` integer.
        num_bs: M.
        reflection: ``"owned"``: every IRS of the serving BS; ``"single"`` (Eq. 1): the strongest of them;
            ``"all"``: every IRS, foreign and idle ones too.
        strength: ``(..., M, K, L)`` non-negative, ranks the IRSs for ``"single"``.

    Returns:
        ``(..., M, K, L)`` bool, false wherever BS m does not serve user k.
    """
    xp = array_namespace(owner, cell)
    stations = xp.arange(num_bs, device=getattr(owner, "device", None))
    in_cell = cell[..., None, :, None] == stations[:, None, None]  # (..., M, K, 1)
    if reflection == "all":
        lead = (*owner.shape[:-1], num_bs, cell.shape[-1], owner.shape[-1])
        return xp.broadcast_to(in_cell, lead)
    mine = in_cell & (owner[..., None, None, :] == stations[:, None, None])
    if owner.shape[-1] == 0 or reflection == "owned":
        return mine
    if reflection != "single":
        raise ValueError(f"reflection={reflection!r} is not one of 'owned', 'single', 'all'")
    return _single(mine, strength)
