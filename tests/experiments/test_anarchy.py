"""The games behind the price of anarchy, with values that can be done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import anarchy
from irs_marl_env.engine.core import Core


def test_associations_give_each_irs_to_one() -> None:
    assert sorted(map(tuple, anarchy.associations(2, 2).tolist())) == [(0, 3), (1, 2), (2, 1), (3, 0)]
    sets = anarchy.associations(3, 2)
    assert len(sets) == 9
    assert (sets.sum(1) == 3).all()


def test_best_response_by_hand() -> None:
    value = np.array([1.0, 3.0, 2.5, 3.5])  # of no IRS, 0, 1, both
    best, marginal = anarchy.best_response(value, np.array([0.0, 0.0]))
    assert best == 3
    np.testing.assert_allclose(marginal, [1.0, 0.5])
    best, marginal = anarchy.best_response(value, np.array([1.2, 0.4]))  # 1, 1.8, 2.1, 1.9
    assert best == 2
    np.testing.assert_allclose(marginal, [1.0, 1.5])


def test_second_prices_find_the_best_association_where_values_add_up() -> None:
    value = np.array([[0.0, 2.0, 1.0, 3.0], [0.0, 1.0, 1.5, 2.5]])
    assert anarchy.second_price(value, 5.0) == (3.5, True)  # IRS 0 to BS 0, IRS 1 to BS 1
    assert anarchy.second_price(value[::-1], 5.0) == (3.5, True)
    rate, _ = anarchy.second_price(value, 0.5)  # all offer the most: the first wins
    assert rate == 3.0


def test_a_small_bank_from_the_equations() -> None:
    bank = {**anarchy.BANK, "episodes": 3, "slots": 2}
    raw = anarchy.measure(bank)
    rates = {name: np.array(x) for name, x in raw["rates"].items()}
    assert (rates["best"] >= np.max([rates[rule] for rule in anarchy.RULES], axis=0) - 1e-9).all()
    assert (rates["collision"] < rates["auction"]).all()
    text = anarchy.table(raw)
    quotient = rates["best"].mean() / rates["collision"].mean()
    assert f'| `"collision"` | {rates["collision"].mean():.3f} ±' in text
    assert f"| {quotient:.3f} ±" in text


def test_values_of_sets_are_rates_of_the_environment() -> None:
    from irs_marl_env import make_vec_env

    env = make_vec_env("mdlbi-blocked-small-v0", 4, action="structured", observation="large_scale", fast=False)
    env.reset(seed=0)
    value = anarchy.set_values(env)
    action = np.tile(env.action_codec.neutral, (4, 2, 1))
    action[:, 0, :2], action[:, 1, :2] = [1.0, -1.0], [-1.0, 1.0]  # IRS 0 to BS 0, IRS 1 to BS 1
    assert isinstance(env._core, Core)
    found = env.step(action)[4]["sum_rate"]
    np.testing.assert_allclose(np.stack([value[:, 0, 1], value[:, 1, 2]], axis=1), found, rtol=1e-5)
    assert value[:, :, 0].sum() < found.sum()


@pytest.mark.parametrize("rule", anarchy.RULES)
def test_every_rule_is_one_of_the_scenario(rule: str) -> None:
    from irs_marl_env import Scenario

    assert Scenario(contention=rule).contention == rule
