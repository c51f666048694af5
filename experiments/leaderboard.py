"""Train every method on every task with seeds never used before, and write the leaderboard.

    python -m experiments.leaderboard                              # runs what is missing, then table and figure
    python -m experiments.leaderboard --tasks mdlbi-collision-v0 --methods own-value --seeds 701
    python -m experiments.leaderboard --ray                        # the runs as tasks of Ray, on all its machines
    python -m experiments.leaderboard --tables                     # table and figure alone, from results/leaderboard

Every method and every rule meets the same 100 episodes of 20 slots of a task. What a run scored, with its budget and
its seconds of a core, stands in a file of its own in results/leaderboard, and a finished run is never run again. Needs
the extras ``train``, ``sb3``, ``torchrl`` and ``test`` (for scipy).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from scipy.stats import bootstrap, trim_mean

from experiments import rawdata
from irs_marl_env import evaluate, get_scenario, load_policy, tables
from irs_marl_env.checks import refusal
from irs_marl_env.figure_style import BS_COLOURS, STYLE, save
from irs_marl_env.ray_tasks import run_all
from irs_marl_env.training.files import replacing
from irs_marl_env.training.folder import provenance

ROOT = Path(__file__).resolve().parents[1]
RAW = ROOT / "results" / "leaderboard"
PAGE = ROOT / "docs" / "leaderboard.md"
FIGURE = ROOT / "docs" / "images" / "leaderboard.png"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
BANK: dict[str, Any] = {"episodes": 100, "seed": 10_000, "slots": 20, "every": 5}
SEEDS = (701, 702, 703, 704, 705)
RESAMPLES = 10_000

Policy = Any
Learn = Callable[[str, int, Path], tuple[Policy, dict[str, Any]]]


# --- what is compared ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A scenario with something to learn.

    Attributes:
        rules: policies that need no learning; the first one is the level that shares are of.
        methods: what is trained on it.
        discount: what learners that do not know better look ahead with.
        fields: of rules that play another game than the learners, by name.
        flags: of our own trainer, for all its methods.
        flags_of: further ones, by method.
    """

    rules: tuple[str, ...]
    methods: tuple[str, ...]
    discount: float = 0.0
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    flags_of: dict[str, tuple[str, ...]] = field(default_factory=dict)


GENERAL = ("mdlbi", "maddpg", "sb3-ppo", "torchrl-mappo")
AUCTION = ("structured-local-gain", "structured-marginal", "structured-oracle", "random")
TASKS = {
    "mdlbi-blocked-small-v0": Task(AUCTION, ("own-value", "joint-bids", *GENERAL, "torchrl-qmix")),
    "mdlbi-collision-v0": Task(
        ("release", "head-count", "structured-local-gain", "structured-oracle", "random"),
        ("claims", *GENERAL, "torchrl-qmix"),
        discount=0.9,
        fields={"structured-local-gain": {"contention": "auction"}},
    ),
    "mdlbi-switching-v0": Task(
        ("hysteresis", "structured-local-gain", "structured-marginal", "planner", "random"),
        ("foresight", "own-value", *GENERAL, "torchrl-qmix"),
        discount=0.9,
        flags_of={"own-value": ("--n-step=8",)},  # an IRS idles for 4 slots first
    ),
    "mdlbi-interference-v0": Task(
        ("quiet-marginal", "structured-marginal", "structured-local-gain", "random"),
        ("joint-bids", "own-value", *GENERAL, "torchrl-qmix"),
    ),
    # 16 IRSs are too many for the joint levels of bids that QMIX chooses from; a slot of 8 BSs takes 140 KB in a buffer
    "mdlbi-city-v0": Task(
        ("structured-marginal", "structured-local-gain", "random"),
        ("joint-bids", "own-value", *GENERAL),
        flags=("--buffer=32768",),
        # not batches of 128: a critic of each BS on all 1,280 pairs takes 2 s an update; nor evaluations on the way
        flags_of={"maddpg": ("--batch=16", "--eval-every=4000")},
    ),
}


class Method(NamedTuple):
    """Something that learns: what trains it, and what a table calls it."""

    learn: Learn
    label: str


def trainer(algo: str, *flags: str) -> Learn:
    """Training with ``examples/maddpg.py``, resumed where it was killed."""

    def learn(task: str, seed: int, folder: Path) -> tuple[Policy, dict[str, Any]]:
        from examples import maddpg

        argv = ["--algo", algo, "--scenario", task, f"--seed={seed}", *flags, f"--out={folder.parent}"]
        argv += [f"--name={folder.name}", "--no-baselines", "--no-tensorboard", "--no-progress", *TASKS[task].flags]
        argv += TASKS[task].flags_of.get(algo, ())
        if TASKS[task].discount:
            argv += [f"--gamma={TASKS[task].discount}"]
        result = maddpg.main(["--resume", str(folder)] if (folder / "args.json").is_file() else argv)
        assert result is not None
        budget = {"updates": result["config"]["updates"], "slots": result["curve"][-1]["steps"]}
        return load_policy(folder / "policy.safetensors"), {**budget, "cpu_seconds": result["cpu_seconds"]}

    return learn


