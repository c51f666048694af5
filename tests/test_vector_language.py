"""The batched environment speaks the language of Gymnasium's vector environments."""

from __future__ import annotations

import copy
import re
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from irs_marl_env import make_env, make_vec_env

SMALL: dict[str, Any] = {"scenario": "mdlbi-small-v0", "fast": False, "action": "structured"}
BACKENDS = ["numpy", "torch"]
METRICS = {"rates", "cell", "sum_rate", "power_w", "owner"}


def make(num_envs: int = 3, **settings: Any) -> Any:
    if settings.get("backend") == "torch":
        pytest.importorskip("torch")
    return make_vec_env(num_envs=num_envs, **{**SMALL, **settings})


def actions(vec: Any, steps: int, seed: int = 0) -> np.ndarray:
    shape = (steps, vec.num_envs, vec.scenario.num_bs, vec.action_size)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def observed(env: Any, observations: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([observations[agent] for agent in env.possible_agents])


def same(a: Any, b: Any) -> None:
    """Equal to the last bit, through dicts and tuples, of arrays and tensors."""
    if isinstance(a, dict):
        assert set(a) == set(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, tuple):
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


# --- spaces and attributes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["csi", "large_scale"])
def test_spaces_of_a_row_and_of_the_batch(view: str) -> None:
    vec, env = make(observation=view), make_env(**SMALL, observation=view)
    assert vec.single_observation_space.shape == (2, vec.observation_size)
    assert vec.single_action_space.shape == (2, vec.action_size)
    assert vec.observation_space.shape == (3, 2, vec.observation_size)
    assert vec.action_space.shape == (3, 2, vec.action_size)
    for m, agent in enumerate(env.possible_agents):
        own = env.observation_space(agent)
        assert np.array_equal(vec.single_observation_space.low[m], own.low)
        assert np.array_equal(vec.single_observation_space.high[m], own.high)
    assert vec.observation_space is vec.observation_space
    vec.action_space.seed(0)
    observations, _ = vec.reset(seed=0)
    assert observations in vec.observation_space
    observations, *_ = vec.step(vec.action_space.sample())
    assert observations in vec.observation_space
    assert observations[0] in vec.single_observation_space


def test_attributes_that_gymnasium_names() -> None:
    vec = make(autoreset=True)
    assert vec.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert make(autoreset=False).metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert (vec.num_envs, vec.spec, vec.render_mode, vec.unwrapped) == (3, None, None, vec)
    vec.close()
    vec.close()
    vec.reset(seed=0)
    vec.close()
    vec.step(actions(vec, 1)[0])


# --- the last step of an episode ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stagger", [False, True])
def test_final_observation_and_metrics_in_gymnasiums_form(stagger: bool, backend: str) -> None:
    vec = make(horizon=6, stagger=stagger, backend=backend)
    vec.reset(seed=0)
    ended_at = []
    for t, action in enumerate(actions(vec, 12)):
        *_, truncations, infos = vec.step(action)
        ended = np.asarray(truncations)[:, 0]
        assert set(infos) >= METRICS
        if not ended.any():
            assert set(infos) == METRICS
            continue
        ended_at.append(t)
        same((infos["_final_obs"], infos["_final_info"]), (ended, ended))
        same(infos["final_obs"], infos["final_observation"])
        last = infos["final_info"]
        assert set(last) == {f"{mark}{name}" for mark in ("", "_") for name in METRICS | {"TimeLimit.truncated"}}
        for name in METRICS | {"TimeLimit.truncated"}:
            same((last[name], last[f"_{name}"]), (infos[name], ended))
    assert ended_at == ([1, 3, 5, 7, 9, 11] if stagger else [5, 11])


def test_the_final_observation_is_what_gymnasiums_own_environment_would_say() -> None:
    """Held to SyncVectorEnv in the same mode, over a central view of the single environment."""

    class Central(gymnasium.Env):
        def __init__(self) -> None:
            self.env = make_env(**SMALL, horizon=4)
            self.observation_space, self.action_space = vec.single_observation_space, vec.single_action_space

        def reset(self, seed: Any = None, options: Any = None) -> Any:
            return observed(self.env, self.env.reset(seed=seed, options=options)[0]), {}

        def step(self, action: Any) -> Any:
            o, r, _, truncated, infos = self.env.step(dict(zip(self.env.agents, action, strict=True)))
            last = truncated["bs_0"]
            return observed(self.env, o), sum(r.values()), False, last, {"owner": infos["bs_0"]["owner"]}

    vec = make(horizon=4)
    peer = gymnasium.vector.SyncVectorEnv([Central] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    same(vec.reset(seed=[4, 1, 9])[0], peer.reset(seed=[4, 1, 9])[0])
    for action in actions(vec, 9):
        observations, rewards, _, truncations, infos = vec.step(action)
        its_observations, its_rewards, _, its_truncations, its_infos = peer.step(action)
        np.testing.assert_allclose(observations, its_observations, atol=2e-5)
        np.testing.assert_allclose(rewards.sum(axis=1), its_rewards, rtol=2e-4)
        same(truncations[:, 0], its_truncations)
        assert ("final_obs" in infos) == ("final_obs" in its_infos)
        if "final_obs" in infos:
            np.testing.assert_allclose(infos["final_obs"], np.stack(its_infos["final_obs"]), atol=2e-5)
            same(infos["_final_obs"], its_infos["_final_obs"])
            same(infos["final_info"]["owner"], its_infos["final_info"]["owner"])
            same(infos["final_info"]["_owner"], its_infos["final_info"]["_owner"])
            same(infos["_final_info"], its_infos["_final_info"])


# --- seeds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [[5, 9, 11], (5, 9, 11), np.array([5, 9, 11]), [7, 7, 2**70]])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_row_has_its_own_seed(backend: str, seeds: Any) -> None:
    vec = make(backend=backend, horizon=3)
    rows = np.asarray(vec.reset(seed=seeds)[0])
    singles = [make_env(**SMALL, horizon=3) for _ in range(3)]
    for i, env in enumerate(singles):
        np.testing.assert_allclose(rows[i], observed(env, env.reset(seed=int(seeds[i]))[0]), atol=2e-5)
    for action in actions(vec, 2):
        _, rewards, *_ = vec.step(action)
        for i, env in enumerate(singles):
            _, expected, *_ = env.step(dict(zip(env.agents, action[i], strict=True)))
            np.testing.assert_allclose(np.asarray(rewards[i]), list(expected.values()), rtol=2e-4, atol=2e-5)


def test_seeds_in_a_row_are_one_seed_and_none_goes_on() -> None:
    vec, other = make(), make()
    same(vec.reset(seed=[3, 4, 5])[0], other.reset(seed=3)[0])
    goes_on = copy.deepcopy(other).reset()[0]
    again = vec.reset(seed=[8, None, 5])[0]
    same(again[1], goes_on[1])
    same(again[0], make(1).reset(seed=8)[0][0])
    same(again[2], other.reset(seed=3)[0][2])
    assert make().reset(seed=[1, None, None])[0].shape[0] == 3  # None before the first reset: fresh entropy


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([1, 2], r"seed=\[1, 2\]: must be None or a non-negative integer, or a list of 3 of them"),
        ([], r"seed=\[\]: must be"),
        ([1, -2, 3], r"seed\[1\]=-2: must be None or a non-negative integer"),
        ([1, 2, True], r"seed\[2\]=True"),
        ([1.0, 2, 3], r"seed\[0\]=1.0"),
        (np.array([1.0, 2.0, 3.0]), r"seed\[0\]=np.float64\(1.0\)"),
        (np.ones((3, 1), int), r"seed\[0\]="),
        ("123", r"seed='123': must be"),
        ([[1], [2], [3]], r"seed\[0\]=\[1\]"),
    ],
)
def test_impossible_seeds_change_nothing(seeds: Any, message: str) -> None:
    vec, other = make(), make()
    for env in (vec, other):
        env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        vec.reset(seed=seeds)
    action = actions(vec, 1)[0]
    same(vec.step(action), other.step(action))


