"""Train algorithms x scenarios x seeds with examples/maddpg.py, on one machine or many, and compare them.

    python examples/sweep.py --out runs/sweep --seeds 1 2 3 -- --quick       # flags after -- are the trainer's
    python examples/sweep.py --resume runs/sweep                             # go on; what is finished stays
    python examples/sweep.py --out runs/small --scenarios mdlbi-small-v0 --one-by-one -- --quick      # without Ray

Every run is a task of Ray (extra ``ray``) in a folder of its own, where one process at a time may train. A run whose
process or machine died goes on from its last checkpoint, elsewhere, as if nothing had happened. Ray takes the cluster
that ``RAY_ADDRESS`` names or that ``ray start`` has started here, else the cores of this machine. On several machines
the folder must be on a disk that all of them share (docs/many-machines.md). At the end all runs are collected into
``table.md`` and ``curves.png``.
"""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__":  # the imports take seconds: until command() listens, a signal ends the script at once
    for stop in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(stop) != signal.SIG_IGN:
            signal.signal(stop, lambda number, _: os._exit(128 + number))
    from irs_marl_env.training.command import check_installed

    check_installed("train")

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro

from irs_marl_env import tables
from irs_marl_env.checks import Whole, refusal
from irs_marl_env.estimate import Estimate
from irs_marl_env.ray_tasks import connected
from irs_marl_env.scenario_text import names_a_file
from irs_marl_env.signals import Stopped
from irs_marl_env.training.bank import on_bank
from irs_marl_env.training.command import Failed, command
from irs_marl_env.training.files import read_json, replacing, write_json
from irs_marl_env.training.folder import ARGS, RESULT, held
from irs_marl_env.training.settings import Algorithm, check, parse, scenario_of

ROOT = Path(__file__).resolve().parents[1]  # a task imports examples.maddpg from there
SETTINGS, TABLE, FIGURE = "sweep.json", "table.md", "curves.png"
RULE = "structured-local-gain"  # needs no learning; stands beside the trained agents
OURS = ("algo", "scenario", "seed", "out", "name", "resume", "eval", "checkpoint-every", "progress", "no-progress")
PATIENCE_S = 300  # how long a run waits for a process that a broken connection took from us and that still trains


@dataclass
class Args:
    """Settings; what stands after ``--`` goes to every training."""

    algos: tuple[Algorithm, ...] = ("mdlbi", "maddpg", "ddpg")
    """algorithms of examples/maddpg.py"""
    scenarios: tuple[str, ...] = ("mdlbi-blocked-small-v0",)
    """ids, or JSON files of scenarios"""
    seeds: tuple[int, ...] = (1, 2, 3)
    """of the trainings; the 95 % intervals are over them"""
    out: str = "runs/sweep"
    """folder of the sweep"""
    resume: str | None = None
    """folder of a sweep to go on with; all but --retries, --cpus and --one-by-one are its own"""
    checkpoint_every: int = 100
    """updates between checkpoints: what a killed run has to do again at most"""
    retries: int = 3
    """how often a run is begun again after its process or machine died"""
    cpus: int = 1
    """cores that Ray sets aside for a run"""
    one_by_one: bool = False
    """without Ray, one run after another in this process"""
    flags: tyro.conf.Suppress[tuple[str, ...]] = ()


class Training(NamedTuple):
    """One run of the sweep."""

    algo: str
    scenario: str
    seed: int
    folder: Path
    argv: list[str]  # for examples/maddpg.py

    @property
    def group(self) -> tuple[str, str]:
        """What it has in common with the other seeds."""
        return Path(self.scenario).stem if names_a_file(self.scenario) else self.scenario, self.algo


# --- what is trained -------------------------------------------------------------------------------------------------


def trainings(args: Args, folder: Path) -> list[Training]:
    """The runs of a sweep.

    Raises:
        ValueError: two runs would have one folder, or a flag after ``--`` is one of the sweep's.
    """
    given = {flag.removeprefix("--").partition("=")[0].replace("_", "-") for flag in args.flags if flag[:2] == "--"}
    for name in sorted(given & {*OURS}):
        raise ValueError(f"-- --{name}: is the sweep's to choose; must stand before --, if it is one of its flags")
    found: dict[str, Training] = {}
    for scenario in args.scenarios:
        for algo in args.algos:
            for seed in args.seeds:
                where = os.path.abspath(scenario) if names_a_file(scenario) else scenario
                run = Training(algo, where, seed, folder, [])
                name = f"{'-'.join(reversed(run.group))}-s{seed}"
                if name in found:
                    raise ValueError(f"run {name} stands twice: algorithms, seeds and names of scenarios must differ")
                argv = ["--algo", algo, "--scenario", where, f"--seed={seed}", f"--out={folder}", f"--name={name}"]
                argv += [f"--checkpoint-every={args.checkpoint_every}", "--no-progress"]
                quiet = [flag for flag in ("baselines", "tensorboard") if flag not in given]
                argv += [*args.flags, *(f"--no-{flag}" for flag in quiet if f"no-{flag}" not in given)]
                found[name] = run._replace(folder=folder / name, argv=argv)
    if not found:
        raise ValueError("algos, scenarios and seeds: must be at least one of each")
    return list(found.values())


