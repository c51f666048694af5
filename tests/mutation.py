"""Mutation check: does a test notice when a line of the package says something else?

    python -m tests.mutation              # all mutations of tests/mutations.txt, about half an hour on one core
    python -m tests.mutation --list       # their numbers
    python -m tests.mutation --only 7 12  # some of them

Each mutation replaces one line in a copy of the project and runs the tests that should notice. It is *killed* if one of
them fails and has *survived* if all pass. The tests are run on the unchanged copy first, since a test that fails anyway
notices nothing. Exit code 1 if a mutation survived or a run came to no result.

A line of tests/mutations.txt begins with

- ``@``: a file, and behind a colon the tests that should notice (arguments of pytest);
- ``-``: a line of that file, without its indentation, which must stand there exactly once;
- ``+``: what replaces it;
- ``~``: why no test can notice: the mutation before it means the same. It is listed and not run;
- ``#``: a comment.
"""

from __future__ import annotations

import os

# before numpy is imported
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import argparse
import contextlib
import importlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("mutations.txt")
COPIED = ("irs_marl_env", "tests", "examples", "experiments", "benchmarks", "docs", "pyproject.toml", "README.md")
OPTIONS = ("-x", "-q", "--tb=no", "-p", "no:cacheprovider", "--hypothesis-profile=mutation")
PRELOADED = (
    "scipy.optimize",
    "scipy.stats",
    "pettingzoo",
    "numba",
    "array_api_compat.torch",
    "safetensors.torch",
    "tyro",
)
LIMIT_S = 900  # a mutation that lets a test run for ever counts as killed
PASSED, FAILED = 0, 1  # exit codes of pytest; all others say that there was no result


class Mutation(NamedTuple):
    """One line of the package, changed."""

    path: str
    tests: tuple[str, ...]
    line: str
    mutant: str
    equivalent: str = ""  # why it means the same

    def apply(self, text: str) -> str:
        """The text of the file with the line replaced.

        Raises:
            ValueError: the line does not stand in it exactly once, or the mutation changes nothing.
        """
        lines = text.split("\n")
        at = [i for i, line in enumerate(lines) if line.strip() == self.line]
        if len(at) != 1:
            raise ValueError(f"{self.path} has {len(at)} lines {self.line!r}: must have exactly one")
        if self.line == self.mutant:
            raise ValueError(f"{self.path}: the mutation of {self.line!r} changes nothing")
        indentation = lines[at[0]][: len(lines[at[0]]) - len(lines[at[0]].lstrip())]
        return "\n".join([*lines[: at[0]], indentation + self.mutant, *lines[at[0] + 1 :]])


def read(path: Path = LIST) -> list[Mutation]:
    """The mutations of a list.

    Raises:
        ValueError: a line that begins with none of the marks, or stands where it cannot.
    """
    found: list[Mutation] = []
    where, tests, line = "", (), None
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        mark, rest = text[:1], text[1:].strip()
        if mark == "@":
            where, _, named = rest.partition(":")
            where, tests = where.strip(), tuple(named.split())
        elif mark == "-" and line is None:
            line = rest
        elif mark == "+" and line is not None and tests:
            found.append(Mutation(where, tests, line, rest))
            line = None
        elif mark == "~" and line is None and found:
            found[-1] = found[-1]._replace(equivalent=rest)
        elif text.strip() and mark != "#":
            raise ValueError(f"{path}, line {number}: {text!r} is no part of a mutation that could stand here")
    if line is not None:
        raise ValueError(f"{path}: {line!r} is replaced by nothing")
    return found


# --- a copy of the project -------------------------------------------------------------------------------------------


