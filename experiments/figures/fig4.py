"""Figure 4: the rate against the number of IRSs, L in {1, 2, 4}, for K = 10 and K = 30 users; trained and classical.

    python -m experiments.figures.fig4            # makes what is not in results/figures/fig4 yet, and plots
    python -m experiments.figures.fig4 --plot     # plots the raw data that is there

The scenario is mdlbi-v0 with 100 slots an episode. Users and direct channels do not depend on L, so that all numbers
of IRSs meet the same episodes and what an IRS adds is a paired difference; L = 0 is the same system without any.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from experiments.figures.agents import scores, settings, trained
from experiments.figures.tools import PICTURES, RAW, mean_of, once, paired, pyplot, save, welch
from irs_marl_env import get_scenario
from irs_marl_env.figure_style import BS_COLOURS
from irs_marl_env.training.policy import TrainedPolicy
from irs_marl_env.training.settings import PRESET_SCENARIO

SCENARIO = "mdlbi-v0"
STYLES = {  # by policy: name in the plot, colour, marker
    "local-gain-ao": ("local-gain rule + AO", BS_COLOURS[7], "^"),
    "random-ao": ("random owners + AO", "#999999", "v"),
    "mdlbi": ("MDLBI, trained", BS_COLOURS[1], "o"),
    "structured-local-gain": ("local-gain rule, same decoder", BS_COLOURS[0], "s"),
    "structured-random": ("random owners, same decoder", BS_COLOURS[4], "D"),
    "random-wmmse": ("random owners and phases, WMMSE", BS_COLOURS[2], "X"),
}
NO_IRS = "no-irs-wmmse"


@dataclass
class Plan:
    """Budget of the figure."""

    users: tuple[int, ...] = (10, 30)
    """K"""
    irs: tuple[int, ...] = (1, 2, 4)
    """L"""
    seeds: tuple[int, ...] = (611, 612, 613)
    """of trainings; budgets were chosen on 611, no other setting"""
    updates: tuple[int, ...] = (1200, 1200)
    """of each training, for each K"""
    episodes: int = 100
    """of the bank"""
    slots: int = 2
    """measured in each episode"""
    every: int = 25
    """distance of measured slots"""
    raw: Path = RAW / "fig4"
    """folder of raw data"""
    picture: Path = PICTURES / "fig4.png"
    """the plot"""
    plot: bool = False
    """only plot"""


def system(users: int, irs: int) -> dict[str, int]:
    """Scenario fields of a setting."""
    return {"num_users": users, "num_irs": irs, "horizon": 100}


def learned(plan: Plan, users: int, irs: int, seed: int) -> tuple[TrainedPolicy, dict[str, Any]]:
    """Trained agents of a setting and the record of their training."""
    updates = plan.updates[plan.users.index(users)]
    args = settings("mdlbi", SCENARIO, system(users, irs), seed, updates)
    return trained(plan.raw / f"agents-k{users}-l{irs}-{seed}", args)


def on_bank(plan: Plan, name: str, users: int, irs: int, seed: int | None = None) -> dict[str, Any] | None:
    """Scores of a policy, or of trained agents, in a setting."""
    path = plan.raw / (f"k{users}-l{irs}-{name}" + (f"-{seed}" if seed else "") + ".json")
    if plan.plot and not path.is_file():
        return None

    def make() -> dict[str, Any]:
        policy: Any = name
        if seed is not None:
            policy = learned(plan, users, irs, seed)[0]
        fields = {**PRESET_SCENARIO["structured"], **system(users, irs)}
        scenario = get_scenario(SCENARIO, **fields)
        return {"users": users, "irs": irs, **scores(policy, scenario, plan.episodes, plan.slots, plan.every)}

    return once(path, make)


def gather(plan: Plan) -> dict[tuple[str, int, int], np.ndarray]:
    """Rates by policy, K and L: ``(seeds, episodes)``, one row for what needs no learning."""
    found: dict[tuple[str, int, int], list[np.ndarray]] = {}

    def add(name: str, users: int, irs: int, seed: int | None = None) -> None:
        run = on_bank(plan, name, users, irs, seed)
        if run is not None:
            found.setdefault((name, users, irs), []).append(np.array(run["episodes"]))

    for users in plan.users:
        add(NO_IRS, users, 0)
    for name in STYLES:
        for users in plan.users if name != "mdlbi" else ():
            for irs in plan.irs:
                add(name, users, irs)
    for seed in plan.seeds:
        for users in plan.users:
            for irs in plan.irs:
                add("mdlbi", users, irs, seed)
    return {key: np.stack(rows) for key, rows in found.items()}


def report(plan: Plan, found: dict[tuple[str, int, int], np.ndarray]) -> None:
    """Rates, and what IRSs add, in numbers."""
    for (name, users, irs), rates in sorted(found.items(), key=lambda item: item[0][1:]):
        seeds = ", ".join(f"{row.mean():.3f}" for row in rates) if name == "mdlbi" else ""
        print(f"K={users:<3} L={irs} {name:<20} {mean_of(rates.mean(0))} {seeds}")
    first = min(plan.irs)
    for name in STYLES:
        gains = {}
        for users in plan.users:
            for irs in plan.irs:
                base = found.get((name, users, first))
                here = found.get((name, users, irs))
                if base is None or here is None:
                    continue
                if irs != first:
                    print(f"{name:<20} K={users} L={irs} - L={first}: {paired(here.mean(0), base.mean(0))}")
            if (name, users, first) in found:
                gains[users] = found[name, users, first].mean(0) - found[NO_IRS, users, 0].mean(0)
                print(f"{name:<20} K={users} L={first} - no IRS (WMMSE): {mean_of(gains[users])}")
        if len(gains) == 2:
            few, many = gains.values()
            print(f"{name:<20} gain of L={first}, K={plan.users[1]} - K={plan.users[0]}: Welch {welch(many, few)}")
    for users in plan.users:
        for irs in plan.irs:
            if ("mdlbi", users, irs) in found:
                a, b = found["mdlbi", users, irs], found["structured-local-gain", users, irs]
                gap = paired(a.mean(0), b.mean(0))
                print(f"K={users} L={irs} mdlbi - structured-local-gain: {gap}, ratio {a.mean() / b.mean():.3f}")


def draw(plan: Plan, found: dict[tuple[str, int, int], np.ndarray]) -> None:
    """Rate against L, for each K."""
    plt = pyplot()
    figure, grid = plt.subplots(1, len(plan.users), figsize=(4.8 * len(plan.users), 4.2), layout="constrained")
    for axes, users in zip(np.atleast_1d(grid), plan.users, strict=True):
        none = mean_of(found[NO_IRS, users, 0].mean(0))
        axes.axhline(none.mean, color="0.3", linestyle=":", label="no IRS, WMMSE")
        axes.axhspan(none.low, none.high, color="0.3", alpha=0.08, linewidth=0)
        for name, (label, color, marker) in STYLES.items():
            irs = [count for count in plan.irs if (name, users, count) in found]
            points = [mean_of(found[name, users, count].mean(0)) for count in irs]
            if not points:
                continue
            axes.plot(irs, [p.mean for p in points], color=color, marker=marker, label=label, markersize=5)
            axes.fill_between(irs, [p.low for p in points], [p.high for p in points], color=color, alpha=0.13, lw=0)
            if name == "mdlbi":
                for count in irs:
                    each = found[name, users, count].mean(1)
                    axes.plot([count] * len(each), each, "_", color="black", markersize=9, zorder=4)
        title = f"K = {users}: MDLBI after {plan.updates[plan.users.index(users)]} updates"
        axes.set(title=title, xlabel="number of IRSs L", ylabel="system sum rate [bit/s/Hz]")
        axes.set_xticks(plan.irs)
    np.atleast_1d(grid)[0].legend(fontsize=7.5)
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
