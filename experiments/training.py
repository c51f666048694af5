"""Make the tables of docs/training.md: every training configuration, on seeds that nothing was tuned on.

    python -m experiments.training                    # runs what is missing, then writes the tables
    python -m experiments.training --only blocked     # configurations whose name begins so
    python -m experiments.training --only table1-long # 400,000 steps of Table I, hours: only when it is named
    python -m experiments.training --tables           # the tables alone, from results/training

A run that was killed goes on where its last checkpoint was, and a finished one is never run again. All configurations
and baselines meet the same 100 episodes of 20 slots. Needs the extra ``train``.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments import errors, rawdata
from irs_marl_env import evaluate, get_scenario

ROOT = Path(__file__).parents[1]
RAW = ROOT / "results" / "training"
PAGE = ROOT / "docs" / "training.md"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
SEEDS = (501, 502, 503)
TABLE_I_STEPS = 5_000 * 800  # episodes x slots of the paper's Table I, an update in each
BANK: dict[str, Any] = {"episodes": 100, "seed": 10_000, "slots": 20, "every": 5}
LOCAL_GAIN, MARGINAL = "structured-local-gain", "structured-marginal"
LAST = 3  # evaluations in a score

BLOCKED, SMALL, FOUR_IRS = "mdlbi-blocked-small-v0", "mdlbi-small-v0", "mdlbi-blocked-v0"
QUICK = ("--quick",)  # 4,000 updates
LONG = (*QUICK, "--updates", "8000", "--buffer", "262144", "--eval-every", "1000")
SWEEPS = ("--eval-sweeps", "5", "10")
DELAY = ("--set", "association_delay=1")
OWN_CSI = ("--set", "observation=values")
APART = ("--eval-apart", "5")  # slots, else 20 of them would be spread over episodes of 800

# Table I on channels that change, and on frozen ones, a tenth of its steps
CHANGING = {"fading": "ar1", "bs_irs_fading": "episode", "mobility": "group", "layout": "episode"}
MOVING = tuple(word for key, value in CHANGING.items() for word in ("--set", f"{key}={value}"))
RARELY = ("--checkpoint-every", "20000", "--eval-every", "20000", "--eval-episodes", "100")
TENTH = ("--preset", "paper", "--updates", "400000", *RARELY)

# where a learner might beat the local-gain rule: name -> what the table says of the scenario, its fields
BEYOND: dict[str, tuple[str, dict[str, Any]]] = {
    "beyond-onepass": ("decoder without refinement", {"sweeps": 0}),
    "beyond-onepass-csi": ("the same, error variance of CSI 0.3", {"sweeps": 0, "csi_error_variance": 0.3}),
    "beyond-onepass-l4": ("4 IRSs, decoder without refinement", {"sweeps": 0, "num_irs": 4}),
    "beyond-csi": ("error variance of CSI 0.3, decoder with its two sweeps", {"csi_error_variance": 0.3}),
    "beyond-crowded": ("12 users", {"num_users": 12}),
    "beyond-single": ("4 IRSs, only the strongest reflects", {"num_irs": 4, "reflection": "single"}),
}

# bids from a critic of own sets: name -> scenario, what the table says of it, flags, baseline
OWN: dict[str, tuple[str, str, tuple[str, ...], str]] = {
    "own-blocked": (BLOCKED, f"`{BLOCKED}`, path gains", (), "blocked-2"),
    "own-blocked-values": (BLOCKED, 'the same, `observation="values"`', OWN_CSI, "blocked-2"),
    "own-blocked-delay": (BLOCKED, "the same, path gains, `association_delay=1`", DELAY, "blocked-delay"),
    "own-four": (FOUR_IRS, f"`{FOUR_IRS}`, path gains", APART, "four"),
    "own-four-values": (FOUR_IRS, 'the same, `observation="values"`', (*APART, *OWN_CSI), "four"),
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
    "blocked-long-fresh": (BLOCKED, LONG),
    "table1-long": (
        SMALL,
        (*TENTH, *MOVING),
    ),
    "table1-long-frozen": (SMALL, TENTH),
    **{
        name: (BLOCKED, (*QUICK, *(word for key, value in fields.items() for word in ("--set", f"{key}={value}"))))
        for name, (_, fields) in BEYOND.items()
    },
    **{name: (scenario, ("--algo", "own-value", *flags)) for name, (scenario, _, flags, _) in OWN.items()},
}

# seeds of the configurations that have others than SEEDS
SEEDS_OF: dict[str, tuple[int, ...]] = {
    "blocked-long-fresh": (601, 602, 603),
    "table1-long": (511,),
    "table1-long-frozen": (511,),
    **dict.fromkeys(OWN, (601, 602, 603, 604, 605)),
}
HOURS = ("table1-long",)  # beginnings of names that run only when they are asked for

# name -> scenario, fields, policies that need no learning
STRUCTURED = ("structured-fixed", "structured-random", LOCAL_GAIN)
AO = ("fixed-ao", "local-gain-ao", "exhaustive-ao")
BASELINES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    **{
        f"{short}-{sweeps}": (name, {"sweeps": sweeps}, STRUCTURED + ((MARGINAL, "random", *AO) if sweeps == 2 else ()))
        for short, name in (("blocked", BLOCKED), ("small", SMALL))
        for sweeps in (2, 5, 10)
    },
    "blocked-delay": (BLOCKED, {"association_delay": 1}, STRUCTURED),
    "blocked-l1": (BLOCKED, {"num_irs": 1}, STRUCTURED),
    "four": (FOUR_IRS, {}, (LOCAL_GAIN, MARGINAL)),
    **{name: (BLOCKED, fields, (*STRUCTURED, "structured-exhaustive")) for name, (_, fields) in BEYOND.items()},
    "small-l1": (SMALL, {"num_irs": 1}, STRUCTURED),
    "table1-long": (SMALL, CHANGING, ("random", "random-mrt", "random-wmmse", "exhaustive-ao")),
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
    """Evaluate the baselines of a scenario, but for those that are there."""
    path = RAW / "baselines" / f"{name}.json"
    scenario, fields, policies = BASELINES[name]
    found = json.loads(path.read_text(encoding="utf-8"))["policies"] if path.exists() else {}
    missing = [policy for policy in policies if policy not in found]
    if not missing:
        return
    for policy in missing:
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
    print(name, *(f"{policy} {found[policy]['mean']:.3f}" for policy in missing), flush=True)


# --- tables ----------------------------------------------------------------------------------------------------------


class Scored(ABC):
    """What has been measured of a policy: scores by training and episode."""

    digits = 3  # of ratios in a table

    @abstractmethod
    def missing(self) -> bool:
        """Whether some of it has not been measured yet."""

    @abstractmethod
    def scores(self, sweeps: int = 2) -> np.ndarray:
        """``(trainings,)`` means over the bank [bit/s/Hz]; with other ``sweeps`` than it was trained with."""

    @abstractmethod
    def episodes(self) -> np.ndarray:
        """``(trainings, episodes)`` means over slots [bit/s/Hz]."""

    def against(self, label: str, other: Scored, goal: float | None, each: float | None = None, sweeps: int = 2) -> str:
        """A row of a table: this divided by the other, for the means over seeds and seed by seed."""
        wanted = "" if goal is None else f">= {goal:.2f}" + ("" if each is None else f", each >= {each:.2f}")
        if self.missing() or other.missing():
            return f"| {label} | {wanted} | not run | | | |"
        above, below = self.scores(sweeps), other.scores(sweeps)
        ratios, mean = above / below, above.mean() / below.mean()
        met = "" if goal is None else "yes" if mean >= goal and ratios.min() >= (each or 0.0) else "no"
        error, least = self._error(other, sweeps)
        each_one = ", ".join(f"{ratio:.{self.digits}f}" for ratio in ratios) if len(ratios) > 1 else ""
        return f"| {label} | {wanted} | **{mean:.{self.digits}f}**{error} | {each_one} | {met} | {least} |"

    def _error(self, other: Scored, sweeps: int) -> tuple[str, str]:
        """The error of the ratio and the least effect that could have been detected, as the table shows them."""
        a, b = self.episodes(), other.episodes()
        if sweeps == 2 and a.shape[1] == b.shape[1]:
            found, freedom = errors.ratio(a, b)
            least = errors.detectable(found.standard_error, freedom)
            return f" ± {found.standard_error:.{self.digits}f}", f"{least:.{self.digits}f}"
        by_training = self.scores(sweeps) / other.scores(sweeps).mean()
        if len(by_training) == 1:
            return "", ""
        error = by_training.std(ddof=1) / math.sqrt(len(by_training))
        return f" ± {error:.3f}†", f"{errors.detectable(error, len(by_training) - 1):.3f}†"


class Baseline(Scored):
    """A stored policy that needs no learning."""

    def __init__(self, name: str, policy: str) -> None:
        self.path, self._policy = RAW / "baselines" / f"{name}.json", policy

    def missing(self) -> bool:
        return not self.path.exists() or self._policy not in self._stored()

    def scores(self, sweeps: int = 2) -> np.ndarray:
        return np.array([self._stored()[self._policy]["mean"]])

    def episodes(self) -> np.ndarray:
        return np.array([self._stored()[self._policy]["episodes"]])

    def _stored(self) -> dict[str, Any]:
        return json.loads(self.path.read_text(encoding="utf-8"))["policies"]


class Configuration(Scored):
    """What is stored of a training configuration: one result per seed."""

    def __init__(self, name: str) -> None:
        self.paths = [RAW / "runs" / f"{name}-s{seed}.json" for seed in SEEDS_OF.get(name, SEEDS)]

    def missing(self) -> bool:
        return not all(path.exists() for path in self.paths)

    @property
    def results(self) -> list[dict[str, Any]]:
        """result.json of each seed."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in self.paths]

    def scores(self, sweeps: int = 2) -> np.ndarray:
        """Means of the last evaluations."""
        if sweeps == 2:
            return np.array([result["final"]["score"] for result in self.results])
        return np.array([np.mean([p["sweeps"][str(sweeps)] for p in r["curve"][-LAST:]]) for r in self.results])

    def episodes(self) -> np.ndarray:
        """Of the last evaluation alone."""
        return np.array([result["final"]["episodes"] for result in self.results])


