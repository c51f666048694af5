"""What a step costs through each library's own bridge to PettingZoo and through our adapter, beside our own batch.

    python benchmarks/adapters.py
    python benchmarks/adapters.py --only torchrl
    python benchmarks/adapters.py --write           # also puts the table into docs/libraries.md

Environment steps of 2 base stations each in a second of one core, timed in turns with random actions in 16 rows and
in 256; a bridge that holds one environment is timed with one. Rows of libraries that are not installed are left out.
"""

from __future__ import annotations

import os

# before numpy is imported
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from timing import Case, Times, interleaved, machine, table, write_between

from irs_marl_env import make_env, make_vec_env

PAGE = Path(__file__).resolve().parents[1] / "docs" / "libraries.md"
SETTING: dict[str, Any] = {"action": "structured", "observation": "large_scale", "reward": "team"}
NAME = "mdlbi-blocked-small-v0"
SLOTS = 100  # of a call, one episode
OWN = {rows: f"make_vec_env, {rows} rows" for rows in (16, 256)}


@dataclass
class Args:
    """Settings of the benchmark."""

    only: tuple[str, ...] = ()
    """libraries; none: all that are installed"""
    repeats: int = 9
    """samples of each"""
    sample_s: float = 0.2
    """CPU seconds of a sample"""
    write: bool = False
    """put the table into docs/libraries.md"""


def actions(rows: int, size: int) -> np.ndarray:
    """``(rows, size)`` in [-1, 1]."""
    return np.random.default_rng(0).uniform(-1, 1, (rows, size)).astype(np.float32)


def own(rows: int) -> Case:
    """Our own batch."""
    vec = make_vec_env(NAME, rows, **SETTING)
    vec.reset(seed=0)
    action = actions(rows * 2, vec.action_size).reshape(rows, 2, -1)
    return Case(lambda: [vec.step(action) for _ in range(SLOTS)], SLOTS * rows)


def rows_of_sb3(vec: Any, rows: int) -> Case:
    """Steps of a ``VecEnv`` of Stable-Baselines3."""
    vec.reset()
    action = actions(rows * 2, vec.action_space.shape[0])
    return Case(lambda: [vec.step(action) for _ in range(SLOTS)], SLOTS * rows)


def sb3() -> dict[str, Case]:
    """SuperSuit, and ``Sb3VecEnv``."""
    from supersuit import concat_vec_envs_v1, pettingzoo_env_to_vec_env_v1

    from irs_marl_env.adapters.sb3 import Sb3VecEnv

    copies = pettingzoo_env_to_vec_env_v1(make_env(NAME, **SETTING))
    bridge = concat_vec_envs_v1(copies, 16, num_cpus=0, base_class="stable_baselines3")
    ours = {f"Sb3VecEnv, {rows} rows": rows_of_sb3(Sb3VecEnv(NAME, rows, seed=0, **SETTING), rows) for rows in OWN}
    return {"SuperSuit, 16 rows": rows_of_sb3(bridge, 16), **ours}


def torchrl() -> dict[str, Case]:
    """``PettingZooWrapper``, and ``TorchRLEnv``: rollouts of an episode."""
    import torch
    from torchrl.envs import PettingZooWrapper

    from irs_marl_env.adapters.torchrl import TorchRLEnv

    torch.set_num_threads(1)

    def rollout(env: Any, rows: int) -> Case:
        return Case(lambda: env.rollout(SLOTS, break_when_any_done=False), SLOTS * rows)

    bridge = PettingZooWrapper(make_env(NAME, **SETTING), use_mask=False, seed=0)
    ours = {f"TorchRLEnv, {rows} rows": rollout(TorchRLEnv(NAME, rows, seed=0, **SETTING), rows) for rows in OWN}
    return {"PettingZooWrapper, one": rollout(bridge, 1), **ours}


# name of the module to the cases: the library's bridge first, then our adapter with 16 rows and with 256
LIBRARIES: dict[str, Callable[[], dict[str, Case]]] = {"stable_baselines3": sb3, "torchrl": torchrl}


def report(times: dict[str, Times], groups: list[list[str]]) -> str:
    """A row a path: steps in a second, times as fast as the library's bridge, share of our own batch."""
    lines = [[label, f"{1 / times[label].least:,.0f}", "", ""] for label in OWN.values()]
    for group in groups:
        for label in group:
            beside = times[OWN[256 if "256" in label else 16]]
            gain, share = 1 / times[label].ratio(times[group[0]]), 1 / times[label].ratio(beside)
            lines.append([label, f"{1 / times[label].least:,.0f}", f"{gain:.1f}", f"{share:.2f}"])
    return table(["path", "steps/s", "times its library's bridge", "share of our own batch"], lines)


def main(args: Args) -> None:
    """Print the table."""
    stamp = machine()  # first: the load before the benchmark adds its own
    warnings.simplefilter("ignore")  # of the libraries about themselves
    unknown = [name for name in args.only if name not in LIBRARIES]
    if unknown:
        raise SystemExit(f"error: only={unknown[0]!r}: must be one of {', '.join(LIBRARIES)}")
    found = [LIBRARIES[name]() for name in args.only or LIBRARIES if find_spec(name)]
    cases = {label: own(rows) for rows, label in OWN.items()}
    for group in found:
        cases |= group
    times = interleaved(cases, args.repeats, args.sample_s)
    text = report(times, [list(group) for group in found]) + "\nThe least of the samples; medians of ratios. " + stamp
    print(text)
    if args.write:
        write_between(PAGE, "adapters", text)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
