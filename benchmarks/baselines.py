"""Remake docs/results: the baseline tables, the sanity figures and the cost of each reading of the paper.

    python benchmarks/baselines.py                 # everything; keeps what is already there
    python benchmarks/baselines.py --only figures  # one part: tables, structured, readings or figures
    python benchmarks/baselines.py --again         # computes everything anew

Raw data are files that ``python -m irs_marl_env results FILE`` prints; tables.md and the figures come from them alone.
Needs the extra ``render`` for matplotlib.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from irs_marl_env import Result, evaluate, solvers
from irs_marl_env.cli import dump, load

OUT = Path(__file__).parents[1] / "docs" / "results"
SEED = 0

NO_IRS = ("no-irs-mrt", "no-irs-rzf", "no-irs-wmmse")
ASSOCIATIONS = ("random-ao", "fixed-ao", "proximity-ao", "marginal-ao", "greedy-ao", "exhaustive-ao")
RANDOM_PHASES = ("random-mrt", "random-rzf", "random-wmmse")
STRUCTURED = ("structured-fixed", "structured-random", "structured-auction", "structured-exhaustive")
WHOLE_EPISODES: dict[str, Any] = {
    "episodes": 40,
    "every": 100,
}  # 8 slots of each 800, far apart, so that users have moved
FIRST_SLOTS: dict[str, Any] = {
    "episodes": 200,
    "slots": 1,
}  # independent users and channels; enough where nothing is held


# --- runs ------------------------------------------------------------------------------------------------------


class Runs:
    """Evaluations kept in files."""

    def __init__(self, again: bool, processes: int) -> None:
        self._again, self._processes = again, processes

    def get(self, name: str, policies: Iterable[Any], scenario: str = "mdlbi-v0", **options: Any) -> dict[str, Result]:
        """Results by policy, from ``OUT/<name>.json`` or computed and written there."""
        path = OUT / f"{name}.json"
        wanted = list(policies)
        if not path.exists() or self._again:
            path.parent.mkdir(parents=True, exist_ok=True)
            results = [evaluate(p, scenario, seed=SEED, processes=self._processes, **options) for p in wanted]
            path.write_text(dump(results))
            print(name, " ".join(f"{r.policy} {r.mean:.2f}" for r in results), flush=True)
        return {result.policy: result for result in load(path.read_text())}


@dataclasses.dataclass(frozen=True)
class ZeroSum:
    """Another policy's beams, shifted so that the beams of each cell add to zero: what Eq. (4) cannot see."""

    base: str
    name: str

    def adapt(self, scenario: Any) -> Any:
        return solvers.POLICIES[self.base].adapt(scenario)

    def bind(self, env: Any, seed: int = 0) -> Callable[[Any], np.ndarray]:
        act, codec = solvers.POLICIES[self.base].bind(env, seed), env.action_codec

        def shifted(observations: Any) -> np.ndarray:
            named = codec.decode(act(observations))
            served = abs(named["w"]).sum(-1, keepdims=True) > 0  # (E, M, K, 1)
            mean = named["w"].sum(-2, keepdims=True) / np.maximum(served.sum(-2, keepdims=True), 1)
            w = (named["w"] - mean) * served
            power = (abs(w) ** 2).sum((-2, -1), keepdims=True)
            peak = (abs(named["w"]) ** 2).sum((-2, -1), keepdims=True)
            return codec.encode({**named, "w": w * np.sqrt(peak / np.maximum(power, 1e-30))}).astype(np.float32)

        return shifted


# --- parts -----------------------------------------------------------------------------------------------------


def tables(runs: Runs) -> str:
    """K in {10, 30}, L in {0, 1, 2, 4}, delays 0 and 1."""
    text = ["## Baselines\n"]
    for users in (10, 30):
        none = runs.get(
            f"baselines/K{users}-L0", (*NO_IRS, "upper-bound"), num_users=users, num_irs=0, **WHOLE_EPISODES
        )
        for delay in (0, 1):
            columns = {}
            for irs in (1, 2, 4):
                policies = ("random", *RANDOM_PHASES, *ASSOCIATIONS, *(("upper-bound",) if delay == 0 else ()))
                columns[irs] = runs.get(
                    f"baselines/K{users}-L{irs}-delay{delay}",
                    policies,
                    num_users=users,
                    num_irs=irs,
                    association_delay=delay,
                    **WHOLE_EPISODES,
                )
            text.append(f"### K={users}, `association_delay={delay}`\n")
            text.append(_baseline_table(none, columns))
            text.append(_order_table({**none, **columns[4]}))
    return "\n".join(text)


