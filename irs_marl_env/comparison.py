"""Results beside one another: policies on the same draws, and policies over the values of a scenario field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from typing import Any

from irs_marl_env import charts, tables
from irs_marl_env.checks import near, shown
from irs_marl_env.estimate import Estimate
from irs_marl_env.evaluation import BOUND, evaluate, rehearse
from irs_marl_env.json_text import parse_object, read_text
from irs_marl_env.metrics import Function, Metric, metric_named
from irs_marl_env.result import Result, dump, loaded
from irs_marl_env.scenario import Scenario, from_plain, get_scenario

Metrics = str | Function | Sequence[Any]
_NOTE = "mean [95 % interval, Student's t over {}]"


# --- compare --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Comparison:
    """Metrics of several results, and their paired differences to one of them.

    Attributes:
        labels: by result.
        results: what is compared.
        metrics: what is measured.
        baseline: index of the result that differences are to.
        estimates: by metric, of each result.
        differences: by metric, result minus baseline on the same draws; ``None`` for the baseline itself, and where the
            draws or the physics are not the same.
    """

    labels: tuple[str, ...]
    results: tuple[Result, ...]
    metrics: tuple[Metric, ...]
    baseline: int
    estimates: tuple[tuple[Estimate, ...], ...]
    differences: tuple[tuple[Estimate | None, ...], ...]

    def __repr__(self) -> str:
        """The table: what a console shows."""
        return self.table()

    def _repr_markdown_(self) -> str:
        """The table: what a notebook shows."""
        return self.table(markdown=True)

    def table(self, markdown: bool = False) -> str:
        """Mean and 95 % interval of every metric, and of the paired difference to the baseline.

        Args:
            markdown: a table of Markdown instead of aligned plain text.
        """
        base = self.labels[self.baseline]
        head = ["policy"]
        for metric in self.metrics:
            head += [metric.label, f"minus {base}"]
        rows = [head]
        for i, label in enumerate(self.labels):
            row = [label]
            for estimates, differences in zip(self.estimates, self.differences, strict=True):
                gap = differences[i]
                between = "" if i == self.baseline else "not paired"
                row += [tables.with_interval(estimates[i]), between if gap is None else tables.with_interval(gap, "+")]
            rows.append(row)
        counts = sorted({len(result.rates) for result in self.results})
        note = _NOTE.format(f"{' or '.join(map(str, counts))} episodes")
        return tables.table(rows, markdown) + ("\n\n" if markdown else "\n") + note

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw bars with 95 % intervals and, beside them, the paired differences.

        Args:
            path: a .png, .svg or .pdf to write.

        Raises:
            ImportError: matplotlib is missing; install ``irs-marl-env[render]``.
            ValueError: another ending.
        """
        labels = [metric.label for metric in self.metrics]
        charts.bars(path, self.labels, list(zip(labels, self.estimates, self.differences, strict=True)), self.baseline)


def compare(
    results: Iterable[Result] | Mapping[str, Result],
    metric: Metrics = "sum_rate",
    *,
    baseline: str | int | None = None,
    across: bool = False,
) -> Comparison:
    """Set results beside one another.

    Args:
        results: at least one, each with another policy's name; or results by the name they shall have.
        metric: what to compare, as in :meth:`Result.metric`, or a list of such.
        baseline: name, or index, of the result that differences are to; ``None``: the first.
        across: also take differences between results of different physics, as in :meth:`Result.difference`.

    Raises:
        ValueError: no results, a name twice, an unknown baseline or metric, or one that a result cannot give.

    Example:
        >>> from irs_marl_env import compare, evaluate
        >>> policies = ("structured-local-gain", "structured-random")
        >>> scenario = "mdlbi-blocked-small-v0"
        >>> results = [evaluate(name, scenario, episodes=8, slots=5) for name in policies]
        >>> print(compare(results).table())
        policy                  sum_rate [bit/s/Hz]  minus structured-local-gain
        ---------------------  --------------------  ---------------------------
        structured-local-gain  2.610 [1.863, 3.357]
        structured-random      1.696 [0.976, 2.417]      -0.914 [-1.541, -0.286]
        mean [95 % interval, Student's t over 8 episodes]
    """
    named = dict(results) if isinstance(results, Mapping) else _by_policy(results)
    for label, result in named.items():
        if not isinstance(result, Result):
            raise TypeError(f"results[{shown(label)}]={shown(result)}: must be a Result")
    if not named:
        raise ValueError("results=[]: must be at least one")
    labels, found, measures = tuple(map(str, named)), tuple(named.values()), _metrics(metric)
    index = _baseline(baseline, labels)
    estimates = tuple(tuple(Estimate.of(measure(result)) for result in found) for measure in measures)
    differences = tuple(
        tuple(
            None if i == index else _difference(result, found[index], measure, across) for i, result in enumerate(found)
        )
        for measure in measures
    )
    return Comparison(labels, found, measures, index, estimates, differences)