def opened(args: Args) -> tuple[Args, Path]:
    """Settings and folder of a new sweep or, with ``--resume``, of one that is there.

    Raises:
        ValueError: a sweep is there already, or none to go on with.
    """
    folder = Path(os.path.abspath(os.path.expanduser(args.resume or args.out)))
    here = folder / SETTINGS
    if args.resume is None:
        if here.exists():
            raise ValueError(f"{folder} holds a sweep already: --resume {folder}, or another --out")
        for run in trainings(args, folder):  # what is wrong with any of them is said before the first begins
            settings = parse(run.argv)
            check(settings, scenario_of(settings))
        folder.mkdir(parents=True, exist_ok=True)
        write_json(here, asdict(args))
        return args, folder
    if not here.is_file():
        raise ValueError(f"--resume {folder}: no {SETTINGS} there; must be the folder of a sweep")
    stored: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in read_json(here).items()}
    if stored.keys() != {field.name for field in fields(Args)}:
        raise refusal(f"{here}: settings", sorted(stored), "those of this version of examples/sweep.py")
    stored |= {name: getattr(args, name) for name in ("retries", "cpus", "one_by_one")}
    return Args(**stored), folder


# --- one run ---------------------------------------------------------------------------------------------------------


def train(folder: Path, argv: list[str], patience: float = PATIENCE_S) -> str:
    """Train a run, or go on with it; nothing where it is finished.

    Args:
        folder: of the run.
        argv: for examples/maddpg.py, of a new run.
        patience: seconds to wait for another process that trains there, such as one that Ray lost sight of.

    Returns:
        What happened.
    """
    from examples import maddpg

    end = time.monotonic() + patience
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            with held(folder):
                break
        except ValueError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
    if (folder / RESULT).is_file():
        return "was finished"
    there = (folder / ARGS).is_file()
    maddpg.main(["--resume", str(folder)] if there else argv)
    return "went on" if there else "trained"


def one_by_one(runs: list[Training], args: Args, note: Callable[[Training, str, Exception | None], None]) -> None:
    """Train in this process."""
    for run in runs:
        try:
            note(run, train(run.folder, run.argv, patience=0), None)
        except (ValueError, OSError, RuntimeError) as error:  # of this run; the others have their chance
            note(run, "failed", error)


def by_ray(runs: list[Training], args: Args, note: Callable[[Training, str, Exception | None], None]) -> None:
    """Train by tasks of Ray, as many at a time as there are cores."""
    with connected() as ray:
        root = str(ROOT)

        @ray.remote(num_cpus=args.cpus, max_retries=args.retries, scheduling_strategy="SPREAD")
        def task(folder: Path, argv: list[str]) -> str:
            if root not in sys.path:
                sys.path.insert(0, root)
            from examples import sweep

            try:
                return sweep.train(folder, argv)
            except KeyboardInterrupt:  # to end, with a checkpoint: Ray begins the run again elsewhere
                os._exit(143)  # an error would be taken for one of the run

        pending = {task.remote(run.folder, run.argv): run for run in runs}
        while pending:
            (ready,), _ = ray.wait(list(pending), num_returns=1)
            run = pending.pop(ready)
            try:
                note(run, ray.get(ready), None)
            except ray.exceptions.RayTaskError as error:  # of this run; the others have their chance
                note(run, "failed", error if error.cause is None else error.cause)
            except ray.exceptions.RayError as error:  # its processes died more often than it is begun again
                note(run, "failed", error)


# --- what came of it -------------------------------------------------------------------------------------------------


