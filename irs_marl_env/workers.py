"""Other processes that do jobs: they end with the one that started them, however it ends.

Python's pool works a queue off before it lets a Ctrl-C through, and its processes outlive a parent that is killed. Here
every worker watches a pipe whose other end only the parent has: when that is closed, by hand or because the parent is
gone, the worker leaves at once.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import active_children, connection, current_process, get_context, parent_process
from types import FunctionType
from typing import Any

MOST = 61 if sys.platform == "win32" else 10_000  # Windows waits for no more


def run_all(
    function: Callable[[Any], Any],
    jobs: Sequence[Any],
    processes: int,
    done: Callable[[Any], None],
    shared: Any = None,
) -> list[Any]:
    """``[function(job) for job in jobs]``, shared out over processes.

    Args:
        function: of a module; it and the jobs are pickled.
        jobs: at least one.
        processes: how many; no more are started than there are jobs.
        done: called with each job that is done.
        shared: an object that jobs hold and nobody changes; it may be large, and goes to every process once.

    Raises:
        ValueError: a job cannot be handed to another process.
        ChildProcessError: a process died.
        Exception: of the function; the other jobs are dropped.
    """
    if getattr(current_process(), "_inheriting", False):
        os._exit(1)  # a worker that runs a script without a guard; the process that started it says so
    with _main_that_can_be_read():
        return _run_all(function, [_packed(job, shared) for job in jobs], jobs, processes, done, _packed(shared))


def _run_all(
    function: Callable[[Any], Any],
    packed: list[bytes],
    jobs: Sequence[Any],
    processes: int,
    done: Callable[[Any], None],
    shared: bytes,
) -> list[Any]:
    context = get_context("spawn")  # the same everywhere; a fork would copy locks of threads
    gone, here = context.Pipe(duplex=False)
    workers = min(processes, len(jobs), MOST)
    results: list[Any] = [None] * len(jobs)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(gone, shared))
    before, started = set(active_children()), set()
    try:
        with _signals_wait():  # a worker is deaf to Ctrl-C from its first moment: what it does is decided here
            pending = {pool.submit(_unpacked, function, text): index for index, text in enumerate(packed)}
            started = set(active_children()) - before
        for future in as_completed(pending):
            results[pending[future]] = future.result()
            done(jobs[pending[future]])
        pool.shutdown()
        started = set()
    except BrokenProcessPool:
        raise ChildProcessError(
            "a worker process died: the policy ended it, memory ran out, or this script starts processes without "
            'if __name__ == "__main__": around what it does. processes=1 shows more'
        ) from None
    finally:
        here.close()
        for process in started:  # those that do not watch yet
            process.kill()
        pool.shutdown(cancel_futures=True)
        gone.close()
    return results


# --- in a worker -----------------------------------------------------------------------------------------------------


_received = b""  # the shared object as it travelled; made again when the first job asks for it


def _begin(gone: Any, shared: bytes) -> None:
    """What a worker does first."""
    global _received
    _received = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_the_parent, args=(gone,), daemon=True).start()


def _leave_with_the_parent(gone: Any) -> None:
    parent = parent_process()
    connection.wait([gone] if parent is None else [gone, parent.sentinel])
    os._exit(1)


def _unpacked(function: Callable[[Any], Any], text: bytes) -> Any:
    try:
        job = _Unpickler(io.BytesIO(text)).load()
    except Exception as error:  # would end the worker and all others with it if the pool unpickled the job
        raise ValueError(
            f"processes: another process cannot find a part of the job there ({error}); {_ADVICE}"
        ) from None
    return function(job)


@lru_cache(maxsize=1)
def _shared() -> Any:
    return pickle.loads(_received)


# --- what travels ----------------------------------------------------------------------------------------------------

_ADVICE = "define its functions and classes at the top level of a module"


class _Pickler(pickle.Pickler):
    """Refuses what stands in a script that other processes cannot read again, and leaves out the shared object."""

    def __init__(self, file: Any, shared: Any) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._shared = shared

    def persistent_id(self, value: Any) -> Any:
        return "shared" if self._shared is not None and value is self._shared else None

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, (type, FunctionType)) and value.__module__ == "__main__" and not _main_is_a_file():
            raise pickle.PicklingError(f"{value.__qualname__} was typed in, and no other process can read it")
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    """Puts the shared object back."""

    def persistent_load(self, name: Any) -> Any:
        return _shared()


def check_pickles(name: str, part: Any) -> None:
    """Refuse what other processes cannot be given.

    Raises:
        ValueError: names the part.
    """
    try:
        _packed(part)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"processes: the {name} cannot be handed to other processes ({error}); {_ADVICE}") from None


def _packed(part: Any, shared: Any = None) -> bytes:
    text = io.BytesIO()
    _Pickler(text, shared).dump(part)
    return text.getvalue()


def _main_is_a_file() -> bool:
    main = sys.modules["__main__"]
    return getattr(main, "__spec__", None) is not None or os.path.isfile(getattr(main, "__file__", None) or "")


@contextmanager
def _main_that_can_be_read() -> Iterator[None]:
    """A program that is read from standard input has the name of a file that is none; workers must not open it."""
    main: Any = sys.modules["__main__"]
    if _main_is_a_file() or not hasattr(main, "__file__"):
        yield
        return
    name = main.__file__
    del main.__file__
    try:
        yield
    finally:
        main.__file__ = name


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Ctrl-C waits; processes that begin meanwhile inherit that. Windows cannot do it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
