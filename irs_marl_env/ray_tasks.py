"""Jobs as tasks of Ray (extra ``ray``), on this machine or on a cluster. Ray is imported where it is asked for.

Ray itself finds the cluster: the one that ``RAY_ADDRESS`` names, else one that was started on this machine by ``ray
start``, else a Ray of this process alone. A task whose machine or process died is done again elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

RETRIES = 3  # how often a job whose process died is begun again


@contextmanager
def connected() -> Iterator[Any]:
    """The module ``ray``, connected; a connection that was there before stays.

    Raises:
        ImportError: Ray is missing.
        ConnectionError: ``RAY_ADDRESS`` names no cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError("tasks on many machines need Ray: pip install 'irs-marl-env[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    ray.init(logging_level="ERROR", log_to_driver=False)
    try:
        yield ray
    finally:
        ray.shutdown()


def run_all(function: Callable[[Any], Any], jobs: Sequence[Any], done: Callable[[Any], None]) -> list[Any]:
    """``[function(job) for job in jobs]``, one task of Ray for each job.

    Args:
        function: it and the jobs travel as Ray pickles them, what is defined in a script or a notebook included; parts
            that jobs have in common travel once.
        jobs: at least one.
        done: called with each job that is done.

    Raises:
        ValueError: the jobs cannot be pickled.
        ChildProcessError: the processes of a job died, each time anew.
        Exception: of the function; the other jobs are dropped.
    """
    with connected() as ray:
        try:
            together = ray.put((function, jobs))
        except TypeError as error:
            raise ValueError(f"ray: a part of the jobs cannot be handed to other processes ({error})") from None

        @ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")
        def task(parts: Any, index: int) -> Any:
            function, jobs = parts
            return function(jobs[index])

        pending = {task.remote(together, index): index for index in range(len(jobs))}
        results: list[Any] = [None] * len(jobs)
        try:
            while pending:
                (ready,), _ = ray.wait(list(pending), num_returns=1)
                index = pending.pop(ready)
                results[index] = ray.get(ready)
                done(jobs[index])
        except ray.exceptions.RayTaskError as error:
            raise (error if error.cause is None else error.cause) from None
        except ray.exceptions.RayError as error:
            raise ChildProcessError(f"a process of Ray died {RETRIES + 1} times: {error}") from None
        finally:
            for left in pending:
                ray.cancel(left, force=True)
        return results