def collected(runs: list[Training]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """What the finished runs wrote, ``{(scenario, algorithm): [result of each seed]}``, in the order of the sweep."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        if (run.folder / RESULT).is_file():
            found.setdefault(run.group, []).append(read_json(run.folder / RESULT))
    return found


def rules(runs: list[Training]) -> dict[str, float]:
    """What the rule without learning reaches in each scenario, on the episodes of the trainings [bit/s/Hz]."""
    first: dict[str, Any] = {}
    for run in runs:
        if run.group[0] not in first:
            first[run.group[0]] = parse(run.argv)
    return {name: on_bank(RULE, args, scenario_of(args)).mean for name, args in first.items()}


def report(found: dict[tuple[str, str], list[dict[str, Any]]], rule: dict[str, float]) -> str:
    """A table in Markdown: a line for each scenario and algorithm, and for the rule."""
    rows = [("scenario", "policy", "seeds", "bit/s/Hz [95 %]", "at the start", "/ rule", "core minutes")]
    for scenario in dict.fromkeys(name for name, _ in found):
        level = rule[scenario]
        for (_, algo), results in (item for item in found.items() if item[0][0] == scenario):
            scores = _over_seeds([result["final"]["score"] for result in results])
            start = tables.number(_over_seeds([result["final"]["start"] for result in results]).mean)
            minutes = sum(result["cpu_seconds"] for result in results) / 60
            seeds = " ".join(str(result["seeds"]["training"]) for result in results)
            share = f"{scores.mean / level:.3f}"
            rows.append((scenario, algo, seeds, tables.with_interval(scores), start, share, f"{minutes:.1f}"))
        rows.append((scenario, RULE, "", tables.number(level), "", "1.000", ""))
    return tables.table(rows, markdown=True)


def _over_seeds(values: list[float]) -> Estimate:
    return Estimate.of(np.array(values, float))


def curves(results: list[dict[str, Any]]) -> Iterator[tuple[int, Estimate]]:
    """Updates and the score over the seeds, at the evaluations that all of them have."""
    by_update = [{point["update"]: point["score"] for point in result["curve"]} for result in results]
    for update in sorted(set.intersection(*(set(points) for points in by_update))):
        yield update, _over_seeds([points[update] for points in by_update])


def draw(path: Path, found: dict[tuple[str, str], list[dict[str, Any]]], rule: dict[str, float]) -> None:
    """Learning curves with 95 % intervals over the seeds, a panel for each scenario."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from irs_marl_env.figure_style import DPI, STYLE, look

    scenarios = list(dict.fromkeys(scenario for scenario, _ in found))
    algos = list(dict.fromkeys(algo for _, algo in found))
    with rc_context(STYLE):
        figure = Figure(figsize=(1 + 4.5 * len(scenarios), 4), layout="constrained")
        panels = figure.subplots(1, len(scenarios), squeeze=False)
        for axes, scenario in zip(panels[0], scenarios, strict=True):
            for (name, algo), results in found.items():
                if name != scenario:
                    continue
                at, points = zip(*curves(results), strict=True)
                mean, half = (np.array([getattr(p, of) for p in points]) for of in ("mean", "half_width"))
                line = look(algos.index(algo))
                axes.plot(at, mean, label=f"{algo}, {_count(len(results))}", **line)
                if not np.isnan(half).any():  # one seed has no interval
                    axes.fill_between(at, mean - half, mean + half, color=line["color"], alpha=0.15, linewidth=0)
            axes.axhline(rule[scenario], color="black", linestyle="--", linewidth=1, label=RULE)
            axes.set(xlabel="updates", title=scenario)
            axes.legend(loc="lower right")
        panels[0][0].set_ylabel("system sum rate [bit/s/Hz]")
        with replacing(path) as partial:
            figure.savefig(partial, dpi=1.5 * DPI, format="png")


def _count(seeds: int) -> str:
    return f"{seeds} seeds" if seeds > 1 else "1 seed"


# --- the sweep -------------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> None:
    """The command line.

    Raises:
        Failed: some runs did not come to their end; the others are collected.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index("--") if "--" in words else len(words)
    args = tyro.cli(Args, args=words[:cut], description=__doc__)
    args.flags = tuple(words[cut + 1 :])
    for name, least in (("checkpoint_every", 1), ("retries", 0), ("cpus", 1)):
        Whole(least)(name, getattr(args, name))
    if args.resume is not None and args.flags:
        raise ValueError(f"-- {' '.join(args.flags)}: has no effect beside --resume, which takes the sweep's own flags")
    args, folder = opened(args)
    try:
        sweep(args, folder)
    except Stopped as stopped:
        stopped.folder = folder
        raise


def sweep(args: Args, folder: Path) -> None:
    """Train what is not finished, and collect everything."""
    runs = trainings(args, folder)
    left = [run for run in runs if not (run.folder / RESULT).is_file()]
    print(f"{folder}: {len(runs)} runs, {len(runs) - len(left)} of them finished", flush=True)
    failed: list[str] = []
    done = 0

    def note(run: Training, how: str, error: Exception | None) -> None:
        nonlocal done
        done += 1
        if error is None and not (run.folder / RESULT).is_file():
            error = ValueError("no result here: the folder must be on a disk that all machines share")
        if error is None:
            said = f"{how}, {read_json(run.folder / RESULT)['final']['score']:.3f} bit/s/Hz"
        else:
            failed.append(run.folder.name)
            said = f"failed: {str(error).strip() or type(error).__name__}"
        print(f"{done} of {len(left)}: {run.folder.name} {said}", flush=True)

    if left:
        (one_by_one if args.one_by_one else by_ray)(left, args, note)
    found = collected(runs)
    if found:
        rule = rules(runs)
        table = report(found, rule)
        with replacing(folder / TABLE) as partial:
            partial.write_text(table + "\n", encoding="utf-8")
        draw(folder / FIGURE, found, rule)
        print(f"\n{table}\n\n{folder}/: {TABLE}, {FIGURE}")
    if failed:
        raise Failed(f"{len(failed)} of {len(runs)} runs did not come to their end: {', '.join(failed)}")


if __name__ == "__main__":
    command(main)