# --- some rows begin anew -------------------------------------------------------------------------------------------


def mask(vec: Any, *rows: int, tensor: bool = False) -> Any:
    chosen = np.isin(np.arange(vec.num_envs), rows)
    if tensor:
        import torch

        return torch.from_numpy(chosen)
    return chosen


SETTINGS: list[dict[str, Any]] = [
    {},
    {"stagger": True},
    {"mobility": "gauss_markov", "fading": "ar1", "csi_error_variance": 0.1, "observation": "large_scale"},
    {"fading": "frozen", "bs_irs_fading": "frozen", "layout": "frozen", "mobility": "static"},
    {"mobility": "trace", "trace": np.random.default_rng(0).uniform(0, 80, (12, 4, 2))},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_other_rows_go_on_as_if_nothing_had_happened(backend: str, settings: dict[str, Any]) -> None:
    vec, untouched = (make(4, backend=backend, horizon=9, **settings) for _ in range(2))
    for env in (vec, untouched):
        env.reset(seed=0)
    given = actions(vec, 12)
    for action in given[:2]:
        vec.step(action)
        before, *_ = untouched.step(action)
    began, infos = vec.reset(options={"reset_mask": mask(vec, 0, 2, tensor=backend == "torch")})
    assert infos == {}
    same(began[[1, 3]], before[[1, 3]])
    same(vec.view().slot, [0, 2, 0, 2])
    for action in given[2:]:
        mine, its = vec.step(action), untouched.step(action)
        for a, b in zip(mine[:4], its[:4], strict=True):
            same(a[[1, 3]], b[[1, 3]])
        for name in METRICS:
            same(mine[4][name][[1, 3]], its[4][name][[1, 3]])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_with_a_seed_begins_as_its_single_environment(backend: str) -> None:
    vec = make(3, backend=backend, horizon=5, stagger=True)
    vec.reset(seed=0)
    given = actions(vec, 8)
    vec.step(given[0])
    for seed, expected in ((40, 42), ([None, None, 77], 77)):
        began, _ = vec.reset(seed=seed, options={"reset_mask": mask(vec, 2)})
        env = make_env(**SMALL, horizon=5)
        np.testing.assert_allclose(np.asarray(began[2]), observed(env, env.reset(seed=expected)[0]), atol=2e-5)
        for t, action in enumerate(given[:5]):  # a whole episode, whatever the stagger had left of it
            observations, _, _, truncations, infos = vec.step(action)
            seen = observed(env, env.step(dict(zip(env.agents, action[2], strict=True)))[0])
            assert bool(truncations[2, 0]) == (t == 4)
            np.testing.assert_allclose(np.asarray((infos["final_obs"] if t == 4 else observations)[2]), seen, atol=2e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_may_follow_traces_of_their_own(backend: str) -> None:
    """Also of another length; a row whose episode ends goes along its own once more, a restored one too."""
    rng = np.random.default_rng(1)
    first, second = rng.uniform(0, 80, (9, 4, 2)), rng.uniform(0, 80, (5, 4, 2))
    vec = make(2, backend=backend, horizon=4, mobility="trace")
    vec.reset(seed=0, options={"trace": first})
    given = actions(vec, 12)
    vec.step(given[0])
    vec.reset(options={"reset_mask": mask(vec, 1), "trace": second})
    other = make(2, backend=backend, horizon=4, mobility="trace")
    other.set_state(vec.get_state())
    slots = np.array([1, 0])
    for action in given[1:]:
        same(vec.view().position, np.stack([first[slots[0]], second[slots[1]]]))
        same(vec.step(action), other.step(action))
        slots = (slots + 1) % 4
    with pytest.raises(ValueError, match="mobility='trace' needs positions"):  # as of a reset of all
        vec.reset(options={"reset_mask": mask(vec, 0)})


def test_a_row_that_begins_without_a_trace_of_its_own_follows_the_scenarios() -> None:
    rng = np.random.default_rng(2)
    usual, given = (rng.integers(0, 80, (n, 4, 2)).astype(float) for n in (6, 5))
    vec = make(2, horizon=4, mobility="trace", trace=usual)
    vec.reset(seed=0, options={"trace": given})
    same(vec.view().position, np.stack([given[0], given[0]]))
    vec.reset(options={"reset_mask": mask(vec, 1)})
    same(vec.view().position, np.stack([given[0], usual[0]]))
    vec.reset()
    same(vec.view().position, np.stack([usual[0], usual[0]]))


def test_positions_hold_for_the_rows_that_begin() -> None:
    vec = make(3, mobility="static", horizon=3)
    vec.reset(seed=0)
    stood = vec.view().position.copy()
    vec.reset(options={"reset_mask": mask(vec, 1), "positions": np.full((4, 2), 7.0)})
    same(vec.view().position[[0, 2]], stood[[0, 2]])
    assert (vec.view().position[1] == 7.0).all()
    for action in actions(vec, 3):
        vec.step(action)
    assert (vec.view().position[1] != 7.0).any()  # for that episode alone


def test_without_autoreset_rows_that_are_over_wait_for_their_reset() -> None:
    vec = make(3, autoreset=False, horizon=3)
    vec.reset(seed=0)
    given = actions(vec, 4)
    vec.step(given[0])
    vec.reset(options={"reset_mask": mask(vec, 1)})
    for action in given[1:3]:
        *_, truncations, _ = vec.step(action)
    assert truncations[:, 0].tolist() == [True, False, True]
    twin = make(3, autoreset=False, horizon=3)
    twin.set_state(vec.get_state())
    for env in (vec, twin):
        with pytest.raises(RuntimeError, match=r"the episodes of rows \[0, 2\] are over: call reset\(\)"):
            env.step(given[3])
        env.reset(options={"reset_mask": mask(env, 0, 2)})
    same(vec.step(given[3]), twin.step(given[3]))
    same(vec.view().slot, [1, 3, 1])
    vec.reset(options={"reset_mask": mask(vec, 1)})
    same(vec.view().slot, [1, 0, 1])


def test_a_mask_of_all_rows_begins_the_first_episode_too() -> None:
    vec, other = make(3), make(3)
    same(vec.reset(seed=4, options={"reset_mask": np.ones(3, bool)}), other.reset(seed=4))
    with pytest.raises(RuntimeError, match="for all rows before"):
        make(3).reset(options={"reset_mask": np.array([True, False, False])})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ([True, False, False], r"\[True, False, False\]"),
        (np.array([True, False]), r"'bool array of shape \(2,\)'"),
        (np.array([[True, False, False]]), r"'bool array of shape \(1, 3\)'"),
        (np.array([1, 0, 0]), r"'int64 array of shape \(3,\)'"),
        (np.array([1.0, 0, 0]), r"'float64 array of shape \(3,\)'"),
        (np.zeros(3, bool), r"\[False, False, False\]"),
        (True, "True"),
        ("all", "'all'"),
    ],
)
def test_other_masks_are_refused_and_change_nothing(value: Any, shown: str) -> None:
    vec, other = make(), make()
    for env in (vec, other):
        env.reset(seed=0)
    message = rf"options\['reset_mask'\]={shown}: must be a bool array of shape \(3,\) with at least one True"
    with pytest.raises(ValueError, match=message):
        vec.reset(seed=5, options={"reset_mask": value})
    action = actions(vec, 1)[0]
    same(vec.step(action), other.step(action))


