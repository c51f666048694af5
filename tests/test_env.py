"""The two shells: seeding, purity, refusals, pickling, autoreset, edge cases and the random baseline."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from irs_marl_env import MdlbiParallelEnv, MdlbiVectorEnv, get_scenario, make_env, make_vec_env

SMALL = get_scenario("mdlbi-small-v0", horizon=12)
VARIED = SMALL.replace(  # something of everything that draws or remembers
    speed_mps=20.0,
    fading="ar1",
    doppler_hz=0.2,
    bs_irs_fading="episode",
    csi_error_variance=0.1,
    rho="bids",
    association_delay=1,
    mobility="gauss_markov",
)
each_scenario = pytest.mark.parametrize("scenario", [SMALL, VARIED], ids=["default", "varied"])


def random_actions(env: MdlbiParallelEnv, rng: np.random.Generator) -> dict[str, np.ndarray]:
    size = env.action_codec.size
    return {agent: rng.uniform(-1, 1, size).astype(np.float32) for agent in env.possible_agents}


def episode(env: MdlbiParallelEnv, seed: int | None, slots: int | None = None) -> list[Any]:
    """Everything an episode of random actions returns."""
    rng = np.random.default_rng(0)
    seen: list[Any] = [env.reset(seed=seed), env.state()]
    for _ in range(slots or env.scenario.horizon):
        seen += [env.step(random_actions(env, rng)), env.state()]
    return seen


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Equal to the last bit, through dicts, tuples and arrays."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, (tuple, list)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}/{i}")
    elif isinstance(a, (float, int, bool, str)):
        assert a == b, where
    else:
        assert a.dtype == b.dtype, where
        assert bool((a == b).all()), where


def spoil(x: Any) -> None:
    """Overwrite every array in what an environment returned."""
    if isinstance(x, dict):
        for value in x.values():
            spoil(value)
    elif isinstance(x, (tuple, list)):
        for value in x:
            spoil(value)
    elif hasattr(x, "shape") and x.shape:
        x[...] = 1 if str(x.dtype).endswith("bool") else 3


# --- seeding -----------------------------------------------------------------------------------------------------


@each_scenario
def test_an_episode_is_reproducible(scenario: Any) -> None:
    reference = episode(make_env(scenario), seed=7)
    assert_same(episode(make_env(scenario), seed=7), reference)
    used = make_env(scenario)
    episode(used, seed=3, slots=5)
    assert_same(episode(used, seed=7), reference)  # whatever happened before


def test_a_whole_default_episode_is_reproducible() -> None:
    first, second = (episode(make_env("mdlbi-small-v0"), seed=1) for _ in range(2))
    assert len(first) == 2 * 101
    assert_same(first, second)


def test_episodes_continue_the_streams() -> None:
    a, b = make_env(SMALL), make_env(SMALL)
    first, second = episode(a, seed=1), episode(a, seed=None)
    assert not np.array_equal(first[0][0]["bs_0"], second[0][0]["bs_0"])
    assert_same(episode(b, seed=1), first)
    assert_same(episode(b, seed=None), second)


def test_seeds_differ() -> None:
    starts = [make_env(SMALL).reset(seed=seed)[0]["bs_0"] for seed in (0, 1, 2, None, None)]
    for i, a in enumerate(starts):
        for b in starts[:i]:
            assert not np.allclose(a, b)
    rewards = [episode(make_env(SMALL), seed=seed, slots=3)[2][1]["bs_0"] for seed in (0, 1)]
    assert rewards[0] != rewards[1]


@pytest.mark.parametrize("seed", [np.int64(5), np.uint8(5)])
def test_numpy_integers_are_seeds(seed: Any) -> None:
    assert_same(make_env(SMALL).reset(seed=seed)[0], make_env(SMALL).reset(seed=5)[0])


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True, [1, 1]])
@pytest.mark.parametrize("make", [make_env, make_vec_env])
def test_other_things_are_not_seeds(make: Callable[..., Any], seed: Any) -> None:
    with pytest.raises(ValueError, match=r"seed=.*: must be None or a non-negative integer"):
        make(SMALL).reset(seed=seed)


def test_the_global_generators_are_left_alone() -> None:
    before = np.random.get_state()  # noqa: NPY002
    episode(make_env(SMALL), seed=None)
    make_vec_env(SMALL, 2).reset()
    after = np.random.get_state()  # noqa: NPY002
    assert_same(before[1], after[1])
    assert before[2:] == after[2:]


def test_constructing_draws_nothing() -> None:
    a, b = make_env(VARIED), make_env(VARIED)
    make_env(VARIED).reset()
    assert_same(a.reset(seed=0), b.reset(seed=0))


# --- purity ------------------------------------------------------------------------------------------------------


@each_scenario
def test_what_is_returned_is_fresh(scenario: Any) -> None:
    """Whoever writes into observations, infos, states or past actions changes nothing later."""
    clean, spoiled = make_env(scenario), make_env(scenario)
    assert_same(clean.reset(seed=0), (start := spoiled.reset(seed=0)))
    spoil(start)
    rng = np.random.default_rng(0)
    for _ in range(scenario.horizon):
        actions = random_actions(clean, rng)
        expected = copy.deepcopy((clean.step(actions), clean.state()))
        given = copy.deepcopy(actions)
        actual = (spoiled.step(given), spoiled.state())
        assert_same(actual, expected)
        spoil(actual)
        spoil(given)


@each_scenario
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_what_a_batch_returns_is_fresh(backend: str, scenario: Any) -> None:
    if backend == "torch":
        pytest.importorskip("torch")
    clean, spoiled = (make_vec_env(scenario, 3, backend=backend) for _ in range(2))
    assert_same(clean.reset(seed=0), (start := spoiled.reset(seed=0)))
    spoil(start)
    rng = np.random.default_rng(0)
    for _ in range(scenario.horizon + 3):
        action = rng.uniform(-1, 1, (3, 2, clean.action_size)).astype(np.float32)
        if backend == "torch":
            import torch

            action = torch.from_numpy(action)
        expected = copy.deepcopy((clean.step(action), clean.state()))
        given = copy.deepcopy(action)
        actual = (spoiled.step(given), spoiled.state())
        assert_same(actual, expected)
        spoil(actual)
        spoil(given)


def test_returned_arrays_do_not_share_memory() -> None:
    vec = make_vec_env(SMALL, 2, autoreset=False)
    vec.reset(seed=0)
    for _ in range(SMALL.horizon):
        observations, rewards, terminations, truncations, infos = vec.step(np.zeros((2, 2, vec.action_size)))
        arrays = [observations, rewards, terminations, truncations, *infos.pop("final_info", {}).values()]
        arrays += infos.values()
        for i, a in enumerate(arrays):
            for b in arrays[:i]:
                assert not np.shares_memory(a, b)


@each_scenario
def test_looking_changes_nothing(scenario: Any) -> None:
    plain, watched = make_env(scenario), make_env(scenario)
    expected = episode(plain, seed=4)
    rng, seen = np.random.default_rng(0), [watched.reset(seed=4), watched.state()]
    for _ in range(scenario.horizon):
        for _ in range(3):
            watched.state()
            watched._core.observe(watched._state)
        seen += [watched.step(random_actions(watched, rng)), watched.state()]
    assert_same(seen, expected)


# --- pickling ----------------------------------------------------------------------------------------------------


@each_scenario
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
@pytest.mark.parametrize("slots", [0, 1, 7])
def test_a_copy_continues_identically(clone: Callable[[Any], Any], slots: int, scenario: Any) -> None:
    env = make_env(scenario)
    episode(env, seed=2, slots=slots) if slots else env.reset(seed=2)
    twin = clone(env)
    rngs = [np.random.default_rng(9) for _ in range(2)]
    for _ in range(scenario.horizon - slots):
        a, b = (e.step(random_actions(e, rng)) for e, rng in zip((env, twin), rngs, strict=True))
        assert_same(a, b)
        assert_same(env.state(), twin.state())
    assert_same(env.reset(), twin.reset())  # and into the next episode


@each_scenario
@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("way", ["copy", "pickle", "state"])
def test_a_copy_of_a_batch_continues_identically(way: str, backend: str, scenario: Any) -> None:
    if backend == "torch":
        pytest.importorskip("torch")
    vec = make_vec_env(scenario, 3, backend=backend)
    vec.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(5):
        vec.step(rng.uniform(-1, 1, (3, 2, vec.action_size)))
    if way == "state":
        twin = make_vec_env(scenario, 3, backend=backend)
        saved = vec.get_state()
        twin.set_state(saved)
        spoil({k: v for k, v in saved.items() if k != "streams"})
    else:
        twin = copy.deepcopy(vec) if way == "copy" else pickle.loads(pickle.dumps(vec))
    for _ in range(scenario.horizon):
        action = rng.uniform(-1, 1, (3, 2, vec.action_size))
        assert_same(vec.step(action), twin.step(action))
        assert_same(vec.state(), twin.state())
        assert_same(vec.observe(), twin.observe())


def test_states_of_other_batches_are_refused() -> None:
    vec = make_vec_env(SMALL, 2)
    vec.reset(seed=0)
    with pytest.raises(ValueError, match="state of 2 environments: must be of 3"):
        make_vec_env(SMALL, 3).set_state(vec.get_state())
    with pytest.raises(ValueError, match="state of scenario"):
        make_vec_env(VARIED, 2).set_state(vec.get_state())


def test_a_pickle_before_the_first_reset() -> None:
    twin = pickle.loads(pickle.dumps(make_env(SMALL)))
    assert_same(twin.reset(seed=0), make_env(SMALL).reset(seed=0))


# --- refusals ----------------------------------------------------------------------------------------------------


def with_entry(value: Any, dtype: Any = np.float32) -> Callable[[int], Any]:
    def row(size: int) -> Any:
        action = np.zeros(size, dtype)
        action[3] = value
        return action

    return row


BAD_ROWS: dict[str, tuple[Callable[[int], Any], str]] = {
    "nan": (with_entry(np.nan), r"actions\['bs_1'\]\[3\]=nan: must be a finite number in \[-1, 1\]"),
    "inf": (with_entry(np.inf), r"actions\['bs_1'\]\[3\]=inf: must be a finite number"),
    "inf, wide": (with_entry(-np.inf, np.float64), r"actions\['bs_1'\]\[3\]=-inf: must be a finite"),
    "short": (lambda size: np.zeros(size - 1), r"actions\['bs_1'\] has shape \(\d+,\): must be \(\d+,\)"),
    "flat": (lambda size: np.zeros((size, 1)), r"actions\['bs_1'\] has shape \(\d+, 1\)"),
    "complex": (lambda size: np.zeros(size, complex), r"actions\['bs_1'\] has dtype complex128: must be castable"),
    "text": (lambda size: ["0"] * size, r"actions\['bs_1'\] has dtype <U1"),
    "nothing": (lambda size: None, r"actions\['bs_1'\] has shape \(\)"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_refused_step_leaves_everything_untouched(kind: str) -> None:
    row, message = BAD_ROWS[kind]
    env, untouched = make_env(VARIED), make_env(VARIED)
    for e in (env, untouched):
        episode(e, seed=0, slots=3)
    rngs = [np.random.default_rng(1) for _ in range(2)]
    for _ in range(3):
        actions = random_actions(env, rngs[0])
        with pytest.raises(ValueError, match=message):
            env.step({**actions, "bs_1": row(env.action_codec.size)})
        assert_same(env.step(actions), untouched.step(random_actions(untouched, rngs[1])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda actions: {"bs_0": actions["bs_0"]}, r"must name exactly \['bs_0', 'bs_1'\]; missing \['bs_1'\]"),
        (lambda actions: {**actions, "bs_2": actions["bs_0"]}, r"unknown \['bs_2'\]"),
        (lambda actions: {"bs_0": actions["bs_0"], "x": actions["bs_1"]}, r"missing \['bs_1'\], unknown \['x'\]"),
        (lambda actions: {}, r"missing \['bs_0', 'bs_1'\]"),
        (lambda actions: list(actions.values()), "actions must be a dict by agent, not list"),
    ],
)
def test_actions_name_all_agents(change: Callable[[Any], Any], message: str) -> None:
    env, untouched = make_env(SMALL), make_env(SMALL)
    for e in (env, untouched):
        e.reset(seed=0)
    actions = random_actions(env, np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        env.step(change(actions))
    assert_same(env.step(actions), untouched.step(actions))


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_batch_refuses_likewise(backend: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch")
    vec, untouched = (make_vec_env(VARIED, 2, backend=backend) for _ in range(2))
    with pytest.raises(RuntimeError, match=r"call reset\(\) before step\(\)"):
        vec.step(np.zeros((2, 2, vec.action_size)))
    for v in (vec, untouched):
        v.reset(seed=0)
    good = np.random.default_rng(0).uniform(-1, 1, (2, 2, vec.action_size)).astype(np.float32)
    for bad, message in (
        (good[:1], r"action has shape \(1, 2, \d+\): must be \(2, 2, \d+\)"),
        (good[..., :-1], "action has shape"),
        (np.where(np.arange(vec.action_size) == 3, np.nan, good), "entries that are not finite"),
        (np.full_like(good, np.inf), "entries that are not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            vec.step(bad)
        assert_same(vec.step(good), untouched.step(good))
    with pytest.raises(ValueError, match="seed=-1"):
        vec.reset(seed=-1)
    with pytest.raises(ValueError, match="positions"):
        vec.reset(seed=0, options={"positions": 3})
    assert_same(vec.step(good), untouched.step(good))


def test_order_of_calls() -> None:
    env = make_env(SMALL)
    assert env.agents == []
    with pytest.raises(RuntimeError, match=r"call reset\(\) before step\(\)"):
        env.step({})
    with pytest.raises(RuntimeError, match=r"call reset\(\) before state\(\)"):
        env.state()
    episode(env, seed=0)
    assert env.agents == []
    assert env.step({}) == ({}, {}, {}, {}, {})
    env.reset()
    assert env.agents == ["bs_0", "bs_1"]


@pytest.mark.parametrize("num_envs", [0, -1, 1.5, True, "3", None])
def test_numbers_of_environments(num_envs: Any) -> None:
    with pytest.raises(ValueError, match=r"num_envs=.*: must be an integer >= 1"):
        make_vec_env(SMALL, num_envs)


def test_backends_and_devices() -> None:
    with pytest.raises(ValueError, match="backend='jax': must be one of 'numpy', 'torch'"):
        make_vec_env(SMALL, 1, backend="jax")
    with pytest.raises(ValueError, match=r"device='cuda': must be None or 'cpu' with the numpy backend"):
        make_vec_env(SMALL, 1, device="cuda")
    with pytest.raises(ValueError, match="render_mode='ascii': must be one of 'human', 'rgb_array' or None"):
        make_env(SMALL, render_mode="ascii")


def test_actions_beyond_the_box_count_as_its_edge() -> None:
    a, b = make_env(SMALL), make_env(SMALL)
    for env in (a, b):
        env.reset(seed=0)
    rng = np.random.default_rng(0)
    wide = {agent: rng.uniform(-3, 3, a.action_codec.size) for agent in a.agents}
    assert_same(a.step(wide), b.step({agent: np.clip(x, -1, 1) for agent, x in wide.items()}))
    beyond_float32 = {agent: 1e300 * x for agent, x in wide.items()}
    assert_same(a.step(beyond_float32), b.step({agent: np.sign(x) for agent, x in wide.items()}))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int8, np.bool_, list])
def test_castable_actions_are_taken(dtype: Any) -> None:
    a, b = make_env(SMALL), make_env(SMALL)
    for env in (a, b):
        env.reset(seed=0)
    row = np.random.default_rng(0).integers(0, 2, a.action_codec.size).astype(np.float32)
    other = row.tolist() if dtype is list else row.astype(dtype)
    assert_same(a.step(dict.fromkeys(a.agents, other)), b.step(dict.fromkeys(b.agents, row)))


# --- what is returned --------------------------------------------------------------------------------------------


def test_types_of_what_is_returned() -> None:
    env = make_env(SMALL)
    keys = {"rates", "sum_rate", "owner", "power_w", "cell"}
    observations, infos = env.reset(seed=0)
    assert infos == {"bs_0": {}, "bs_1": {}}
    rng = np.random.default_rng(0)
    for slot in range(SMALL.horizon):
        for agent in env.possible_agents:
            assert env.observation_space(agent).contains(observations[agent])
        assert env.state_space.contains(env.state())
        observations, rewards, terminations, truncations, infos = env.step(random_actions(env, rng))
        assert all(type(r) is float for r in rewards.values())
        assert terminations == {"bs_0": False, "bs_1": False}
        assert truncations == dict.fromkeys(rewards, slot == SMALL.horizon - 1)
        if slot == SMALL.horizon - 1:
            assert all(info.pop("TimeLimit.truncated") is True for info in infos.values())
        for m, agent in enumerate(env.possible_agents):
            info = infos[agent]
            assert set(info) == keys
            assert info["rates"].shape == info["cell"].shape == (4,)
            assert info["owner"].shape == (2,)
            assert type(info["sum_rate"]) is float
            assert type(info["power_w"]) is float
            assert (info["rates"][info["cell"] != m] == 0).all()
            assert info["sum_rate"] == pytest.approx(info["rates"].sum(), rel=1e-5)
            assert rewards[agent] == info["sum_rate"]


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_infos_of_a_reset_are_empty(backend: str) -> None:
    """Metrics there would be false zeros, and wrappers that merge them over those of a last slot would lose these."""
    if backend == "torch":
        pytest.importorskip("torch")
    assert make_vec_env(SMALL, 2, backend=backend).reset(seed=0)[1] == {}
    assert make_env(SMALL).reset(seed=0)[1] == {"bs_0": {}, "bs_1": {}}


def test_association_delay() -> None:
    """0: the bids of a slot decide its owners; 1: those of the next slot."""
    for delay in (0, 1):
        env = make_env(SMALL, association_delay=delay)
        env.reset(seed=0)
        rng, decided = np.random.default_rng(0), env.view().owner[0]
        for _ in range(6):
            actions = random_actions(env, rng)
            bids = np.stack([actions[agent][-2:] for agent in env.agents])
            _, _, _, _, infos = env.step(actions)
            expected = bids.argmax(axis=0) if delay == 0 else decided
            np.testing.assert_array_equal(infos["bs_0"]["owner"], expected)
            decided = bids.argmax(axis=0)


@pytest.mark.parametrize("contention", ["auction", "collision", "priority"])
def test_contention_through_the_environment(contention: str) -> None:
    env = make_env(SMALL, num_bs=3, num_irs=4, contention=contention)
    env.reset(seed=0)
    bids = {"bs_0": [-0.5, 0.2, 0.3, -0.9], "bs_1": [0.4, 0.9, -0.1, -0.8], "bs_2": [-0.2, -0.3, 0.8, -0.7]}
    actions = random_actions(env, np.random.default_rng(0))
    for agent, own in bids.items():
        actions[agent][-4:] = own
    _, _, _, _, infos = env.step(actions)
    expected = {"auction": [1, 1, 2, 2], "collision": [1, -1, -1, -1], "priority": [1, 0, 0, -1]}
    assert infos["bs_0"]["owner"].tolist() == expected[contention]


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_ties_are_drawn_fairly_and_reproducibly(backend: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch")
    vec = make_vec_env(SMALL, 600, backend=backend, num_bs=3)
    counts, runs = np.zeros(3), []
    for _ in range(2):
        vec.reset(seed=0)
        steps = [np.asarray(vec.step(np.zeros((600, 3, vec.action_size)))[4]["owner"]) for _ in range(5)]
        counts += np.bincount(np.concatenate(steps).ravel(), minlength=3)
        runs.append(steps)
    assert_same(runs[0], runs[1])
    share = counts / counts.sum()
    np.testing.assert_allclose(share, 1 / 3, atol=4 * math.sqrt(2 / 9 / (600 * 2 * 5)))
    assert not np.array_equal(runs[0][0], runs[0][1])


def test_a_tie_in_one_environment_does_not_shift_the_others() -> None:
    """Rows without a tie draw nothing, so a row's future does not depend on its neighbours."""
    vec, single = make_vec_env(SMALL, 2), make_env(SMALL)
    vec.reset(seed=0)
    single.reset(seed=1)
    rng = np.random.default_rng(0)
    for slot in range(8):
        action = rng.uniform(-1, 1, (2, 2, vec.action_size)).astype(np.float32)
        action[0, :, -2:] = 0.0  # always tied
        if slot % 3 == 0:
            action[1, :, -2:] = 0.0
        infos = vec.step(action)[4]
        _, _, _, _, info = single.step(dict(zip(single.agents, action[1], strict=True)))
        np.testing.assert_array_equal(infos["owner"][1], info["bs_0"]["owner"])


