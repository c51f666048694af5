"""What the speed benchmarks share: interleaved CPU times, cells of tables, the machine, and writing into a page."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
PACKAGES = ("numpy", "numba", "torch", "gymnasium", "pettingzoo")


class Case(NamedTuple):
    """Something to time: ``run`` does ``steps`` environment steps a call.

    ``wait`` returns when all that was asked for is done: a GPU works on while the program goes on.
    """

    run: Callable[[], object]
    steps: int = 1
    wait: Callable[[], object] = lambda: None


class Times(NamedTuple):
    """Seconds of a clock per environment step, one entry a repeat."""

    seconds: list[float]

    @property
    def least(self) -> float:
        return min(self.seconds)

    @property
    def middle(self) -> float:
        return median(self.seconds)

    def ratio(self, reference: Times) -> float:
        """Median of the ratios to the reference's sample of the same repeat, so that a slow moment hits both."""
        return median(a / b for a, b in zip(self.seconds, reference.seconds, strict=True))


Clock = Callable[[], float]


def interleaved(
    cases: Mapping[str, Case], repeats: int, sample_s: float, clock: Clock = time.process_time
) -> dict[str, Times]:
    """Time the cases in turns: A B C A B C ...

    Args:
        cases: by name.
        repeats: samples of each case.
        sample_s: seconds that a sample should last; it holds at least one call.
        clock: counts seconds of this process on a CPU; :func:`time.perf_counter` where it waits for a GPU.
    """
    calls = {name: calls_within(case, sample_s, clock) for name, case in cases.items()}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            seconds[name].append(sample(case, calls[name], clock))
    return {name: Times(values) for name, values in seconds.items()}


def sample(case: Case, calls: int, clock: Clock = time.process_time) -> float:
    """Seconds of the clock per environment step over some calls."""
    case.wait()
    before = clock()
    for _ in range(calls):
        case.run()
    case.wait()
    return (clock() - before) / (calls * case.steps)


def calls_within(case: Case, sample_s: float, clock: Clock = time.process_time) -> int:
    """Calls that last about ``sample_s``, found after three to warm up (compilation, caches, first pages)."""
    for _ in range(3):
        case.run()
    case.wait()
    calls, spent = 0, 0.0
    before = clock()
    while spent < sample_s / 4 or calls < 2:
        case.run()
        calls += 1
        case.wait()
        spent = clock() - before
    return max(1, round(sample_s * calls / max(spent, 1e-9)))


def duration(seconds: float) -> str:
    """Three digits and a unit: ``13.2 us``."""
    scale, unit = (1e6, "us") if seconds < 1e-3 else (1e3, "ms") if seconds < 1 else (1, "s")
    return f"{float(f'{seconds * scale:.3g}'):g} {unit}"


def cell(times: Times | None, reference: Times | None = None) -> str:
    """Least and median time, and the ratio to a reference; a dash where nothing was measured."""
    if times is None:
        return "-"
    text = f"{duration(times.least)} / {duration(times.middle)}"
    return text if reference is None else f"{text} ({times.ratio(reference):.2f})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def machine() -> str:
    """The machine class, the versions and the commit a table was measured with."""
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {package}")
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")  # not on Windows
    return (
        f"{_cpu()}, {os.cpu_count()} cores, {ram:.0f} GiB RAM, load average {load:.1f}; {', '.join(versions)}; "
        f"commit {_commit()}.\n"
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    known = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    family = f" (family {known['cpu family'].strip()}, model {known['model'].strip()})" if "cpu family" in known else ""
    return known.get("model name", platform.machine()).strip() + family


def _commit() -> str:
    """The commit of the package's sources, marked where they differ from it."""
    here = Path(__file__).resolve().parents[1]
    git = ("git", "-C", str(here))
    try:
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "irs_marl_env"], capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + (" with changes to irs_marl_env" if changed.returncode else "")


def write_between(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->`` in a page.

    Raises:
        ValueError: the page has not exactly one such pair.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, *rest = page.read_text(encoding="utf-8").split(begin)
    after = rest[0].split(end) if len(rest) == 1 else []
    if len(after) != 2:
        raise ValueError(f"{page}: must hold {begin} and {end} once each, in this order")
    page.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after[1]}", encoding="utf-8", newline="\n")
