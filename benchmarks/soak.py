"""Soak: the same thing done over and over, with memory, open files, threads and child processes watched.

    python benchmarks/soak.py                       # a million steps and so on
    python benchmarks/soak.py --steps 10000 --batched-steps 1000 --creations 100 --frames 20 --evaluations 10
    python benchmarks/soak.py --write               # also puts the table into docs/performance.md

Each row has a fresh process. It is measured before the first operation, after a warm-up of a tenth of them (caches are
filled, kernels compiled) and at the end; what was gained after the warm-up is the growth. A row is *flat* if memory
grew by no more than the limit, and open files, threads and children by none. Exit code 1 if one is not. Needs psutil
(extra ``bench``).
"""

from __future__ import annotations

import os

# before numpy is imported
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MPLBACKEND": "Agg"})

import gc
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import psutil
import tyro
from random_scenarios import random_fields
from timing import PAGE, machine, table, write_between

from irs_marl_env import evaluate, make_env, make_vec_env

SCENARIO = "mdlbi-small-v0"
# MiB that memory may grow after the warm-up: the allocator keeps some pages back. Of the operations that are done by
# default it is 6 bytes a step, 3 kB an environment, 30 kB a frame and 120 kB an evaluation.
LIMIT_MIB = 5.0
WARM_UP = 0.1  # share of the operations
ACTIONS = 64  # random actions that are used in turn
BATCH = 16
PROCESSES_EVERY = 10  # every so many evaluations are shared out over two processes


@dataclass
class Args:
    """Settings of the soak."""

    steps: int = 1_000_000
    """of single environments"""
    batched_steps: int = 100_000
    """of batches"""
    creations: int = 2_000
    """environments made, reset, stepped once and closed"""
    frames: int = 200
    """pictures"""
    evaluations: int = 50
    """calls of evaluate"""
    write: bool = False
    """put the table into docs/performance.md"""


class Moment(NamedTuple):
    """What a process holds."""

    mib: float  # resident memory
    files: int  # open files and connections (handles on Windows)
    threads: int
    children: int

    @classmethod
    def now(cls) -> Moment:
        gc.collect()
        process = psutil.Process()
        files = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
        children = len(process.children(recursive=True))
        return cls(process.memory_info().rss / 2**20, files, process.num_threads(), children)


class Soaked(NamedTuple):
    """A row: what was held at the start, after the warm-up and at the end."""

    operations: int
    start: Moment
    warm: Moment
    end: Moment

    @property
    def growth_mib(self) -> float:
        """Memory gained after the warm-up."""
        return self.end.mib - self.warm.mib

    @property
    def growth_per_1000(self) -> float:
        """The same in MiB per 1,000 operations."""
        return 1000 * self.growth_mib / max(1, self.operations - warm_up(self.operations))

    @property
    def grown(self) -> list[str]:
        """What is not flat."""
        names = [
            name for name in ("files", "threads", "children") if getattr(self.end, name) > getattr(self.warm, name)
        ]
        return ["memory", *names] if self.growth_mib > LIMIT_MIB else names


def warm_up(operations: int) -> int:
    """Operations before the measurement begins, at least one."""
    return max(1, round(WARM_UP * operations))


# --- what is done over and over: each of these makes a function of the number of the operation -----------------------

Operation = Callable[[int], object]


def single_steps(fast: bool) -> Operation:
    """Steps of a single environment, episode after episode."""
    env = make_env(SCENARIO, fast=fast)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    shape = (ACTIONS, len(env.possible_agents), env.action_codec.size)
    actions = [dict(zip(env.agents, a, strict=True)) for a in rng.uniform(-1, 1, shape).astype(np.float32)]

    def step(i: int) -> None:
        if not env.agents:
            env.reset()
        env.step(actions[i % ACTIONS])

    return step


def batched_steps(**setting: Any) -> Operation:
    """Steps of a batch whose rows end their episodes at different slots."""
    env = make_vec_env(SCENARIO, BATCH, stagger=True, **setting)
    env.reset(seed=0)
    shape = (ACTIONS, BATCH, env.scenario.num_bs, env.action_size)
    actions = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    return lambda i: env.step(actions[i % ACTIONS])


