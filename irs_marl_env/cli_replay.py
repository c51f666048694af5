"""The command ``replay``: episodes in an HTML file in which one can look through them."""

from __future__ import annotations

import argparse
from pathlib import Path

from irs_marl_env.cli_arguments import called, named, policy_of, scenario_arguments, scenario_of, whole
from irs_marl_env.episodes import BOUND, INTERFACES, adapted
from irs_marl_env.scenario_text import parse_assignments, title


def replay_arguments(parser: argparse.ArgumentParser) -> None:
    """Which policies, on what, how long, and where to."""
    scenario_arguments(parser)
    parser.add_argument(
        "--policy",
        action="append",
        required=True,
        help="who acts: a name, MODULE:NAME, or a policy file; a second one stands beside it on the same draws",
    )
    parser.add_argument("--slots", type=whole, help="slots from the beginning on (the episode, or its first 200)")
    parser.add_argument("--seed", type=whole, default=0, help="of the episode (%(default)s)")
    parser.add_argument(
        "--interface", choices=INTERFACES, default=INTERFACES[0], help="of your own policies (%(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write, .html")


def replay(args: argparse.Namespace) -> None:
    """Record the policies and write the file."""
    from irs_marl_env import replay

    replay.check_out(args.out, "--out")
    for name in args.policy:
        if name == BOUND:
            raise ValueError(f"--policy {BOUND}: a bound does not act, so there is nothing to see")
    scenario, policies = scenario_of(args), [policy_of(name) for name in args.policy]
    scenarios = [adapted(policy, scenario) for policy in policies]
    replay.check_pair(scenarios, args.policy)
    slots = replay.planned_slots(scenarios[0], args.slots, "--slots")
    shown_as = title(args.scenario, parse_assignments(args.overrides))
    labels = [called(name) for name in args.policy]
    records = [
        replay.record(policy, scenario, slots, args.seed, interface=args.interface, name=label, title=shown_as)
        for policy, label in zip(policies, labels, strict=True)
    ]
    with named(args.out):
        size = replay.write(records, args.out)
    length = "1 slot" if slots == 1 else f"{slots} slots"
    print(f"{args.out}: {length} of {' and '.join(labels)}, {size / 1000:.0f} kB")
