"""Figure 3 where rho can matter: own reward, and an IRS that two BSs claim is lost to both for the slot.

    python -m experiments.figures.fig3_collision            # trains what is not in results/figures/fig3b yet, plots
    python -m experiments.figures.fig3_collision --plot     # plots the raw data that is there

MDLBI observes rho, who of the other BSs held which IRS in the last slot; DDPG does not. All else is equal, pair by
pair: initial weights, exploration noise, training environments. The control is another pair: the same with team
reward and an auction, where no IRS can be lost.
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
from experiments.figures.tools import (
    PICTURES,
    RAW,
    band,
    mean_of,
    once,
    paired,
    pyplot,
    save,
    watch,
    watch_rule,
    welch,
)
from irs_marl_env.figure_style import BS_COLOURS
from irs_marl_env.training.settings import Args, scenario_of

OWN = ("reward=local", "contention=collision")
ALONE = ("mobility=random_waypoint", "fading=ar1", "doppler_hz=0.0716", "bs_irs_fading=frozen")  # correlation 0.95
GAMES = {  # by name: scenario fields, title
    "waypoint": ((*OWN, *ALONE), "own reward, collisions, users alone"),
    "group": (OWN, "own reward, collisions, user groups"),
    "team": (("reward=team", "contention=collision", *ALONE), "team reward, collisions, users alone"),
}
NAMES = {"mdlbi": "MDLBI (with rho)", "ddpg": "DDPG (without rho)"}
COLORS = {"mdlbi": BS_COLOURS[1], "ddpg": BS_COLOURS[0]}
RULES = {"structured-random": ":", "structured-fixed": "--", "structured-local-gain": "-."}  # they never collide


@dataclass
class Plan:
    """Budget of the figure."""

    waypoint: tuple[int, ...] = (601,)
    """seeds of the blocks of trainings of this game; no setting was tuned"""
    team: tuple[int, ...] = (601,)
    """the same"""
    group: tuple[int, ...] = (901,)
    """the same"""
    members: int = 16
    """trainings in a block"""
    updates: int = 1500
    """of each training"""
    curve_every: int = 250
    """updates between the points of the curve"""
    curve_episodes: int = 8
    """of the bank, for a point of the curve"""
    episodes: int = 100
    """of the bank, for the final comparison"""
    slots: int = 50
    """measured in each episode, one after the other"""
    raw: Path = RAW / "fig3b"
    """folder of raw data"""
    picture: Path = PICTURES / "fig3b.png"
    """the plot"""
    plot: bool = False
    """only plot"""


def settings(plan: Plan, algo: Any, game: str, block: int) -> Args:
    """The trainer's settings of a block."""
    return replace(
        Args(),
        algo=algo,
        set=GAMES[game][0],
        seed=block,
        updates=plan.updates,
        net="mlp",
        num_envs=8,
        batch=64,
        buffer=20_000,
        critic_warmup=min(300, plan.updates // 5),
    )


def block(plan: Plan, algo: str, game: str, seed: int) -> dict[str, Any]:
    """Train a block; curves and the final comparison, per training."""
    args = settings(plan, algo, game, seed)
    stack = Stacked(args, plan.members)
    points, curve = [*range(0, plan.updates, plan.curve_every), plan.updates], []
    for updates in points:
        stack.train(updates)
        curve.append(summary(watch(stack.act, plan.members, stack.scenario, plan.curve_episodes, plan.slots)))
    final = summary(watch(stack.act, plan.members, stack.scenario, plan.episodes, plan.slots))
    return {
        "arm": algo,
        "game": game,
        "block": seed,
        "members": plan.members,
        "args": asdict(args),
        "bank": [plan.episodes, plan.slots],
        "curve_episodes": plan.curve_episodes,
        "updates": points,
        "curve": {key: [point[key] for point in curve] for key in curve[0]},
        "final": final,
    }


def summary(seen: Any) -> dict[str, Any]:
    """Means per training."""
    return {name: values.mean((1, 2)) for name, values in seen._asdict().items()}


def rules(plan: Plan, game: str) -> dict[str, Any]:
    """What needs no learning, on the same bank."""
    found = {}
    scenario = scenario_of(settings(plan, "mdlbi", game, 0))
    for name in RULES:
        episodes = watch_rule(name, scenario, plan.episodes, plan.slots).rate.mean((0, 2))
        rate = mean_of(episodes)
        found[name] = {"rate": rate.mean, "standard_error": rate.standard_error, "episodes": episodes}
    return {"bank": [plan.episodes, plan.slots], "rules": found}


def gather(plan: Plan) -> tuple[dict[tuple[str, str], dict[str, Any]], dict[str, dict[str, Any]]]:
    """All raw data, made where it is missing: trainings in order by game and algorithm; and the rules by game."""
    data: dict[tuple[str, str], list[dict[str, Any]]] = {}
    others = {}
    for game in GAMES:
        for seed in getattr(plan, game):
            for algo in NAMES:
                path = plan.raw / f"{game}-{algo}-{seed}.json"
                if not plan.plot or path.is_file():
                    run = once(path, partial(block, plan, algo, game, seed))
                    data.setdefault((game, algo), []).append(run)
        if (game, "ddpg") in data:
            others[game] = once(plan.raw / f"{game}-rules.json", partial(rules, plan, game))["rules"]
    merged = {}
    for key, runs in data.items():
        curve = {name: np.concatenate([run["curve"][name] for run in runs], 1) for name in runs[0]["curve"]}
        final = {name: np.concatenate([run["final"][name] for run in runs]) for name in runs[0]["final"]}
        merged[key] = {"curve": curve, "final": final} | {n: runs[0][n] for n in ("updates", "curve_episodes")}
    return merged, others


def report(merged: dict[tuple[str, str], dict[str, Any]]) -> None:
    """The comparison in numbers."""
    for game in dict.fromkeys(key[0] for key in merged):
        for algo in NAMES:
            final = merged[game, algo]["final"]
            lost = {name: mean_of(100 * final[name]) for name in ("contested", "unclaimed")}
            print(
                f"{game:<10} {algo:<6} rate {mean_of(final['rate'])}, std over trainings "
                f"{final['rate'].std(ddof=1):.3f}, n {len(final['rate'])}; contested {lost['contested'].mean:.1f} ± "
                f"{lost['contested'].standard_error:.1f} %, unclaimed {lost['unclaimed'].mean:.1f} ± "
                f"{lost['unclaimed'].standard_error:.1f} %"
            )
        a, b = (merged[game, algo]["final"] for algo in NAMES)
        for name, scale in (("rate", 1), ("contested", 100), ("unclaimed", 100)):
            pair, free = paired(scale * a[name], scale * b[name]), welch(scale * a[name], scale * b[name])
            print(f"  {name}, MDLBI - DDPG: paired {pair} p {pair.p:.2g}; Welch {free} p {free.p:.2g}")
        both = paired(100 * (a["contested"] + a["unclaimed"]), 100 * (b["contested"] + b["unclaimed"]))
        print(f"  lost (contested or unclaimed), MDLBI - DDPG: paired {both} p {both.p:.2g}")


def draw(merged: dict[tuple[str, str], dict[str, Any]], others: dict[str, dict[str, Any]], path: Path) -> None:
    """Rate and lost IRSs against updates, a column per game."""
    plt = pyplot()
    games = list(others)
    figure, grid = plt.subplots(
        2, len(games), figsize=(3.6 * len(games), 5.8), layout="constrained", squeeze=False, sharex=True, sharey="row"
    )
    for (top, bottom), game in zip(grid.T, games, strict=True):
        for algo in NAMES:
            run = merged[game, algo]
            band(top, run["updates"], run["curve"]["rate"].T, COLORS[algo], NAMES[algo])
            for name, style in (("contested", "-"), ("unclaimed", "--")):
                label = f"{NAMES[algo]}: {name}"
                band(bottom, run["updates"], 100 * run["curve"][name].T, COLORS[algo], label, style)
        for name, rule in others[game].items():  # on the episodes of the curve
            level = np.mean(rule["episodes"][: merged[game, "mdlbi"]["curve_episodes"]])
            top.axhline(level, color="0.4", linestyle=RULES[name], linewidth=1, label=f"{name}, untrained")
        count = len(merged[game, "mdlbi"]["final"]["rate"])
        top.set_title(f"{GAMES[game][1]}\n{count} trainings of each")
        bottom.set(xlabel="updates")
        bottom.set_ylim(bottom=0)
    grid[0, 0].set_ylabel("system sum rate [bit/s/Hz]")
    grid[1, 0].set_ylabel("share of IRS slots [%]")
    grid[0, -1].legend(fontsize=7)
    grid[1, -1].legend(fontsize=7)
    save(figure, path)
    plt.close(figure)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    torch.set_num_threads(1)
    plan = tyro.cli(Plan, args=argv, description=__doc__)
    merged, others = gather(plan)
    report(merged)
    for game, found in others.items():
        rates = (f"{name} {rule['rate']:.3f} ± {rule['standard_error']:.3f}" for name, rule in found.items())
        print(f"{game:<10} untrained: " + ", ".join(rates))
    draw(merged, others, plan.picture)


if __name__ == "__main__":
    main()
