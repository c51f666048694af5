"""A progress bar where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable


class Bar:
    """A progress bar if it is wanted and tqdm is there; a context that gives ``advance(steps)``.

    Args:
        progress: whether it is wanted; ``None``: on a terminal.
        total: slots, all policies' episodes together.
        label: what stands before it.
    """

    def __init__(self, progress: bool | None, total: int, label: str) -> None:
        wanted = sys.stderr.isatty() if progress is None else progress
        self._bar = None
        if not wanted:
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        self._bar = tqdm(total=total, desc=label, unit="slot", leave=False)

    def __enter__(self) -> Callable[[int], None]:
        return self._advance

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _advance(self, steps: int) -> None:
        if self._bar is not None:
            self._bar.update(steps)
