"""Files of trained policies, whichever trainer wrote them."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from irs_marl_env.training import claims, joint_bids, policy
from irs_marl_env.training.claims import ClaimsPolicy
from irs_marl_env.training.files import read_tensors
from irs_marl_env.training.joint_bids import JointBidsPolicy
from irs_marl_env.training.policy import TrainedPolicy

# what rebuilds a policy, by the kind that its file names; those of the trainer name none
KINDS = {claims.KIND: claims.rebuilt, joint_bids.KIND: joint_bids.rebuilt}


def load_policy(
    path: str | PathLike[str], trusted: bool = False, **fields: Any
) -> TrainedPolicy | ClaimsPolicy | JointBidsPolicy:
    """The trained policy in a file; see :func:`irs_marl_env.load_policy`."""
    tensors, about = read_tensors(Path(path))
    kind = about.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        return policy.load_policy(path, trusted, **fields)
    try:
        found: ClaimsPolicy | JointBidsPolicy = KINDS[kind](tensors, about, trusted, **fields)
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from None
    return found
