"""What the files of policies by single networks have in common."""

from __future__ import annotations

from typing import Any

import torch

from irs_marl_env.checks import check_text, check_whole, shown
from irs_marl_env.scenario import Scenario, from_plain

WIDEST = 4096  # neurons of a hidden layer that a file may ask for


def parts(
    tensors: dict[str, torch.Tensor], about: dict[str, Any], trusted: bool, fields: dict[str, Any]
) -> tuple[Scenario, int, str]:
    """Scenario, width and name in a policy file whose tensors are finite.

    Args:
        tensors: of the networks.
        about: what stands beside them.
        trusted: import the modules of parts of one's own that the scenario of the training had.
        fields: scenario fields in which the scenario shall differ from that of the training.

    Raises:
        ValueError: something is missing, or impossible; the message names it.
    """
    missing = [name for name in ("scenario", "width", "name") if name not in about]
    if missing:
        raise ValueError(f"no {', '.join(missing)} in it")
    for name, value in tensors.items():
        if value.dtype != torch.float32 or not bool(torch.isfinite(value).all()):
            raise ValueError(f"the tensor {shown(name)} holds what is no finite float32 number")
    scenario = Scenario.from_dict(about["scenario"], trusted).replace(**from_plain(fields, trusted))
    return scenario, check_whole("width", about["width"], 1, WIDEST), check_text("name", about["name"])
