"""Every wrapper of SuperSuit and PettingZoo that takes continuous actions, over two episodes each.

docs/neighbours.md lists those that are missing here, and why.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pettingzoo
import pytest
from pettingzoo.utils import conversions, wrappers

from irs_marl_env import make_env, mdlbi_v0

ss = pytest.importorskip("supersuit")

HORIZON = 4
SETTING: dict[str, Any] = {"action": "structured", "observation": "large_scale", "horizon": HORIZON, "fast": False}
METRICS = {"rates", "sum_rate", "owner", "power_w", "cell"}
Rewards = list[np.ndarray]  # (M,) of every step of an episode


def make(**setting: Any) -> Any:
    return make_env("mdlbi-small-v0", **{**SETTING, **setting})


SIZE = make().action_codec.size
VIEW = make().observation_codec.size


def actions(agents: list[str], slot: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(slot)
    return {agent: rng.uniform(-0.5, 0.5, SIZE).astype(np.float32) for agent in agents}


def bare(seed: int, action: Callable[[dict[str, np.ndarray]], Any] = lambda a: a) -> Rewards:
    """Rewards of an episode of the environment without a wrapper."""
    env, rewards = make(), []
    env.reset(seed=seed)
    for slot in range(HORIZON):
        rewards.append(np.array(list(env.step(action(actions(env.agents, slot)))[1].values())))
    return rewards


def doubled(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {agent: 2 * x for agent, x in given.items()}


BOTH: dict[str, tuple[Callable[[Any], Any], Callable[[int], Rewards]]] = {
    "nothing": (lambda env: env, bare),
    "action_lambda_v1": (lambda env: ss.action_lambda_v1(env, lambda a, space: a, lambda space: space), bare),
    "clip_actions_v0": (ss.clip_actions_v0, bare),
    "clip_reward_v0": (lambda env: ss.clip_reward_v0(env, 0, 1), lambda seed: [np.clip(r, 0, 1) for r in bare(seed)]),
    "delay_observations_v0": (lambda env: ss.delay_observations_v0(env, 1), bare),
    "dtype_v0": (lambda env: ss.dtype_v0(env, np.float64), bare),
    "flatten_v0": (ss.flatten_v0, bare),
    "frame_stack_v1": (lambda env: ss.frame_stack_v1(env, 3), bare),
    "frame_stack_v2": (lambda env: ss.frame_stack_v2(env, 3), bare),
    "max_observation_v0": (lambda env: ss.max_observation_v0(env, 2), bare),
    "nan_noop_v0": (lambda env: ss.nan_noop_v0(env, np.zeros(SIZE, np.float32)), bare),
    "nan_random_v0": (ss.nan_random_v0, bare),
    "nan_zeros_v0": (ss.nan_zeros_v0, bare),
    "normalize_obs_v0": (lambda env: ss.normalize_obs_v0(env, 0, 1), bare),
    "observation_lambda_v0": (lambda env: ss.observation_lambda_v0(env, lambda o, s: o, lambda s: s), bare),
    "pad_action_space_v0": (ss.pad_action_space_v0, bare),
    "pad_observations_v0": (ss.pad_observations_v0, bare),
    "reshape_v0": (lambda env: ss.reshape_v0(env, (VIEW // 2, 2)), bare),
    "reward_lambda_v0": (lambda env: ss.reward_lambda_v0(env, lambda r: 3 * r), lambda s: [3 * r for r in bare(s)]),
    "scale_actions_v0": (lambda env: ss.scale_actions_v0(env, 2.0), lambda seed: bare(seed, doubled)),
    "sticky_actions_v0": (lambda env: ss.sticky_actions_v0(env, 0.0), bare),
}
_BACK = conversions.aec_to_parallel_wrapper
PARALLEL = {
    **BOTH,
    "BaseParallelWrapper": (wrappers.BaseParallelWrapper, bare),
    "frame_skip_v0": (lambda env: ss.frame_skip_v0(env, 1), bare),
    "aec_to_parallel": (lambda env: conversions.aec_to_parallel(conversions.parallel_to_aec(env)), bare),
    "aec_to_parallel_wrapper": (lambda env: _BACK(conversions.parallel_to_aec_wrapper(env)), bare),
    "turn_based_aec_to_parallel": (
        lambda env: conversions.turn_based_aec_to_parallel(conversions.parallel_to_aec_wrapper(env)),
        bare,
    ),
}
AEC = {
    **BOTH,
    "OrderEnforcingWrapper": (wrappers.OrderEnforcingWrapper, bare),
    "BaseWrapper": (wrappers.BaseWrapper, bare),
    "ClipOutOfBoundsWrapper": (wrappers.ClipOutOfBoundsWrapper, bare),
    "AssertOutOfBoundsWrapper": (wrappers.AssertOutOfBoundsWrapper, bare),
}


def check_observations(env: Any, observations: dict[str, Any]) -> None:
    for agent, observation in observations.items():
        assert env.observation_space(agent).contains(observation), agent


def compare(actual: Rewards, expected: Rewards) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("name", PARALLEL)
def test_parallel_wrappers(name: str) -> None:
    wrap, expected = PARALLEL[name]
    env = wrap(make())
    for seed in (3, 5):
        observations, infos = env.reset(seed=seed)
        check_observations(env, observations)
        assert {agent: dict(info) for agent, info in infos.items()} == {"bs_0": {}, "bs_1": {}}
        rewards = []
        for slot in range(HORIZON):
            observations, reward, terminations, truncations, infos = env.step(actions(env.agents, slot))
            check_observations(env, observations)
            rewards.append(np.array([reward[agent] for agent in ("bs_0", "bs_1")]))
            last = slot == HORIZON - 1
            assert not any(terminations.values())
            assert set(truncations.values()) == {last}
            for info in infos.values():  # the metrics of the slot, of the last one too
                assert set(info) == METRICS | ({"TimeLimit.truncated"} if last else set())
        assert list(env.agents) == []
        compare(rewards, expected(seed))


@pytest.mark.parametrize("name", AEC)
def test_agent_by_agent_wrappers(name: str) -> None:
    wrap, expected = AEC[name]
    env = wrap(mdlbi_v0.raw_env("mdlbi-small-v0", **SETTING))
    for seed in (3, 5):
        env.reset(seed=seed)
        rewards: dict[str, list[float]] = {"bs_0": [], "bs_1": []}
        for turn, agent in enumerate(env.agent_iter(100)):
            observation, reward, terminated, truncated, info = env.last()
            assert env.observation_space(agent).contains(observation)
            assert terminated is False
            rewards[agent].append(reward)
            if turn >= 2:
                assert set(info) == METRICS | ({"TimeLimit.truncated"} if truncated else set())
            env.step(None if truncated else actions(["bs_0", "bs_1"], turn // 2)[agent])
        assert env.agents == []
        compare(list(np.array(list(rewards.values())).T[1:]), expected(seed))


def test_skipped_frames_add_their_rewards() -> None:
    """The parallel wrapper draws from ``env.np_random``, which must leave the episode as it is."""
    for frames, steps in ((2, 2), ((1, 3), None)):
        env = ss.frame_skip_v0(make(), frames)
        env.reset(seed=3)
        total, count = np.zeros(2), 0
        given = actions(env.agents, 0)
        while env.agents:
            total += list(env.step(given)[1].values())
            count += 1
        assert count == (steps or count)
        compare([total], [np.sum(bare(3, lambda _, given=given: given), axis=0)])
    env = make()
    first = [env.reset(seed=9) and env.np_random.integers(1000, size=5).tolist() for _ in range(2)]
    assert first[0] == first[1]


def test_sticky_actions_repeat_an_action() -> None:
    """Whichever were repeated, the rewards are those of the last actions or of the new ones."""
    env, first = ss.sticky_actions_v0(make(), 0.9), actions(["bs_0", "bs_1"], 0)
    env.reset(seed=3)
    rewards = [list(env.step(actions(env.agents, min(slot, 1)))[1].values()) for slot in range(HORIZON)]
    compare(rewards[:1], bare(3, lambda _: first)[:1])
    assert np.isfinite(rewards).all()


def test_nan_actions_become_zeros() -> None:
    env, other = ss.nan_zeros_v0(make()), make()
    for e in (env, other):
        e.reset(seed=3)
    with pytest.warns(UserWarning, match="Taking the all zeroes action"):
        got = env.step({agent: np.full(SIZE, np.nan) for agent in env.agents})[1]
    assert got == other.step({agent: np.zeros(SIZE) for agent in other.agents})[1]


def test_one_agent_at_a_time_gets_all_rewards() -> None:
    """PettingZoo's wrapper of turn-based games makes one step of each turn."""
    env = conversions.turn_based_aec_to_parallel_wrapper(conversions.parallel_to_aec_wrapper(make()))
    env.reset(seed=3)
    total = np.zeros(2)
    for turn in range(2 * HORIZON):
        _, reward, _, truncations, _ = env.step(actions(env.agents, turn // 2))
        total += [reward.get(agent, 0.0) for agent in ("bs_0", "bs_1")]
    assert all(truncations.values())
    assert np.isfinite(total).all()


@pytest.mark.skipif(not hasattr(wrappers, "MultiEpisodeParallelEnv"), reason="not in this PettingZoo")
def test_several_episodes_as_one() -> None:
    env = wrappers.MultiEpisodeParallelEnv(make(), 2)
    env.reset(seed=3)
    rewards = []
    for slot in range(2 * HORIZON):
        observations, reward, _, truncations, _ = env.step(actions(["bs_0", "bs_1"], slot % HORIZON))
        check_observations(env, observations)
        rewards.append(np.array(list(reward.values())))
        assert set(truncations.values()) == {slot == 2 * HORIZON - 1}
    compare(rewards, bare(3) + bare(4))


# --- SuperSuit's vector environments ----------------------------------------------------------------------------------


def steps_of(vec: Any) -> Iterator[tuple[int, Any]]:
    for slot in range(2 * HORIZON):
        given = np.stack([*actions(["bs_0", "bs_1"], slot % HORIZON).values()] * (vec.num_envs // 2))
        yield slot, vec.step(given)


@pytest.mark.parametrize("copies", [1, 2])
def test_the_last_slot_keeps_its_metrics_through_supersuit(copies: int) -> None:
    """As Stable-Baselines3 sees it: the flag it bootstraps on, the last observation, rates that are not of a reset."""
    pytest.importorskip("stable_baselines3")
    vec = ss.concat_vec_envs_v1(ss.pettingzoo_env_to_vec_env_v1(make()), copies, base_class="stable_baselines3")
    vec.reset()
    for slot, (observations, rewards, dones, infos) in steps_of(vec):
        last = slot % HORIZON == HORIZON - 1
        assert dones.tolist() == [last] * 2 * copies
        for i, info in enumerate(infos):
            assert info["sum_rate"] == pytest.approx(rewards[i])  # the local reward is the sum rate
            assert np.sum(info["rates"]) == pytest.approx(rewards[i], rel=1e-5)
            assert ("TimeLimit.truncated" in info) == ("terminal_observation" in info) == last
            assert info.get("TimeLimit.truncated", False) is last
        if last:  # observations are those of the next episode
            final = np.stack([info["terminal_observation"] for info in infos])
            assert final.shape == observations.shape
            assert not np.array_equal(final, observations)


def test_the_terminal_observation_is_the_last_one() -> None:
    vec, env = ss.pettingzoo_env_to_vec_env_v1(make()), make()
    vec.reset(seed=3)
    env.reset(seed=3)
    for slot, (_, rewards, _, truncations, infos) in steps_of(vec):
        observations, reward, *_ = env.step(actions(env.agents, slot % HORIZON))
        np.testing.assert_allclose(rewards, list(reward.values()), rtol=1e-6)
        assert truncations.tolist() == [slot % HORIZON == HORIZON - 1] * 2
        if not env.agents:
            for i, agent in enumerate(observations):
                np.testing.assert_array_equal(infos[i]["terminal_observation"], observations[agent])
            env.reset()


def test_gymnasium_vectors_of_supersuit() -> None:
    vec = ss.concat_vec_envs_v1(ss.pettingzoo_env_to_vec_env_v1(make()), 2, base_class="gymnasium")
    observations, _ = vec.reset(seed=3)
    singles = [make(), make()]
    for i, env in enumerate(singles):  # SuperSuit seeds copy i with seed + i
        expected, _ = env.reset(seed=3 + i)
        np.testing.assert_array_equal(observations[2 * i : 2 * i + 2], list(expected.values()))
    for slot, (_, rewards, _, _, _) in steps_of(vec):
        for i, env in enumerate(singles):
            expected_rewards = list(env.step(actions(env.agents, slot % HORIZON))[1].values())
            np.testing.assert_allclose(rewards[2 * i : 2 * i + 2], expected_rewards, rtol=1e-6)
            if not env.agents:
                env.reset()


@pytest.mark.filterwarnings("ignore:agent_selector is deprecated")  # SuperSuit 3.11 uses PettingZoo's old name
def test_agent_by_agent_vectors_of_supersuit() -> None:
    vec = ss.vectorize_aec_env_v0(mdlbi_v0.raw_env("mdlbi-small-v0", **SETTING), 2)
    vec.reset(seed=3)
    rewards: dict[str, list[np.ndarray]] = {"bs_0": [], "bs_1": []}
    for turn, agent in zip(range(2 * HORIZON + 1), vec.agent_iter(100), strict=False):
        observation, reward, _, truncations, *_ = vec.last()
        assert all(vec.observation_space(agent).contains(row) for row in observation)
        assert truncations.tolist() == [turn == 2 * HORIZON] * 2
        rewards[agent].append(reward.copy())
        vec.step([actions(["bs_0", "bs_1"], min(turn // 2, HORIZON - 1))[agent]] * 2)
    for i in range(2):  # once the first agent has seen the end, SuperSuit resets: nobody else sees the last reward
        expected = np.array(bare(3 + i))
        compare([x[i] for x in rewards["bs_0"][1:]], list(expected[:, 0]))
        compare([x[i] for x in rewards["bs_1"][1:]], list(expected[:-1, 1]))


# --- PettingZoo's registry --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(pettingzoo, "make"), reason="PettingZoo before 1.27 has no registry")
def test_both_kinds_of_environments_are_registered() -> None:
    name = "irs_marl_env/mdlbi-small-v0"
    aec = pettingzoo.make("aec", name, **SETTING)
    parallel = pettingzoo.make("parallel", name, **SETTING)
    assert isinstance(aec, pettingzoo.AECEnv)
    assert isinstance(parallel, pettingzoo.ParallelEnv)
    assert aec.unwrapped.scenario == parallel.unwrapped.scenario == make().scenario
    with pytest.raises(AssertionError, match="reset"):  # the order of calls is checked
        aec.step(None)
    for kind in ("aec", "parallel"):
        env = pettingzoo.make(kind, name, max_cycles=3, num_users=2)
        assert (env.unwrapped.scenario.horizon, env.unwrapped.scenario.num_users) == (3, 2)


def test_without_a_registry_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    from irs_marl_env.registration import register_presets

    monkeypatch.delattr(pettingzoo, "register", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_presets()
