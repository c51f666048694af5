"""The tests of the torch backend on another device than the CPU: ``python -m pytest -k torch --torch-device cuda``.

Tests name no device, compare with arrays of numpy and make tensors as they like. So for them the device is torch's
default, environments without one live there, and tensors come to numpy by themselves. The package is as it is.
Trainings and trained policies choose their devices themselves, so that their tests are left out (CONTRIBUTING.md has
the command).
"""

from __future__ import annotations

from typing import Any

import numpy as np


def use(device: str) -> None:
    """From now on the torch backend lives on a device."""
    import torch

    from irs_marl_env import arrays

    found, to_numpy, from_numpy = arrays._device, torch.Tensor.numpy, torch.from_numpy

    def array(x: Any, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(to_numpy(x.cpu()), dtype, copy=copy)

    arrays._device = lambda name, xp: found(device if name is None else name, xp)
    torch.Tensor.numpy = lambda x, **options: to_numpy(x.cpu(), **options)
    torch.Tensor.__array__ = array
    torch.from_numpy = lambda x: from_numpy(x).to(device)
    torch.set_default_device(device)
