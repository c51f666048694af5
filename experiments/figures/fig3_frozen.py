"""Figure 3 as a curve like the paper's can be had: raw beams and phases, on ONE FROZEN CHANNEL.

    python -m experiments.figures.fig3_frozen            # trains what is not in results/figures/fig3a yet, plots
    python -m experiments.figures.fig3_frozen --plot     # plots the raw data that is there

Users stand still and the channel never changes, so the agents search for one action; nothing they find would serve on
another channel, and observations tell them nothing that changes but who held the IRSs. Each block is another channel.
Table I of the paper as printed, and the trainer's stabilised settings; both algorithms begin with equal weights and
noise. The third panel is the same search with users who walk and channels new in every slot, where there is no such
action.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from experiments.figures.stacked import Stacked
from experiments.figures.tools import BANK, PICTURES, RAW, band, mean_of, once, paired, pyplot, save, watch, welch
from irs_marl_env import evaluate
from irs_marl_env.figure_style import BS_COLOURS
from irs_marl_env.training.settings import STABILISED, TABLE_I, Args, scenario_of

SCENARIO = "mdlbi-small-v0"
PRESETS = {"table-i": "Table I as printed", "stabilised": "stabilised", "changing": "stabilised, channels change"}
NAMES = {"mdlbi": ("MDLBI (with rho)", BS_COLOURS[1]), "ddpg": ("DDPG (without rho)", BS_COLOURS[0])}
MOVING = ("fading=iid", "bs_irs_fading=iid", "mobility=group", "layout=episode")  # of the third panel, MDLBI alone
RULES = ("random", "random-wmmse", "fixed-ao", "exhaustive-ao")
EPISODES, SLOTS = 20, 5  # on a frozen channel only the first owners differ


@dataclass
class Plan:
    """Budget of the figure."""

    blocks: tuple[int, ...] = (631,)
    """seeds of the blocks, each with its own channel; none was used to choose settings"""
    members: int = 4
    """trainings in a block"""
    updates: int = 1500
    """of each training"""
    curve_every: int = 250
    """updates between the points of the curve"""
    width: int = 64
    """of the two hidden layers; the paper gives none"""
    raw: Path = RAW / "fig3a"
    """folder of raw data"""
    picture: Path = PICTURES / "fig3a.png"
    """the plot"""
    plot: bool = False
    """only plot"""


def settings(plan: Plan, algo: str, preset: str, block: int) -> Args:
    """The trainer's paper preset, on the small scenario."""
    values = TABLE_I if preset == "table-i" else STABILISED
    fields = (f"frozen_seed={block}", *(MOVING if preset == "changing" else ()))
    changes = {"scenario": SCENARIO, "algo": algo, "seed": block, "updates": plan.updates, "width": plan.width}
    changes["critic_warmup"] = min(values["critic_warmup"], plan.updates // 5)
    return replace(Args(), **{**values, **changes}, set=fields)


def block(plan: Plan, algo: str, preset: str, seed: int) -> dict[str, Any]:
    """Train a block; the curve of each training."""
    args = settings(plan, algo, preset, seed)
    stack = Stacked(args, plan.members)
    points, curve = [*range(0, plan.updates, plan.curve_every), plan.updates], []
    for updates in points:
        stack.train(updates)
        curve.append(watch(stack.act, plan.members, stack.scenario, EPISODES, SLOTS).rate.mean((1, 2)))
    return {
        "arm": algo,
        "preset": preset,
        "block": seed,
        "members": plan.members,
        "args": asdict(args),
        "bank": [EPISODES, SLOTS],
        "updates": points,
        "rate": curve,
    }


def rules(plan: Plan, preset: str, seed: int) -> dict[str, Any]:
    """What needs no learning, on the channels of a block."""
    scenario = scenario_of(settings(plan, "mdlbi", preset, seed))
    rates = {name: evaluate(name, scenario, EPISODES, BANK, slots=SLOTS, progress=False).mean for name in RULES}
    return {"rate": rates}


def gather(plan: Plan) -> tuple[dict[tuple[str, str], np.ndarray], list[int], dict[str, dict[str, np.ndarray]]]:
    """Curves ``(trainings, points)`` by preset and algorithm, their updates, and the rules' rates by preset, block."""
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    points: list[int] = []
    others: dict[str, list[dict[str, float]]] = {}
    for seed in plan.blocks:
        for preset in PRESETS:
            for algo in NAMES if preset != "changing" else ("mdlbi",):
                path = plan.raw / f"{preset}-{algo}-{seed}.json"
                if plan.plot and not path.is_file():
                    continue
                run = once(path, partial(block, plan, algo, preset, seed))
                points = run["updates"]
                found.setdefault((preset, algo), []).append(np.array(run["rate"]).T)
            if (preset, "mdlbi") in found:
                kind = "changing" if preset == "changing" else "frozen"
                path = plan.raw / f"rules-{kind}-{seed}.json"
                rate = once(path, partial(rules, plan, preset, seed))["rate"]
                others.setdefault(preset, []).append(rate)
    rates = {preset: {n: np.array([one[n] for one in blocks]) for n in RULES} for preset, blocks in others.items()}
    return {key: np.concatenate(rows) for key, rows in found.items()}, points, rates


def report(found: dict[tuple[str, str], np.ndarray], rates: dict[str, dict[str, np.ndarray]]) -> None:
    """The comparison in numbers: mean of the last three points of a curve."""
    for preset, by_rule in rates.items():
        print(
            f"{preset}, by block: " + "; ".join(f"{n} " + ", ".join(f"{r:.2f}" for r in v) for n, v in by_rule.items())
        )
    final = {key: curves[:, -3:].mean(1) for key, curves in found.items()}
    for (preset, algo), rate in final.items():
        share = rate.mean() / rates[preset]["exhaustive-ao"].mean()
        times = rate.mean() / rates[preset]["random"].mean()
        print(f"{preset:<10} {algo:<6} {mean_of(rate)} n {len(rate)}; {times:.1f} x random, {share:.2f} of AO")
    for preset in PRESETS:
        if (preset, "ddpg") in final:
            a, b = final[preset, "mdlbi"], final[preset, "ddpg"]
            print(f"{preset:<10} MDLBI - DDPG: paired {paired(a, b)} p {paired(a, b).p:.2g}; Welch {welch(a, b)}")


def draw(
    found: dict[tuple[str, str], np.ndarray],
    points: list[int],
    rates: dict[str, dict[str, np.ndarray]],
    path: Path,
) -> None:
    """Rate against updates, for each preset."""
    plt = pyplot()
    figure, grid = plt.subplots(1, len(PRESETS), figsize=(10.5, 3.6), layout="constrained", sharey=True)
    for axes, (preset, title) in zip(grid, PRESETS.items(), strict=True):
        for algo, (label, color) in NAMES.items():
            if (preset, algo) in found:
                band(axes, points, found[preset, algo], color, label)
        for (name, row), style in zip(rates[preset].items(), (":", "-.", "--", "-"), strict=True):
            axes.axhline(row.mean(), color="0.45", linestyle=style, linewidth=1, label=f"{name}, no learning")
        axes.set(title=f"{title}:\n{len(found[preset, 'mdlbi'])} trainings of each", xlabel="updates")
    grid[0].set_ylabel("system sum rate [bit/s/Hz]")
    lines, labels = grid[0].get_legend_handles_labels()  # the last panel lacks one of the algorithms
    grid[-1].legend(lines, labels, fontsize=7.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(
        "Raw beams and phases: an open-loop search on one frozen channel. Right: where channels change",
        fontsize=10,
    )
    save(figure, path)
    plt.close(figure)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    torch.set_num_threads(1)
    plan = tyro.cli(Plan, args=argv, description=__doc__)
    found, points, rates = gather(plan)
    report(found, rates)
    draw(found, points, rates, plan.picture)


if __name__ == "__main__":
    main()
