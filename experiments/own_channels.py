"""Policies on files of channels: is every IRS policy above those without IRSs, and does the best association win?

    python -m experiments.own_channels sionna.npz deepmimo.npz

It prints a table for each file and stops with exit code 1 where the order random < no IRS < local-gain <= exhaustive
does not come out. experiments/own_channels.sh makes the files first.
"""

from __future__ import annotations

import argparse
import itertools
import operator
import sys
from pathlib import Path
from typing import Any

import numpy as np

from irs_marl_env import Result, evaluate

POLICIES = ("random", "no-irs-mrt", "no-irs-rzf", "no-irs-wmmse", "random-ao", "local-gain-ao", "exhaustive-ao")
ORDER = ("random", "no-irs-rzf", "no-irs-wmmse", "local-gain-ao", "exhaustive-ao")
NOISE_DBM = -87.0  # 100 MHz at a noise figure of 7 dB


def settings(file: Path) -> tuple[dict[str, Any], int]:
    """The scenario fields that fit the arrays of a file with an axis of episodes, and the number of episodes."""
    with np.load(file) as arrays:
        episodes, slots, bss, users, antennas = arrays["H"].shape
        surfaces, _, elements = arrays["h"].shape[2:]
        x, y = arrays["positions"].reshape(-1, 2).T
    sizes = {"num_bs": bss, "num_users": users, "num_irs": surfaces, "num_antennas": antennas, "num_elements": elements}
    area = (float(x.min()) - 1, float(y.min()) - 1, float(x.max()) + 1, float(y.max()) + 1)
    described = {"horizon": slots - 1, "area_bounds_m": area, "noise_power_dbm": NOISE_DBM, "channels": str(file)}
    return {**sizes, **described}, episodes


def run(file: Path) -> dict[str, Result]:
    """Every policy over all slots of all episodes."""
    fields, episodes = settings(file)
    return {policy: evaluate(policy, "mdlbi-v0", episodes=episodes, progress=False, **fields) for policy in POLICIES}


def table(results: dict[str, Result]) -> str:
    """Markdown: the sum rate, and how far each policy is above the best one without IRSs, over the same slots."""
    lines = ["| policy | sum rate [bit/s/Hz] | minus no-irs-wmmse |", "|---|---|---|"]
    for policy, result in results.items():
        gain = result.difference(results["no-irs-wmmse"])
        more = "" if policy == "no-irs-wmmse" else f"{gain.mean:+.2f} ± {gain.standard_error:.2f}"
        lines.append(f"| `{policy}` | {result.mean:.2f} ± {result.standard_error:.2f} | {more} |")
    return "\n".join(lines)


def out_of_order(means: dict[str, float]) -> list[str]:
    """What contradicts the order, in words: each policy above the one before it, where the last may be equal."""
    allowed = {("local-gain-ao", "exhaustive-ao"): operator.le}
    return [
        f"{better} ({means[better]:.3f}) is not above {worse} ({means[worse]:.3f})"
        for worse, better in itertools.pairwise(ORDER)
        if not allowed.get((worse, better), operator.lt)(means[worse], means[better])
    ]


def main() -> None:
    """A table for each file, and whether the order holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="files with an axis of episodes")
    failed = False
    for file in parser.parse_args().files:
        results = run(file)
        print(f"{file}\n\n{table(results)}\n")
        for contradiction in out_of_order({policy: result.mean for policy, result in results.items()}):
            failed = True
            print(f"{file}: {contradiction}", file=sys.stderr)
    sys.exit(failed)


if __name__ == "__main__":
    main()
