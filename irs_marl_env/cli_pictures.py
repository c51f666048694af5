"""The command ``render``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from irs_marl_env.checks import shown
from irs_marl_env.cli_arguments import called, named, policy_of, scenario_arguments, scenario_of, whole
from irs_marl_env.episodes import BOUND, INTERFACES, adapted, play, policy_named
from irs_marl_env.films import MOST_IN_GIF, WRITERS
from irs_marl_env.output_files import check_out
from irs_marl_env.scenario_text import parse_assignments, title

LEAST_FPS = 0.01  # a GIF holds a frame for at most 655 s
MOST_FPS = 50.0
_SLOTS = 50  # unless somebody says otherwise
_POLICY = "local-gain-ao"


def render_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the parser of ``render``."""
    scenario_arguments(parser)
    parser.add_argument(
        "--policy", action="append", help=f"who acts: a name, MODULE:NAME, or a policy file ({_POLICY})"
    )
    parser.add_argument(
        "--interface", choices=INTERFACES, default=INTERFACES[0], help="of your own policy (%(default)s)"
    )
    parser.add_argument("--slots", type=whole, help=f"how many; a PNG shows the last one ({_SLOTS})")
    parser.add_argument("--seed", type=whole, default=0, help="of the episode (%(default)s)")
    parser.add_argument("--fps", type=float, default=5.0, help="frames per second (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .gif, .mp4 or .png")


def render(args: argparse.Namespace) -> None:
    """Draw an episode of a policy: a frame after the reset, and one after each slot."""
    ending = args.out.suffix.lower()
    if ending not in WRITERS:
        raise ValueError(f"--out {shown(str(args.out))}: must end in {', '.join(WRITERS)}")
    check_out(args.out, moved=True)
    if not (LEAST_FPS <= args.fps <= MOST_FPS):
        raise ValueError(f"--fps {args.fps:g}: must be in [{LEAST_FPS:g}, {MOST_FPS:g}]")
    name, *others = args.policy or [_POLICY]
    if others:
        raise ValueError(f"--policy {name} and {' and '.join(others)}: must be one; replay shows two side by side")
    if name == BOUND:
        raise ValueError(f"--policy {BOUND}: a bound does not act, so there is nothing to see")
    policy = policy_named(policy_of(name))
    scenario = adapted(policy, scenario_of(args))
    most = min(scenario.horizon, MOST_IN_GIF) if ending == ".gif" else scenario.horizon
    slots = min(_SLOTS, most) if args.slots is None else args.slots
    if not 1 <= slots <= most:
        raise ValueError(f"--slots {shown(slots)}: must be in [1, {most}]")
    options: dict[str, Any] = {"render_mode": "rgb_array", "interface": args.interface, "name": name}
    caption = f"{called(name)} on {title(args.scenario, parse_assignments(args.overrides))}"

    def frames() -> Iterator[np.ndarray]:
        for played in play(policy, scenario, args.seed, slots, **options):
            played.env.caption = caption
            picture = played.env.render(0)
            assert picture is not None
            yield picture

    with named(args.out):
        count = WRITERS[ending](args.out, frames(), args.fps)
    what = f"slot {slots}" if ending == ".png" else f"{count} frames"
    print(f"{args.out}: {what} of {name}")
