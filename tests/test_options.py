"""Every option runs, in every pairing, and means the same in a batch, alone, in numpy and in torch."""

from __future__ import annotations

from typing import Any

import combinations
import numpy as np
import pytest

from irs_marl_env import MdlbiVectorEnv, make_env, make_vec_env
from irs_marl_env.scenario import Scenario

CHOICES = combinations.pairwise()
each_choice = pytest.mark.parametrize("choice", CHOICES, ids=range(len(CHOICES)))


def random_steps(scenario: Scenario, num_envs: int, slots: int, fast: bool | None = None) -> None:
    """Random actions; everything that comes back is checked."""
    vec = make_vec_env(scenario, num_envs, fast=fast)
    single = make_env(scenario)
    box, state_box = single.observation_space("bs_0"), single.state_space
    rng = np.random.default_rng(0)
    observations, infos = vec.reset(seed=0)
    for t in range(slots):
        assert observations.shape == (num_envs, scenario.num_bs, vec.observation_size)
        assert observations.dtype == np.float32
        assert (box.low <= observations).all()
        assert (observations <= box.high).all()  # NaN fails here
        state = vec.state()
        assert (state_box.low <= state).all()
        assert (state <= state_box.high).all()
        action = rng.uniform(-1.1, 1.1, (num_envs, scenario.num_bs, vec.action_size)).astype(np.float32)
        observations, rewards, terminations, truncations, infos = vec.step(action)
        assert np.isfinite(rewards).all()
        assert np.isfinite(infos["rates"]).all()
        assert (infos["rates"] >= 0).all()
        assert (infos["power_w"] <= np.array(scenario.tx_powers_w) * (1 + 1e-5)).all()
        assert (infos["owner"] >= -1).all()
        assert (infos["owner"] < scenario.num_bs).all()
        assert not terminations.any()
        assert truncations.all() == truncations.any() == ((t + 1) % scenario.horizon == 0)


def test_pairs_are_covered() -> None:
    names = list(combinations.OPTIONS)
    for i, a in enumerate(names):
        for b in names[:i]:
            met = {(choice[a], choice[b]) for choice in CHOICES}
            assert len(met) == len(combinations.OPTIONS[a]) * len(combinations.OPTIONS[b]), (a, b)


@each_choice
@pytest.mark.parametrize("fast", [None, False], ids=["as installed", "plain"])
def test_a_thousand_random_steps(fast: bool | None, choice: dict[str, Any]) -> None:
    random_steps(combinations.scenario(choice, horizon=25), num_envs=20, slots=50, fast=fast)


def test_all_readings(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--all-readings"):
        pytest.skip("the full product of readings takes an hour: --all-readings")
    for choice in combinations.all_readings():
        random_steps(combinations.scenario(choice, horizon=25), num_envs=20, slots=50)


def assert_close(actual: Any, expected: Any, what: str, rtol: float, atol: float) -> None:
    actual = actual if isinstance(actual, np.ndarray) else actual.numpy()
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol, err_msg=what)


@each_choice
def test_row_of_a_batch_equals_the_single_environment(choice: dict[str, Any]) -> None:
    scenario = combinations.scenario(choice, horizon=4)
    vec, first_seed = make_vec_env(scenario, 3), 11
    observations, _ = vec.reset(seed=first_seed)
    singles = [make_env(scenario) for _ in range(3)]
    agents = singles[0].possible_agents
    starts = [env.reset(seed=first_seed + i) for i, env in enumerate(singles)]
    for i, (obs, _) in enumerate(starts):
        assert_close(observations[i], [obs[a] for a in agents], "reset", 1e-5, 1e-6)
        np.testing.assert_array_equal(vec.view().owner[i], singles[i].view().owner[0])
    rng = np.random.default_rng(1)
    for _ in range(6):  # across the end of the first episode
        action = rng.uniform(-1, 1, (3, len(agents), vec.action_size)).astype(np.float32)
        observations, rewards, _, truncations, infos = vec.step(action)
        for i, env in enumerate(singles):
            obs, reward, _, truncated, info = env.step(dict(zip(agents, action[i], strict=True)))
            if truncations.any():
                assert all(truncated.values())
                last = infos["final_observation"][i]
                assert_close(last, [obs[a] for a in agents], "final observation", 1e-5, 1e-6)
                assert_close(infos["final_state"][i], env.state(), "final state", 1e-5, 1e-6)
                obs, _ = env.reset()
            assert_close(rewards[i], [reward[a] for a in agents], "reward", 1e-4, 1e-5)
            assert_close(observations[i], [obs[a] for a in agents], "observation", 1e-5, 1e-6)
            rates = sum(info[a]["rates"] for a in agents)
            assert_close(infos["rates"][i], rates, "rates", 1e-4, 1e-5)
            np.testing.assert_array_equal(infos["owner"][i], info["bs_0"]["owner"])
            np.testing.assert_array_equal(infos["cell"][i], info["bs_0"]["cell"])
            assert_close(infos["power_w"][i], [info[a]["power_w"] for a in agents], "power", 1e-4, 0)


def step_all(vec: MdlbiVectorEnv, slots: int) -> list[dict[str, Any]]:
    observations, infos = vec.reset(seed=3)
    seen = [{"observation": observations, **infos}]
    rng = np.random.default_rng(2)
    for _ in range(slots):
        action = rng.uniform(-1, 1, (vec.num_envs, vec.scenario.num_bs, vec.action_size)).astype(np.float32)
        observations, rewards, terminations, truncations, infos = vec.step(action)
        flags = {"terminations": terminations, "truncations": truncations}
        final = {f"final_info {name}": x for name, x in infos.pop("final_info", {}).items()}
        seen.append({"observation": observations, "reward": rewards, "state": vec.state(), **flags, **infos, **final})
    return seen


@each_choice
def test_torch_equals_numpy(choice: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    scenario = combinations.scenario(choice, horizon=3)
    expected = step_all(make_vec_env(scenario, 4), 4)
    actual = step_all(make_vec_env(scenario, 4, backend="torch"), 4)
    for a, b in zip(actual, expected, strict=True):
        assert a.keys() == b.keys()
        for name, value in b.items():
            assert isinstance(a[name], torch.Tensor)
            assert a[name].numpy().dtype == value.dtype, name
            assert_close(a[name], value, name, 2e-3, 2e-4)


@each_choice
def test_compiled_equals_plain(choice: dict[str, Any]) -> None:
    pytest.importorskip("numba")
    scenario = combinations.scenario(choice, horizon=3)
    expected = step_all(make_vec_env(scenario, 4, fast=False), 4)
    actual = step_all(make_vec_env(scenario, 4, fast=True), 4)
    for a, b in zip(actual, expected, strict=True):
        assert a.keys() == b.keys()
        for name, value in b.items():
            assert a[name].dtype == value.dtype, name
            assert_close(a[name], value, name, 2e-3, 2e-4)
