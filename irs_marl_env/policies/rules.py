"""Association rules: who should hold each IRS, as bids in [-1, 1].

A rule is a function of the slot, its cells and a :class:`Memory`; it returns bids ``(E, M, L)`` float32, of which
the highest wins. The centralised rules bid +1 for the owner they choose and -1 for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from irs_marl_env.checks import shown
from irs_marl_env.engine.set_rates import marginal_sets, marginals
from irs_marl_env.engine.view import View
from irs_marl_env.link_budget import path_gain_at
from irs_marl_env.policies.cells import Cells
from irs_marl_env.policies.rate_rules import bids_for, bids_of_worth, head_count, marginal_rate, oracle
from irs_marl_env.policies.weights import Rates
from irs_marl_env.scenario import Scenario
from irs_marl_env.spaces.layout import CsiScale

MAX_CELLS = 1024  # cells per environment and slot that an exhaustive search may solve, M 2^L
GAIN_RANGE = 10.0  # factors of ten of path gain between bid 0 and bid 1

_CAUSES = ("association", "phases", "actions")  # append only: the position of a cause is its key
_POLICY_KEY = 0x90C1  # keeps a policy's draws apart from those of the environment with the same seed


class Memory:
    """What a policy keeps between slots: its random streams, one per environment and cause, and what it has seen.

    Args:
        seeds: one per environment.
    """

    def __init__(self, seeds: Iterable[int]) -> None:
        self._generators = [
            [
                np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_POLICY_KEY, i)))
                for i in range(len(_CAUSES))
            ]
            for seed in seeds
        ]
        self.held: np.ndarray | None = None  # (E, L)
        self.chosen: np.ndarray | None = None  # (E, L) the owners that the last bids were for
        self.chosen_slot = np.array(-1)  # (E,) the slot of these bids
        self.rates = Rates()

    def uniform(self, cause: str, *shape: int) -> np.ndarray:
        """Independent U[-1, 1), ``(E, *shape)`` float32; the same for every batch an environment is in."""
        index = _CAUSES.index(cause)
        rows = [generators[index].random(shape, dtype=np.float32) for generators in self._generators]
        return 2.0 * np.stack(rows) - 1.0


Rule = Callable[[View, Cells, Memory], np.ndarray]


def none(view: View, cells: Cells, memory: Memory) -> np.ndarray:
    """Nobody bids for anything."""
    return np.full((len(view.cell), view.scenario.num_bs, view.scenario.num_irs), -1.0, np.float32)


def random(view: View, cells: Cells, memory: Memory) -> np.ndarray:
    """Each IRS to a BS drawn uniformly in every slot."""
    s = view.scenario
    return bids_for(memory.uniform("association", s.num_bs, s.num_irs).argmax(1), s.num_bs)


def local_gain(view: View, cells: Cells, memory: Memory) -> np.ndarray:
    """Each BS bids the sum of its own users' path gains over the IRS, both legs, in dB; nothing is exchanged.

    ``bid[m,l] = log10(sum_{k in cell m} g[m,l] g[l,k] / g_ref) / 10``. It reads the large scale
    only, so it needs no CSI of IRSs that the BS does not hold.
    """
    bids = np.log10(np.maximum(own_gain(view), 1e-300)) / GAIN_RANGE
    return np.clip(bids, -1.0, 1.0).astype(np.float32)


def own_gain(view: View) -> np.ndarray:
    """``(E, M, L)`` sum of a BS's own users' path gains over each IRS, both legs, relative to the reference."""
    reach: np.ndarray = (view.irs_gain * view.own_user[:, :, None]).sum(-1)
    return reach / _reference_gain(view.scenario)


def holders_favoured(bids: np.ndarray, holder: np.ndarray, margin_db: float) -> np.ndarray:
    """Bids of local gain ``(E, M, L)``, of which those of the holders ``(E, L)`` are greater by a margin [dB]."""
    margin = margin_db / (10.0 * GAIN_RANGE)
    return np.clip(bids + margin * (holder[:, None] == np.arange(bids.shape[1])[:, None]), -1.0, 1.0).astype(np.float32)


def _reference_gain(s: Scenario) -> float:
    """The gain over an IRS, both legs, at which a bid is 0."""
    if s.channels is not None:
        scale = CsiScale(s)
        return (scale.bs_irs * scale.irs_user) ** 2
    middle = s.reference_distance_m
    return path_gain_at(s, "bs_irs", middle) * path_gain_at(s, "irs_user", middle)


def marginal(view: View, cells: Cells, memory: Memory) -> np.ndarray:
    """Each BS bids what the IRS is worth to it, by its own alternating optimisation; nothing is exchanged.

    The worth of an IRS is the mean of its first and its last marginal value, ``v({l}) - v({})`` and
    ``v(all) - v(all but l)``: a BS does not know how many it will win.
    """
    L = view.scenario.num_irs
    return bids_of_worth(*marginals(_all_values(cells, marginal_sets(L)), L))


def greedy(view: View, cells: Cells, memory: Memory) -> np.ndarray:
    """IRS by IRS, the pair of BS and free IRS that adds most to the system's sum rate."""
    s = view.scenario
    E, M, L = len(view.cell), s.num_bs, s.num_irs
    held = np.zeros((E, M, L), bool)
    rows = np.arange(E)
    current = _all_values(cells, np.zeros((1, L), bool))[..., 0]  # (E, M)
    joined = _all_values(cells, np.eye(L, dtype=bool))  # (E, M, L): value of BS m if it also gets l
    for step in range(L):
        gain = np.where(held.any(1, keepdims=True), -np.inf, joined - current[..., None])
        bs, irs = np.unravel_index(gain.reshape(E, -1).argmax(-1), (M, L))
        held[rows, bs, irs] = True
        current[rows, bs] = joined[rows, bs, irs]
        if step < L - 1:  # what changed is the value of the IRSs still free to the BS that won
            row, free_irs = np.nonzero(~held.any(1))
            winner = bs[row]
            sets = held[row, winner] | np.eye(L, dtype=bool)[free_irs]
            joined[row, winner, free_irs] = cells.values(row, winner, sets)
    return bids_for(held.argmax(1), M)


