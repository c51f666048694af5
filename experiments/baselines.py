"""Remake docs/results/baselines: what every yardstick reaches, sanity figures, the cost of each reading of the paper.

    python benchmarks/baselines.py                 # everything; keeps what is already there
    python benchmarks/baselines.py --only figures  # one part, printed
    python benchmarks/baselines.py --again         # runs everything anew

The JSON files are what ``python -m irs_marl_env results FILE`` prints; tables.md and the figures are made from them
alone. Needs the extra ``render`` for matplotlib.
"""

from __future__ import annotations

import argparse
import time

from baseline_figures import figures, holding
from baseline_readings import readings
from baseline_runs import (
    ASSOCIATIONS,
    BOUND,
    EPISODES,
    NO_IRS,
    OUT,
    RANDOM_PHASES,
    SEED,
    Runs,
    cell,
    far_apart,
    table,
)

from irs_marl_env import Result

IRS = (1, 2, 4)
ORDER = (  # better, worse
    ("random-ao", "no-irs-wmmse"),
    ("fixed-ao", "no-irs-wmmse"),
    ("proximity-ao", "random-ao"),
    ("proximity-ao", "fixed-ao"),
    ("marginal-ao", "proximity-ao"),
    ("greedy-ao", "proximity-ao"),
    ("exhaustive-ao", "greedy-ao"),
)


def baselines(runs: Runs) -> str:
    """K in {10, 30}, L in {0, 1, 2, 4}, delays 0 and 1."""
    text = [f"## Baselines\n\nSlots 114, 228, ..., 798 of each episode, seeds from {SEED}.\n"]
    for users, episodes in EPISODES.items():
        sizes = {"num_users": users, **far_apart(users)}
        none = runs.get(f"K{users}-L0", (*NO_IRS, BOUND), num_irs=0, **sizes)
        for delay in (0, 1):
            policies = ("random", *RANDOM_PHASES, *ASSOCIATIONS, *([BOUND] if delay == 0 else []))
            columns = {
                irs: runs.get(f"K{users}-L{irs}-delay{delay}", policies, num_irs=irs, association_delay=delay, **sizes)
                for irs in IRS
            }
            text.append(f"### K={users}, `association_delay={delay}`, {episodes} episodes\n")
            text.append(_rates(none, columns))
            text.append("Paired differences:\n")
            text.append(_order(none, columns))
    return "\n".join(text)


def _rates(none: dict[str, Result], columns: dict[int, dict[str, Result]]) -> str:
    rows = []
    for policy in (*NO_IRS, *columns[IRS[0]]):
        without = none.get(policy)
        rows.append([policy, cell(without), *(cell(column.get(policy)) for column in columns.values())])
    return table(["policy", "L=0", *(f"L={irs}" for irs in columns)], rows)


def _order(none: dict[str, Result], columns: dict[int, dict[str, Result]]) -> str:
    rows = []
    for better, worse in ORDER:
        pairs = ((column[better], column.get(worse, none.get(worse))) for column in columns.values())
        rows.append([f"{better} - {worse}", *(cell(a.difference(b), "+", 3) for a, b in pairs)])
    return table(["difference", *(f"L={irs}" for irs in columns)], rows)


def learning(runs: Runs) -> str:
    """The scenarios meant for learning, with policies that leave beams and phases to the structured decoder."""
    decoded = ("structured-fixed", "structured-random", "structured-auction", "structured-exhaustive")
    policies = ("random", "no-irs-wmmse", *decoded, *ASSOCIATIONS, BOUND)
    small = {"episodes": 32, "first": 11, "every": 11}
    spans = {"mdlbi-small-v0": small, "mdlbi-blocked-small-v0": small, "mdlbi-blocked-v0": far_apart(10)}
    found = {name: runs.get(name, policies, name, **span) for name, span in spans.items()}
    rows = [[policy, *(cell(results[policy]) for results in found.values())] for policy in policies]
    return (
        "## Scenarios for learning\n\n`structured-*`: neutral structured actions. 32 episodes x 9 slots 11 s apart; "
        f"`mdlbi-blocked-v0`: {EPISODES[10]} episodes x 7 slots 114 s apart.\n\n"
        + table(["policy", *(f"`{name}`" for name in found)], rows)
    )


PARTS = {
    "baselines": baselines,
    "learning": learning,
    "readings": readings,
    "holding": holding,
    "figures": figures,
}
HEAD = """# Baseline tables

Written by `python benchmarks/baselines.py`; [../README.md](../README.md) says what they show.
System sum rate per slot [bit/s/Hz], mean ± standard error over episodes.
"""


def page(runs: Runs) -> str:
    """tables.md; figures are drawn on the way."""
    return "\n".join([HEAD, *(part(runs) for part in PARTS.values())])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", choices=PARTS, help="this part; tables.md is not written")
    parser.add_argument("--again", action="store_true", help="run anew what is already there")
    parser.add_argument("--processes", type=int, default=1, help="episodes are shared out; the numbers are the same")
    args = parser.parse_args()
    runs = Runs(args.again, args.processes)
    before = time.process_time()
    if args.only:
        print(PARTS[args.only](runs))
    else:
        (OUT / "tables.md").write_text(page(runs))
        print(OUT / "tables.md")
    print(f"CPU {time.process_time() - before:.0f} s in this process")


if __name__ == "__main__":
    main()