# --- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["single", "batch"])
def test_an_unknown_option_warns_and_names_its_neighbour(kind: str) -> None:
    env = make() if kind == "batch" else make_env(**SMALL)
    given = np.full((4, 2), 10.0)
    with pytest.warns(UserWarning, match="reset option 'postions' is unknown .*; did you mean 'positions'") as seen:
        env.reset(seed=0, options={"postions": given})
    assert [str(w.filename) for w in seen] == [__file__]
    with pytest.warns(UserWarning, match="'colour' is unknown and changes nothing; there are 'positions', 'trace'"):
        env.reset(seed=0, options={"colour": 1})
    if kind == "batch":
        with pytest.warns(UserWarning, match="did you mean 'reset_mask'"):
            env.reset(options={"resetmask": np.ones(3, bool)})
    else:  # a single environment has no rows
        with pytest.warns(UserWarning, match="'reset_mask' is unknown"):
            env.reset(options={"reset_mask": np.ones(1, bool)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.reset(options={})
        env.reset(options={"positions": given})
    for nonsense in ([], "positions", 3):
        with pytest.raises(ValueError, match=r"options=.*: must be None or a dict by name"):
            env.reset(options=nonsense)


# --- actions --------------------------------------------------------------------------------------------------------

NO_NUMBERS = [complex, "U1", object, "datetime64[s]", "timedelta64[s]", "S1"]


@pytest.mark.parametrize("dtype", NO_NUMBERS)
@pytest.mark.parametrize("kind", ["single", "numpy", "torch"])
def test_actions_that_are_no_real_numbers_are_refused(kind: str, dtype: Any) -> None:
    env, other = (make_env(**SMALL) if kind == "single" else make(2, backend=kind) for _ in range(2))
    for e in (env, other):
        e.reset(seed=0)
    if kind == "single":
        bad: Any = {agent: np.ones(env.action_codec.size, int).astype(dtype) for agent in env.agents}
        good: Any = {agent: np.zeros(env.action_codec.size) for agent in env.agents}
    else:
        bad, good = np.ones((2, 2, env.action_size), int).astype(dtype), np.zeros((2, 2, env.action_size))
    with pytest.raises(ValueError, match=re.escape(f"has dtype {np.dtype(dtype)}: must be castable to float32")):
        env.step(bad)
    if kind != "single":
        with pytest.raises(ValueError, match=r"has dtype .*: must be castable to float32"):
            env.step(bad.tolist()) if dtype is not object else env.step(bad)
    same(env.step(good), other.step(good))


@pytest.mark.parametrize("backend", BACKENDS)
def test_tensors_are_taken_or_refused_by_their_type(backend: str) -> None:
    torch = pytest.importorskip("torch")
    vec, other = make(2, backend=backend), make(2, backend=backend)
    for env in (vec, other):
        env.reset(seed=0)
    ones = torch.ones((2, 2, vec.action_size))
    for dtype in (torch.complex64, torch.complex128):
        with pytest.raises(ValueError, match=f"action has dtype {dtype}: must be castable to float32"):
            vec.step(ones.to(dtype))
    huge = torch.full_like(ones, 1e30)
    same(vec.step(1e270 * huge.to(torch.float64)), other.step(huge))  # finite, so it counts as the limit
    for dtype in (torch.float64, torch.int8, torch.float16, torch.bool):
        same(vec.step(ones.to(dtype)), other.step(ones))


# --- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_picture_for_every_row(backend: str) -> None:
    pytest.importorskip("matplotlib")
    vec = make(2, render_mode="rgb_array", horizon=2, backend=backend)
    with pytest.raises(RuntimeError, match="call reset"):
        vec.render()
    vec.reset(seed=3)
    env = make_env(**SMALL, render_mode="rgb_array", horizon=2)
    env.reset(seed=4)
    for action in [None, *actions(vec, 2)]:
        if action is not None:
            vec.step(action)
            env.step(dict(zip(env.agents, action[1], strict=True)))
            if not env.agents:
                env.reset()
        frames = vec.render()
        assert isinstance(frames, tuple)
        assert [f.dtype for f in frames] == [np.uint8] * 2
        same(frames[1], env.render())
        assert not np.array_equal(*frames)
    vec.close()
    assert vec.render()[0].shape == frames[0].shape


def test_render_modes_of_a_batch() -> None:
    with pytest.raises(ValueError, match="render_mode='human': must be one of 'rgb_array' or None"):
        make(render_mode="human")
    vec = make()
    vec.reset(seed=0)
    with pytest.warns(UserWarning, match="render"):
        assert vec.render() is None
