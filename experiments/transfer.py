"""Does one actor, shared by all base stations and trained on small systems, know what to do in larger ones?

    python -m experiments.transfer                         # trains what --out does not hold yet, then measures
    python -m experiments.transfer --seeds 1 --mixes small --updates 200 --episodes 4 --slots 2   # a quick look

The DeepSets actor of examples/maddpg.py is equivariant in users and IRSs and, with ``--share-actor``, the same for
every base station (BS), so its weights fit a system of any size. It is trained on ``mdlbi-blocked-small-v0`` (2 BSs, 4
users, 2 IRSs) alone (``small``), or in turn on that and on other small systems (``mix``), and applied as it is. Beside
it, on the same draws: the untrained local-gain rule with the same decoder, the trained bids with a neutral decoder,
and alternating optimisation (AO) under greedy, local-gain and random associations. Time is that of a decision: network,
bids and closed-form decoder against the local-gain rule with as few AO iterations as reach the same rate.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import tyro
from tqdm import tqdm

from examples.maddpg import advance, prepare
from experiments import rawdata
from experiments.analytic_gradient import Solver, ao
from experiments.unfolded_decoder import DecodedPolicy
from irs_marl_env import evaluate, make_vec_env
from irs_marl_env.policies import POLICIES
from irs_marl_env.solvers import decode_structured
from irs_marl_env.training.checkpoint import provenance
from irs_marl_env.training.policy import TrainedPolicy, load_policy, save_policy
from irs_marl_env.training.settings import Args as TrainerArgs

BASE = "mdlbi-blocked-small-v0"
SMALL: dict[str, Any] = {}
MIXES: dict[str, tuple[dict[str, Any], ...]] = {
    "small": (SMALL,),
    "mix": (SMALL, {"num_bs": 4, "num_users": 8, "num_irs": 4}, {"num_users": 8, "num_irs": 3}),
}
FULL = {"num_antennas": 8, "num_elements": 32}
SYSTEMS: dict[str, dict[str, Any]] = {
    "M=2 L=2 K=4": SMALL,
    "M=2 L=4 K=10": {**FULL, "num_irs": 4, "num_users": 10},
    "M=4 L=8 K=40": {**FULL, "num_bs": 4, "num_irs": 8, "num_users": 40, "num_groups": 6},
    "M=8 L=16 K=80": {**FULL, "num_bs": 8, "num_irs": 16, "num_users": 80, "num_groups": 12},
}
ITERATIONS = (1, 2, 3, 5, 8)  # of AO, the first of which that is as good as the trained actors gets timed


@dataclass
class Args:
    """Settings."""

    seeds: tuple[int, ...] = (1, 2, 3)
    """of training"""
    mixes: tuple[str, ...] = tuple(MIXES)
    """what the actors are trained on"""
    updates: int = 3000
    """of the actor, over all systems of a mix together"""
    systems: tuple[str, ...] = tuple(SYSTEMS)
    """where they are applied"""
    episodes: int = 50
    """of the evaluation bank"""
    slots: int = 5
    """measured per episode"""
    eval_seed: int = 10_000
    """of the first episode; training environments have seeds from 200,000"""
    repeats: int = 15
    """timings of a decision, in turns"""
    batch: int = 16
    """environments in a timed decision"""
    threads: int = 1
    """of torch"""
    out: str = "runs/transfer"
    """folder of actors and result.json"""


def train(mix: str, seed: int, args: Args) -> TrainedPolicy:
    """A policy whose shared actor saw the systems of a mix in turn; each system has critics of its own."""
    systems = MIXES[mix]
    settings = TrainerArgs(scenario=BASE, share_actor=True, seed=seed, updates=args.updates // len(systems))
    runs = [prepare(replace(settings, set=as_flags(system))) for system in systems]
    for run in runs[1:]:
        tie(runs[0].learner, run.learner)
    for _ in tqdm(range(settings.updates), desc=f"{mix}, seed {seed}", unit="update each"):
        for run in runs:
            advance(run)
    return runs[0].policy()


def tie(first: Any, other: Any) -> None:
    """Let another learner use, and train, the layers of the first one's actor."""
    source, actor = first.nets["actor"], other.nets["actor"]
    actor.heads, actor.trunk.pair, actor.trunk.irs = source.heads, source.trunk.pair, source.trunk.irs
    other.optimisers["actor"] = first.optimisers["actor"]


def as_flags(system: dict[str, Any]) -> tuple[str, ...]:
    """Scenario fields the way ``--set`` of the trainer takes them."""
    return tuple(f"{key}={value}" for key, value in system.items())


