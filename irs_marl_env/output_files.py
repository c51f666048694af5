"""Files to write: refused before the work where they cannot be, and complete or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def check_out(path: Path, flag: str = "--out", moved: bool = False) -> None:
    """Refuse a file that could not be written, before the work.

    Args:
        path: of the file.
        flag: what a message calls it.
        moved: it is written beside its place first, as by :func:`replacing`.

    Raises:
        ValueError: it is a folder, its folder is not there, or there is no right to write.
    """
    if path.is_dir():
        raise ValueError(f"{flag} {path}: is a folder, must be a file")
    if not path.parent.is_dir():
        raise ValueError(f"{flag} {path}: no such folder")
    places = [path, path.parent] if moved and path.exists() else [path if path.exists() else path.parent]
    if not all(os.access(place, os.W_OK) for place in places):
        raise ValueError(f"{flag} {path}: cannot be written here, must be a place with the right to write")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, with the same ending; it takes the place of ``path`` at the end, and vanishes on an error.

    What must outlive a loss of power, a checkpoint, is written by :mod:`irs_marl_env.training.files`.
    """
    partial = path.with_name(f".{secrets.token_hex(6)}.part{path.suffix}")  # a short name, and one for each writer
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
