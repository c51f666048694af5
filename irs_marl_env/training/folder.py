"""The folder of a run: what is in it, who may write there, and which of its checkpoints a run goes on from."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from os.path import expanduser  # Path's own raises RuntimeError where there is no such user
from pathlib import Path
from typing import Any

from irs_marl_env.scenario_text import names_a_file
from irs_marl_env.signals import Stopped
from irs_marl_env.training.files import Damaged, move, read_json, replacing, write_json
from irs_marl_env.training.settings import Args, restored_args

CHECKPOINT = "checkpoint.safetensors"  # everything that decides how the run goes on
NEXT = "checkpoint.next.safetensors"  # one that takes its place in a moment
PREVIOUS = "checkpoint.previous.safetensors"  # the one before it
DAMAGED = "checkpoint.damaged.safetensors"  # one that could not be read
POLICY = "policy.safetensors"  # the trained actors
ARGS = "args.json"  # the settings
SCENARIO = "scenario.json"  # copy of the file that --scenario named, if it named one
RESULT = "result.json"
CURVE = "curve.png"
LOCK = ".lock"  # held by the process that trains here; the file alone means nothing


# --- settings --------------------------------------------------------------------------------------------------------


def folder_of(args: Args) -> tuple[Args, Path]:
    """The settings and the folder of a new run or, with ``--resume``, of one that is there.

    Raises:
        ValueError: there is a run in the folder of a new run, or none in that of a run to resume; another process
            trains there; or its settings are not those of this trainer.
    """
    if args.resume is not None:
        folder = Path(expanduser(args.resume))
        if not (folder / ARGS).is_file():
            raise ValueError(f"--resume {folder}: no {ARGS} there; must be the folder of a run")
        with held(folder):
            pass  # said now rather than after the environments are made
        args = restored_args(read_json(folder / ARGS), folder / ARGS)
        return (replace(args, scenario=str(folder / SCENARIO)) if names_a_file(args.scenario) else args), folder
    stamp = time.strftime("%Y%m%d-%H%M%S")
    scenario = Path(args.scenario).stem if names_a_file(args.scenario) else args.scenario
    folder = Path(expanduser(args.out)) / (args.name or f"{args.algo}-{scenario}-s{args.seed}-{stamp}")
    _refuse_a_run_in(folder)
    return args, folder


def _refuse_a_run_in(folder: Path) -> None:
    if (folder / ARGS).exists():
        raise ValueError(f"{folder} holds a run already: --resume {folder}, or another --name")
    left = [name for name in (CHECKPOINT, PREVIOUS, RESULT, POLICY) if (folder / name).exists()]
    if left:  # a new run would go on from them, or be taken for what it is not
        raise ValueError(f"{folder} holds {', '.join(left)} of a run without its {ARGS}: another --name")


@contextmanager
def opened(folder: Path, args: Args, new: bool) -> Iterator[None]:
    """The folder of a run, for this process alone, with the settings of a new run in it.

    A scenario file is copied beside them, so that the run can go on whatever becomes of the file.

    Args:
        folder: of the run; it is made if it is not there.
        args: settings of the run.
        new: whether the run begins now.

    Raises:
        ValueError: another process trains there or, in the meantime, a run has begun where a new one shall be.
        OSError: the folder cannot be written.
        Stopped: as it was raised inside, with the folder, where the run can go on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        if new:
            _refuse_a_run_in(folder)
            if names_a_file(args.scenario):
                with replacing(folder / SCENARIO) as partial:
                    shutil.copyfile(args.scenario, partial)
            write_json(folder / ARGS, asdict(args))
        try:
            yield
        except Stopped as stopped:
            stopped.folder = folder
            raise


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """A folder for this process alone. The operating system lets go of it when the process ends, however it does.

    Raises:
        ValueError: another process has it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"{folder}: another process trains there at the moment; wait until it ends, or stop it"
        ) from None
    try:
        yield
    finally:
        lock.release()


# --- checkpoints -----------------------------------------------------------------------------------------------------


def keep_checkpoint(folder: Path, save: Callable[[Path], None]) -> None:
    """Write a checkpoint and keep the one before it.

    Args:
        folder: of the run.
        save: writes a checkpoint to a path.

    Raises:
        OSError: it cannot be written; the checkpoints that are there stay.
    """
    newest = folder / CHECKPOINT
    save(folder / NEXT)
    if newest.is_file():
        _name_again(newest, folder / PREVIOUS)
    move(folder / NEXT, newest)


def _name_again(newest: Path, previous: Path) -> None:
    """Give the newest checkpoint the name of the previous one, so that there is one under each name all the time."""
    second = previous.with_name(f".{previous.name}.partial")
    try:
        second.unlink(missing_ok=True)
        os.link(newest, second)
    except OSError:  # a file system without a second name for a file: for a moment there is the previous one alone
        move(newest, previous)
    else:
        move(second, previous)


def go_on(folder: Path, load: Callable[[Path], None]) -> Path | None:
    """Load the newest checkpoint that is as it was written, and say so where it is not the last one.

    Args:
        folder: of the run.
        load: reads a checkpoint.

    Returns:
        The checkpoint; ``None`` if the run has none yet.

    Raises:
        ValueError: the checkpoints are damaged, or belong to a run with other settings.
    """
    newest, previous = folder / CHECKPOINT, folder / PREVIOUS
    if newest.is_file():
        try:
            load(newest)
            return newest
        except Damaged as error:
            if not previous.is_file():
                raise ValueError(f"{error}; there is no checkpoint before it: begin anew with another --name") from None
            damage = str(error)
        try:
            load(previous)
        except Damaged as error:
            raise ValueError(f"{damage}; nor is the one before it of use: {error}") from None
        os.replace(newest, folder / DAMAGED)  # it must not push out the good one
        print(f"{damage}; it is kept as {DAMAGED}, and the run goes on from the one before it, {previous}")
        return previous
    if previous.is_file():
        load(previous)
        print(f"{newest} is missing: the run goes on from the one before it, {previous}")
        return previous
    return None


# --- where a run ran -------------------------------------------------------------------------------------------------


def provenance() -> dict[str, Any]:
    """Versions of what decides the numbers, and the commit this ran on (``None`` outside a repository).

    The commit ends in ``-dirty`` where files differ from it. Pages and results do not count: the commands that make
    results write them, and no number comes from them.
    """
    git: dict[str, Any] = {"cwd": Path(__file__).parent, "capture_output": True, "text": True}
    try:
        described = subprocess.run(["git", "describe", "--always", "--abbrev=40"], check=True, **git)
        commit: str | None = described.stdout.strip()
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", ":/", ":/!docs", ":/!results"], **git)
        commit = f"{commit}-dirty" if changed.returncode else commit
    except (OSError, subprocess.CalledProcessError):
        commit = None
    packages: dict[str, str | None] = {}
    for name in ("irs-marl-env", "torch", "numpy", "gymnasium", "pettingzoo", "numba"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:  # numba: its kernels round otherwise, and trainings amplify that
            packages[name] = None
    return {"commit": commit, "python": platform.python_version(), **packages}
