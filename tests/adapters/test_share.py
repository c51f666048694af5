"""``ShareEnv`` is the batched environment in the words of HARL and on-policy, with all their runners ask for."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from irs_marl_env import make_env, make_vec_env
from irs_marl_env.adapters.share import ShareEnv

HORIZON, ENVS = 5, 3
SETTINGS: dict[str, dict[str, Any]] = {
    "raw": {},
    "structured": {"action": "structured", "observation": "large_scale", "reward": "team"},
    "stagger": {"action": "structured", "stagger": True},
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_steps_are_those_of_the_batch_over_two_ends(setting: dict[str, Any]) -> None:
    share = ShareEnv("mdlbi-small-v0", ENVS, seed=4, fast=False, horizon=HORIZON, **setting)
    batch = make_vec_env("mdlbi-small-v0", ENVS, fast=False, horizon=HORIZON, **setting)
    observations, states, available = share.reset()
    np.testing.assert_array_equal(observations, batch.reset(seed=4)[0])
    np.testing.assert_array_equal(states, np.stack([batch.state()] * 2, axis=1))
    assert available.tolist() == [None] * ENVS
    rng, ends = np.random.default_rng(0), 0
    for _ in range(2 * HORIZON + 2):
        action = rng.uniform(-1, 1, (ENVS, 2, batch.action_size)).astype(np.float32)
        share.step_async(action)
        observations, states, rewards, dones, infos, available = share.step_wait()
        expected, its, _, over, metrics = batch.step(action)
        np.testing.assert_array_equal(observations, expected)
        np.testing.assert_array_equal(states, np.stack([batch.state()] * 2, axis=1))
        np.testing.assert_array_equal(rewards, its[..., None])
        np.testing.assert_array_equal(dones, over)
        assert available.tolist() == [None] * ENVS
        for e, m in np.ndindex(ENVS, 2):
            info = infos[e][m]
            assert info["bad_transition"] is bool(over[e, m])
            for name in ("rates", "cell", "owner"):
                np.testing.assert_array_equal(info[name], metrics[name][e])
            assert (info["sum_rate"], info["power_w"]) == (metrics["sum_rate"][e, m], metrics["power_w"][e, m])
            assert ("original_obs" in info) == ("original_state" in info) == (bool(over[e, m]) and m == 0)
        for e in np.flatnonzero(over[:, 0]):
            ends += 1
            np.testing.assert_array_equal(infos[e][0]["original_obs"], metrics["final_observation"][e])
            np.testing.assert_array_equal(infos[e][0]["original_state"], np.stack([metrics["final_state"][e]] * 2))
            assert infos[e][0]["original_avail_actions"] is None
            assert (infos[e][0]["original_obs"] != observations[e]).any()
    assert ends >= 6


def test_what_the_runners_ask_for() -> None:
    share, env = ShareEnv("mdlbi-small-v0", ENVS, fast=False), make_env("mdlbi-small-v0", fast=False)
    assert (share.num_envs, share.n_agents) == (ENVS, 2)
    for m, agent in enumerate(env.possible_agents):  # lists by agent; their networks look at the name of the class
        assert share.observation_space[m] == env.observation_space(agent)
        assert share.action_space[m] == env.action_space(agent)
        assert share.share_observation_space[m] == env.state_space
    spaces = [share.observation_space, share.action_space, share.share_observation_space]
    assert [len(of_agents) for of_agents in spaces] == [2, 2, 2]
    assert {type(space).__name__ for of_agents in spaces for space in of_agents} == {"Box"}
    observations, states, available = share.reset()
    assert observations[0, 0] in share.observation_space[0]
    assert states[0, 0] in share.share_observation_space[0]
    assert (observations.dtype, states.dtype) == (np.float32, np.float32)
    available.copy()  # HARL's runners do
    before = copy.deepcopy((observations, states))
    share.step(np.zeros((ENVS, 2, share.action_space[0].shape[0])))
    np.testing.assert_array_equal(observations, before[0])
    np.testing.assert_array_equal(states, before[1])


def test_masks_of_both_libraries() -> None:
    """HARL looks for the key, on-policy takes it for granted: a truncated step is a bad transition for both."""
    share = ShareEnv("mdlbi-small-v0", ENVS, seed=0, fast=False, horizon=2)
    share.reset()
    for slot in (1, 2, 3, 4):
        infos, dones = share.step(np.zeros((ENVS, 2, share.action_space[0].shape[0])))[4:2:-1]
        harl = [[0.0] if info[0].get("bad_transition", False) else [1.0] for info in infos]
        on_policy = [[[0.0] if info[m]["bad_transition"] else [1.0] for m in range(2)] for info in infos]
        right = 0.0 if slot % 2 == 0 else 1.0
        assert dones.all() == dones.any() == (slot % 2 == 0)
        assert harl == [[right]] * ENVS
        assert on_policy == [[[right]] * 2] * ENVS


def test_seeds() -> None:
    share = ShareEnv("mdlbi-small-v0", 2, seed=7, fast=False)
    first = share.reset()[0]
    assert (share.reset()[0] != first).any()  # a seed holds for one reset
    share.seed(7)
    np.testing.assert_array_equal(share.reset()[0], first)
    share.seed(8)
    np.testing.assert_array_equal(share.reset()[0][0], first[1])


def test_wrong_shapes_are_refused() -> None:
    share = ShareEnv("mdlbi-small-v0", 2, seed=7, fast=False)
    share.reset()
    with pytest.raises(ValueError, match=r"^action has shape \(4, 66\): must be \(2, 2, 66\)$"):
        share.step(np.zeros((4, 66)))


def test_pictures() -> None:
    pytest.importorskip("matplotlib")
    share = ShareEnv("mdlbi-small-v0", 2, fast=False, render_mode="rgb_array")
    share.reset()
    pictures = share.render()
    assert pictures is not None
    assert len(pictures) == 2
    share.close()
