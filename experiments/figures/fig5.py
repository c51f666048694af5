"""Figure 5: learned against fixed association over time, while users walk.

    python -m experiments.figures.fig5            # makes what is not in results/figures/fig5 yet, and plots
    python -m experiments.figures.fig5 --plot     # plots the raw data that is there

"Fixed" is the association that is best in the first slot, held to the end, with everything else learned as for MDLBI
(or left untrained, or done by alternating optimisation). All policies meet the same episodes; differences are
paired by episode, trained ones averaged over their seeds first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from experiments.figures.agents import scores, settings, trained
from experiments.figures.tools import PICTURES, RAW, band, mean_of, once, pyplot, save
from irs_marl_env import get_scenario
from irs_marl_env.figure_style import BS_COLOURS
from irs_marl_env.training.settings import PRESET_SCENARIO

LEARNED = {"mdlbi": ("MDLBI, trained", BS_COLOURS[1]), "fixed": ("fixed association, trained", BS_COLOURS[0])}
RULES = {
    "structured-fixed": ("fixed association, untrained decoder", BS_COLOURS[5]),
    "structured-local-gain": ("local-gain rule, untrained decoder", BS_COLOURS[4]),
    "fixed-ao": ("fixed association + AO", "#888888"),
    "local-gain-ao": ("local-gain rule + AO", BS_COLOURS[7]),
}
ALSO = {"mdlbi-blocked-small-v0": ("ddpg", "maddpg")}  # not in the figure: MDLBI's relatives, trained alike
TITLES = {"mdlbi-v0": "K = 10, L = 4", "mdlbi-blocked-small-v0": "K = 4, L = 2, direct links blocked"}


@dataclass
class Plan:
    """Budget of the figure."""

    scenarios: tuple[str, ...] = ("mdlbi-v0", "mdlbi-blocked-small-v0")
    """one panel each"""
    seeds: tuple[int, ...] = (621, 622, 623)
    """of trainings; none was used to choose settings"""
    updates: int = 1200
    """of each training"""
    episodes: int = 64
    """of the bank"""
    slots: int = 120
    """of an episode, 1 s each"""
    every: int = 5
    """distance of measured slots; a held association is decided in slot 0, and none of the others has a memory"""
    raw: Path = RAW / "fig5"
    """folder of raw data"""
    picture: Path = PICTURES / "fig5.png"
    """the plot"""
    plot: bool = False
    """only plot"""


def on_bank(plan: Plan, scenario: str, name: str, seed: int | None = None) -> dict[str, Any] | None:
    """Scores over time of a rule, or of agents trained with an algorithm."""
    path = plan.raw / (f"{scenario}-{name}" + (f"-{seed}" if seed else "") + ".json")
    if plan.plot and not path.is_file():
        return None

    def make() -> dict[str, Any]:
        policy: Any = name
        if seed is not None:
            args = settings(name, scenario, {"horizon": 100}, seed, plan.updates)
            policy = trained(plan.raw / f"agents-{scenario}-{name}-{seed}", args)[0]
        watched = get_scenario(scenario, **PRESET_SCENARIO["structured"], horizon=plan.slots)
        return scores(policy, watched, plan.episodes, plan.slots // plan.every, plan.every)

    return once(path, make)


def gather(plan: Plan) -> dict[tuple[str, str], np.ndarray]:
    """Rates ``(seeds, episodes, points)`` by scenario and policy."""
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for scenario in plan.scenarios:
        for name in RULES:
            run = on_bank(plan, scenario, name)
            if run is not None:
                found.setdefault((scenario, name), []).append(np.array(run["over_time"]))
    for scenario in plan.scenarios:
        for seed in plan.seeds:
            for name in (*LEARNED, *ALSO.get(scenario, ())):
                run = on_bank(plan, scenario, name, seed)
                if run is not None:
                    found.setdefault((scenario, name), []).append(np.array(run["over_time"]))
    return {key: np.stack(rows) for key, rows in found.items()}


def report(plan: Plan, found: dict[tuple[str, str], np.ndarray]) -> None:
    """First slot, whole time, and differences, in numbers."""
    third = max(1, plan.slots // plan.every // 3)
    for (scenario, name), rates in found.items():
        whole = mean_of(rates.mean((0, 2)))
        seeds = ", ".join(f"{row.mean():.3f}" for row in rates) if len(rates) > 1 else ""
        wander = rates.std(-1, ddof=1).mean()  # of one training within an episode, over time
        print(f"{scenario} {name:<20} {whole}; std over time within an episode {wander:.2f} {seeds}")
    for scenario in plan.scenarios:
        for a, b in (
            ("mdlbi", "fixed"),
            ("mdlbi", "ddpg"),
            ("mdlbi", "maddpg"),
            ("mdlbi", "structured-local-gain"),
            ("structured-local-gain", "structured-fixed"),
            ("local-gain-ao", "fixed-ao"),
        ):
            if (scenario, a) not in found or (scenario, b) not in found:
                continue
            gap = found[scenario, a].mean(0) - found[scenario, b].mean(0)  # (episodes, points)
            ratio = found[scenario, a].mean() / found[scenario, b].mean()
            print(f"{scenario} {a} - {b}: first slot {mean_of(gap[:, 0])}")
            print(f"  all {mean_of(gap.mean(1))}, ratio {ratio:.3f}; last third {mean_of(gap[:, -third:].mean(1))}")
            if b in (*LEARNED, *ALSO.get(scenario, ())):
                each = found[scenario, a].mean((1, 2)) - found[scenario, b].mean((1, 2))
                print(f"  by training seed {each.round(3)}: {mean_of(each)}")


def draw(plan: Plan, found: dict[tuple[str, str], np.ndarray]) -> None:
    """Rates over time, and the paired difference of learned and fixed."""
    plt = pyplot()
    count = len(plan.scenarios)
    figure, grid = plt.subplots(2, count, figsize=(4.9 * count, 6.4), layout="constrained", squeeze=False, sharex=True)
    for column, scenario in enumerate(plan.scenarios):
        top, bottom = grid[:, column]
        for name, (label, color) in {**RULES, **LEARNED}.items():
            if (scenario, name) in found:
                rates = found[scenario, name].mean(0)
                band(top, plan.every * np.arange(rates.shape[1]), rates, color, label)
        top.set(title=f"{scenario}: {TITLES.get(scenario, '')}", ylabel="system sum rate [bit/s/Hz]")
        for a, b, color, label in (
            ("mdlbi", "fixed", BS_COLOURS[1], "MDLBI - fixed, both trained"),
            ("structured-local-gain", "structured-fixed", BS_COLOURS[4], "local-gain rule - fixed, both untrained"),
            ("local-gain-ao", "fixed-ao", BS_COLOURS[7], "local-gain rule - fixed, both AO"),
        ):
            if (scenario, a) in found and (scenario, b) in found:
                gap = found[scenario, a].mean(0) - found[scenario, b].mean(0)
                band(bottom, plan.every * np.arange(gap.shape[1]), gap, color, label)
        bottom.axhline(0, color="black", linewidth=0.8)
        bottom.set(xlabel="time [s]", ylabel="paired difference [bit/s/Hz]")
        bottom.legend(fontsize=7.5)
    for top in grid[0]:  # room for the legend above the lines
        low, high = top.get_ylim()
        top.set_ylim(low, high + 0.35 * (high - low))
    grid[0, 0].legend(fontsize=7.5, ncols=2, loc="upper center")
    save(figure, plan.picture)
    plt.close(figure)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    torch.set_num_threads(1)
    plan = tyro.cli(Plan, args=argv, description=__doc__)
    found = gather(plan)
    report(plan, found)
    draw(plan, found)


if __name__ == "__main__":
    main()