def _by_policy(results: Iterable[Result]) -> dict[str, Result]:
    named: dict[str, Result] = {}
    for i, result in enumerate([results] if isinstance(results, Result) else results):
        if not isinstance(result, Result):
            raise TypeError(f"results[{i}]={shown(result)}: must be a Result")
        if result.policy in named:
            raise ValueError(f"results: {result.policy!r} stands twice; give a dict of results by name")
        named[result.policy] = result
    return named


def _metrics(metric: Metrics) -> tuple[Metric, ...]:
    several = metric if isinstance(metric, Sequence) and not isinstance(metric, str) else [metric]
    found = tuple(map(metric_named, several))
    if not found:
        raise ValueError("metric=[]: must be at least one")
    return found


def _baseline(baseline: str | int | None, labels: tuple[str, ...]) -> int:
    if baseline is None:
        return 0
    if isinstance(baseline, int) and not isinstance(baseline, bool) and 0 <= baseline < len(labels):
        return baseline
    if baseline not in labels:
        known = f"must be one of {', '.join(labels)}, or an index"
        raise ValueError(f"baseline={shown(baseline)}: {known}{near(baseline, labels)}")
    return labels.index(baseline)


def _difference(result: Result, base: Result, metric: Metric, across: bool) -> Estimate | None:
    try:
        return result.difference(base, across, metric)
    except ValueError:  # other episodes, or other physics
        return None


