"""Remake docs/results/training: every arm of the training tables, on seeds never used for tuning.

    python benchmarks/training.py                    # what is missing, then the tables
    python benchmarks/training.py --only blocked     # arms whose name begins so
    python benchmarks/training.py --tables           # the tables alone, from the files in docs/results/training

A killed arm goes on where its last checkpoint was; a finished one is never run again. All arms and yardsticks meet
the same 100 episodes of 20 slots. Needs the extra ``train``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from irs_marl_env import evaluate, get_scenario

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "results" / "training"
SEEDS = (501, 502, 503)
BANK: dict[str, Any] = {"episodes": 100, "seed": 10_000, "slots": 20, "every": 5}
SEEN = "seeds " + ", ".join(map(str, SEEDS))
LAST = 3  # evaluations in a score

BLOCKED, SMALL = "mdlbi-blocked-small-v0", "mdlbi-small-v0"
LONG = ("--quick",)  # 4,000 updates
SHORT = ("--quick", "--updates", "2000")
SWEEPS = ("--eval-sweeps", "5", "10")
DELAY = ("--set", "association_delay=1")

# name -> scenario, flags of examples/maddpg.py
ARMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "blocked-mdlbi": (BLOCKED, (*LONG, *SWEEPS)),
    "small-mdlbi": (SMALL, (*SHORT, *SWEEPS)),
    "blocked-fixed": (BLOCKED, (*LONG, "--algo", "fixed")),
    "small-fixed": (SMALL, (*SHORT, "--algo", "fixed")),
    "blocked-l1-mdlbi": (BLOCKED, (*SHORT, "--set", "num_irs=1")),
    "small-l1-mdlbi": (SMALL, (*SHORT, "--set", "num_irs=1")),
    "blocked-delay-mdlbi": (BLOCKED, (*SHORT, *DELAY)),
    "blocked-delay-fixed": (BLOCKED, (*SHORT, *DELAY, "--algo", "fixed")),
    "blocked-delay-gamma0": (BLOCKED, (*SHORT, *DELAY, "--gamma", "0")),
    "paper-stabilised": (SMALL, ("--preset", "paper", "--stabilised")),
    "paper-table1": (SMALL, ("--preset", "paper")),
}

# name -> scenario, fields, policies that need no learning
STRUCTURED = ("structured-fixed", "structured-random", "structured-auction")
AO = ("fixed-ao", "proximity-ao", "exhaustive-ao")
YARDSTICKS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    **{
        f"{short}-{sweeps}": (name, {"sweeps": sweeps}, STRUCTURED + (("random", *AO) if sweeps == 2 else ()))
        for short, name in (("blocked", BLOCKED), ("small", SMALL))
        for sweeps in (2, 5, 10)
    },
    "blocked-delay": (BLOCKED, {"association_delay": 1}, STRUCTURED),
    "blocked-l1": (BLOCKED, {"num_irs": 1}, STRUCTURED),
    "small-l1": (SMALL, {"num_irs": 1}, STRUCTURED),
    "paper": (
        SMALL,
        {"fading": "frozen", "bs_irs_fading": "frozen", "mobility": "static", "layout": "frozen"},
        ("random", "random-mrt", "random-rzf", "exhaustive-ao"),
    ),
}


# --- runs ------------------------------------------------------------------------------------------------------------


def train(arm: str, seed: int, runs: Path) -> None:
    """One arm with one seed, to the end, from wherever it stood."""
    path = OUT / "runs" / f"{arm}-s{seed}.json"
    if path.exists():
        return
    scenario, flags = ARMS[arm]
    folder = runs / f"{arm}-s{seed}"
    if not (folder / "result.json").exists():
        command = [sys.executable, str(ROOT / "examples" / "maddpg.py")]
        if (folder / "args.json").exists():
            command += ["--resume", str(folder)]
        else:
            command += ["--scenario", scenario, "--seed", str(seed), "--out", str(runs), "--name", folder.name, *flags]
            command += ["--no-yardsticks", "--no-tensorboard", "--no-progress"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    result = json.loads((folder / "result.json").read_text())
    result["config"] |= {"out": "runs", "name": folder.name}  # where it ran is nobody's concern
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{path.stem}: {result['final']['score']:.3f}, {result['cpu_seconds']:.0f} s of a core", flush=True)


def measure(name: str) -> None:
    """The yardsticks of a scenario."""
    path = OUT / "yardsticks" / f"{name}.json"
    if path.exists():
        return
    scenario, fields, policies = YARDSTICKS[name]
    found = {}
    for policy in policies:
        result = evaluate(policy, get_scenario(scenario, **fields), progress=False, **BANK)
        found[policy] = {
            "mean": result.mean,
            "standard_error": result.standard_error,
            "episodes": result.episodes.round(5).tolist(),
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"scenario": scenario, "fields": fields, "bank": BANK, "policies": found}) + "\n")
    print(name, *(f"{policy} {of['mean']:.3f}" for policy, of in found.items()), flush=True)


# --- tables ----------------------------------------------------------------------------------------------------------


class Arm:
    """What is stored of an arm: one result per seed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.results = [json.loads((OUT / "runs" / f"{name}-s{seed}.json").read_text()) for seed in SEEDS]

    def scores(self, sweeps: int = 2) -> np.ndarray:
        """``(seeds,)`` means of the last evaluations [bit/s/Hz]; with other ``sweeps`` than it was trained with."""
        if sweeps == 2:
            return np.array([result["final"]["score"] for result in self.results])
        return np.array([np.mean([p["sweeps"][str(sweeps)] for p in r["curve"][-LAST:]]) for r in self.results])

    def episodes(self) -> np.ndarray:
        """``(episodes,)`` of the last weights, mean over seeds."""
        return np.mean([result["final"]["episodes"] for result in self.results], axis=0)


