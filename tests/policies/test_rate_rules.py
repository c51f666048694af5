"""Rules by rates of the decoder and by head counts: what they choose is what they claim."""

from __future__ import annotations

import itertools
import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, evaluate, make_vec_env
from irs_marl_env.policies import POLICIES

TINY = Scenario(
    num_bs=2, num_users=4, num_irs=2, num_antennas=2, num_elements=8, blockage_db=35.0, speed_mps=20.0, horizon=12
)
ENVS = 12


def begun(name: str, scenario: Scenario) -> tuple[Any, Any]:
    env = make_vec_env(POLICIES[name].adapt(scenario), ENVS, fast=False)
    env.reset(seed=0)
    return env, POLICIES[name].bind(env)


def test_marginal_bids_rise_with_the_mean_of_first_and_last_rate() -> None:
    env, act = begun("structured-marginal", TINY.replace(num_irs=3, csi_error_variance=0.2))
    view, action = env.view(), act()
    every = np.array(list(itertools.product([False, True], repeat=3)))
    value = view.set_rates(every)

    def of(members: list[bool]) -> Any:
        return value[..., int(np.flatnonzero((every == members).all(1))[0])]

    bids = env.action_codec.decode(action)["bids"]
    for l in range(3):
        one, rest = [i == l for i in range(3)], [i != l for i in range(3)]
        worth = (of(one) - of([False] * 3) + of([True] * 3) - of(rest)) / 2
        np.testing.assert_allclose(bids[..., l], worth / (abs(worth) + 10), atol=1e-6)
    action[..., env.action_codec.layout.slices["bids"]] = 0
    np.testing.assert_array_equal(action, np.tile(env.action_codec.neutral, (ENVS, 2, 1)))
    np.testing.assert_array_equal(env.action_codec.decode(action)["focus"], 1)


CHANGES: list[dict[str, Any]] = [
    {},
    {"inter_cell_interference": True, "reflection": "all", "blockage_db": 5.0},
    {"contention": "collision"},
    {"contention": "priority", "inter_cell_interference": True, "reflection": "all", "num_irs": 3},
    {"csi_error_variance": 0.5},
    {"sinr": "paper"},
    {"num_bs": 3, "num_users": 5},
    {"csi": "owned"},
]


@pytest.mark.parametrize("fields", CHANGES, ids=str)
def test_the_oracle_has_the_best_that_any_bids_bring(fields: dict[str, Any]) -> None:
    """By stepping copies of the environment with all bids of -1 and +1, one winner for each IRS at most."""
    scenario = TINY.replace(**fields)
    env, act = begun("structured-oracle", scenario)
    reached = env.step(act())[-1]["sum_rate"].sum(1)
    M, L, best = scenario.num_bs, scenario.num_irs, np.full(ENVS, -np.inf)
    idle = [-1] if "contention" in fields else []
    for owners in itertools.product([*idle, *range(M)], repeat=L):
        copy, _ = begun("structured-oracle", scenario)
        action = np.tile(copy.action_codec.neutral, (ENVS, M, 1))
        bids = np.where(np.array(owners) == np.arange(M)[:, None], 1.0, -1.0)
        action[..., copy.action_codec.layout.slices["bids"]] = bids
        infos = copy.step(action)[-1]
        np.testing.assert_array_equal(infos["owner"], np.tile(owners, (ENVS, 1)))
        best = np.maximum(best, infos["sum_rate"].sum(1))
    np.testing.assert_allclose(reached, best, rtol=1e-5)


