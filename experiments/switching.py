"""What can be had where an IRS that changes hands is idle for some slots, and who gets how much of it.

    python -m experiments.switching margins    # the margin of "hysteresis", tuned
    python -m experiments.switching table      # rules and ceilings, and trained bids of five seeds

``margins`` runs the auction with many margins on 200 episodes x 20 slots (every 5th, from seed 20,000). ``table``
evaluates everybody on 100 episodes x 20 slots from seed 10,000; policies of ``examples/foresight.py`` that --out does
not hold yet are trained first. Results go to results/switching/, one file for each part, and tables to the terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from examples import foresight
from experiments import rawdata
from experiments.baseline_runs import cell, table
from irs_marl_env import Result, evaluate, load_policy
from irs_marl_env.policies import with_margin
from irs_marl_env.result import read
from irs_marl_env.training.foresight import Foresight

RAW = Path(__file__).parents[1] / "results" / "switching"
TUNING: dict[str, Any] = {"episodes": 200, "seed": 20_000, "every": 5}
BANK: dict[str, Any] = {"episodes": 100, "seed": 10_000, "every": 5}
MARGINS_DB = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 200)
KNOWS = {  # policies of the table, and what they know to choose owners
    "structured-fixed": "all CSI of the first slot",
    "structured-random": "nothing",
    "structured-local-gain": "own path gains",
    "structured-marginal": "own CSI",
    "structured-oracle": "the true channels of all",
    "hysteresis": "own path gains, the IRSs that it holds",
    "planner": "the future walks of all users; all CSI",
    "planner-clairvoyant": "the future walks and channels of all",
}
TRAINED = "own path gains, places and velocities of its users, the IRSs that it holds"


@dataclass
class Args:
    """Settings."""

    part: tyro.conf.Positional[Literal["margins", "table"]]
    """which table"""
    seeds: tuple[int, ...] = (601, 602, 603, 604, 605)
    """of trainings"""
    scenario: str = "mdlbi-switching-v0"
    """an id of irs_marl_env.scenario_ids(), or a JSON file"""
    out: str = "runs/switching"
    """folder of trained policies"""
    episodes: int | None = None
    """fewer episodes, for a quick look that is not written down"""


def margins(args: Args) -> list[Result]:
    """The auction with every margin."""
    run = _Runs(args, TUNING)
    return [run(f"margin-{margin}", with_margin(margin)) for margin in MARGINS_DB]


def margin_table(results: list[Result]) -> str:
    """A row for each margin, and how much it has of the plain auction."""
    rows = [
        [f"{margin:g}" if margin < MARGINS_DB[-1] else "never switches", cell(r, digits=3), _ratio(r, results[0])]
        for margin, r in zip(MARGINS_DB, results, strict=True)
    ]
    return table(["margin [dB]", "bit/s/Hz", "of the plain auction"], rows)


def everybody(args: Args) -> list[Result]:
    """Rules and ceilings, then the policies of all trainings."""
    run = _Runs(args, BANK)
    return [run(name, name) for name in KNOWS] + [run(f"foresight-{seed}", trained(args, seed)) for seed in args.seeds]


def trained(args: Args, seed: int) -> Foresight:
    """The policy of a training, which is done now unless there is its file."""
    path = Path(args.out) / f"foresight-{seed}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        settings = foresight.Args(scenario=args.scenario, seed=seed)
        foresight.train(settings, report=lambda line: None).save(path)
    policy: Any = load_policy(path)
    print(f"seed {seed}: trained in {policy.cpu_seconds:.0f} s", flush=True)
    return policy


def full_table(results: list[Result]) -> str:
    """A row for each policy, with what it knows and how much it has of the auction with hysteresis."""
    best = _named(results, "hysteresis")
    rows = [[f"`{r.policy}`", KNOWS.get(r.policy, TRAINED), cell(r, digits=3), _ratio(r, best)] for r in results]
    return table(["policy", "knows", "bit/s/Hz", "of `hysteresis`"], rows)


def _named(results: list[Result], name: str) -> Result:
    return next(r for r in results if r.policy == name)


class _Runs:
    """Results of a part, of which those that its file holds are not run again."""

    def __init__(self, args: Args, bank: dict[str, Any]) -> None:
        self._args, self._path = args, RAW / f"{args.part}.json"
        self._scenario, self._bank = foresight.scenario_of(args.scenario), bank
        self._kept: dict[str, Result] = {}
        if args.episodes is not None:
            self._bank = {**bank, "episodes": args.episodes}
        elif self._path.exists():
            self._kept = {result.policy: result for result in read(self._path)}

    def __call__(self, name: str, policy: Any) -> Result:
        if name not in self._kept:
            self._kept[name] = evaluate(policy, self._scenario, name=name, **self._bank)
            if self._args.episodes is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                plain = rawdata.dumps({"results": [result.to_dict(users=False) for result in self._kept.values()]})
                self._path.write_text(plain, encoding="utf-8", newline="\n")
        return self._kept[name]


def _ratio(result: Result, base: Result) -> str:
    """Ratio of the means, with the error of the paired difference."""
    return f"{result.mean / base.mean:.3f} ± {result.difference(base).standard_error / base.mean:.3f}"


def main(args: Args) -> None:
    """Run a part and print its table; what its file holds is not run again."""
    torch.set_num_threads(1)
    print(margin_table(margins(args)) if args.part == "margins" else full_table(everybody(args)))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
