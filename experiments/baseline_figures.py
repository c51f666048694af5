"""Figures of ``experiments.baselines``: rate against N, Pmax and L, the power law of N, how long owners stay good."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.baseline_runs import DOCS, Runs, cell, table
from irs_marl_env import Result, figure_style

IMAGES = DOCS / "images"
# one slot of each episode: users and channels are independent, and nothing is held from slot to slot
FIRST_SLOT: dict[str, Any] = {"episodes": 64, "slots": 1}
POLICIES = ("no-irs-wmmse", "random-wmmse", "random-ao", "local-gain-ao", "greedy-ao", "upper-bound")
SWEEPS: tuple[tuple[str, str, tuple[int, ...], str], ...] = (
    ("num_elements", "elements per IRS, N", (8, 16, 32, 64, 128), "rate-N"),
    ("tx_power_dbm", "transmit power limit Pmax [dBm]", (6, 16, 26, 36, 46), "rate-Pmax"),
    ("num_irs", "number of IRSs, L", (0, 1, 2, 4, 8), "rate-L"),
)
# one BS, antenna, user and IRS, no direct path, and power enough that the noise floor is far
ONE_LINK: dict[str, Any] = {
    "num_bs": 1,
    "num_users": 1,
    "num_antennas": 1,
    "num_irs": 1,
    "blockage_db": 300.0,
    "tx_power_dbm": 60.0,
}
HOLDING: dict[str, Any] = {"episodes": 64, "every": 3, "slots": 16}  # slots of 1 s


def figures(runs: Runs) -> str:
    """Rate against N, Pmax and L, and the power law of N."""
    lines = [
        "## Sanity figures\n",
        f"K=10 and L=4 unless swept. Each point is the mean of {FIRST_SLOT['episodes']} independent slots, with "
        "bars of two standard errors.\n",
    ]
    for field, label, values, name in SWEEPS:
        options: dict[Any, dict[str, Any]] = {v: {field: v, **FIRST_SLOT} for v in values}
        found = {v: runs.get(f"{name}-{v}", POLICIES, **options[v]) for v in values}
        _sweep_figure(found, label, name, log=field == "num_elements")
        rows = [[policy, *(cell(found[v][policy]) for v in values)] for policy in POLICIES]
        lines += [f"![{label}](images/{name}.png)\n", table([label, *map(str, values)], rows)]
    return "\n".join([*lines, _power_law(runs)])


def holding(runs: Runs) -> str:
    """The figure of what is lost by holding the owners of the first slot, against the time since then."""
    policies = ("random-ao", "fixed-ao", "local-gain-ao", "exhaustive-ao")
    found = runs.get("holding", policies, **HOLDING)
    seconds = HOLDING["every"] * np.arange(HOLDING["slots"])
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
    for i, policy in enumerate(policies[:3]):
        gap = found["exhaustive-ao"].rates.sum(-1) - found[policy].rates.sum(-1)  # (episodes, slots), paired
        error = gap.std(0, ddof=1) / np.sqrt(len(gap))
        axes.errorbar(seconds, gap.mean(0), 2 * error, markersize=4, capsize=2, label=policy, **figure_style.look(i))
    axes.set_xlabel("time since the reset [s]")
    axes.set_ylabel("below exhaustive-ao [bit/s/Hz]")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    figure_style.save(figure, IMAGES / "holding.png")
    plt.close(figure)
    text = (
        f"K=10, L=4, {HOLDING['episodes']} episodes. The loss is the paired difference to exhaustive-ao, with "
        "bars of two standard errors.\n"
    )
    return f"## How long a choice of owners lasts\n\n{text}\n![loss against time](images/holding.png)\n"


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({**figure_style.STYLE, "axes.grid": True})
    return plt


def _sweep_figure(found: dict[int, dict[str, Result]], label: str, name: str, log: bool) -> None:
    plt = _pyplot()
    values = list(found)
    figure, axes = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
    for i, policy in enumerate(POLICIES):
        estimates = [found[v][policy].system for v in values]
        mean, error = (np.array([getattr(e, part) for e in estimates]) for part in ("mean", "standard_error"))
        axes.errorbar(values, mean, 2 * error, markersize=4, capsize=2, label=policy, **figure_style.look(i))
    if log:
        axes.set_xscale("log", base=2)
    axes.set_xticks(values, [str(v) for v in values])
    axes.set_xlabel(label)
    axes.set_ylabel("system sum rate [bit/s/Hz]")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure_style.save(figure, IMAGES / f"{name}.png")
    plt.close(figure)


def _power_law(runs: Runs) -> str:
    """The SNR grows with N^2 where phases are aligned, and with N where they are random."""
    values = (8, 16, 32, 64, 128, 256)
    episodes = 1000
    policies = {"random-ao": ("alternating optimisation", 2), "random-mrt": ("random phases", 1)}
    found = {
        n: runs.get(f"power-law-{n}", policies, num_elements=n, episodes=episodes, slots=1, **ONE_LINK) for n in values
    }
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
    text = []
    theory = _rayleigh_slopes(values)
    for i, (policy, (label, power)) in enumerate(policies.items()):
        rates = np.array([found[n][policy].episodes for n in values])  # (values, episodes); one user: log2(1 + SNR)
        snr_db = 10 * np.log10(np.exp2(rates) - 1.0)
        mean, error = snr_db.mean(1), snr_db.std(1, ddof=1) / np.sqrt(episodes)
        # the same users at every N: a fit to each, so that the spread of their distances does not enter
        slopes = np.polyfit(np.log2(values), snr_db, 1)[0] / (10 * np.log10(2))
        error_of_slope = slopes.std(ddof=1) / np.sqrt(episodes)
        text.append(f"{label}: N^({slopes.mean():.3f} ± {error_of_slope:.3f}), expected {theory[policy]:.3f}")
        line = axes.errorbar(values, mean, 2 * error, label=label, **figure_style.look(i, joined=False))
        fitted = mean.mean() + 10 * power * (np.log10(values) - np.log10(values).mean())
        axes.plot(
            values, fitted, color=line[0].get_color(), linewidth=1, label="slope of N²" if power == 2 else "slope of N"
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [str(v) for v in values])
    axes.set_xlabel("elements, N")
    axes.set_ylabel("SNR, mean of its dB [dB]")
    axes.legend()
    figure_style.save(figure, IMAGES / "power-law.png")
    plt.close(figure)
    return (
        "![power law](images/power-law.png)\n\n"
        f"One BS, antenna, user and IRS, no direct path, {episodes:,} draws. The received power grows as: "
        f"{'; '.join(text)}. Expected: the same fit to sums of products of complex normal numbers, whose mean dB "
        "is still approaching the power laws 2 and 1 at few elements.\n"
    )


def _rayleigh_slopes(values: tuple[int, ...], draws: int = 20_000) -> dict[str, float]:
    """Slopes of the mean dB of ``(sum_n |h_n g_n|)^2`` and ``|sum_n h_n g_n|^2`` over log N, for Rayleigh h and g."""
    rng = np.random.default_rng(0)
    aligned, random = [], []
    for n in values:
        h, g = (rng.standard_normal((draws, n)) + 1j * rng.standard_normal((draws, n)) for _ in range(2))
        aligned.append(np.log2(abs(h * g).sum(1) ** 2).mean())
        random.append(np.log2(abs((h * g).sum(1)) ** 2).mean())
    fits = (float(np.polyfit(np.log2(values), power, 1)[0]) for power in (aligned, random))
    return dict(zip(("random-ao", "random-mrt"), fits, strict=True))
