"""What surrounds the updates of a run in one process: the clock, evaluations, checkpoints, logs, requests to stop."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from types import TracebackType

from irs_marl_env.signals import Stopped, StopRequests
from irs_marl_env.training.folder import CHECKPOINT, keep_checkpoint
from irs_marl_env.training.logs import log, logger
from irs_marl_env.training.loop import Diverged, Run


class Session:
    """A process's share of a run, as a context.

    A training that diverges leaves the context with an error that names the last good checkpoint. On Ctrl-C or SIGTERM
    the update that is being done is finished, an evaluation is abandoned (the run does it when it goes on), and a
    checkpoint is written; a second Ctrl-C does not wait, and then the last checkpoint is the one to go on from.

    Args:
        run: the training.
        folder: of its files.

    Raises:
        Diverged: on leaving, see above.
        Stopped: somebody wants the process to end.
    """

    def __init__(self, run: Run, folder: Path) -> None:
        from tqdm import tqdm

        args, updates = run.args, run.learner.updates
        self._run, self._folder, progress = run, folder, run.progress
        self._writer = logger(args, folder, updates)
        self._begun, self._steps_before = time.perf_counter(), progress.steps
        self._seconds_before = progress.seconds
        self._cpu_before = progress.cpu_seconds - time.process_time()
        self._bar = tqdm(total=args.updates, initial=updates, unit="update", disable=not args.progress)
        self._requests = StopRequests()
        self._waiting = self._requests.later()

    def __enter__(self) -> Session:
        self._requests.__enter__()
        self._waiting.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._requests.never():
            self._bar.close()
            if self._writer is not None:
                self._writer.close()
        self._waiting.__exit__(None, None, None)
        self._requests.__exit__(None, None, None)
        if isinstance(error, Diverged):
            good = self._folder / CHECKPOINT
            last = f"the last good checkpoint is {good}" if good.is_file() else "there is no checkpoint yet"
            raise Diverged(f"training stopped: {error}; {last}") from None

    def evaluate_and_save(self) -> None:
        """Evaluate the agents and write a checkpoint, each if it is due after this number of updates.

        Raises:
            Diverged: weights are not finite; the checkpoint that is there stays.
            OSError: a file cannot be written; the checkpoint that is there stays.
            Stopped: somebody wants the process to end; the checkpoint is written.
        """
        args, updates, progress = self._run.args, self._run.learner.updates, self._run.progress
        last = updates == args.updates
        evaluated = bool(progress.curve) and progress.curve[-1]["update"] >= updates  # before the process was killed
        if (last or updates % args.eval_every == 0) and not evaluated and self._requests.request is None:
            self._evaluate()
        progress.seconds = self._seconds_before + time.perf_counter() - self._begun
        progress.cpu_seconds = self._cpu_before + time.process_time()
        due = last or updates % args.checkpoint_every == 0 or self._requests.request is not None
        if updates and due:
            if not self._run.learner.finite():
                raise Diverged(f"weights are not finite after update {updates}")
            with self._requests.never():
                keep_checkpoint(self._folder, self._run.save)
        if due and self._requests.request is not None:  # otherwise it came too late for this checkpoint
            self._requests.request.after = f" after update {updates} of {args.updates}"
            raise self._requests.request

    def _evaluate(self) -> None:
        """A point of the curve, all of it or nothing."""
        progress = self._run.progress
        window = copy.deepcopy(progress.window)
        try:
            with self._requests.at_once():
                point = self._run.evaluate()
        except Stopped:
            progress.window = window
            return
        progress.curve.append(point)
        log(self._writer, point)

    def show_progress(self) -> None:
        """Move the progress bar on by an update."""
        self._bar.update()
        if self._run.learner.updates % 20 == 0:
            progress = self._run.progress
            rate = (progress.steps - self._steps_before) / (time.perf_counter() - self._begun)
            self._bar.set_postfix(score=f"{progress.curve[-1]['score']:.3f}", steps_per_s=f"{rate:.0f}")
