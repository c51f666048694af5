"""What one frame shows, as arrays of one environment."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from irs_marl_env.engine.state import Outcome, State
from irs_marl_env.physics import association, channel
from irs_marl_env.render.plan import Plan
from irs_marl_env.scenario import Scenario

FAINTEST = 0.12  # a link that is weaker beside the user's strongest one is not drawn


class Scene(NamedTuple):
    """One frame. What the last slot brought is ``None`` where no slot has been yet."""

    slot: int  # slots done
    position: np.ndarray  # (K, 2) on the map, where the users are now
    cell: np.ndarray  # (K,) now
    owner: np.ndarray  # (L,) in the last slot, -1 for none; at the beginning, who holds them
    holder: np.ndarray  # (L,) whom each IRS is set up for; not its owner while it is idle to change hands
    rates: np.ndarray | None  # (K,) bit/s/Hz
    sums: np.ndarray | None  # (M,) bit/s/Hz
    bids: np.ndarray | None  # (M, L)
    in_order: bool  # users have no known positions and stand in rows, by number
    serves: np.ndarray | None  # (L, K) in [0, 1]: strength of the link beside the user's strongest; 0 if none is drawn


def scene_of(scenario: Scenario, plan: Plan, state: State, outcome: Outcome | None, before: State | None) -> Scene:
    """The scene of a batch of one.

    Args:
        scenario: of the environment.
        plan: of the picture.
        state: now.
        outcome: of the last slot, ``None`` after a reset.
        before: the state at the beginning of that slot, if it was seen.
    """
    position = plan.to_map(np.asarray(state.motion["position"][0]))
    in_order = scenario.channels is not None and _unknown(position)
    if in_order:
        position = _in_rows(plan, len(position))
    cell, holder = np.asarray(state.cell[0]), np.asarray(state.holder[0])
    if outcome is None:
        nothing = None, None, None, in_order, None
        return Scene(int(state.slot[0]), position, cell, np.asarray(state.owner[0]), holder, *nothing)
    return Scene(
        int(state.slot[0]),
        position,
        cell,
        np.asarray(outcome.owner[0]),
        holder,
        np.asarray(outcome.rates[0]),
        np.asarray(outcome.sum_rate[0]),
        np.asarray(outcome.bids[0]),
        in_order,
        _links(scenario, state, outcome, before),
    )


def _links(scenario: Scenario, state: State, outcome: Outcome, before: State | None) -> np.ndarray | None:
    """``(L, K)`` how strong the way over each IRS is, among those of the user's own BS, by mean amplitudes."""
    owner, cell = outcome.owner[:1], outcome.cell[:1]
    reflection, strength = scenario.reflection, None
    if reflection == "all":  # foreign IRSs scatter too; the phases of the owned ones are chosen for the user
        reflection = "owned"
    elif reflection == "single":  # which one it is depends on the channels that the slot had
        if before is None:
            return None
        strength = channel.element_energy(before.csi.G, before.csi.h)
    linked = association.user_irs(owner, cell, scenario.num_bs, reflection, strength)[0]  # (M, K, L)
    mine = np.take_along_axis(linked, np.asarray(cell)[0][None, :, None], axis=0)[0].T  # (L, K)
    gains = state.gains
    over = np.asarray(gains.bs_irs[0])[cell[0]].T * np.asarray(gains.irs_user[0])  # (L, K)
    over = np.where(mine, over, 0.0)
    most = over.max(0, initial=0.0)
    share = np.divide(over, most, out=np.zeros_like(over), where=most > 0)
    return np.where(share >= FAINTEST, share, 0.0)


def _unknown(position: np.ndarray) -> bool:
    """Whether recorded channels came without positions: all users then stand in the middle of the area."""
    return bool((position == position[0]).all())


def _in_rows(plan: Plan, count: int) -> np.ndarray:
    """Places ``(count, 2)`` in order over the map."""
    left, right, bottom, top = plan.extent_m
    columns = max(1, round((count * (right - left) / (top - bottom)) ** 0.5))
    rows = -(-count // columns)
    k = np.arange(count)
    x = left + (right - left) * (k % columns + 0.5) / columns
    y = top - (top - bottom) * (k // columns + 0.5) / rows
    return np.stack([x, y], axis=-1)
