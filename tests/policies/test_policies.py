"""Classical policies: what they choose is what they claim, and it passes through the environment like any action."""

import contextlib
import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from irs_marl_env import Scenario, evaluate, get_scenario, make_env, make_vec_env
from irs_marl_env.policies import POLICIES, rules
from irs_marl_env.policies.cells import Cells
from irs_marl_env.solvers import alternating_optimization

NAMES = [
    "random",
    "no-irs-mrt",
    "no-irs-wmmse",
    "random-mrt",
    "random-rzf",
    "random-wmmse",
    "random-ao",
    "fixed-ao",
    "local-gain-ao",
    "greedy-ao",
    "exhaustive-ao",
]
TINY = Scenario(num_bs=2, num_users=3, num_irs=3, num_antennas=2, num_elements=4, horizon=10)


def slot(scenario=TINY, num_envs=4, seed=0):
    """An environment after reset and its view."""
    env = make_vec_env(scenario, num_envs)
    env.reset(seed=seed)
    return env, env.view()


def altered(view, **changes):
    """What a rule would read if some of it were different."""
    names = ("scenario", "slot", "cell", "own_user", "owner", "csi", "irs_gain")
    return SimpleNamespace(**{**{name: getattr(view, name) for name in names}, **changes})


def values_of(view, owner):
    """System value of associations ``owner (E, L)``, cell by cell and without any of the code under test."""
    s, total = view.scenario, []
    for e in range(len(owner)):
        value = 0.0
        for m in range(s.num_bs):
            own = view.cell[e] == m
            h = view.csi.h[e] * own[:, None] * (owner[e] == m)[:, None, None]
            H = view.csi.H[e, m] * own[:, None]
            value += alternating_optimization(H, view.csi.G[e, m], h, s.tx_power_w, s.noise_power_w)[2][-1]
        total.append(value)
    return np.array(total)


def owner_by(rule, view, seed=0):
    memory = rules.Memory(range(seed, seed + len(view.cell)))
    return rules.RULES[rule](view, Cells(view), memory).argmax(1)


def test_names_of_the_contract():
    assert set(NAMES) <= set(POLICIES)
    assert all(name == policy.name for name, policy in POLICIES.items())


@pytest.mark.parametrize("num_bs", [1, 2, 3])
def test_exhaustive_equals_brute_force(num_bs):
    _, view = slot(TINY.replace(num_bs=num_bs, num_users=4))
    every = [values_of(view, np.broadcast_to(owners, (4, 3))) for owners in itertools.product(range(num_bs), repeat=3)]
    chosen = values_of(view, owner_by("exhaustive", view))
    np.testing.assert_allclose(chosen, np.max(every, axis=0), rtol=2e-4)


def test_best_partition_equals_enumeration():
    rng = np.random.default_rng(0)
    M, L = 3, 4
    value = rng.normal(size=(5, M, 2**L))
    owner = rules.best_partition(value)

    def total(e, owners):
        return sum(value[e, m, sum(1 << i for i, o in enumerate(owners) if o == m)] for m in range(M))

    for e in range(5):
        best = max(total(e, owners) for owners in itertools.product(range(M), repeat=L))
        assert total(e, owner[e]) == pytest.approx(best)


def test_greedy_between_local_gain_and_exhaustive():
    _, view = slot(get_scenario("mdlbi-small-v0", num_irs=3), num_envs=24)
    value = {rule: values_of(view, owner_by(rule, view)) for rule in ("local-gain", "greedy", "exhaustive")}
    assert (value["greedy"] <= value["exhaustive"] * (1 + 2e-4)).all()
    assert value["local-gain"].mean() < value["greedy"].mean()