def head(first: str) -> list[str]:
    """The head of a table of ratios."""
    return [f"| {first} | goal | mean ± error | each training | met | detectable |", "|---|---|---|---|---|---|"]


def judged(short: str) -> list[str]:
    """The table of one scenario; rows whose runs are not there yet say so."""
    blocked = short == "blocked"
    against = partial(Configuration.against, Configuration(f"{short}-mdlbi"))
    lines = [f"### `{BLOCKED if blocked else SMALL}`", "", *head("ratio")]
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
        rule, better = Baseline("blocked-2", LOCAL_GAIN), Baseline("blocked-2", MARGINAL)
        lines.append(better.against("no learning: marginal rule (own CSI) / local-gain rule", rule, None))
        lines.append(against("MDLBI / marginal rule (own CSI)", better, None))
        label = "exploratory, goal and result came together: 8,000 updates / local-gain rule"
        lines.append(Configuration("blocked-long").against(label, rule, None))
        label = "8,000 updates on fresh seeds 601, 602, 603 / local-gain rule"
        lines.append(Configuration("blocked-long-fresh").against(label, rule, 1.02))
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
    lines = [f"### `{SMALL}`, raw actions and CSI, one frozen channel", "", *head("ratio")]
    lines.append(Configuration("paper-stabilised").against("stabilised / random", random, 3.0))
    lines.append(Configuration("paper-table1").against("Table I as printed / random", random, None))
    long, chance = Configuration("table1-long-frozen"), Baseline("table1-long", "random")
    lines.append(long.against("Table I, 400,000 steps, seed 511 / random", random, None))
    lines += ["", f"### `{SMALL}`, raw actions and CSI, Table I for 400,000 steps on channels that change", ""]
    lines += head("ratio")
    label = "Table I, seed 511 (fading ar1, groups walk, layouts new in each episode)"
    lines.append(Configuration("table1-long").against(f"{label} / random", chance, None))
    for policy in ("random-mrt", "random-wmmse", "exhaustive-ao"):
        other = Baseline("table1-long", policy)
        lines.append(Configuration("table1-long").against(f"the same / `{policy}`", other, None))
    return [*lines, ""]


