"""Make the tables of docs/training.md: every training configuration, on seeds that nothing was tuned on.

    python -m experiments.training                    # runs what is missing, then writes the tables
    python -m experiments.training --only blocked     # configurations whose name begins so
    python -m experiments.training --tables           # the tables alone, from results/training

A run that was killed goes on where its last checkpoint was, and a finished one is never run again. All configurations
and baselines meet the same 100 episodes of 20 slots. Needs the extra ``train``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments import rawdata
from irs_marl_env import evaluate, get_scenario

ROOT = Path(__file__).parents[1]
RAW = ROOT / "results" / "training"
PAGE = ROOT / "docs" / "training.md"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
SEEDS = (501, 502, 503)
BANK: dict[str, Any] = {"episodes": 100, "seed": 10_000, "slots": 20, "every": 5}
SEEN = "seeds " + ", ".join(map(str, SEEDS))
LOCAL_GAIN = "structured-local-gain"
LAST = 3  # evaluations in a score

BLOCKED, SMALL = "mdlbi-blocked-small-v0", "mdlbi-small-v0"
QUICK = ("--quick",)  # 4,000 updates
LONG = (*QUICK, "--updates", "8000", "--buffer", "262144", "--eval-every", "1000")
SWEEPS = ("--eval-sweeps", "5", "10")
DELAY = ("--set", "association_delay=1")

# where a learner might beat the local-gain rule: name -> what the table says of the scenario, its fields
BEYOND: dict[str, tuple[str, dict[str, Any]]] = {
    "beyond-onepass": ("decoder without refinement", {"sweeps": 0}),
    "beyond-onepass-csi": ("the same, error variance of CSI 0.3", {"sweeps": 0, "csi_error_variance": 0.3}),
    "beyond-onepass-l4": ("4 IRSs, decoder without refinement", {"sweeps": 0, "num_irs": 4}),
    "beyond-csi": ("error variance of CSI 0.3, decoder with its two sweeps", {"csi_error_variance": 0.3}),
    "beyond-crowded": ("12 users", {"num_users": 12}),
    "beyond-single": ("4 IRSs, only the strongest reflects", {"num_irs": 4, "reflection": "single"}),
}

# name -> scenario, flags of examples/maddpg.py
CONFIGURATIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "blocked-mdlbi": (BLOCKED, (*QUICK, *SWEEPS)),
    "blocked-long": (BLOCKED, LONG),
    "small-mdlbi": (SMALL, (*QUICK, *SWEEPS)),
    "blocked-fixed": (BLOCKED, (*QUICK, "--algo", "fixed")),
    "small-fixed": (SMALL, (*QUICK, "--algo", "fixed")),
    "blocked-l1-mdlbi": (BLOCKED, (*QUICK, "--set", "num_irs=1")),
    "small-l1-mdlbi": (SMALL, (*QUICK, "--set", "num_irs=1")),
    "blocked-delay-mdlbi": (BLOCKED, (*QUICK, *DELAY)),
    "blocked-delay-fixed": (BLOCKED, (*QUICK, *DELAY, "--algo", "fixed")),
    "blocked-delay-gamma0": (BLOCKED, (*QUICK, *DELAY, "--gamma", "0")),
    "paper-stabilised": (SMALL, ("--preset", "paper", "--stabilised")),
    "paper-table1": (SMALL, ("--preset", "paper")),
    **{
        name: (BLOCKED, (*QUICK, *(word for key, value in fields.items() for word in ("--set", f"{key}={value}"))))
        for name, (_, fields) in BEYOND.items()
    },
}

# name -> scenario, fields, policies that need no learning
STRUCTURED = ("structured-fixed", "structured-random", LOCAL_GAIN)
AO = ("fixed-ao", "local-gain-ao", "exhaustive-ao")
BASELINES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    **{
        f"{short}-{sweeps}": (name, {"sweeps": sweeps}, STRUCTURED + (("random", *AO) if sweeps == 2 else ()))
        for short, name in (("blocked", BLOCKED), ("small", SMALL))
        for sweeps in (2, 5, 10)
    },
    "blocked-delay": (BLOCKED, {"association_delay": 1}, STRUCTURED),
    "blocked-l1": (BLOCKED, {"num_irs": 1}, STRUCTURED),
    **{name: (BLOCKED, fields, (*STRUCTURED, "structured-exhaustive")) for name, (_, fields) in BEYOND.items()},
    "small-l1": (SMALL, {"num_irs": 1}, STRUCTURED),
    "paper": (
        SMALL,
        {"fading": "frozen", "bs_irs_fading": "frozen", "mobility": "static", "layout": "frozen"},
        ("random", "random-mrt", "random-rzf", "exhaustive-ao"),
    ),
}


# --- runs ------------------------------------------------------------------------------------------------------------


def train(name: str, seed: int, runs: Path) -> None:
    """Run one configuration with one seed to the end, from wherever it stood."""
    path = RAW / "runs" / f"{name}-s{seed}.json"
    if path.exists():
        return
    scenario, flags = CONFIGURATIONS[name]
    folder = runs / f"{name}-s{seed}"
    if not (folder / "result.json").exists():
        command = [sys.executable, str(ROOT / "examples" / "maddpg.py")]
        if (folder / "args.json").exists():
            command += ["--resume", str(folder)]
        else:
            command += ["--scenario", scenario, "--seed", str(seed), "--out", str(runs), "--name", folder.name, *flags]
            command += ["--no-baselines", "--no-tensorboard", "--no-progress"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    result["config"] |= {"out": "runs", "name": folder.name}  # where it ran is nobody's concern
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rawdata.dumps(result), encoding="utf-8", newline="\n")
    print(f"{path.stem}: {result['final']['score']:.3f}, {result['cpu_seconds']:.0f} s of a core", flush=True)


def measure(name: str) -> None:
    """Evaluate the baselines of a scenario, unless they are there."""
    path = RAW / "baselines" / f"{name}.json"
    if path.exists():
        return
    scenario, fields, policies = BASELINES[name]
    found = {}
    for policy in policies:
        result = evaluate(policy, get_scenario(scenario, **fields), progress=False, **BANK)
        found[policy] = {
            "mean": result.mean,
            "standard_error": result.standard_error,
            "episodes": result.episodes.round(5).tolist(),
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        rawdata.dumps({"scenario": scenario, "fields": fields, "bank": BANK, "policies": found}),
        encoding="utf-8",
        newline="\n",
    )
    print(name, *(f"{policy} {score['mean']:.3f}" for policy, score in found.items()), flush=True)


# --- tables ----------------------------------------------------------------------------------------------------------


class Baseline:
    """A stored policy that needs no learning."""

    def __init__(self, name: str, policy: str) -> None:
        self.path, self._policy = RAW / "baselines" / f"{name}.json", policy

    def missing(self) -> bool:
        """Whether it has not been measured yet."""
        return not self.path.exists()

    def scores(self, sweeps: int = 2) -> np.ndarray:
        """``(1,)`` mean over the bank [bit/s/Hz]."""
        return np.array([json.loads(self.path.read_text(encoding="utf-8"))["policies"][self._policy]["mean"]])


class Configuration:
    """What is stored of a training configuration: one result per seed."""

    def __init__(self, name: str) -> None:
        self.paths = [RAW / "runs" / f"{name}-s{seed}.json" for seed in SEEDS]

    def missing(self) -> bool:
        """Whether a seed has not been run yet."""
        return not all(path.exists() for path in self.paths)

    @property
    def results(self) -> list[dict[str, Any]]:
        """result.json of each seed."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in self.paths]

    def scores(self, sweeps: int = 2) -> np.ndarray:
        """``(seeds,)`` means of the last evaluations [bit/s/Hz]; with other ``sweeps`` than it was trained with."""
        if sweeps == 2:
            return np.array([result["final"]["score"] for result in self.results])
        return np.array([np.mean([p["sweeps"][str(sweeps)] for p in r["curve"][-LAST:]]) for r in self.results])

    def against(
        self,
        label: str,
        other: Configuration | Baseline,
        goal: float | None,
        each: float | None = None,
        sweeps: int = 2,
    ) -> str:
        """A row of a table: this divided by the other, for the means over seeds and seed by seed."""
        wanted = "" if goal is None else f">= {goal:.2f}" + ("" if each is None else f", each >= {each:.2f}")
        if self.missing() or other.missing():
            return f"| {label} | {wanted} | not run | | |"
        above, below = self.scores(sweeps), other.scores(sweeps)
        ratios, mean = above / below, above.mean() / below.mean()
        met = "" if goal is None else "yes" if mean >= goal and ratios.min() >= (each or 0.0) else "no"
        return f"| {label} | {wanted} | **{mean:.3f}** | {', '.join(f'{ratio:.3f}' for ratio in ratios)} | {met} |"