# --- sweep ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sweep:
    """Results of policies over the values of a scenario field.

    Attributes:
        field: its name.
        values: of the field, as JSON has them.
        results: by policy, one for each value.
        metric: what tables and pictures show unless they are told otherwise.
    """

    field: str
    values: tuple[Any, ...]
    results: dict[str, tuple[Result, ...]]
    metric: Metric

    def __repr__(self) -> str:
        """The table: what a console shows."""
        return self.table()

    def _repr_markdown_(self) -> str:
        """The table: what a notebook shows."""
        return self.table(markdown=True)

    def estimates(self, metric: str | Function | None = None) -> dict[str, tuple[Estimate, ...]]:
        """By policy, the metric at each value."""
        measure = self.metric if metric is None else metric_named(metric)
        return {name: tuple(Estimate.of(measure(r)) for r in results) for name, results in self.results.items()}

    def table(self, metric: str | Function | None = None, markdown: bool = False) -> str:
        """A row for each value, with mean and 95 % interval of each policy.

        Args:
            metric: what to show; ``None``: :attr:`metric`.
            markdown: a table of Markdown instead of aligned plain text.
        """
        measure, estimates = self.metric if metric is None else metric_named(metric), self.estimates(metric)
        rows = [[charts.with_unit(self.field), *estimates]]
        for i, value in enumerate(tables.value_labels(self.values)):
            rows.append([value, *(tables.with_interval(of_policy[i]) for of_policy in estimates.values())])
        count = len(next(iter(self.results.values()))[0].rates)
        note = f"{measure.label}: {_NOTE.format(f'{count} episodes')}"
        return tables.table(rows, markdown) + ("\n\n" if markdown else "\n") + note

    def plot(self, path: str | PathLike[str], metric: str | Function | None = None) -> None:
        """Draw a line for each policy, with 95 % intervals.

        Args:
            path: a .png, .svg or .pdf to write.
            metric: what to show; ``None``: :attr:`metric`.

        Raises:
            ImportError: matplotlib is missing; install ``irs-marl-env[render]``.
            ValueError: another ending.
        """
        measure = self.metric if metric is None else metric_named(metric)
        charts.lines(path, self.field, self.values, self.estimates(metric), measure.label)

    def at(self, value: Any) -> list[Result]:
        """The results of all policies at a value, for :func:`compare`."""
        if value not in self.values:
            raise ValueError(f"value={shown(value)}: must be one of {', '.join(map(shown, self.values))}")
        return [results[self.values.index(value)] for results in self.results.values()]

    def to_json(self, users: bool = True) -> str:
        """JSON that :meth:`from_json` restores; :func:`irs_marl_env.result.read` reads the results in it.

        A metric of one's own is not written; the restored sweep shows the sum rate then.
        """
        header = {"field": self.field, "values": list(self.values), "policies": list(self.results)}
        if self.metric is metric_named_or_none(self.metric.name):
            header["metric"] = self.metric.name
        return dump([result for results in self.results.values() for result in results], users, sweep=header)

    @classmethod
    def from_json(cls, text: str | bytes, trusted: bool = False) -> Sweep:
        """Sweep from :meth:`to_json`; with ``trusted`` modules of parts of one's own are imported.

        Raises:
            ValueError: the text is something else, or impossible.
        """
        content = parse_object(text, "a sweep")
        header: Any = content.get("sweep")
        if not isinstance(header, dict):
            raise ValueError('not a sweep: no object "sweep" with field, values and policies')
        field: Any
        values: Any
        policies: Any
        field, values, policies = (header.get(name) for name in ("field", "values", "policies"))
        _check_field(field)
        for name, items in (("values", values), ("policies", policies)):
            if not isinstance(items, list) or not items:
                raise ValueError(f"sweep: {name}={shown(items)}: must be a list of at least one")
        if not all(isinstance(name, str) for name in policies) or len(set(policies)) < len(policies):
            raise ValueError(f"sweep: policies={shown(policies)}: must be different texts")
        results = loaded(content, trusted)
        if len(results) != len(values) * len(policies):
            allowed = f"{len(policies)} policies times {len(values)} values"
            raise ValueError(f"sweep: {len(results)} results: must be {allowed}")
        count = len(values)
        by_policy = {name: tuple(results[i * count : (i + 1) * count]) for i, name in enumerate(policies)}
        for name, found in by_policy.items():
            for value, result in zip(values, found, strict=True):
                if result.policy != name:
                    raise ValueError(f"sweep: result of {result.policy!r} where {name!r} at {field}={value} must stand")
        return cls(field, tuple(values), by_policy, metric_named(header.get("metric", "sum_rate")))

    @classmethod
    def read(cls, path: str | PathLike[str], trusted: bool = False) -> Sweep:
        """Sweep from a file that holds what :meth:`to_json` gave.

        Raises:
            ValueError: the file is something else; the message names it.
            OSError: the file cannot be read.
        """
        try:
            return cls.from_json(read_text(path), trusted)
        except ValueError as error:
            raise ValueError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None


