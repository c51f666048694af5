"""Association rules that need no solver: by rates of the environment's own decoder, or by counting users.

They have the form of those in :mod:`irs_marl_env.policies.rules`.
"""

from __future__ import annotations

import itertools

import numpy as np

from irs_marl_env.checks import refusal, shown
from irs_marl_env.engine.view import View
from irs_marl_env.physics.association import IDLE
from irs_marl_env.scenario import Scenario

MOST_ASSOCIATIONS = 1024  # that an oracle tries in a slot
VALUE_SCALE = 10.0  # bit/s/Hz at which a bid of value reaches one half
EQUAL_DB = 0.01  # path gains nearer to each other than about this count as equal


def bids_for(owner: np.ndarray, num_bs: int) -> np.ndarray:
    """Bids ``(E, M, L)`` that give each IRS to ``owner (E, L)``: +1 of the owner, -1 of the others; -1 is nobody."""
    return np.where(owner[:, None] == np.arange(num_bs)[:, None], 1.0, -1.0).astype(np.float32)


def bids_of_worth(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Bids that rise with the mean of first and last marginal values ``(E, M, L)``, bit/s/Hz.

    A BS does not know how many IRSs it will win.
    """
    worth = (first + last) / 2
    return (worth / (abs(worth) + VALUE_SCALE)).astype(np.float32)


def marginal_rate(view: View, cells: object, memory: object) -> np.ndarray:
    """Each BS bids what the IRS is worth to it by its own CSI and the environment's decoder; nothing is exchanged.

    The worth is the mean of first and last marginal rate, :mod:`irs_marl_env.engine.set_rates`.
    """
    return bids_of_worth(*view.marginal_rates)


def oracle(view: View, cells: object, memory: object) -> np.ndarray:
    """The best of all associations by the true rates that the environment's decoder has with each of them.

    It tries them all in the slot as it is: errors of CSI, interference between cells, what foreign IRSs scatter and
    lossy elements count. With ``contention="collision"`` or ``"priority"`` IRSs can be left idle: it tries that, too.
    """
    s = view.scenario
    check_oracle(s)
    best = np.full(len(view.cell), -np.inf)
    owner = np.full(view.owner.shape, IDLE)
    for association in _associations(s):
        tried = np.tile(np.array(association, np.int64), (len(best), 1))
        rate = view.rates_if(tried).sum(-1, dtype=np.float64)
        better = rate > best
        best, owner = np.where(better, rate, best), np.where(better[:, None], tried, owner)
    return bids_for(owner, s.num_bs)


def _associations(s: Scenario) -> itertools.product:
    return itertools.product(range(_first_owner(s), s.num_bs), repeat=s.num_irs)


def _first_owner(s: Scenario) -> int:
    """The least number that stands for an owner of an IRS."""
    return IDLE if isinstance(s.contention, str) and s.contention in ("collision", "priority") else 0


def check_oracle(scenario: Scenario) -> None:
    """Refuse a search that would not end.

    Raises:
        ValueError: more than :data:`MOST_ASSOCIATIONS` associations.
    """
    owners = scenario.num_bs - _first_owner(scenario)
    number = owners**scenario.num_irs
    if number > MOST_ASSOCIATIONS:
        allowed = (
            f"so few that an oracle need not try more than {MOST_ASSOCIATIONS} associations in a slot ({owners} owners "
            f"to the power of num_irs are {shown(number)})"
        )
        raise refusal("num_irs", scenario.num_irs, allowed)


def head_count(view: View, cells: object, memory: object) -> np.ndarray:
    """IRSs go to BSs by their numbers of users, so that nobody contests what another one claims.

    The IRSs are given out one by one. Each goes to the BS with the largest ``users / (IRSs it has so far + 2)``, of
    equal ones to the first, which takes the one with the greatest path gain from itself, of equal ones the last. That
    is the greedy maximum of ``sum_m users_m (1/2 + 1/3 + ... + 1/(n_m + 1))``: an IRS is worth something to each user,
    the next ones less, though not as fast as with D'Hondt's ``1 + 1/2 + ...``, since IRSs of one BS add up coherently.

    All that a BS knows is how many users each BS has, and where the sites are. With two BSs its own number says the
    other one's; with more of them every BS has to tell its own.
    """
    load = view.own_user.sum(-1)  # (E, M)
    gain_db = 20.0 * np.log10(np.maximum(view.gains.bs_irs, 1e-30).astype(np.float64))
    gain = np.round(gain_db / EQUAL_DB)  # (E, M, L): equal for sites that lie symmetrically
    rows, owner, won = np.arange(len(load)), np.full(view.owner.shape, IDLE), np.zeros(load.shape)
    for _ in range(view.scenario.num_irs):
        bs = (load / (won + 2.0)).argmax(-1)
        free = np.where(owner == IDLE, gain[rows, bs], -np.inf)
        owner[rows, free.shape[1] - 1 - free[:, ::-1].argmax(-1)] = bs
        won[rows, bs] += 1.0
    return bids_for(owner, view.scenario.num_bs)