def judged(short: str) -> list[str]:
    """The table of one scenario; rows whose runs are not there yet say so."""
    blocked = short == "blocked"
    against = partial(Configuration.against, Configuration(f"{short}-mdlbi"))
    lines = [f"### `{BLOCKED if blocked else SMALL}`", "", f"| ratio | goal | mean | {SEEN} | met |"]
    lines.append("|---|---|---|---|---|")
    goal, each = (1.20, 1.15) if blocked else (1.05, 1.02)
    lines.append(against("MDLBI / fixed, both trained", Configuration(f"{short}-fixed"), goal, each))
    for sweeps, share in zip((2, 5, 10), (0.90, 0.93, 0.95) if blocked else (0.93, 0.95, 0.96), strict=True):
        label = f"MDLBI, {sweeps} sweeps / `exhaustive-ao`"
        lines.append(against(label, Baseline(f"{short}-2", "exhaustive-ao"), share, sweeps=sweeps))
    for sweeps in (2, 5, 10):
        label = f"MDLBI / untrained local-gain rule, {sweeps} sweeps each"
        untrained = Baseline(f"{short}-{sweeps}", LOCAL_GAIN)
        lines.append(against(label, untrained, 1.00 if blocked else 0.98, sweeps=sweeps))
    lines.append(against("L=2 / L=1, MDLBI", Configuration(f"{short}-l1-mdlbi"), 1.15 if blocked else 1.05))
    if blocked:
        label = "the same after 8,000 updates / untrained local-gain rule"
        lines.append(Configuration("blocked-long").against(label, Baseline("blocked-2", LOCAL_GAIN), 1.02))
        late = Configuration("blocked-delay-mdlbi")
        lines.append(late.against("delay 1: MDLBI / fixed, both trained", Configuration("blocked-delay-fixed"), 1.10))
        lines.append(late.against("delay 1: discount 0.9 / 0", Configuration("blocked-delay-gamma0"), 1.05))
        lines.append(
            late.against("delay 1: MDLBI / untrained local-gain rule", Baseline("blocked-delay", LOCAL_GAIN), None)
        )
    return [*lines, ""]