def recipe(module: str, **settings: Any) -> Learn:
    """Training with a recipe, ``learn(scenario, seed, gamma, **settings) -> (policy, slots)`` in ``examples/``."""

    def learn(task: str, seed: int, folder: Path) -> tuple[Policy, dict[str, Any]]:
        from importlib import import_module

        begun = time.process_time()
        structured = get_scenario(task, action="structured", observation="large_scale", reward="team")
        policy, slots = import_module(f"examples.{module}").learn(structured, seed, TASKS[task].discount, **settings)
        return policy, {"slots": slots, "cpu_seconds": time.process_time() - begun}

    return learn


def claims(task: str, seed: int, folder: Path) -> tuple[Policy, dict[str, Any]]:
    """Training with ``examples/collision.py``."""
    from examples import collision

    begun, args = time.process_time(), collision.Args(scenario=task, seed=seed)
    policy = collision.train(args)
    slots = args.episodes * get_scenario(task).horizon
    return policy, {"slots": slots, "cpu_seconds": time.process_time() - begun}


def foresight(task: str, seed: int, folder: Path) -> tuple[Policy, dict[str, Any]]:
    """Training with ``examples/foresight.py``."""
    from examples import foresight

    args = foresight.Args(scenario=task, seed=seed)
    policy = foresight.train(args, report=lambda line: None)
    return policy, {"slots": args.episodes * get_scenario(task).horizon, "cpu_seconds": policy.cpu_seconds}


METHODS = {
    "mdlbi": Method(trainer("mdlbi", "--quick"), "MDLBI (ours, --quick)"),
    "maddpg": Method(trainer("maddpg", "--quick"), "MADDPG (ours, --quick)"),
    "own-value": Method(trainer("own-value"), "own-value (ours)"),
    "claims": Method(claims, "claims (ours)"),
    "foresight": Method(foresight, "foresight (ours)"),
    "joint-bids": Method(recipe("joint_bids"), "joint bids (ours)"),
    "sb3-ppo": Method(recipe("sb3_ppo"), "PPO of Stable-Baselines3"),
    "torchrl-mappo": Method(recipe("torchrl_mappo"), "MAPPO of TorchRL"),
    "torchrl-qmix": Method(recipe("torchrl_qmix"), "QMIX of TorchRL"),
}


# --- runs ------------------------------------------------------------------------------------------------------------


class Job(NamedTuple):
    """One training, or with seed ``None`` the evaluation of a rule."""

    task: str
    name: str
    seed: int | None
    raw: Path
    runs: Path

    @property
    def path(self) -> Path:
        """Where its result stands."""
        return self.raw / f"{self.label}.json"

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.task}/{self.name}" + ("" if self.seed is None else f"-s{self.seed}")


def run(job: Job) -> None:
    """Train or evaluate, and write the result; nothing where it is written already."""
    if job.path.is_file():
        return
    scenario = get_scenario(job.task)
    found: dict[str, Any] = {"task": job.task, "method": job.name, "bank": BANK}
    if job.seed is None:
        result = evaluate(job.name, scenario, progress=False, **BANK, **TASKS[job.task].fields.get(job.name, {}))
    else:
        policy, budget = METHODS[job.name].learn(job.task, job.seed, job.runs / f"{job.task}-{job.name}-s{job.seed}")
        structured = scenario.replace(action="structured", observation="large_scale", reward="team")
        result = evaluate(policy, structured, progress=False, name=job.name, **BANK)
        found |= {"seed": job.seed, **budget}
    found |= {"mean": result.mean, "versions": provenance(), "episodes": result.episodes.round(5).tolist()}
    job.path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(job.path) as partial_file:
        partial_file.write_text(rawdata.dumps(found), encoding="utf-8", newline="\n")
    print(f"{job.label}: {result.mean:.3f} bit/s/Hz", flush=True)


