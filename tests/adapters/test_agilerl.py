"""``AgileVecEnv`` is the batched environment by agent, and AgileRL's own vector without its losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("agilerl", reason="needs agilerl")

from agilerl.vector.pz_async_vec_env import AsyncPettingZooVecEnv

from irs_marl_env import make_env, make_vec_env
from irs_marl_env.adapters.agilerl import AgileVecEnv

pytestmark = pytest.mark.filterwarnings("ignore")  # AgileRL's own

HORIZON, ENVS = 5, 3
AGENTS = ("bs_0", "bs_1")
SETTINGS: dict[str, dict[str, Any]] = {
    "raw": {},
    "structured": {"action": "structured", "observation": "large_scale", "reward": "team"},
    "stagger": {"action": "structured", "stagger": True},
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_steps_are_those_of_the_batch_over_two_ends(setting: dict[str, Any]) -> None:
    vec = AgileVecEnv("mdlbi-small-v0", ENVS, fast=False, horizon=HORIZON, **setting)
    batch = make_vec_env("mdlbi-small-v0", ENVS, fast=False, horizon=HORIZON, **setting)
    observations, infos = vec.reset(seed=4)
    np.testing.assert_array_equal(np.stack(list(observations.values()), axis=1), batch.reset(seed=4)[0])
    assert infos == {agent: {} for agent in AGENTS}
    rng, ends = np.random.default_rng(0), 0
    for _ in range(2 * HORIZON + 2):
        action = rng.uniform(-1, 1, (ENVS, 2, batch.action_size)).astype(np.float32)
        found = vec.step({agent: action[:, m] for m, agent in enumerate(AGENTS)})
        *right, metrics = batch.step(action)
        for mine, its in zip(found[:4], right, strict=True):
            assert tuple(mine) == AGENTS
            np.testing.assert_array_equal(np.stack(list(mine.values()), axis=1), its)
        over = right[3][:, 0]
        for m, agent in enumerate(AGENTS):
            info = found[4][agent]
            assert found[0][agent] in vec.observation_space(agent)
            np.testing.assert_array_equal(info["rates"], metrics["rates"] * (metrics["cell"] == m))
            np.testing.assert_array_equal(info["sum_rate"], metrics["sum_rate"][:, m])
            np.testing.assert_array_equal(info["power_w"], metrics["power_w"][:, m])
            for name in ("owner", "cell"):
                np.testing.assert_array_equal(info[name], metrics[name])
            assert ("terminal_observation" in info) == over.any()
            if over.any():
                ends += over.sum()
                np.testing.assert_array_equal(info["TimeLimit.truncated"], over)
                np.testing.assert_array_equal(info["terminal_observation"], metrics["final_observation"][:, m])
    assert ends >= 12


def test_it_is_agilerls_own_vector() -> None:
    """Whatever AgileRL's processes hand out, before and after an end, is the same; of infos at an end it has none."""
    fields = {"fast": False, "horizon": 2, **SETTINGS["structured"]}
    ours = AgileVecEnv("mdlbi-small-v0", 2, **fields)
    its = AsyncPettingZooVecEnv([lambda: make_env("mdlbi-small-v0", **fields)] * 2)
    try:
        for agent in AGENTS:
            for space in ("observation_space", "action_space", "single_observation_space", "single_action_space"):
                assert getattr(ours, space)(agent) == getattr(its, space)(agent)
        assert (ours.num_envs, ours.agents, ours.num_agents) == (its.num_envs, its.agents, its.num_agents)
        first, expected = ours.reset(seed=3)[0], its.reset(seed=3)[0]
        for agent in AGENTS:
            np.testing.assert_array_equal(first[agent], expected[agent])
        rng = np.random.default_rng(0)
        for slot in range(1, 6):
            action = {agent: rng.uniform(-1, 1, ours.action_space(agent).shape).astype(np.float32) for agent in AGENTS}
            if slot == 3:  # the other way to step: a dict for each environment
                ours.step_async([{agent: action[agent][e] for agent in AGENTS} for e in range(2)])
                mine, right = ours.step_wait(), its.step(action)
            else:
                mine, right = ours.step(action), its.step(action)
            for found, wanted in zip(mine[:4], right[:4], strict=True):
                for agent in AGENTS:
                    np.testing.assert_array_equal(found[agent], wanted[agent])
            for agent in AGENTS:
                for name in ("rates", "sum_rate", "owner", "power_w", "cell"):
                    if slot % 2 == 1:
                        np.testing.assert_array_equal(mine[4][agent][name], right[4][agent][name])
                    else:
                        assert name not in right[4].get(agent, {})
                        assert name in mine[4][agent]
    finally:
        its.close()


def test_seeds_shapes_and_pictures() -> None:
    vec = AgileVecEnv("mdlbi-small-v0", 2, fast=False)
    first = vec.reset(seed=7)[0]["bs_0"]
    assert (vec.reset()[0]["bs_0"] != first).any()
    np.testing.assert_array_equal(vec.reset(seed=[7, 8])[0]["bs_0"], first)
    with pytest.raises(ValueError, match=r"^action has shape \(2, 2, 3\): must be \(2, 2, 66\)$"):
        vec.step({agent: np.zeros((2, 3)) for agent in AGENTS})
    pytest.importorskip("matplotlib")
    seen = AgileVecEnv("mdlbi-small-v0", 2, fast=False, render_mode="rgb_array")
    seen.reset(seed=0)
    pictures = seen.render()
    assert pictures is not None
    assert len(pictures) == 2
    seen.close()


def test_what_matd3_remembers_and_does() -> None:
    """One step of AgileRL's own collector over an end: actions come from its networks, its memory takes the rest."""
    from agilerl.algorithms import MATD3

    vec = AgileVecEnv("mdlbi-small-v0", 2, fast=False, horizon=1, **SETTINGS["structured"])
    spaces = [[of(agent) for agent in AGENTS] for of in (vec.single_observation_space, vec.single_action_space)]
    learner = MATD3(*spaces, agent_ids=list(AGENTS), vect_noise_dim=2)
    observations, infos = vec.reset(seed=0)
    for _ in range(3):
        action, _ = learner.get_action(obs=observations, infos=infos)
        observations, rewards, terminations, truncations, infos = vec.step(action)
        assert all(truncations[agent].all() and not terminations[agent].any() for agent in AGENTS)
        assert all(rewards[agent].shape == (2,) for agent in AGENTS)
        assert all((infos[agent]["terminal_observation"] != observations[agent]).any() for agent in AGENTS)
