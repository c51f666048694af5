"""Metrics: values worked out by hand and in loops, what they need, and functions of one's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Result, evaluate, get_scenario, make_vec_env
from irs_marl_env.estimate import Estimate, student_t
from irs_marl_env.metrics import METRICS

SMALL = get_scenario("mdlbi-small-v0", horizon=10, num_irs=1, num_elements=5)


def made(users: Any, cell: Any, power: Any, scenario: Any = SMALL, **more: Any) -> Result:
    """A result of given rates of users."""
    users, cell = np.array(users, float), np.array(cell)
    rates = np.stack([np.where(cell == m, users, 0.0).sum(-1) for m in range(scenario.num_bs)], -1)
    return Result("mine", scenario, 0, rates, user_rates=users, cell=cell, power_w=np.array(power, float), **more)


def by_hand() -> Result:
    """Two episodes of two slots, four users."""
    users = [[[1.0, 2.0, 3.0, 4.0], [3.0, 2.0, 1.0, 0.0]], [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 8.0]]]
    cell = [[[0, 0, 1, 1], [0, 1, 1, 1]], [[0, 0, 0, 0], [1, 1, 1, 1]]]
    return made(users, cell, [[[0.1, 0.3], [0.4, 0.0]], [[0.0, 0.0], [0.2, 0.2]]])


def test_values_by_hand() -> None:
    result, c = by_hand(), SMALL.fairness_offset
    np.testing.assert_allclose(result.metric("sum_rate").episodes, [8.0, 4.0])
    np.testing.assert_allclose(result.metric("min_rate").episodes, [0.5, 0.0])
    # mean rates are 2, 2, 2, 2 and 0, 0, 0, 4
    np.testing.assert_allclose(result.metric("jain").episodes, [1.0, 0.25])
    # sorted 0 1 1 2 2 3 3 4; 5 % of the way from the first to the last of eight is 0.35 steps
    np.testing.assert_allclose(result.metric("rate_p5").episodes, [0.35, 0.0])
    logs = [[math.log2(c + x) for x in slots] for slots in ([1, 2, 3, 4, 3, 2, 1, 0], [0] * 7 + [8])]
    np.testing.assert_allclose(result.metric("proportional_fair").episodes, np.mean(logs, axis=1))
    s = SMALL
    fixed = 2 * s.circuit_power_w + 5 * s.irs_element_power_w
    expected = [
        (10 / (0.4 / s.amplifier_efficiency + fixed) + 6 / (0.4 / s.amplifier_efficiency + fixed)) / 2,
        (0 + 8 / (0.4 / s.amplifier_efficiency + fixed)) / 2,
    ]
    np.testing.assert_allclose(result.metric("energy_efficiency").episodes, expected)


def test_jain_of_nothing_is_fair() -> None:
    nothing = made(np.zeros((1, 2, 4)), np.zeros((1, 2, 4), int), np.zeros((1, 2, 2)))
    assert nothing.metric("jain").mean == 1.0


def test_constants_are_those_of_the_scenario() -> None:
    other = SMALL.replace(fairness_offset=2.0, circuit_power_w=1.0, irs_element_power_w=0.5, amplifier_efficiency=0.5)
    result = by_hand()
    changed = made(result.user_rates, result.cell, result.power_w, other)
    assert changed.metric("proportional_fair").episodes[1] == pytest.approx((7 * 1 + math.log2(10)) / 8)
    assert changed.metric("energy_efficiency").episodes[1] == pytest.approx(0.5 * 8 / (0.4 / 0.5 + 2 + 5 * 0.5))


@pytest.mark.parametrize("name", ["proportional_fair", "min_rate", "energy_efficiency"])
def test_metrics_are_the_rewards_where_one_bs_has_all_users(name: str) -> None:
    """One BS that owns all IRSs: the mean reward over an episode is the metric of the episode."""
    scenario = SMALL.replace(num_bs=1, horizon=5, reward=name)
    result = evaluate("random-rzf", scenario, episodes=2)
    from irs_marl_env.policies import POLICIES

    env = make_vec_env(POLICIES["random-rzf"].adapt(scenario), 2, autoreset=False)
    env.reset(seed=0)
    act = POLICIES["random-rzf"].bind(env)
    rewards = [env.step(act())[1] for _ in range(5)]
    np.testing.assert_allclose(result.metric(name).episodes, np.mean(rewards, axis=0)[:, 0], rtol=1e-4)


def test_proportional_fair_is_the_reward_weighted_by_users() -> None:
    scenario = SMALL.replace(reward="proportional_fair", horizon=3)
    result = evaluate("random", scenario, episodes=3)
    env = make_vec_env(scenario, 3, autoreset=False)
    from irs_marl_env.policies import POLICIES

    env.reset(seed=0)
    act, total = POLICIES["random"].bind(env), np.zeros(3)
    for _ in range(3):
        _, rewards, _, _, infos = env.step(act())
        users = (infos["cell"][:, None] == np.arange(2)[:, None]).sum(-1)
        total += (rewards * users).sum(-1) / 4
    np.testing.assert_allclose(result.metric("proportional_fair").episodes, total / 3, rtol=1e-5)


def test_what_evaluate_keeps_is_what_the_steps_said() -> None:
    result = evaluate("random-rzf", SMALL, episodes=3, slots=2, every=3, first=1)
    assert result.user_rates is not None
    assert result.cell is not None
    assert result.power_w is not None
    assert result.user_rates.shape == result.cell.shape == (3, 2, 4)
    assert result.power_w.shape == (3, 2, 2)
    for m in range(2):
        mine = np.where(result.cell == m, result.user_rates, 0).sum(-1)
        np.testing.assert_allclose(mine, result.rates[..., m], atol=5e-6)
    np.testing.assert_allclose(result.power_w[result.rates > 0], SMALL.tx_power_w, rtol=1e-5)
    two = evaluate("random-rzf", SMALL, episodes=20, slots=1, processes=2)
    one = evaluate("random-rzf", SMALL, episodes=20, slots=1)
    for name in ("user_rates", "cell", "power_w"):
        np.testing.assert_array_equal(getattr(two, name), getattr(one, name))


def test_small_powers_keep_their_digits() -> None:
    result = evaluate("random-mrt", SMALL, episodes=1, slots=1, tx_power_dbm=-70.0, noise_power_dbm=-170.0)
    assert result.power_w is not None
    np.testing.assert_allclose(result.power_w, 1e-10, rtol=1e-5)
    again = Result.from_json(result.to_json())
    np.testing.assert_array_equal(again.power_w, result.power_w)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "sum_rate"])
def test_a_metric_says_what_a_result_lacks(name: str) -> None:
    bound = evaluate("upper-bound", SMALL, episodes=2, slots=1)
    assert bound.user_rates is bound.cell is bound.power_w is None
    with pytest.raises(
        ValueError, match=rf"'{name}' needs .*, which 'upper-bound' does not have: it is the result of a"
    ):
        bound.metric(name)
    assert bound.metric("sum_rate").mean == bound.mean


def test_own_functions() -> None:
    result = by_hand()
    best = result.metric(lambda r: r.user_rates.max(-1))  # (episodes, slots): averaged
    np.testing.assert_allclose(best.episodes, [3.5, 4.0])
    np.testing.assert_allclose(result.metric(lambda r: r.rates[:, 0, 0]).episodes, [3.0, 0.0])
    bound = evaluate("upper-bound", SMALL, episodes=2, slots=1)
    with pytest.raises(ValueError, match="'<lambda>' failed on 'upper-bound': it is the result of a bound"):
        bound.metric(lambda r: r.user_rates.max(-1))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda r: 1.0, r"'<lambda>' returned an array of shape \(\): must be \(2,\) or \(2, 2\)"),
        (lambda r: np.zeros(3), r"shape \(3,\)"),
        (lambda r: r.user_rates, r"shape \(2, 2, 4\)"),
        (lambda r: np.array([1.0, np.nan]), "numbers that are not finite"),
        (lambda r: np.array([1j, 2.0]), "entries of type complex128"),
        (lambda r: ["1", "2"], "entries of type <U1"),
        (lambda r: [[1.0], [1.0, 2.0]], "no array of numbers"),
        (lambda r: None, "shape"),
    ],
)
def test_own_functions_are_checked(function: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        by_hand().metric(function)


def test_errors_of_own_functions_stay_their_own() -> None:
    with pytest.raises(AttributeError, match="no_such"):
        by_hand().metric(lambda r: r.no_such)


@pytest.mark.parametrize(
    ("metric", "kind", "message"),
    [
        ("jian", ValueError, r"metric='jian': must be one of sum_rate, .*; did you mean 'jain'\?"),
        (3, TypeError, "metric=3: must be one of"),
        (None, TypeError, "metric=None"),
        (float, TypeError, "metric=<class 'float'>"),
    ],
)
def test_metrics_that_are_none(metric: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        by_hand().metric(metric)


def test_differences_of_a_metric_are_paired() -> None:
    mine = by_hand()
    its = made(mine.user_rates[:, ::-1] * 0.5, mine.cell, mine.power_w)
    gap = mine.difference(its, metric="min_rate")
    np.testing.assert_allclose(gap.episodes, [0.25, 0.0])
    other = made(mine.user_rates, mine.cell, mine.power_w, SMALL.replace(fairness_offset=1.0))
    assert mine.difference(other).mean == 0.0  # a constant of a reward is no physics
    with pytest.raises(ValueError, match=r"different physics: fairness_offset=0\.1 and 1\.0"):
        mine.difference(other, metric="proportional_fair")


def test_intervals_by_student() -> None:
    t = pytest.importorskip("scipy.stats").t
    for degrees in [*range(1, 40), 50, 100, 1000, 10**6]:
        assert student_t(degrees) == pytest.approx(t.ppf(0.975, degrees), abs=2e-5)
    estimate = Estimate.of(np.array([1.0, 2.0, 3.0, 6.0]))
    expected = t.interval(0.95, 3, loc=3.0, scale=np.std([1, 2, 3, 6], ddof=1) / 2)
    np.testing.assert_allclose(estimate.interval, expected, rtol=1e-6)
    assert math.isnan(Estimate.of(np.array([1.0])).half_width)
