"""The street: sites, cells, and how users move."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irs_marl_env import Scenario, get_scenario, make_env, make_vec_env
from irs_marl_env.engine.core import Core
from irs_marl_env.physics.deployment import bs_positions, irs_positions
from irs_marl_env.physics.mobility import mobility_constants

MOVING = ("group", "random_waypoint", "gauss_markov")
SMALL = get_scenario("mdlbi-small-v0", num_users=9, num_antennas=1, num_elements=1)


def walk(scenario: Scenario, num_envs: int, slots: int, seed: int = 0) -> np.ndarray:
    """User positions ``(slots + 1, E, K, 2)``."""
    core = Core(scenario)
    streams = core.streams(seed, num_envs)
    state = core.reset(streams)
    action = np.zeros((num_envs, scenario.num_bs, core.action_codec.size), np.float32)
    positions = [state.motion["position"].copy()]
    for _ in range(slots):
        state, *_ = core.step(state, action, streams)
        positions.append(state.motion["position"].copy())
    return np.array(positions)


# --- sites -------------------------------------------------------------------------------------------------------


def test_two_bs_face_each_other() -> None:
    assert bs_positions(Scenario()).tolist() == [[0, 40, 10], [80, 40, 10]]
    assert irs_positions(Scenario()).tolist() == [[40, 10, 5], [40, 30, 5], [40, 50, 5], [40, 70, 5]]


@pytest.mark.parametrize(
    ("num_bs", "expected"),
    [
        (1, [(0, 20)]),
        (2, [(0, 40), (80, 40)]),
        (3, [(0, 40), (80, 40), (0, 100)]),
        (4, [(0, 40), (80, 40), (0, 120), (80, 120)]),
        (5, [(0, 40), (80, 40), (0, 120), (80, 120), (0, 180)]),
    ],
)
def test_more_bs_repeat_the_block(num_bs: int, expected: list[tuple[float, float]]) -> None:
    s = Scenario(num_bs=num_bs, bs_height_m=12.0)
    positions = bs_positions(s)
    assert positions[:, :2].tolist() == [list(p) for p in expected]
    assert (positions[:, 2] == 12.0).all()
    assert s.area_m == (80.0, 40.0 * num_bs)


@pytest.mark.parametrize("num_bs", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("num_irs", [0, 1, 7])
def test_irs_are_spread_over_the_border(num_bs: int, num_irs: int) -> None:
    s = Scenario(num_bs=num_bs, num_irs=num_irs, irs_height_m=6.0)
    positions = irs_positions(s)
    assert positions.shape == (num_irs, 3)
    assert (positions[:, 0] == 40.0).all()
    assert (positions[:, 2] == 6.0).all()
    depth = s.area_m[1]
    np.testing.assert_allclose(positions[:, 1], [depth * (l + 0.5) / num_irs for l in range(num_irs)])


@pytest.mark.parametrize("num_bs", [1, 2, 3, 4, 5])
def test_cells_belong_to_the_nearest_bs(num_bs: int) -> None:
    s = SMALL.replace(num_bs=num_bs, num_users=200, mobility="static")
    core = Core(s)
    streams = core.streams(num_bs, 1)
    state = core.reset(streams)
    sites = bs_positions(s)
    for k, (x, y) in enumerate(state.motion["position"][0]):
        distances = [math.dist((x, y, s.user_height_m), site) for site in sites]
        assert state.cell[0, k] == distances.index(min(distances))
    shares = np.bincount(state.cell[0], minlength=num_bs) / 200
    assert (shares > 0.25 / num_bs).all()  # no BS is left without a cell
    np.testing.assert_array_equal(state.own_user[0], np.arange(num_bs)[:, None] == state.cell[0])


def test_a_user_who_crosses_the_border_changes_cell_at_the_next_slot() -> None:
    trace = np.full((3, 1, 2), 30.0)
    trace[1:, 0, 0] = 50.0
    env = make_env("mdlbi-small-v0", num_users=1, mobility="trace", trace=trace, horizon=2)
    env.reset(seed=0)
    assert env.view().cell[0].tolist() == [0]
    action = {agent: np.full(env.action_space(agent).shape, 0.5, np.float32) for agent in env.agents}
    _, rewards, _, _, infos = env.step(action)
    assert infos["bs_0"]["cell"].tolist() == [0]  # the slot that was acted in
    assert rewards["bs_0"] > 0
    assert rewards["bs_1"] == 0
    _, rewards, _, _, infos = env.step(action)
    assert infos["bs_0"]["cell"].tolist() == [1]
    assert rewards["bs_0"] == 0
    assert rewards["bs_1"] > 0


# --- mobility ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.0, 1.5, 60.0, 1000.0])
@pytest.mark.parametrize("mobility", [*MOVING, "static"])
def test_users_never_leave_the_area(mobility: str, speed: float) -> None:
    s = SMALL.replace(mobility=mobility, speed_mps=speed, num_bs=3)
    positions = walk(s, num_envs=20, slots=300)
    assert np.isfinite(positions).all()
    assert (positions >= 0).all()
    assert (positions <= np.array(s.area_m)).all()
    moved = np.linalg.norm(positions[1:] - positions[:-1], axis=-1)
    if mobility == "static" or (speed == 0 and mobility != "gauss_markov"):
        assert (moved == 0).all()
    elif speed:
        assert (moved.max(axis=0) > 0).all()  # every user moves


@given(
    mobility=st.sampled_from(MOVING),
    num_bs=st.integers(1, 5),
    users=st.integers(1, 6),
    groups=st.integers(1, 8),
    width=st.floats(1.0, 500.0),
    depth=st.floats(1.0, 200.0),
    speed=st.floats(0, 1000.0),
    slot_s=st.floats(0.001, 100.0),
    seed=st.integers(0, 1000),
)
def test_users_never_leave_any_area(
    mobility: str,
    num_bs: int,
    users: int,
    groups: int,
    width: float,
    depth: float,
    speed: float,
    slot_s: float,
    seed: int,
) -> None:
    s = Scenario(
        num_bs=num_bs,
        num_users=users,
        num_groups=groups,
        area_width_m=width,
        cell_depth_m=depth,
        group_radius_m=min(width, depth * num_bs) / 2,
        speed_mps=speed,
        slot_s=slot_s,
        mobility=mobility,
        num_antennas=1,
        num_elements=1,
        num_irs=1,
    )
    positions = walk(s, 2, 10, seed)
    assert np.isfinite(positions).all()
    assert (positions >= 0).all()
    assert (positions <= np.array(s.area_m)).all()


@pytest.mark.parametrize("slot_s", [0.5, 2.0])
def test_random_waypoint_speeds(slot_s: float) -> None:
    positions = walk(SMALL.replace(mobility="random_waypoint", speed_mps=2.0, slot_s=slot_s), 50, 40)
    speed = np.linalg.norm(np.diff(positions, axis=0), axis=-1) / slot_s
    assert speed.max() <= 3.0 + 1e-9  # 1.5 times the nominal one
    turning = speed < 1.0 - 1e-9  # only the slot that arrives may be shorter
    assert turning.mean() < 0.1
    # legs at U(.5, 1.5) times the nominal speed, before slow legs dominate
    assert speed[0].mean() == pytest.approx(2.0, rel=0.05)


def test_random_waypoint_walks_straight_to_its_target() -> None:
    s = SMALL.replace(mobility="random_waypoint")
    core = Core(s)
    streams = core.streams(3, 1)
    state = core.reset(streams)
    target, start = state.motion["target"].copy(), state.motion["position"].copy()
    action = np.zeros((1, 2, core.action_codec.size), np.float32)
    for _ in range(5):
        state, *_ = core.step(state, action, streams)
        leg, done = target - start, state.motion["position"] - start
        same = (state.motion["target"] == target).all(axis=-1)
        assert same.any()
        cross = leg[..., 0] * done[..., 1] - leg[..., 1] * done[..., 0]
        np.testing.assert_allclose(cross[same], 0, atol=1e-9)


def test_groups_stay_together() -> None:
    s = Scenario(num_users=30, num_antennas=1, num_elements=1, group_radius_m=12.0)
    core = Core(s)
    streams = core.streams(0, 10)
    state = core.reset(streams)
    action = np.zeros((10, 2, core.action_codec.size), np.float32)
    for _ in range(100):
        state, *_ = core.step(state, action, streams)
        position = state.motion["position"]
        for group in range(3):
            members = position[:, group::3]  # user k belongs to group k mod 3
            gap = np.linalg.norm(members[:, :, None] - members[:, None], axis=-1)
            assert gap.max() <= 24.0 + 1e-9


def test_group_centres_walk_at_the_nominal_speed() -> None:
    """The mean of a large group moves like its centre, at U(.5, 1.5) times the nominal speed."""
    s = SMALL.replace(num_users=400, num_groups=1, group_radius_m=1e-3, speed_mps=1.5)
    positions = walk(s, 50, 20).mean(axis=2)
    speed = np.linalg.norm(np.diff(positions, axis=0), axis=-1)
    assert speed.max() <= 2.25 + 2e-3
    assert speed[0].mean() == pytest.approx(1.5, rel=0.15)  # 50 draws of U(.75, 2.25): standard error 4 %


def test_gauss_markov_speed_and_memory() -> None:
    """E|v|^2 = v^2 + 2 (v/2)^2, and v(t) - v_mean decorrelates by the memory per slot."""
    memory = 0.7
    s = SMALL.replace(
        mobility="gauss_markov", speed_mps=2.0, gauss_markov_memory=memory, area_width_m=1e6, cell_depth_m=1e6
    )
    velocity = np.diff(walk(s, 200, 120), axis=0)[40:]  # stationary by then; no border in reach
    assert np.mean((velocity**2).sum(axis=-1)) == pytest.approx(4.0 + 2.0, rel=0.03)
    drift = velocity.mean(axis=0)  # over time, per user
    deviation = velocity - drift
    correlation = np.mean(deviation[1:] * deviation[:-1]) / np.mean(deviation**2)
    assert correlation == pytest.approx(memory, abs=0.04)  # the sample mean takes a little away


@pytest.mark.parametrize("x", [0.1, 79.9])
def test_gauss_markov_turns_round_at_a_border(x: float) -> None:
    """Across the border velocity and drift are mirrored, so that the user walks away from it; along it they stay."""
    s = SMALL.replace(mobility="gauss_markov", num_users=1, speed_mps=1e-9)  # no noise to speak of
    core = Core(s, fast=False)
    outwards = -1.0 if x < 40.0 else 1.0
    position, towards = np.array([[[x, 40.0]]]), np.array([[[outwards, 0.5]]])
    motion = {"position": position, "velocity": towards, "drift": towards}
    streams, constants = core.streams(0, 1), mobility_constants(s, np)
    for step in range(3):
        motion = core.mobility.advance(constants, motion, streams)
        inside = 0.9 + step  # m from the border
        expected = [inside if x < 40.0 else 80.0 - inside, 40.5 + 0.5 * step]
        np.testing.assert_allclose(motion["position"][0, 0], expected, atol=1e-6)
        for name in ("velocity", "drift"):
            np.testing.assert_allclose(motion[name][0, 0], [-outwards, 0.5], atol=1e-6, err_msg=name)


def test_members_stand_uniformly_in_the_disc_of_their_group() -> None:
    """Of a uniform point in a disc the squared distance from the middle is uniform, and so is the angle."""
    stats = pytest.importorskip("scipy.stats")
    s = SMALL.replace(num_groups=1, group_radius_m=12.0)
    core = Core(s)
    around = core.reset(core.streams(0, 200)).motion["point"][:, 1:].reshape(-1, 2)
    assert stats.kstest((around**2).sum(-1) / 12.0**2, "uniform").pvalue > 1e-3
    assert stats.kstest(np.arctan2(*around.T) / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-3


def test_users_start_uniformly() -> None:
    stats = pytest.importorskip("scipy.stats")
    positions = walk(SMALL.replace(mobility="random_waypoint"), 1000, 0)[0].reshape(-1, 2)
    for axis in (0, 1):
        assert stats.kstest(positions[:, axis] / 80.0, "uniform").pvalue > 1e-3
    group = walk(SMALL.replace(group_radius_m=1e-6), 2000, 0)[0, :, 0]  # one user of each environment: its centre
    assert stats.kstest(group[:, 0] / 80.0, "uniform").pvalue > 1e-3


def test_layout_frozen_starts_every_episode_alike() -> None:
    frozen = SMALL.replace(layout="frozen")
    starts = [walk(frozen, envs, 0, seed)[0] for envs, seed in ((1, 0), (3, 7))]
    np.testing.assert_array_equal(starts[0][0], starts[1][0])
    np.testing.assert_array_equal(starts[0][0], starts[1][2])
    assert not np.array_equal(starts[0], walk(frozen.replace(frozen_seed=1), 1, 0)[0])
    moved = walk(frozen, 2, 5)
    assert not np.array_equal(moved[5, 0], moved[5, 1])  # the walk itself is drawn


# --- positions from outside --------------------------------------------------------------------------------------


def trace_of(slots: int, users: int = 4) -> np.ndarray:
    return np.random.default_rng(slots).random((slots, users, 2)) * 80


def positions_of(env: Any, slots: int) -> np.ndarray:
    action = {a: np.zeros(env.action_space(a).shape, np.float32) for a in env.possible_agents}
    seen = []
    for _ in range(slots + 1):
        seen.append(env.state_encoder.blocks(env.state())["position"] * 80.0)
        if env.agents:
            env.step(action)
    return np.array(seen)


@pytest.mark.parametrize("source", ["array", "list", "npz", "options", "longer"])
def test_trace_is_followed(source: str, tmp_path: Path) -> None:
    trace = trace_of(6)
    path = tmp_path / "walk.npz"
    np.savez(path, positions=trace)
    given_trace: Any = {
        "array": trace,
        "list": trace.tolist(),
        "npz": str(path),
        "options": None,
        "longer": np.concatenate([trace, trace_of(9)]),
    }[source]
    env = make_env("mdlbi-small-v0", mobility="trace", trace=given_trace, horizon=5)
    env.reset(seed=0, options={"trace": trace} if source == "options" else None)
    np.testing.assert_allclose(positions_of(env, 5), trace, rtol=1e-6)


def test_trace_of_the_options_is_copied() -> None:
    trace = trace_of(6)
    env = make_env("mdlbi-small-v0", mobility="trace", horizon=5)
    env.reset(seed=0, options={"trace": trace})
    kept = trace.copy()
    trace[:] = 0.0
    np.testing.assert_allclose(positions_of(env, 5), kept, rtol=1e-6)


def test_trace_in_a_batch() -> None:
    vec = make_vec_env("mdlbi-small-v0", 3, mobility="trace", trace=trace_of(3), horizon=2)
    vec.reset(seed=0)
    cells = [vec.step(np.zeros((3, 2, vec.action_size)))[4]["cell"] for _ in range(4)]  # two episodes
    np.testing.assert_array_equal(cells[0], cells[2])
    np.testing.assert_array_equal(cells[0][0], cells[0][2])


def test_initial_positions_of_the_options() -> None:
    start = trace_of(1)[0]
    for mobility in (*MOVING, "static"):
        env = make_env("mdlbi-small-v0", mobility=mobility)
        env.reset(seed=0, options={"positions": start})
        np.testing.assert_allclose(positions_of(env, 0)[0], start, rtol=1e-6, err_msg=mobility)


@pytest.mark.parametrize(
    ("mobility", "options", "message"),
    [
        ("trace", None, "mobility='trace' needs positions"),
        ("trace", {"positions": np.zeros((4, 2))}, r"options\['positions'\] does not go with mobility='trace'"),
        ("trace", {"trace": np.zeros((5, 4, 2))}, r"options\['trace'\]=.*\(5, 4, 2\).*'>=6', 4, 2"),
        ("trace", {"trace": np.full((6, 4, 2), 81.0)}, r"options\['trace'\]\[0, 0\]=\[81.0, 81.0\]"),
        ("group", {"trace": np.zeros((6, 4, 2))}, r"options\['trace'\] needs mobility='trace' \(mobility='group'\)"),
        ("group", {"positions": np.zeros((3, 2))}, r"options\['positions'\]=.*\(3, 2\).*: must be finite positions"),
        ("group", {"positions": np.full((4, 2), -1.0)}, r"options\['positions'\]\[0\]=\[-1.0, -1.0\]"),
        ("group", {"positions": "here"}, r"options\['positions'\]='here': must be finite positions"),
    ],
)
def test_impossible_reset_options(mobility: str, options: Any, message: str) -> None:
    env = make_env("mdlbi-small-v0", mobility=mobility, horizon=5)
    vec = make_vec_env("mdlbi-small-v0", 2, mobility=mobility, horizon=5)
    for shell in (env, vec):
        with pytest.raises(ValueError, match=message):
            shell.reset(seed=0, options=options)


def test_impossible_trace_files(tmp_path: Path) -> None:
    missing, empty, wrong = (tmp_path / name for name in ("missing.npz", "empty.npz", "wrong.npz"))
    np.savez(empty, other=np.zeros(3))
    np.savez(wrong, positions=np.zeros((3, 4, 2)))
    for path, message in (
        (missing, "no such file; must be an .npz with an array 'positions'"),
        (empty, r"holds \['other'\]; must hold an array 'positions'"),
        (wrong, r"\(3, 4, 2\).*'>=6', 4, 2"),
    ):
        with pytest.raises(ValueError, match=message):
            make_env("mdlbi-small-v0", mobility="trace", trace=str(path), horizon=5)