@pytest.mark.parametrize("fields", CHANGES[:6], ids=str)
def test_no_structured_rule_is_above_the_oracle(fields: dict[str, Any]) -> None:
    """Slot by slot: owners of a slot do not change later slots."""
    rates = {}
    for name in (x for x in POLICIES if x.startswith("structured-") or x == "head-count"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what others neglect
            rates[name] = evaluate(name, TINY, episodes=8, slots=4, progress=False, **fields).rates.sum(-1)
    oracle = rates.pop("structured-oracle")
    assert len(rates) == 6
    for name, its in rates.items():
        assert (its <= oracle * (1 + 1e-5)).all(), name
        assert its.mean() < oracle.mean() or name == "structured-exhaustive", name
    if not fields:
        assert rates["structured-random"].mean() < rates["structured-marginal"].mean()


def test_an_oracle_leaves_an_irs_idle_where_that_is_better() -> None:
    """Foreign users hear what it scatters, and nobody else could stop it."""
    fields = {"inter_cell_interference": True, "reflection": "all", "contention": "collision", "bs_irs_exponent": 2.0}
    env, act = begun("structured-oracle", TINY.replace(**fields, sweeps=0))
    owners = np.stack([env.step(act())[-1]["owner"] for _ in range(8)])
    assert 0 < (owners == -1).mean() < 0.5


def test_an_oracle_refuses_what_would_not_end() -> None:
    with pytest.raises(ValueError, match=r"num_irs=11: must be so few .* 1024 .*\(2 owners to the power .* 2048\)"):
        evaluate("structured-oracle", TINY, num_irs=11, episodes=1, slots=1)
    with pytest.raises(ValueError, match=r"\(3 owners to the power of num_irs are 2187\)"):
        evaluate("structured-oracle", TINY, num_irs=7, contention="collision", episodes=1, slots=1)
    POLICIES["structured-oracle"].adapt(TINY.replace(num_irs=10))


def test_marginal_rates_need_csi_of_all_irss() -> None:
    with pytest.raises(
        ValueError, match="'structured-marginal' values every IRS by its CSI: csi='owned' must be 'all'"
    ):
        evaluate("structured-marginal", TINY, csi="owned", episodes=1, slots=1)


def shares(load: list[int], num_irs: int) -> list[int]:
    """Numbers of IRSs by the L largest of all quotients load / 2, load / 3, ..."""
    quotients = [(Fraction(users, i + 2), -m) for m, users in enumerate(load) for i in range(num_irs)]
    winners = [-m for _, m in sorted(quotients, reverse=True)[:num_irs]]
    return [winners.count(m) for m in range(len(load))]


def test_shares_of_two_irss() -> None:
    """All to the BS with three of four users or more, one each where both have two."""
    assert [shares([n, 4 - n], 2) for n in range(5)] == [[0, 2], [0, 2], [1, 1], [2, 0], [2, 0]]


@pytest.mark.parametrize(
    "fields",
    [{}, {"num_bs": 3, "num_users": 7, "num_irs": 4}, {"num_irs": 5}, {"num_bs": 1}, {"num_users": 1}],
    ids=str,
)
@pytest.mark.parametrize("contention", ["collision", "priority", "auction"])
def test_head_counts_leave_no_irs_contested_or_idle(fields: dict[str, Any], contention: str) -> None:
    scenario = TINY.replace(**fields, mobility="random_waypoint", contention=contention, reward="team")
    env, act = begun("head-count", scenario)
    seen = set()
    for _ in range(12):
        view, action = env.view(), act()
        claims = env.action_codec.decode(action)["bids"] > 0
        np.testing.assert_array_equal(claims.sum(1), 1)
        for e in range(ENVS):
            load = view.own_user[e].sum(-1).tolist()
            assert claims[e].sum(-1).tolist() == shares(load, scenario.num_irs)
            seen.add(tuple(load))
        np.testing.assert_array_equal(env.step(action)[-1]["owner"], claims.argmax(1))
    assert len(seen) > 2 or scenario.num_bs == 1 or scenario.num_users == 1


def test_head_counts_take_the_irs_with_the_greatest_gain_from_the_bs() -> None:
    """IRSs 0 and 1 stand nearer to BS 0 and BS 1; with one each, each BS has its own."""
    sites = {
        "bs_positions_m": ((0.0, 0.0, 10.0), (80.0, 0.0, 10.0)),
        "irs_positions_m": ((20.0, 9.0, 5.0), (60.0, 9.0, 5.0)),
    }
    env, act = begun("head-count", TINY.replace(**sites, num_users=2, mobility="random_waypoint"))
    equal = env.view().own_user.sum(-1)[:, 0] == 1
    assert equal.any()
    bids = env.action_codec.decode(act())["bids"]
    np.testing.assert_array_equal(bids[equal], np.tile([[1, -1], [-1, 1]], (equal.sum(), 1, 1)))


def test_bs_to_irs_gains_are_equal_where_sites_are_symmetric() -> None:
    """On the street all IRSs are as far from a BS as their mirror images: the last one is taken first."""
    env, act = begun("head-count", TINY.replace(num_irs=2))
    even = env.view().own_user.sum(-1)[:, 0] == 2
    assert even.any()
    bids = env.action_codec.decode(act())["bids"]
    np.testing.assert_array_equal(bids[even].argmax(1), np.tile([1, 0], (even.sum(), 1)))