def beyond() -> list[str]:
    """The table of scenarios in which learning might beat the local-gain rule."""
    lines = [f"### Variants of `{BLOCKED}`: MDLBI / untrained local-gain rule with the same decoder", ""]
    lines += head("variant")
    for name, (label, _) in BEYOND.items():
        lines.append(Configuration(name).against(label, Baseline(name, LOCAL_GAIN), None))
    return [*lines, ""]


class Last(Configuration):
    """The last evaluation alone: this learner's evaluations are so rare that those before it are of another network.

    Seeds count that are there: a run that is missing yet leaves the others their row, which names them.
    """

    digits = 4

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.paths = [path for path in self.paths if path.exists()]

    def missing(self) -> bool:
        return not self.paths

    @property
    def seeds(self) -> str:
        return ", ".join(str(result["config"]["seed"]) for result in self.results)

    def scores(self, sweeps: int = 2) -> np.ndarray:
        return self.episodes().mean(1)


def own() -> list[str]:
    """The table of bids from a critic of own sets, by their last weights."""
    lines = ["### `own-value` / untrained local-gain rule, last weights", "", *head("task")]
    for name, (_, label, _, baseline) in OWN.items():
        trained = Last(name)
        row = f"{label}, seeds {trained.seeds}" if trained.seeds else label
        lines.append(trained.against(row, Baseline(baseline, LOCAL_GAIN), None))
    for label, baseline in ((f"`{BLOCKED}`", "blocked-2"), (f"`{FOUR_IRS}`", "four")):
        better, rule = Baseline(baseline, MARGINAL), Baseline(baseline, LOCAL_GAIN)
        better.digits = Last.digits
        lines.append(better.against(f"no learning: marginal rule (own CSI), {label}", rule, None))
    return [*lines, ""]


