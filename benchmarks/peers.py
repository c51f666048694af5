"""What a step costs next to what one might use instead, measured in one run.

    python benchmarks/peers.py
    python benchmarks/peers.py --scenarios mdlbi-v0 --repeats 5
    python benchmarks/peers.py --write              # also puts the table into docs/performance.md

The peers: the very same model written as loops (benchmarks/loops.py; its rates and observations are compared with the
package's first, and nothing is timed if they differ), and simple_spread of MPE2, a PettingZoo environment of three
agents that many know, as a measure of the machine. One thread, timed in turns. Needs the extra ``bench``.
"""

from __future__ import annotations

import os

# before numpy is imported
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import sys
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import tyro
from loops import LoopEnv, difference
from step import ENDLESS, batched, by_agent, in_turn, single
from timing import PAGE, Case, Times, cell, interleaved, machine, table, write_between

from irs_marl_env import make_env

MPE2 = "MPE2 simple_spread, 3 agents"
LOOPS = "this model, loops over elements"
PRODUCTS = "this model, loops over users and IRSs, matrices inside"
SINGLE = {False: "this package, single, numpy", True: "this package, single, fast"}
BATCH = {False: "this package, batch of 64, numpy", True: "this package, batch of 64, fast"}


@dataclass
class Args:
    """Settings of the benchmark."""

    scenarios: tuple[str, ...] = ("mdlbi-small-v0", "mdlbi-v0", "mdlbi-k30-v0")
    repeats: int = 15
    """samples of each"""
    sample_s: float = 0.1
    """CPU seconds of a sample"""
    write: bool = False
    """put the table into docs/performance.md"""


def mpe2() -> Case:
    """One step of simple_spread by all agents, continuous actions."""
    try:
        from mpe2 import simple_spread_v3
    except ImportError:
        raise SystemExit("error: MPE2 is missing: pip install 'irs-marl-env[bench]'") from None
    env = simple_spread_v3.parallel_env(N=3, max_cycles=ENDLESS, continuous_actions=True)
    env.reset(seed=0)
    shape = env.action_space(env.agents[0]).shape
    actions = in_turn(lambda rng: {agent: rng.random(shape).astype(np.float32) for agent in env.agents})
    return Case(lambda: env.step(next(actions)))


def loops(name: str, elementwise: bool) -> Case:
    """One step of the loops, after they have been shown to do the same."""
    env = make_env(name, fast=False, horizon=ENDLESS)
    peer = LoopEnv(env.scenario, elementwise)
    rate, entry = difference(peer, env)
    if not (rate < 1e-4 and entry < 1e-4):
        raise SystemExit(f"error: on {name} the loops differ by {rate:.2g} bit/s/Hz, {entry:.2g} in observations")
    peer.reset(seed=0)
    actions = by_agent(peer.agents, env.action_codec.size)
    return Case(lambda: peer.step(next(actions)))


def time_all(name: str, args: Args) -> dict[str, Times]:
    """MPE2 first: the reference."""
    cases = {MPE2: mpe2(), LOOPS: loops(name, True), PRODUCTS: loops(name, False)}
    for fast in (False, True) if find_spec("numba") else (False,):
        cases[SINGLE[fast]] = single(name, fast)
        cases[BATCH[fast]] = batched(name, fast=fast)
    return interleaved(cases, args.repeats, args.sample_s)


def report(times: dict[str, dict[str, Times]]) -> str:
    """The table, and how much faster than the loops this package is."""
    rows = []
    for label in (MPE2, LOOPS, PRODUCTS, *SINGLE.values(), *BATCH.values()):
        rows.append([label, *(cell(column.get(label), column[MPE2]) for column in times.values())])
    text = table(["CPU time per environment step", *(f"`{name}`" for name in times)], rows)
    rows = []
    for label in (*SINGLE.values(), *BATCH.values()):
        found = [(column.get(label), column) for column in times.values()]
        rows.append(
            [label, *("-" if t is None else f"{c[LOOPS].ratio(t):.3g} / {c[PRODUCTS].ratio(t):.3g}" for t, c in found)]
        )
    head = ["steps of this package in the time of one step of the loops (elements / matrices)"]
    return text + "\n" + table([*head, *(f"`{name}`" for name in times)], rows)


def main(args: Args) -> None:
    """Print the tables."""
    stamp = machine()  # first: the load before the benchmark adds its own
    times = {}
    for name in args.scenarios:
        times[name] = time_all(name, args)
        print(f"{name}: timed", file=sys.stderr, flush=True)
    text = report(times) + "\nLeast / median (ratio to MPE2 in the same run). " + stamp
    print(text)
    if args.write:
        write_between(PAGE, "peers", text)


if __name__ == "__main__":
    main(tyro.cli(Args))