def paper() -> list[str]:
    """The table of the paper's preset on its frozen channel."""
    random = Baseline("paper", "random")
    lines = [f"### `{SMALL}`, raw actions and CSI, one frozen channel", "", f"| ratio | goal | mean | {SEEN} | met |"]
    lines.append("|---|---|---|---|---|")
    lines.append(Configuration("paper-stabilised").against("stabilised / random", random, 3.0))
    lines.append(Configuration("paper-table1").against("Table I as printed / random", random, None))
    return [*lines, ""]


def beyond() -> list[str]:
    """The table of scenarios in which learning might beat the local-gain rule."""
    lines = [f"### Variants of `{BLOCKED}`: MDLBI / untrained local-gain rule with the same decoder", ""]
    lines += [f"| variant | goal | mean | {SEEN} | met |", "|---|---|---|---|---|"]
    for name, (label, _) in BEYOND.items():
        lines.append(Configuration(name).against(label, Baseline(name, LOCAL_GAIN), None))
    return [*lines, ""]


def levels() -> list[str]:
    """The tables of every configuration and baseline in bit/s/Hz."""
    lines = [
        "### All training configurations [bit/s/Hz]",
        "",
        f"| configuration | mean | {SEEN} | start | s of a core |",
    ]
    lines.append("|---|---|---|---|---|")
    for name in CONFIGURATIONS:
        trained = Configuration(name)
        if trained.missing():
            continue
        scores, seconds = trained.scores(), [result["cpu_seconds"] for result in trained.results]
        starts = np.mean([result["final"]["start"] for result in trained.results])
        shown = ", ".join(f"{score:.3f}" for score in scores)
        lines.append(f"| {name} | {scores.mean():.3f} | {shown} | {starts:.3f} | {np.mean(seconds):.0f} |")
    lines += ["", "### Baselines, which need no learning [bit/s/Hz, ± standard error over episodes]", ""]
    lines += ["| scenario | policy | mean |", "|---|---|---|"]
    for name in BASELINES:
        path = RAW / "baselines" / f"{name}.json"
        if path.exists():
            for policy, score in json.loads(path.read_text(encoding="utf-8"))["policies"].items():
                lines.append(f"| {name} | {policy} | {score['mean']:.3f} ± {score['standard_error']:.3f} |")
    return [*lines, ""]


def tables() -> str:
    """Everything, in Markdown."""
    text = []
    for short in ("blocked", "small"):
        text += judged(short)
    return "\n".join([*text, *paper(), *beyond(), *levels()])


def written(page: str, text: str) -> str:
    """The page with the text between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names of configurations and baselines")
    parser.add_argument("--tables", action="store_true", help="write the tables from what is there")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "training", help="folder of checkpoints")
    options = parser.parse_args()
    if not options.tables:
        for name in CONFIGURATIONS:
            if name.startswith(tuple(options.only)):
                for seed in SEEDS:
                    train(name, seed, options.runs)
        for name in BASELINES:
            if name.startswith(tuple(options.only)):
                measure(name)
    text = tables()
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8", newline="\n")
    print(text)


if __name__ == "__main__":
    main()