def test_greedy_takes_the_largest_gain_step_by_step():
    """Ways of the same value may differ by rounding, so the values of the steps are compared."""
    _, view = slot(get_scenario("mdlbi-small-v0", num_irs=3, num_bs=2), num_envs=12)
    owner = owner_by("greedy", view)
    held = np.full(owner.shape, -1)
    for _ in range(3):
        candidates = []
        for m, l in itertools.product(range(2), range(3)):
            one_more = held.copy()
            one_more[held[:, l] < 0, l] = m
            candidates.append((values_of(view, one_more), one_more))
        best = np.argmax([np.where((h != held).any(1), v, -1) for v, h in candidates], axis=0)
        held = np.array([candidates[b][1][e] for e, b in enumerate(best)])
    same = (owner == held).all(1)
    np.testing.assert_allclose(values_of(view, owner)[~same], values_of(view, held)[~same], rtol=2e-4)
    assert same.mean() > 0.5


def test_marginal_bids_are_the_mean_of_the_first_and_the_last_value():
    _, view = slot(num_envs=2)
    bids = rules.marginal(view, Cells(view), rules.Memory(range(2)))

    def value(m, members):
        owner = np.full((2, 3), -1)
        owner[:, members] = m
        return values_of(view, owner)

    for m, l in itertools.product(range(2), range(3)):
        others = [i for i in range(3) if i != l]
        worth = (value(m, [l]) - value(m, []) + value(m, [0, 1, 2]) - value(m, others)) / 2
        np.testing.assert_allclose(bids[:, m, l], worth / (abs(worth) + 10.0), rtol=2e-3, atol=2e-4)


def test_greedy_is_exhaustive_for_one_irs():
    _, view = slot(TINY.replace(num_irs=1), num_envs=16)
    np.testing.assert_array_equal(owner_by("greedy", view), owner_by("exhaustive", view))


@pytest.mark.parametrize("rule", ["local-gain", "marginal"])
def test_decentralised_bids_depend_on_the_own_view_alone(rule):
    _, view = slot()
    memory = rules.Memory(range(4))
    bids = rules.RULES[rule](view, Cells(view), memory)
    other = view.cell == 1
    csi = view.csi._replace(
        H=view.csi.H * np.where(other, 3.0, 1.0)[:, None, :, None].astype(np.float32),
        h=view.csi.h * np.where(other, 3.0, 1.0)[:, None, :, None].astype(np.float32),
    )
    irs_gain = view.irs_gain * np.where(other, 9.0, 1.0)[:, None, None]
    changed = altered(view, csi=csi, irs_gain=irs_gain, owner=1 - view.owner)
    after = rules.RULES[rule](changed, Cells(changed), memory)
    np.testing.assert_allclose(after[:, 0], bids[:, 0], rtol=1e-4, atol=1e-5)
    assert not np.allclose(after[:, 1], bids[:, 1], rtol=1e-3)


@pytest.mark.parametrize("rule", ["random", "local-gain", "marginal", "greedy", "exhaustive"])
def test_bids_are_actions(rule):
    _, view = slot()
    bids = rules.RULES[rule](view, Cells(view), rules.Memory(range(4)))
    assert bids.shape == (4, 2, 3)
    assert bids.dtype == np.float32
    assert abs(bids).max() <= 1


def test_fixed_holds_the_first_choice():
    scenario = POLICIES["fixed-ao"].adapt(TINY.replace(speed_mps=40.0))
    env, view = slot(scenario)
    act = POLICIES["fixed-ao"].bind(env, seed=0)
    first = owner_by("exhaustive", view)
    moved = False
    for _ in range(scenario.horizon - 1):
        infos = env.step(act())[-1]
        np.testing.assert_array_equal(infos["owner"], first)
        moved = moved or (owner_by("exhaustive", env.view()) != first).any()
    assert moved  # else the test shows nothing
    env.step(act())  # the last slot: the environment begins another episode
    second = owner_by("exhaustive", env.view())
    assert (second != first).any()
    for _ in range(2):
        np.testing.assert_array_equal(env.step(act())[-1]["owner"], second)


def test_the_environment_delivers_the_solver_s_value():
    scenario = POLICIES["exhaustive-ao"].adapt(get_scenario("mdlbi-small-v0"))
    env, view = slot(scenario)
    act = POLICIES["exhaustive-ao"].bind(env)
    owner = owner_by("exhaustive", view)
    infos = env.step(act())[-1]
    np.testing.assert_array_equal(infos["owner"], owner)
    np.testing.assert_allclose(infos["sum_rate"].sum(1), values_of(view, owner), rtol=1e-3)


