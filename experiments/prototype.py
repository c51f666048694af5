"""Make docs/results-prototype.md: our baselines beside those of an earlier, independent implementation of the model.

    python -m experiments.prototype          # from results/baselines; runs what is missing

The prototype's table gives system sum rates [bit/s/Hz] from "20 episodes x 7 slots" and does not say how far apart the
slots are. Three protocols of 140 slots are therefore compared with it: independent layouts (the first slot of 140
episodes), seven slots that are 114 s apart, and seven consecutive slots. In the last two an episode is a cluster. z is
the difference in joint standard errors. Where the prototype's error is not printed, ours for the independent layouts
is taken for it.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np

from experiments.baseline_runs import BOUND, DOCS, SEED, Runs, table
from irs_marl_env import Result, View, get_scenario, make_vec_env
from irs_marl_env.evaluation import Estimate
from irs_marl_env.policies import rules
from irs_marl_env.policies.cells import Cells
from irs_marl_env.solvers import bounds

Published = tuple[float, float | None]  # mean and, where it is printed, standard error

STALE = "fixed-ao, owners of another layout"
OWN_CHANNEL = "upper bound, own best channels alone"
PROTOTYPE: dict[tuple[int, int], dict[str, Published]] = {  # by K and L
    (10, 0): {
        "no-irs-mrt": (5.54, None),
        "no-irs-rzf": (8.17, None),
        "no-irs-wmmse": (10.12, 0.42),
        BOUND: (11.42, None),
    },
    (10, 1): {
        "random-mrt": (6.06, None),
        "random-rzf": (8.83, None),
        "random-wmmse": (10.72, None),
        "random-ao": (12.46, None),
        "fixed-ao": (12.32, None),
        "local-gain-ao": (13.05, None),
        "greedy-ao": (13.20, None),
        "exhaustive-ao": (13.20, None),
        BOUND: (17.80, None),
    },
    (10, 2): {
        "random-mrt": (6.29, None),
        "random-rzf": (9.05, None),
        "random-wmmse": (10.88, None),
        "random-ao": (13.40, None),
        "fixed-ao": (13.24, None),
        "local-gain-ao": (14.42, None),
        "greedy-ao": (14.68, None),
        "exhaustive-ao": (14.68, None),
        BOUND: (21.11, None),
    },
    (10, 4): {
        "random": (1.20, 0.08),
        "random-mrt": (6.87, None),
        "random-rzf": (9.81, None),
        "random-wmmse": (11.58, 0.35),
        "random-ao": (16.29, 0.31),
        "fixed-ao": (16.33, 0.35),
        "local-gain-ao": (18.19, 0.33),
        "greedy-ao": (18.51, None),
        "exhaustive-ao": (18.55, 0.33),
        BOUND: (28.70, 0.33),
    },
    (30, 0): {"no-irs-wmmse": (16.61, None)},
    (30, 4): {
        "random-ao": (24.58, None),
        "fixed-ao": (24.21, None),
        "local-gain-ao": (25.79, None),
        "exhaustive-ao": (27.23, 0.49),
        BOUND: (50.29, None),
    },
}
HEAD = "# Beside a prototype\n\n`python -m experiments.prototype` writes this page from `results/baselines`."
PAGE = DOCS / "results-prototype.md"
SLOTS = 140  # of the prototype
LIMIT = 4.0  # joint standard errors


def protocols(runs: Runs, users: int, irs: int) -> dict[str, dict[str, Result]]:
    """Results by protocol and policy."""
    names = tuple(PROTOTYPE[users, irs])
    size: dict[str, Any] = {"num_users": users, "num_irs": irs}
    label = f"K{users}-L{irs}"
    fresh = runs.get(f"prototype/{label}-layouts", names, episodes=SLOTS, slots=1, **size)
    extra = runs.keep(f"prototype/{label}-extra", lambda: _extra(**size))
    apart = runs.kept(label if irs == 0 else f"{label}-delay0")
    consecutive = runs.get(f"prototype/{label}-consecutive", names, episodes=20, slots=7, **size)
    return {"layouts": {**fresh, **extra}, "114 s apart": apart, "consecutive": consecutive}


def _extra(**size: Any) -> list[Result]:
    """What no policy of the package is: owners that were the best of another layout, and the plainest bound."""
    scenario = get_scenario("mdlbi-v0", observation="large_scale", **size)
    env = make_vec_env(scenario, SLOTS)
    env.reset(seed=SEED)
    view = env.view()
    results = [Result(OWN_CHANNEL, scenario, SEED, _own_channel_bound(view)[:, None].round(6))]
    if scenario.num_irs:
        cells = Cells(view)
        best = rules.exhaustive(view, cells, rules.Memory(range(SEED, SEED + SLOTS))).argmax(1)
        stale = np.roll(best, 1, axis=0)
        rows, bs = (axis.reshape(-1) for axis in np.indices(view.own_user.shape[:2]))
        value = cells.values(rows, bs, stale[rows] == bs[:, None]).reshape(SLOTS, 1, scenario.num_bs)
        results.append(Result(STALE, scenario, SEED, value.astype(float).round(6)))
    return results


def _own_channel_bound(view: View) -> np.ndarray:
    """Step 1 of ``solvers.upper_bound`` without the others: water-filling over the users' own best channels."""
    s = view.scenario
    scale = (s.tx_power_w / s.noise_power_w) ** 0.5
    H = view.csi.H.astype(np.complex128) * scale  # (E, M, K, Nb)
    paths = [H[..., None, :]]
    for irs in range(s.num_irs):
        h, G = view.csi.h[:, None, irs], view.csi.G[:, :, irs]  # (E, 1, K, N), (E, M, N, Nb)
        paths.append(scale * h[..., None].astype(np.complex128) * G[:, :, None])
    own = view.own_user[..., None, None]
    gain = bounds._norm_bound(np.concatenate(paths, axis=-2) * own, 3)  # (E, M, K)
    return bounds._water_filling(gain)


