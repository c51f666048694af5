"""What is compared with ceilings of the tasks: searches that know all CSI.

Everything here acts like a policy of :mod:`irs_marl_env.policies`: ``bind(env, seed)`` gives a callable, and
``adapt(scenario)`` the scenario it needs.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irs_marl_env.engine import kernels
from irs_marl_env.engine.view import View
from irs_marl_env.policies import POLICIES
from irs_marl_env.policies.rules import bids_for
from irs_marl_env.scenario import Scenario

PART = 256  # cells in one call of the decoder
LEAST_GAIN = 1e-4  # bit/s/Hz; less is rounding
SHARES = (0.0, 0.3, 1.0)  # of Pmax that a search tries


class Values:
    """Own rates of BSs with sets of IRSs in the slot of a view, by the decoder, without interference; each once.

    Args:
        view: of a scenario that the kernel of the decoder covers: ideal elements, BSs of one kind.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self._known: dict[Any, Any] = {}

    def of(self, rows: np.ndarray, bs: np.ndarray, sets: np.ndarray) -> np.ndarray:
        """Rates ``(B,)`` [bit/s/Hz] of the BSs ``bs (B,)`` of the environments ``rows (B,)`` with ``sets (B, L)``."""
        keys = [(int(r), int(m), members.tobytes()) for r, m, members in zip(rows, bs, sets, strict=True)]
        new = [key for key in dict.fromkeys(keys) if key not in self._known]
        for start in range(0, len(new), PART):
            self._solve(new[start : start + PART])
        return np.array([self._known[key] for key in keys])

    def of_all(self, owner: np.ndarray) -> np.ndarray:
        """Rates ``(E, M)`` of all BSs with the IRSs that ``owner (E, L)`` gives them."""
        E, M = self.view.own_user.shape[:2]
        rows, bs = (axis.reshape(-1) for axis in np.indices((E, M)))
        return self.of(rows, bs, owner[rows] == bs[:, None]).reshape(E, M)

    def _solve(self, keys: list[tuple[int, int, bytes]]) -> None:
        """Every cell as an environment with a single BS and its own users first."""
        s, csi = self.view.scenario, self.view.csi
        rows, bs = (np.array([key[i] for key in keys]) for i in (0, 1))
        sets = np.array([np.frombuffer(key[2], bool) for key in keys])
        own = self.view.cell[rows] == bs[:, None]
        users = np.argsort(~own, axis=1, kind="stable")[:, : max(1, int(own.sum(1).max()))]
        present = np.take_along_axis(own, users, 1)
        B, K, at = len(keys), users.shape[1], rows[:, None]
        neutral = [np.ones((B, 1, *shape), np.float32) for shape in ((s.num_irs, K), (K,), ())]
        H, G = csi.H[at, bs[:, None], users][:, None], csi.G[rows, bs][:, None]
        h = np.ascontiguousarray(csi.h[at[..., None], np.arange(s.num_irs)[:, None], users[:, None]])
        owner, cell = np.where(sets, 0, -1), np.where(present, 0, 1)
        sizes = np.array(s.elements, np.int64), np.array(s.tx_powers_w[:1]), s.noise_power_w, s.sweeps
        beams = np.zeros(H.shape, np.complex64), np.ones((B, s.num_irs, s.max_elements), np.complex64)
        results = [np.empty((B, n), np.float32) for n in (K, 1, 1)]
        reach = sets[:, :, None] & present[:, None]
        kernels.structured_slot(*neutral, H, G, h, owner, cell, reach, *sizes, *beams, *results)
        self._known |= dict(zip(keys, results[1][:, 0].astype(float).tolist(), strict=True))


def greedy(values: Values) -> np.ndarray:
    """Owners ``(E, L)``: IRS by IRS, the pair of BS and free IRS that adds most to the system's rate."""
    E, M = values.view.own_user.shape[:2]
    L = values.view.scenario.num_irs
    one, env = np.eye(L, dtype=bool), np.arange(E)
    held = np.zeros((E, M, L), bool)
    rows, bs, irs = (axis.reshape(-1) for axis in np.indices((E, M, L)))
    gain = values.of(rows, bs, one[irs]).reshape(E, M, L) - values.of_all(np.full((E, L), -1))[..., None]
    for _ in range(L):
        free = np.where(held.any(1, keepdims=True), -np.inf, gain)
        winner, won = np.unravel_index(free.reshape(E, -1).argmax(-1), (M, L))
        held[env, winner, won] = True
        row, left = np.nonzero(~held.any(1))  # what changed is the worth of the IRSs still free to the BS that won
        sets = held[row, winner[row]]
        now = values.of(env, winner, held[env, winner])
        gain[row, winner[row], left] = values.of(row, winner[row], sets | one[left]) - now[row]
    return held.argmax(1)