def test_initial_owners() -> None:
    random, none = make_vec_env(SMALL, 1000, num_bs=2), make_vec_env(SMALL, 5, initial_owner="none")
    for vec in (random, none):
        vec.reset(seed=0)
    owner = random.view().owner
    assert set(np.unique(owner)) == {0, 1}
    assert owner.mean() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(2000))
    assert (none.view().owner == -1).all()


@pytest.mark.parametrize("fast", [False, None], ids=["plain", "as installed"])
def test_aligned_elements_bring_power_n_squared(fast: bool | None) -> None:
    """One BS, one user, one IRS in line of sight alone: received power N^2 with aligned phases, N with random ones."""
    n = 16
    line_of_sight = {"bs_irs_rician_k_db": 100.0, "irs_user_rician_k_db": 100.0}
    sizes = {"num_bs": 1, "num_users": 1, "num_irs": 1, "num_antennas": 1, "num_elements": n}
    scenario = SMALL.replace(**sizes, **line_of_sight, blockage_db=300.0, mobility="static", horizon=2000)
    env = make_env(scenario, fast=fast)
    observations, _ = env.reset(seed=0, options={"positions": [[30.0, 20.0]]})
    seen = env.observation_codec.decode(observations["bs_0"])
    path = math.dist((0.0, 20.0, 10.0), (40.0, 20.0, 5.0)), math.dist((40.0, 20.0, 5.0), (30.0, 20.0, 1.5))
    one = 1e-6 * path[0] ** -2.5 * path[1] ** -2.4 * scenario.tx_power_w / scenario.noise_power_w

    def snr(theta: np.ndarray) -> float:
        action = np.concatenate([[1.0, 0.0], theta / np.pi, [1.0]]).astype(np.float32)
        info = env.step({"bs_0": action})[4]["bs_0"]
        return 2.0 ** float(info["rates"][0]) - 1.0

    aligned = -np.angle(seen["h"][0, 0] * seen["G"][0, :, 0])
    assert snr(aligned) == pytest.approx(n**2 * one, rel=1e-2)
    rng = np.random.default_rng(0)
    random = [snr(rng.uniform(-np.pi, np.pi, n)) for _ in range(1500)]  # exponential: its mean errs by 1 / sqrt(1500)
    assert np.mean(random) == pytest.approx(n * one, rel=4 / math.sqrt(1500))