def copy_project(folder: Path) -> None:
    """What the tests need, with the compiled kernels that are there."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)  # with times, by which Python and numba know what is up to date
        elif source.is_file():
            shutil.copy2(source, folder / name)


def run_tests(folder: Path, tests: tuple[str, ...]) -> int | None:
    """Exit code of pytest in a copy; ``None``: stopped after :data:`LIMIT_S`."""
    if not hasattr(os, "fork"):
        env = {**os.environ, "PYTHONPATH": str(folder)}
        command = [sys.executable, "-m", "pytest", *OPTIONS, *tests]
        try:
            return subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=LIMIT_S).returncode
        except subprocess.TimeoutExpired:
            return None
    preload()
    child = os.fork()
    if child == 0:
        _become_pytest(folder, tests)
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@cache
def preload() -> None:
    """Import what tests need of other packages, once: a fork has it, and nothing of this project."""
    for module in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


def _become_pytest(folder: Path, tests: tuple[str, ...]) -> NoReturn:
    """Run pytest in a fork, silently, and end with its exit code."""
    code = 3  # pytest's for an error inside
    try:
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(folder)  # of processes that tests start
        sys.path[:] = [str(folder), *(path for path in sys.path if Path(path or ".").resolve() != ROOT)]
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        import pytest

        code = int(pytest.main([*OPTIONS, *tests]))
    finally:
        os._exit(code)


def forget_compiled(folder: Path, path: str) -> None:
    """Delete what was compiled from a file. Numba does not know which kernels call a changed one: all of them."""
    file = folder / path
    kept = file.parent / "__pycache__"
    for compiled in kept.glob(f"{file.stem}.*.pyc"):
        compiled.unlink()
    if file.parent.name == "kernels":
        for compiled in (*kept.glob("*.nbi"), *kept.glob("*.nbc")):
            compiled.unlink()


def tried(folder: Path, mutation: Mutation) -> str:
    """What became of a mutation: ``"killed"``, ``"survived"`` or why there was no result."""
    file = folder / mutation.path
    before = file.read_bytes()
    times = file.stat()
    file.write_text(mutation.apply(before.decode("utf-8")), encoding="utf-8", newline="")
    forget_compiled(folder, mutation.path)
    try:
        code = run_tests(folder, mutation.tests)
    finally:
        file.write_bytes(before)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        forget_compiled(folder, mutation.path)
    if code in (FAILED, None):
        return "killed"
    return "survived" if code == PASSED else f"no result: pytest ended with {code}"


def main(argv: list[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the mutations and run nothing")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="run the mutations with these numbers alone")
    args = parser.parse_args(argv)
    mutations = dict(enumerate(read(), 1))
    unknown = [n for n in args.only or () if n not in mutations]
    if unknown:
        parser.error(f"--only {unknown[0]}: must be in 1 ... {len(mutations)}")
    chosen = {n: m for n, m in mutations.items() if args.only is None or n in args.only}
    if args.list:
        for n, m in chosen.items():
            print(f"{n}: {m.path}\n    - {m.line}\n    + {m.mutant}" + (f"\n    ~ {m.equivalent}" * bool(m.equivalent)))
        return 0
    chosen = {n: m for n, m in chosen.items() if not m.equivalent}
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the copy is removed
    with tempfile.TemporaryDirectory(prefix="mutation-") as name:
        return _run(Path(name), chosen)


def _run(folder: Path, chosen: dict[int, Mutation]) -> int:
    """Try the mutations in a new folder, and print what became of them."""
    copy_project(folder)
    for mutation in chosen.values():  # before anything runs
        mutation.apply((folder / mutation.path).read_text(encoding="utf-8"))
    results: dict[int, str] = {}
    unchanged: dict[tuple[str, ...], bool] = {}  # whether the tests pass there
    for n, mutation in chosen.items():
        start = time.monotonic()
        if mutation.tests not in unchanged:
            unchanged[mutation.tests] = run_tests(folder, mutation.tests) == PASSED
        passes = unchanged[mutation.tests]
        results[n] = tried(folder, mutation) if passes else "no result: the tests fail without the mutation"
        print(f"{n}: {results[n]} ({time.monotonic() - start:.0f} s): {mutation.path}: {mutation.mutant}", flush=True)
    rest = {n: result for n, result in results.items() if result != "killed"}
    print(f"\n{len(results)} mutations, {len(results) - len(rest)} killed")
    for n, result in rest.items():
        m = chosen[n]
        print(f"{n}: {result}\n    {m.path}\n    - {m.line}\n    + {m.mutant}\n    tests: {' '.join(m.tests)}")
    return 1 if rest else 0


if __name__ == "__main__":
    raise SystemExit(main())
