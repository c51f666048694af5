"""What a finished run says: its score on the evaluation bank, beside policies that need no learning."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from irs_marl_env.evaluation import Result
from irs_marl_env.figure_style import DPI, LINES, STYLE, look, words
from irs_marl_env.policies.rules import MAX_CELLS
from irs_marl_env.scenario import Scenario
from irs_marl_env.training.bank import LAST, on_bank
from irs_marl_env.training.files import replacing, write_json
from irs_marl_env.training.folder import CHECKPOINT, CURVE, POLICY, RESULT, provenance
from irs_marl_env.training.loop import Run
from irs_marl_env.training.settings import Args

# baselines: policies of the package, by name; they run in this order
DECODED = ("structured-fixed", "structured-random", "structured-local-gain")  # where actions are structured
OWN_CSI = ("structured-marginal",)  # there, if the BSs have the CSI of all IRSs
CLAIMING = ("head-count",)  # there, if claims can collide
OPTIMISED = ("fixed-ao", "local-gain-ao")
SEARCH, LARGE_SEARCH = "exhaustive-ao", "greedy-ao"  # the second where the first would take too long
MEANING = {
    "random": "uniform beams, phases and bids (raw action)",
    "uniform-structured": "uniform structured action",
    "structured-fixed": "untrained: association of the first slot, neutral decoder",
    "structured-random": "untrained: random association, neutral decoder",
    "structured-local-gain": "untrained: local-gain rule, neutral decoder",
    "structured-marginal": "untrained: bids by own CSI, neutral decoder",
    "head-count": "untrained: IRSs shared out by numbers of users, neutral decoder",
    "fixed-ao": "association of the first slot + alternating optimisation",
    "local-gain-ao": "local-gain rule + alternating optimisation",
    "greedy-ao": "greedy association + alternating optimisation",
    "exhaustive-ao": "best association + alternating optimisation",
}


def baselines(args: Args, scenario: Scenario) -> dict[str, Result]:
    """Policies that need no learning, on the evaluation bank, by name; each is printed as soon as it is done."""
    jobs: list[tuple[str, str, Scenario]] = [("random", "random", scenario.replace(action="raw"))]
    small = scenario.num_bs * 2**scenario.num_irs <= MAX_CELLS
    names: Iterable[str] = (*OPTIMISED, SEARCH if small else LARGE_SEARCH)
    if scenario.action == "structured":
        jobs.append(("uniform-structured", "random", scenario))
        with_csi = OWN_CSI if scenario.csi == "all" else ()
        claiming = CLAIMING if scenario.contention == "collision" else ()
        names = (*DECODED, *with_csi, *claiming, *names)
    jobs += [(name, name, scenario) for name in names]
    results = {}
    for label, policy, its_scenario in jobs:
        begun = time.perf_counter()
        results[label] = result = on_bank(policy, args, its_scenario)
        print(f"baseline {label}: {result.mean:.3f} bit/s/Hz, {time.perf_counter() - begun:.1f} s", flush=True)
    return results


def table(trained: Result, others: dict[str, Result], label: str) -> str:
    """Trained agents next to the baselines."""
    lines = [f"{'policy':<21} {'bit/s/Hz':>9} {'+- SE':>7} {'trained/it':>10}   on the same draws"]
    for name, result in [(label, trained), *others.items()]:
        ratio = trained.mean / result.mean if result.mean else math.nan
        row = f"{name:<21} {result.mean:9.3f} {result.standard_error:7.3f} {ratio:10.3f}   "
        lines.append(row + MEANING.get(name, "trained agents, last weights"))
    return "\n".join(lines)


def plot(path: Path, curve: list[dict[str, Any]], others: dict[str, Result], title: str) -> None:
    """Draw the learning curve with a line per baseline."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        axes = figure.subplots()
        updates, scores = [p["update"] for p in curve], np.array([p["score"] for p in curve])
        errors = np.nan_to_num([p["standard_error"] for p in curve])
        axes.plot(updates, scores, "o-", color="black", label="trained", zorder=3)
        axes.fill_between(updates, scores - errors, scores + errors, color="black", alpha=0.15, linewidth=0)
        for i, (name, result) in enumerate(others.items()):
            line = look(i)
            axes.axhline(result.mean, color=line["color"], linestyle=LINES[1 + i % 3], linewidth=1.2, label=words(name))
        axes.set(xlabel="updates", ylabel="system sum rate [bit/s/Hz]", title=words(title))
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        with replacing(path) as partial:
            figure.savefig(partial, dpi=1.5 * DPI, format="png")


