"""Make the table of docs/tasks.md: for each task the best rule without learning, a ceiling, and what lies between.

    python -m experiments.headroom                          # all tasks; runs what is missing, writes the table
    python -m experiments.headroom --task mdlbi-city-v0     # one task
    python -m experiments.headroom --tables                 # the table alone, from results/headroom

All policies of a task meet the same 100 episodes of 20 slots (seeds from 10,000, every fifth slot), so the error of the
headroom is that of pairs. A policy that this version of the package does not have is left out, and said so.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments import rawdata
from experiments.ceilings import JointSearch, SetSearch
from irs_marl_env import Result, evaluate
from irs_marl_env.policies import POLICIES
from irs_marl_env.result import read
from irs_marl_env.tables import table

EPISODES, SLOTS, EVERY, SEED = 100, 20, 5, 10_000
ROOT = Path(__file__).parent.parent
RESULTS, PAGE = ROOT / "results" / "headroom", ROOT / "docs" / "tasks.md"
MARKS = "<!-- headroom -->", "<!-- /headroom -->"


@dataclass(frozen=True)
class Task:
    """What is compared on a task: names of policies, or objects that act."""

    rules: tuple[Any, ...]
    ceiling: Any


TASKS = {
    # rules that bid are no rules here: their policies claim for the winner alone, which takes an exchange of bids
    "mdlbi-collision-v0": Task(("structured-fixed", "head-count", "release"), "structured-oracle"),
    "mdlbi-switching-v0": Task(
        ("structured-fixed", "structured-local-gain", "structured-marginal", "hysteresis"), "planner"
    ),
    "mdlbi-interference-v0": Task(
        (
            "structured-random",
            "structured-local-gain",
            "structured-marginal",
            "quiet-marginal",
        ),
        JointSearch(every=EVERY),
    ),
    "mdlbi-city-v0": Task(
        ("structured-random", "structured-local-gain", "structured-marginal"), SetSearch(every=EVERY)
    ),
}


def installed(policy: Any) -> bool:
    """Whether this version of the package has what a policy needs."""
    return not isinstance(policy, str) or policy in POLICIES


def headroom(rule: np.ndarray, ceiling: np.ndarray) -> tuple[float, float]:
    """How far the ceiling is above the rule, as a share of the rule, and its standard error over paired episodes.

    Args:
        rule: ``(episodes,)`` mean rate of each episode.
        ceiling: of the same episodes.

    Example:
        >>> headroom(np.array([1.0, 2.0]), np.array([1.1, 2.2]))[0]
        0.10000000000000009
    """
    ratio = ceiling.mean() / rule.mean()
    rest = ceiling - ratio * rule
    error = rest.std(ddof=1) / math.sqrt(len(rest)) / rule.mean() if len(rest) > 1 else math.nan
    return float(ratio - 1), float(error)


def run(task: str) -> None:
    """Measure what of a task is not there yet, and keep it."""
    path = RESULTS / f"{task}.json"
    known = {result.policy: result for result in (read(path) if path.exists() else [])}
    for policy in (*TASKS[task].rules, TASKS[task].ceiling):
        name = policy if isinstance(policy, str) else policy.name
        if name in known:
            continue
        if not installed(policy):
            print(f"{task}: {name} is not part of this version", flush=True)
            continue
        begun = time.process_time()
        known[name] = evaluate(policy, task, EPISODES, SEED, SLOTS, EVERY, progress=False)
        rate, seconds = f"{known[name].mean:.3f} ± {known[name].standard_error:.3f}", time.process_time() - begun
        print(f"{task}: {name} {rate} bit/s/Hz ({seconds:.0f} s of a core)", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = {"results": [result.to_dict(users=False) for result in known.values()]}
        path.write_text(rawdata.dumps(plain), encoding="utf-8", newline="\n")


def rows(task: str, results: list[Result]) -> list[str]:
    """The row of a task in the table."""
    by_name = {result.policy: result for result in results}
    ceiling = TASKS[task].ceiling if isinstance(TASKS[task].ceiling, str) else TASKS[task].ceiling.name
    rules = [result for result in results if result.policy != ceiling]
    if ceiling not in by_name or not rules:
        return [f"`{task}`", "not measured", "", "", ""]
    best, top = max(rules, key=lambda result: result.mean), by_name[ceiling]
    share, error = headroom(best.episodes, top.episodes)
    shown = [f"{result.policy}: {result.mean:.3f} ± {result.standard_error:.3f}" for result in (best, top)]
    return [f"`{task}`", *shown, f"{100 * share:.1f} ± {100 * error:.1f} %", str(len(top.episodes))]


def tables() -> str:
    """The table of all tasks."""
    header = ["task", "best rule without learning [bit/s/Hz]", "ceiling [bit/s/Hz]", "headroom", "episodes"]
    lines = [header]
    for task in TASKS:
        path = RESULTS / f"{task}.json"
        lines.append(rows(task, read(path) if path.exists() else []))
    return table(lines, markdown=True)


def write(text: str) -> None:
    """Put the table into the page, between its marks."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    PAGE.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, action="append", help="one task; may be given several times")
    parser.add_argument("--tables", action="store_true", help="only write the table")
    arguments = parser.parse_args()
    for task in [] if arguments.tables else arguments.task or TASKS:
        run(task)
    write(tables())


if __name__ == "__main__":
    main()
