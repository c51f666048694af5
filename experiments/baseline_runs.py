"""What the parts of ``experiments.baselines`` share: where results are kept, how they are run, how tables read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from experiments import rawdata
from irs_marl_env import Result, evaluate
from irs_marl_env.result import Estimate, read

ROOT = Path(__file__).parents[1]
RAW = ROOT / "results" / "baselines"
DOCS = ROOT / "docs"
SEED = 0

NO_IRS = ("no-irs-mrt", "no-irs-rzf", "no-irs-wmmse")
RANDOM_PHASES = ("random-mrt", "random-rzf", "random-wmmse")
ASSOCIATIONS = ("random-ao", "fixed-ao", "local-gain-ao", "marginal-ao", "greedy-ao", "exhaustive-ao")
BOUND = "upper-bound"

EPISODES = {10: 16, 30: 12}  # of the baseline tables, by number of users


class Runs:
    """Evaluations kept in files that ``python -m irs_marl_env results`` prints.

    Args:
        again: run anew what is already there: all, or these policies alone.
        processes: episodes are shared out over so many.
    """

    def __init__(self, again: bool | Iterable[str] = False, processes: int = 1) -> None:
        self._all, self._processes = again is True, processes
        self._some = frozenset() if isinstance(again, bool) else frozenset(again)

    def get(self, name: str, policies: Iterable[Any], scenario: str = "mdlbi-v0", **options: Any) -> dict[str, Result]:
        """Results by policy, from ``RAW/<name>.json``, or run and written there."""
        options = {"seed": SEED, "processes": self._processes, **options}
        policies = tuple(policies)
        there = self.kept(name) if self._some and _path(name).exists() else {}

        def run() -> list[Result]:
            kept = {policy: result for policy, result in there.items() if policy not in self._some}
            return [kept.get(policy) or evaluate(policy, scenario, **options) for policy in policies]

        return self._keep(name, run, again=self._all or bool(self._some & set(policies)))

    def keep(self, name: str, run: Callable[[], list[Result]]) -> dict[str, Result]:
        """The same for results that are made in another way; with ``again`` for some policies they stay."""
        return self._keep(name, run, again=self._all)

    def _keep(self, name: str, run: Callable[[], list[Result]], again: bool) -> dict[str, Result]:
        path = _path(name)
        if not path.exists() or again:
            path.parent.mkdir(parents=True, exist_ok=True)
            before = time.process_time()
            results = run()
            path.write_text(
                rawdata.dumps({"results": [result.to_dict(users=False) for result in results]}),
                encoding="utf-8",
                newline="\n",
            )
            spent = time.process_time() - before
            means = ", ".join(f"{r.policy} {r.mean:.2f}" for r in results)
            print(f"{name}: {means} ({spent:.0f} s)", flush=True)
        return self.kept(name)

    @staticmethod
    def kept(name: str) -> dict[str, Result]:
        """What is already there."""
        return {result.policy: result for result in read(_path(name))}


def _path(name: str) -> Path:
    return RAW / f"{name}.json"


def far_apart(users: int) -> dict[str, Any]:
    """Slots 114, 228, ..., 798 of the 800: at 1.5 m/s users have crossed the area from one to the next."""
    return {"episodes": EPISODES[users], "first": 114, "every": 114}


def cell(value: Result | Estimate | None, sign: str = "", digits: int = 2) -> str:
    """``mean ± standard error``, or nothing."""
    if value is None:
        return ""
    return f"{value.mean:{sign}.{digits}f} ± {value.standard_error:.{digits}f}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(head)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)) + "\n"
