"""Fair baselines: what their weights are, and what these bring."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, evaluate, get_scenario, make_env, make_vec_env
from irs_marl_env.policies import POLICIES, ClassicalPolicy, rules, with_weights
from irs_marl_env.policies.cells import Cells
from irs_marl_env.policies.weights import Rates, proportional_fair, reweighted
from irs_marl_env.solvers import wmmse

TINY = Scenario(num_bs=2, num_users=4, num_irs=2, num_antennas=2, num_elements=4, horizon=6)
C = TINY.fairness_offset


def seen(slot: Any, rates: Any) -> Any:
    """A view of nothing but slots and rates."""
    return SimpleNamespace(slot=np.array(slot), rates=np.array(rates, np.float32), scenario=TINY)


def test_weights_by_hand() -> None:
    memory = Rates()
    one = [[1.0, 3.0, 0.0, 1.0], [2.0, 2.0, 2.0, 2.0]]
    np.testing.assert_array_equal(proportional_fair(seen([0, 0], np.zeros((2, 4))), memory), np.ones((2, 4)))
    w = 1 / (C + np.array(one[0]))
    for _ in range(2):  # asked twice in a slot, it adds the rates once
        found = proportional_fair(seen([1, 1], one), memory)
        np.testing.assert_allclose(found[0], w / w.mean(), rtol=1e-6)
        np.testing.assert_allclose(found[1], 1.0, rtol=1e-6)
    two = [[3.0, 1.0, 0.0, 1.0], [0.0, 2.0, 4.0, 6.0]]
    w = 1 / (C + np.array([[2.0, 2.0, 0.0, 1.0], [1.0, 2.0, 3.0, 4.0]]))
    found = proportional_fair(seen([2, 2], two), memory)
    np.testing.assert_allclose(found, w / w.mean(-1, keepdims=True), rtol=1e-6)
    found = proportional_fair(seen([0, 3], np.full((2, 4), 2.0)), memory)  # a row begins anew
    np.testing.assert_allclose(found[0], 1.0)
    w = 1 / (C + np.array([4, 6, 8, 10]) / 3)
    np.testing.assert_allclose(found[1], w / w.mean(), rtol=1e-6)
    w = 1 / (C + np.array(one[0]))
    np.testing.assert_allclose(proportional_fair(seen([1, 4], one), memory)[0], w / w.mean(), rtol=1e-6)


def test_a_view_knows_the_rates_of_the_last_slot() -> None:
    scenario = POLICIES["random-rzf"].adapt(TINY)
    env, single = make_vec_env(scenario, 3, fast=False), make_env(scenario, fast=False)
    observations, _ = env.reset(seed=4)
    single.reset(seed=5)
    act, act_single = POLICIES["random-rzf"].bind(env, 4), POLICIES["random-rzf"].bind(single, 5)
    assert not env.view().rates.any()
    assert not single.view().rates.any()
    for _ in range(5):
        infos = env.step(act(observations))[-1]
        kept = infos["rates"].copy()
        infos["rates"] += 5.0  # nobody else sees that
        np.testing.assert_array_equal(env.view().rates, kept)
        single.step(act_single())
        np.testing.assert_allclose(single.view().rates[0], kept[1], rtol=1e-4, atol=1e-6)
        assert kept.any()
    env.step(act(observations))  # the last one: episodes begin anew
    assert not env.view().rates.any()
    saved = single.get_state()
    single.set_state(saved)
    assert not single.view().rates.any()


def test_beams_are_those_of_the_weights() -> None:
    """The same as WMMSE with the weights worked out from the infos."""
    policy = POLICIES["no-irs-wmmse-pf"]
    env = make_vec_env(policy.adapt(TINY), 3)
    env.reset(seed=0)
    act, total = policy.bind(env), np.zeros((3, 4))
    for slot in range(4):
        view = env.view()
        weights = 1 / (C + total / max(slot, 1))
        weights = (weights / weights.mean(-1, keepdims=True)).astype(np.float32)
        H = view.csi.H * view.own_user[..., None]
        expected = wmmse(H, TINY.tx_power_w, TINY.noise_power_w, weights[:, None])
        action = act()
        np.testing.assert_allclose(env.action_codec.decode(action)["w"], expected, atol=2e-3)
        total += env.step(action)[-1]["rates"]


def test_reweighting_keeps_the_best_answer_of_each_cell() -> None:
    asked = []

    def optimised(weights: Any) -> tuple[np.ndarray, np.ndarray]:
        asked.append(weights)
        rates = [[[4.0, 0.0], [1.0, 1.0]], [[2.0, 1.0], [3.0, 0.0]]][min(len(asked) - 1, 1)]
        return np.array(rates), np.full((2, 3), float(len(asked)))

    present = np.array([[True, True], [True, True]])
    utility, answer = reweighted(optimised, present, 0.5)
    assert asked[0] is None
    slopes = 1 / (0.5 + np.array([[4.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_allclose(asked[1], np.sqrt(slopes) / np.sqrt(slopes).mean(-1, keepdims=True))
    np.testing.assert_allclose(answer[:, 0], [2.0, 1.0])
    np.testing.assert_allclose(utility, [np.log2(2.5) + np.log2(1.5), 2 * np.log2(1.5)])
    # the first cell goes on from its new weights, half of the way to the new slopes
    logs = np.log(slopes[0])
    logs = (logs - logs.mean()) / 2
    target = -np.log(0.5 + np.array([2.0, 1.0]))
    logs = np.exp((logs + target - target.mean()) / 2)
    np.testing.assert_allclose(asked[2][0], logs / logs.mean())
    np.testing.assert_allclose(asked[2][1], 1.0)
    asked.clear()
    alone, _ = reweighted(lambda w: optimised(w), np.array([[True, False], [True, True]]), 0.5)
    assert alone[0] == pytest.approx(np.log2(4.5))  # a user who is not there counts for nothing


def utility(rates: np.ndarray, own: np.ndarray) -> np.ndarray:
    return (np.log2(C + rates) * own).sum(-1)


@pytest.mark.parametrize("name", ["no-irs-wmmse", "local-gain-ao"])
def test_fairness_within_a_slot_never_lowers_the_utility(name: str) -> None:
    scenario = get_scenario("mdlbi-small-v0", horizon=3)
    plain, fair = (evaluate(n, scenario, episodes=12, slots=1) for n in (name, f"{name}-slot-pf"))
    gap = fair.difference(plain, metric="proportional_fair")
    assert (gap.episodes > -1e-3).all()
    assert gap.mean > 0.2
    assert fair.difference(plain, metric="min_rate").mean > 0.05
    assert fair.difference(plain).mean < -0.1  # the sum rate pays for it


def test_owners_are_chosen_for_what_is_maximised() -> None:
    """The exhaustive rule finds the association of the largest utility, not that of the largest sum rate."""
    env = make_vec_env(get_scenario("mdlbi-small-v0"), 8)
    env.reset(seed=0)
    view = env.view()
    rows, bs = (x.reshape(-1) for x in np.indices((8, 2)))
    fair, plain = Cells(view, utility=True), Cells(view)
    best = rules.exhaustive(view, fair, rules.Memory(range(8))).argmax(1)
    other = rules.exhaustive(view, plain, rules.Memory(range(8))).argmax(1)
    assert (best != other).any()
    value = {}
    for key, owner in (("best", best), ("other", other)):
        value[key] = fair.values(rows, bs, owner[rows] == bs[:, None]).reshape(8, 2).sum(-1)
    assert (value["best"] >= value["other"] - 1e-3).all()
    assert (value["best"] > value["other"] + 0.1).any()


def test_fairness_over_an_episode() -> None:
    scenario = get_scenario("mdlbi-small-v0", horizon=40)
    plain, fair = (evaluate(f"no-irs-wmmse{end}", scenario, episodes=10) for end in ("", "-pf"))
    assert fair.difference(plain, metric="jain").mean > 0.02
    assert fair.difference(plain).mean < -0.05


def test_a_policy_that_remembers_acts_in_every_slot() -> None:
    assert POLICIES["local-gain-ao-pf"].remembers  # type: ignore[union-attr]
    options: Any = {"episodes": 2, "horizon": 12}
    whole = evaluate("no-irs-wmmse-pf", TINY, slots=12, **options)
    some = evaluate("no-irs-wmmse-pf", TINY, slots=2, every=5, first=4, **options)
    np.testing.assert_allclose(some.rates, whole.rates[:, [4, 9]], atol=1e-5)


def test_with_weights() -> None:
    made = with_weights("greedy-ao", "proportional_fair")
    assert made == ClassicalPolicy("greedy-ao-pf", "greedy", "ao", weights="proportional_fair")
    assert with_weights(made, "slot_proportional_fair").name == "greedy-ao-slot-pf"
    assert with_weights(with_weights(made, "slot_proportional_fair"), None) == POLICIES["greedy-ao"]
    assert with_weights("local-gain-ao", "proportional_fair") == POLICIES["local-gain-ao-pf"]
    assert evaluate(made, TINY, episodes=1, slots=2).policy == "greedy-ao-pf"


@pytest.mark.parametrize(
    ("policy", "weights", "message"),
    [
        ("greedy-a", "proportional_fair", "policy='greedy-a': must be one of .*; did you mean 'greedy-ao'"),
        ("greedy-ao", "proportional", "weights='proportional': must be None or one of .*; did you mean"),
        ("greedy-ao", ["x"], "weights="),
        ("random-mrt", "proportional_fair", "'random-mrt' does not maximise a sum rate"),
        ("structured-random", "proportional_fair", "does not maximise a sum rate"),
        ("random", "proportional_fair", "must be one of alternating optimisation or WMMSE"),
        (3, "proportional_fair", "policy=3"),
    ],
)
def test_weights_that_are_none(policy: Any, weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_weights(policy, weights)
