"""What the figures' comparisons could have shown: their budgets, errors and smallest detectable effects.

    python -m experiments.figures.budgets    # writes the table of docs/paper.md, from results/figures alone

Errors are over trainings and episodes together where both are stored (figures 4 and 5), else over trainings; see
:mod:`experiments.errors`. A budget is a share of the 4,000,000 steps of the paper's Table I (5,000 episodes of 800
slots), in each of which it steps one environment and makes one update.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments import errors
from experiments.figures import fig3_collision, fig3_frozen, fig4, fig5
from experiments.figures.tools import paired
from experiments.training import TABLE_I_STEPS

PAGE = Path(__file__).parents[2] / "docs" / "paper.md"
BEGIN, END = "<!-- budgets -->", "<!-- /budgets -->"


class Row(NamedTuple):
    """A comparison of two methods."""

    label: str
    mean: float
    error: float
    least: float  # the smallest detectable effect
    drawn: str  # trainings, or trainings and episodes
    updates: int
    transitions: int


def over_trainings(label: str, a: Any, b: Any, updates: int, envs: int) -> Row:
    """Two methods training by training."""
    found = paired(a, b)
    least = errors.detectable(found.standard_error, found.n - 1)
    return Row(label, found.mean, found.standard_error, least, str(found.n), updates, updates * envs)


def over_both(label: str, a: Any, b: Any, updates: int, envs: int) -> Row:
    """Two methods, ``(trainings, episodes)`` each; one without learning has one training."""
    found, freedom = errors.two_level(a - b)
    trainings, episodes = (a - b).shape
    least = errors.detectable(found.standard_error, freedom)
    return Row(label, found.mean, found.standard_error, least, f"{trainings} x {episodes}", updates, updates * envs)


def rows() -> Iterator[Row]:
    """All comparisons that the verdicts of the page rest on."""
    frozen = fig3_frozen.Plan(plot=True)
    curves, _, _ = fig3_frozen.gather(frozen)
    for preset, title in (("table-i", "Table I"), ("stabilised", "stabilised")):
        a, b = (curves[preset, algo][:, -3:].mean(1) for algo in ("mdlbi", "ddpg"))
        envs = fig3_frozen.settings(frozen, "mdlbi", preset, frozen.blocks[0]).num_envs
        yield over_trainings(f"Fig. 3, frozen channel, {title}: MDLBI - DDPG", a, b, frozen.updates, envs)
    games = fig3_collision.Plan(plot=True)
    merged, _ = fig3_collision.gather(games)
    for game in fig3_collision.GAMES:
        a, b = (merged[game, algo]["final"]["rate"] for algo in ("mdlbi", "ddpg"))
        title = " ".join(fig3_collision.GAMES[game][1].split())
        yield over_trainings(f"Fig. 3, {title}: MDLBI - DDPG", a, b, games.updates, 8)
    more = fig4.Plan(plot=True)
    found = fig4.gather(more)
    for users, updates in zip(more.users, more.updates, strict=True):
        for irs in more.irs:
            a, b = found["mdlbi", users, irs], found["structured-local-gain", users, irs]
            label = f"Fig. 4, K = {users}, L = {irs}: MDLBI - local-gain rule"
            yield over_both(label, a, b, updates, ENVS)
    time = fig5.Plan(plot=True)
    over_time = {key: rates.mean(-1) for key, rates in fig5.gather(time).items()}
    for scenario in time.scenarios:
        for other, name in (
            ("fixed", "trained fixed"), ("ddpg", "DDPG"), ("maddpg", "MADDPG"),
            ("structured-local-gain", "local-gain rule"),
        ):  # fmt: skip
            if (scenario, other) in over_time:
                label = f"Fig. 5, `{scenario}`: MDLBI - {name}"
                yield over_both(label, over_time[scenario, "mdlbi"], over_time[scenario, other], time.updates, ENVS)


ENVS = 16  # of figures 4 and 5, experiments/figures/agents.py


def table() -> str:
    """The rows in Markdown."""
    lines = [
        "| comparison [bit/s/Hz] | trainings (x episodes) | difference ± error | detectable | updates | transitions |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows():
        shares = " | ".join(f"{n:,} ({n / TABLE_I_STEPS:.2%})" for n in (row.updates, row.transitions))
        lines.append(f"| {row.label} | {row.drawn} | {row.mean:+.3f} ± {row.error:.3f} | {row.least:.3f} | {shares} |")
    return "\n".join(lines)


def written(page: str, text: str) -> str:
    """The page with the table between its markers."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """The command line."""
    text = table()
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8", newline="\n")
    print(text)


if __name__ == "__main__":
    main()