def compare(runs: Runs) -> str:
    """The table, and the rows beyond the limit."""
    rows, beyond = [], []
    for (users, irs), published in PROTOTYPE.items():
        found = protocols(runs, users, irs)
        spread = found["layouts"]
        for policy, (mean, error) in published.items():
            same = spread[policy].system
            other = Estimate(mean, same.standard_error if error is None else error, np.empty(0))
            row = [f"K={users}, L={irs}: {policy}", f"{mean:.2f}" + (f" ± {error:.2f}" if error else "")]
            for protocol, results in found.items():
                text, z = _against(results[policy].system, other)
                row.append(text)
                if abs(z) > LIMIT:
                    beyond.append(f"- K={users}, L={irs}, {policy}, {protocol}: z = {z:+.1f}")
            rows.append(row)
            instead = {"fixed-ao": STALE, BOUND: OWN_CHANNEL}.get(policy)
            if instead in spread:
                rows.append([f"... {instead}", "", _against(spread[instead].system, other)[0], "", ""])
    head = ["", "prototype", *(f"{name} (z)" for name in ("independent layouts", "114 s apart", "consecutive"))]
    count = f"{len(beyond)} of {3 * sum(map(len, PROTOTYPE.values()))} comparisons beyond {LIMIT:g} joint errors:\n"
    return "\n".join([table(head, rows), count, *beyond]) + "\n"


def page(runs: Runs) -> str:
    """The text of the page."""
    paragraphs = (__doc__ or "").split("\n\n")
    return "\n\n".join([HEAD, paragraphs[2].strip(), compare(runs)])


def _against(ours: Estimate, theirs: Estimate) -> tuple[str, float]:
    z = (ours.mean - theirs.mean) / math.hypot(ours.standard_error, theirs.standard_error)
    return f"{ours.mean:.2f} ± {ours.standard_error:.2f} ({z:+.1f})", z


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--again", nargs="*", metavar="POLICY", help="run anew what is there, or these policies of it")
    parser.add_argument("--processes", type=int, default=1, help="episodes are shared out; the numbers are the same")
    args = parser.parse_args()
    text = page(Runs(args.again is not None and (args.again or True), args.processes))
    PAGE.write_text(text, encoding="utf-8", newline="\n")
    print(text)


if __name__ == "__main__":
    main()
