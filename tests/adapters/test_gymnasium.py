"""The central view of Gymnasium is the batched environment, flat and bit by bit, however Gymnasium resets it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList, NormalizeObservation, RecordEpisodeStatistics

from irs_marl_env import make_vec_env
from irs_marl_env.adapters.gymnasium import CentralEnv, GymnasiumVectorEnv

HORIZON, ENVS = 5, 3
SETTINGS: dict[str, dict[str, Any]] = {
    "raw": {},
    "structured": {"action": "structured", "observation": "large_scale", "reward": "team"},
    "stagger": {"action": "structured", "stagger": True},
}
METRICS = ("rates", "cell", "owner", "sum_rate", "power_w")
FAST = {"fast": False, "horizon": HORIZON}


def actions(size: int, seed: int = 0) -> Any:
    """Actions ``(E, size)`` without end."""
    rng = np.random.default_rng(seed)
    while True:
        yield rng.uniform(-1, 1, (ENVS, size)).astype(np.float32)


def assert_same(found: Any, expected: Any) -> None:
    """Equality of what infos hold: arrays, arrays of objects, dicts."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(found[key], value)
    elif getattr(expected, "dtype", None) == np.dtype("O"):
        for mine, its in zip(found, expected, strict=True):
            assert (mine is None) == (its is None)
            np.testing.assert_array_equal(mine, its)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_rows_are_those_of_the_batch_over_two_ends(setting: dict[str, Any]) -> None:
    vec = GymnasiumVectorEnv("mdlbi-small-v0", ENVS, **FAST, **setting)
    batch = make_vec_env("mdlbi-small-v0", ENVS, **FAST, **setting)
    flat, infos = vec.reset(seed=4)
    np.testing.assert_array_equal(flat, batch.reset(seed=4)[0].reshape(ENVS, -1))
    assert infos == {}
    ends, actor = 0, actions(2 * batch.action_size)
    for _ in range(2 * HORIZON + 2):
        action = next(actor)
        flat, rewards, terminations, truncations, infos = vec.step(action)
        observations, its, _, over, metrics = batch.step(action.reshape(ENVS, 2, -1))
        assert flat in vec.observation_space
        np.testing.assert_array_equal(flat, observations.reshape(ENVS, -1))
        np.testing.assert_array_equal(rewards, its.sum(-1))
        np.testing.assert_array_equal(truncations, over[:, 0])
        assert not terminations.any()
        for name in METRICS:
            np.testing.assert_array_equal(infos[name], metrics[name])
            assert infos[f"_{name}"].all()
        assert ("final_obs" in infos) == over.any()
        for e in np.flatnonzero(over[:, 0]):
            ends += 1
            assert infos["_final_obs"].tolist() == infos["_final_info"].tolist() == over[:, 0].tolist()
            np.testing.assert_array_equal(infos["final_obs"][e], metrics["final_observation"][e].ravel())
            for name in METRICS:
                np.testing.assert_array_equal(infos["final_info"][name][e], metrics[name][e])
        assert not truncations.any() or all((infos["final_obs"][e] is None) == (not over[e, 0]) for e in range(ENVS))
    assert ends >= 6


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_it_is_gymnasiums_own_vector_of_central_environments(mode: AutoresetMode) -> None:
    """Observations, rewards, flags and infos are those of ``SyncVectorEnv`` over ``CentralEnv``, in every mode."""
    setting = SETTINGS["structured"]
    ours = GymnasiumVectorEnv("mdlbi-small-v0", ENVS, autoreset_mode=mode, **FAST, **setting)
    its = SyncVectorEnv([lambda: CentralEnv("mdlbi-small-v0", **FAST, **setting)] * ENVS, autoreset_mode=mode)
    for name in ("single_observation_space", "single_action_space", "observation_space", "action_space", "num_envs"):
        assert getattr(ours, name) == getattr(its, name)
    assert ours.metadata["autoreset_mode"] == its.metadata["autoreset_mode"]
    np.testing.assert_array_equal(ours.reset(seed=[3, 9, 1])[0], its.reset(seed=[3, 9, 1])[0])
    ends, actor = 0, actions(ours.single_action_space.shape[0])
    for _ in range(2 * HORIZON + 3):
        action = next(actor)
        mine, expected = ours.step(action), its.step(action)
        for found, right in zip(mine[:4], expected[:4], strict=True):
            np.testing.assert_array_equal(found, right)
        if mode is AutoresetMode.SAME_STEP and expected[3].any():  # ours keeps the metrics outside final_info as well
            assert mine[4].keys() >= expected[4].keys()
            assert_same({key: mine[4][key] for key in expected[4]}, expected[4])
        else:
            assert_same(mine[4], expected[4])
        ends += expected[3].sum()
        if mode is AutoresetMode.DISABLED and expected[3].any():
            mask = {"reset_mask": np.ones(ENVS, bool)}
            np.testing.assert_array_equal(ours.reset(options=mask)[0], its.reset(options=mask)[0])
    assert ends == 6


