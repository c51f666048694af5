"""Episodes that end at different steps in different rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irs_marl_env import make_env, make_vec_env

OPTIONS = [
    {},
    {"fading": "ar1", "bs_irs_fading": "episode", "mobility": "random_waypoint"},
    {"fading": "frozen", "bs_irs_fading": "frozen", "layout": "frozen", "csi_error_variance": 0.1},
    {"mobility": "gauss_markov", "association_delay": 1, "csi": "owned", "rho": "bids"},
    {"action": "structured", "observation": "large_scale", "contention": "collision"},
    {"mobility": "trace", "trace": np.random.default_rng(0).uniform(0, 80, (9, 4, 2))},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("fast", [None, False], ids=["as installed", "plain"])
def test_each_row_is_the_single_environment(options: dict[str, Any], fast: bool | None) -> None:
    horizon, num_envs = 8, 4
    settings = {"horizon": horizon, "fast": fast, **options}
    vec = make_vec_env("mdlbi-small-v0", num_envs, stagger=True, **settings)
    singles = [make_env("mdlbi-small-v0", **settings) for _ in range(num_envs)]
    actions = np.random.default_rng(1).uniform(-1, 1, (21, num_envs, 2, vec.action_size)).astype(np.float32)
    observations, _ = vec.reset(seed=30)
    ends = [8, 6, 4, 2]
    slot = [0] * num_envs
    seen = [env.reset(seed=30 + i)[0] for i, env in enumerate(singles)]
    for action in actions:
        for i, env in enumerate(singles):
            np.testing.assert_allclose(observations[i], [seen[i][a] for a in env.possible_agents], atol=2e-5)
        observations, rewards, terminations, truncations, infos = vec.step(action)
        assert not terminations.any()
        for i, env in enumerate(singles):
            agents = env.possible_agents
            seen[i], expected, *_ = env.step(dict(zip(agents, action[i], strict=True)))
            np.testing.assert_allclose(rewards[i], [expected[a] for a in agents], rtol=2e-4, atol=2e-5)
            slot[i] += 1
            assert truncations[i].tolist() == [slot[i] == ends[i]] * 2
            if slot[i] == ends[i]:
                assert infos["TimeLimit.truncated"][i]
                np.testing.assert_allclose(infos["final_observation"][i], [seen[i][a] for a in agents], atol=2e-5)
                np.testing.assert_allclose(infos["final_state"][i], env.state(), atol=2e-5)
                seen[i], _ = env.reset()
                slot[i], ends[i] = 0, horizon
        assert ("final_observation" in infos) == truncations.any()


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_positions_given_with_reset_hold_for_that_episode_alone(backend: str) -> None:
    """A row that begins anew draws its own positions, while the others still stand where they were put."""
    if backend == "torch":
        pytest.importorskip("torch")
    vec = make_vec_env("mdlbi-small-v0", 2, stagger=True, horizon=4, mobility="static", backend=backend)
    single = make_env("mdlbi-small-v0", horizon=2, mobility="static")
    given = {"positions": np.full((4, 2), 10.0)}
    vec.reset(seed=3, options=given)
    single.reset(seed=4, options=given)
    for _ in range(2):
        vec.step(np.full((2, 2, vec.action_size), 0.1, np.float32))
    single.reset()
    assert (vec.view().position[0] == 10.0).all()
    np.testing.assert_allclose(vec.view().position[1], single.view().position[0])


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_restored_environment_ends_when_the_other_does(backend: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch")
    make = lambda: make_vec_env("mdlbi-small-v0", 3, stagger=True, horizon=6, backend=backend)  # noqa: E731
    vec, other = make(), make()
    vec.reset(seed=1)
    action = np.random.default_rng(0).uniform(-1, 1, (3, 2, vec.action_size)).astype(np.float32)
    for _ in range(3):
        vec.step(action)
    other.set_state(vec.get_state())
    for _ in range(9):
        mine, its = vec.step(action), other.step(action)
        for a, b in zip(mine[:4], its[:4], strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_staggering_needs_autoreset() -> None:
    with pytest.raises(ValueError, match="autoreset"):
        make_vec_env("mdlbi-small-v0", 2, stagger=True, autoreset=False)


def test_a_fixed_association_begins_anew_with_its_row() -> None:
    from irs_marl_env.policies import POLICIES

    policy = POLICIES["fixed-ao"]
    scenario = policy.adapt(make_vec_env("mdlbi-small-v0", 1, horizon=6).scenario)
    vec = make_vec_env(scenario, 3, stagger=True)
    observations, _ = vec.reset(seed=0)
    act = policy.bind(vec, 0)
    owners, slots = [], []
    for _ in range(14):
        slots.append(vec.view().slot)
        observations, *_, infos = vec.step(act(observations))
        owners.append(infos["owner"])
    changed = 0
    for before, after, slot in zip(owners, owners[1:], slots[1:], strict=False):
        assert (before == after)[slot > 0].all()
        changed += int((before != after)[slot == 0].any())
    assert changed


def test_rows_that_end_together_each_go_on_with_their_own_draws() -> None:
    """Two rows begin anew in one step, and again two steps later: from where their streams have come to."""
    vec = make_vec_env("mdlbi-small-v0", 4, stagger=True, horizon=2, fast=False)
    singles = [make_env("mdlbi-small-v0", horizon=2, fast=False) for _ in range(4)]
    observations, _ = vec.reset(seed=5)
    seen = [env.reset(seed=5 + i)[0] for i, env in enumerate(singles)]
    for slot in range(6):
        observations, *_, truncations, _ = vec.step(np.zeros((4, 2, vec.action_size), np.float32))
        assert truncations[:, 0].tolist() == (
            [False, False, True, True] if slot % 2 == 0 else [True, True, False, False]
        )
        for i, env in enumerate(singles):
            seen[i] = env.step({a: np.zeros(vec.action_size, np.float32) for a in env.agents})[0]
            if truncations[i, 0]:
                seen[i] = env.reset()[0]
            np.testing.assert_allclose(observations[i], np.stack(list(seen[i].values())), atol=2e-5)
