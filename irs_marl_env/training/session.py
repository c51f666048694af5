"""What surrounds the updates of a run in one process: the clock, evaluations, checkpoints, logs, the progress bar."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

from irs_marl_env.training.checkpoint import CHECKPOINT
from irs_marl_env.training.logs import log, logger
from irs_marl_env.training.loop import Diverged, Run


class Session:
    """A process's share of a run, as a context.

    A training that diverges leaves the context with an error that names the last good checkpoint.

    Args:
        run: the training.
        folder: of its files.

    Raises:
        Diverged: on leaving, see above.
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

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._bar.close()
        if self._writer is not None:
            self._writer.close()
        if isinstance(error, Diverged):
            good = self._folder / CHECKPOINT
            last = f"the last good checkpoint is {good}" if good.is_file() else "there is no checkpoint yet"
            raise Diverged(f"training stopped: {error}; {last}") from None

    def evaluate_and_save(self) -> None:
        """Evaluate the agents and write a checkpoint, each if it is due after this number of updates.

        Raises:
            Diverged: weights are not finite; the checkpoint that is there stays.
        """
        run, args, updates, progress = self._run, self._run.args, self._run.learner.updates, self._run.progress
        last = updates == args.updates
        evaluated = bool(progress.curve) and progress.curve[-1]["update"] >= updates  # before the process was killed
        if (last or updates % args.eval_every == 0) and not evaluated:
            progress.curve.append(run.evaluate())
            log(self._writer, progress.curve[-1])
        progress.seconds = self._seconds_before + time.perf_counter() - self._begun
        progress.cpu_seconds = self._cpu_before + time.process_time()
        if updates and (last or updates % args.checkpoint_every == 0):
            if not run.learner.finite():
                raise Diverged(f"weights are not finite after update {updates}")
            run.save(self._folder / CHECKPOINT)

    def show_progress(self) -> None:
        """Move the progress bar on by an update."""
        self._bar.update()
        if self._run.learner.updates % 20 == 0:
            progress = self._run.progress
            rate = (progress.steps - self._steps_before) / (time.perf_counter() - self._begun)
            self._bar.set_postfix(score=f"{progress.curve[-1]['score']:.3f}", steps_per_s=f"{rate:.0f}")