class OnlyBids:
    """The bids of trained agents with a neutral decoder: what they know of the association alone."""

    def __init__(self, policy: TrainedPolicy) -> None:
        self.policy = policy

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        """Observations to actions."""
        action = self.policy(obs)
        bids = self.policy.sizes.action.slices["bids"]
        return np.concatenate([action[..., bids], 0 * action[..., bids.stop :]], -1)


def structured(sweeps: int) -> Solver:
    """The environment's own decoder, for :class:`DecodedPolicy`."""
    return lambda named, H, G, h, power, noise: decode_structured(named, H, G, h, power, noise, sweeps)


def local_gain_ao(iterations: int) -> DecodedPolicy:
    """The local-gain rule with AO."""
    return DecodedPolicy(lambda named, *cells: ao(iterations)(*cells), name=f"local-gain-AO-{iterations}")


def apply_to(system: str, args: Args, policies: dict[str, Path]) -> dict[str, Any]:
    """Every trained actor, and what needs no training, in one system."""
    actors = {name: load_policy(path, **SYSTEMS[system]) for name, path in policies.items()}
    trained = next(iter(actors.values()))
    scenario = trained.scenario
    every = max(1, scenario.horizon // (2 * args.slots))

    def measure(policy: Any, name: str) -> Any:
        tqdm.write(f"{system}: {name}")
        return evaluate(policy, scenario, args.episodes, args.eval_seed, args.slots, every, progress=False)

    names = ("greedy-ao", "local-gain-ao", "random-ao", "structured-local-gain", "structured-random")
    results = {name: measure(name, name) for name in names}
    for name, actor in actors.items():
        results[name] = measure(actor, name)
        results[f"{name}, bids alone"] = measure(OnlyBids(actor), f"{name}, bids alone")
    goal = np.mean([results[name].mean for name in actors])
    for n in ITERATIONS:
        policy = local_gain_ao(n)
        results[policy.name] = measure(policy, policy.name)
        if results[policy.name].mean >= goal:
            break
    report: dict[str, Any] = {"scenario": json.loads(scenario.to_json()), "policies": {}}
    for name, result in results.items():
        row = {"mean": result.mean, "standard_error": result.standard_error}
        row["share_of_greedy_ao"] = result.mean / results["greedy-ao"].mean
        gain = result.difference(results["structured-local-gain"])
        row["minus_local_gain"] = [gain.mean, gain.standard_error]
        report["policies"][name] = row
    deciders: dict[str, Any] = {"trained": DecodedPolicy(structured(scenario.sweeps), trained)}
    deciders |= {"local-gain, decoder": DecodedPolicy(structured(scenario.sweeps)), policy.name: policy}
    deciders |= {name: POLICIES[name] for name in ("local-gain-ao", "greedy-ao")}
    report["ms_per_slot"] = decision_times(deciders, scenario, args)
    report["as_good"] = policy.name if results[policy.name].mean >= goal else None
    return report


def decision_times(policies: dict[str, Any], scenario: Any, args: Args) -> dict[str, float]:
    """CPU ms per slot of a whole system for its decision, bids to beams and phases; the median of turns."""
    seconds: dict[str, list[float]] = {name: [] for name in policies}
    for turn in range(args.repeats):
        for name, policy in policies.items():
            env = make_vec_env(policy.adapt(scenario), args.batch)
            observations, _ = env.reset(seed=args.eval_seed + args.batch * turn)
            act = policy.bind(env, args.eval_seed)
            before = time.process_time()
            act(observations)
            seconds[name].append((time.process_time() - before) / args.batch)
    return {name: 1e3 * median(values) for name, values in seconds.items()}


def main(args: Args) -> dict[str, Any]:
    """Train what is missing, measure, report."""
    torch.set_num_threads(args.threads)
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    policies = {}
    for mix in args.mixes:
        for seed in args.seeds:
            path = policies[f"{mix}-seed{seed}"] = folder / f"{mix}-seed{seed}.safetensors"
            if not path.is_file():
                save_policy(train(mix, seed, args), path)
    result: dict[str, Any] = {"config": asdict(args), "versions": provenance(), "systems": {}}
    for system in args.systems:
        report = result["systems"][system] = apply_to(system, args, policies)
        print(f"\n{system}\n{'policy':26} {'bit/s/Hz':>17} {'of greedy-ao':>13} {'minus local gain':>20}")
        for name, row in report["policies"].items():
            gain = "{:+.3f} +- {:.3f}".format(*row["minus_local_gain"])
            mean = f"{row['mean']:8.3f} +- {row['standard_error']:.3f}"
            print(f"{name:26} {mean} {row['share_of_greedy_ao']:13.3f} {gain:>20}")
        print("CPU ms per slot: " + ", ".join(f"{name} {ms:.2f}" for name, ms in report["ms_per_slot"].items()))
        (folder / "result.json").write_text(rawdata.dumps(result), encoding="utf-8", newline="\n")
    return result


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
