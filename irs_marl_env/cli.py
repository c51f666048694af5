"""Command line: evaluate policies, list scenarios, draw an episode, print saved results.

Exit codes: 0 done, 2 impossible input or a missing optional package (said in words on stderr), 130 stopped by
Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from irs_marl_env import load_policy
from irs_marl_env.checks import near, shown
from irs_marl_env.evaluation import BOUND, INTERFACES, evaluate
from irs_marl_env.parallel_env import MdlbiParallelEnv
from irs_marl_env.policies import POLICIES
from irs_marl_env.result import Estimate, Result, dump, read
from irs_marl_env.scenario import Scenario, scenario_ids
from irs_marl_env.scenario_text import parse_assignments, scenario_named
from irs_marl_env.signals import Stopped, StopRequests
from irs_marl_env.vector_env import MdlbiVectorEnv

LEAST_FPS = 0.01  # a GIF holds a frame for at most 655 s
LONGEST_MESSAGE = 300  # characters of what argparse refuses
MOST_FRAMES = 5000  # of an animation: each is kept until all are written


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: without the program's name; ``None``: those of the process.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console may lack a letter of a name
    args = _parser().parse_args(arguments)
    try:
        with StopRequests() as requests:
            args.run(args)
            requests.check()  # whatever has caught it, an import perhaps
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        print("error: there is not enough memory for this", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print("interrupted", file=sys.stderr)
        return error.exit_code if isinstance(error, Stopped) else 130
    return 0


class _Parser(argparse.ArgumentParser):
    """Argparse's, with messages that do not repeat the whole of a long text."""

    def error(self, message: str) -> NoReturn:
        super().error(message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 3]}...")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m irs_marl_env", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command, run, help_text, fill in (
        ("evaluate", _evaluate, "sum rate of policies on the same draws", _evaluate_arguments),
        ("scenarios", _scenarios, "list the presets, or print one as JSON", _scenarios_arguments),
        ("render", _render, "draw an episode as an animated GIF", _render_arguments),
        ("results", _results, "print results that evaluate wrote", _results_arguments),
    ):
        sub = commands.add_parser(command, help=help_text, description=help_text)
        sub.set_defaults(run=run)
        fill(sub)
    return parser


def _scenario_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenario", default="mdlbi-v0", help="preset, or a JSON file of a scenario (%(default)s)")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="FIELD=VALUE", help="override a field; repeat"
    )
    parser.add_argument("--trusted", action="store_true", help="import the modules of parts given as MODULE:NAME")


def _scenario(args: argparse.Namespace) -> Scenario:
    return scenario_named(args.scenario, args.trusted, **parse_assignments(args.overrides))


def _check_out(path: Path) -> None:
    if path.is_dir():
        raise ValueError(f"--out {path}: is a folder, must be a file")
    if not path.parent.is_dir():
        raise ValueError(f"--out {path}: no such folder")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"--out {path}: cannot be written here, must be a place with the right to write")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error while a file is written says in which one, which Python leaves out for a full disk."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def _policy(name: str) -> Any:
    """A policy's name, trained agents in a file, or the object behind ``module:attribute``, of a class an object."""
    if name.lower().endswith(".safetensors"):
        return load_policy(name)
    module, colon, attribute = name.partition(":")
    if not colon and not name.endswith(".py"):
        return name
    if not attribute or module[:1] in ("", ".") or module.endswith(".py"):
        allowed = "a policy's name, MODULE:NAME (examples.own_policy:Greedy), or FILE.safetensors"
        raise ValueError(f"--policy {shown(name)}: must be {allowed}")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        raise ImportError(f"--policy {name}: {error}") from None
    except Exception as error:  # the module is somebody else's, and its import runs whatever stands in it
        raise ValueError(f"--policy {name}: its module raised {type(error).__name__}: {error}") from error
    if not callable(found) and not hasattr(found, "bind"):
        raise ValueError(f"--policy {name}: module {module!r} has no policy {attribute!r}")
    if not isinstance(found, type):
        return found
    try:
        made = found()
    except Exception as error:  # of somebody else's class
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"--policy {name}: the class cannot be made without arguments ({reason})") from error
    if not callable(made) and not hasattr(made, "bind"):
        raise ValueError(f"--policy {name}: an object of this class must be callable, or have bind(env, seed)")
    return made


