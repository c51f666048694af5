"""The layout of result files: JSON in which one episode, or one point of a curve, or one seed stands on one line.

Any JSON reader understands it. Two versions of a file are compared line by line, and a file has neither one line for
every number nor one line for everything.
"""

from __future__ import annotations

import json
from typing import Any

WIDTH = 120  # columns; only rows and records may be longer
PER_LINE = 10  # numbers of a long list without inner lists, so that line i begins with entry 10 i
RECORD = 12  # the most entries of an object that stands on one line whatever its length


def dumps(value: Any) -> str:
    """JSON text, ending in a newline.

    Each item of a list of lists stands on a line of its own, and so does each small object, such as a point of a curve.
    A long list of numbers has ten of them on each line. Settings share lines as far as they fit.

    Args:
        value: JSON types only.

    Raises:
        ValueError: a number is not finite.

    Example:
        >>> print(dumps({"rates": [[[1.5, 2.0], [3.0, 4.5]], [[0.5, 1.0], [2.5, 3.5]]]}), end="")
        {
         "rates": [
          [[1.5, 2.0], [3.0, 4.5]],
          [[0.5, 1.0], [2.5, 3.5]]
         ]
        }
    """
    return _text(value, 0, 0) + "\n"


def _text(value: Any, depth: int, used: int) -> str:
    """The value at an indentation of ``depth``, where ``used`` columns of its first line are taken."""
    line = json.dumps(value, allow_nan=False)
    if not isinstance(value, (list, dict)) or _is_record(value) or (_is_flat(value) and used + len(line) < WIDTH):
        return line
    if isinstance(value, dict):
        brackets, parts = "{}", _entries(value, depth + 1)
    elif _is_flat(value):
        rows = [value[start : start + PER_LINE] for start in range(0, len(value), PER_LINE)]
        brackets, parts = "[]", [json.dumps(row)[1:-1] for row in rows]
    else:
        inner = depth + 1
        brackets, parts = "[]", [json.dumps(x) if _is_row(x) else _text(x, inner, inner) for x in value]
    margin = "\n" + " " * depth
    return brackets[0] + margin + " " + f",{margin} ".join(parts) + margin + brackets[1]


def _entries(value: dict[str, Any], depth: int) -> list[str]:
    """Lines of an object; where all entries are settings they share lines."""
    lines: list[str] = []
    settings = all(_is_setting(entry) for entry in value.values())
    for key, entry in value.items():
        name = json.dumps(key) + ": "
        text = name + _text(entry, depth, depth + len(name))
        if settings and lines and depth + len(lines[-1]) + 2 + len(text) < WIDTH:
            lines[-1] += ", " + text
        else:
            lines.append(text)
    return lines


def _is_flat(value: Any) -> bool:
    """Whether no item of it is a list or object that holds something."""
    items = value.values() if isinstance(value, dict) else value
    return not any(isinstance(item, (list, dict)) and item for item in items)


def _is_setting(value: Any) -> bool:
    """Whether it is a scalar, or a short list or object of scalars."""
    return not isinstance(value, (list, dict)) or (len(value) < PER_LINE and _is_flat(value))


def _is_record(value: Any) -> bool:
    """Whether it is a small object of scalars and of short lists, such as a point of a curve."""
    if not isinstance(value, dict) or len(value) > RECORD:
        return False
    return all(_is_setting(entry) and not (isinstance(entry, dict) and len(entry) > 3) for entry in value.values())


def _is_row(value: Any) -> bool:
    """Whether it is a list with nothing but numbers and lists of numbers in it, at any depth."""
    return isinstance(value, list) and all(not isinstance(x, (dict, str, list)) or _is_row(x) for x in value)
