"""Fuzz: random scenarios over all fields at once, stepped with random actions, and everything that comes back checked.

    python benchmarks/fuzz.py                        # 2,000 scenarios
    python benchmarks/fuzz.py --sets 100 --seed 7    # those with the seeds 7 ... 106
    python benchmarks/fuzz.py --jobs 4               # the same, shared out over four processes

Every scenario (``random_scenarios.py``) runs plain, with kernels (needs numba) and in torch. Checked are

- ``finite``, ``spaces``: no NaN and no infinity, nothing outside the bounds that the codecs state;
- ``constraints``: transmit power, unit modulus or the grid of ``phase_bits``, owners, cells (the nearest base station),
  users inside the area, rates not negative, sums of rates, episodes of the right length;
- ``same``: a step from the same state with the same action gives the same in all three, within the bounds below;
- ``row``: a row of the batch is the environment of its own with its seed, bit for bit (torch: within rounding, since
  its vector instructions treat the last numbers of an array in another way);
- ``pickle``, ``state``: a copy by pickle, or by get_state and set_state, goes on bit for bit;
- ``silent``: no exception and no warning.

What lies on an edge, where rounding decides (a phase half-way between two of the grid, a user half-way between two base
stations), may differ between the three. It is counted, not hidden. Every violation is printed as the line of code that
makes the environment; ``reset`` gets the seed that stands there, and the actions are ``actions(env, seed)`` of this
file. Exit code 1 if there are violations.
"""

# ruff: noqa: B023 (what a check says is asked within the same turn of the loop)

from __future__ import annotations

import os

# before numpy is imported
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import math
import multiprocessing
import pickle
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import tyro
from random_scenarios import random_fields
from timing import machine, table

from irs_marl_env import Scenario, make_env, make_vec_env
from irs_marl_env.arrays import to_numpy
from irs_marl_env.physics.deployment import bs_positions

ROWS = 3  # environments of a batch
CHECKS = ("finite", "spaces", "constraints", "same", "row", "pickle", "state", "silent")
WAYS: dict[str, tuple[str, dict[str, Any]]] = {  # with the package that the way needs
    "plain": ("numpy", {"fast": False}),
    "kernels": ("numba", {"fast": True}),
    "torch": ("torch", {"backend": "torch"}),
}

# --- bounds, each with its reason ------------------------------------------------------------------------------------

# Channels are complex64: a number has a relative error of 6e-8, a sum over elements, antennas and users some tens of
# these, and what an algorithm makes of it in a few steps may be a thousand times that.
RATE_BOUND = 1e-3  # bit/s/Hz and relative: 0.07 % of an SINR
# Beams are complex64 as well, so a null that they form is 1e-7 of the amplitude deep: what interference and noise are
# below 1e-11 of the signal, no two ways of rounding agree upon.
NOISE_BOUND = 1e-11  # of the signal
ENTRY_BOUND = 2e-5  # of the largest entry of an array: normal numbers of the kernels are within 2e-6 of numpy's
POSITION_BOUND = 1e-9  # relative: float64 throughout
POWER_BOUND = 1e-5  # relative: a sum of float32
PHASE_BOUND = 1e-3  # rad, of a phase before it is rounded to the grid
ROW_BOUND = 2e-6  # of the largest entry, torch alone: some units in the last place
EDGE = 1e-6  # relative difference of two distances below which either base station is the nearest


@dataclass
class Args:
    """Settings of the fuzz."""

    sets: int = 2000
    """scenarios"""
    seed: int = 0
    """of the first; the others have the following ones"""
    jobs: int = 1
    """processes"""
    extreme: float = 0.03
    """share of the numbers at an end of what is allowed"""


class Report(NamedTuple):
    """What was found; adds up."""

    done: Counter[str]  # how often each check was made, by name
    failed: Counter[str]
    edges: Counter[str]  # differences on an edge, by kind
    lines: list[str]  # a violation each
    compiled: int = 0  # specialisations of kernels that were not on the disk

    def add(self, other: Report) -> None:
        """Count the other's in."""
        for mine, its in zip(self[:3], other[:3], strict=True):
            mine.update(its)
        self.lines.extend(other.lines)

    @classmethod
    def empty(cls) -> Report:
        return cls(Counter(), Counter(), Counter(), [])


Arrays = dict[str, np.ndarray]


