"""Make docs/results-baselines.md: what every baseline reaches, sanity figures, the cost of each reading of the paper.

    python -m experiments.baselines                 # everything; keeps what is already there
    python -m experiments.baselines --only figures  # one part, printed
    python -m experiments.baselines --again         # runs everything anew
    python -m experiments.baselines --again random-wmmse no-irs-wmmse  # these policies alone, and keeps the others

The page and its pictures in docs/images are made from results/baselines alone, whose files
``python -m irs_marl_env results FILE`` prints. Needs the extra ``render`` for matplotlib.
"""

from __future__ import annotations

import argparse
import time

from experiments.baseline_figures import figures, holding
from experiments.baseline_readings import readings
from experiments.baseline_runs import (
    ASSOCIATIONS,
    BOUND,
    DOCS,
    EPISODES,
    NO_IRS,
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
    ("local-gain-ao", "random-ao"),
    ("local-gain-ao", "fixed-ao"),
    ("marginal-ao", "local-gain-ao"),
    ("greedy-ao", "local-gain-ao"),
    ("exhaustive-ao", "greedy-ao"),
)


def baselines(runs: Runs) -> str:
    """The tables for K in {10, 30}, L in {0, 1, 2, 4} and association delays 0 and 1."""
    text = [
        f"## Baselines\n\nSlots 114, 228, ..., 798 of each episode are measured. The first episode has seed {SEED}.\n"
    ]
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
        pairs = ((column[better], (none if worse in NO_IRS else column)[worse]) for column in columns.values())
        rows.append([f"{better} - {worse}", *(cell(a.difference(b), "+", 3) for a, b in pairs)])
    return table(["difference", *(f"L={irs}" for irs in columns)], rows)


def learning(runs: Runs) -> str:
    """The table of the scenarios for learning, with policies that leave beams and phases to the structured decoder."""
    decoded = ("structured-fixed", "structured-random", "structured-local-gain", "structured-exhaustive")
    policies = ("random", "no-irs-wmmse", *decoded, *ASSOCIATIONS, BOUND)
    small = {"episodes": 32, "first": 11, "every": 11}
    spans = {"mdlbi-small-v0": small, "mdlbi-blocked-small-v0": small, "mdlbi-blocked-v0": far_apart(10)}
    found = {name: runs.get(name, policies, name, **span) for name, span in spans.items()}
    rows = [[policy, *(cell(results[policy]) for results in found.values())] for policy in policies]
    return (
        "## Scenarios for learning\n\nThe `structured-*` policies bid and leave everything else to the decoder. The "
        "first two columns have 32 episodes x 9 slots that are 11 s apart, "
        f"`mdlbi-blocked-v0` has {EPISODES[10]} episodes x 7 slots that are 114 s apart.\n\n"
        + table(["policy", *(f"`{name}`" for name in found)], rows)
    )


PARTS = {
    "baselines": baselines,
    "learning": learning,
    "readings": readings,
    "holding": holding,
    "figures": figures,
}
PAGE = DOCS / "results-baselines.md"
HEAD = """# Baseline tables

`python -m experiments.baselines` writes this page from the raw data in `results/baselines`. [results.md](results.md)
says what the tables show. Numbers are the system sum rate per slot [bit/s/Hz], mean ± standard error over episodes.
"""


def page(runs: Runs) -> str:
    """The text of the page; figures are drawn on the way."""
    return "\n".join([HEAD, *(part(runs) for part in PARTS.values())])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", choices=PARTS, help="print this part, and do not write the page")
    parser.add_argument("--again", nargs="*", metavar="POLICY", help="run anew what is there, or these policies of it")
    parser.add_argument("--processes", type=int, default=1, help="episodes are shared out; the numbers are the same")
    args = parser.parse_args()
    runs = Runs(args.again is not None and (args.again or True), args.processes)
    before = time.process_time()
    if args.only:
        print(PARTS[args.only](runs))
    else:
        PAGE.write_text(page(runs), encoding="utf-8", newline="\n")
        print(PAGE)
    print(f"CPU {time.process_time() - before:.0f} s in this process")


if __name__ == "__main__":
    main()
