"""What the probes of libraries share: a task whose value is known, our own speed, and the line that each prints.

``experiments/probe_NAME.py`` trains a critic of the library NAME where the reward is 1, the discount .9 and an episode
is truncated after 5 slots. The value is 10 if the end of an episode is taken for what it is, a time limit; it is 2.7,
the mean over the slots, for a learner that takes it for the end of the world.
"""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from irs_marl_env import make_vec_env

ROWS = 16
DISCOUNT = 0.9
SPEED_FIELDS = {"action": "structured", "observation": "large_scale", "reward": "team"}
SPEED: dict[str, Any] = {"scenario": "mdlbi-blocked-small-v0", **SPEED_FIELDS}  # what is timed


def one(outcome: Any, state: Any) -> Any:
    """A reward of 1."""
    return outcome.sum_rate * 0 + 1


VALUE_FIELDS = {"num_elements": 2, "num_antennas": 1, "sweeps": 0, "horizon": 5, "reward": one}
VALUE: dict[str, Any] = {"scenario": "mdlbi-small-v0", **SPEED_FIELDS, **VALUE_FIELDS}  # whose value is 10


def steps_per_s(run: Callable[[], object], steps: int, repeats: int = 5) -> float:
    """Environment steps in a second of a core: the best of some calls of ``run``, each of so many steps."""
    run()
    seconds = []
    for _ in range(repeats):
        before = time.process_time()
        run()
        seconds.append(time.process_time() - before)
    return steps / min(seconds)


def own_steps_per_s(slots: int = 200) -> float:
    """Of ``make_vec_env`` with 16 rows: what the others are compared with."""
    vec = make_vec_env(num_envs=ROWS, **SPEED)
    vec.reset(seed=0)
    shape = (ROWS, len(vec.agents), vec.action_size)
    action = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    return steps_per_s(lambda: [vec.step(action) for _ in range(slots)], slots * ROWS)


def report(library: str, value: float, speed: float) -> None:
    """Print the line of a library: its version, the value learned, environment steps in a second, and our own."""
    row: dict[str, Any] = {"library": library, "version": importlib.metadata.version(library), "value": round(value, 2)}
    print(json.dumps({**row, "steps_per_s": round(speed), "own_steps_per_s": round(own_steps_per_s())}))