# --- one scenario ----------------------------------------------------------------------------------------------------


class Fuzzed:
    """A random scenario with its seed, and the checks of it.

    Args:
        seed: of the scenario, the actions and the environments.
        extreme: see :func:`random_scenarios.random_fields`.

    Raises:
        ValueError: the fields that were drawn do not go together.
    """

    def __init__(self, seed: int, extreme: float) -> None:
        self.seed, self.fields = seed, random_fields(np.random.default_rng(seed), extreme)
        self.scenario = Scenario(**self.fields)
        self.report = Report.empty()
        self._seen: set[tuple[str, str]] = set()

    def line(self, way: str) -> str:
        """The code that makes the environment."""
        arguments = {**WAYS[way][1], **self.fields}
        default = Scenario()
        shown = ", ".join(f"{n}={x!r}" for n, x in arguments.items() if x != getattr(default, n, None))
        return f'make_vec_env("mdlbi-v0", {ROWS}, {shown})'

    def note(self, check: str, way: str, what: str) -> None:
        """A violation, printed once for each check and way of a scenario."""
        self.report.failed[check] += 1
        if (check, way) not in self._seen:
            self._seen.add((check, way))
            self.report.lines.append(f"{self.line(way)}  # seed {self.seed}: {check}: {what}")

    def expect(self, check: str, way: str, holds: Any, what: Callable[[], str]) -> None:
        """Count a check, and note it where it does not hold; ``what`` says how, and is asked only then."""
        self.report.done[check] += 1
        if not holds:
            self.note(check, way, what())

    def run(self) -> Report:
        """All checks in all ways that are installed."""
        ways = [way for way, (package, _) in WAYS.items() if find_spec(package)]
        for way in ways:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    self.run_way(way)
                except Exception as error:
                    self.note("silent", way, f"{type(error).__name__}: {str(error).splitlines()[0][:200]}")
            self.report.done["silent"] += 1
        return self.report

    def make(self, way: str, num_envs: int = ROWS) -> Any:
        return make_vec_env(self.scenario, num_envs, **WAYS[way][1])

    def run_way(self, way: str) -> None:
        """The checks of one way, the comparison with the plain one included."""
        env = self.make(way)
        given = actions(env, self.seed)
        middle = len(given) // 2
        row = self.seed % ROWS
        first = {"observations": array(env.reset(seed=self.seed)[0])}
        trajectory = [first]
        continued: dict[str, Any] = {}
        self.check_seen(way, env, first["observations"], "reset")
        for slot, action in enumerate(given):
            if slot == middle:
                continued["pickle"] = pickle.loads(pickle.dumps(env))
                continued["state"] = self.make(way)
                continued["state"].set_state(env.get_state())
            sent = transmitted(env, action)
            result = by_name(env.step(action))
            trajectory.append(result)
            self.check_seen(way, env, result["observations"], f"slot {slot}")
            self.check_slot(way, sent, result, slot)
        for check, copy in continued.items():
            for slot in range(middle, len(given)):
                self.check_equal(check, way, by_name(copy.step(given[slot])), trajectory[slot + 1], f"slot {slot}")
        self.check_row(way, row, given, trajectory)
        if way != "plain":
            self.check_same(way, given)

    # --- what comes back ---------------------------------------------------------------------------------------------

    def check_seen(self, way: str, env: Any, observations: np.ndarray, when: str) -> None:
        """Observations, states and positions."""
        view, s = env.view(), self.scenario
        codec, encoder = env.observation_codec, env.state_encoder
        for name, x, space in (("observations", observations, codec), ("state", array(env.state()), encoder)):
            self.expect("finite", way, np.isfinite(x).all(), lambda: f"{when}: {name} has {odd(x)}")
            inside = (x >= space.low) & (x <= space.high)
            self.expect(
                "spaces", way, inside.all() and x.dtype == np.float32, lambda: f"{when}: {name} has {x[~inside][:3]}"
            )
        x_min, y_min, x_max, y_max = s.bounds_m
        inside = (view.position >= (x_min, y_min)) & (view.position <= (x_max, y_max))
        self.expect("constraints", way, inside.all(), lambda: f"{when}: users at {view.position[~inside.all(-1)][:1]}")
        measure = np.linalg.norm(with_height(view.position, s)[:, :, None] - bs_positions(s), axis=-1)  # (E, K, M)
        if s.cell_rule == "strongest":
            measure = 1.0 / (view.gains.direct.swapaxes(1, 2).astype(float) * np.sqrt(s.tx_powers_w))
        chosen = np.take_along_axis(measure, view.cell[..., None], -1)[..., 0]
        best = measure.min(-1)
        right = chosen <= best * (1 + EDGE)
        self.expect(
            "constraints", way, right.all(), lambda: f"{when}: a cell at {chosen[~right][:1]}, not {best[~right][:1]}"
        )

    def check_slot(self, way: str, sent: Sent, result: Arrays, slot: int) -> None:
        """Rates, powers, owners, phases of a slot."""
        s, when = self.scenario, f"slot {slot}"

        def expect(holds: Any, what: Callable[[], str]) -> None:
            self.expect("constraints", way, holds, lambda: f"{when}: {what()}")

        for name, x in result.items():
            self.expect("finite", way, np.isfinite(x).all(), lambda: f"{when}: {name} has {odd(x)}")
        limit = np.array(s.tx_powers_w) * (1 + POWER_BOUND)  # (M,)
        power, owner, cell, rates = (result[name] for name in ("power_w", "owner", "cell", "rates"))
        expect((power <= limit).all(), lambda: f"power_w {power.tolist()} W above Pmax {s.tx_powers_w} W")
        expect((rates >= 0).all(), lambda: f"rates of {rates.min():g}")
        expect(((owner >= -1) & (owner < s.num_bs)).all(), lambda: f"owners {owner.tolist()}")
        own = cell[:, None] == np.arange(s.num_bs)[:, None]
        sums = (rates[:, None] * own).sum(-1)
        expect(
            alike(result["sum_rate"], sums, 1e-5),
            lambda: f"sum_rate {result['sum_rate'].tolist()}, of rates {sums.tolist()}",
        )
        ends = bool((slot + 1) % s.horizon == 0)
        expect(
            (result["truncations"] == ends).all() and not result["terminations"].any(),
            lambda: f"truncated is not {ends}",
        )
        w, phi = sent.w.astype(complex), sent.phi.astype(complex)
        radiated = (abs(w) ** 2).sum((-2, -1))
        expect((radiated <= limit).all(), lambda: f"beams of {radiated.tolist()} W above Pmax {s.tx_powers_w} W")
        expect(alike(power, radiated, 1e-4), lambda: f"power_w {power.tolist()}, of beams {radiated.tolist()}")
        expect((w[~own] == 0).all(), lambda: "a beam for a user of another cell")
        absent = np.arange(s.max_antennas) >= np.array(s.antennas)[:, None]  # (M, Nb)
        expect((w.swapaxes(1, 2)[..., absent] == 0).all(), lambda: "a beam from an antenna that is not there")
        expect(
            ((abs(phi) < 1 + 1e-5) & (abs(phi) > s.element_amplitude_min - 1e-5)).all(),
            lambda: f"|phi| in [{abs(phi).min(initial=1):g}, {abs(phi).max(initial=1):g}]",
        )
        if s.phase_bits is not None and s.element_amplitude_min > 1e-3:  # else nothing may be left of a phase
            steps = np.angle(phi) / grid_step(s)
            expect((abs(steps - steps.round()) < 0.02).all(), lambda: f"a phase off the grid of {s.phase_bits} bits")

    # --- the same again ----------------------------------------------------------------------------------------------

    def check_equal(
        self, check: str, way: str, mine: Arrays, its: Arrays, when: str, bound: float | None = None
    ) -> None:
        """Bit for bit, or floating-point numbers within a share of the largest entry."""
        for name, x in its.items():
            y = mine.get(name)
            same = y is not None and y.dtype == x.dtype and np.array_equal(y, x, equal_nan=True)
            if bound and y is not None and x.dtype.kind == "f":
                same = alike(y, x, bound)
            self.expect(check, way, same, lambda: f"{when}: {name} {difference(y, x)}")

    def check_row(self, way: str, row: int, given: Any, trajectory: list[Arrays]) -> None:
        """A row of the batch and the environment of its own."""
        single = make_env(self.scenario, fast=WAYS[way][1]["fast"]) if way != "torch" else self.make(way, 1)
        for slot, its in enumerate(alone(single, self.seed + row, given[:, row])):
            expected = {name: x[row] for name, x in trajectory[slot].items() if name in its}
            bound = ROW_BOUND if way == "torch" else None
            self.check_equal("row", way, its, expected, f"slot {slot - 1}, row {row}", bound)

    def check_same(self, way: str, given: Any) -> None:
        """Every step from the state of the plain environment."""
        plain, other = self.make("plain"), self.make(way)
        start = [array(env.reset(seed=self.seed)[0]) for env in (other, plain)]
        self.expect("same", way, alike(*start), lambda: f"reset: observations {difference(*start)}")
        for slot, action in enumerate(given):
            other.set_state({name: np.copy(x) if hasattr(x, "shape") else x for name, x in plain.get_state().items()})
            phases = [free_phases(env, action) for env in (other, plain)] if self.scenario.phase_bits else []
            mine, its = (by_name(env.step(action)) for env in (other, plain))
            self.compare(way, f"slot {slot}", mine, its, phases, [env.view() for env in (other, plain)])

    def compare(self, way: str, when: str, mine: Arrays, its: Arrays, phases: list[np.ndarray], views: Any) -> None:
        """What a step brought in two ways, row by row: a row that lies on an edge is counted and left out."""
        s = self.scenario
        moved = np.array([
            alike(*(with_height(v.position, s)[e] for v in views), POSITION_BOUND) for e in range(ROWS)
        ])  # fmt: skip
        self.expect("same", way, moved.all(), lambda: f"{when}: positions differ from the plain ones")
        usual = moved & (views[0].cell == views[1].cell).all(-1)
        self.report.edges["cells"] += int((moved & ~usual).sum())
        self.report.edges["cells, compared"] += int(moved.sum())
        good = rates_agree(mine["rates"], its["rates"]).all(-1)
        flipped = on_edges(s, *phases) if phases else np.zeros(ROWS, bool)
        self.report.edges["phases"] += int((flipped & ~good).sum())
        self.report.edges["phases, compared"] += int(ROWS * bool(phases))
        for e in np.flatnonzero(~flipped):
            a, b = mine["rates"][e], its["rates"][e]
            k = int(abs(a - b).argmax())
            self.expect("same", way, good[e], lambda: f"{when}: rates[{e}, {k}] = {a[k]:.6g}, plain {b[k]:.6g}")
            # rewards are weighted means of sums of rates, less the cost of bids: they differ by no more
            room = abs(a - b).sum() + ENTRY_BOUND * (
                abs(b).sum() + abs(its["rewards"][e]).max() + s.bid_cost * s.num_irs
            )
            off = abs(mine["rewards"][e] - its["rewards"][e]).max()
            self.expect(
                "same",
                way,
                off <= room,
                lambda: f"{when}: rewards differ by {off:.3g}, where rates differ by {room:.3g}",
            )
        for name in ("owner", "cell", "truncations", "terminations"):
            same = np.array_equal(mine[name], its[name])
            self.expect("same", way, same, lambda: f"{when}: {name} {mine[name].tolist()}, plain {its[name].tolist()}")
        same = alike(mine["power_w"], its["power_w"], 1e-4)
        self.expect("same", way, same, lambda: f"{when}: power_w {difference(mine['power_w'], its['power_w'])}")
        for name in ("observations", "final_observation", "final_state"):
            if name in its:
                same = alike(mine[name][usual], its[name][usual])
                self.expect(
                    "same", way, same, lambda: f"{when}: {name} {difference(mine[name][usual], its[name][usual])}"
                )


