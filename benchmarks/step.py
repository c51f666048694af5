"""What a step costs: CPU time per environment step of all agents, single and batched, and the parts of one step.

    python benchmarks/step.py
    python benchmarks/step.py --scenarios mdlbi-k30-v0 --repeats 5
    python benchmarks/step.py --write               # also puts the tables into docs/performance.md
    python benchmarks/step.py --actions structured  # one of the two tables of variants alone, and no parts
    python benchmarks/step.py --device cuda         # the torch backend on a GPU alone, by the size of the batch

One thread. The variants are timed in turns, so that a busy neighbour spoils a repeat and not a variant; a ratio is the
median over the repeats of ratios within a repeat. Variants that need a package which is missing are left out.
"""

from __future__ import annotations

import os

# before numpy is imported
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import itertools
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any, Literal

import numpy as np
import tyro
from timing import PAGE, Case, Times, cell, duration, interleaved, machine, table, write_between

from irs_marl_env import get_scenario, make_env, make_vec_env
from irs_marl_env.sizes import environment_bytes

BATCH = {"mdlbi-large-v0": 8}  # environments; others 64
ENDLESS = 10**6  # slots: no reset among the steps
ACTIONS = 8
SHORT_S = 2e-3
REST = "the rest, and all between"
OWNED = {"association_delay": 1, "csi": "owned"}  # only the channels of owned pairs exist
RAW = {"observation": "large_scale"}
STRUCTURED = {"action": "structured", "observation": "large_scale"}


@dataclass
class Args:
    """Settings of the benchmark."""

    scenarios: tuple[str, ...] = ("mdlbi-small-v0", "mdlbi-k30-v0", "mdlbi-large-v0")
    repeats: int = 15
    """samples of each variant"""
    sample_s: float = 0.1
    """CPU seconds of a sample"""
    actions: tuple[Literal["raw", "structured"], ...] = ("raw", "structured")
    """forms of action to time"""
    parts: bool = True
    """time the parts of a single step with raw actions too"""
    device: str | None = None
    """time the torch backend on this device, ``cuda`` say, in a table of its own, and nothing else"""
    batches: tuple[int, ...] = ()
    """environments at once on the device; without any: 64 to 131,072, as far as 16 GiB last"""
    write: bool = False
    """put the tables into docs/performance.md"""


# --- variants --------------------------------------------------------------------------------------------------


def in_turn(draw: Callable[[np.random.Generator], Any]) -> Iterator[Any]:
    """Random actions, so that owners change as they would; few, so that drawing them is not timed."""
    rng = np.random.default_rng(0)
    return itertools.cycle([draw(rng) for _ in range(ACTIONS)])


def by_agent(agents: list[str], size: int) -> Iterator[dict[str, np.ndarray]]:
    """Actions of the single environment."""
    return in_turn(lambda rng: {agent: rng.uniform(-1, 1, size).astype(np.float32) for agent in agents})


def single(name: str, fast: bool, **setting: Any) -> Case:
    """The PettingZoo environment."""
    env = make_env(name, fast=fast, horizon=ENDLESS, **setting)
    env.reset(seed=0)
    actions = by_agent(env.agents, env.action_codec.size)
    return Case(lambda: env.step(next(actions)))


def batched(name: str, num_envs: int | None = None, **setting: Any) -> Case:
    """A batch of environments; actions and results live where the backend has them."""
    num_envs = num_envs or BATCH.get(name, 64)
    env = make_vec_env(name, num_envs, horizon=ENDLESS, **setting)
    env.reset(seed=0)
    shape = (num_envs, env.scenario.num_bs, env.action_size)
    convert: Callable[[np.ndarray], Any] = np.asarray
    if setting.get("backend") == "torch":
        import torch

        torch.set_num_threads(1)
        convert = partial(torch.as_tensor, device=env.device)
    actions = in_turn(lambda rng: convert(rng.uniform(-1, 1, shape).astype(np.float32)))
    return Case(lambda: env.step(next(actions)), num_envs, waiting(env.device))


def waiting(device: Any) -> Callable[[], object]:
    """What returns when a device has done all it was asked for."""
    if getattr(device, "type", "cpu") == "cpu":
        return lambda: None
    import torch

    return getattr(torch, device.type).synchronize


def raw_material(name: str) -> Case:
    """For scale, what numpy takes for the raw material of the default options, with no physics at all: as many normals
    from its generator as the channels hold real numbers, and one copy of the observations."""
    num_envs = BATCH.get(name, 64)
    env = make_vec_env(name, num_envs)
    observations, _ = env.reset(seed=0)
    s = env.scenario
    direct, irs_user = s.num_bs * s.num_users * s.max_antennas, s.num_users * sum(s.elements)
    numbers = 2 * num_envs * (direct + irs_user + s.num_bs * s.max_antennas * sum(s.elements))
    rng = np.random.Generator(np.random.SFC64(0))
    return Case(lambda: (rng.standard_normal(numbers, np.float32), observations.copy()), num_envs)