# --- edge cases --------------------------------------------------------------------------------------------------

EDGES: dict[str, dict[str, Any]] = {
    "no IRS": {"num_irs": 0},
    "one user": {"num_users": 1},
    "one BS": {"num_bs": 1},
    "one antenna": {"num_antennas": 1},
    "one element": {"num_elements": 1},
    "more users than antennas": {"num_users": 9, "num_antennas": 2},
    "more groups than users": {"num_users": 2, "num_groups": 7},
    "one slot": {"horizon": 1},
    "blocked": {"blockage_db": 300.0},
    "no path loss": {"direct_exponent": 0.0, "bs_irs_exponent": 0.0, "irs_user_exponent": 0.0},
    "loud": {"tx_power_dbm": 60.0, "noise_power_dbm": -150.0},
    "silent": {"tx_power_dbm": -100.0, "noise_power_dbm": 100.0},
    "users at the height of the masts": {"user_height_m": 10.0, "irs_height_m": 10.0},
}


@pytest.mark.parametrize("observation", ["csi", "large_scale"])
@pytest.mark.parametrize("action", ["raw", "structured"])
@pytest.mark.parametrize("edge", EDGES)
def test_edge_cases_stay_finite(edge: str, action: str, observation: str) -> None:
    scenario = SMALL.replace(**{**EDGES[edge], "action": action, "observation": observation})
    env = make_env(scenario)
    vec = make_vec_env(scenario, 20)
    rng = np.random.default_rng(0)
    low, high = vec.observation_codec.low, vec.observation_codec.high
    observations, _ = vec.reset(seed=0)
    for scale in (0.0, 1.0, 1.0, 1e-20):
        assert (low <= observations).all()
        assert (observations <= high).all()
        observations, rewards, _, _, infos = vec.step(
            scale * rng.uniform(-1, 1, (20, scenario.num_bs, vec.action_size))
        )
        assert np.isfinite(rewards).all()
        assert (infos["rates"] >= 0).all()
    env.reset(seed=0)
    assert env.state_space.contains(env.state())