def yardstick(name: str, policy: str) -> dict[str, Any]:
    """A policy's stored figures."""
    return json.loads((OUT / "yardsticks" / f"{name}.json").read_text())["policies"][policy]


def ratio_row(label: str, above: np.ndarray, below: np.ndarray | float, goal: float, each: float | None) -> str:
    """A row of the table of ratios; ``above / below`` per seed and of the means."""
    ratios = above / below
    mean = float(np.mean(above) / np.mean(below))
    met = mean >= goal and (each is None or ratios.min() >= each)
    wanted = f">= {goal:.2f}" + (f" (each {each:.2f})" if each is not None else "")
    shown = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    return f"| {label} | {wanted} | **{mean:.3f}** | {shown} | {'yes' if met else 'no'} |"


def judged(short: str) -> list[str]:
    """The table of one scenario."""
    blocked = short == "blocked"
    scenario = BLOCKED if blocked else SMALL
    mdlbi, fixed, single = (Arm(f"{short}-{arm}") for arm in ("mdlbi", "fixed", "l1-mdlbi"))
    best = yardstick(f"{short}-2", "exhaustive-ao")["mean"]
    lines = [
        f"### `{scenario}`",
        "",
        "| ratio | goal | mean | seeds " + "501, 502, 503 | met |",
        "|---|---|---|---|---|",
    ]
    goal, each = (1.20, 1.15) if blocked else (1.05, 1.02)
    lines.append(ratio_row("MDLBI / fixed, both trained", mdlbi.scores(), fixed.scores(), goal, each))
    for sweeps, share in zip((2, 5, 10), (0.90, 0.93, 0.95) if blocked else (0.93, 0.95, 0.96), strict=True):
        lines.append(ratio_row(f"MDLBI / `exhaustive-ao`, {sweeps} sweeps", mdlbi.scores(sweeps), best, share, None))
    for sweeps in (2, 5, 10):
        auction = yardstick(f"{short}-{sweeps}", "structured-auction")["mean"]
        label = f"MDLBI / untrained auction, {sweeps} sweeps"
        lines.append(ratio_row(label, mdlbi.scores(sweeps), auction, 1.00 if blocked else 0.98, None))
    goal = 1.15 if blocked else 1.05
    lines.append(ratio_row("L=2 / L=1, MDLBI", mdlbi.scores(), single.scores(), goal, None))
    if blocked:
        late, held, blind = (Arm(f"blocked-delay-{arm}") for arm in ("mdlbi", "fixed", "gamma0"))
        lines.append(ratio_row("delay 1: MDLBI / fixed", late.scores(), held.scores(), 1.10, None))
        lines.append(ratio_row("delay 1: discount 0.9 / 0", late.scores(), blind.scores(), 1.05, None))
    return [*lines, ""]


def levels() -> list[str]:
    """Every arm and yardstick in bit/s/Hz."""
    lines = ["### All arms [bit/s/Hz]", "", f"| arm | mean | {SEEN} | start | s of a core |"]
    lines.append("|---|---|---|---|---|")
    for name in ARMS:
        if not all((OUT / "runs" / f"{name}-s{seed}.json").exists() for seed in SEEDS):
            continue
        arm = Arm(name)
        scores, seconds = arm.scores(), [result["cpu_seconds"] for result in arm.results]
        starts = np.mean([result["final"]["start"] for result in arm.results])
        shown = ", ".join(f"{score:.3f}" for score in scores)
        lines.append(f"| {name} | {scores.mean():.3f} | {shown} | {starts:.3f} | {np.mean(seconds):.0f} |")
    lines += ["", "### Without learning [bit/s/Hz, +- standard error over episodes]", ""]
    lines += ["| scenario | policy | mean |", "|---|---|---|"]
    for name in YARDSTICKS:
        path = OUT / "yardsticks" / f"{name}.json"
        if path.exists():
            for policy, of in json.loads(path.read_text())["policies"].items():
                lines.append(f"| {name} | {policy} | {of['mean']:.3f} ± {of['standard_error']:.3f} |")
    return [*lines, ""]


def tables() -> str:
    """Everything, in Markdown."""
    text = ["<!-- written by benchmarks/training.py from the JSON files beside it -->", ""]
    for short in ("blocked", "small"):
        try:
            text += judged(short)
        except FileNotFoundError as error:
            text += [f"### {short}: incomplete, {Path(error.filename).name} is missing", ""]
    return "\n".join(text + levels())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names of arms")
    parser.add_argument("--tables", action="store_true", help="write the tables from what is there")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "training", help="folder of checkpoints")
    options = parser.parse_args()
    if not options.tables:
        for arm in ARMS:
            if arm.startswith(tuple(options.only)):
                for seed in SEEDS:
                    train(arm, seed, options.runs)
        for name in YARDSTICKS:
            if name.startswith(tuple(options.only)):
                measure(name)
    text = tables()
    (OUT / "tables.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
