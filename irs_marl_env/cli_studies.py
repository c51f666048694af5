"""The commands ``sweep`` and ``compare``."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import fields
from pathlib import Path

from irs_marl_env import comparison
from irs_marl_env.charts import check_picture
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
from irs_marl_env.json_text import parse
from irs_marl_env.output_files import check_out
from irs_marl_env.result import Result, read
from irs_marl_env.scenario import Scenario, from_plain
from irs_marl_env.scenario_text import parse_assignments

_PICTURE = "picture to write, .png, .svg or .pdf"


def sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the parser of ``sweep``."""
    evaluation_arguments(parser)
    parser.add_argument("--field", required=True, help="the scenario's field")
    parser.add_argument(
        "--values", required=True, help="values with commas between, or a JSON list: 1,2,4 or '[[16, 8], [32, 8]]'"
    )
    parser.add_argument("--out", type=Path, help=f"{_PICTURE}, of the first metric")
    parser.add_argument("--json", type=Path, help="JSON file to write, with all results")
    parser.add_argument(
        "--no-users", action="store_true", help="leave rates of users, cells and powers out of the file"
    )
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")


def sweep(args: argparse.Namespace) -> None:
    """Evaluate policies over the values of a field: a table for each metric, a picture, a file."""
    scenario, metrics = scenario_of(args), metrics_of(args, ["sum_rate"])
    _check_files(args.out, args.json)
    policies = {name: policy_of(name) for name in args.policy}
    values = [from_plain({args.field: value}, args.trusted)[args.field] for value in _values(args.field, args.values)]
    for metric in metrics:
        comparison.check_measured(policies.values(), metric)
    options = evaluation_options(args)
    found = comparison.sweep(policies, scenario, args.field, values, metric=metrics[0], **options)
    if args.json is not None:  # before the tables, which may refuse a metric
        with named(args.json):
            args.json.write_text(found.to_json(not args.no_users), encoding="utf-8", newline="\n")
    print("\n\n".join(found.table(metric, args.markdown) for metric in metrics))
    if args.out is not None:
        with named(args.out):
            found.plot(args.out)


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the parser of ``compare``."""
    parser.add_argument("files", nargs="+", type=Path, help="JSON files written by evaluate or sweep")
    metric_argument(parser)
    parser.add_argument("--baseline", help="the result that differences are to, by its name in the table (the first)")
    parser.add_argument("--across", action="store_true", help="also take differences between different physics")
    parser.add_argument("--out", type=Path, help=_PICTURE)
    parser.add_argument("--markdown", action="store_true", help="a table in Markdown")
    parser.add_argument("--trusted", action="store_true", help="import the modules of parts given as MODULE:NAME")


def compare(args: argparse.Namespace) -> None:
    """Set the results of files beside one another: a table and a picture."""
    metrics = metrics_of(args, ["sum_rate"])
    _check_files(args.out, None)
    results = _labelled([(path, result) for path in args.files for result in read(path, args.trusted)])
    found = comparison.compare(results, metrics, baseline=args.baseline, across=args.across)
    print(found.table(args.markdown))
    if args.out is not None:
        with named(args.out):
            found.plot(args.out)


def _check_files(picture: Path | None, data: Path | None) -> None:
    """Refuse files that could not be written, before the work."""
    if picture is not None:
        check_picture(picture, "--out")
        check_out(picture)
    if data is not None:
        check_out(data, "--json")


def _values(field: str, text: str) -> list[object]:
    """The values of a field as they are typed."""
    if text.lstrip().startswith("["):
        try:
            values = parse(text)
        except ValueError as error:
            raise ValueError(
                f"--values {shown(text)}: must be a JSON list, or values with commas between ({error})"
            ) from None
        if isinstance(values, list):
            return values
    return [parse_assignments([f"{field}={value.strip()}"])[field] for value in text.split(",")]


def _labelled(results: list[tuple[Path, Result]]) -> dict[str, Result]:
    """Results by policy; where that says too little, with the fields that differ, the file's name, or a number."""
    labels = [result.policy for _, result in results]
    for addition in (_fields_that_differ, lambda alike: [f"({path.stem})" for path, _ in alike], _numbers):
        for label, count in Counter(labels).items():
            if count > 1:
                where = [i for i, other in enumerate(labels) if other == label]
                for i, added in zip(where, addition([results[i] for i in where]), strict=True):
                    labels[i] = f"{label} {added}".rstrip()
    return dict(zip(labels, (result for _, result in results), strict=True))


def _fields_that_differ(alike: list[tuple[Path, Result]]) -> list[str]:
    """``field=value`` of each, for up to two fields in which scenarios differ."""
    scenarios = [result.scenario for _, result in alike]
    differ = [
        f.name for f in fields(Scenario) if any(getattr(s, f.name) != getattr(scenarios[0], f.name) for s in scenarios)
    ]
    return [", ".join(f"{name}={shown(getattr(s, name))}" for name in differ[:2]) for s in scenarios]


def _numbers(alike: list[tuple[Path, Result]]) -> list[str]:
    return [str(i + 1) for i in range(len(alike))]