# --- running ---------------------------------------------------------------------------------------------------------


def actions(env: Any, seed: int) -> np.ndarray:
    """Actions of an episode and a slot ``(slots, E, M, D_a)`` float32, each slot of a kind of its own."""
    s, rng = env.scenario, np.random.default_rng(seed + 2**32)
    given = rng.uniform(-1.2, 1.2, (s.horizon + 1, env.num_envs, s.num_bs, env.action_size))
    for slot in range(len(given)):
        kind = rng.choice(["usual", "corners", "coarse", "tiny", "zero", "huge"], p=[0.6, 0.1, 0.1, 0.1, 0.05, 0.05])
        if kind == "corners":
            given[slot] = np.sign(given[slot])
        elif kind == "coarse":  # equal bids
            given[slot] = given[slot].round()
        elif kind in ("tiny", "huge"):
            given[slot] *= 10.0 ** (-rng.uniform(3, 30) if kind == "tiny" else rng.uniform(3, 30))
        elif kind == "zero":
            given[slot] = 0
    return given.astype(np.float32)


def alone(env: Any, seed: int, given: np.ndarray) -> Iterator[Arrays]:
    """What an environment of its own brings, in the arrays of a row of a batch: at reset, then in every slot."""
    if hasattr(env, "num_envs"):
        yield {"observations": array(env.reset(seed=seed)[0])[0]}
        for action in given:
            yield {name: x[0] for name, x in by_name(env.step(action[None])).items()}
        return
    agents = env.possible_agents
    yield {"observations": stacked(env.reset(seed=seed)[0])}
    for action in given:
        observations, rewards, _, truncations, infos = env.step(dict(zip(agents, action, strict=True)))
        first = infos[agents[0]]
        result = {
            "observations": stacked(observations),
            "rewards": np.array(list(rewards.values()), np.float32),
            "rates": np.sum([info["rates"] for info in infos.values()], axis=0),
            "sum_rate": np.array([info["sum_rate"] for info in infos.values()], np.float32),
            "power_w": np.array([info["power_w"] for info in infos.values()], np.float32),
            "owner": first["owner"],
            "cell": first["cell"],
        }
        if all(truncations.values()):
            result |= {"final_observation": result["observations"], "final_state": env.state()}
            result["observations"] = stacked(env.reset()[0])
        yield result


