"""What an update of the trainer costs where the memory that it frees is kept, and where the system has it back.

    python benchmarks/freed.py
    python benchmarks/freed.py --write    # also puts the table into docs/performance.md

The allocator is set for a whole process, so that each sample is a process of its own; both kinds take turns.
"""

from __future__ import annotations

import os

# before numpy is imported
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import tyro
from timing import PAGE, Times, cell, machine, table, write_between

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


@dataclass
class Args:
    """Settings of the benchmark."""

    scenarios: tuple[str, ...] = ("mdlbi-blocked-small-v0", "mdlbi-blocked-v0", "mdlbi-city-v0")
    algos: tuple[str, ...] = ("mdlbi", "maddpg", "own-value")
    repeats: int = 5
    """processes of each kind"""
    sample_s: float = 4.0
    """CPU seconds of a sample at least; it holds two updates or more"""
    write: bool = False
    """put the table into docs/performance.md"""


def updates(scenario: str, algo: str, keep: bool, sample_s: float) -> float:
    """CPU seconds of an update, in a process of its own."""
    import torch

    from examples.maddpg import prepare
    from irs_marl_env.training.memory import keep_freed_memory
    from irs_marl_env.training.settings import parse

    torch.set_num_threads(1)
    if keep:
        keep_freed_memory()
    flags = ["--quick"] if algo != "own-value" else []
    flags += ["--algo", algo, "--scenario", scenario, "--num-envs=8", "--buffer=1024", "--critic-warmup=0"]
    run = prepare(parse([*flags, "--device=cpu"], "freed"))
    run.collect()
    batch = run.sample()
    for _ in range(2):  # kernels, caches and the first pages
        run.learner.update(batch)
    count, begun = 0, time.process_time()
    while count < 2 or time.process_time() - begun < sample_s:
        run.learner.update(batch)
        count += 1
    return (time.process_time() - begun) / count


def sampled(scenario: str, algo: str, args: Args) -> tuple[Times, Times]:
    """With memory given back and with memory kept, in turns."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(args.repeats):
        for keep, found in seconds.items():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                found.append(pool.submit(updates, scenario, algo, keep, args.sample_s).result())
    return Times(seconds[False]), Times(seconds[True])


def main(args: Args) -> None:
    """Print the table."""
    stamp, rows = machine(), []
    for scenario in args.scenarios:
        for algo in args.algos:
            back, kept = sampled(scenario, algo, args)
            rows.append([f"`{scenario}`, {algo}", cell(back), cell(kept, back)])
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    text = table(["an update", "memory given back", "memory kept"], rows)
    text += "\nLeast / median (ratio to memory given back in the same run). " + stamp
    print(text)
    if args.write:
        write_between(PAGE, "freed", text)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
