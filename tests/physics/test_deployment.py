"""Sites of one's own: positions, facings, areas, cell rules and shadowing, against values by hand."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, evaluate, get_scenario, layouts, make_env, make_vec_env
from irs_marl_env.engine.core import Core
from irs_marl_env.physics.deployment import irs_axes
from irs_marl_env.policies import POLICIES
from irs_marl_env.spaces.state import StateEncoder

BS = ((-100.0, 20.0, 25.0), (150.0, 0.0, 20.0), (25.0, 216.0, 30.0))
IRS = ((-20.0, 60.0, 6.0), (60.0, 40.0, 8.0), (0.0, 130.0, 5.0), (100.0, 100.0, 10.0), (25.0, 10.0, 7.0))
FACING = ((1.0, 0.0, 0.0), (-1.0, 1.0, 0.0), (0.0, -2.0, 0.0), (-1.0, -1.0, 0.5), (0.0, 0.0, 1.0))
OWN: dict[str, Any] = {
    "bs_positions_m": BS, "irs_positions_m": IRS, "irs_facing": FACING, "area_bounds_m": (-200, -50, 250, 300),
    "irs_element_exponent": 1.5, "num_users": 6, "num_elements": 6, "num_antennas": 4, "horizon": 8,
}  # fmt: skip
OWN_NETWORK = Scenario(**OWN)
each_way = pytest.mark.parametrize("fast", [False, None], ids=["plain", "as installed"])


def state_at(scenario: Scenario, positions: Any = None, fast: bool | None = False, num_envs: int = 1) -> Any:
    core = Core(scenario, fast=fast)
    return core.reset(core.streams(0, num_envs), None if positions is None else np.array(positions, float))


# --- where sites and users are ------------------------------------------------------------------------------------


def test_numbers_follow_from_the_positions() -> None:
    assert (OWN_NETWORK.num_bs, OWN_NETWORK.num_irs) == (3, 5)
    assert (Scenario().num_bs, Scenario().num_irs) == (2, 4)
    assert get_scenario("mdlbi-small-v0", irs_positions_m=IRS).num_irs == 5
    assert get_scenario("mdlbi-small-v0", num_irs=None).num_irs == 4
    assert Scenario().replace(bs_positions_m=BS).num_bs == 3
    assert OWN_NETWORK.replace(bs_positions_m=BS[:1]).num_bs == 1
    assert OWN_NETWORK.replace(num_users=2).num_bs == 3
    assert OWN_NETWORK.replace(num_irs=0).num_irs == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_bs": 2}, "num_bs=2: must be left out, or 3, the rows of bs_positions_m"),
        ({"num_irs": 4}, "num_irs=4: must be left out, 5, the rows of irs_positions_m, or 0"),
        ({"irs_facing": FACING[:2]}, r"irs_facing=.*: must be None, or one row for each of num_irs=5 IRSs"),
        ({"irs_facing": [(1, 0, 0)] * 4 + [(0, 0, 0)]}, r"irs_facing\[4\]=\(0.0, 0.0, 0.0\): must be a direction"),
        ({"irs_facing": None}, "irs_element_exponent=1.5: must be 0 unless irs_facing is given"),
        ({"bs_positions_m": []}, r"bs_positions_m=\[\]: must be rows of 3 finite numbers in \[-1e\+06, 1e\+06\]"),
        ({"bs_positions_m": [(0, 0)]}, "bs_positions_m=.*: must be rows of 3 finite numbers"),
        ({"irs_positions_m": [(0, 0, math.nan)]}, "irs_positions_m=.*: must be rows of 3"),
        ({"irs_positions_m": "abc"}, "irs_positions_m='abc': must be rows of 3"),
        ({"irs_positions_m": [(0, 0, 2e6)]}, "irs_positions_m=.*: must be rows of 3"),
        ({"area_bounds_m": (0, 0, 10)}, r"area_bounds_m=\(0, 0, 10\): must be None, or \(x_min, y_min, x_max"),
        ({"area_bounds_m": (0, 0, 10, 0)}, "area_bounds_m=.*: must be None, or"),
        ({"area_bounds_m": (10, 0, 0, 10)}, "area_bounds_m=.*: must be None, or"),
        ({"area_bounds_m": (0, 0, 20, 20)}, r"group_radius_m=12.0: must be at most .* 10 \(20 x 20 m\)"),
        ({"area_bounds_m": 7}, "area_bounds_m=7: must be None, or"),
        ({"cell_rule": "furthest"}, "cell_rule='furthest': must be one of 'nearest', 'strongest', or"),
        ({"shadowing_distance_m": 0}, "shadowing_distance_m=0: must be a finite number in"),
    ],
)  # fmt: skip
def test_sites_that_do_not_go_together_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Scenario(**{**OWN, **fields})


def test_the_area_is_the_box_around_the_sites() -> None:
    s = OWN_NETWORK.replace(area_bounds_m=None)
    nearest = [math.dist(BS[0][:2], BS[2][:2]), math.dist(BS[1][:2], BS[2][:2]), math.dist(BS[0][:2], BS[2][:2])]
    margin = max(nearest) / 2
    assert s.bounds_m == pytest.approx((-100 - margin, -margin, 150 + margin, 216 + margin))
    assert s.area_m == pytest.approx((250 + 2 * margin, 216 + 2 * margin))
    assert s.reference_distance_m == pytest.approx(math.sqrt(s.area_m[0] * s.area_m[1] / 3) / 2)
    alone = Scenario(bs_positions_m=[(5, 5, 10)])
    assert alone.bounds_m == (-35, -35, 45, 45)
    assert Scenario(bs_positions_m=[(5, 5, 10)] * 2).bounds_m == (-35, -35, 45, 45)  # two at one place
    assert Scenario(irs_positions_m=[(500, 500, 5)]).bounds_m == (0, 0, 80, 80)  # the street is where it is
    assert s.replace(num_irs=0).bounds_m == s.bounds_m  # who uses no IRS meets the same users


def test_json_pickle_digest_and_lists() -> None:
    assert Scenario.from_json(OWN_NETWORK.to_json()) == OWN_NETWORK
    assert pickle.loads(pickle.dumps(OWN_NETWORK)) == OWN_NETWORK
    as_lists = Scenario(**{**OWN, "bs_positions_m": np.array(BS), "irs_facing": [list(row) for row in FACING]})
    assert as_lists == OWN_NETWORK
    assert hash(as_lists) == hash(OWN_NETWORK)
    assert as_lists.digest == OWN_NETWORK.digest
    others = [{"irs_element_exponent": 1.0}, {"area_bounds_m": (-200, -50, 250, 301)}, {"cell_rule": "strongest"}]
    assert len({OWN_NETWORK.replace(**other).digest for other in (*others, {"shadowing_std_db": 1.0}, {})}) == 5


@each_way
@pytest.mark.parametrize("mobility", ["group", "random_waypoint", "gauss_markov", "static"])
def test_users_stay_inside_an_area_with_negative_coordinates(mobility: str, fast: bool | None) -> None:
    bounds = (-130.0, -70.0, -90.0, -20.0)
    s = Scenario(area_bounds_m=bounds, mobility=mobility, speed_mps=8.0, num_users=20, horizon=50, num_antennas=1)
    vec = make_vec_env(s, 8, fast=fast, num_elements=1)
    vec.reset(seed=0)
    seen = []
    for _ in range(40):
        vec.step(np.zeros((8, 2, vec.action_size), np.float32))
        seen.append(vec.view().position)
    low, high = np.array(bounds[:2]), np.array(bounds[2:])
    assert (np.array(seen) >= low).all()
    assert (np.array(seen) <= high).all()
    spread = np.array(seen).reshape(-1, 2).std(0)
    assert (spread > 0.15 * (high - low)).all()  # they use all of it
    share = StateEncoder(vec.scenario).blocks(vec.state())["position"]
    np.testing.assert_allclose(share, (seen[-1] - low) / (high - low), rtol=1e-5, atol=1e-6)


def test_a_shifted_network_is_the_same_network() -> None:
    """All sites and the area 1,000 m away: users walk the same way and every rate is the same."""
    shift = np.array([-1000.0, 640.0])

    def moved(points: Any) -> list[tuple[float, ...]]:
        return [(x + shift[0], y + shift[1], z) for x, y, z in points]

    bounds = np.add(OWN["area_bounds_m"], (*shift, *shift))
    there = OWN_NETWORK.replace(bs_positions_m=moved(BS), irs_positions_m=moved(IRS), area_bounds_m=bounds)
    views = []
    for s in (OWN_NETWORK, there):
        vec = make_vec_env(s, 2, fast=False, mobility="gauss_markov", irs_user_rician_k_db=3.0)
        vec.reset(seed=1)
        for _ in range(5):
            state = vec.state()
            rates = vec.step(np.full((2, 3, vec.action_size), 0.2, np.float32))[-1]["rates"]
        views.append((vec.view().position, rates, vec.view().channels.h, state))
    np.testing.assert_allclose(views[0][0] + shift, views[1][0], atol=1e-9)
    np.testing.assert_allclose(views[0][1], views[1][1], rtol=1e-4)
    np.testing.assert_allclose(views[0][2], views[1][2], rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(views[0][3], views[1][3], atol=1e-3)


def test_positions_of_a_reset_and_a_trace_are_held_against_the_area() -> None:
    env = make_env(OWN_NETWORK, fast=False)
    inside = np.full((6, 2), -40.0)
    env.reset(seed=0, options={"positions": inside})
    np.testing.assert_array_equal(env.view().position[0], inside)
    with pytest.raises(ValueError, match=r"positions'\]\[2\].*inside \[-200, 250\] x \[-50, 300\] m"):
        env.reset(options={"positions": np.where(np.arange(6)[:, None] == 2, -60.0, inside)})


# --- path gains and facing ----------------------------------------------------------------------------------------


def pattern(normal: Any, direction: np.ndarray, exponent: float) -> float:
    """Power gain of an element towards a direction."""
    cosine = float(np.dot(normal, direction) / np.linalg.norm(normal) / np.linalg.norm(direction))
    return max(cosine, 0.0) ** exponent if cosine > 0 else 0.0


@each_way
@pytest.mark.parametrize("exponent", [0.0, 1.5])
def test_gains_by_hand(exponent: float, fast: bool | None) -> None:
    s = OWN_NETWORK.replace(irs_element_exponent=exponent)
    users = np.random.default_rng(0).uniform((-200, -50), (250, 300), (6, 2))
    gains = state_at(s, users, fast).gains
    behind = 0
    for k, user in enumerate(np.c_[users, np.full(6, 1.5)]):
        for m, bs in enumerate(BS):
            expected = 1e-3 * math.dist(user, bs) ** -4.0 / 100  # 20 dB blockage
            assert gains.direct[0, m, k] ** 2 == pytest.approx(expected, rel=1e-5)
        for l, irs in enumerate(IRS):
            expected = 1e-3 * math.dist(user, irs) ** -2.4 * pattern(FACING[l], user - np.array(irs), exponent)
            assert gains.irs_user[0, l, k] ** 2 == pytest.approx(expected, rel=1e-5, abs=1e-20)
            behind += expected == 0
    for m, bs in enumerate(BS):
        for l, irs in enumerate(IRS):
            expected = 1e-3 * math.dist(bs, irs) ** -2.5 * pattern(FACING[l], np.array(bs) - np.array(irs), exponent)
            assert gains.bs_irs[0, m, l] ** 2 == pytest.approx(expected, rel=1e-5, abs=1e-20)
    assert 0 < behind < 30


def test_axes_of_arrays_follow_the_facing() -> None:
    s = Scenario(num_irs=4, irs_facing=[(3, 0, 0), (0, 1, 0), (1, -1, 2), (0, 0, -5)])
    axes = irs_axes(s)
    assert axes is not None
    np.testing.assert_allclose(axes @ axes.swapaxes(1, 2), np.broadcast_to(np.eye(3), (4, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(axes), 1.0)  # columns, rows, normal: right-handed
    np.testing.assert_allclose(axes[0], [[0, 1, 0], [0, 0, 1], [1, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(axes[1], [[-1, 0, 0], [0, 0, 1], [0, 1, 0]], atol=1e-12)
    assert (axes[:3, 0, 2] == 0).all()  # columns are level
    np.testing.assert_allclose(axes[3, 0], [0, 1, 0])
    assert irs_axes(Scenario()) is None


@pytest.mark.parametrize("length", [5e-324, 1e-200, 1.0, 4e5])
def test_facings_have_any_length(length: float) -> None:
    directions = np.array([(2, 0, 0), (0, -1, 1), (1, -1, 2)])
    axes, unit = (irs_axes(Scenario(num_irs=3, irs_facing=scale * directions)) for scale in (length, 1.0))
    assert axes is not None
    assert unit is not None
    np.testing.assert_allclose(axes, unit, rtol=1e-12, atol=1e-12)


@each_way
def test_facing_x_is_the_street_but_for_what_is_behind(fast: bool | None) -> None:
    rician = {"bs_irs_rician_k_db": 100.0, "irs_user_rician_k_db": 100.0, "num_irs": 2, "num_users": 8}
    there, here = (
        state_at(Scenario(**rician, irs_facing=facing), fast=fast).channels for facing in (None, [(1, 0, 0)] * 2)
    )
    in_front = abs(here.h).max(-1) > 0
    assert in_front.any()
    assert not in_front.all()
    np.testing.assert_allclose(here.h[in_front], there.h[in_front], rtol=2e-4)
    assert (here.G[:, 0] == 0).all()  # BS 0 stands behind
    np.testing.assert_allclose(here.G[:, 1], there.G[:, 1], rtol=2e-4)


def test_line_of_sight_of_an_irs_that_faces_y() -> None:
    """Phases by the true distance of every element: the far field of the model to second order in d / distance."""
    wavelength = 299_792_458.0 / 2.4e9
    s = Scenario(
        num_users=1, num_elements=6, num_antennas=1, irs_positions_m=[(0, 0, 5)], irs_facing=[(0, 1, 0)],
        bs_positions_m=[(2000, 3000, 105)], area_bounds_m=(-3e3, -3e3, 3e3, 3e3), irs_user_rician_k_db=100.0,
        bs_irs_rician_k_db=100.0, group_radius_m=1.0,
    )  # fmt: skip
    user = (-1500.0, 2500.0)
    channels = state_at(s, [user]).channels
    place = [(-wavelength / 2 * (n % 3), 0, wavelength / 2 * (n // 3)) for n in range(6)]  # columns along -x
    for found, end in ((channels.h[0, 0, 0], (*user, 1.5)), (channels.G[0, 0, 0, :, 0], (2000, 3000, 105))):
        distance = np.array([math.dist((x, y, z + 5), end) for x, y, z in place])
        expected = np.exp(-2j * np.pi / wavelength * (distance - distance[0]))
        np.testing.assert_allclose(found / found[0], expected, atol=2e-3)


# --- cells --------------------------------------------------------------------------------------------------------


def every_other(links: Any) -> Any:
    """Users 0, 2, 4 ... to BS 0, the others to the last BS."""
    return (np.arange(links.direct_gain.shape[-1]) % 2 * (links.direct_gain.shape[1] - 1))[None] + np.zeros(
        (len(links.position), 1), int
    )


@each_way
def test_cell_rules(fast: bool | None) -> None:
    near = state_at(OWN_NETWORK, fast=fast, num_envs=3)
    where = np.concatenate([near.motion["position"], np.full((3, 6, 1), 1.5)], -1)
    distance = np.linalg.norm(where[:, None] - np.array(BS)[:, None], axis=-1)
    np.testing.assert_array_equal(near.cell, distance.argmin(1))
    s = OWN_NETWORK.replace(cell_rule="strongest", shadowing_std_db=12.0)
    strong = state_at(s, fast=fast, num_envs=3)
    np.testing.assert_array_equal(strong.cell, strong.gains.direct.argmax(1))
    assert (strong.cell != near.cell).any()
    np.testing.assert_array_equal(strong.own_user, strong.cell[:, None] == np.arange(3)[:, None])
    own = state_at(OWN_NETWORK.replace(cell_rule=every_other), fast=fast)
    assert own.cell.tolist() == [[0, 2, 0, 2, 0, 2]]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda links: links.direct_gain, r"returned \(1, 3, 6\) of float32: must be integers of shape \(1, 6\)"),
        (lambda links: links.direct_gain[:, 0], r"returned \(1, 6\) of float32: must be integers"),
        (lambda links: np.full((1, 6), 3), r"returned cells that are none: must be in \[0, 2\]"),
        (lambda links: None, "returned NoneType of no type"),
    ],
)
def test_what_a_cell_rule_returns_is_checked(rule: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"cell_rule .* {message}"):
        state_at(OWN_NETWORK.replace(cell_rule=rule))


# --- shadowing ----------------------------------------------------------------------------------------------------


@each_way
def test_shadowing_is_log_normal_and_fades_with_the_distance(fast: bool | None) -> None:
    s = Scenario(
        shadowing_std_db=8.0, shadowing_distance_m=20.0, mobility="gauss_markov", speed_mps=5.0,
        gauss_markov_memory=1.0,
        num_users=40, num_irs=2, num_antennas=1, num_elements=1, area_bounds_m=(0, 0, 1e5, 1e5), horizon=9,
    )  # fmt: skip
    core, plain = Core(s, fast=fast), Core(s.replace(shadowing_std_db=0.0), fast=fast)
    streams, others = core.streams(0, 30), plain.streams(0, 30)
    state, bare = core.reset(streams), plain.reset(others)
    action = np.zeros((30, 2, core.action_codec.size), np.float32)
    shadow = []
    for _ in range(9):
        ratio = [20 * np.log10(a / b) for a, b in zip(state.gains, bare.gains, strict=True)]
        np.testing.assert_array_equal(ratio[1], 0.0)  # between the masts there is none
        shadow.append(np.concatenate([ratio[0], ratio[2]], axis=1))
        state, bare = core.step(state, action, streams)[0], plain.step(bare, action, others)[0]
        np.testing.assert_array_equal(state.motion["position"], bare.motion["position"])  # a stream of its own
    dB = np.array(shadow)  # (slots, E, M + L, K)
    assert dB[0].std() == pytest.approx(8.0, rel=0.05)
    assert dB[-1].std() == pytest.approx(8.0, rel=0.05)
    assert abs(dB[0].mean()) < 0.5
    for lag in (1, 4, 8):
        correlation = (dB[0] * dB[lag]).mean() / 64.0
        assert correlation == pytest.approx(math.exp(-5.0 * lag / 20.0), abs=0.05)
    sites = np.corrcoef(dB[0].swapaxes(0, 1).reshape(4, -1))
    assert abs(sites - np.eye(4)).max() < 0.1


def test_users_who_stand_keep_their_shadow_and_frozen_fading_keeps_it_for_ever() -> None:
    s = Scenario(shadowing_std_db=6.0, mobility="static", num_irs=1, num_elements=1, horizon=3)
    core = Core(s, fast=False)
    streams = core.streams(0, 2)
    state = core.reset(streams)
    after = core.step(state, np.zeros((2, 2, core.action_codec.size), np.float32), streams)[0]
    np.testing.assert_allclose(after.gains.direct, state.gains.direct, rtol=1e-6)
    again = core.reset(streams)
    assert (again.scattered["shadowing"] != state.scattered["shadowing"]).all()
    frozen = Core(s.replace(fading="frozen"), fast=False)
    first, second = (frozen.reset(frozen.streams(seed, 2)).scattered["shadowing"] for seed in (0, 9))
    np.testing.assert_array_equal(first, second)
    assert (first[0] == first[1]).all()


# --- everything on it ---------------------------------------------------------------------------------------------

OPTIONS = OWN_NETWORK.replace(shadowing_std_db=4.0, cell_rule="strongest", fading="ar1", irs_user_rician_k_db=2.0)


def test_kernels_and_torch_agree_with_the_plain_code() -> None:
    pytest.importorskip("torch")
    ways: list[dict[str, Any]] = [{"fast": False}, {"fast": None}, {"backend": "torch"}]
    found = []
    for way in ways:
        vec = make_vec_env(OPTIONS, 3, **way)
        observations, _ = vec.reset(seed=2)
        rng = np.random.default_rng(0)
        for _ in range(10):  # over the end of an episode
            action = rng.uniform(-1, 1, (3, 3, vec.action_size)).astype(np.float32)
            if way.get("backend"):
                import torch

                action = torch.from_numpy(action)
            observations, rewards, *_ = vec.step(action)
        found.append([np.asarray(observations), np.asarray(rewards), np.asarray(vec.state())])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)


def test_a_saved_state_goes_on_where_it_was() -> None:
    vec = make_vec_env(OPTIONS, 2, fast=False)
    vec.reset(seed=3)
    action = np.full((2, 3, vec.action_size), 0.1, np.float32)
    vec.step(action)
    saved = vec.get_state()
    ahead = [vec.step(action)[0] for _ in range(4)]
    vec.reset(seed=8)
    vec.set_state(saved)
    for expected in ahead:
        np.testing.assert_array_equal(vec.step(action)[0], expected)
    with pytest.raises(ValueError, match=r"shadowing.*13"):
        vec.set_state({**saved, "scattered.shadowing": np.full_like(saved["scattered.shadowing"], 13.0)})


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_works_on_it(policy: str) -> None:
    if policy.startswith("planner"):
        with pytest.raises(ValueError, match="num_bs=3, num_irs=5"):  # too many ways to share them out
            evaluate(policy, OPTIONS, episodes=2, slots=2)
        return
    result = evaluate(policy, OPTIONS, episodes=2, slots=2)
    assert result.mean > 0
    assert np.isfinite(result.rates).all()


def test_processes_give_the_same() -> None:
    s = OPTIONS.replace(cell_rule=every_other, num_users=4)
    one, three = (evaluate("local-gain-ao", s, episodes=3, slots=2, processes=n).rates for n in (1, 3))
    np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize("num_bs", [1, 64])
def test_from_one_to_64_base_stations(num_bs: int) -> None:
    sites = layouts.grid(8, 8, 50.0)[:num_bs]
    vec = make_vec_env(bs_positions_m=sites, num_antennas=2, num_elements=4, num_users=70, horizon=3)
    vec.reset(seed=0)
    rewards = vec.step(np.full((1, num_bs, vec.action_size), 0.5, np.float32))[1]
    assert rewards.shape == (1, num_bs)
    assert (rewards >= 0).all()
    assert rewards.max() > 0


# --- layouts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rings", [0, 1, 2, 4])
def test_hexagonal(rings: int) -> None:
    sites = np.array(layouts.hexagonal(rings, 100.0, 20.0, (-7.0, 3.0)))
    assert sites.shape == (1 + 3 * rings * (rings + 1), 3)
    assert (sites[:, 2] == 20.0).all()
    np.testing.assert_allclose(sites[:, :2].mean(0), (-7, 3), atol=1e-6)
    distance = np.linalg.norm(sites[:, None] - sites, axis=-1) + 1e9 * np.eye(len(sites))
    neighbours = (abs(distance - 100.0) < 1e-6).sum(0)
    if rings:
        assert distance.min() == pytest.approx(100.0)
        assert (neighbours == 6).sum() == 1 + 3 * rings * (rings - 1)  # all but the outer ring
        assert neighbours.min() == 3


def test_grid_midpoints_and_towards() -> None:
    assert layouts.grid(2, 2, 10.0, 5.0, (5.0, 5.0)) == ((0, 0, 5), (10, 0, 5), (0, 10, 5), (10, 10, 5))
    middles = layouts.midpoints(layouts.grid(2, 2, 10.0), 4.0)
    assert sorted(middles) == [(-5, 0, 4), (0, -5, 4), (0, 5, 4), (5, 0, 4)]
    assert len(layouts.midpoints(layouts.hexagonal(1, 200.0))) == 12
    assert layouts.towards([(0, 10, 5), (2, 2, 9)], (0, 0)) == (
        (0.0, -1.0, 0.0),
        (pytest.approx(-math.sqrt(0.5)), pytest.approx(-math.sqrt(0.5)), 0.0),
    )
    assert layouts.towards([(1, 1, 1)], (1, 1)) == ((1.0, 0.0, 0.0),)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layouts.hexagonal(-1, 10), "rings=-1: must be an integer"),
        (lambda: layouts.hexagonal(1, 0), "inter_site_distance_m=0: must be a finite number"),
        (lambda: layouts.grid(0, 2, 10), "rows=0: must be an integer"),
        (lambda: layouts.grid(2, 2, math.nan), "spacing_m=nan: must be"),
        (lambda: layouts.midpoints([(0, 0, 1)]), "positions_m has one site"),
        (lambda: layouts.towards([(0, 0)]), "positions_m=.*: must be rows of 3"),
        (lambda: layouts.hexagonal(1, 10, centre_m=(1,)), "centre_m=.*: must be rows of 2"),
    ],
)
def test_layouts_refuse_what_is_none(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