@pytest.mark.parametrize("action", ["raw", "structured"])
def test_a_cell_without_users_earns_nothing(action: str) -> None:
    env = make_env(SMALL, action=action, mobility="static")
    env.reset(seed=0, options={"positions": np.full((4, 2), 20.0)})
    _, rewards, _, _, infos = env.step(random_actions(env, np.random.default_rng(0)))
    assert rewards["bs_0"] > 0
    assert rewards["bs_1"] == infos["bs_1"]["power_w"] == 0.0


@pytest.mark.parametrize("power", ["ball", "sphere"])
def test_zero_beams_earn_nothing(power: str) -> None:
    for sinr in ("physical", "paper", "reflected"):
        vec = make_vec_env(SMALL, 4, power=power, sinr=sinr)
        vec.reset(seed=0)
        _, rewards, _, _, infos = vec.step(np.zeros((4, 2, vec.action_size)))
        assert (rewards == 0).all()
        assert (infos["power_w"] == 0).all()


def test_without_irs_phases_and_bids_do_not_exist() -> None:
    env = make_env(SMALL, num_irs=0)
    assert env.action_space("bs_0").shape == (2 * 4 * 4,)
    assert env.observation_space("bs_0").shape == (2 * 4 * 4,)
    env.reset(seed=0)
    assert env.view().owner.shape == (1, 0)
    infos = env.step({agent: np.zeros(32, np.float32) for agent in env.agents})[4]
    assert infos["bs_0"]["owner"].shape == (0,)


