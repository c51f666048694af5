"""``Sb3VecEnv`` is the batched environment, row by row and bit by bit, with a time limit that is one."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'sb3'")
stable_baselines3 = pytest.importorskip("stable_baselines3", reason="needs the extra 'sb3'")

from stable_baselines3.common.vec_env import VecMonitor, VecNormalize  # noqa: E402

from irs_marl_env import evaluate, get_scenario, make_env, make_vec_env  # noqa: E402
from irs_marl_env.adapters.sb3 import Sb3Policy, Sb3VecEnv  # noqa: E402

HORIZON, ENVS = 5, 3
SETTINGS = {
    "raw": {},
    "structured": {"action": "structured", "observation": "large_scale", "reward": "team"},
    "stagger": {"action": "structured", "stagger": True},
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_rows_are_those_of_the_batch_over_two_ends(setting: dict[str, Any]) -> None:
    rows = Sb3VecEnv("mdlbi-small-v0", ENVS, seed=4, fast=False, horizon=HORIZON, **setting)
    batch = make_vec_env("mdlbi-small-v0", ENVS, fast=False, horizon=HORIZON, **setting)
    flat = rows.reset()
    observations, _ = batch.reset(seed=4)
    np.testing.assert_array_equal(flat, observations.reshape(6, -1))
    rng, ends = np.random.default_rng(0), 0
    for _ in range(2 * HORIZON + 2):
        action = rng.uniform(-1, 1, (6, batch.action_size)).astype(np.float32)
        flat, rewards, dones, infos = rows.step(action)
        observations, its_rewards, _, truncations, metrics = batch.step(action.reshape(ENVS, 2, -1))
        assert rows.observation_space.contains(flat[0])
        np.testing.assert_array_equal(flat, observations.reshape(6, -1))
        np.testing.assert_array_equal(rewards, its_rewards.ravel())
        np.testing.assert_array_equal(dones, truncations.ravel())
        for row, info in enumerate(infos):
            e, m = divmod(row, 2)
            own = metrics["cell"][e] == m
            np.testing.assert_array_equal(info["rates"], metrics["rates"][e] * own)
            np.testing.assert_array_equal(info["owner"], metrics["owner"][e])
            np.testing.assert_array_equal(info["cell"], metrics["cell"][e])
            assert (info["sum_rate"], info["power_w"]) == (metrics["sum_rate"][e, m], metrics["power_w"][e, m])
            assert info["TimeLimit.truncated"] is bool(truncations[e, m])
            assert ("terminal_observation" in info) == truncations[e, m]
            if truncations[e, m]:
                ends += 1
                np.testing.assert_array_equal(info["terminal_observation"], metrics["final_observation"][e, m])
    assert ends >= 12


def test_infos_are_those_of_the_single_environment() -> None:
    rows, env = Sb3VecEnv("mdlbi-small-v0", 1, seed=2, fast=False), make_env("mdlbi-small-v0", fast=False)
    rows.reset()
    env.reset(seed=2)
    action = np.random.default_rng(0).uniform(-1, 1, (2, rows.action_space.shape[0])).astype(np.float32)
    infos = rows.step(action)[3]
    its = env.step(dict(zip(env.agents, action, strict=True)))[4]
    for info, expected in zip(infos, its.values(), strict=True):
        assert set(info) == {*expected, "TimeLimit.truncated"}
        for name, value in expected.items():
            np.testing.assert_array_equal(info[name], value)


def test_seeds() -> None:
    rows = Sb3VecEnv("mdlbi-small-v0", 2, fast=False)
    assert rows.seed(7) == [7, 7, 8, 8]
    first = rows.reset()
    assert (rows.reset() != first).any()  # a seed holds for one reset
    rows.seed(7)
    np.testing.assert_array_equal(rows.reset(), first)
    assert rows.seed() == [None] * 4
    assert (rows.reset() != first).any()
    assert (first[:2] != first[2:]).any()


def test_what_a_vec_env_has_beside_steps() -> None:
    pytest.importorskip("matplotlib")
    rows = Sb3VecEnv("mdlbi-small-v0", 2, seed=0, fast=False, render_mode="rgb_array")
    rows.reset()
    assert rows.get_attr("num_envs", [0, 3]) == [2, 2]
    assert rows.env_method("state")[0].shape[0] == 2
    assert len(rows.env_method("state", indices=1)) == 1
    rows.set_attr("note", 5)
    assert rows.get_attr("note") == [5] * 4
    assert rows.env_is_wrapped(VecMonitor) == [False] * 4
    assert len(rows.get_images()) == 2
    picture = rows.render()
    assert picture is not None
    assert picture.shape[2] == 3
    assert Sb3VecEnv("mdlbi-small-v0", 1).render() is None
    rows.close()
    copied = pickle.loads(pickle.dumps(rows))
    np.testing.assert_array_equal(copied.step(np.zeros((4, 66)))[0], rows.step(np.zeros((4, 66)))[0])


def test_wrappers_of_stable_baselines3() -> None:
    rows = VecNormalize(VecMonitor(Sb3VecEnv("mdlbi-small-v0", 2, seed=0, horizon=4, fast=False)))
    rows.reset()
    for slot in range(1, 9):
        infos = rows.step(np.zeros((4, rows.action_space.shape[0])))[3]
        assert all(("episode" in info) == (slot % 4 == 0) for info in infos)
    assert infos[0]["episode"]["l"] == 4


def one(outcome: Any, state: Any) -> Any:
    """A reward of 1."""
    return outcome.sum_rate * 0 + 1


def test_value_of_a_constant_reward_with_a_time_limit() -> None:
    """Reward 1, discount .9: the value is 10 if the end of an episode is no end of the world, 2.7 if it is."""
    torch.set_num_threads(1)
    fields = {"horizon": HORIZON, "reward": one, "action": "structured", "observation": "large_scale"}
    rows = Sb3VecEnv("mdlbi-small-v0", 8, seed=0, fast=False, num_elements=2, num_antennas=1, sweeps=0, **fields)
    model = stable_baselines3.PPO(
        "MlpPolicy",
        rows,
        seed=0,
        gamma=0.9,
        n_steps=20,
        batch_size=80,
        learning_rate=2e-3,
        policy_kwargs={"net_arch": [32]},
        device="cpu",
    )
    model.learn(40 * 20 * rows.num_envs)
    with torch.no_grad():
        value = model.policy.predict_values(torch.as_tensor(rows.reset())).mean().item()
    assert value == pytest.approx(10.0, abs=0.3)


FIELDS = {"action": "structured", "observation": "large_scale", "num_elements": 2, "num_antennas": 1, "fast": False}
SMALL: Any = {"n_steps": 4, "batch_size": 8, "policy_kwargs": {"net_arch": [8]}, "device": "cpu", "seed": 0}


def small_model(algorithm: Any = None, wrap: Any = lambda rows: rows, **settings: Any) -> Any:
    rows = Sb3VecEnv("mdlbi-small-v0", 2, seed=0, sweeps=0, **FIELDS)
    return (algorithm or stable_baselines3.PPO)("MlpPolicy", wrap(rows), **{**SMALL, **settings})


def small_scenario() -> Any:
    return get_scenario("mdlbi-small-v0", sweeps=0, **{k: v for k, v in FIELDS.items() if k != "fast"})


def test_a_model_is_a_policy_for_evaluate_row_by_row() -> None:
    model = small_model()
    policy = Sb3Policy(model)
    observations = np.random.default_rng(0).normal(size=(3, 2, model.observation_space.shape[0])).astype(np.float32)
    actions = policy(observations)
    for e, m in np.ndindex(3, 2):
        np.testing.assert_allclose(actions[e, m], model.predict(observations[e, m], deterministic=True)[0], atol=1e-6)
    assert (actions[0] != actions[1]).any()
    np.testing.assert_array_equal(policy(observations), actions)
    assert (Sb3Policy(model, deterministic=False)(observations) != actions).any()
    result = evaluate(policy, small_scenario(), episodes=2, slots=2)
    assert result.policy == "PPO"
    assert evaluate(Sb3Policy(model, "mine"), small_scenario(), episodes=2, slots=2).policy == "mine"
    model.learn(16)
    assert (policy(observations) != actions).any()  # it is the model, not a copy


def test_a_policy_outlives_its_model_by_file_and_by_pickle(tmp_path: Path) -> None:
    model = small_model()
    model.save(tmp_path / "model.zip")
    policy = Sb3Policy(model)
    expected = evaluate(policy, small_scenario(), episodes=2, slots=2).rates
    loaded = Sb3Policy(stable_baselines3.PPO.load(tmp_path / "model.zip", device="cpu"))
    for other in (loaded, pickle.loads(pickle.dumps(policy))):
        np.testing.assert_array_equal(evaluate(other, small_scenario(), episodes=2, slots=2).rates, expected)
    assert len(pickle.dumps(policy)) < 200_000  # networks, and no environment


def test_a_policy_of_another_algorithm() -> None:
    model = small_model(stable_baselines3.TD3, n_steps=1, batch_size=8, buffer_size=100)
    policy = Sb3Policy(model)
    assert policy.name == "TD3"
    assert evaluate(policy, small_scenario(), episodes=2, slots=2).mean > 0


def test_a_policy_sees_what_its_model_saw() -> None:
    model = small_model(wrap=VecNormalize)
    model.learn(32)
    observations = np.random.default_rng(0).normal(size=(3, 2, model.observation_space.shape[0])).astype(np.float32)
    normalized = model.get_env().normalize_obs(observations.reshape(6, -1))
    expected = model.predict(normalized, deterministic=True)[0].reshape(3, 2, -1)
    np.testing.assert_allclose(Sb3Policy(model)(observations), expected, atol=1e-6)
    plain = small_model()
    assert (Sb3Policy(plain, normalize=model.get_env())(observations) != Sb3Policy(plain)(observations)).any()


def test_what_is_no_policy_is_refused() -> None:
    with pytest.raises(TypeError, match=r"model of type PPO: must be a model .* such as PPO\.load"):
        Sb3Policy(stable_baselines3.PPO)  # the class
    with pytest.raises(TypeError, match="model of type str"):
        Sb3Policy("model.zip")  # type: ignore[arg-type]
    model = small_model()
    with pytest.raises(ValueError, match=r"name=3: must be a text"):
        Sb3Policy(model, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"deterministic=1: must be True or False"):
        Sb3Policy(model, deterministic=1)  # type: ignore[arg-type]
    size = model.observation_space.shape[0]
    with pytest.raises(ValueError, match=rf"observations of 7 numbers: must be {size}, as in the scenario"):
        Sb3Policy(model)(np.zeros((1, 2, 7), np.float32))
    model.policy.predict = lambda rows, deterministic: (np.zeros((2, 15)), "a memory")
    with pytest.raises(ValueError, match="'PPO' has a memory"):
        Sb3Policy(model)(np.zeros((1, 2, size), np.float32))


def test_a_file_of_a_model_that_saw_normalised_observations_needs_what_normalises(tmp_path: Path) -> None:
    """Stable-Baselines3 does not keep it in the file: acting on plain observations would be wrong in silence."""
    model = small_model(wrap=VecNormalize)
    model.learn(32)
    model.save(tmp_path / "model.zip")
    model.get_env().save(str(tmp_path / "normalize.pkl"))
    loaded = stable_baselines3.PPO.load(tmp_path / "model.zip", device="cpu")
    with pytest.raises(ValueError, match=r"'PPO' has seen observations that were normalised: normalize=VecNormalize"):
        Sb3Policy(loaded)
    normalize = VecNormalize.load(str(tmp_path / "normalize.pkl"), small_model().get_env())
    expected = evaluate(Sb3Policy(model), small_scenario(), episodes=2, slots=2).rates
    found = evaluate(Sb3Policy(loaded, normalize=normalize), small_scenario(), episodes=2, slots=2).rates
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(TypeError, match=r"normalize of type str: must be a VecNormalize, such as VecNormalize\.load"):
        Sb3Policy(loaded, normalize="normalize.pkl")  # type: ignore[arg-type]
    other = VecNormalize(Sb3VecEnv("mdlbi-small-v0", 1, fast=False))
    with pytest.raises(ValueError, match=r"normalize is for observations \(546,\): must be for those of the model"):
        Sb3Policy(loaded, normalize=other)


def test_a_model_of_rewards_that_were_normalised_is_read_as_it_is(tmp_path: Path) -> None:
    model = small_model(wrap=lambda env: VecNormalize(env, norm_obs=False))
    model.learn(32)
    model.save(tmp_path / "model.zip")
    Sb3Policy(stable_baselines3.PPO.load(tmp_path / "model.zip", device="cpu"))


@pytest.mark.parametrize("what", ["observation", "action"])
def test_a_model_of_other_spaces_is_refused(what: str) -> None:
    model = small_model()
    setattr(model, f"{what}_space", gymnasium.spaces.Discrete(4))
    with pytest.raises(ValueError, match=rf"'PPO' has the {what} space Discrete\(4\): must be a Box of one dimension"):
        Sb3Policy(model)