def run_each(jobs: Sequence[Job], processes: int, ray: bool) -> list[str]:
    """Run jobs that are not done; the names of those that failed, of which the others take no notice."""
    missing = [job for job in jobs if not job.path.is_file()]
    if ray and missing:
        run_all(run, missing, lambda job: None)
        return []
    if processes == 1:
        return [job.label for job in missing if not went_well(partial(run, job), job.label)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        pending = {pool.submit(run, job): job.label for job in missing}
        return [pending[done] for done in as_completed(pending) if not went_well(done.result, pending[done])]


def went_well(work: Callable[[], None], label: str) -> bool:
    """Whether a piece of work did not fail; says why it did."""
    try:
        work()
    except Exception as error:  # of this one; the others have their chance
        print(f"{label} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return False
    return True


# --- tables ----------------------------------------------------------------------------------------------------------


class Score(NamedTuple):
    """Interquartile mean over trainings, as a share of a level, with its 95 % bootstrap interval.

    A task with a single training says nothing of how trainings scatter, so there is no ``interval`` then: ``low`` and
    ``high`` are the mean.
    """

    mean: float
    low: float
    high: float
    trainings: int
    interval: bool = True

    def __str__(self) -> str:
        if not self.interval:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def interquartile(samples: Sequence[np.ndarray]) -> Score:
    """The interquartile mean over all trainings of one or of several tasks.

    The middle half of the scores counts. The interval is the percentile bootstrap that draws trainings anew within each
    task, as Agarwal et al. do ("Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021,
    package rliable; equal to its figures within the scatter of resampling).

    Args:
        samples: of each task, the scores of its trainings.

    Example:
        >>> interquartile([np.array([1.0, 2.0, 3.0, 100.0])]).mean
        2.5
    """

    def middle(*tasks: np.ndarray, axis: int = -1) -> Any:
        return trim_mean(np.concatenate(tasks, axis=axis), 0.25, axis=axis)

    count, mean = sum(map(len, samples)), float(middle(*samples))
    if min(map(len, samples)) < 2 or all(np.ptp(s) == 0 for s in samples):
        return Score(mean, mean, mean, count, min(map(len, samples)) > 1)
    drawn = bootstrap(tuple(samples), middle, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    return Score(mean, float(drawn.confidence_interval.low), float(drawn.confidence_interval.high), count)


class Board:
    """What is stored of all runs."""

    def __init__(self, raw: Path = RAW) -> None:
        self.raw = raw

    def rule(self, task: str, name: str) -> dict[str, Any] | None:
        """The result of a rule."""
        path = self.raw / task / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def trainings(self, task: str, name: str) -> list[dict[str, Any]]:
        """The results of a method, by seed."""
        paths = sorted((self.raw / task).glob(f"{name}-s*.json"))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    def shares(self, task: str, name: str) -> np.ndarray:
        """Scores of a method's trainings, over that of the task's first rule."""
        level = self.rule(task, TASKS[task].rules[0])
        found = self.trainings(task, name)
        return np.array([]) if level is None else np.array([one["mean"] / level["mean"] for one in found])

    def tasks(self) -> Iterator[str]:
        """Tasks whose first rule is measured."""
        return (task for task in TASKS if self.rule(task, TASKS[task].rules[0]) is not None)


def _rule_label(task: str, name: str) -> str:
    """The name of a rule, with the fields of another game where it plays one."""
    other = TASKS[task].fields.get(name)
    return name + (f" ({', '.join(f'{k}={v}' for k, v in other.items())})" if other else "")


def of_task(board: Board, task: str) -> list[str]:
    """The table of a task: rules, then methods from the best on."""
    first = TASKS[task].rules[0]
    rows = [("method", "bit/s/Hz", f"/ {first}", "trainings", "slots", "core seconds")]
    for name in TASKS[task].rules:
        found = board.rule(task, name)
        if found is not None:
            share = found["mean"] / (board.rule(task, first) or found)["mean"]
            rows.append((_rule_label(task, name), f"{found['mean']:.3f}", f"{share:.3f}", "", "", ""))
    scores = {name: interquartile([shares]) for name in METHODS if len(shares := board.shares(task, name))}
    for name in sorted(scores, key=lambda name: -scores[name].mean):
        found_all = board.trainings(task, name)
        mean = np.mean([one["mean"] for one in found_all])
        slots, seconds = (np.mean([one[key] for one in found_all]) for key in ("slots", "cpu_seconds"))
        label = f"**{METHODS[name].label}**"
        rows.append((label, f"{mean:.3f}", str(scores[name]), str(len(found_all)), f"{slots:,.0f}", f"{seconds:.0f}"))
    return [f"### `{task}`", "", tables.table(rows, markdown=True), ""]


def over_tasks(board: Board) -> list[str]:
    """The table over all tasks, of methods that were trained on each of them."""
    tasks = list(board.tasks())
    scores = {}
    for name in METHODS:
        samples = [board.shares(task, name) for task in tasks]
        if tasks and all(map(len, samples)):
            scores[name] = interquartile(samples)
    rows = [("method", "interquartile mean of the shares", "trainings")]
    for name in sorted(scores, key=lambda name: -scores[name].mean):
        rows.append((METHODS[name].label, str(scores[name]), str(scores[name].trainings)))
    if not scores:
        return []
    return [f"### All {len(tasks)} tasks together", "", tables.table(rows, markdown=True), ""]


def draw(board: Board, path: Path = FIGURE) -> None:
    """A panel for each task, which says what share of its first rule others have, in a row each.

    Rules are hollow. Methods have interquartile means with their intervals, and a stroke for every training.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    tasks = [task for task in board.tasks() if any(len(board.shares(task, name)) for name in METHODS)]
    if not tasks:
        return
    rows = [max(len(_rows(board, task)) for task in tasks[i : i + 2]) for i in range(0, len(tasks), 2)]
    with rc_context(STYLE):
        figure = Figure(figsize=(8.4, sum(0.75 + 0.24 * count for count in rows)), layout="constrained")
        panels = figure.subplots(len(rows), 2, squeeze=False, height_ratios=[3 + count for count in rows]).ravel()
        for task, axes in zip(tasks, panels, strict=False):
            _panel(axes, board, task)
        for axes in panels[len(tasks) :]:
            axes.set_axis_off()
        save(figure, path)


def _rows(board: Board, task: str) -> list[tuple[str, np.ndarray, bool]]:
    """Label, shares and whether it learns, from the most on; random actions are too far away to be drawn."""
    first, *others = TASKS[task].rules
    level = (board.rule(task, first) or {})["mean"]
    found = {name: board.rule(task, name) for name in others if name != "random"}
    rules = [
        (_rule_label(task, name), np.array([one["mean"] / level]), False)
        for name, one in found.items()
        if one is not None
    ]
    methods = [(METHODS[n].label, board.shares(task, n), True) for n in METHODS if len(board.shares(task, n))]
    return sorted([*rules, *methods], key=lambda row: -interquartile([row[1]]).mean)


def _panel(axes: Any, board: Board, task: str) -> None:
    rows, learned = _rows(board, task), BS_COLOURS[0]
    for place, (_, shares, learns) in enumerate(rows):
        score = interquartile([shares])
        if not learns:
            axes.plot(score.mean, place, "D", color="#444444", markerfacecolor="white", markersize=5)
            continue
        ends = [[score.mean - score.low], [score.high - score.mean]]
        axes.errorbar([score.mean], [place], xerr=ends, fmt="o", color=learned, capsize=3, markersize=5)
        axes.plot(shares, [place] * len(shares), "|", color=learned, alpha=0.5, markersize=8)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_title(task, fontsize=9.0)
    axes.set_xlabel(f"share of {TASKS[task].rules[0]}", fontsize=8.0)
    labels = [
        label.replace(" (contention", "\n(contention") for label, _, _ in rows
    ]  # the others leave room for one line
    axes.set_yticks(range(len(rows)), labels, fontsize=8.0)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.grid(axis="x")


def page(board: Board) -> str:
    """Everything between the markers of the page."""
    lines = over_tasks(board)
    for task in board.tasks():
        lines += of_task(board, task)
    return "\n".join(lines)


# --- the command line ------------------------------------------------------------------------------------------------


@dataclass
class Args:
    """Settings."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """ids of tasks"""
    methods: tuple[str, ...] = tuple(METHODS)
    """what is trained"""
    seeds: tuple[int, ...] = SEEDS
    """of the trainings"""
    processes: int = 1
    """trainings at a time on this machine, one after another in this process if 1"""
    ray: bool = False
    """make every training a task of Ray instead"""
    tables: bool = False
    """only write table and figure from what is there"""
    raw: Path = RAW
    """folder of the results"""
    runs: Path = ROOT / "runs" / "leaderboard"
    """folder of checkpoints"""


def jobs_of(args: Args) -> list[Job]:
    """All jobs, rules first, then seed by seed, so that what is there early is of all tasks and methods.

    Raises:
        ValueError: a name is not known.
    """
    for name, values, known in (("tasks", args.tasks, TASKS), ("methods", args.methods, METHODS)):
        for value in values:
            if value not in known:
                raise refusal(name, value, ", ".join(known))
    new = partial(Job, raw=args.raw, runs=args.runs)

    def of(task: str) -> list[str]:
        return [name for name in TASKS[task].methods if name in args.methods]

    found = [new(task, rule, None) for task in args.tasks for rule in TASKS[task].rules]
    return found + [new(task, name, seed) for seed in args.seeds for task in args.tasks for name in of(task)]


def main(argv: list[str] | None = None) -> None:
    """The command line.

    Raises:
        SystemExit: some trainings failed; the others are in the table.
    """
    args = tyro.cli(Args, args=argv, description=__doc__)
    failed = [] if args.tables else run_each(jobs_of(args), args.processes, args.ray)
    board = Board(args.raw)
    text = page(board)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8", newline="\n")
    draw(board)
    print(text)
    if failed:
        sys.exit(f"{len(failed)} trainings failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