def _baseline_table(none: dict[str, Result], columns: dict[int, dict[str, Result]]) -> str:
    lines = ["| policy | L=0 | " + " | ".join(f"L={irs}" for irs in columns) + " |", "|---|" + "---|" * 4]
    for policy in (*NO_IRS, *columns[4]):
        cells = [_cell(none.get(policy))] + [_cell(column.get(policy, none.get(policy))) for column in columns.values()]
        lines.append(f"| {policy} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _order_table(results: dict[str, Result]) -> str:
    pairs = (
        ("random-ao", "no-irs-wmmse"),
        ("fixed-ao", "no-irs-wmmse"),
        ("proximity-ao", "random-ao"),
        ("proximity-ao", "fixed-ao"),
        ("marginal-ao", "proximity-ao"),
        ("greedy-ao", "proximity-ao"),
        ("exhaustive-ao", "greedy-ao"),
    )
    lines = ["Paired differences at L=4:\n", "| better | worse | difference |", "|---|---|---|"]
    for better, worse in pairs:
        gap = results[better].difference(results[worse])
        lines.append(f"| {better} | {worse} | {gap.mean:.3f} +- {gap.standard_error:.3f} |")
    return "\n".join(lines) + "\n"


def structured(runs: Runs) -> str:
    """Policies that leave beams and phases to the decoder, on the scenarios meant for learning."""
    scenarios = ("mdlbi-small-v0", "mdlbi-blocked-small-v0", "mdlbi-blocked-v0")
    found = {}
    for scenario in scenarios:
        every = 5 if "small" in scenario else 100
        policies = ("random", "no-irs-wmmse", *STRUCTURED, *ASSOCIATIONS, "upper-bound")
        found[scenario] = runs.get(f"structured/{scenario}", policies, scenario, episodes=40, every=every)
    lines = ["## Scenarios for learning\n", "| policy | " + " | ".join(f"`{s}`" for s in scenarios) + " |"]
    lines.append("|---|" + "---|" * len(scenarios))
    for policy in found[scenarios[0]]:
        lines.append(f"| {policy} | " + " | ".join(_cell(found[s][policy]) for s in scenarios) + " |")
    return "\n".join(lines) + "\n"


READINGS: dict[str, dict[str, Any]] = {
    "default": {},
    'sinr="reflected"': {"sinr": "reflected"},
    'sinr="paper"': {"sinr": "paper"},
    'reflection="single"': {"reflection": "single"},
    'reflection="all"': {"reflection": "all"},
    "association_delay=1": {"association_delay": 1},
    "inter_cell_interference=True": {"inter_cell_interference": True},
}


def readings(runs: Runs) -> str:
    """What each reading of the paper does to the score of the same beams."""
    policies: tuple[Any, ...] = (
        "no-irs-mrt",
        "random-mrt",
        "random-wmmse",
        "proximity-ao",
        ZeroSum("proximity-ao", "proximity-ao, beams that sum to zero"),
    )
    found = {}
    for index, (reading, options) in enumerate(READINGS.items()):
        # with a delay the owners of the first slot are those of the reset: look at the second
        found[reading] = runs.get(f"readings/{index}", policies, episodes=200, slots=2, **options)
    names = [str(getattr(p, "name", p)) for p in policies]
    lines = ["## Readings of the paper\n", "K=10, L=4, mean of the first two slots.\n"]
    lines += ["| reading | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for reading, results in found.items():
        lines.append(f"| `{reading}` | " + " | ".join(_cell(results[name]) for name in names) + " |")
    return "\n".join(lines) + "\n"


def figures(runs: Runs) -> str:
    """Rate against N, Pmax and L, and the power law of N."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
    policies = ("no-irs-wmmse", "random-wmmse", "random-ao", "proximity-ao", "greedy-ao", "upper-bound")
    sweeps: tuple[tuple[str, str, tuple[Any, ...], str], ...] = (
        ("num_elements", "elements per IRS, N", (4, 8, 16, 32, 64, 128), "rate-N"),
        ("tx_power_dbm", "transmit power limit Pmax [dBm]", (-4, 6, 16, 26, 36, 46), "rate-Pmax"),
        ("num_irs", "number of IRSs, L", (0, 1, 2, 4, 6, 8), "rate-L"),
    )
    for field, label, values, name in sweeps:
        found = {v: runs.get(f"figures/{name}-{v}", policies, **{field: v}, **FIRST_SLOTS) for v in values}
        figure, axes = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
        for policy in policies:
            estimates = [found[v][policy].system for v in values]
            mean, error = (np.array([getattr(e, part) for e in estimates]) for part in ("mean", "standard_error"))
            axes.errorbar(values, mean, 2 * error, marker="o", markersize=3, capsize=2, label=policy)
        if field == "num_elements":
            axes.set_xscale("log", base=2)
            axes.set_xticks(values, [str(v) for v in values])
        axes.set_xlabel(label)
        axes.set_ylabel("system sum rate [bit/s/Hz]")
        axes.set_ylim(bottom=0)
        axes.legend()
        figure.savefig(OUT / f"{name}.png", dpi=150)
        plt.close(figure)
    slopes = _power_law(runs, plt)
    lines = [
        "## Sanity figures\n",
        "K=10, L=4 unless swept; 200 independent slots a point, bars of two standard errors.\n",
    ]
    lines += [f"![{label}]({name}.png)" for _, label, _, name in sweeps] + ["![power law](power-law.png)\n", slopes]
    return "\n".join(lines)


def _power_law(runs: Runs, plt: Any) -> str:
    """One BS, one antenna, one user, one IRS, no direct path: SNR grows with N^2 aligned, with N at random phases."""
    values = (8, 16, 32, 64, 128, 256)
    one: dict[str, Any] = {
        "num_bs": 1,
        "num_users": 1,
        "num_antennas": 1,
        "num_irs": 1,
        "blockage_db": 300.0,
        "tx_power_dbm": 60.0,
    }
    policies = ("random-mrt", "random-ao")
    found = {
        n: runs.get(f"figures/power-law-{n}", policies, num_elements=n, episodes=1000, slots=1, **one) for n in values
    }
    figure, axes = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
    text = []
    for policy, label, power in (("random-ao", "alternating optimisation", 2), ("random-mrt", "random phases", 1)):
        rates = np.array([found[n][policy].episodes for n in values])  # (values, episodes), one user: log2(1 + SNR)
        snr = np.log2(np.exp2(rates) - 1.0)  # its logarithm: fading and distance add a constant spread
        mean, error = snr.mean(1), snr.std(1, ddof=1) / np.sqrt(snr.shape[1])
        # the same users for every N: fit within each, so that the spread of distances does not enter
        slope_each = np.polyfit(np.log2(values), snr, 1)[0]
        slope, slope_error = slope_each.mean(), slope_each.std(ddof=1) / np.sqrt(len(slope_each))
        decibel = 10 * np.log10(2)
        line = axes.errorbar(values, decibel * mean, 2 * decibel * error, fmt="o", markersize=4, label=label)
        middle = mean.mean() + power * (np.log2(values) - np.log2(values).mean())
        axes.plot(values, decibel * middle, color=line[0].get_color(), linewidth=1, label=f"slope of N^{power}")
        text.append(f"{label}: SNR ~ N^({slope:.3f} +- {slope_error:.3f})")
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [str(v) for v in values])
    axes.set_xlabel("elements, N")
    axes.set_ylabel("SNR, mean of dB [dB]")
    axes.legend()
    figure.savefig(OUT / "power-law.png", dpi=150)
    plt.close(figure)
    return f"One BS, antenna, user and IRS, no direct path, 1,000 draws: {'; '.join(text)}.\n"


def _cell(result: Result | None) -> str:
    return "" if result is None else f"{result.mean:.2f} +- {result.standard_error:.2f}"


PARTS = {"tables": tables, "structured": structured, "readings": readings, "figures": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", choices=PARTS, help="compute this part only; tables.md is not written")
    parser.add_argument("--again", action="store_true", help="compute anew what is already there")
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args()
    runs = Runs(args.again, args.processes)
    if args.only:
        print(PARTS[args.only](runs))
        return
    head = (
        "# Results\n\nWritten by `python benchmarks/baselines.py`; docs/baselines.md says what the rows mean.\n\n"
        "System sum rate per slot [bit/s/Hz], mean +- standard error over episodes; "
        f"{WHOLE_EPISODES['episodes']} episodes, seeds from {SEED}, every {WHOLE_EPISODES['every']}th slot "
        "(`mdlbi-small-v0`: every 5th) unless a section says otherwise.\n"
    )
    (OUT / "tables.md").write_text("\n".join([head, *(part(runs) for part in PARTS.values())]))


if __name__ == "__main__":
    main()
