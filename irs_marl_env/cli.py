"""Command line: evaluate, sweep and compare policies, list scenarios, draw an episode, print results, look at channels.

Exit codes: 0 done, 1 a problem that ``channels --check`` found, 2 impossible input or a missing optional package (both
said in words on stderr), 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from irs_marl_env import cli_channels, cli_pictures, cli_replay, cli_studies, scenario_help, tables
from irs_marl_env.checks import shown
from irs_marl_env.cli_arguments import (
    evaluation_arguments,
    evaluation_options,
    metric_argument,
    metrics_of,
    named,
    policy_of,
    scenario_of,
)
from irs_marl_env.estimate import Estimate
from irs_marl_env.evaluation import evaluate
from irs_marl_env.metrics import METRICS, Metric
from irs_marl_env.output_files import check_out
from irs_marl_env.result import Result, dump, read
from irs_marl_env.scenario import Scenario, scenario_ids
from irs_marl_env.signals import Stopped, StopRequests
from irs_marl_env.vector_env import MdlbiVectorEnv

LONGEST_MESSAGE = 300  # characters of what argparse refuses


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
        with _short_warnings(), StopRequests() as requests:
            code = args.run(args)
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
    return code or 0


@contextmanager
def _short_warnings() -> Iterator[None]:
    """A warning is one line, without the place in the code, which says nothing here."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *place, **more: f"warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


class _Parser(argparse.ArgumentParser):
    """Argparse's, with messages that do not repeat the whole of a long text."""

    def error(self, message: str) -> NoReturn:
        super().error(message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 3]}...")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m irs_marl_env", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command, run, help_text, fill in (
        ("evaluate", _evaluate, "sum rate of policies on the same draws", _evaluate_arguments),
        ("scenarios", _scenarios, "list the presets or the fields, or print a preset as JSON", _scenarios_arguments),
        (
            "render",
            cli_pictures.render,
            "draw an episode: a GIF, an MP4, or its last slot as PNG",
            cli_pictures.render_arguments,
        ),
        ("replay", cli_replay.replay, "an episode as a page to look through", cli_replay.replay_arguments),
        ("results", _results, "print results that evaluate wrote", _results_arguments),
        ("sweep", cli_studies.sweep, "policies over the values of a field", cli_studies.sweep_arguments),
        ("compare", cli_studies.compare, "results beside one another", cli_studies.compare_arguments),
        ("channels", cli_channels.channels, "look through a file for channels=", cli_channels.channels_arguments),
    ):
        sub = commands.add_parser(command, help=help_text, description=help_text)
        sub.set_defaults(run=run)
        fill(sub)
    return parser


# --- evaluate, results -----------------------------------------------------------------------------------------


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    evaluation_arguments(parser)
    parser.add_argument("--out", "--json", dest="out", type=Path, help="JSON file to write")
    parser.add_argument(
        "--no-users", action="store_true", help="leave rates of users, cells and powers out of the file"
    )


def _evaluate(args: argparse.Namespace) -> None:
    scenario, metrics = scenario_of(args), metrics_of(args)
    if args.out is not None:
        check_out(args.out)  # before the work, not after
    options = evaluation_options(args)
    results = [evaluate(policy_of(name), scenario, name=name, **options) for name in args.policy]
    print(table(results, metrics))
    if args.out is not None:
        with named(args.out):
            args.out.write_text(dump(results, not args.no_users), encoding="utf-8", newline="\n")


def _results_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, help="JSON files written by evaluate")
    parser.add_argument("--trusted", action="store_true", help="import the modules of parts given as MODULE:NAME")
    metric_argument(parser)


def _results(args: argparse.Namespace) -> None:
    metrics = metrics_of(args)
    for path in args.files:
        print(f"{path}\n{table(read(path, args.trusted), metrics)}")


def table(results: Sequence[Result], metrics: Sequence[Metric] = ()) -> str:
    """Plain-text table: system sum rate, share of each BS, paired difference to the first policy, other metrics.

    Args:
        results: at least one.
        metrics: a column each but for the sum rate, which is there already; empty where a result does not hold what a
            metric needs.
    """
    first, metrics = results[0], [metric for metric in metrics if metric is not METRICS["sum_rate"]]
    rows = [["policy", "bit/s/Hz", "per BS", f"minus {first.policy}", *(metric.label for metric in metrics)]]
    for result in results:
        per_bs = " ".join(f"{value:.2f}" for value in result.per_bs.mean)
        others = [_measured(result, metric) for metric in metrics]
        rows.append([result.policy, tables.with_error(result.system), per_bs, _difference(result, first), *others])
    count, slots, _ = first.rates.shape
    note = f"system sum rate per slot +- standard error; {count} episodes x {slots} slots, seed {first.seed}"
    if first.every > 1 or first.first:
        note += f"; slots {first.first}, {first.first + first.every} .. {first.first + (slots - 1) * first.every}"
    return f"{tables.table(rows)}\n{note}"


def _measured(result: Result, metric: Metric) -> str:
    kept = all(getattr(result, name) is not None for name in metric.needs)
    return tables.with_error(Estimate.of(metric(result))) if kept else ""


def _difference(result: Result, first: Result) -> str:
    if result is first:
        return ""
    try:
        return tables.with_error(result.difference(first), sign="+")
    except ValueError:  # results of different files may have other episodes
        return "unpaired"


# --- scenarios ------------------------------------------------------------------------------------------------


def _scenarios_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenario", help="print this one, a preset or a JSON file, as JSON")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="FIELD=VALUE", help="override a field; repeat"
    )
    parser.add_argument("--trusted", action="store_true", help="import the modules of parts given as MODULE:NAME")
    parser.add_argument(
        "--fields", nargs="?", const="", metavar="WORD", help="list the fields, or those of which a word is said"
    )


def _scenarios(args: argparse.Namespace) -> None:
    if args.fields is not None:
        _fields(args)
        return
    if args.scenario is not None:
        print(scenario_of(args).to_json(indent=2))
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
    print("\n".join(tables.line(row, widths) for row in rows))


def _fields(args: argparse.Namespace) -> None:
    if args.scenario is not None or args.overrides:
        raise ValueError("--fields lists what every scenario has: leave out --scenario and --set")
    found = [row for row in scenario_help.fields_of(Scenario) if row.mentions(args.fields)]
    if not found:
        raise ValueError(f"--fields {shown(args.fields)}: must be a word that is said of a field")
    print(scenario_help.text(found))
