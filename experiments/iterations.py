"""How many iterations alternating optimisation needs: the table in docs/results.md.

    python -m experiments.iterations           # two minutes of a core; writes results/solvers/iterations.json
    python -m experiments.iterations --table   # the table alone, from what is there

For each scenario the mean sum rate of cells after so many iterations, as a share of that after 400. Cells are those of
a reset, and each IRS belongs to a random base station.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments import rawdata
from irs_marl_env import make_vec_env, solvers
from irs_marl_env.policies.cells import iterations_of
from irs_marl_env.scenario import get_scenario

ROOT = Path(__file__).parents[1]
RAW = ROOT / "results" / "solvers" / "iterations.json"
PAGE = ROOT / "docs" / "results.md"
BEGIN, END = "<!-- iterations -->", "<!-- /iterations -->"
SEED, LONG, SHOWN = 70_000, 400, (15, 30, 80, 150)
CELLS = {
    "mdlbi-small-v0": 256,
    "mdlbi-blocked-small-v0": 256,
    "mdlbi-v0": 128,
    "mdlbi-blocked-v0": 128,
    "mdlbi-k30-v0": 128,
}


def cells(scenario: str, count: int, seed: int = SEED) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Channels ``H (B, K, Nb)``, ``G (B, L, N, Nb)``, ``h (B, L, K, N)`` of cells at reset."""
    vec = make_vec_env(scenario, -(-count // 2), action="raw", observation="large_scale")
    vec.reset(seed=seed)
    view, s = vec.view(), vec.scenario
    owner = np.random.default_rng(seed).integers(0, s.num_bs, (vec.num_envs, 1, s.num_irs))
    held = owner == np.arange(s.num_bs)[:, None]
    own = view.own_user
    H = view.csi.H * own[..., None]
    h = view.csi.h[:, None] * (held[..., None] & own[:, :, None])[..., None]
    channels = (H, view.csi.G, h)
    return tuple(x.reshape(-1, *x.shape[2:])[:count].astype(np.complex64) for x in channels)


def measured(counts: dict[str, int] = CELLS, long: int = LONG) -> dict[str, Any]:
    """Mean rates after 0, 1, ..., ``long`` iterations by scenario."""
    found = {}
    for name, count in counts.items():
        s = get_scenario(name)
        _, _, history = solvers.alternating_optimization(
            *cells(name, count), s.tx_power_w, s.noise_power_w, iterations=long
        )
        found[name] = history.astype(float).mean(0).round(5).tolist()
    return {"seed": SEED, "cells": counts, "rates": found}


def table(content: dict[str, Any]) -> str:
    """Shares in Markdown; the number of iterations that the policies take is in bold."""
    heads = "".join(f" {n} |" for n in SHOWN)
    lines = [f"| iterations |{heads}", "|---|" + "---|" * len(SHOWN)]
    for name, rates in content["rates"].items():
        taken = iterations_of(get_scenario(name))
        shares = [f"{rates[n] / rates[-1]:.4f}" for n in SHOWN]
        row = " | ".join(f"**{x}**" if n == taken else x for n, x in zip(SHOWN, shares, strict=True))
        lines.append(f"| `{name}` | {row} |")
    return "\n".join(lines)


def written(page: str, text: str) -> str:
    """The page with the table between its markers."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="write the table from what is there")
    if not parser.parse_args().table:
        RAW.parent.mkdir(parents=True, exist_ok=True)
        RAW.write_text(rawdata.dumps(measured()), encoding="utf-8", newline="\n")
    text = table(json.loads(RAW.read_text(encoding="utf-8")))
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8", newline="\n")
    print(text)


if __name__ == "__main__":
    main()
