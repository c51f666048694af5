"""What a change costs: every row of the tables of steps, now and at an earlier commit, in one run.

    python benchmarks/against.py HEAD~1
    python benchmarks/against.py 8dca1bf --scenarios mdlbi-small-v0 --repeats 31

The package of the earlier commit is checked out beside this one. Each row is timed in two processes, one a package,
which run in turns, so that a busy neighbour hits both. The first ratio is the median over the pairs, the second that of
the least times. The benchmark itself is today's on both sides. The first step of the earlier package compiles its
kernels, which takes half a minute.
"""

from __future__ import annotations

import os

# before numpy is imported
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import tyro
from step import STRUCTURED_VARIANTS, VARIANTS
from timing import PAGE, calls_within, duration, machine, sample, table, write_between

ROOT = Path(__file__).resolve().parents[1]
TABLES = {"raw": VARIANTS, "structured": STRUCTURED_VARIANTS}


@dataclass
class Args:
    """Settings of the comparison."""

    commit: Annotated[str, tyro.conf.Positional]
    """what to compare with"""
    scenarios: tuple[str, ...] = ("mdlbi-small-v0", "mdlbi-k30-v0", "mdlbi-large-v0")
    tables: tuple[str, ...] = ("raw", "structured")
    rows: tuple[str, ...] = ()
    """beginnings of labels; none: all rows"""
    repeats: int = 15
    """pairs of samples of each row"""
    sample_s: float = 0.1
    """CPU seconds of a sample"""
    write: bool = False
    """put the table into docs/performance.md"""


class Worker:
    """A process that times one row with one package whenever it is asked.

    Args:
        package: folder that holds ``irs_marl_env``.
        kind, label, scenario: the row.
        sample_s: CPU seconds of a sample.
    """

    def __init__(self, package: Path, kind: str, label: str, scenario: str, sample_s: float) -> None:
        command = [sys.executable, __file__, "--worker", kind, label, scenario, str(sample_s)]
        environment = {**os.environ, "PYTHONPATH": str(package)}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker ended with {self._process.wait()}")
        return line

    def seconds(self) -> float:
        """CPU seconds per environment step of one more sample."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def work(kind: str, label: str, scenario: str, sample_s: float) -> None:
    """A worker's life: build the row, then a sample for every line that comes in."""
    case = TABLES[kind][label][1](scenario)
    calls = calls_within(case, sample_s)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(sample(case, calls), flush=True)


def compare(earlier: Path, kind: str, label: str, scenario: str, args: Args) -> tuple[float, float, float]:
    """Least seconds of both packages and the median ratio, now over then."""
    workers = [Worker(package, kind, label, scenario, args.sample_s) for package in (earlier, ROOT)]
    pairs = [tuple(worker.seconds() for worker in workers) for _ in range(args.repeats)]
    for worker in workers:
        worker.close()
    then, now = (min(pair[i] for pair in pairs) for i in range(2))
    return then, now, median(pair[1] / pair[0] for pair in pairs)


def main(args: Args) -> None:
    """Print the table."""
    stamp = machine()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        earlier = Path(folder) / "earlier"
        subprocess.run(["git", "worktree", "add", "--detach", "-q", str(earlier), args.commit], cwd=ROOT, check=True)
        try:
            for kind in args.tables:
                for label in TABLES[kind]:
                    if label.startswith(args.rows or "") and not label.startswith("for scale"):
                        cells = []
                        for scenario in args.scenarios:
                            then, now, ratio = compare(earlier, kind, label, scenario, args)
                            cells.append(f"{duration(then)} / {duration(now)} ({ratio:.2f}, {now / then:.2f})")
                        rows.append([f"{label} ({kind})", *cells])
                        print(*rows[-1], sep="; ", file=sys.stderr, flush=True)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(earlier)], cwd=ROOT, check=True)
    text = (
        table([f"at {args.commit} / now (ratios)", *args.scenarios], rows)
        + "\nLeast times; median of the ratios, ratio of the least. "
        + stamp
    )
    print(text)
    if args.write:
        write_between(PAGE, "against", text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        kind, label, scenario, sample_s = sys.argv[2:]
        work(kind, label, scenario, float(sample_s))
    else:
        main(tyro.cli(Args, description=__doc__))