Variants = dict[str, tuple[str, Callable[[str], Case]]]  # with the package that the variant needs
VARIANTS: Variants = {
    "batch, numpy": ("numpy", lambda name: batched(name, fast=False)),
    "batch, fast": ("numba", lambda name: batched(name, fast=True)),
    "batch, fast, read-only": ("numba", lambda name: batched(name, fast=True, read_only=True)),
    "batch, fast, owned pairs": ("numba", lambda name: batched(name, fast=True, **OWNED)),
    "batch, fast, owned pairs, read-only": ("numba", lambda name: batched(name, fast=True, read_only=True, **OWNED)),
    "batch, fast, frozen BS-IRS channels": ("numba", lambda name: batched(name, fast=True, bs_irs_fading="frozen")),
    "batch, fast, large-scale view": (
        "numba",
        lambda name: batched(name, fast=True, observation="large_scale"),
    ),
    "batch, torch on the CPU": ("torch", lambda name: batched(name, backend="torch")),
    "single, numpy": ("numpy", lambda name: single(name, False)),
    "single, fast": ("numba", lambda name: single(name, True)),
    "for scale: normals by numpy, a copy of the observations": ("numpy", raw_material),
}


# structured actions, with raw ones of the same observation for comparison
STRUCTURED_VARIANTS: Variants = {
    "batch, numpy": ("numpy", lambda name: batched(name, fast=False, **STRUCTURED)),
    "batch, fast": ("numba", lambda name: batched(name, fast=True, **STRUCTURED)),
    "batch, fast, raw actions": ("numba", lambda name: batched(name, fast=True, **RAW)),
    "single, numpy": ("numpy", lambda name: single(name, False, **STRUCTURED)),
    "single, fast": ("numba", lambda name: single(name, True, **STRUCTURED)),
    "single, fast, raw actions": ("numba", lambda name: single(name, True, **RAW)),
}


def time_variants(name: str, variants: Variants, args: Args) -> dict[str, Times]:
    """Times of the variants that can run here."""
    cases = {label: make(name) for label, (package, make) in variants.items() if find_spec(package)}
    return interleaved(cases, args.repeats, args.sample_s)


# --- a device --------------------------------------------------------------------------------------------------


DEVICE_BATCHES = {"mdlbi-large-v0": (8, 64, 512)}  # environments; others:
USUAL_DEVICE_BATCHES = (64, 1024, 16384, 131072)
MOST_AT_ONCE = 2**34  # bytes of the steps that are timed


def device_table(device: str, args: Args, stamp: str) -> str:
    """Seconds on the wall per environment step on a device by the size of the batch, in turns with the kernels on one
    core of the same machine."""
    rows = []
    for form, name in itertools.product(args.actions, args.scenarios):
        usual, setting = BATCH.get(name, 64), STRUCTURED if form == "structured" else {}
        needed = environment_bytes(get_scenario(name, **setting))
        for num_envs in args.batches or DEVICE_BATCHES.get(name, USUAL_DEVICE_BATCHES):
            if num_envs * needed > MOST_AT_ONCE:
                continue
            cases = {device: batched(name, num_envs, backend="torch", device=device, **setting)}
            if find_spec("numba"):
                cases["kernels"] = batched(name, fast=True, **setting)
            times = interleaved(cases, args.repeats, args.sample_s, time.perf_counter)
            on_device, kernels = times[device], times.get("kernels")
            gain = f"{kernels.ratio(on_device):.2f}" if kernels else "-"
            rows.append([f"`{name}`, {form}", f"{num_envs:,}", cell(on_device), f"{usual:,}", cell(kernels), gain])
            print(f"{name}, {form}, {num_envs:,} on {device}: timed", file=sys.stderr, flush=True)
    head = ["scenario, actions", "batch", "torch on the device", "batch", "kernels, one core", "times as fast"]
    return table(head, rows) + f"\nLeast / median. {described(device)}, beside {stamp}"


def described(device: str) -> str:
    """A device in words."""
    import torch

    found = torch.device(device)
    return torch.cuda.get_device_name(found) if found.type == "cuda" else f"device {found}"


# --- parts -----------------------------------------------------------------------------------------------------


