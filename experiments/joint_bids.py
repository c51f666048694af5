"""Train ``examples/joint_bids.py`` with seeds never used before, and write its table into docs/tasks.md.

    python -m experiments.joint_bids                                # runs what is missing, then the table
    python -m experiments.joint_bids --task mdlbi-city-v0 --seeds 601
    python -m experiments.joint_bids --tables                       # the table alone, from results/joint-bids

Trained policies and rules meet the same episodes, so the errors of ratios are those of pairs: each pair is an episode,
with the mean over trainings.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments import rawdata
from experiments.headroom import headroom
from irs_marl_env import Result, Scenario, evaluate, get_scenario
from irs_marl_env.result import read
from irs_marl_env.tables import table
from irs_marl_env.training.files import replacing
from irs_marl_env.training.settings import parse_assignments

BANK: dict[str, Any] = {"episodes": 100, "seed": 10_000, "slots": 20, "every": 5}
ROOT = Path(__file__).resolve().parents[1]
RAW, PAGE, SHIPPED = ROOT / "results" / "joint-bids", ROOT / "docs" / "tasks.md", ROOT / "examples" / "checkpoints"
SEEDS = 601, 602, 603, 604, 605
MARKS = "<!-- joint bids -->", "<!-- /joint bids -->"


class Task(NamedTuple):
    """Where policies are trained.

    Attributes:
        rules: beside them.
        observations: of trained policies, each a row.
        ships: keep the policy of the first seed with path gains among the examples.
    """

    rules: tuple[str, ...] = ("structured-local-gain", "structured-marginal")
    observations: tuple[str, ...] = ("large_scale", "values")
    ships: bool = False


TASKS = {  # by the id of the scenario, and what is set in it
    "mdlbi-interference-v0": Task(("structured-local-gain", "structured-marginal", "quiet-marginal"), ships=True),
    "mdlbi-city-v0": Task(observations=("large_scale",), ships=True),
    "mdlbi-blocked-small-v0": Task(),
    "mdlbi-blocked-small-v0 association_delay=1": Task(("structured-local-gain",), ("large_scale",)),
    "mdlbi-blocked-v0": Task(),
}
KNOWN = {"large_scale": "path gains", "values": "path gains, own CSI"}


def scenario_of(task: str, **fields: Any) -> Scenario:
    """The scenario of a task, with further fields."""
    name, *assignments = task.split()
    return get_scenario(name, **parse_assignments(assignments), **fields)


def folder_of(task: str, raw: Path = RAW) -> Path:
    """Where the results of a task stand."""
    return raw / task.replace(" ", "-").replace("=", "-")


def run(task: str, seeds: tuple[int, ...]) -> None:
    """Rules and trainings of a task that are not there yet; the policy of the first seed is kept, too."""
    from examples.joint_bids import learn

    folder, scenario = folder_of(task), scenario_of(task)
    for rule in TASKS[task].rules:
        path = folder / f"{rule}.json"
        if not path.is_file():
            keep(path, evaluate(rule, scenario, progress=False, **BANK))
    for seed in seeds:
        for observation in TASKS[task].observations:
            path = folder / f"{observation}-s{seed}.json"
            if path.is_file():
                continue
            begun = time.process_time()
            policy, slots = learn(scenario_of(task, observation=observation), seed)
            print(f"{task}: {observation}-s{seed}, {slots:,} slots, {time.process_time() - begun:.0f} s of a core")
            if TASKS[task].ships and seed == SEEDS[0] and observation == "large_scale":
                policy.save(SHIPPED / f"{task}.safetensors")
            keep(path, evaluate(policy, scenario, progress=False, name=f"joint-bids, {KNOWN[observation]}", **BANK))


def keep(path: Path, result: Result) -> None:
    """Write a result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(rawdata.dumps({"results": [result.to_dict(users=False)]}), encoding="utf-8", newline="\n")
    print(f"{path.stem}: {result.mean:.3f} ± {result.standard_error:.3f} bit/s/Hz", flush=True)


def rows(task: str, raw: Path = RAW) -> list[list[str]]:
    """The rows of a task in the table."""
    folder, rules = folder_of(task, raw), TASKS[task].rules
    known = {rule: read(folder / f"{rule}.json")[0] for rule in rules if (folder / f"{rule}.json").is_file()}
    if len(known) < len(rules):
        return []
    best = max(known.values(), key=lambda result: result.mean)
    found = [[f"`{task}`", f"`{rule}`", f"{known[rule].mean:.3f}", "", "", ""] for rule in rules]
    for observation in TASKS[task].observations:
        results = [read(path)[0] for path in sorted(folder.glob(f"{observation}-s*.json"))]
        if not results:
            continue
        episodes = np.mean([result.episodes for result in results], axis=0)
        ratios = [headroom(level.episodes, episodes) for level in (known["structured-local-gain"], best)]
        shown = [f"{1 + share:.4f} ± {error:.4f}" for share, error in ratios]
        each = [result.mean / best.mean for result in results]
        spread = f"{min(each):.4f} to {max(each):.4f} ({len(each)})"
        found.append([f"`{task}`", f"**{results[0].policy}**", f"{episodes.mean():.3f}", *shown, spread])
    return found


def tables(raw: Path = RAW) -> str:
    """The table of all tasks."""
    header = ["task", "policy", "bit/s/Hz", "/ `structured-local-gain`", "/ best rule", "each training / best rule"]
    return table([header, *(row for task in TASKS for row in rows(task, raw))], markdown=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, action="append", help="one task; may be given several times")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="of the trainings")
    parser.add_argument("--tables", action="store_true", help="only write the table")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", "policy .* neglects", UserWarning)  # the page says it
    for task in [] if arguments.tables else arguments.task or TASKS:
        run(task, tuple(arguments.seeds))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(MARKS[0])
    text = f"{before}{MARKS[0]}\n{tables()}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}"
    PAGE.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
