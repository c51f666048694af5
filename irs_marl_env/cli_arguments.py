"""What the commands share: flags, and how what is typed becomes a scenario, a policy, a metric or a file to write."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from irs_marl_env import load_policy
from irs_marl_env.checks import look_up, shown
from irs_marl_env.evaluation import BOUND, INTERFACES
from irs_marl_env.metrics import METRICS, Metric, metric_named
from irs_marl_env.policies import POLICIES
from irs_marl_env.scenario import Scenario
from irs_marl_env.scenario_text import parse_assignments, scenario_named


def scenario_arguments(parser: argparse.ArgumentParser) -> None:
    """Which scenario."""
    parser.add_argument("--scenario", default="mdlbi-v0", help="preset, or a JSON file of a scenario (%(default)s)")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="FIELD=VALUE", help="override a field; repeat"
    )
    parser.add_argument("--trusted", action="store_true", help="import the modules of parts given as MODULE:NAME")


def scenario_of(args: argparse.Namespace) -> Scenario:
    """The scenario of :func:`scenario_arguments`."""
    return scenario_named(args.scenario, args.trusted, **parse_assignments(args.overrides))


def called(policy: str) -> str:
    """What a picture calls a policy: the name of its file without the folders, or what was typed."""
    return Path(policy).name if policy.lower().endswith(".safetensors") else policy


def evaluation_arguments(parser: argparse.ArgumentParser) -> None:
    """Which policies, on what, how long, and what is measured."""
    known = ", ".join((*POLICIES, BOUND))
    parser.add_argument(
        "--policy",
        action="append",
        required=True,
        help=f"repeat; one of {known}, MODULE:NAME of your own (a function, a class or an object), or a policy file",
    )
    scenario_arguments(parser)
    parser.add_argument("--episodes", type=whole, default=20, help="number of episodes (%(default)s)")
    parser.add_argument("--slots", type=whole, help="slots measured in each episode (all)")
    parser.add_argument("--every", type=whole, default=1, help="slots between two measured ones (%(default)s)")
    parser.add_argument("--first", type=whole, default=0, help="the first slot measured (%(default)s)")
    parser.add_argument("--seed", type=whole, default=0, help="episode i has seed + i (%(default)s)")
    parser.add_argument("--processes", type=whole, default=1, help="the result is the same (%(default)s)")
    parser.add_argument(
        "--interface", choices=INTERFACES, default=INTERFACES[0], help="of your own policy (%(default)s)"
    )
    metric_argument(parser)


def evaluation_options(args: argparse.Namespace) -> dict[str, Any]:
    """What ``evaluate`` is told, beside the policy and the scenario."""
    names = ("episodes", "seed", "slots", "every", "first", "processes", "interface")
    return {name: getattr(args, name) for name in names}


def metric_argument(parser: argparse.ArgumentParser) -> None:
    """What is measured."""
    known = ", ".join(METRICS)
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME",
        help=f"repeat, or names with commas between; of {known}, or MODULE:NAME of a function of your own",
    )


def metrics_of(args: argparse.Namespace, default: Sequence[str] = ()) -> list[Metric]:
    """The metrics of :func:`metric_argument`, each once."""
    names = [name.strip() for text in args.metric for name in text.split(",")] or list(default)
    found = {}
    for name in names:
        if ":" not in name:
            found[name] = metric_named(name)
            continue
        try:
            found[name] = metric_named(look_up(name))
        except (TypeError, ValueError) as error:
            raise ValueError(f"--metric {shown(name)}: {error}") from None
    return list(found.values())


@contextmanager
def named(path: Path) -> Iterator[None]:
    """An error while a file is written says in which one, which Python leaves out for a full disk."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def policy_of(name: str) -> Any:
    """A policy's name, trained agents in a file, or the object behind ``module:attribute``, of a class an object."""
    if name.lower().endswith(".safetensors"):
        return load_policy(name)
    module, colon, attribute = name.partition(":")
    if not colon and not name.endswith(".py"):
        return name
    if not attribute or module[:1] in ("", ".") or module.endswith(".py"):
        allowed = "a policy's name, MODULE:NAME (examples.own_policy:NearestUsers), or FILE.safetensors"
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


def whole(text: str) -> int:
    """An integer of the command line; argparse would repeat the whole text in its message, however long it is."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)}: must be an integer") from None