def _whole(text: str) -> int:
    """An integer of the command line; argparse would repeat the whole text in its message, however long it is."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)}: must be an integer") from None


# --- evaluate, results -----------------------------------------------------------------------------------------


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    known = ", ".join((*POLICIES, BOUND))
    parser.add_argument(
        "--policy",
        action="append",
        required=True,
        help=f"repeat; one of {known}, MODULE:NAME of your own (a function, a class or an object), or a policy file",
    )
    _scenario_arguments(parser)
    parser.add_argument("--episodes", type=_whole, default=20, help="number of episodes (%(default)s)")
    parser.add_argument("--slots", type=_whole, help="slots measured in each episode (all)")
    parser.add_argument("--every", type=_whole, default=1, help="slots between two measured ones (%(default)s)")
    parser.add_argument("--first", type=_whole, default=0, help="the first slot measured (%(default)s)")
    parser.add_argument("--seed", type=_whole, default=0, help="episode i has seed + i (%(default)s)")
    parser.add_argument("--processes", type=_whole, default=1, help="the result is the same (%(default)s)")
    parser.add_argument(
        "--interface", choices=INTERFACES, default=INTERFACES[0], help="of your own policy (%(default)s)"
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")


def _evaluate(args: argparse.Namespace) -> None:
    scenario = _scenario(args)
    if args.out is not None:
        _check_out(args.out)  # before the work, not after
    results = [
        evaluate(
            _policy(name),
            scenario,
            args.episodes,
            args.seed,
            args.slots,
            args.every,
            args.first,
            processes=args.processes,
            interface=args.interface,
            name=name,
        )
        for name in args.policy
    ]
    print(table(results))
    if args.out is not None:
        with _named(args.out):
            args.out.write_text(dump(results), encoding="utf-8", newline="\n")


def _results_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, help="JSON files written by evaluate")
    parser.add_argument("--trusted", action="store_true", help="import the modules of parts given as MODULE:NAME")


def _results(args: argparse.Namespace) -> None:
    for path in args.files:
        print(f"{path}\n{table(read(path, args.trusted))}")


def table(results: Sequence[Result]) -> str:
    """Plain-text table: system sum rate, share of each BS, paired difference to the first policy.

    Args:
        results: at least one.
    """
    first = results[0]
    rows = [("policy", "bit/s/Hz", "per BS", f"minus {first.policy}")]
    for result in results:
        per_bs = " ".join(f"{value:.2f}" for value in result.per_bs.mean)
        rows.append((result.policy, _plus_minus(result.system), per_bs, _difference(result, first)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    count, slots, _ = first.rates.shape
    note = f"system sum rate per slot +- standard error; {count} episodes x {slots} slots, seed {first.seed}"
    if first.every > 1 or first.first:
        note += f"; slots {first.first}, {first.first + first.every} .. {first.first + (slots - 1) * first.every}"
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:], note])


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return "  ".join(cells).rstrip()


def _difference(result: Result, first: Result) -> str:
    if result is first:
        return ""
    try:
        return _plus_minus(result.difference(first), sign="+")
    except ValueError:  # results of different files may have other episodes
        return "unpaired"


def _plus_minus(estimate: Estimate, sign: str = "") -> str:
    error = "?" if math.isnan(estimate.standard_error) else f"{estimate.standard_error:.3f}"
    return f"{estimate.mean:{sign}.3f} +- {error}"


# --- scenarios ------------------------------------------------------------------------------------------------


def _scenarios_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenario", help="print this one, a preset or a JSON file, as JSON")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="FIELD=VALUE", help="override a field; repeat"
    )
    parser.add_argument("--trusted", action="store_true", help="import the modules of parts given as MODULE:NAME")


def _scenarios(args: argparse.Namespace) -> None:
    if args.scenario is not None:
        print(_scenario(args).to_json(indent=2))
        return
    if args.overrides:
        raise ValueError("--set needs --scenario")
    rows: list[tuple[str, ...]] = [("scenario", "BSs", "users", "IRSs", "antennas", "elements", "slots", "D_o", "D_a")]
    for name in scenario_ids():
        env = MdlbiVectorEnv(name)
        s = env.scenario
        sizes = (s.num_bs, s.num_users, s.num_irs, s.max_antennas, s.max_elements, s.horizon)
        rows.append((name, *(str(n) for n in (*sizes, env.observation_size, env.action_size))))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print("\n".join(_line(row, widths) for row in rows))


# --- render ---------------------------------------------------------------------------------------------------


def _render_arguments(parser: argparse.ArgumentParser) -> None:
    _scenario_arguments(parser)
    parser.add_argument("--policy", default="local-gain-ao", help="who acts (%(default)s)")
    parser.add_argument("--slots", type=_whole, default=50, help="frames after the first (%(default)s)")
    parser.add_argument("--seed", type=_whole, default=0)
    parser.add_argument("--fps", type=float, default=5.0, help="frames per second (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .gif")


def _render(args: argparse.Namespace) -> None:
    if args.out.suffix.lower() != ".gif":
        raise ValueError(f"--out {args.out}: must end in .gif")
    _check_out(args.out)
    if not (LEAST_FPS <= args.fps <= 50):
        raise ValueError(f"--fps {args.fps:g}: must be in [{LEAST_FPS:g}, 50]")
    if args.policy not in POLICIES:
        known = f"must be one of {', '.join(POLICIES)}"
        raise ValueError(f"--policy {shown(args.policy)}: {known}{near(args.policy, POLICIES)}")
    policy = POLICIES[args.policy]
    scenario = policy.adapt(_scenario(args))
    most = min(scenario.horizon, MOST_FRAMES)
    if not 1 <= args.slots <= most:
        raise ValueError(f"--slots {shown(args.slots)}: must be in [1, {most}]")
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("an animated GIF needs pillow: pip install 'irs-marl-env[render]'") from None
    env = MdlbiParallelEnv(scenario, render_mode="rgb_array")
    observations, _ = env.reset(seed=args.seed)
    act = policy.bind(env, args.seed)
    pictures = [env.render()]
    for _ in range(args.slots):
        observations, *_ = env.step(act(observations))
        pictures.append(env.render())
    env.close()
    frames = [Image.fromarray(picture) for picture in pictures if picture is not None]
    milliseconds = round(1000 / args.fps)
    animation: dict[str, Any] = {"append_images": frames[1:], "duration": milliseconds, "loop": 0, "optimize": True}
    with _named(args.out):
        frames[0].save(args.out, save_all=True, **animation)
    print(f"{args.out}: {len(frames)} frames of {args.policy}")
