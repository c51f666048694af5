"""What a step costs: CPU time of single and batched environments, and of the parts of one step.

    python benchmarks/step.py
    python benchmarks/step.py --scenarios mdlbi-k30-v0 --rounds 5

One thread; variants are timed in turn, round by round, and the smallest and the median time per environment step of all
agents are printed, so that a busy neighbour spoils a round and not a variant.
"""

from __future__ import annotations

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})  # before numpy is imported

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro

from irs_marl_env import association, make_env, make_vec_env

BATCH = {"mdlbi-large-v0": 8}  # environments; others 64
LEAN = {"association_delay": 1, "csi": "owned", "read_only": True}


@dataclass
class Args:
    """Settings of the benchmark."""

    scenarios: tuple[str, ...] = ("mdlbi-small-v0", "mdlbi-k30-v0", "mdlbi-large-v0")
    rounds: int = 20  # per variant
    seconds: float = 0.1  # CPU time per round, about


def single(name: str, fast: bool) -> tuple[Callable[[], Any], int]:
    """One step of the PettingZoo environment; and how many environments it steps."""
    env = make_env(name, fast=fast, horizon=10**6)
    env.reset(seed=0)
    actions = {agent: env.action_space(agent).sample() for agent in env.agents}
    return lambda: env.step(actions), 1


def batched(name: str, **setting: Any) -> tuple[Callable[[], Any], int]:
    """One step of a batch."""
    num_envs = BATCH.get(name, 64)
    env = make_vec_env(name, num_envs, horizon=10**6, **setting)
    env.reset(seed=0)
    action = np.random.default_rng(0).uniform(-1, 1, (num_envs, env.scenario.num_bs, env.action_size))
    action = action.astype(np.float32)
    return lambda: env.step(action), num_envs


VARIANTS: dict[str, Callable[[str], tuple[Callable[[], Any], int]]] = {
    "batch, numpy": lambda name: batched(name, fast=False),
    "batch, fast": lambda name: batched(name, fast=True),
    "batch, fast, read-only": lambda name: batched(name, fast=True, read_only=True),
    "batch, fast, owned pairs": lambda name: batched(name, fast=True, **LEAN),
    "single, numpy": lambda name: single(name, False),
    "single, fast": lambda name: single(name, True),
}


def parts(name: str) -> dict[str, tuple[Callable[[], Any], int]]:
    """The parts of a single step, each called on a live state; glue between them is not covered."""
    env = make_env(name, fast=False)
    env.reset(seed=0)
    core, state, streams = env._core, env._state, env._streams
    assert state is not None
    assert streams is not None
    actions = {agent: env.action_space(agent).sample() for agent in env.agents}
    flat = env._check_actions(actions)
    named = core.action_codec.decode(flat)
    owner = association.assign(named["bids"], core.scenario.contention, lambda tied: core._tie_break(tied, streams))
    w, _, phi = core._transmission(state, named, owner)
    position = state.motion["position"]
    calls: dict[str, Callable[[], Any]] = {
        "check actions": lambda: env._check_actions(actions),
        "decode": lambda: core.action_codec.decode(flat),
        "association": lambda: association.assign(named["bids"], "auction", lambda tied: None),
        "beams and phases": lambda: core._transmission(state, named, owner),
        "rates": lambda: core._rates(state, w, phi, owner),
        "mobility": lambda: core._mobility.advance(core._street, state.motion, streams),
        "cells and path loss": lambda: core.model.large_scale(position),
        "fading and channels": lambda: core.model.channels(state.gains, state.scattered, position, streams),
        "observations": lambda: env._observations(),
        "infos": lambda: env._infos(),
    }
    return {part: (call, 1) for part, call in calls.items()}


def measure(calls: dict[str, tuple[Callable[[], Any], int]], args: Args) -> dict[str, np.ndarray]:
    """CPU microseconds per environment step of every call, ``(rounds,)``, in turn."""
    repeats = {}
    for label, (call, _) in calls.items():
        call()  # compiles where there is something to compile
        start = time.process_time()
        call()
        repeats[label] = max(1, int(args.seconds / max(time.process_time() - start, 1e-5)))
    times: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(args.rounds):
        for label, (call, num_envs) in calls.items():
            start = time.process_time()
            for _ in range(repeats[label]):
                call()
            times[label].append((time.process_time() - start) / repeats[label] / num_envs * 1e6)
    return {label: np.array(values) for label, values in times.items()}


def main(args: Args) -> None:
    """Print the tables."""
    for name in args.scenarios:
        times = measure({label: make(name) for label, make in VARIANTS.items()}, args)
        first = np.median(next(iter(times.values())))
        print(f"\n{name:28s}{'min us':>12s}{'median us':>12s}{'ratio':>8s}")
        for label, values in times.items():
            print(f"{label:28s}{values.min():12.1f}{np.median(values):12.1f}{np.median(values) / first:8.2f}")
        print("parts of a single step, numpy")
        for label, values in measure(parts(name), args).items():
            print(f"  {label:26s}{values.min():12.1f}{np.median(values):12.1f}")


if __name__ == "__main__":
    main(tyro.cli(Args))
