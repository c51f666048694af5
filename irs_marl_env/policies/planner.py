"""The planner: who should hold each IRS when a change takes time, by a dynamic programme that knows the future.

An IRS that changes hands is idle for ``switching_slots`` slots, so its best holder depends on where users will go. No
base station can know that. The planner does: it lets copies of the environment run to the end of the episode, and
shows how much is lost by whoever does not know it. Its number is a ceiling, not a rival.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from irs_marl_env.checks import Whole, refusal, shown
from irs_marl_env.engine.view import View
from irs_marl_env.physics.association import switch
from irs_marl_env.policies.limits import neglected
from irs_marl_env.policies.rules import bids_for, subsets
from irs_marl_env.scenario import Scenario
from irs_marl_env.vector_env import MdlbiVectorEnv

DRAWS = 8  # of fading, over which "planner" averages the rates to come
MOST_DRAWS = 1000
MOST_CHOICES = 2**16  # states of the IRSs times owners that can be decided, of one environment
NEAR_M = 0.01  # rounding of positions stays below
MOST_NUMBERS = 2**23  # values of a plan, states of the IRSs times slots, of one environment

_FADING = ("direct_fading", "bs_irs_fading", "irs_user_fading", "csi_error")  # streams that a copy draws anew
_PLANNER_KEY = 0x914A  # keeps these draws apart from those of other policies and of environments


@dataclass(frozen=True)
class Planner:
    """The best owners for the rest of the episode, slot by slot, by dynamic programming over who holds which IRS.

    It knows what no base station knows: the walks of all users to the end of the episode and the CSI of all cells. The
    rates of later slots are means over ``draws`` draws of the fading, made with the environment's own decoder; those of
    the present slot are made with the present CSI. With ``draws=None`` it knows the fading to come, too; then no
    policy with the same decoder does better in an episode, if there is no interference between cells and CSI has no
    errors.

    It looks ahead by copies of the environment (``get_state``, ``set_state``), which walk the same ways because walks
    depend on no action.

    Attributes:
        name: what tables call it.
        draws: of the fading, at least 1; ``None``: the fading that comes.
    """

    name: str
    draws: int | None = DRAWS
    remembers = True  # it acts in every slot: what it held matters later

    def __post_init__(self) -> None:
        object.__setattr__(self, "draws", Whole(1, MOST_DRAWS, optional=True)("draws", self.draws))

    def neglects(self, scenario: Scenario) -> list[str]:
        """What of a scenario it chooses without regard to; see :data:`irs_marl_env.policies.limits.LIMITS`."""
        return neglected("planner", "structured", scenario)

    def adapt(self, scenario: Scenario) -> Scenario:
        """The scenario it is evaluated on: structured actions, all CSI.

        Raises:
            ValueError: a plan would be too large, or bids decide the owners of the next slot.
        """
        check_plan(scenario)
        return scenario.replace(action="structured", csi="all", observation="large_scale")

    def bind(self, env: Any, seed: int = 0) -> Any:
        """A callable ``observations -> actions``; see :meth:`irs_marl_env.policies.ClassicalPolicy.bind`."""
        scenario = env.scenario
        check_plan(scenario)
        if scenario.action != "structured":
            raise ValueError(f"policy {self.name!r} needs action='structured', not {scenario.action!r}")
        plan = Plan(scenario, self.draws, seed)

        def act(observations: Any = None) -> Any:
            bids = bids_for(plan.owners(env), scenario.num_bs)
            actions = np.tile(env.action_codec.neutral, (*bids.shape[:2], 1))
            actions[..., env.action_codec.layout.slices["bids"]] = bids
            if hasattr(env, "num_envs"):
                return actions
            return {agent: actions[0, m] for m, agent in enumerate(env.possible_agents)}

        return act


def check_plan(scenario: Scenario) -> None:
    """Refuse a scenario for which there is no plan.

    Raises:
        ValueError: too many states, or ``association_delay=1``.
    """
    if scenario.association_delay == 1:
        raise refusal("association_delay", 1, "0 for the planner, which decides the owners of the present slot")
    states = Switches.count(scenario)
    choices = states * scenario.num_bs**scenario.num_irs
    of = f"num_bs={scenario.num_bs}, num_irs={scenario.num_irs}, switching_slots={scenario.switching_slots}"
    if choices > MOST_CHOICES:
        raise ValueError(f"the planner has {shown(choices)} choices per slot with {of}: must be at most {MOST_CHOICES}")
    if states * scenario.horizon > MOST_NUMBERS:
        numbers = f"horizon={scenario.horizon} x {states} values with {of}"
        raise ValueError(f"the plan has {numbers}: must be at most {MOST_NUMBERS}")


class Switches:
    """What every decision makes of every state of the IRSs.

    The state of an IRS is its holder (M of them, or nobody) and the slots for which it is still idle, n of them
    possible, n at least 1; S = ((M + 1) n)^L states of all IRSs together, A = M^L decisions.

    Args:
        scenario: the scenario.

    Attributes:
        following: ``(S, A)`` the state after the slot.
        members: ``(S, A, M)`` the index of the set of IRSs that each BS owns in the slot; bit l is IRS l.
        decided: ``(A, L)`` owners that a decision is for.
    """

    def __init__(self, scenario: Scenario) -> None:
        M, L = scenario.num_bs, scenario.num_irs
        self._slots, self._idle, self._holders = scenario.switching_slots, max(1, scenario.switching_slots), M + 1
        states, decisions = self.count(scenario), M**L
        alone = self._holders * self._idle
        digits = np.arange(states)[:, None] // alone ** np.arange(L) % alone  # (S, L) the state of each IRS
        self.decided = np.arange(decisions)[:, None] // M ** np.arange(L) % M
        holder, idle = digits // self._idle - 1, digits % self._idle
        after, left, owner = self._switched(holder[:, None], idle[:, None], self.decided[None])
        self.following = self.index(after, np.maximum(left - 1, 0))
        bits = 1 << np.arange(L)
        self.members = ((owner[..., None, :] == np.arange(M)[:, None]) * bits).sum(-1)

    @classmethod
    def count(cls, scenario: Scenario) -> int:
        """S."""
        return int(((scenario.num_bs + 1) * max(1, scenario.switching_slots)) ** scenario.num_irs)

    def index(self, holder: np.ndarray, idle: np.ndarray) -> np.ndarray:
        """The index ``(...)`` of states of all IRSs, ``(..., L)`` each."""
        alone = (holder + 1) * self._idle + idle
        return (alone * (self._holders * self._idle) ** np.arange(holder.shape[-1])).sum(-1)

    def _switched(self, holder: np.ndarray, idle: np.ndarray, decided: np.ndarray) -> tuple[np.ndarray, ...]:
        holder, idle, decided = np.broadcast_arrays(holder, idle, decided)
        if self._slots:
            return switch(holder, idle, decided, self._slots)
        return decided, idle, decided


def to_come(rates: np.ndarray, switches: Switches) -> np.ndarray:
    """The most that can still be had from each slot on, by the state of the IRSs.

    ``J[t, s] = max_a { sum_m rates[t, m, set of m] + J[t + 1, state after a] }`` with ``J[T] = 0``, Bellman's equation.

    Args:
        rates: ``(T, E, M, 2^L)`` of each set of IRSs to each BS in each slot.
        switches: what decisions do.

    Returns:
        ``(T + 1, E, S)`` float32.
    """
    T, E = rates.shape[:2]
    value = np.zeros((T + 1, E, len(switches.following)), np.float32)
    for t in range(T - 1, -1, -1):
        value[t] = (_in_slot(rates[t], switches.members) + value[t + 1][:, switches.following]).max(-1)
    return value


def _in_slot(rates: np.ndarray, members: np.ndarray) -> np.ndarray:
    """The system's rate in a slot, from ``(E, M, 2^L)`` by set and sets ``(..., M)``: ``(E, ...)``."""
    return np.stack([rates[:, m][:, members[..., m]] for m in range(rates.shape[1])]).sum(0)


