"""The command ``channels``: what a file for ``channels=`` holds, and whether it fits a scenario."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from irs_marl_env.channel_report import report
from irs_marl_env.checks import shown
from irs_marl_env.cli_arguments import scenario_arguments, scenario_of


def channels_arguments(parser: argparse.ArgumentParser) -> None:
    """Which file, and which scenario it shall fit."""
    parser.add_argument("--check", metavar="FILE.npz", required=True, help="file with arrays H, G, h")
    scenario_arguments(parser)
    parser.set_defaults(scenario=None)


def channels(args: argparse.Namespace) -> int:
    """Print what the file holds, then the first problem, for which the exit code is 1."""
    if not Path(args.check).is_file():
        raise ValueError(f"--check {shown(args.check)}: no such file; must be an .npz with arrays H, G, h")
    scenario = None
    if args.scenario is not None or args.overrides:
        args.scenario = args.scenario or "mdlbi-v0"
        scenario = scenario_of(args)
    try:
        for line in report(args.check, scenario):
            print(line)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
