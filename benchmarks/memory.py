"""Memory: constant over a long run, and the peak of a large batch.

    python benchmarks/memory.py
    python benchmarks/memory.py --steps 1000000     # the long run as docs/performance.md has it
    python benchmarks/memory.py --write             # also puts the tables into docs/performance.md

Every measurement has a fresh process. Resident memory comes from /proc, so this runs on Linux.
"""

from __future__ import annotations

import os

# before numpy is imported
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import gc
import multiprocessing
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from timing import PAGE, machine, table, write_between

from irs_marl_env import make_env, make_vec_env

MIB = 2**20
EPISODE = 5  # slots of the batch's episodes, so that the truncating step, the largest, is among those measured


@dataclass
class Args:
    """Settings of the benchmark."""

    steps: int = 100_000
    """steps of the long run"""
    scenario: str = "mdlbi-small-v0"
    """of the long run"""
    batch_scenario: str = "mdlbi-k30-v0"
    batch: int = 1024
    """environments of the large batch"""
    write: bool = False
    """put the tables into docs/performance.md"""


def resident(peak: bool = False) -> float:
    """Resident memory of this process [MiB], now or at most so far."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(rf"^{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", status, re.M)
    assert found is not None
    return int(found[1]) / 1024


def fresh(function: Any, *args: Any) -> Any:
    """The result of a function in a process of its own. (A child's VmHWM is its own; ``ru_maxrss`` is not.)"""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def long_run(scenario: str, fast: bool, steps: int) -> list[tuple[int, float]]:
    """Resident memory [MiB] at eleven moments of a run of random episodes."""
    env = make_env(scenario, fast=fast)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    size, bs = env.action_codec.size, env.possible_agents
    mileposts = {round(i * steps / 10) for i in range(11)}
    seen = []
    for step in range(steps + 1):
        if not env.agents:
            env.reset()
        if step in mileposts:
            gc.collect()
            seen.append((step, resident()))
            print(f"step {step:,}: {seen[-1][1]:.1f} MiB", file=sys.stderr, flush=True)
        env.step({agent: rng.uniform(-1, 1, size).astype(np.float32) for agent in bs})
    return seen


def large_batch(scenario: str, batch: int, setting: dict[str, Any]) -> dict[str, float]:
    """Peak [MiB] of a batch over two episodes, and what of it is known by name."""
    one = make_vec_env(scenario, 1, **setting)
    one.reset(seed=0)
    one.step(np.zeros((1, one.scenario.num_bs, one.action_size), np.float32))
    before = resident()
    vec = make_vec_env(scenario, batch, horizon=EPISODE, **setting)
    observations, _ = vec.reset(seed=0)
    rng = np.random.default_rng(0)
    shape = (batch, vec.scenario.num_bs, vec.action_size)
    for _ in range(2 * EPISODE):
        action = rng.uniform(-1, 1, shape).astype(np.float32)
        observations, _, _, _, infos = vec.step(action)
    peak = resident(peak=True)
    arrays = {name: x for name, x in vec.get_state().items() if isinstance(x, np.ndarray)}
    channels = sum(x.nbytes for name, x in arrays.items() if name.startswith("channels."))
    known = {
        "imports, compiled code": before,
        "channels": channels / MIB,
        "rest of the state": sum(x.nbytes for x in arrays.values()) / MIB - channels / MIB,
        "observations": observations.nbytes / MIB,
        "final observations and states": (infos["final_observation"].nbytes + infos["final_state"].nbytes) / MIB,
        "actions": action.nbytes / MIB,
    }
    known["last slot's arrays, scratch, random numbers ahead"] = peak - sum(known.values())
    return {**known, "peak": peak}


SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {  # with the package that the setting needs
    "numpy": ("numpy", {"fast": False}),
    "fast": ("numba", {"fast": True}),
    "fast, read-only": ("numba", {"fast": True, "read_only": True}),
    "fast, owned pairs": ("numba", {"fast": True, "association_delay": 1, "csi": "owned"}),
}


def main(args: Args) -> None:
    """Print the tables."""
    stamp = machine()
    runs: dict[str, list[tuple[int, float]]] = {}
    for way, (package, setting) in list(SETTINGS.items())[:2]:
        if find_spec(package):
            runs[way] = fresh(long_run, args.scenario, setting["fast"], args.steps)
            print(f"long run, {way}: measured", file=sys.stderr, flush=True)
    steps = [step for step, _ in next(iter(runs.values()))]
    rows = [[way, *(f"{mib:.1f}" for _, mib in seen)] for way, seen in runs.items()]
    text = table([f"resident MiB, one `{args.scenario}`, at step", *(f"{step:,}" for step in steps)], rows)
    batches: dict[str, dict[str, float]] = {}
    for way, (package, setting) in SETTINGS.items():
        if find_spec(package):
            batches[way] = fresh(large_batch, args.batch_scenario, args.batch, setting)
    parts = list(next(iter(batches.values())))
    rows = [[part, *(f"{column[part]:.0f}" for column in batches.values())] for part in parts]
    text += "\n" + table([f"MiB, {args.batch:,} of `{args.batch_scenario}`", *batches], rows)
    text += f"\nEpisodes of the batch last {EPISODE} slots, so the peak contains the truncating step. " + stamp
    print(text)
    if args.write:
        write_between(PAGE, "memory", text)


if __name__ == "__main__":
    main(tyro.cli(Args))
