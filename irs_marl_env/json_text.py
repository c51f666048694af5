"""JSON of users: read whatever an editor made of it, or refused in one message.

Scenarios and results are read here. Files may begin with a byte order mark and may be UTF-8, UTF-16 or UTF-32, which
editors on Windows write. A key that stands twice, which JSON readers pass over in silence, hides a mistake and is
refused.
"""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

from irs_marl_env.checks import shown

LARGEST_FILE = 2**30  # bytes


def read_text(path: str | PathLike[str]) -> str:
    """The text of a file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        ValueError: the bytes are no such text, or more than 1 GiB; the message names the file.
        OSError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:  # of an error while reading Python does not say in which file
        raise OSError(error.errno, error.strerror or str(error), str(path)[:300]) from None
    except ValueError as error:  # a name with a null character or a lone surrogate
        raise ValueError(f"{shown(str(path))}: no name of a file ({error})") from None
    if len(raw) > LARGEST_FILE:
        raise ValueError(f"{path}: the file is larger than 1 GiB, so it is neither a scenario nor results")
    try:
        return decoded(raw)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def decoded(raw: bytes) -> str:
    """Text from bytes in UTF-8, UTF-16 or UTF-32.

    Raises:
        ValueError: they are in none of them.
    """
    encoding = json.detect_encoding(raw)
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        where = f"byte {error.start}: {error.reason}"
        raise ValueError(f"not a text in UTF-8, UTF-16 or UTF-32 ({where})") from None


def parse(text: str | bytes) -> Any:
    """The value of a JSON text.

    ``NaN`` and infinities are left to the fields, whose messages have a name; an integer of more digits than Python
    converts becomes infinite, too, as ``1e999`` does.

    Raises:
        ValueError: the text is no JSON, is nested too deeply, or holds a key twice.
    """
    if not isinstance(text, (str, bytes, bytearray)):
        raise ValueError(f"must be a text or bytes, not {type(text).__name__}")
    if not isinstance(text, str):
        text = decoded(bytes(text))
    try:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_object, parse_int=_integer)
    except json.JSONDecodeError as error:
        if not text.strip("\ufeff \t\r\n"):
            raise ValueError("there is nothing in it") from None
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("lists or objects are nested too deeply") from None


def parse_object(text: str | bytes, what: str) -> dict[str, Any]:
    """The JSON object that a text holds.

    Args:
        text: JSON.
        what: what it should be, for the message.

    Raises:
        ValueError: as for :func:`parse`, or the value is no object.
    """
    try:
        value = parse(text)
    except ValueError as error:
        raise ValueError(f"not {what} in JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"not {what}: {what} in JSON is an object, not {type(value).__name__}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f"the key {shown(name)} stands twice")
        values[name] = value
    return values


def _integer(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # Python's limit of digits
        return float(digits)
