"""What the probes of libraries (``probe_NAME.py``) share: a task with a known value, step rates, a line of results.

The task pays 1 in every slot, and episodes of 5 slots end by time alone. With discount .9 every state is worth 10. A
learner that takes such an end for the end of the world learns 2.6 on average over an episode.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from irs_marl_env import get_scenario, make_vec_env

GAMMA = 0.9
ROWS = 16  # environments whose steps are timed
STRUCTURED: dict[str, Any] = {"action": "structured", "observation": "large_scale"}


def one(outcome: Any, state: Any) -> Any:
    """A reward of 1 for every base station."""
    return outcome.sum_rate * 0 + 1


TASK = get_scenario(
    "mdlbi-small-v0", horizon=5, reward=one, num_elements=2, num_antennas=1, sweeps=0, **STRUCTURED
)
TIMED = get_scenario("mdlbi-blocked-small-v0", reward="team", **STRUCTURED)


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def steps_per_s(step: Callable[[], Any], rows: int = ROWS, seconds: float = 2.0) -> float:
    """Slots of single environments for each second of a core, of a step of ``rows`` environments."""
    step()  # whatever is compiled or made at the first call
    begin, calls = time.process_time(), 0
    while time.process_time() - begin < seconds:
        step()
        calls += 1
    return rows * calls / (time.process_time() - begin)


def own_steps_per_s(rows: int = ROWS) -> float:
    """The same of our own batch."""
    batch = make_vec_env(TIMED, rows)
    batch.reset(seed=0)
    action = np.zeros((rows, len(batch.agents), batch.action_size), np.float32)
    return steps_per_s(lambda: batch.step(action), rows)


def report(library: str, value: float, rate: float) -> None:
    """Print the line of a library: version, learned value, and step rates."""
    line = {"library": library, "version": version(library), "value": round(value, 2), "steps_per_s": round(rate)}
    print(json.dumps(line | {"own_steps_per_s": round(own_steps_per_s())}))