def sweep(
    policies: Any,
    scenario: str | Scenario,
    field: str,
    values: Iterable[Any],
    *,
    metric: str | Function = "sum_rate",
    **arguments: Any,
) -> Sweep:
    """Evaluate policies over the values of a scenario field, on the same draws where the field leaves them the same.

    Args:
        policies: one or several, each as :func:`evaluate` takes it; or policies by the name they shall have.
        scenario: preset name or scenario.
        field: of the scenario.
        values: of the field, in the order of the table.
        metric: what tables and pictures show, as in :meth:`Result.metric`.
        **arguments: of :func:`evaluate`: ``episodes``, ``seed``, ``slots``, ``processes`` and so on, and other scenario
            fields.

    Raises:
        ValueError: an unknown field, policy or metric, an impossible value, or a policy that cannot do one of them; all
            that is said before the first evaluation.

    Example:
        >>> from irs_marl_env import sweep
        >>> policy, scenario = "structured-local-gain", "mdlbi-blocked-small-v0"
        >>> found = sweep(policy, scenario, "num_irs", [0, 1, 4], episodes=8, slots=5)
        >>> print(found.table())
        num_irs  structured-local-gain
        -------  ---------------------
        0         0.472 [0.161, 0.782]
        1         1.799 [0.938, 2.660]
        4         4.468 [3.628, 5.308]
        sum_rate [bit/s/Hz]: mean [95 % interval, Student's t over 8 episodes]
    """
    _check_field(field)
    if field in arguments:
        raise ValueError(f"field={field!r} is swept, and given as {shown(arguments[field])} too")
    chosen, measure, named = list(values), metric_named(metric), _policies(policies)
    if not chosen:
        raise ValueError("values=[]: must be at least one")
    overrides = {f.name: arguments[f.name] for f in fields(Scenario) if f.name in arguments}
    check_measured(named.values(), measure)
    base, scenarios = get_scenario(scenario, **overrides), []
    for value in chosen:
        scenarios.append(base.replace(**from_plain({field: value}, True)))
        if scenarios[-1] in scenarios[:-1]:
            raise ValueError(f"values: {field}={shown(value)} stands twice")
    rest = {name: value for name, value in arguments.items() if name not in overrides}
    for value, varied in zip(chosen, scenarios, strict=True):
        for label, policy in named.items():
            try:
                rehearse(policy, varied, name=label, **rest)
            except ValueError as error:
                raise ValueError(f"{label} at {field}={shown(value)}: {error}") from None
    results = {label: tuple(evaluate(p, s, name=label, **rest) for s in scenarios) for label, p in named.items()}
    plain = tuple(_as_json(s, field) for s in scenarios)
    return Sweep(field, plain, results, measure)


def check_measured(policies: Iterable[Any], metric: Metric) -> None:
    """Refuse a metric of what bounds do not have, before a bound is evaluated for it."""
    if metric.needs and any(isinstance(policy, str) and policy == BOUND for policy in policies):
        raise ValueError(f"metric {metric.name!r} needs {' and '.join(metric.needs)}, which {BOUND!r} does not have")


def metric_named_or_none(name: str) -> Metric | None:
    """The built-in metric of a name, or nothing."""
    try:
        return metric_named(name)
    except ValueError:
        return None


def _check_field(field: Any) -> None:
    known = [f.name for f in fields(Scenario)]
    if field not in known:
        raise ValueError(f"field={shown(field)}: must be a field of Scenario{near(field, known)}")


def _policies(policies: Any) -> dict[str, Any]:
    if isinstance(policies, Mapping):
        named = {str(name): policy for name, policy in policies.items()}
    else:
        several = isinstance(policies, Sequence) and not isinstance(policies, str)
        named = {}
        for policy in policies if several else [policies]:
            label = (
                policy if isinstance(policy, str) else str(getattr(policy, "name", getattr(policy, "__name__", policy)))
            )
            if label in named:
                raise ValueError(f"policies: {label!r} stands twice; give a dict of policies by name")
            named[label] = policy
    if not named:
        raise ValueError("policies=[]: must be at least one")
    return named


def _as_json(scenario: Scenario, field: str) -> Any:
    """The value of a field as JSON has it; of an object without a name, its ``repr``."""
    value = getattr(scenario, field)
    try:
        return json.loads(scenario.to_json())[field]
    except ValueError:
        return value if isinstance(value, (int, float, str, type(None))) else shown(value)
