"""Arrays in files of users, ``.npy`` and ``.npz``: read, or refused in one message that names the file.

A file from a stranger may be damaged or hostile. Nothing in it is ever unpickled, and what a header claims is compared
with what the file can hold before memory is taken.
"""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from irs_marl_env.checks import shown

LARGEST_ARRAY = 2**30  # bytes, as float64
_ZIP, _NPY = b"PK", b"\x93NUMPY"


def path_of(value: Any) -> str | None:
    """A path (``str`` or ``os.PathLike``) as text, with forward slashes where it is a ``Path``; ``None`` is no path."""
    if isinstance(value, Path):
        return value.as_posix()
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    return path if isinstance(path, str) else None


def load_array(path: str, name: str) -> np.ndarray:
    """The real numbers of an ``.npy`` file, or of the array ``name`` in an ``.npz`` file.

    What the file is, its first bytes say; its name does not count.

    Raises:
        ValueError: there is no such file, it cannot be read, is damaged or something else, or holds no such array of
            real numbers; the message begins with the path.
    """
    try:
        if Path(path).is_dir():
            raise ValueError("is a folder; must be an .npz or .npy file")
        if not Path(path).is_file():
            raise ValueError(f"no such file; must be an .npz with an array {name!r}, or an .npy")
        with open(path, "rb") as file:
            begin = file.read(len(_NPY))
            file.seek(0)
            if begin == _NPY:
                return _read(file, os.fstat(file.fileno()).st_size)
            if begin[:2] == _ZIP:
                return _from_archive(file, name)
        raise ValueError("holds nothing" if not begin else "neither an .npz nor an .npy file")
    except Exception as error:  # zipfile, zlib and numpy raise many kinds of errors over damaged bytes
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        shown_path = path if len(path) <= 300 else f"{path[:297]}..."
        raise ValueError(f"{shown_path}: {reason or type(error).__name__}") from None


def _from_archive(file: IO[bytes], name: str) -> np.ndarray:
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        raise ValueError("a damaged or truncated .npz file") from None
    with archive:
        entries = [entry for entry in archive.infolist() if entry.filename.removesuffix(".npy") == name]
        if not entries:
            names = sorted({entry.removesuffix(".npy") for entry in archive.namelist()})
            raise ValueError(f"holds {shown(names)}; must hold an array {name!r}")
        if len(entries) > 1:
            raise ValueError(f"holds {len(entries)} arrays {name!r}; must hold one")
        with archive.open(entries[0]) as member:
            return _read(member, entries[0].file_size)


def _read(file: IO[bytes], size: int) -> np.ndarray:
    """The array in a file or member of ``size`` bytes."""
    try:
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        version = np.lib.format.read_magic(file)
        if version not in readers:  # later ones are for names of structured types
            raise ValueError(f"version {version}")
        shape, fortran_order, dtype = readers[version](file)
    except OSError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:80]
        raise ValueError(f"a damaged or truncated header of an array ({reason})") from None
    if dtype.kind not in "fiu":
        raise ValueError(f"an array of {str(dtype)[:40]}; must be real numbers (float or integer)")
    count = math.prod(shape)
    if min(shape, default=1) < 0 or count * max(dtype.itemsize, 8) > LARGEST_ARRAY:  # as float64, which it becomes
        raise ValueError(f"an array of shape {str(shape)[:60]}; must be at most {LARGEST_ARRAY >> 30} GiB as float64")
    needed, rest = count * dtype.itemsize, size - file.tell()
    data = file.read(needed + 1) if rest >= needed else b""
    if len(data) < needed:
        raise ValueError(f"truncated: an array of shape {str(shape)[:60]} and {str(dtype)[:40]} needs {needed} bytes")
    if len(data) > needed:
        raise ValueError(f"more bytes than an array of shape {str(shape)[:60]} and {str(dtype)[:40]} has")
    flat = np.frombuffer(data, dtype)
    return flat.reshape(shape, order="F" if fortran_order else "C")


def real_numbers(value: Any) -> np.ndarray:
    """Numbers from outside as a new float64 array.

    Raises:
        ValueError: they are no array, or texts, booleans, complex numbers, dates or objects.
    """
    try:
        array = np.asarray(value)
    except Exception as error:  # ragged lists, tensors elsewhere, and whatever somebody else's object raises
        raise ValueError("not an array of numbers") from error
    if array.dtype.kind not in "fiu":
        raise ValueError(f"an array of {array.dtype}")
    with np.errstate(over="ignore"):  # long doubles beyond float64 become infinite, which is refused
        return np.array(array, dtype=np.float64)