def improved(values: Values, owner: np.ndarray, near: int) -> np.ndarray:
    """Owners after the best moves of one IRS to another BS, one after the other, until none adds anything.

    Args:
        values: of the slot.
        owner: ``(E, L)`` to begin with.
        near: of so many BSs it is tried to give them an IRS, those to which it is worth most alone.
    """
    owner, (M, L) = owner.copy(), (values.view.scenario.num_bs, owner.shape[1])
    E, one = len(owner), np.eye(L, dtype=bool)
    rows, bs, irs = (axis.reshape(-1) for axis in np.indices((E, M, L)))
    alone = values.of(rows, bs, one[irs]).reshape(E, M, L) - values.of_all(np.full((E, L), -1))[..., None]
    nearest = np.argsort(-alone, axis=1)[:, :near]  # (E, near, L)
    active = np.arange(E)
    while len(active):
        held = owner[active][:, None] == np.arange(M)[:, None]
        row, rank, irs = (axis.reshape(-1) for axis in np.indices((len(active), near, L)))
        taker, giver, env = nearest[active][row, rank, irs], owner[active][row, irs], active[row]
        joined = values.of(env, taker, held[row, taker] | one[irs]) - values.of(env, taker, held[row, taker])
        lost = values.of(env, giver, held[row, giver] & ~one[irs]) - values.of(env, giver, held[row, giver])
        move = np.where(taker == giver, -np.inf, joined + lost).reshape(len(active), -1)
        best, better = move.argmax(1), move.max(1) > LEAST_GAIN
        rank, irs = np.unravel_index(best[better], (near, L))
        owner[active[better], irs] = nearest[active[better], rank, irs]
        active = active[better]
    return owner


class Acting(ABC):
    """What acts through structured actions in an environment.

    Attributes:
        name: what tables call it.
        every: it searches in slots 0, every, 2 every ... alone, those that are measured.
    """

    name: str
    every: int = 1

    def adapt(self, scenario: Scenario) -> Scenario:
        """The scenario with structured actions and the cheap observations."""
        return scenario.replace(action="structured", observation="large_scale")

    @abstractmethod
    def actions(self, env: Any) -> np.ndarray:
        """Actions ``(E, M, D_a)`` for the slot of an environment."""

    def bind(self, env: Any, seed: int = 0) -> Callable[[Any], np.ndarray]:
        """A callable ``observations -> actions``."""

        def act(observations: Any = None) -> np.ndarray:
            return _with(env) if env.view().slot[0] % self.every else self.actions(env)

        return act


@dataclass(frozen=True)
class SetSearch(Acting):
    """Central search over associations: greedy, then moves of single IRSs. It knows the CSI of all BSs.

    A lower bound of the best association: without interference the rate is the sum of own rates of sets.
    """

    name: str = "greedy and moves"
    every: int = 1
    near: int = 4  # BSs that an IRS is moved to

    def actions(self, env: Any) -> np.ndarray:
        """Bids that give every IRS to its owner."""
        values = Values(env.view())
        owner = improved(values, greedy(values), min(self.near, env.scenario.num_bs))
        return _with(env, bids=bids_for(owner, env.scenario.num_bs))


@dataclass(frozen=True)
class JointSearch(Acting):
    """Every association with every combination of power shares, by the true rates of the slot: the best of them."""

    name: str = "associations x powers"
    every: int = 1
    shares: tuple[float, ...] = SHARES
    associations: bool = True  # False: those of the local-gain rule

    def actions(self, env: Any) -> np.ndarray:
        """The best action found."""
        s, core, state = env.scenario, env._core, env._state
        M, E = s.num_bs, len(state.cell)
        owners: Sequence[Any] = list(itertools.product(range(M), repeat=s.num_irs))
        if not self.associations:
            owners = [POLICIES["structured-local-gain"].bind(env)()[..., : s.num_irs].argmax(1)]
        best, rate = _with(env), np.full(E, -np.inf)
        for owner, share in itertools.product(owners, itertools.product(self.shares, repeat=M)):
            held = np.broadcast_to(np.array(owner, np.int64), (E, s.num_irs)).copy()
            tried = _with(env, bids=bids_for(held, M), total_power=np.tile(2.0 * np.array(share) - 1.0, (E, 1)))
            now = core.slot.rates(state, tried, held)[0].sum(-1, dtype=np.float64)
            better = now > rate
            best[better], rate = tried[better], np.maximum(rate, now)
        return best


def _with(env: Any, **entries: np.ndarray) -> np.ndarray:
    """Neutral actions ``(E, M, D_a)`` at full power, with some entries set."""
    s, layout = env.scenario, env.action_codec.layout
    action = np.zeros((len(env.view().cell), s.num_bs, layout.size), np.float32)
    if "total_power" in layout.slices:
        action[..., layout.slices["total_power"]] = 1.0
    for name, x in entries.items():
        action[..., layout.slices[name]] = x.reshape(*action.shape[:2], -1)
    return action
