"""Policy files of every trainer: which one wrote a file, and the policy in it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from irs_marl_env.checks import refusal
from irs_marl_env.training import claims, foresight, joint_bids
from irs_marl_env.training.files import read_tensors
from irs_marl_env.training.policy import TrainedPolicy
from irs_marl_env.training.policy import load_policy as load_trained

# what rebuilds a policy, by the kind that its file names; those of the trainer name none
REBUILT: dict[str, Any] = {part.KIND: part.rebuilt for part in (claims, foresight, joint_bids)}


def load_policy(
    path: str | PathLike[str], trusted: bool = False, **fields: Any
) -> TrainedPolicy | claims.ClaimsPolicy | foresight.Foresight | joint_bids.JointBidsPolicy:
    """The trained policy in a file, whichever trainer wrote it; see :func:`irs_marl_env.load_policy`."""
    tensors, about = read_tensors(Path(path))
    kind = about.get("kind")
    if kind is None:
        return load_trained(path, trusted, **fields)
    try:
        if not isinstance(kind, str) or kind not in REBUILT:
            raise refusal("kind", kind, f"one of {', '.join(REBUILT)}")
        return REBUILT[kind](tensors, about, trusted, **fields)
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from None
