"""Policy files of every trainer: which one wrote a file, and the policy in it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from irs_marl_env.checks import refusal
from irs_marl_env.training import claims, foresight
from irs_marl_env.training.files import read_tensors
from irs_marl_env.training.policy import TrainedPolicy
from irs_marl_env.training.policy import load_policy as load_trained

REBUILT: dict[str, Any] = {claims.KIND: claims.rebuilt, foresight.KIND: foresight.rebuilt}  # by what a file holds


def load_policy(
    path: str | PathLike[str], trusted: bool = False, **fields: Any
) -> TrainedPolicy | claims.ClaimsPolicy | foresight.Foresight:
    """The trained policy in a file, whichever trainer wrote it; see :func:`irs_marl_env.load_policy`."""
    tensors, about = read_tensors(Path(path))
    kind = about.get("kind")
    if kind is None:
        return load_trained(path, trusted, **fields)
    try:
        if kind not in REBUILT:
            raise refusal("kind", kind, f"one of {', '.join(REBUILT)}")
        return REBUILT[kind](tensors, about, trusted, **fields)
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from None
