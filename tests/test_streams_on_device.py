"""The torch backend: the same random bits where the arrays live, nothing fetched from there in a step, gradients."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import irs_marl_env
from irs_marl_env import get_scenario, make_vec_env, philox
from irs_marl_env.engine.core import Core
from irs_marl_env.streams import Streams

torch = pytest.importorskip("torch")
xp = pytest.importorskip("array_api_compat.torch")
DEVICE = torch.get_default_device()  # the CPU, or that of --torch-device
OPTIONS: list[dict[str, Any]] = [
    {},
    {"fading": "ar1", "bs_irs_fading": "episode", "mobility": "random_waypoint", "direct_rician_k_db": 3.0},
    {"bs_irs_rician_k_db": 3.0, "irs_user_rician_k_db": 3.0, "csi_error_variance": 0.1, "reflection": "all"},
    {"mobility": "gauss_markov", "csi": "owned", "association_delay": 1, "rho": "bids"},
    {"contention": "collision", "reflection": "single", "inter_cell_interference": True, "reward": "mixed"},
    {"action": "structured", "observation": "large_scale", "bid_cost": 0.1},
    {"sinr": "paper", "power": "sphere", "phase_bits": 2, "num_elements": (16, 8)},
    {"mobility": "static", "fading": "frozen", "layout": "frozen", "bs_irs_fading": "frozen"},
]


def test_random_bits_on_a_device_are_those_of_the_host() -> None:
    host, device = Streams.from_seed(3, 4, np), Streams.from_seed(3, 4, xp, DEVICE, on_device=True)
    some = np.array([True, False, True, True])
    for count in (1, 5, 2, 400):  # streams that stand inside a value of the counter
        np.testing.assert_array_equal(host.uniform("mobility", count, 3), device.uniform("mobility", count, 3))
        np.testing.assert_allclose(
            host.complex_normal("direct_fading", 2, count), device.complex_normal("direct_fading", 2, count), atol=2e-6
        )
        np.testing.assert_array_equal(
            host.uniform_where(some, "association", count),
            device.uniform_where(torch.tensor(some), "association", count),
        )
        some = ~some
    assert host.get_state() == device.get_state()
    rows = np.array([1, 3])
    for streams in (host, device):
        part = streams.rows(rows)
        part.uniform("layout", 7)
        streams.merge(rows, part)
    np.testing.assert_array_equal(host.uniform("layout", 2), device.uniform("layout", 2))
    device.set_state(host.get_state())
    np.testing.assert_array_equal(host.uniform("mobility", 9), device.uniform("mobility", 9))


@pytest.mark.parametrize("window", [1, 40, 2**22])
def test_streams_of_a_device_stay_with_those_of_the_host_whatever_is_asked(
    monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    """Values are made in advance on a device; windows of every size hand out those of the streams."""
    monkeypatch.setattr(philox, "_WINDOW", window)
    rng = np.random.default_rng(window)
    host, device = Streams.from_seed(3, 5, np), Streams.from_seed(3, 5, xp, DEVICE, on_device=True)
    for _ in range(300):
        cause, count = rng.choice(["layout", "mobility", "association"]), int(rng.integers(0, 9))
        some = rng.random(5) < 0.5
        some[rng.integers(5)] = True
        match rng.integers(7):
            case 0 | 1:
                drawn = [streams.uniform(cause, count) for streams in (host, device)]
            case 2:
                drawn = [streams.complex_normal("csi_error", count) for streams in (host, device)]
            case 3:
                drawn = [host.uniform_where(some, cause, count), device.uniform_where(torch.tensor(some), cause, count)]
            case 4 | 5:
                rows, drawn = np.flatnonzero(some), []
                for streams in (host, device):
                    part = streams.rows(rows)
                    drawn.append([np.asarray(part.uniform(cause, count)) for _ in range(3)])
                    streams.merge(rows, part)
            case _:
                rows, fresh, drawn = np.flatnonzero(some), int(rng.integers(1000)), []
                for streams in (host, device):
                    other = Streams.from_seed(fresh, len(rows), streams.xp, DEVICE, on_device=streams.on_device)
                    drawn.append(np.asarray(other.uniform(cause, count)))
                    streams.put(rows, other)
        np.testing.assert_allclose(np.asarray(drawn[1]), np.asarray(drawn[0]), rtol=0, atol=2e-6)
    assert host.get_state() == device.get_state()


@pytest.mark.parametrize("options", OPTIONS)
def test_environment_with_random_bits_of_the_device_is_the_numpy_one(options: dict[str, Any]) -> None:
    settings = {"horizon": 5, "stagger": True, **options}
    plain = make_vec_env("mdlbi-small-v0", 3, fast=False, **settings)
    other = make_vec_env("mdlbi-small-v0", 3, backend="torch", **settings)
    other._bits_on_device = True
    actions = np.random.default_rng(0).uniform(-1, 1, (12, 3, 2, plain.action_size)).astype(np.float32)
    actions[3, ..., plain.action_codec.layout.slices["bids"]] = 1.0  # a tie
    a, _ = plain.reset(seed=4)
    b, _ = other.reset(seed=4)
    assert other._streams.on_device
    np.testing.assert_allclose(b, a, atol=1e-3, rtol=1e-3)
    for action in actions:
        mine, its = plain.step(action), other.step(torch.tensor(action))
        for x, y in zip(mine[:4], its[:4], strict=True):
            np.testing.assert_allclose(np.asarray(y), x, rtol=2e-3, atol=2e-3)
        np.testing.assert_array_equal(its[4]["owner"], mine[4]["owner"])


@pytest.mark.parametrize("options", OPTIONS)
def test_a_step_fetches_nothing_from_the_device(options: dict[str, Any]) -> None:
    """On the meta device there is nothing to fetch: whoever tries gets an error."""
    scenario, device = get_scenario("mdlbi-small-v0", **options), torch.device("meta")
    core = Core(scenario, xp, device)
    streams = core.streams(0, 3)
    assert streams.on_device
    state = core.reset(streams)
    action = torch.zeros(3, 2, core.action_codec.size, device=device)
    for _ in range(2):
        state, reward, _ = core.step(state, action, streams)
        assert core.observe(state).shape == (3, 2, core.observation_codec.size)
        assert core.global_state(state).device == device
    assert reward.shape == (3, 2)


@pytest.mark.parametrize("action_form", ["raw", "structured"])
def test_gradients_reach_the_action_and_end_with_the_slot(action_form: str) -> None:
    vec = make_vec_env("mdlbi-small-v0", 2, backend="torch", action=action_form)
    vec.reset(seed=0)
    for _ in range(2):
        numbers = np.random.default_rng(0).normal(size=(2, 2, vec.action_size))
        action = torch.tensor(0.1 * numbers, dtype=torch.float32).requires_grad_()
        observations, rewards, *_ = vec.step(action)
        rewards.sum().backward()
        assert torch.isfinite(action.grad).all()
        assert (action.grad != 0).any()
        assert not observations.requires_grad
        assert not vec._state.bids.requires_grad


def test_random_bits_that_are_all_zero_are_a_number_on_a_device_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """One draw in four thousand million would be infinite."""
    bits = torch.zeros((1, 3), dtype=torch.int64)
    monkeypatch.setattr(philox, "bits_on_device", lambda keys, index, count: bits)
    drawn = philox.normal_on_device(bits[:, :2], bits[:, 0], 3)
    np.testing.assert_allclose(drawn.numpy(), philox.to_normal(np.zeros((1, 3), np.uint64)), rtol=1e-6)


@pytest.mark.skipif(DEVICE.type != "cuda", reason="needs a GPU: --torch-device cuda")
def test_a_gpu_makes_the_same_bits_by_one_kernel() -> None:
    assert philox._kernel(torch.empty(0).device) is not None, "Triton does not run here"
    rng = np.random.default_rng(0)
    for rows, count in [
        (1, 1),
        (1, 4),
        (3, 5),
        (7, 1000),
        (300, 2),
        (2, 70_001),
        *rng.integers(1, 200, (20, 2)).tolist(),
    ]:
        keys = torch.tensor(rng.integers(-(2**63), 2**63, (rows, 2)))
        index = torch.tensor(rng.integers(0, 2**62, rows))
        assert torch.equal(philox.bits_on_device(keys, index, count), philox.bits_of_torch(keys, index, count))


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (None, "import of irs_marl_env.philox_triton halted"),
        (SimpleNamespace(bits=lambda keys, index, count: torch.zeros(2, count, dtype=torch.int64)), "other numbers"),
        (SimpleNamespace(bits=lambda *_: 1 / 0), "division by zero"),
    ],
)
def test_a_kernel_that_does_not_run_or_errs_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kernel: Any, reason: str
) -> None:
    monkeypatch.setitem(sys.modules, "irs_marl_env.philox_triton", kernel)
    monkeypatch.delattr(irs_marl_env, "philox_triton", raising=False)
    assert philox._kernel.__wrapped__(DEVICE) is None
    assert reason in caplog.text


def test_a_kernel_that_agrees_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = SimpleNamespace(bits=philox.bits_of_torch)
    monkeypatch.setitem(sys.modules, "irs_marl_env.philox_triton", kernel)
    monkeypatch.setattr(irs_marl_env, "philox_triton", kernel, raising=False)
    assert philox._kernel.__wrapped__(DEVICE) is philox.bits_of_torch
