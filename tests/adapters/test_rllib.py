"""``RLlibEnv`` is the batched environment by agent, and RLlib's own runner takes its ends for truncations."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray.rllib", reason="needs ray[rllib]")

from irs_marl_env import make_env, make_vec_env
from irs_marl_env.adapters.rllib import RLlibEnv

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

HORIZON = 5
SETTINGS: dict[str, dict[str, Any]] = {
    "raw": {},
    "structured": {"action": "structured", "observation": "large_scale", "reward": "team"},
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_steps_are_those_of_the_batch_over_two_ends(setting: dict[str, Any]) -> None:
    fields = {"fast": False, "horizon": HORIZON, **setting}
    env, batch = RLlibEnv({"scenario": "mdlbi-small-v0", **fields}), make_vec_env("mdlbi-small-v0", 1, **fields)
    observations, infos = env.reset(seed=4)
    expected = batch.reset(seed=4)[0]
    assert infos == {"bs_0": {}, "bs_1": {}}
    rng, ends = np.random.default_rng(0), 0
    for _ in range(2 * HORIZON + 2):
        np.testing.assert_array_equal(np.stack(list(observations.values())), expected[0])
        action = rng.uniform(-1, 1, (2, batch.action_size)).astype(np.float32)
        observations, rewards, terminateds, truncateds, infos = env.step(dict(zip(env.agents, action, strict=True)))
        expected, its, _, over, metrics = batch.step(action[None])
        np.testing.assert_array_equal(list(rewards.values()), its[0])
        assert terminateds == {"__all__": False}
        assert truncateds == {"__all__": bool(over[0, 0])}
        assert [info["sum_rate"] for info in infos.values()] == metrics["sum_rate"][0].tolist()
        if over.any():
            ends += 1
            np.testing.assert_array_equal(np.stack(list(observations.values())), metrics["final_observation"][0])
            observations, _ = env.reset()
    assert ends == 2


def test_spaces_and_copies() -> None:
    env, single = RLlibEnv({"scenario": "mdlbi-small-v0"}), make_env("mdlbi-small-v0")
    assert env.possible_agents == env.agents == ["bs_0", "bs_1"]
    for agent in env.agents:
        assert env.get_observation_space(agent) == single.observation_space(agent)
        assert env.get_action_space(agent) == single.action_space(agent)
    env.reset(seed=0)
    action = {agent: np.zeros(66, np.float32) for agent in env.agents}
    copied = pickle.loads(pickle.dumps(env))
    assert copied.step(action)[1] == env.step(action)[1]
    assert RLlibEnv().env.scenario == make_env("mdlbi-v0").scenario


def test_the_runner_of_rllib_truncates() -> None:
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

    fields = {"scenario": "mdlbi-small-v0", "fast": False, "horizon": HORIZON, **SETTINGS["structured"]}
    config = (
        PPOConfig()
        .environment(RLlibEnv, env_config=fields)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .multi_agent(policies={"shared"}, policy_mapping_fn=lambda agent, episode, **_: "shared")
        .debugging(seed=3)
    )
    runner = MultiAgentEnvRunner(config=config)
    done = [episode for episode in runner.sample(num_episodes=4) if episode.is_done]
    assert len(done) >= 4
    for episode in done:
        assert (episode.is_terminated, episode.is_truncated) == (False, True)
        for of_agent in episode.agent_episodes.values():
            assert (of_agent.is_terminated, of_agent.is_truncated, len(of_agent)) == (False, True, HORIZON)
    firsts = {episode.agent_episodes["bs_0"].get_observations(0).tobytes() for episode in done}
    assert len(firsts) == len(done)  # no two environments and no two episodes share a stream
    runner.stop()
