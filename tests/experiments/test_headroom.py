"""Ceilings of the tasks and the table of headrooms."""

import itertools
import math

import numpy as np
import pytest

from irs_marl_env import evaluate, get_scenario, make_vec_env
from irs_marl_env.engine.compilation import obstacle
from irs_marl_env.policies.rules import bids_for

pytestmark = pytest.mark.skipif(bool(obstacle()), reason="needs the kernels")

if not obstacle():
    from experiments import headroom
    from experiments.ceilings import JointSearch, SetSearch, Values, _with, greedy, improved

SMALL = {"num_users": 6, "num_irs": 3, "action": "structured", "observation": "large_scale"}


def small_env(**fields):
    env = make_vec_env(get_scenario("mdlbi-blocked-small-v0", **SMALL, **fields), num_envs=3)
    env.reset(seed=5)
    return env


def true_rates(env, owner):
    """Rates ``(E, M)`` that the environment itself has with these owners."""
    return env._core.slot.rates(env._state, _with(env), owner)[1]


def test_values_are_the_rates_of_the_environment():
    env = small_env(num_bs=3)
    for owner in ([0, 1, 2], [2, 2, 2], [1, 0, 1]):
        held = np.tile(owner, (3, 1))
        np.testing.assert_allclose(Values(env.view()).of_all(held), true_rates(env, held), rtol=1e-4, atol=1e-5)


def test_moves_end_where_no_single_move_adds_anything():
    env = small_env(num_bs=3)
    values = Values(env.view())
    found = improved(values, np.zeros((3, 3), int), near=3)
    best = true_rates(env, found).sum(1)
    for irs, bs in itertools.product(range(3), range(3)):
        other = found.copy()
        other[:, irs] = bs
        assert (true_rates(env, other).sum(1) <= best + 1e-3).all()
    every = [np.tile(owner, (3, 1)) for owner in itertools.product(range(3), repeat=3)]
    top = np.max([true_rates(env, owner).sum(1) for owner in every], axis=0)
    assert (true_rates(env, greedy(values)).sum(1) > 0.9 * top).all()


def test_joint_search_finds_the_best_of_what_it_tries():
    env = small_env(inter_cell_interference=True, reflection="all", power_control=True)
    found = JointSearch(shares=(0.0, 1.0)).actions(env)
    owner = found[..., :3].argmax(1)
    best = env._core.slot.rates(env._state, found, owner)[0].sum(-1)
    for held, share in itertools.product(
        itertools.product(range(2), repeat=3), itertools.product((-1.0, 1.0), repeat=2)
    ):
        owner = np.tile(held, (3, 1))
        tried = _with(env, bids=bids_for(owner, 2), total_power=np.tile(share, (3, 1)))
        assert (env._core.slot.rates(env._state, tried, owner)[0].sum(-1) <= best + 1e-4).all()


def test_a_search_acts_in_measured_slots_and_is_above_the_rule():
    scenario = get_scenario("mdlbi-blocked-small-v0", horizon=9)
    bank = {"episodes": 4, "seed": 3, "slots": 2, "every": 4}
    rule = evaluate("structured-local-gain", scenario, **bank)
    assert evaluate(SetSearch(every=4), scenario, **bank).mean >= rule.mean
    act = SetSearch(every=4).bind(make_vec_env(SetSearch().adapt(scenario), num_envs=1))
    assert callable(act)


def test_headroom_and_its_paired_error():
    rule, ceiling = np.array([1.0, 2.0, 3.0]), np.array([1.2, 2.2, 3.2])
    share, error = headroom.headroom(rule, ceiling)
    assert share == pytest.approx(0.1)
    assert error == pytest.approx(np.std(ceiling - 1.1 * rule, ddof=1) / math.sqrt(3) / 2.0)
    assert headroom.headroom(rule, 1.3 * rule)[1] == pytest.approx(0.0, abs=1e-12)  # pairs in proportion: no error


def test_policies_that_are_not_installed_are_left_out(monkeypatch):
    assert headroom.installed("structured-local-gain")
    assert not headroom.installed("of another version")
    assert headroom.rows("mdlbi-city-v0", [])[1] == "not measured"


def test_the_row_of_a_task_has_the_best_rule_and_the_ceiling():
    bank = {"episodes": 3, "seed": 3, "slots": 1, "every": 1, "num_users": 4}
    results = [
        evaluate(name, "mdlbi-blocked-small-v0", **bank) for name in ("structured-random", "structured-local-gain")
    ]
    ceiling = evaluate("structured-exhaustive", "mdlbi-blocked-small-v0", name="structured-oracle", **bank)
    row = headroom.rows("mdlbi-collision-v0", [*results, ceiling])
    best = max(results, key=lambda result: result.mean)
    assert row[1].startswith(f"{best.policy}: {best.mean:.3f}")
    assert row[2].startswith("structured-oracle")
    assert row[3].startswith(f"{100 * (ceiling.mean / best.mean - 1):.1f} ")