def test_check_env() -> None:
    for setting in (SETTINGS["raw"], SETTINGS["structured"]):
        with pytest.warns(UserWarning, match="due to the environment not having a spec") as warned:
            check_env(CentralEnv("mdlbi-small-v0", **FAST, **setting))
        assert len(warned) == 1


def test_the_central_environment_through_gymnasiums_wrappers() -> None:
    env = gymnasium.wrappers.RecordEpisodeStatistics(
        gymnasium.wrappers.NormalizeObservation(CentralEnv("mdlbi-small-v0", **FAST))
    )
    env.reset(seed=0)
    rewards = 0.0
    for slot in range(1, HORIZON + 1):
        _, reward, terminated, truncated, info = env.step(np.zeros(env.action_space.shape, np.float32))
        rewards += reward
        assert (terminated, truncated, "episode" in info) == (False, slot == HORIZON, slot == HORIZON)
    assert info["episode"]["r"] == pytest.approx(rewards)
    assert info["TimeLimit.truncated"] is True
    with pytest.raises(RuntimeError, match="over"):
        env.step(np.zeros(env.action_space.shape, np.float32))


def test_vector_wrappers() -> None:
    for mode in AutoresetMode:
        vec = RecordEpisodeStatistics(GymnasiumVectorEnv("mdlbi-small-v0", ENVS, autoreset_mode=mode, **FAST))
        vec.reset(seed=0)
        for _ in range(HORIZON):
            infos = vec.step(np.zeros(vec.action_space.shape, np.float32))[4]
        assert infos["episode"]["l"].tolist() == [HORIZON] * ENVS
    listed = DictInfoToList(GymnasiumVectorEnv("mdlbi-small-v0", ENVS, **FAST, stagger=True))
    listed.reset(seed=0)
    rows = [listed.step(np.zeros(listed.action_space.shape, np.float32))[4] for _ in range(HORIZON)]
    assert ["final_obs" in row for row in rows[-1]] == [True, False, False]
    assert {"rates", "final_info", "final_obs"} <= rows[-1][0].keys()
    normal = NormalizeObservation(
        GymnasiumVectorEnv("mdlbi-small-v0", 16, autoreset_mode=AutoresetMode.NEXT_STEP, **FAST)
    )
    normal.reset(seed=0)
    normal.action_space.seed(0)
    observations = [normal.step(normal.action_space.sample())[0] for _ in range(40)][20:]
    assert abs(np.mean(observations)) < 0.1
    assert 0.8 < np.std(observations) < 1.2


def test_seeds() -> None:
    vec = GymnasiumVectorEnv("mdlbi-small-v0", 2, **FAST)
    first = vec.reset(seed=7)[0]
    assert (vec.reset()[0] != first).any()
    np.testing.assert_array_equal(vec.reset(seed=[7, 8])[0], first)
    np.testing.assert_array_equal(CentralEnv("mdlbi-small-v0", **FAST).reset(seed=8)[0], first[1])
    some = vec.reset(options={"reset_mask": np.array([True, False])})[0]
    assert (some[0] != first[0]).any()
    np.testing.assert_array_equal(some[1], first[1])


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="stagger=True needs autoreset=True"):
        GymnasiumVectorEnv("mdlbi-small-v0", 2, autoreset_mode=AutoresetMode.NEXT_STEP, stagger=True, **FAST)
    with pytest.raises(ValueError, match=r"^autoreset_mode='later': must be"):
        GymnasiumVectorEnv("mdlbi-small-v0", 2, autoreset_mode="later", **FAST)
    vec, env = GymnasiumVectorEnv("mdlbi-small-v0", 2, **FAST), CentralEnv("mdlbi-small-v0", **FAST)
    vec.reset(seed=0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"^action has shape \(2, 3\): must be \(2, 132\)$"):
        vec.step(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"^action has shape \(2, 66\): must be \(132,\)$"):
        env.step(np.zeros((2, 66)))
    later = GymnasiumVectorEnv("mdlbi-small-v0", 2, autoreset_mode=AutoresetMode.NEXT_STEP, **FAST)
    later.reset(seed=0)
    with pytest.raises(ValueError, match=r"reset_mask.*NEXT_STEP"):
        later.reset(options={"reset_mask": np.array([True, False])})


def test_pictures() -> None:
    pytest.importorskip("matplotlib")
    env = CentralEnv("mdlbi-small-v0", render_mode="rgb_array", **FAST)
    vec = GymnasiumVectorEnv("mdlbi-small-v0", 2, render_mode="rgb_array", **FAST)
    env.reset(seed=0)
    vec.reset(seed=0)
    picture, pictures = env.render(), vec.render()
    assert picture is not None
    assert pictures is not None
    np.testing.assert_array_equal(picture, pictures[0])
    env.close()
    vec.close()
