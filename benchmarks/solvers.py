"""Quality against time of every solver, on cells as the environment makes them, and the cost of every policy.

    python benchmarks/solvers.py
    python benchmarks/solvers.py --scenarios mdlbi-v0 --cells 32 --repeats 9
    python benchmarks/solvers.py --scenarios --policies mdlbi-v0  # policies alone

Quality is the mean sum rate as a share of AO-30 (alternating optimisation, 30 iterations, aligned start). Time is
process CPU time per cell, the least and the median of the repeats; set OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
for one thread. Each IRS belongs to a random BS. A policy's time is that of one slot of one environment, stepping
included: through ``evaluate()``, which steps 16 episodes together, and through the single PettingZoo environment.
A step of MPE2's simple_spread, where it is installed, says how fast the machine is at the moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
import tyro

from irs_marl_env import evaluate, get_scenario, link, make_env, make_vec_env, solvers

Cell = tuple[Any, Any, Any]  # H, G, h
Solver = Callable[[Any, Any, Any, float, float], tuple[Any, Any]]


@dataclass
class Args:
    scenarios: tuple[str, ...] = ("mdlbi-small-v0", "mdlbi-blocked-small-v0", "mdlbi-v0")
    cells: int = 256
    """cells solved in one batch"""
    repeats: int = 5
    """timings of each solver"""
    quality_cells: int = 1024
    """cells over which the quality is averaged"""
    torch: bool = True
    """time torch too"""
    policies: tuple[str, ...] = ("mdlbi-v0",)
    """scenarios in which the policies are timed"""
    seed: int = 0


def environment_cells(scenario: str, count: int, seed: int = 0) -> tuple[Cell, float, float]:
    """``count`` cells of a scenario at reset, each IRS owned by a random BS: channels, Pmax [W], sigma^2 [W]."""
    num_bs = make_vec_env(scenario, 1).scenario.num_bs
    num_envs = -(-count // num_bs)
    vec = make_vec_env(scenario, num_envs)
    observation, _ = vec.reset(seed=seed)
    named = vec.observation_codec.decode(observation)
    owner = np.random.default_rng(seed).integers(0, num_bs, (num_envs, 1, vec.scenario.num_irs))
    held = owner == np.arange(num_bs)[:, None]
    channels = (named["H"], named["G"], named["h"] * held[..., None, None])
    H, G, h = (x.reshape(-1, *x.shape[2:])[:count].astype(np.complex64) for x in channels)
    return (H, G, h), vec.scenario.tx_power_w, vec.scenario.noise_power_w


def fixed_phases(beams: Callable[..., Any], aligned: bool, **options: Any) -> Solver:
    """Beamforming on phases that are aligned, or all one (random as far as the fading channels see)."""

    def solve(H: Any, G: Any, h: Any, power: float, noise_power: float) -> tuple[Any, Any]:
        phi = solvers.align_phases(H, G, h if aligned else 0 * h)
        return beams(link.cell_channel(H, G, h, phi), power, noise_power, **options), phi

    return solve


def refined(sweeps: int) -> Solver:
    """RZF on aligned phases, then parallel sweeps: what the environment decodes structured actions with."""

    def solve(H: Any, G: Any, h: Any, power: float, noise_power: float) -> tuple[Any, Any]:
        w, phi = fixed_phases(solvers.rzf, True)(H, G, h, power, noise_power)
        return solvers.refine(H, G, h, w, phi, power, noise_power, sweeps=sweeps)

    return solve


def alternating(**options: Any) -> Solver:
    """Alternating optimisation."""

    def solve(H: Any, G: Any, h: Any, power: float, noise_power: float) -> tuple[Any, Any]:
        return solvers.alternating_optimization(H, G, h, power, noise_power, **options)[:2]

    return solve


def catalogue() -> dict[str, Solver]:
    table = {
        "random phases, MRT": fixed_phases(solvers.mrt, False),
        "random phases, RZF": fixed_phases(solvers.rzf, False),
        "random phases, WMMSE-10": fixed_phases(solvers.wmmse, False, iterations=10),
        "random phases, WMMSE-30": fixed_phases(solvers.wmmse, False),
        "aligned, MRT": fixed_phases(solvers.mrt, True),
        "aligned, RZF": fixed_phases(solvers.rzf, True),
        "aligned, WMMSE-10": fixed_phases(solvers.wmmse, True, iterations=10),
    }
    table |= {f"refine, {n} sweeps": refined(n) for n in (1, 2, 3, 5, 8)}
    table |= {f"AO-{n}, parallel": alternating(iterations=n) for n in (1, 3, 5, 10, 30, 100)}
    table["AO-30, parallel, random start"] = alternating(init="random")
    table["AO-30, parallel, 5 starts"] = alternating(starts=5)
    table["AO-100, parallel, tolerance 1e-3"] = alternating(iterations=100, tolerance=1e-3)
    table |= {f"AO-{n}, sequential": alternating(iterations=n, sweep="sequential") for n in (3, 10, 30)}
    return table


def cpu_times(run: Callable[[], Any], repeats: int) -> list[float]:
    """CPU seconds of each of ``repeats`` runs after one to warm up."""
    run()
    times = []
    for _ in range(repeats):
        before = time.process_time()
        run()
        times.append(time.process_time() - before)
    return times


def mean_rate(cells: Cell, w: Any, phi: Any, noise_power: float) -> float:
    H, G, h = cells
    return float(solvers.weighted_sum_rate(link.cell_channel(H, G, h, phi), w, noise_power).mean())


def report(name: str, args: Args) -> None:
    many, power, noise_power = environment_cells(name, args.quality_cells, args.seed)
    some = tuple(x[: args.cells] for x in many)
    backends = {"numpy": some}
    if args.torch:
        backends["torch"] = tuple(torch.from_numpy(x) for x in some)
    best = mean_rate(many, *alternating()(*many, power, noise_power), noise_power)
    users = (many[0] != 0).any(-1).sum(-1).mean()
    print(f"\n{name}: batch {args.cells}, {users:.1f} users per cell, AO-30 {best:.3f} bit/s/Hz per cell")
    print(f"{'CPU us per cell, least/median':34s}{'share':>8s}" + "".join(f"{b:>18s}" for b in backends))
    for label, solve in catalogue().items():
        share = mean_rate(many, *solve(*many, power, noise_power), noise_power) / best
        columns = ""
        for cells in backends.values():
            times = cpu_times(lambda s=solve, c=cells: s(*c, power, noise_power), args.repeats)
            least, middle = (1e6 * t / args.cells for t in (min(times), median(times)))
            columns += f"{least:9.1f}/{middle:8.1f}"
        print(f"{label:34s}{share:8.4f}{columns}", flush=True)
    bound = solvers.upper_bound(*some, power, noise_power)
    times = cpu_times(lambda: solvers.upper_bound(*some, power, noise_power), 1)
    reached = mean_rate(some, *alternating()(*some, power, noise_power), noise_power)
    print(f"{'upper bound':34s}{bound.mean() / reached:8.4f}{1e6 * min(times) / args.cells:9.1f}")


def report_policies(scenario: str, args: Args) -> None:
    """CPU time of a slot under every policy."""
    print(f"\n{scenario}: policies")
    print(f"{'CPU ms per slot, least/median':34s}{'evaluate()':>18s}{'single env':>18s}")
    episodes, slots = 16, 4
    for name in (*solvers.POLICIES, "upper-bound"):
        options = {"episodes": episodes, "slots": slots, "seed": args.seed, "progress": False}
        times = cpu_times(lambda n=name, o=options: evaluate(n, scenario, **o), args.repeats)
        columns = f"{1e3 * min(times) / episodes / slots:9.1f}/{1e3 * median(times) / episodes / slots:8.1f}"
        if name in solvers.POLICIES:
            times = cpu_times(_one_slot(name, scenario, args.seed), args.repeats)
            columns += f"{1e3 * min(times):9.1f}/{1e3 * median(times):8.1f}"
        print(f"{name:34s}{columns}", flush=True)


def _one_slot(name: str, scenario: str, seed: int) -> Callable[[], Any]:
    """Act and step once in the single environment."""
    policy = solvers.POLICIES[name]
    env = make_env(policy.adapt(get_scenario(scenario)))
    observations, _ = env.reset(seed=seed)
    act = policy.bind(env, seed)
    return lambda: env.step(act(observations))


def report_machine() -> None:
    """CPU time of a step of a well-known environment, for comparison between machines and moments."""
    try:
        from mpe2 import simple_spread_v3
    except ImportError:
        return
    env = simple_spread_v3.parallel_env(max_cycles=10**6)
    env.reset(seed=0)
    actions = {agent: env.action_space(agent).sample() for agent in env.agents}
    times = cpu_times(lambda: [env.step(actions) for _ in range(200)], 7)
    least, middle = (1e6 * t / 200 for t in (min(times), median(times)))
    print(f"a step of MPE2 simple_spread, CPU us, least/median: {least:.0f}/{middle:.0f}", flush=True)


def main(args: Args) -> None:
    torch.set_num_threads(1)
    report_machine()
    for name in args.scenarios:
        report(name, args)
    for name in args.policies:
        report_policies(name, args)
    report_machine()


if __name__ == "__main__":
    main(tyro.cli(Args))
