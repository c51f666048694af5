"""Learning curves in TensorBoard and Weights & Biases."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from irs_marl_env.training.settings import Args


def logger(args: Args, folder: Path, updates: int) -> Any:
    """A TensorBoard writer, or ``None`` if nothing is to be logged.

    Args:
        args: settings.
        folder: of the run.
        updates: that the run has behind it; what a killed process wrote beyond them is purged.

    Raises:
        ImportError: Weights & Biases is wanted and not installed.
    """
    if args.wandb:
        try:
            import wandb
        except ImportError as error:
            raise ImportError("--wandb needs Weights & Biases: pip install wandb") from error
        run = {"name": folder.name, "id": folder.name, "resume": "allow"}  # a resumed run goes on in the same place
        wandb.init(project="irs-marl-env", config=asdict(args), sync_tensorboard=True, **run)
    if not (args.tensorboard or args.wandb):
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=updates + 1 if updates else None)


def log(writer: Any, point: dict[str, Any]) -> None:
    """Write a point of the curve."""
    if writer is None:
        return
    for name, value in point.items():
        if isinstance(value, float) and math.isfinite(value):
            writer.add_scalar(f"train/{name}" if name in ("train", "idle") else name, value, point["update"])
    writer.flush()