def exhaustive(view: View, cells: Cells, memory: Memory) -> np.ndarray:
    """The best of all associations, exact over the values of sets of IRSs without inter-cell interference.

    The value of each of the 2^L sets to each BS once, then the best partition by dynamic programming over sets,
    M 3^L additions instead of M^L associations.
    """
    s = view.scenario
    check_exhaustive(s)
    members = subsets(s.num_irs)
    value = _all_values(cells, members)  # (E, M, 2^L)
    return bids_for(best_partition(value), s.num_bs)


def fixed(view: View, cells: Cells, memory: Memory) -> np.ndarray:
    """The best association of the first slot, then held: exhaustive where that is possible, else greedy."""
    begins = view.slot == 0
    if memory.held is None or begins.any():
        best = exhaustive if _num_cells(view.scenario) <= MAX_CELLS else greedy
        owner = best(view, cells, memory).argmax(1)
        memory.held = owner if memory.held is None else np.where(begins[:, None], owner, memory.held)
    return bids_for(memory.held, view.scenario.num_bs)


RULES: dict[str, Rule] = {
    "none": none,
    "random": random,
    "fixed": fixed,
    "local-gain": local_gain,
    "marginal": marginal,
    "marginal-rate": marginal_rate,
    "greedy": greedy,
    "exhaustive": exhaustive,
    "oracle": oracle,
    "head-count": head_count,
}
CLAIMING_RULES = ("none", "oracle", "head-count")  # their bids above 0 are claims already, one for an IRS at most
# they value IRSs by CSI, not by path gains
VALUE_RULES = ("fixed", "marginal", "marginal-rate", "greedy", "exhaustive", "oracle")


def best_partition(value: np.ndarray) -> np.ndarray:
    """Owners ``(E, L)`` that maximise the sum of set values.

    Args:
        value: ``(E, M, 2^L)``; bit l of the set's index says whether IRS l is in it.
    """
    E, M, num_sets = value.shape
    L = num_sets.bit_length() - 1
    rows = np.arange(E)
    best = value[:, 0]  # (E, 2^L): the best that BSs 0..m make of a set
    taken = []  # of each BS m, its share (E, 2^L) in the best division of each set among 0..m
    for m in range(1, M):
        total, share = np.empty_like(best), np.empty(best.shape, int)
        for available in range(num_sets):
            parts = _parts(available)
            options = best[:, available - parts] + value[:, m, parts]
            choice = options.argmax(-1)
            share[:, available], total[:, available] = parts[choice], options[rows, choice]
        best = total
        taken.append(share)
    owner = np.zeros((E, L), int)
    left = np.full(E, num_sets - 1)
    for m in range(M - 1, 0, -1):
        part = taken[m - 1][rows, left]
        owner[(part[:, None] >> np.arange(L)) & 1 == 1] = m
        left = left - part
    return owner


def check_exhaustive(scenario: Scenario) -> None:
    """Refuse a search that would not end.

    Raises:
        ValueError: more than :data:`MAX_CELLS` cells to solve per slot.
    """
    if _num_cells(scenario) > MAX_CELLS:
        raise ValueError(
            f"exhaustive search over num_irs={scenario.num_irs} IRSs and num_bs={scenario.num_bs} BSs needs "
            f"{shown(_num_cells(scenario))} cells per slot: at most {MAX_CELLS}; use the greedy rule"
        )


def _num_cells(scenario: Scenario) -> int:
    return scenario.num_bs * 2**scenario.num_irs


def subsets(count: int) -> np.ndarray:
    """Members ``(2^count, count)`` bool of every set, by index."""
    return (np.arange(2**count)[:, None] >> np.arange(count)) & 1 == 1


def _parts(available: int) -> np.ndarray:
    """Indices of all subsets of the set with index ``available``."""
    parts, part = [0], available
    while part:
        parts.append(part)
        part = (part - 1) & available
    return np.array(parts)


def _all_values(cells: Cells, sets: np.ndarray) -> np.ndarray:
    """Value ``(E, M, C)`` of each of the sets ``(C, L)`` to every BS of every environment."""
    E, M = cells.view.own_user.shape[:2]
    rows, bs, index = (axis.reshape(-1) for axis in np.indices((E, M, len(sets))))
    return cells.values(rows, bs, sets[index]).reshape(E, M, len(sets))
