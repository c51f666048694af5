"""One file of a run: tensors and JSON that are complete or not there at all, and are noticed when they are damaged."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

FORMAT = 2  # of files with tensors; files of format 1 name none and have no digest
_FOREIGN = "not a checkpoint or policy of this trainer"
_RENAME_TRIES = 20  # on Windows a file that somebody reads, such as a virus scanner, cannot be replaced for a moment


class Damaged(ValueError):
    """A file does not hold what was written into it."""


# --- writing ---------------------------------------------------------------------------------------------------------


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of ``path`` when the context ends, and vanishes if there is an error.

    Raises:
        OSError: names ``path``, which is as it was.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        replace_file(partial, path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, (OSError, SafetensorError)):
            reason = getattr(error, "strerror", None) or error
            raise OSError(f"{path}: cannot be written ({reason})") from None
        raise


def replace_file(partial: Path, path: Path) -> None:
    """Move a finished file to its place once it is on the disk."""
    with partial.open("r+b") as file:  # Windows cannot flush what is open for reading alone
        os.fsync(file.fileno())
    move(partial, path)


def move(source: Path, target: Path) -> None:
    """Rename a file over another one, and wait until the folder knows."""
    for left in reversed(range(_RENAME_TRIES)):
        try:
            os.replace(source, target)
            break
        except PermissionError:
            if os.name != "nt" or not left:
                raise
            time.sleep(0.05)
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        except OSError:  # a file system that does not do this for folders
            pass
        finally:
            os.close(folder)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], plain: dict[str, Any]) -> None:
    """Write a safetensors file with JSON and a digest of everything in its header.

    Raises:
        OSError: names the file; what was there before is still there.
    """
    real = {}
    for name, value in tensors.items():
        value = value.detach().cpu()
        if value.is_complex():
            name, value = f"{name}|complex", torch.view_as_real(value)
        real[name] = value.contiguous()
    owners = Counter(value.untyped_storage().data_ptr() for value in real.values())
    for name, value in real.items():
        if owners[value.untyped_storage().data_ptr()] > 1:  # the library takes no tensors that share their memory
            real[name] = value.clone()
    text = json.dumps(plain)
    with replacing(path) as partial:
        save_file(real, partial, metadata={"format": str(FORMAT), "json": text, "sha256": _digest(real, text)})


def write_json(path: Path, content: Any) -> None:
    """Write JSON.

    Raises:
        OSError: names the file; what was there before is still there.
    """
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8", newline="\n")


def _digest(tensors: dict[str, torch.Tensor], text: str) -> str:
    """SHA-256 of the JSON text and of every tensor's name, type, shape and bytes."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        found.update(repr((name, str(value.dtype), tuple(value.shape))).encode())
        data: Any = value.reshape(-1).view(torch.uint8).numpy()
        found.update(data)
    return found.hexdigest()


# --- reading ---------------------------------------------------------------------------------------------------------


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote, in this or an earlier version.

    Raises:
        Damaged: the file is something else, or not as it was written.
        ValueError: a later version wrote it.
        OSError: the file cannot be read.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, must be a file")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            _check_format(path, about)
            raw = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  (not a dict)
        text = about["json"]
        if "sha256" in about and about["sha256"] != _digest(raw, text):
            raise Damaged(f"{path}: damaged (its data do not have the digest that was written with them)")
        plain = json.loads(text)
        if not isinstance(plain, dict):
            raise TypeError(f"its JSON is a {type(plain).__name__}")
        return dict(_restored(name, value) for name, value in raw.items()), plain
    except OSError as error:
        raise OSError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (_Newer, Damaged):
        raise
    except Exception as error:  # what a hostile file makes of the parsers
        raise Damaged(f"{path}: {_FOREIGN} ({type(error).__name__}: {error})") from None


class _Newer(ValueError):
    """A file of a later version."""


def _check_format(path: Path, about: dict[str, str]) -> None:
    if set(about) == {"json"}:
        return  # format 1
    number = about.get("format", "")
    if not number.isdecimal():
        raise Damaged(f"{path}: {_FOREIGN} (it names no format)")
    if int(number) > FORMAT:
        raise _Newer(
            f"{path}: a later version of the trainer wrote it (format {number}; this version reads up to {FORMAT})"
        )
    if int(number) != FORMAT or set(about) != {"format", "json", "sha256"}:
        raise Damaged(f"{path}: {_FOREIGN} (its header is not that of format {FORMAT})")


def _restored(name: str, value: torch.Tensor) -> tuple[str, torch.Tensor]:
    plain_name, _, kind = name.partition("|")
    return plain_name, torch.view_as_complex(value) if kind else value


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: the file holds something else.
        OSError: the file cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}, must be a JSON object")
    return content