def test_with_a_delay_it_transmits_for_the_owners_that_act():
    scenario = POLICIES["exhaustive-ao"].adapt(get_scenario("mdlbi-small-v0", association_delay=1))
    env, _ = slot(scenario)
    act = POLICIES["exhaustive-ao"].bind(env)
    for _ in range(3):
        view = env.view()
        infos = env.step(act())[-1]
        np.testing.assert_array_equal(infos["owner"], view.owner)
        np.testing.assert_allclose(infos["sum_rate"].sum(1), values_of(view, view.owner), rtol=1e-3)
        np.testing.assert_array_equal(env.view().owner, owner_by("exhaustive", view))


@pytest.mark.parametrize("name", ["random", "random-rzf", "greedy-ao", "structured-local-gain"])
def test_single_and_batched_environment_alike(name):
    scenario = POLICIES[name].adapt(TINY)
    batch = make_vec_env(scenario, 3)
    single = make_env(scenario)
    observations, _ = batch.reset(seed=5)
    observation, _ = single.reset(seed=6)
    act_batch, act_single = (POLICIES[name].bind(env, seed) for env, seed in ((batch, 5), (single, 6)))
    for _ in range(3):
        observations, _, _, _, infos = batch.step(act_batch(observations))
        observation, _, _, _, info = single.step(act_single(observation))
        np.testing.assert_allclose(infos["sum_rate"][1], [info[a]["sum_rate"] for a in single.agents], rtol=1e-4)


def test_random_policies_share_associations():
    owners = {}
    for name in ("random-mrt", "random-ao", "structured-random"):
        env, _ = slot(POLICIES[name].adapt(TINY))
        act = POLICIES[name].bind(env)
        owners[name] = np.stack([env.step(act())[-1]["owner"] for _ in range(8)])
    np.testing.assert_array_equal(owners["random-mrt"], owners["random-ao"])
    np.testing.assert_array_equal(owners["random-mrt"], owners["structured-random"])
    assert 0.3 < owners["random-mrt"].mean() < 0.7


@pytest.mark.parametrize("fading", ["iid", "ar1", "frozen"])
def test_without_irs_users_and_direct_channels_are_the_same(fading):
    scenario = get_scenario("mdlbi-small-v0", fading=fading)
    bare = POLICIES["no-irs-mrt"].adapt(scenario)
    assert bare.num_irs == 0
    pair = [make_vec_env(s, 2) for s in (scenario, bare)]
    for env in pair:
        env.reset(seed=0)
    for _ in range(4):
        views = [env.view() for env in pair]
        np.testing.assert_array_equal(views[0].cell, views[1].cell)
        np.testing.assert_allclose(views[0].csi.H, views[1].csi.H, rtol=1e-5)
        for env in pair:
            env.step(np.zeros((2, 2, env.action_size), np.float32))


