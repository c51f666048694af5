"""A step with torch arrays is the same in whatever mode of torch people call it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from irs_marl_env import make_vec_env

torch = pytest.importorskip("torch")

SLOTS = 7


@contextlib.contextmanager
def setting(name: str, get: Callable[[], Any], value: Any) -> Iterator[None]:
    before = get()
    getattr(torch, name)(value)
    try:
        yield
    finally:
        getattr(torch, name)(before)


MODES: dict[str, Callable[[], Any]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast(torch.get_default_device().type, dtype=torch.bfloat16),
    "default dtype": lambda: setting("set_default_dtype", torch.get_default_dtype, torch.float64),
    "default device": lambda: torch.device("meta"),
    "deterministic": lambda: setting("use_deterministic_algorithms", torch.are_deterministic_algorithms_enabled, True),
    "detect_anomaly": lambda: torch.autograd.detect_anomaly(check_nan=False),
}
SCENARIOS: dict[str, dict[str, Any]] = {
    "raw": {"inter_cell_interference": True, "mobility": "gauss_markov", "direct_rician_k_db": 3.0},
    "structured": {"action": "structured", "observation": "large_scale", "fading": "ar1", "contention": "collision"},
}


def trajectory(options: dict[str, Any], mode: Callable[[], Any], compiled: bool = False) -> list[Any]:
    """All numbers of some slots, over an end of the episodes; every second call is in the mode, the others are not."""
    env = make_vec_env("mdlbi-small-v0", 3, backend="torch", horizon=4, stagger=True, **options)

    def slot(action: Any) -> Any:
        observations, rewards, _, _, infos = env.step(action)
        return observations, rewards + 0.0, infos["rates"]

    if compiled:
        slot = torch.compile(slot, backend="eager")
    generator, found = torch.Generator("cpu").manual_seed(0), []
    for t in range(SLOTS):
        action = torch.rand(3, 2, env.action_size, generator=generator, device="cpu") * 2 - 1
        action.requires_grad_(t % 2 == 1)
        with mode() if t % 2 == 0 else contextlib.nullcontext():
            if t == 0:
                found.append(env.reset(seed=0)[0])
            results = slot(action)
            found += [*results, env.state()]
        if action.requires_grad:
            results[1].sum().backward()
            found.append(action.grad)
    return [x.detach().clone() for x in found]


@pytest.fixture(scope="module", params=SCENARIOS)
def usual(request: pytest.FixtureRequest) -> tuple[dict[str, Any], list[Any]]:
    options = SCENARIOS[request.param]
    return options, trajectory(options, contextlib.nullcontext)


@pytest.mark.parametrize("name", MODES)
def test_a_mode_changes_nothing(usual: tuple[dict[str, Any], list[Any]], name: str) -> None:
    options, expected = usual
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch says about its modes
        found = trajectory(options, MODES[name])
    assert len(found) == len(expected)
    for its, whole in zip(found, expected, strict=True):
        torch.testing.assert_close(its, whole, rtol=0.0, atol=0.0)


def test_a_compiled_caller_gets_the_same_numbers(usual: tuple[dict[str, Any], list[Any]]) -> None:
    options, expected = usual
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = trajectory(options, contextlib.nullcontext, compiled=True)
    for its, whole in zip(found, expected, strict=True):
        torch.testing.assert_close(its, whole, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("early", [True, False], ids=["compiler first", "environments first"])
def test_environments_of_numpy_are_not_traced(early: bool) -> None:
    """Dynamo would turn NumPy into torch, which cannot add unsigned integers; a process of its own imports it anew."""
    code = """
import sys
if sys.argv[1] == "True":
    import torch._dynamo
import numpy as np
from irs_marl_env import make_env, make_vec_env

one = make_env("mdlbi-small-v0", horizon=3, fast=False)
many = make_vec_env("mdlbi-small-v0", 2, horizon=3, fast=False)
import torch

def episode():
    found = [one.reset(seed=0)[0]["bs_0"], many.reset(seed=0)[0]]
    for _ in range(3):
        observations, rewards, *_ = one.step({a: np.full(one.action_space(a).shape, 0.3) for a in one.agents})
        found += [observations["bs_0"], np.array(rewards["bs_0"]), one.state()]
        found += [*many.step(np.full(many.action_space.shape, 0.3, np.float32))[:2], many.state()]
    return found

compiled = torch.compile(episode, backend="eager")()
print(len(compiled), all(np.array_equal(a, b) for a, b in zip(compiled, episode(), strict=True)))
"""
    done = subprocess.run([sys.executable, "-c", code, str(early)], capture_output=True, text=True)
    assert done.stdout == "20 True\n", done.stderr[-2000:]