# --- autoreset ---------------------------------------------------------------------------------------------------


@each_scenario
def test_autoreset_keeps_the_final_observation(scenario: Any) -> None:
    on, off = make_vec_env(scenario, 3), make_vec_env(scenario, 3, autoreset=False)
    assert_same(on.reset(seed=0), off.reset(seed=0))
    rng = np.random.default_rng(0)
    for slot in range(2 * scenario.horizon):
        action = rng.uniform(-1, 1, (3, 2, on.action_size)).astype(np.float32)
        observations, rewards, terminations, truncations, infos = on.step(action)
        o, r, term, trunc, i = off.step(action)
        assert_same((rewards, terminations, truncations, infos), (r, term, trunc, i))
        if (slot + 1) % scenario.horizon:
            assert_same(observations, o)
            assert set(infos) == {"rates", "cell", "sum_rate", "power_w", "owner"}
            continue
        assert truncations.all()
        assert not terminations.any()
        assert infos["TimeLimit.truncated"].tolist() == [True] * 3
        assert_same(infos["final_observation"], o)
        assert_same(infos["final_state"], off.state())
        with pytest.raises(RuntimeError, match=r"the episodes are over: call reset\(\)"):
            off.step(action)
        o, _ = off.reset()
        assert_same(observations, o)  # the first of the next episode