def stacked(by_agent: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack(list(by_agent.values()))


def array(x: Any) -> np.ndarray:
    return np.array(to_numpy(x))


def by_name(result: tuple[Any, ...]) -> Arrays:
    """The arrays of a step."""
    names = ("observations", "rewards", "terminations", "truncations")
    found = dict(zip(names, map(array, result[:4]), strict=True))
    infos = ("rates", "cell", "sum_rate", "power_w", "owner", "final_observation", "final_state")
    return found | {name: array(result[4][name]) for name in infos if name in result[4]}


class Sent(NamedTuple):
    """What the base stations transmit: beams ``(E, M, K, Nb)`` and phases ``(E, L, N)``."""

    w: np.ndarray
    phi: np.ndarray


def transmitted(env: Any, action: np.ndarray, free: bool = False) -> Sent:
    """What an action in the present state makes the base stations transmit, asked of the inside of the package.

    Args:
        env: a batched environment, which stays as it is.
        action: ``(E, M, D_a)``.
        free: with phases before they are rounded to a grid.
    """
    core, state = env._core, env._state
    streams = env._streams.rows(np.arange(env.num_envs))  # a copy: bids may draw a tie-break
    slot = type(core.slot)(env.scenario.replace(phase_bits=None, element_amplitude_min=1.0)) if free else core.slot
    action = env._check_action(action)
    decided, _ = slot.hand_over(state, slot.auction(action, streams)[1])
    owner = decided if env.scenario.association_delay == 0 else state.owner
    w, _, phi = slot.transmission(state, slot.decode(action), owner)
    return Sent(array(w), array(phi))


def free_phases(env: Any, action: np.ndarray) -> np.ndarray:
    """Phases ``(E, L, N)`` before they are rounded to the grid, in steps of the grid."""
    return np.angle(transmitted(env, action, free=True).phi.astype(complex)) / grid_step(env.scenario)


def grid_step(scenario: Scenario) -> float:
    """Between two phases of the grid [rad]."""
    return 2 * math.pi / 2 ** (scenario.phase_bits or 0)


def on_edges(scenario: Scenario, mine: np.ndarray, its: np.ndarray) -> np.ndarray:
    """``(E,)``: some phases were rounded to different sides, and each of these lies on an edge in both ways."""
    near = PHASE_BOUND / grid_step(scenario)
    different = (mine.round() - its.round()) % 2**scenario.phase_bits != 0
    at_edge = (abs(abs(mine % 1) - 0.5) <= near) & (abs(abs(its % 1) - 0.5) <= near)
    return (different & at_edge).any((-2, -1)) & ~(different & ~at_edge).any((-2, -1))


def with_height(position: np.ndarray, scenario: Scenario) -> np.ndarray:
    """``(E, K, 3)`` m."""
    return np.concatenate([position, np.full((*position.shape[:-1], 1), scenario.user_height_m)], axis=-1)


def rates_agree(mine: np.ndarray, its: np.ndarray) -> np.ndarray:
    """Which rates are equal within the bounds."""
    mine, its = mine.astype(float), its.astype(float)
    near = abs(mine - its) <= RATE_BOUND * (1 + its)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # a rate of zero, and one beyond all others
        below = [1 / np.expm1(x * math.log(2)) for x in (mine, its)]  # noise and interference over signal
        lost = abs(below[0] - below[1]) <= NOISE_BOUND
    return near | lost


def alike(mine: np.ndarray, its: np.ndarray, bound: float = ENTRY_BOUND) -> bool:
    """Whether two arrays agree within a share of their largest entry."""
    largest = abs(its).max(initial=0.0)
    return mine.shape == its.shape and bool((abs(mine - its) <= bound * max(largest, 1e-30)).all())


def odd(x: np.ndarray) -> str:
    """The first entry that is not finite, and where it stands."""
    at = np.argwhere(~np.isfinite(x))
    return f"{x[tuple(at[0])]} at {at[0].tolist()} ({len(at)} in all)" if len(at) else "nothing odd"


def difference(mine: Any, its: np.ndarray) -> str:
    """Where two arrays differ most."""
    if mine is None or mine.shape != its.shape or mine.dtype != its.dtype:
        return f"is of another shape or type: {getattr(mine, 'shape', None)} and {its.shape}"
    if not its.size:
        return "empty"
    off = np.nan_to_num(abs(mine.astype(float) - its.astype(float)), nan=np.inf)
    at = np.unravel_index(off.argmax(), off.shape)
    where = [int(i) for i in at]
    return f"{where} = {mine[at]:.8g}, expected {its[at]:.8g} ({int((off > 0).sum())} of {off.size} differ)"


def run_set(seed: int, extreme: float) -> Report:
    """All checks of the scenario with a seed."""
    try:
        fuzzed = Fuzzed(seed, extreme)
    except ValueError:  # the fields do not go together: the scenario said so in words
        report = Report.empty()
        report.done["refused"] += 1
        return report
    before = compiled_so_far()
    report = fuzzed.run()
    report.done["sets"] += 1
    report.done["specialisations"] += compiled_so_far() - before
    return report


def compiled_so_far() -> int:
    """Specialisations of kernels that this process had to compile."""
    if not find_spec("numba"):
        return 0
    from irs_marl_env.engine import kernels

    return sum(sum(getattr(kernels, name).stats.cache_misses.values()) for name in kernels.__all__)


def run_sets(args: Args) -> Iterator[Report]:
    """Reports of all sets, in order."""
    seeds, extreme = range(args.seed, args.seed + args.sets), [args.extreme] * args.sets
    if args.jobs == 1:
        yield from map(run_set, seeds, extreme)
        return
    with ProcessPoolExecutor(args.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(run_set, seeds, extreme, chunksize=8)


def main(args: Args) -> int:
    """Print violations as they are found, then the counts; the exit code."""
    stamp, start = machine(), time.perf_counter()
    total = Report.empty()
    for report in run_sets(args):
        total.add(report)
        for line in report.lines:
            print(line, flush=True)
    seconds = time.perf_counter() - start
    rows = [[check, f"{total.done[check]:,}", f"{total.failed[check]:,}"] for check in CHECKS]
    print("\n" + table(["check", "made", "failed"], rows))
    for kind in ("phases", "cells"):
        print(f"On an edge, {kind}: {total.edges[kind]:,} of {total.edges[f'{kind}, compared']:,} rows of slots.")
    ways = ", ".join(way for way, (package, _) in WAYS.items() if find_spec(package))
    print(
        f"{total.done['sets']:,} scenarios, seeds {args.seed} ... {args.seed + args.sets - 1}, each in {ways}; "
        f"{total.done['refused']:,} more were refused, because their fields do not go together.\n"
        f"{seconds:.0f} s, {args.sets / seconds:.2f} scenarios a second; specialisations of kernels compiled: "
        f"{total.done['specialisations']}.\n{stamp}"
    )
    broken = sum(total.failed.values())
    print(f"Violations: {broken:,}, in {len(total.lines):,} lines." if broken else "No violations.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args)))
