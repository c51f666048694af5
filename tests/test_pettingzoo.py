"""PettingZoo's own battery; pytest runs with warnings as errors."""

import warnings

import numpy as np
import pettingzoo
import pytest

from irs_marl_env import evaluate, get_scenario, make_env, mdlbi_v0, scenario_ids

with warnings.catch_warnings():
    # PettingZoo 1.27's own tests import its environments the way 1.27 deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import api_test, max_cycles_test, parallel_api_test, seed_test
    from pettingzoo.test.state_test import state_test
    from pettingzoo.utils import OrderEnforcingWrapper, parallel_to_aec

SETTINGS = [{}, {"action": "structured", "observation": "large_scale"}, {"num_bs": 3, "num_elements": (4, 2)}]


@pytest.mark.parametrize("setting", SETTINGS)
def test_parallel_api(setting):
    parallel_api_test(make_env("mdlbi-small-v0", **setting), num_cycles=300)


@pytest.mark.parametrize("task", ["collision", "switching", "interference", "city"])
def test_parallel_api_of_the_tasks(task):
    parallel_api_test(make_env(f"mdlbi-{task}-v0", fast=False), num_cycles=20)


@pytest.mark.parametrize("setting", SETTINGS[:2])
def test_aec_api(setting):
    api_test(mdlbi_v0.env("mdlbi-small-v0", **setting), num_cycles=300)


def test_agent_by_agent_view_is_the_same_environment():
    """``raw_env`` and ``env`` return, agent by agent, what the parallel environment returns at once."""
    for make in (mdlbi_v0.raw_env, mdlbi_v0.env):
        parallel, aec = mdlbi_v0.parallel_env("mdlbi-small-v0", max_cycles=3), make("mdlbi-small-v0", max_cycles=3)
        observations, _ = parallel.reset(seed=5)
        aec.reset(seed=5)
        rng = np.random.default_rng(0)
        rewards = dict.fromkeys(parallel.possible_agents, 0.0)
        while parallel.agents:
            actions = {a: rng.uniform(-1, 1, parallel.action_codec.size).astype(np.float32) for a in parallel.agents}
            for agent in parallel.possible_agents:
                assert aec.agent_selection == agent
                observation, reward, terminated, truncated, _ = aec.last()
                np.testing.assert_array_equal(observation, observations[agent])
                assert reward == rewards[agent]
                assert terminated is truncated is False
                aec.step(actions[agent])
            observations, rewards, _, _, _ = parallel.step(actions)
        assert aec.last()[3]
    with pytest.raises(AssertionError, match="reset"):  # env alone checks the order of calls, and once
        mdlbi_v0.env("mdlbi-small-v0").step(None)
    assert not isinstance(mdlbi_v0.raw_env("mdlbi-small-v0"), OrderEnforcingWrapper)
    assert not isinstance(mdlbi_v0.env("mdlbi-small-v0").env, OrderEnforcingWrapper)


def test_seeds():
    seed_test(lambda: parallel_to_aec(make_env("mdlbi-small-v0", horizon=30)), num_cycles=30)


def test_max_cycles():
    max_cycles_test(mdlbi_v0)


def test_state():
    env = make_env("mdlbi-small-v0")
    state_test(mdlbi_v0.env("mdlbi-small-v0"), env)


def test_spaces_are_the_same_objects_and_one_each():
    env = make_env("mdlbi-small-v0")
    for space in (env.observation_space, env.action_space):
        assert space("bs_0") is space("bs_0")
        assert space("bs_0") is not space("bs_1")


def test_truncation_is_for_all_and_flagged_once():
    env = make_env("mdlbi-small-v0", horizon=3)
    env.reset(seed=0)
    keys = {"rates", "sum_rate", "owner", "power_w", "cell"}
    for slot in range(3):
        assert env.agents == ["bs_0", "bs_1"]
        actions = {a: env.action_space(a).sample() for a in env.agents}
        _, rewards, terminations, truncations, infos = env.step(actions)
        last = slot == 2
        assert all(type(value) is float for value in rewards.values())
        assert all(value is False for value in terminations.values())
        assert all(value is last for value in truncations.values())
        for info in infos.values():
            assert set(info) == keys | ({"TimeLimit.truncated"} if last else set())
    assert env.agents == []
    assert env.step({}) == ({}, {}, {}, {}, {})


@pytest.mark.skipif(not hasattr(pettingzoo, "make"), reason="PettingZoo before 1.27 has no registry")
@pytest.mark.parametrize("name", scenario_ids())
def test_registry(name):
    env = pettingzoo.make("parallel", f"irs_marl_env/{name}", horizon=5)
    assert env.unwrapped.scenario == get_scenario(name, horizon=5)


def test_random_policy_scores_what_the_design_says():
    """1.20 +- .08 system bit/s/Hz (20 episodes x 7 slots of a prototype), within four joint standard errors."""
    result = evaluate("random", "mdlbi-v0", episodes=20, slots=7, seed=0)
    assert abs(result.mean - 1.20) < 4 * np.hypot(result.standard_error, 0.08)


def test_a_reset_in_mid_episode_and_a_close_leave_it_usable():
    env, fresh = (make_env("mdlbi-small-v0", horizon=4, fast=False) for _ in range(2))
    assert env.unwrapped is env
    actions = {a: np.full(env.action_codec.size, 0.1, np.float32) for a in env.possible_agents}
    env.reset(seed=0)
    env.step(actions)
    env.close()
    env.close()
    env.step(actions)
    assert env.agents == ["bs_0", "bs_1"]
    for e in (env, fresh):  # in the middle of an episode
        e.reset(seed=7)
    for slot in range(4):
        mine, its = env.step(actions), fresh.step(actions)
        assert mine[1] == its[1]
        assert mine[3]["bs_0"] is (slot == 3)
    assert env.num_agents == 0
    assert env.max_num_agents == 2
