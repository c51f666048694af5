"""Association: bids of the BSs -> owner of each IRS -> the binary matrix A of users and IRSs.

The paper's A_m is K x L while its action holds L entries; the reading here is L bids per BS, from which
:func:`assign` derives the owners and :func:`user_irs` derives A.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from irs_marl_env.arrays import described, index_grid, is_array_of, namespace, on_host, read_only
from irs_marl_env.checks import shown

Array = Any
TieBreak = Callable[[Array], Array]
Contention = Callable[[Array, TieBreak], Array]  # bids (..., M, L) and a tie-break to owners (..., L)

IDLE = -1  # the owner of an IRS that no BS controls


def _auction(bids: Array, tie_break: TieBreak) -> Array:
    """The highest bid wins; equal highest bids are decided by ``tie_break``."""
    xp = namespace(bids)
    best = xp.max(bids, axis=-2)
    highest = bids == best[..., None, :]
    if on_host(bids) and xp.count_nonzero(highest) == best.size:  # the frequent case: one winner each
        return bids.argmax(-2)
    tied = xp.count_nonzero(highest, axis=(-2, -1)) > bids.shape[-1]
    return xp.argmax(xp.where(highest, tie_break(tied), -1.0), axis=-2)


def _claims(bids: Array) -> tuple[Array, Array, Any]:
    xp = namespace(bids)
    claims = xp.astype(bids > 0, xp.int64)
    return claims, xp.sum(claims, axis=-2), xp


def _collision(bids: Array, tie_break: TieBreak) -> Array:
    """A bid > 0 is a claim: a single claim wins, contested IRSs are unusable, unclaimed ones idle."""
    claims, count, xp = _claims(bids)
    return xp.where(count == 1, xp.argmax(claims, axis=-2), IDLE)


def _priority(bids: Array, tie_break: TieBreak) -> Array:
    """A bid > 0 is a claim: the claimant with the lowest BS index wins, unclaimed IRSs idle."""
    claims, count, xp = _claims(bids)
    return xp.where(count > 0, xp.argmax(claims, axis=-2), IDLE)


CONTENTION: dict[str, Contention] = {
    "auction": _auction,
    "collision": _collision,
    "priority": _priority,
    "second_price": _auction,  # the winner pays: rewards.reward_function
}
HIGHEST_BID_WINS = ("auction", "second_price")


def assign(bids: Array, contention: str | Contention, tie_break: TieBreak) -> Array:
    """Owner of every IRS from the bids of one slot; at most one BS per IRS by construction.

    Args:
        bids: ``(..., M, L)`` real.
        contention: a name in :data:`CONTENTION`, or a rule of one's own with the same signature.
        tie_break: a function that draws keys for ties: called with ``(...)`` bool, where an auction is tied (numpy:
            only if one is; elsewhere always, since looking would wait for the device), it returns ``(..., M, L)``
            non-negative keys, the largest of which decides.

    Returns:
        ``(..., L)`` integer owner, -1 for none.

    Example:
        >>> import numpy as np
        >>> assign(np.array([[0.2, -0.1], [0.5, -0.3]]), "auction", np.zeros_like).tolist()
        [1, 0]
    """
    if isinstance(contention, str):
        return CONTENTION[contention](bids, tie_break)
    owner = contention(read_only(bids), tie_break)
    xp, (*lead, num_bs, num_irs) = namespace(bids), bids.shape
    if not is_array_of(owner, bids, (*lead, num_irs), ("signed integer",)):
        found, wanted = described(owner, bids), (*lead, num_irs)
        raise ValueError(f"contention {shown(contention)} returned {found}: must be integers of shape {wanted}")
    if not xp.all((owner >= IDLE) & (owner < num_bs)):
        raise ValueError(f"contention {shown(contention)} returned owners that are none: must be in [-1, {num_bs - 1}]")
    return xp.astype(owner, xp.int64)


def switch(holder: Array, idle: Array, decided: Array, slots: int) -> tuple[Array, Array, Array]:
    """Who holds and who owns each IRS where one that changes hands is idle for some slots.

    An IRS that another BS than its holder wins has this BS for its holder from now on, and is idle for ``slots`` slots,
    however long it was idle already. An IRS that nobody wins keeps its holder and what is left of its idle slots, and
    nobody owns it in this slot.

    Args:
        holder: ``(..., L)`` integer, the BS that each IRS is or will be set up for, -1 for none.
        idle: ``(..., L)`` integer, slots for which it is idle from this one on, unless it changes hands.
        decided: ``(..., L)`` integer, who won it, -1 for nobody.
        slots: for how many an IRS that changes hands is idle.

    Returns:
        The holders, the idle slots from this one on, and the owners: -1 where an IRS is idle or nobody won it.

    Example:
        >>> import numpy as np
        >>> switch(np.array([0, 0, 0]), np.array([0, 0, 2]), np.array([0, 1, -1]), 4)
        (array([0, 1, 0]), array([0, 4, 2]), array([ 0, -1, -1]))
    """
    xp = namespace(decided)
    now = xp.where(decided == IDLE, holder, decided)
    left = xp.where(now == holder, idle, slots)
    return now, left, xp.where(left > 0, IDLE, decided)


# --- who owns, who is served --------------------------------------------------------------------------------------


def held(owner: Array, num_bs: int) -> Array:
    """Masks ``(E, M, L)`` float32 of the owners ``(E, L)``: 1 where BS m owns IRS l."""
    return _by_bs(owner, num_bs)


def in_cell(cell: Array, num_bs: int) -> Array:
    """Masks ``(E, M, K)`` float32 of the cells ``(E, K)``: 1 where BS m serves user k."""
    return _by_bs(cell, num_bs)


def _by_bs(bs: Array, num_bs: int) -> Array:
    xp = namespace(bs)
    stations = index_grid(xp, num_bs, 1, bs.device)[0]
    return xp.astype(bs[:, None, :] == stations, xp.float32)


def of_owner(x: Array, owner: Array) -> Array:
    """``(E, M, L, ...)`` to ``(E, L, ...)``: each IRS's entry of its owner.

    An idle IRS has no owner's entry; it gets that of the last BS, and whoever uses the result has to mask it.
    """
    rows, irs = index_grid(namespace(owner), *owner.shape, owner.device)
    return x[rows, owner, irs]  # IDLE is -1, which addresses the last BS


def _owned(own_user: Array, mine: Array, strength: Array | None) -> Array:
    return mine


def _single(own_user: Array, mine: Array, strength: Array | None) -> Array:
    if mine.shape[-1] == 0:
        return mine
    xp = namespace(mine)
    assert strength is not None
    among_mine = xp.where(mine, strength, -1.0)
    best = among_mine == xp.max(among_mine, axis=-1, keepdims=True)
    first = xp.cumulative_sum(xp.astype(best, xp.int64), axis=-1) == 1  # never two of equal strength
    return mine & best & first


def _all(own_user: Array, mine: Array, strength: Array | None) -> Array:
    return namespace(mine).broadcast_to(own_user, mine.shape)


# which IRSs reflect for a user of BS m: those that m owns, the strongest of them (Eq. 1), or foreign and idle ones too
REFLECTION: dict[str, Callable[[Array, Array, Array | None], Array]] = {
    "owned": _owned,
    "single": _single,
    "all": _all,
}


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
    if reflection not in REFLECTION:
        raise ValueError(f"reflection={reflection!r} is not one of {', '.join(map(repr, REFLECTION))}")
    stations = namespace(owner).arange(num_bs, device=getattr(owner, "device", None))[:, None, None]
    own_user = cell[..., None, :, None] == stations  # (..., M, K, 1)
    mine = own_user & (owner[..., None, None, :] == stations)
    return REFLECTION[reflection](own_user, mine, strength)