def levels() -> list[str]:
    """The tables of every configuration and baseline in bit/s/Hz."""
    lines = [
        "### All training configurations [bit/s/Hz, ± error over trainings and episodes]",
        "",
        f"Budgets are shares of Table I's {TABLE_I_STEPS:,} steps (5,000 episodes of 800); in each of them it steps "
        "one environment and makes an update. Of `own-*`, too, a mean here is that of the last three evaluations (800, "
        "1,600 and 2,400 updates), where the ratios above are of the last weights.",
        "",
        "| configuration | mean ± error | each training | start | updates | transitions | s of a core |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in CONFIGURATIONS:
        trained = Configuration(name)
        if trained.missing():
            continue
        scores, seconds = trained.scores(), [result["cpu_seconds"] for result in trained.results]
        starts = np.mean([result["final"]["start"] for result in trained.results])
        shown = ", ".join(f"{score:.3f}" for score in scores)
        error = errors.two_level(trained.episodes())[0].standard_error
        last = trained.results[0]["curve"][-1]
        budget = " | ".join(f"{n:,} ({n / TABLE_I_STEPS:.2%})" for n in (last["update"], last["steps"]))
        level = f"{scores.mean():.3f} ± {error:.3f}"
        lines.append(f"| {name} | {level} | {shown} | {starts:.3f} | {budget} | {np.mean(seconds):.0f} |")
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
    return "\n".join([*text, *own(), *paper(), *beyond(), *levels()])


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
            if name.startswith(tuple(options.only)) and (options.only != [""] or not name.startswith(HOURS)):
                for seed in SEEDS_OF.get(name, SEEDS):
                    train(name, seed, options.runs)
        for name in BASELINES:
            if name.startswith(tuple(options.only)):
                measure(name)
    text = tables()
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8", newline="\n")
    print(text)


if __name__ == "__main__":
    main()