class Plan:
    """The values of all that can still come, made once per episode.

    Args:
        scenario: the scenario.
        draws: as of :class:`Planner`.
        seed: of the draws; row i has ``seed + i``.
    """

    def __init__(self, scenario: Scenario, draws: int | None, seed: int) -> None:
        self._scenario, self._draws, self._seed = scenario, draws, seed
        self._sets = subsets(scenario.num_irs)
        self._switches = Switches(scenario)
        self._values = np.zeros((1, 0, 0), np.float32)  # (T + 1, E, S), from the slot of the plan on
        self._age = 0  # slots since the plan was made
        self._slot: np.ndarray | None = None  # (E,) of the last decision
        self._ways = np.zeros((0, 0, 0, 2))  # (T, E, K, 2) where users are in the slots of the plan

    def owners(self, env: Any) -> np.ndarray:
        """The best owners ``(E, L)`` of the present slot."""
        view: View = env.view()
        self._look_ahead(env, view)
        switches = self._switches
        state = switches.index(view.holder, view.idle)
        now = view.set_rates(self._sets)
        rows = np.arange(len(state))
        members = switches.members[state]  # (E, A, M)
        system = sum(now[rows[:, None], m, members[..., m]] for m in range(self._scenario.num_bs))
        value = system + self._values[self._age + 1][rows[:, None], switches.following[state]]
        return switches.decided[value.argmax(-1)]

    def _look_ahead(self, env: Any, view: View) -> None:
        """A plan from here on, unless there is one that has been followed so far."""
        slot = view.slot
        for age in (self._age, self._age + 1):  # asked twice, or one slot later
            as_planned = self._slot is not None and np.array_equal(slot, self._slot + age - self._age)
            if as_planned and self._foresaw(view.position, age):
                self._slot, self._age = slot.copy(), age
                return
        rates, ways = zip(*(_to_the_end(copy, left, self._sets) for copy, left in self._copies(env)), strict=True)
        self._values, self._ways = to_come(np.stack(rates).mean(0), self._switches), ways[0]
        self._age, self._slot = 0, slot.copy()

    def _foresaw(self, position: np.ndarray, age: int) -> bool:
        """Whether users are where the plan has them; elsewhere they are after a reset or in another state."""
        return age < len(self._ways) and bool((abs(self._ways[age] - position) < NEAR_M).all())

    def _copies(self, env: Any) -> Iterator[tuple[MdlbiVectorEnv, np.ndarray]]:
        """Environments in the present state that walk the same ways, and how many slots are left in each row."""
        saved = env.get_state()
        left = saved["ends"] - saved["slot"]
        for draw in range(self._draws or 1):
            copy = MdlbiVectorEnv(self._scenario, len(left))
            if self._draws is not None:
                saved = {**saved, "streams": _other_fading(saved["streams"], self._seed, draw)}
            copy.set_state(saved)
            yield copy, left


def _other_fading(streams: dict[str, Any], seed: int, draw: int) -> dict[str, Any]:
    """Streams of which those of the fading have other keys."""
    other = dict(streams)
    for i, cause in enumerate(_FADING):
        keys = [
            np.random.SeedSequence(seed + row, spawn_key=(_PLANNER_KEY, draw, i)).generate_state(2, np.uint64)
            for row in range(len(streams[cause]))
        ]
        other[cause] = [{"key": key.tolist(), "words": 0} for key in keys]
    return other


def _to_the_end(env: MdlbiVectorEnv, left: np.ndarray, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rates ``(T, E, M, C)`` of sets ``(C, L)``, 0 after a row's end, and where users ``(T, E, K, 2)`` are.

    T is the number of slots to the end of the longest episode.
    """
    idle = np.zeros((env.num_envs, env.scenario.num_bs, env.action_size), np.float32)
    rates, ways = [], []
    for slot in range(int(left.max())):
        view = env.view()
        rates.append(view.set_rates(sets) * (slot < left)[:, None, None])
        ways.append(view.position)
        if slot + 1 < left.max():
            env.step(idle)
    return np.stack(rates), np.stack(ways)
