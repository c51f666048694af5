"""Compiled kernels against the plain functions whose formulas they repeat, on random input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, make_vec_env
from irs_marl_env.engine import plain
from irs_marl_env.engine.core import Core
from irs_marl_env.engine.state import State
from irs_marl_env.physics.deployment import irs_positions
from irs_marl_env.physics.mobility import mobility_constants
from irs_marl_env.streams import Streams

pytest.importorskip("numba")
from irs_marl_env.engine import compiled, kernels

SIZES = ((1, 1, 1, 1, 1), (2, 5, 3, 4, 6), (3, 12, 4, 8, 16), (2, 3, 0, 2, 5), (4, 7, 6, 3, 9))


def scenario(size: tuple[int, ...], **options: Any) -> Scenario:
    num_bs, num_users, num_irs, num_antennas, num_elements = size
    return Scenario(
        num_bs=num_bs,
        num_users=num_users,
        num_irs=num_irs,
        num_antennas=num_antennas,
        num_elements=num_elements,
        **options,
    )


@pytest.mark.parametrize("start", [0, 1, 2, 3, 7, 1_000_003])
def test_random_bits_are_those_of_numpy(start: int) -> None:
    key = np.array([0x0123456789ABCDEF, 0xFEDCBA9876543210], np.uint64)
    generator = np.random.Philox(key=key)
    generator.advance(start // 4)
    generator.random_raw(start % 4)
    out, index = np.empty((1, 23), np.uint64), np.array([start], np.uint64)
    kernels.random_bits(key[None], index, out)
    np.testing.assert_array_equal(out[0], generator.random_raw(23))
    assert index[0] == start + 23


@pytest.mark.parametrize("mobility", ["group", "random_waypoint"])
def test_users_walk_as_without_kernels(mobility: str) -> None:
    """Fast users, so that they arrive often; whole episodes, so that an error would grow."""
    s = Scenario(mobility=mobility, speed_mps=20.0, num_users=9)
    constants, arrived = mobility_constants(s, np), 0
    models = [parts.mobility_model(s) for parts in (plain, compiled)]
    assert models[0].advance is not models[1].advance
    streams = [parts.Streams.from_seed(1, 3, np) for parts in (plain, compiled)]
    motions = [model.start(constants, stream, None) for model, stream in zip(models, streams, strict=True)]
    for _ in range(100):
        before = motions[0]["target"]
        motions = [model.advance(constants, *each) for model, *each in zip(models, motions, streams, strict=True)]
        arrived += int((motions[0]["target"] != before).any(-1).sum())
        for name in ("point", "target", "travel", "position"):
            np.testing.assert_allclose(motions[1][name], motions[0][name], rtol=1e-9, atol=1e-9, err_msg=name)
    assert arrived > 100
    assert streams[0].get_state() == streams[1].get_state()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("user_height_m", [1.5, 4.8])
def test_cells_and_gains_are_the_plain_ones(size: tuple[int, ...], user_height_m: float) -> None:
    """With users almost as high as the IRSs, so that distances below 1 m occur."""
    s = scenario(size, user_height_m=user_height_m, mobility="static", group_radius_m=1.0)
    position = np.random.default_rng(0).uniform(0, s.area_m, (4, s.num_users, 2))
    if s.num_irs:
        position[0, 0] = irs_positions(s)[0, :2]
    result, expected = (
        parts.channel_model(s, np, None).large_scale({"position": position}, {}) for parts in (compiled, plain)
    )
    np.testing.assert_array_equal(result[0], expected[0])
    np.testing.assert_array_equal(result[1], expected[1])
    for mine, its in zip(result[2], expected[2], strict=True):
        np.testing.assert_allclose(mine, its, rtol=2e-6)


def state_of(core: Core, num_envs: int) -> tuple[State, Streams]:
    streams = core.streams(2, num_envs)
    return core.reset(streams), streams


@pytest.mark.parametrize("power", ["ball", "sphere"])
@pytest.mark.parametrize("size", SIZES)
def test_slot_of_raw_actions_is_the_plain_one(size: tuple[int, ...], power: str) -> None:
    s = scenario(size, power=power, group_radius_m=1.0)
    core, plain_slot = Core(s, fast=True), plain.Slot(s)
    assert core.slot.whole_slot
    state, _ = state_of(core, 5)
    action = np.random.default_rng(3).uniform(-1.2, 1.2, (5, s.num_bs, core.action_codec.size)).astype(np.float32)
    action[0] *= 0.01  # below the power limit
    action[1, :, : 2 * s.num_users * s.num_antennas] = 0  # zero beams
    for owner in (state.owner, np.full_like(state.owner, -1)):
        rates, sum_rate, power_w = core.slot.rates(state, action, owner)
        expected_rates, expected_sum, expected_power = plain_slot.rates(state, action, owner)
        np.testing.assert_allclose(rates, expected_rates, rtol=2e-4, atol=2e-5)
        np.testing.assert_allclose(power_w, expected_power, rtol=1e-5)
        np.testing.assert_allclose(sum_rate, expected_sum, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("size", SIZES)
def test_owned_gains_are_the_plain_ones(size: tuple[int, ...]) -> None:
    s = scenario(size, group_radius_m=1.0)
    state, _ = state_of(Core(s, fast=True), 5)
    owner = state.owner.copy()
    owner[0] = -1
    slots = [parts.Slot(s) for parts in (compiled, plain)]
    results = [slot.owned_gains(state.gains, state.own_user, owner, state.cell) for slot in slots]
    for mine, its in zip(*results, strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("fields", [{}, {"phase_bits": 2}, {"action": "structured"}, {"csi_error_variance": 0.1}])
def test_auction_is_the_plain_one_where_bids_are_equal(fields: dict[str, Any]) -> None:
    """Owners and where the streams stand: few values of bids make many ties, of the highest bids and of others."""
    s = scenario((3, 4, 2, 1, 1), group_radius_m=1.0, **fields)
    cores = [Core(s, fast=fast) for fast in (True, False)]
    each = [core.streams(7, 6) for core in cores]
    rng, tied_rows = np.random.default_rng(0), set()
    for levels in (1, 2, 3, 3, 3, 5, 9, 1, 2, 10_000, 10_000):
        action = np.zeros((6, 3, cores[0].action_codec.size), np.float32)
        at = cores[0].action_codec.layout.slices["bids"]
        action[..., at] = rng.integers(0, levels, (6, 3, s.num_irs)) / levels * 2 - 0.9  # some beyond the limit
        before = [row["words"] for row in each[0].get_state()["association"]]
        (bids, owner), (plain_bids, plain_owner) = (
            core.slot.auction(action, streams) for core, streams in zip(cores, each, strict=True)
        )
        np.testing.assert_array_equal(bids, plain_bids)
        np.testing.assert_array_equal(owner, plain_owner)
        assert each[0].get_state() == each[1].get_state()
        after = [row["words"] for row in each[0].get_state()["association"]]
        tied_rows.add(sum(x > y for x, y in zip(after, before, strict=True)))
    assert {0, 6} < tied_rows  # none, all, and some


def test_a_tie_of_low_bids_is_none() -> None:
    key, index = np.zeros((1, 2), np.uint64), np.zeros(1, np.uint64)
    bids, owner = np.empty((1, 3, 1), np.float32), np.empty((1, 1), np.int64)
    kernels.auction(np.array([[[0.25], [0.25], [0.5]]], np.float32), 0, key, index, bids, owner)
    assert owner[0, 0] == 2
    assert index[0] == 0
    for equal in (-1.0, 0.0, 0.5, 7.0):
        kernels.auction(np.full((1, 3, 1), equal, np.float32), 0, key, index, bids, owner)
    assert index[0] == 4 * 3


def test_actions_may_lie_in_memory_as_they_like() -> None:
    results = []
    for order in (lambda x: x, np.asfortranarray, lambda x: np.repeat(x, 2, axis=-1)[..., ::2], lambda x: x.tolist()):
        vec = make_vec_env("mdlbi-small-v0", 3)
        vec.reset(seed=0)
        action = np.random.default_rng(0).uniform(-1, 1, (3, 2, vec.action_size)).astype(np.float32)
        results.append(vec.step(order(action)))
    for other in results[1:]:
        np.testing.assert_array_equal(other[0], results[0][0])
        np.testing.assert_array_equal(other[1], results[0][1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_seen(bad: float) -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 1001)).astype(np.float32)
    x[0, 0, 0] = 3e38
    assert kernels.finite(x)
    for place in ((0, 0, 0), (1, 1, 500), (2, 1, 1000)):
        y = x.copy()
        y[place] = bad
        assert not kernels.finite(y)


def test_large_draws_use_memory_again_only_when_nobody_looks() -> None:
    streams = compiled.Streams.from_seed(0, 4, np)
    expectation = Streams.from_seed(0, 4, np)
    rng = np.random.default_rng(0)
    kept = []
    for slot in range(12):
        amplitude = rng.integers(0, 2, (4, 50)).astype(np.float32)
        drawn = streams.scaled_normal("irs_user_fading", amplitude, 100)
        expected = expectation.scaled_normal("irs_user_fading", amplitude, 100)
        np.testing.assert_allclose(drawn, expected, atol=4e-6)
        if slot % 4 == 0:
            kept.append((drawn, expected))
        last = drawn.ctypes.data
        del drawn
    for mine, its in kept:
        np.testing.assert_allclose(mine, its, atol=4e-6)
    assert streams.scaled_normal("irs_user_fading", amplitude, 100).ctypes.data == last