def test_autoreset_begins_a_given_trace_again() -> None:
    trace = np.random.default_rng(0).random((3, 4, 2)) * 80
    vec = make_vec_env(SMALL, 2, mobility="trace", horizon=2)
    vec.reset(seed=0, options={"trace": trace})
    cells = [vec.step(np.zeros((2, 2, vec.action_size)))[4]["cell"] for _ in range(6)]
    assert_same(cells[0], cells[2])
    assert_same(cells[1], cells[5])


# --- a baseline ---------------------------------------------------------------------------------------------------


def test_uniform_random_actions_on_the_default_scenario() -> None:
    """1.20 +- 0.08 bit/s/Hz (mean and standard error of an earlier prototype) within four joint standard errors."""
    vec = make_vec_env("mdlbi-v0", 200)
    rng = np.random.default_rng(0)
    vec.reset(seed=0)
    scores = np.zeros(200)
    for _ in range(7):
        action = rng.uniform(-1, 1, (200, 2, vec.action_size)).astype(np.float32)
        scores += vec.step(action)[4]["sum_rate"].sum(axis=1) / 7
    error = scores.std(ddof=1) / math.sqrt(200)
    assert abs(scores.mean() - 1.20) < 4 * math.hypot(0.08, error)
    assert isinstance(vec, MdlbiVectorEnv)
