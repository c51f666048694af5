"""Tables as plain text or Markdown, and numbers as they stand in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from irs_marl_env.estimate import Estimate


def table(rows: Sequence[Sequence[str]], markdown: bool = False) -> str:
    """Aligned lines of a table, the first column to the left and the others to the right.

    Args:
        rows: the first one is the head; all of one length.
        markdown: with bars, so that Markdown makes a table of it.
    """
    if markdown:
        escaped = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in rows]
        lines = ["| " + " | ".join(row) + " |" for row in escaped]
        return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [line(row, widths) for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def line(row: Sequence[str], widths: Sequence[int]) -> str:
    """One line of a plain table."""
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return "  ".join(cells).rstrip()


def with_error(estimate: Estimate, sign: str = "") -> str:
    """Mean and standard error: ``"9.876 +- 0.123"``."""
    error = "?" if math.isnan(estimate.standard_error) else number(estimate.standard_error)
    return f"{number(estimate.mean, sign)} +- {error}"


def with_interval(estimate: Estimate, sign: str = "") -> str:
    """Mean and 95 % interval: ``"9.876 [9.621, 10.131]"``."""
    low, high = estimate.interval
    ends = "?, ?" if math.isnan(low) else f"{number(low, sign)}, {number(high, sign)}"
    return f"{number(estimate.mean, sign)} [{ends}]"


def labels(texts: Sequence[str], longest: int = 40) -> list[str]:
    """Texts on one line each, short enough for a picture or a column; the beginning of a long one, with its number.

    Example:
        >>> labels(["26.0", "a very long text of many words"], 16)
        ['26.0', 'a very lon... #2']
    """
    found = [" ".join(text.split()) for text in texts]
    for i, text in enumerate(found):
        if len(text) > longest:
            ending = f"... #{i + 1}"
            found[i] = text[: longest - len(ending)] + ending
    return found


def value_labels(values: Sequence[Any], longest: int = 40) -> list[str]:
    """Values of a field as :func:`labels`; long lists of rows that differ in how many there are are called by it.

    Example:
        >>> value_labels([[[40.0, 20.0, 5.0]], [[40.0, 20.0, 5.0], [40.0, -20.0, 5.0]]], longest=24)
        ['1 row', '2 rows']
    """
    texts = list(map(str, values))
    if max(map(len, texts), default=0) > longest and all(map(_has_rows, values)):
        counts = [len(value) for value in values]
        if len(set(counts)) == len(counts):
            return [f"{count} row{'s' if count > 1 else ''}" for count in counts]
    return labels(texts, longest)


def _has_rows(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(row, (list, tuple)) for row in value)


def number(value: float, sign: str = "") -> str:
    """Three decimals, or three digits of what three decimals would hide."""
    return f"{value:{sign}.3f}" if abs(value) >= 0.01 or abs(value) < 1e-12 else f"{value:{sign}.3g}"
