"""An adapter takes the options of the batch, and refuses those that it has to choose itself."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

ADAPTERS = {
    "sb3": ("stable_baselines3", "Sb3VecEnv"),
    "torchrl": ("torchrl", "TorchRLEnv"),
    "share": ("numpy", "ShareEnv"),
    "gymnasium": ("numpy", "GymnasiumVectorEnv"),
    "agilerl": ("agilerl", "AgileVecEnv"),
}


@pytest.mark.filterwarnings("ignore")  # of the libraries about themselves
@pytest.mark.parametrize("module", ADAPTERS)
@pytest.mark.parametrize(("name", "wrong", "right"), [
    ("backend", "torch", "numpy"),
    ("autoreset", False, True),
    ("read_only", True, False),  # libraries keep observations: memory that is used again would change them
])  # fmt: skip
def test_what_an_adapter_chooses_itself(module: str, name: str, wrong: Any, right: Any) -> None:
    library, adapter = ADAPTERS[module]
    pytest.importorskip(library, reason=f"needs {library}")
    make = getattr(import_module(f"irs_marl_env.adapters.{module}"), adapter)
    with pytest.raises(ValueError, match=rf"^{name}={wrong!r}: must be left out, or {right!r}"):
        make("mdlbi-small-v0", 2, fast=False, **{name: wrong})
    assert make("mdlbi-small-v0", 2, fast=False, **{name: right}).batch.num_envs == 2