def never_changes(scenario: Scenario) -> bool:
    """Whether every slot of every episode has the same channels, so that one action, found once, is the best for ever.

    Channels and movements of one's own count as changing.
    """
    still = scenario.mobility == "static" and scenario.layout == "frozen" and scenario.fading == "frozen"
    own = scenario.channels is not None or scenario.channel_model != "rician"
    return still and not own and (scenario.bs_irs_fading == "frozen" or scenario.num_irs == 0)


def headline(curve: list[dict[str, Any]]) -> float:
    """The score of a run: the mean over its last evaluations [bit/s/Hz]."""
    return float(np.mean([point["score"] for point in curve[-LAST:]]))


def report(run: Run, folder: Path) -> dict[str, Any]:
    """Baselines, table, curve.png and result.json of a finished run.

    Returns:
        The content of result.json.
    """
    args, scenario, curve = run.args, run.env.scenario, run.progress.curve
    trained = on_bank(run.policy(), args, scenario)
    others = baselines(args, scenario) if args.baselines else {}
    result: dict[str, Any] = {
        "config": asdict(args),
        "scenario": json.loads(scenario.to_json(portable=False)),
        "gamma": run.learner.gamma,
        "seeds": {
            "training": args.seed,
            "environments": [100_000 * (args.seed + 1), args.num_envs],
            "evaluation": [args.eval_seed, args.eval_episodes],
        },
        "versions": provenance(),
        "curve": curve,
        "final": {
            "score": headline(curve),
            "score_of": f"mean of the last {min(LAST, len(curve))} evaluations",
            "last": trained.mean,
            "standard_error": trained.standard_error,
            "episodes": trained.episodes.round(5).tolist(),
            "start": curve[0]["score"],
            "baselines": {name: _beside(trained, other, headline(curve)) for name, other in others.items()},
        },
        "seconds": run.progress.seconds,
        "cpu_seconds": run.progress.cpu_seconds,
        "threads": args.threads,
        "device": str(run.device),
    }
    title = f"{args.algo}, {args.scenario}, seed {args.seed}" + (" (frozen channel)" if never_changes(scenario) else "")
    plot(folder / CURVE, curve, others, title)
    write_json(folder / RESULT, result)
    print(table(trained, others, args.algo))
    print(
        f"\n{args.algo} on {args.scenario}: {headline(curve):.3f} bit/s/Hz (mean of the last evaluations; start "
        f"{curve[0]['score']:.3f}), {args.updates} updates in {run.progress.seconds:.0f} s; "
        f"{args.eval_episodes} episodes of {args.eval_slots} slots from seed {args.eval_seed}"
    )
    best = others.get(SEARCH) or others.get(LARGE_SEARCH)
    if best is not None:
        print(f"share of {best.policy}: {headline(curve) / best.mean:.3f}")
    if never_changes(scenario):
        print("one frozen channel: the agents searched for one action, they did not learn to react to channels")
    print(f"{folder}/: {RESULT}, {CURVE}, {POLICY}, {CHECKPOINT}")
    return result


def _beside(trained: Result, other: Result, score: float) -> dict[str, float]:
    """A baseline in result.json: its level, and what training gained over it, paired by episode."""
    gain = trained.difference(other)
    return {
        "mean": other.mean,
        "standard_error": other.standard_error,
        "difference": gain.mean,
        "difference_standard_error": gain.standard_error,
        "ratio": score / other.mean,
    }
