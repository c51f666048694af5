"""Memory: the peak of a large batch, and what it is made of. (That memory stays flat: ``benchmarks/soak.py``.)

    python benchmarks/memory.py
    python benchmarks/memory.py --write             # also puts the table into docs/performance.md

Every measurement has a fresh process. Resident memory comes from /proc, so this runs on Linux.
"""

from __future__ import annotations

import os

# before numpy is imported
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from timing import PAGE, machine, table, write_between

from irs_marl_env import make_vec_env

MIB = 2**20
EPISODE = 5  # slots of the batch's episodes, so that the truncating step, the largest, is among those measured


@dataclass
class Args:
    """Settings of the benchmark."""

    batch_scenario: str = "mdlbi-k30-v0"
    batch: int = 1024
    """environments of the large batch"""
    write: bool = False
    """put the table into docs/performance.md"""


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
    """Print the table."""
    stamp = machine()
    batches: dict[str, dict[str, float]] = {}
    for way, (package, setting) in SETTINGS.items():
        if find_spec(package):
            batches[way] = fresh(large_batch, args.batch_scenario, args.batch, setting)
    parts = list(next(iter(batches.values())))
    rows = [[part, *(f"{column[part]:.0f}" for column in batches.values())] for part in parts]
    text = table([f"MiB, {args.batch:,} of `{args.batch_scenario}`", *batches], rows)
    text += f"\nEpisodes of the batch last {EPISODE} slots, so the peak contains the truncating step. " + stamp
    print(text)
    if args.write:
        write_between(PAGE, "memory", text)


if __name__ == "__main__":
    main(tyro.cli(Args))
