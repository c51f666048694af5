"""Ctrl-C and the requests of an operating system to end: met where nothing is lost by it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

_WATCHED = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(KeyboardInterrupt):
    """Somebody wants the process to end.

    Attributes:
        signal: the number of the signal.
        after: says where the work was, or nothing.
        folder: of the run to go on with, or ``None``.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        self.signal, self.after, self.folder = int(number), "", None
        super().__init__(number)

    after: str
    folder: Any

    @property
    def exit_code(self) -> int:
        """What a shell says of a process that such a signal has ended."""
        return 128 + self.signal

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.signal).name}{self.after}"


def end_without_words() -> None:
    """Until :class:`StopRequests` listens, Ctrl-C and SIGTERM end the process at once, by their exit codes alone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: os._exit(128 + number))


class StopRequests:
    """Signals as requests, in the main thread, as a context; elsewhere signals do what they did before.

    A signal that the process was started to ignore stays ignored.

    At first a request is met at once, by an exception. Inside :meth:`later` it waits until :meth:`check`; a second one
    does not wait. Inside :meth:`never` nothing interrupts.
    """

    def __init__(self) -> None:
        self.request: Stopped | None = None
        self._patience = 0  # requests that wait instead of raising
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _WATCHED if hasattr(signal, name)):
                if signal.getsignal(number) == signal.SIG_IGN:
                    continue  # started with nohup, or in the background of a script
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.request is None:
            self.request = Stopped(number)
        if self._patience > 0:
            self._patience -= 1
        else:
            raise self.request

    def check(self) -> None:
        """Meet a request that waits.

        Raises:
            Stopped: there is one.
        """
        if self.request is not None:
            raise self.request

    @contextmanager
    def _with(self, patience: int) -> Iterator[None]:
        before, self._patience = self._patience, patience
        try:
            yield
        finally:
            self._patience = before

    def later(self) -> Any:
        """A context in which the first request waits."""
        return self._with(0 if self.request is not None else 1)

    def at_once(self) -> Any:
        """A context in which requests raise :class:`Stopped` where they come."""
        return self._with(0)

    def never(self) -> Any:
        """A context in which requests wait, however many come."""
        return self._with(1_000_000_000)
