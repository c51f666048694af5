"""Arrays in files of users, ``.npy`` and ``.npz``: read or mapped, or refused in one message that names the file.

A file from a stranger may be damaged or hostile. Nothing in it is ever unpickled, and what a header claims is compared
with what the file can hold before memory is taken.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from irs_marl_env.checks import shown

LARGEST_ARRAY = 2**30  # bytes, as float64, that are read into memory
MAP_FROM = 2**26  # bytes from which an array in an uncompressed .npz stays in the file and is mapped into memory
_ZIP, _NPY = b"PK", b"\x93NUMPY"
_LOCAL_HEADER = 30  # bytes before the name of a member of a zip file


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
    with _about(path), _opened(path, f"an .npz with an array {name!r}, or an .npy") as file:
        begin = file.read(len(_NPY))
        file.seek(0)
        if begin == _NPY:
            return _read(file, os.fstat(file.fileno()).st_size)
        if begin[:2] == _ZIP:
            return _from_archive(file, name)
        raise ValueError("holds nothing" if not begin else "neither an .npz nor an .npy file")


def load_arrays(path: str, names: Collection[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Arrays of real or complex numbers in an ``.npz`` file, by name.

    From :data:`MAP_FROM` bytes on an array of a file that is not compressed (``numpy.savez``) stays in the file: what
    is returned is a map of it, of which the system reads what is used. All others are read.

    Args:
        path: of the file.
        names: of the arrays that are wanted; each may be missing.

    Returns:
        The arrays that are there, and the names of all other members.

    Raises:
        ValueError: as for :func:`load_array`.
    """
    with _about(path), _opened(path, f"an .npz with arrays {', '.join(names)}") as file:
        if file.read(2) != _ZIP:
            raise ValueError("no .npz file")
        file.seek(0)
        arrays: dict[str, np.ndarray] = {}
        others: list[str] = []
        with _archive(file) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if name not in names:
                    others.append(name)
                    continue
                if name in arrays:
                    raise ValueError(f"holds several arrays {name!r}; must hold one")
                with _about(name):
                    if entry.compress_type == zipfile.ZIP_STORED and entry.file_size >= MAP_FROM:
                        arrays[name] = _mapped(path, file, entry)
                    else:
                        with archive.open(entry) as member:
                            arrays[name] = _read(member, entry.file_size, "fiuc")
        return arrays, others


def is_mapped(array: np.ndarray) -> bool:
    """Whether an array is in a file rather than in memory."""
    base: Any = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    return isinstance(base, np.memmap)


@contextmanager
def _opened(path: str, allowed: str) -> Iterator[IO[bytes]]:
    if not path:
        raise ValueError(f"an empty path; must be that of {allowed}")
    if Path(path).is_dir():
        raise ValueError(f"is a folder; must be {allowed} file")
    if not Path(path).is_file():
        where = "" if Path(path).is_absolute() else f" in {os.getcwd()}"
        raise ValueError(f"no such file{where}; must be {allowed}")
    with open(path, "rb") as file:
        yield file


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Whatever is wrong is a ValueError whose message begins with the path, or with the name of the array."""
    try:
        yield
    except Exception as error:  # zipfile, zlib and numpy raise many kinds of errors over damaged bytes
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        shown_name = name if len(name) <= 300 else f"{name[:297]}..."
        raise ValueError(f"{shown_name}: {reason or type(error).__name__}") from None


def _archive(file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        raise ValueError("a damaged or truncated .npz file") from None


def _from_archive(file: IO[bytes], name: str) -> np.ndarray:
    with _archive(file) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.removesuffix(".npy") == name]
        if not entries:
            names = sorted({entry.removesuffix(".npy") for entry in archive.namelist()})
            raise ValueError(f"holds {shown(names)}; must hold an array {name!r}")
        if len(entries) > 1:
            raise ValueError(f"holds {len(entries)} arrays {name!r}; must hold one")
        with archive.open(entries[0]) as member:
            return _read(member, entries[0].file_size)


def _header(file: IO[bytes], kinds: str) -> tuple[tuple[int, ...], str, np.dtype]:
    """Shape, order and type of the array that begins here in a file or member."""
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
    if dtype.kind not in kinds:
        allowed = "real or complex numbers" if "c" in kinds else "real numbers (float or integer)"
        raise ValueError(f"an array of {str(dtype)[:40]}; must be {allowed}")
    if min(shape, default=1) < 0:
        raise ValueError(f"an array of shape {str(shape)[:60]}; must have as many entries as the file has at most")
    return shape, "F" if fortran_order else "C", dtype


def _read(file: IO[bytes], size: int, kinds: str = "fiu") -> np.ndarray:
    """The array in a file or member of ``size`` bytes."""
    shape, order, dtype = _header(file, kinds)
    count = math.prod(shape)
    if count * max(dtype.itemsize, 8) > LARGEST_ARRAY:  # as float64, which real numbers become
        most = f"must be at most {LARGEST_ARRAY >> 30} GiB"
        way = "; larger ones in an .npz that is not compressed (numpy.savez)" if "c" in kinds else " as float64"
        raise ValueError(f"an array of shape {str(shape)[:60]}; {most}{way}")
    needed, rest = count * dtype.itemsize, size - file.tell()
    data = file.read(needed + 1) if rest >= needed else b""
    _check_length(len(data), needed, shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def _check_length(found: int, needed: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if found < needed:
        raise ValueError(f"truncated: an array of shape {str(shape)[:60]} and {str(dtype)[:40]} needs {needed} bytes")
    if found > needed:
        raise ValueError(f"more bytes than an array of shape {str(shape)[:60]} and {str(dtype)[:40]} has")


def _mapped(path: str, file: IO[bytes], entry: zipfile.ZipInfo) -> np.ndarray:
    """The array in an uncompressed member, mapped into memory."""
    file.seek(entry.header_offset)
    local = file.read(_LOCAL_HEADER)
    if len(local) < _LOCAL_HEADER or local[:4] != b"PK\x03\x04" or entry.flag_bits & 1:
        raise ValueError("a damaged or encrypted member")
    begin = file.tell() + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    file.seek(begin)
    shape, order, dtype = _header(file, "fiuc")
    end = min(begin + entry.file_size, os.fstat(file.fileno()).st_size)
    _check_length(end - file.tell(), math.prod(shape) * dtype.itemsize, shape, dtype)
    mapped = np.memmap(path, dtype, "r", file.tell(), shape, "F" if order == "F" else "C")
    return np.asarray(mapped)


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