def test_no_irs_beams_ignore_irs_that_nobody_owns():
    """Where unclaimed IRSs idle, taking them out of the scenario changes nothing."""
    policy = POLICIES["no-irs-wmmse"]
    bare, _ = slot(policy.adapt(TINY))
    without = bare.step(policy.bind(bare)())[-1]
    env, _ = slot(TINY.replace(contention="collision"))
    infos = env.step(policy.bind(env)())[-1]
    assert (infos["owner"] == -1).all()
    np.testing.assert_allclose(infos["rates"], without["rates"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("contention", ["collision", "priority"])
def test_claims_do_not_collide(contention):
    env, view = slot(POLICIES["local-gain-ao"].adapt(TINY.replace(contention=contention)))
    infos = env.step(POLICIES["local-gain-ao"].bind(env)())[-1]
    np.testing.assert_array_equal(infos["owner"], owner_by("local-gain", view))


def test_single_reflection_is_solved_as_such():
    env, view = slot(POLICIES["greedy-ao"].adapt(TINY.replace(reflection="single")), num_envs=16)
    cells = Cells(view)
    rows, bs = (x.reshape(-1) for x in np.indices((16, 2)))
    infos = env.step(POLICIES["greedy-ao"].bind(env)())[-1]
    solution = cells.solve(rows, bs, infos["owner"][rows] == bs[:, None])
    np.testing.assert_allclose(infos["sum_rate"], solution.value.reshape(16, 2), rtol=1e-3, atol=1e-6)


EDGES = {
    "no IRS": {"num_irs": 0},
    "one user": {"num_users": 1},
    "one BS": {"num_bs": 1},
    "more users than antennas": {"num_users": 9},
    "IRSs of different size": {"num_elements": (4, 2, 3)},
    "nobody owns at first": {"association_delay": 1, "initial_owner": "none"},
    "everything scatters": {"reflection": "all"},
    "CSI of owned IRSs": {"csi": "owned", "association_delay": 1},
    "imperfect CSI": {"csi_error_variance": 0.1},
    "two phase bits": {"phase_bits": 2},
    "inter-cell interference": {"inter_cell_interference": True},
    "the SINR of the paper": {"sinr": "paper"},
    "a collision": {"contention": "collision", "bid_cost": 0.5, "reward": "min_rate"},
    "sites, facings and cells of one's own": {
        "bs_positions_m": ((-30, 0, 10), (30, 0, 12)),
        "irs_positions_m": ((0, 20, 5), (0, -20, 5), (5, 20, 5)),
        "irs_facing": ((0, -1, 0), (0, 1, 0), (-1, -1, 0)),
        "cell_rule": "strongest",
        "shadowing_std_db": 6.0,
    },
}


@pytest.mark.parametrize("options", EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("name", POLICIES)
def test_edge_cases_give_finite_rates(name, options):
    valued = ("structured-fixed", "structured-marginal", "structured-exhaustive", "structured-oracle")
    valued += ("quiet-marginal",)
    if name in valued and options.get("csi") == "owned":
        with pytest.raises(ValueError, match="csi='owned'"):
            evaluate(name, TINY, **options)
        return
    if name.startswith("planner") and options.get("association_delay") == 1:
        with pytest.raises(ValueError, match="association_delay=1"):
            evaluate(name, TINY, **options)
        return
    neglected = POLICIES[name].neglects(TINY.replace(**options))
    with pytest.warns(UserWarning, match="neglects") if neglected else contextlib.nullcontext():
        result = evaluate(name, TINY, episodes=2, slots=2, **options)
    assert len(result.metric("jain").episodes) == 2
    assert np.isfinite(result.rates).all()
    assert result.mean > 0


def test_exhaustive_refuses_what_would_not_end():
    with pytest.raises(ValueError, match=r"num_irs=12.*8192 cells.*at most 1024.*greedy"):
        evaluate("exhaustive-ao", num_irs=12, episodes=1, slots=1)
    env = make_vec_env(num_irs=12)
    with pytest.raises(ValueError, match="at most 1024"):
        POLICIES["exhaustive-ao"].bind(env)
    owner = owner_by("fixed", slot(TINY.replace(num_irs=10), num_envs=1)[1])  # falls back on greedy
    assert owner.shape == (1, 10)


def test_binding_to_the_wrong_action_space_says_so():
    with pytest.raises(ValueError, match="'random-mrt' needs action='raw', not 'structured'"):
        POLICIES["random-mrt"].bind(make_env(TINY, action="structured"))
    with pytest.raises(RuntimeError, match="reset"):
        POLICIES["random-mrt"].bind(make_env(TINY))()


def test_torch_environment():
    pytest.importorskip("torch")
    scenario = POLICIES["greedy-ao"].adapt(TINY)
    rates = []
    for backend in ("numpy", "torch"):
        env = make_vec_env(scenario, 3, backend=backend)
        env.reset(seed=0)
        rates.append(np.asarray(env.step(POLICIES["greedy-ao"].bind(env)())[-1]["sum_rate"]))
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-3)
