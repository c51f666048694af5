"""Policies for IRSs that are idle when they change hands: the margin of holders, and the plan that knows the future."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from irs_marl_env import evaluate, get_scenario, make_env, make_vec_env
from irs_marl_env.policies import POLICIES, Planner, with_margin
from irs_marl_env.policies import planner as planner_module
from irs_marl_env.policies.planner import Switches, _other_fading, to_come
from irs_marl_env.policies.rules import bids_for, holders_favoured
from irs_marl_env.scenario import Scenario

SMALL = get_scenario(
    "mdlbi-blocked-small-v0",
    mobility="random_waypoint",
    num_elements=8,
    horizon=12,
    speed_mps=6.0,
    switching_slots=3,
    action="structured",
    observation="large_scale",
)


def _rates(policy, scenario: Scenario = SMALL, episodes: int = 6, **arguments) -> np.ndarray:
    """``(episodes, slots)`` system rates."""
    return evaluate(policy, scenario, episodes, seed=5, **arguments).rates.sum(-1)


# --- hysteresis ------------------------------------------------------------------------------------------------------


def test_without_a_margin_it_is_the_auction_of_local_gains():
    assert np.array_equal(_rates(with_margin(0)), _rates("structured-local-gain"))


def test_an_infinite_margin_never_switches():
    env = make_vec_env(SMALL, 4, fast=False)
    env.reset(seed=0)
    first = env.view().holder.copy()
    act = with_margin(200).bind(env)
    for _ in range(SMALL.horizon - 1):
        env.step(act())
        assert np.array_equal(env.view().holder, first)


def test_an_irs_changes_hands_where_the_gain_is_greater_by_more_than_the_margin():
    env = make_vec_env(SMALL, 16, fast=False)
    env.reset(seed=1)
    act, changes = with_margin(6).bind(env), 0
    for _ in range(SMALL.horizon - 1):
        view = env.view()
        gain_db = 10 * np.log10((view.irs_gain * view.own_user[:, :, None]).sum(-1) + 1e-300)
        holder = view.holder
        mine = np.take_along_axis(gain_db, holder[:, None], 1)[:, 0]
        other = np.take_along_axis(gain_db, 1 - holder[:, None], 1)[:, 0]
        env.step(act())
        changed = env.view().holder != holder
        assert np.array_equal(changed, other > mine + 6)
        changes += changed.sum()
    assert 0 < changes < 16 * 11 * 2


def test_a_margin_is_added_to_the_holders_bid_alone():
    bids = np.array([[[0.1, 0.2], [0.12, 0.99]]], np.float32)
    assert holders_favoured(bids, np.array([[0, 1]]), 5.0) == pytest.approx(np.array([[[0.15, 0.2], [0.12, 1.0]]]))
    assert np.array_equal(holders_favoured(bids, np.array([[-1, -1]]), 5.0), bids)  # nobody holds them


@pytest.mark.parametrize("margin", [-1, 201, float("nan"), "5", None, True])
def test_impossible_margins_are_refused(margin):
    with pytest.raises(ValueError, match=r"margin_db=.*: must be a finite number in \[0, 200\]"):
        with_margin(margin)


def test_a_margin_belongs_to_bids_of_gain():
    with pytest.raises(ValueError, match=r"margin_db=5.*: must be 0 with the rule 'marginal'"):
        replace(POLICIES["marginal-ao"], margin_db=5)


def test_a_margin_holds_with_every_transmission():
    raw = replace(POLICIES["local-gain-ao"], margin_db=200)
    fixed = evaluate(raw, SMALL, 2, slots=3, seed=5)
    assert np.isfinite(fixed.rates).all()
    assert raw.remembers


@pytest.mark.parametrize("policy", ["structured-local-gain", "hysteresis", "structured-random"])
def test_policies_act_in_every_slot_where_switching_takes_time(policy):
    assert np.array_equal(_rates(policy, every=4), _rates(policy)[:, ::4])


# --- the plan --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("slots", "num_irs", "horizon"), [(2, 1, 6), (2, 2, 4), (0, 2, 3), (1, 2, 4)])
def test_the_plan_equals_the_best_of_all_sequences_of_owners(slots, num_irs, horizon):
    scenario = SMALL.replace(switching_slots=slots, num_irs=num_irs, horizon=horizon, speed_mps=20.0)
    decisions = list(itertools.product(range(2), repeat=num_irs))
    sequences = np.array(list(itertools.product(decisions, repeat=horizon)))  # (all, horizon, L)
    for seed in (3, 4):
        env = make_vec_env(scenario, len(sequences), autoreset=False)
        env.reset(seed=[seed] * len(sequences))
        total = np.zeros(len(sequences))
        for slot in range(horizon):
            action = np.zeros((len(sequences), 2, env.action_size), np.float32)
            action[..., :num_irs] = bids_for(sequences[:, slot], 2)
            total += env.step(action)[4]["sum_rate"].sum(-1)
        planned = evaluate("planner-clairvoyant", scenario, 1, seed=seed).rates.sum()
        assert planned == pytest.approx(total.max(), rel=1e-5)
        assert total.max() > total.mean()


@pytest.mark.filterwarnings("ignore:.*neglects switching_slots")
def test_no_policy_does_better_than_who_knows_the_future():
    best = _rates("planner-clairvoyant").sum(1)
    for policy in ("hysteresis", "structured-local-gain", "structured-exhaustive", "structured-fixed", "planner"):
        assert (best >= _rates(policy).sum(1) * (1 - 1e-5)).all(), policy
    assert best.mean() > 1.02 * _rates("structured-exhaustive").sum(1).mean()


def test_where_fading_never_changes_there_is_nothing_to_average():
    frozen = SMALL.replace(fading="frozen", bs_irs_fading="frozen")
    assert np.array_equal(_rates("planner", frozen), _rates("planner-clairvoyant", frozen))


def test_an_average_over_fading_forgets_the_fading_to_come():
    assert not np.array_equal(_rates("planner"), _rates("planner-clairvoyant"))
    assert _rates(Planner("one", draws=1)).mean() < _rates("planner-clairvoyant").mean()


def test_without_idle_slots_the_plan_is_the_best_association_of_each_slot():
    at_once = SMALL.replace(switching_slots=0)
    best = _rates("planner-clairvoyant", at_once)
    assert (
        best >= _rates("structured-exhaustive", at_once) * (1 - 1e-5)
    ).all()  # which maximises another solver's rate


def test_a_row_is_planned_as_if_it_were_alone():
    together = _rates("planner", episodes=3)
    alone = evaluate("planner", SMALL, 1, seed=6).rates.sum(-1)
    assert np.array_equal(together[1:2], alone)


def test_a_copy_draws_other_fading_by_the_seed_of_its_row_and_walks_the_same_ways():
    env = make_vec_env(SMALL, 3, fast=False)
    env.reset(seed=0)
    streams = env.get_state()["streams"]
    other, again = _other_fading(streams, 5, 0), _other_fading(streams, 5, 1)
    second = _other_fading({cause: rows[1:2] for cause, rows in streams.items()}, 6, 0)
    changed = {cause for cause in streams if other[cause] != streams[cause]}
    assert changed == {"direct_fading", "bs_irs_fading", "irs_user_fading", "csi_error"}
    assert all(other[cause][1:2] == second[cause] and other[cause] != again[cause] for cause in changed)
    assert len({tuple(row["key"]) for cause in changed for row in other[cause]}) == 4 * 3


def test_the_planner_works_in_the_single_environment_and_over_episodes():
    env = make_env(SMALL)
    env.reset(seed=5)
    act, rates = POLICIES["planner"].bind(env, seed=5), []
    for _ in range(SMALL.horizon):
        infos = env.step(act())[4]
        rates.append(sum(info["sum_rate"] for info in infos.values()))
    assert np.allclose(rates, _rates("planner", episodes=1)[0], atol=1e-5)
    vec = make_vec_env(SMALL, 3, stagger=True)  # rows begin again one by one
    vec.reset(seed=0)
    act = POLICIES["planner-clairvoyant"].bind(vec)
    for _ in range(15):
        assert set(np.unique(act()[..., :2])) == {-1.0, 1.0}
        vec.step(act())


def test_bellmans_equation_by_hand():
    # one IRS, idle for one slot when it changes hands; BS 1 has more from slot 1 on
    scenario = SMALL.replace(num_irs=1, switching_slots=1, horizon=3)
    rates = np.zeros((3, 1, 2, 2), np.float32)
    rates[:, 0, :, 1] = [[1, 0], [1, 3], [1, 3]]
    switches = Switches(scenario)
    value = to_come(rates, switches)
    state = switches.index(np.array([[0], [1]]), np.array([[0], [0]]))
    assert value[0, 0, state].tolist() == [6.0, 6.0]  # BS 0 gives it up at once; BS 1 keeps it without use
    assert value[1, 0, state].tolist() == [3.0, 6.0]
    assert value[2, 0, state].tolist() == [1.0, 3.0]
    assert value[3].tolist() == [[0.0] * 3]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"association_delay": 1}, r"association_delay=1: must be 0 for the planner"),
        ({"num_irs": 4}, r"the planner has \d+ choices per slot with num_bs=2, num_irs=4, switching_slots=3: must be"),
        ({"num_irs": 3, "horizon": 20_000}, r"the plan has horizon=20000 x 729 values .*: must be at most"),
    ],
)
def test_plans_that_cannot_be_made_are_refused(overrides, message):
    for policy in ("planner", "planner-clairvoyant"):
        with pytest.raises(ValueError, match=message):
            evaluate(policy, SMALL.replace(**overrides), 1)


@pytest.mark.parametrize("draws", [0, -1, 1.5, "8"])
def test_impossible_numbers_of_draws_are_refused(draws):
    with pytest.raises(ValueError, match="draws="):
        Planner("mine", draws=draws)


def test_the_planner_needs_structured_actions():
    env = make_vec_env(SMALL.replace(action="raw"), 1)
    with pytest.raises(ValueError, match="needs action='structured', not 'raw'"):
        POLICIES["planner"].bind(env)


def test_another_episode_is_planned_anew():
    """Also where it stands at the slot that the plan before had come to."""
    scenario = SMALL.replace(speed_mps=20.0)
    env, other = make_vec_env(scenario, 4, fast=False), make_vec_env(scenario, 4, fast=False)
    planner = POLICIES["planner-clairvoyant"]
    for passed in (0, 1):
        env.reset(seed=0)
        act = planner.bind(env)
        action = act()
        other.reset(seed=50)
        if passed:
            other.step(action)
        env.set_state(other.get_state())
        assert np.array_equal(act(), planner.bind(env)())


def test_a_plan_is_made_once_an_episode(monkeypatch):
    made = []
    monkeypatch.setattr(planner_module, "to_come", lambda *a: made.append(a) or to_come(*a))
    env = make_vec_env(SMALL, 2, fast=False)
    env.reset(seed=0)
    act = POLICIES["planner"].bind(env)
    for _ in range(2 * SMALL.horizon):
        assert np.array_equal(act(), act())
        env.step(act())
    assert len(made) == 2


@pytest.mark.parametrize("name", ["planner", "structured-oracle", "structured-exhaustive"])
def test_searches_beyond_all_numbers_are_refused_in_a_few_words(name):
    many = Scenario(num_irs=16_000, num_elements=1, num_antennas=1, num_users=1)
    with pytest.raises(ValueError, match=r"num_irs=16000.*digits>|digits>.*num_irs=16000") as error:
        POLICIES[name].adapt(many)
    assert len(str(error.value)) < 250