class Stopwatch:
    """Nanoseconds of a clock spent in wrapped functions by label, each less what wrapped functions inside it took."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.spent: dict[str, int] = defaultdict(int)
        self._inside = [0]

    def timed(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self._inside.append(0)
            start = self._clock()
            try:
                return function(*args, **kwargs)
            finally:
                took = self._clock() - start
                self.spent[label] += took - self._inside.pop()
                self._inside[-1] += took

        return wrapped


def instrument(env: Any, watch: Stopwatch) -> list[str]:
    """Wrap the parts of a step, on this one environment; the only function here that knows the package's inside.

    Returns:
        The parts that do not exist (any more), for the reader of the table.
    """
    core = env._core
    core.mobility = core.mobility._replace(advance=watch.timed("mobility", core.mobility.advance))
    compiled = getattr(core.slot, "whole_slot", False)
    parts = [
        ("actions checked", env, "_check_actions"),
        ("owners", core.slot, "auction"),
        *(
            [("beams, phases and rates, compiled", core.slot, "rates")]
            if compiled
            else [
                ("actions decoded", core.slot, "decode"),
                ("beams and phases", core.slot, "transmission"),
                ("rates", core.slot, "_rates"),
            ]
        ),
        ("cells and path loss", core.model, "large_scale"),
        ("channels from normals", core.model, "channels"),
        ("random numbers", env._streams, "uniform"),
        ("random numbers", env._streams, "complex_normal"),
        ("random numbers", env._streams, "scaled_normal"),
        ("random numbers", env._streams, "uniform_where"),
        ("observations written", core, "observe"),
        ("infos", env, "_infos"),
    ]
    found = set()
    for label, owner, name in parts:
        if hasattr(owner, name):
            setattr(owner, name, watch.timed(label, getattr(owner, name)))
            found.add(label)
    return sorted({label for label, _, _ in parts} - found)


def time_parts(name: str, fast: bool, args: Args) -> tuple[dict[str, float], list[str]]:
    """Median seconds of each part over the quicker half of many single steps, and parts that were not found.

    The clock of CPU time takes microseconds itself, so it watches long steps alone; the quicker half of the
    short ones are those that no other process interrupted.
    """
    env = make_env(name, fast=fast, horizon=ENDLESS)
    env.reset(seed=0)
    actions = by_agent(env.agents, env.action_codec.size)
    for _ in range(3):  # compilation, caches
        start = time.process_time()
        env.step(next(actions))
    short = time.process_time() - start < SHORT_S
    watch = Stopwatch(time.perf_counter_ns if short else time.thread_time_ns)
    missing = instrument(env, watch)
    step = watch.timed(REST, env.step)
    steps: list[dict[str, int]] = []
    before = time.perf_counter()
    while len(steps) < 10 or time.perf_counter() - before < args.repeats * args.sample_s:
        watch.spent.clear()
        step(next(actions))
        steps.append(dict(watch.spent))
    steps.sort(key=lambda spent: sum(spent.values()))
    quicker = steps[: len(steps) // 2]
    return {label: median(spent[label] for spent in quicker) * 1e-9 for label in quicker[0]}, missing


# --- tables ----------------------------------------------------------------------------------------------------


def variants_table(variants: Variants, args: Args, stamp: str) -> str:
    """Variants down, scenarios across, after timing them."""
    times = {}
    for name in args.scenarios:
        times[name] = time_variants(name, variants, args)
        print(f"{name}: timed", file=sys.stderr, flush=True)
    head = ["CPU time per environment step", *(f"`{name}`, batch {BATCH.get(name, 64)}" for name in times)]
    rows = []
    for label in variants:
        found = [columns.get(label) for columns in times.values()]
        references = [next(iter(columns.values())) for columns in times.values()]
        rows.append([label, *(cell(t, reference) for t, reference in zip(found, references, strict=True))])
    return table(head, rows) + "\nLeast / median (ratio to the first row). " + stamp


def parts_table(parts: dict[tuple[str, str], dict[str, float]]) -> str:
    """Parts down; scenario and way of computing across, time and share of the step."""
    labels = list(dict.fromkeys(label for column in parts.values() for label in column))
    labels.append(labels.pop(labels.index(REST)))
    rows = []
    for label in labels:
        shares = [(column.get(label), sum(column.values())) for column in parts.values()]
        rows.append([label, *("-" if t is None else f"{duration(t)} ({t / total:.0%})" for t, total in shares)])
    rows.append(["sum", *(duration(sum(column.values())) for column in parts.values())])
    return table(["part of a single step", *(f"`{name}`, {way}" for name, way in parts)], rows)


def main(args: Args) -> None:
    """Print the tables."""
    stamp = machine()  # first: the load before the benchmark adds its own
    if args.device is not None:
        text = device_table(args.device, args, stamp)
        print(text)
        if args.write:
            write_between(PAGE, "device", text)
        return
    if "structured" in args.actions:
        text = variants_table(STRUCTURED_VARIANTS, args, stamp)
        print(text)
        if args.write:
            write_between(PAGE, "structured", text)
    if "raw" not in args.actions:
        return
    text = variants_table(VARIANTS, args, stamp)
    if args.parts:
        parts, missing = {}, set()
        for name in args.scenarios:
            for way in ("numpy", "fast") if find_spec("numba") else ("numpy",):
                parts[name, way], lost = time_parts(name, way == "fast", args)
                missing |= set(lost)
        text += "\n" + parts_table(parts)
        text += "\nMedians over the quicker half of the steps; watching adds about half a microsecond a part.\n"
        text += "".join(f"Not found, so counted in the last row: {part}.\n" for part in sorted(missing))
    print(text)
    if args.write:
        write_between(PAGE, "step", text)


if __name__ == "__main__":
    main(tyro.cli(Args))
