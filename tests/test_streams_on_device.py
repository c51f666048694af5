"""The torch backend: the same random bits where the arrays live, nothing fetched from there in a step, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irs_marl_env import get_scenario, make_vec_env, philox
from irs_marl_env.engine.core import Core
from irs_marl_env.streams import Streams

torch = pytest.importorskip("torch")
xp = pytest.importorskip("array_api_compat.torch")
CPU = torch.device("cpu")
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
    host, device = Streams.from_seed(3, 4, np), Streams.from_seed(3, 4, xp, CPU, on_device=True)
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
        action = (0.1 * torch.randn(2, 2, vec.action_size, generator=torch.Generator().manual_seed(0))).requires_grad_()
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
