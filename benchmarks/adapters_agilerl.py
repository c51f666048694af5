"""What a step costs through AgileRL's own vector of processes, and through ``AgileVecEnv``.

    python benchmarks/adapters_agilerl.py

CPU time of this process and of the processes of the vector, 16 rows (and 256 of ours), zero actions, no learner.
"""

from __future__ import annotations

import os

# before numpy is imported
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from agilerl.vector.pz_async_vec_env import AsyncPettingZooVecEnv

from irs_marl_env import make_env, make_vec_env
from irs_marl_env.adapters.agilerl import AgileVecEnv

FIELDS: dict[str, Any] = {"action": "structured", "observation": "large_scale", "reward": "team"}
SCENARIO = "mdlbi-blocked-small-v0"


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def seconds(make: Callable[[], Any], steps: int) -> float:
    """CPU time from the making of a vector to its end, with so many steps between."""
    begin = cpu_seconds()
    vec = make()
    vec.reset(seed=0)
    action = {agent: np.zeros(vec.action_space(agent).shape, np.float32) for agent in vec.agents}
    for _ in range(steps):
        vec.step(action)
    vec.close()
    return cpu_seconds() - begin


def rate(make: Callable[[], Any], rows: int, steps: int) -> float:
    """Slots of single environments for each second of a core; what making and ending cost is taken off."""
    seconds(make, 1)  # whatever is compiled or loaded once
    return rows * steps / (seconds(make, steps + 1) - seconds(make, 1))


def own(rows: int, steps: int = 2000) -> float:
    """Of our own batch."""
    vec = make_vec_env(SCENARIO, rows, **FIELDS)
    vec.reset(seed=0)
    action = np.zeros((rows, len(vec.agents), vec.action_size), np.float32)
    vec.step(action)
    begin = time.process_time()
    for _ in range(steps):
        vec.step(action)
    return rows * steps / (time.process_time() - begin)


def main() -> None:
    """Print the rates, and what one is of the other."""
    theirs = rate(lambda: AsyncPettingZooVecEnv([lambda: make_env(SCENARIO, **FIELDS)] * 16), 16, 200)
    makers = {n: partial(AgileVecEnv, SCENARIO, n, **FIELDS) for n in (16, 256)}
    rows = {f"AgileVecEnv, {n} rows": rate(make, n, 2000) for n, make in makers.items()}
    print(f"{'AsyncPettingZooVecEnv, 16 rows':<32}{theirs:10,.0f} steps/s")
    for name, found in rows.items():
        print(f"{name:<32}{found:10,.0f} steps/s{found / theirs:8.1f} x")
    print(f"{'our own batch, 16 rows':<32}{own(16):10,.0f} steps/s")


if __name__ == "__main__":
    main()
