"""Auctions in which the winner pays the second highest bid, if that is above 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, evaluate, make_vec_env

SIZES: dict[str, Any] = {"num_bs": 3, "num_users": 4, "num_irs": 2, "num_antennas": 2, "num_elements": 3, "horizon": 9}
BIDS = [  # of three environments, BS by BS; who wins IRS 0 and 1, and what the three BSs pay at a price of 2
    ([[0.9, -0.1], [0.5, 0.2], [-0.3, 0.7]], [0, 2], [1.0, 0.0, 0.4]),
    ([[-0.9, 0.4], [-0.5, 0.3], [-0.3, 0.1]], [2, 0], [0.6, 0.0, 0.0]),  # nobody pays less than nothing
    ([[0.9, 0.8], [0.1, 0.2], [0.6, -0.5]], [0, 0], [1.6, 0.0, 0.0]),
]


def batch(way: str, **options: Any) -> Any:
    scenario = Scenario(**{**SIZES, "contention": "second_price", "price_bps_hz": 2.0, **options})
    if way == "torch":
        pytest.importorskip("torch")
        return make_vec_env(scenario, 3, backend="torch")
    if way == "compiled":
        pytest.importorskip("numba")
    return make_vec_env(scenario, 3, fast=way == "compiled")


def actions(env: Any, bids: Any) -> Any:
    rng = np.random.default_rng(0)
    flat = rng.uniform(-1, 1, (3, env.scenario.num_bs, env.action_size)).astype(np.float32)
    flat[..., env.action_codec.layout.slices["bids"]] = bids
    return env._xp.asarray(flat)


@pytest.mark.parametrize("way", ["plain", "compiled", "torch"])
@pytest.mark.parametrize(
    "options",
    [{}, {"reward": "team"}, {"association_delay": 1}, {"switching_slots": 2}, {"reward": "min_rate", "bid_cost": 0.5}],
    ids=str,
)
def test_by_hand(way: str, options: dict[str, Any]) -> None:
    """What is paid is the difference from the auction, which has the same owners; also where they act later."""
    env, auction = batch(way, **options), batch(way, **options, contention="auction")
    env.reset(seed=0)
    auction.reset(seed=0)
    action = actions(env, [bids for bids, _, _ in BIDS])
    found, free = env.step(action), auction.step(action)
    paid = np.asarray(free[1]) - np.asarray(found[1])
    np.testing.assert_allclose(paid, [payments for _, _, payments in BIDS], atol=1e-5)
    assert found[4]["owner"].tolist() == free[4]["owner"].tolist()
    np.testing.assert_array_equal(found[4]["sum_rate"], free[4]["sum_rate"])  # before payments
    if not options:
        assert found[4]["owner"].tolist() == [winners for _, winners, _ in BIDS]


@pytest.mark.parametrize("way", ["plain", "compiled", "torch"])
def test_who_wins_a_tie_pays_its_bid_and_who_is_alone_nothing(way: str) -> None:
    env, auction = batch(way), batch(way, contention="auction")
    env.reset(seed=0)
    auction.reset(seed=0)
    action = actions(env, [[0.6, -0.2], [0.6, -0.2], [0.1, -0.2]])
    found, free = env.step(action), auction.step(action)
    winner = np.asarray(found[4]["owner"])[:, 0]
    expected = np.where(winner[:, None] == np.arange(3), 1.2, 0.0)
    np.testing.assert_allclose(np.asarray(free[1]) - np.asarray(found[1]), expected, atol=1e-5)
    alone, free = batch(way, num_bs=1), batch(way, num_bs=1, contention="auction")
    alone.reset(seed=0)
    free.reset(seed=0)
    action = actions(alone, 0.7)
    np.testing.assert_array_equal(alone.step(action)[1], free.step(action)[1])


def test_gradients_of_payments_reach_the_bid_that_sets_the_price() -> None:
    torch = pytest.importorskip("torch")
    env = batch("torch")
    env.reset(seed=0)
    action = torch.as_tensor(actions(env, [bids for bids, _, _ in BIDS])).requires_grad_()
    env.step(action)[1].sum().backward()
    gradient = action.grad[..., env.action_codec.layout.slices["bids"]]
    assert gradient[0].tolist() == [[0.0, 0.0], [-2.0, -2.0], [0.0, 0.0]]


def test_policies_bid_as_in_the_auction() -> None:
    scenario = Scenario(**SIZES)
    mean = {
        rule: evaluate("structured-local-gain", scenario.replace(contention=rule), episodes=3, slots=3).mean
        for rule in ("auction", "second_price")
    }
    assert mean["auction"] == mean["second_price"]


def test_the_price_is_checked() -> None:
    with pytest.raises(ValueError, match=r"price_bps_hz=-1.0: must be a finite number in \[0, 1e\+06\]"):
        Scenario(price_bps_hz=-1.0)


@pytest.mark.parametrize("num_bs", [1, 2])
def test_without_irss_nobody_pays(num_bs: int) -> None:
    env = batch("plain", num_bs=num_bs, num_irs=0, reward="team")
    env.reset(seed=0)
    _, reward, _, _, infos = env.step(np.zeros((3, num_bs, env.action_size), np.float32))
    np.testing.assert_allclose(reward[:, 0], infos["sum_rate"].mean(-1), rtol=1e-5)