def creations() -> Operation:
    """Environments of random scenarios, single ones and batches in turn: made, reset, stepped once, closed."""

    def create(i: int) -> None:
        fields = usual_fields(i)
        env: Any = make_vec_env(num_envs=2, **fields) if i % 2 else make_env(**fields)
        env.reset(seed=i)
        if i % 2:
            env.step(np.zeros((2, env.scenario.num_bs, env.action_size), np.float32))
        else:
            env.step({agent: np.zeros(env.action_codec.size, np.float32) for agent in env.agents})
        env.close()

    return create


def usual_fields(seed: int) -> dict[str, Any]:
    """Fields of a random scenario that are neither extreme nor refused."""
    rng = np.random.default_rng(seed)
    while True:
        fields = {**random_fields(rng, extreme=0.0), "group_radius_m": 1.0}
        try:
            make_env(fast=False, **fields)
        except ValueError:
            continue
        return fields


def frames() -> Operation:
    """Pictures of a running episode; every fiftieth is drawn by a viewer of its own."""
    env = make_env(SCENARIO, render_mode="rgb_array")
    step = {agent: np.zeros(env.action_codec.size, np.float32) for agent in env.possible_agents}

    def draw(i: int) -> None:
        if i % 50 == 0:
            env.close()
        if not env.agents:
            env.reset(seed=i)
        env.step(step)
        env.render()

    return draw


def evaluations() -> Operation:
    """Short evaluations, some of them in two processes."""

    def run(i: int) -> None:
        processes = 2 if i % PROCESSES_EVERY == 1 else 1
        evaluate("structured-local-gain", SCENARIO, episodes=32, slots=3, seed=i, processes=processes, progress=False)

    return run


Row = tuple[str, str, Callable[..., Operation], dict[str, Any]]  # setting of the count, package needed, what, arguments
ROWS: dict[str, Row] = {
    "single steps, numpy": ("steps", "numpy", single_steps, {"fast": False}),
    "single steps, fast": ("steps", "numba", single_steps, {"fast": True}),
    f"steps of a batch of {BATCH}, numpy": ("batched_steps", "numpy", batched_steps, {"fast": False}),
    f"steps of a batch of {BATCH}, fast": ("batched_steps", "numba", batched_steps, {"fast": True}),
    f"steps of a batch of {BATCH}, torch": ("batched_steps", "torch", batched_steps, {"backend": "torch"}),
    "environments made": ("creations", "numpy", creations, {}),
    "pictures": ("frames", "matplotlib", frames, {}),
    "evaluations": ("evaluations", "numpy", evaluations, {}),
}


def soaked(make: Callable[..., Operation], arguments: dict[str, Any], operations: int) -> Soaked:
    """Do something so often, in this process."""
    operation = make(**arguments)
    start = warm = Moment.now()
    for i in range(operations):
        operation(i)
        if i + 1 == warm_up(operations):
            warm = Moment.now()
    return Soaked(operations, start, warm, Moment.now())


def fresh(*arguments: Any) -> Soaked:
    """:func:`soaked` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(soaked, *arguments).result()


def report(rows: dict[str, Soaked]) -> str:
    """The table."""
    head = ["done over and over", "times", "MiB at the start", "after the warm-up", "at the end", "growth per 1,000"]
    lines = []
    for name, row in rows.items():
        three = (row.start, row.warm, row.end)
        held = [" / ".join(str(getattr(m, what)) for m in three) for what in ("files", "threads", "children")]
        verdict = f"grows: {', '.join(row.grown)}" if row.grown else "flat"
        memory = [f"{m.mib:.1f}" for m in three]
        lines.append([name, f"{row.operations:,}", *memory, f"{row.growth_per_1000:+.3f}", *held, verdict])
    return table([*head, "open files", "threads", "children", "verdict"], lines)


def main(args: Args) -> int:
    """Print the table; the exit code."""
    stamp, rows = machine(), {}
    for name, (count, package, make, arguments) in ROWS.items():
        if find_spec(package) and getattr(args, count):
            rows[name] = fresh(make, arguments, getattr(args, count))
            print(f"{name}: {', '.join(rows[name].grown) or 'flat'}", file=sys.stderr, flush=True)
    text = report(rows)
    text += (
        f"\nFlat: at most {LIMIT_MIB:g} MiB more at the end than after the first tenth, and no more open files, threads"
        f" and child processes. `{SCENARIO}`. {stamp}"
    )
    print(text)
    if args.write:
        write_between(PAGE, "soak", text)
    return 1 if any(row.grown for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args)))
