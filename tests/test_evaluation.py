"""The evaluation protocol: the same draws for everyone, whatever the batch or the number of processes."""

import functools
import json

import numpy as np
import pytest

from irs_marl_env import Result, Scenario, evaluate, evaluation, make_env
from irs_marl_env.policies import POLICIES
from irs_marl_env.vector_env import MdlbiVectorEnv

SMALL = "mdlbi-small-v0"


def still(observations):
    """A policy that looks at its observations: actions from their first entries."""
    return np.tanh(observations[..., :66])


def still_by_agent(observations):
    return {agent: np.tanh(observation[:66]) for agent, observation in observations.items()}


@pytest.fixture(scope="module")
def local_gain():
    return evaluate("local-gain-ao", SMALL, episodes=20, slots=5)


def test_summary(local_gain):
    assert local_gain.rates.shape == (20, 5, 2)
    system = local_gain.rates.sum(-1).mean(-1)
    np.testing.assert_allclose(local_gain.episodes, system)
    assert local_gain.mean == pytest.approx(system.mean())
    assert local_gain.standard_error == pytest.approx(system.std(ddof=1) / np.sqrt(20))
    assert local_gain.per_bs.mean.sum() == pytest.approx(local_gain.mean)
    assert local_gain.per_bs.standard_error.shape == (2,)
    assert local_gain.per_bs.episodes.shape == (20, 2)
    assert local_gain.per_slot.mean.shape == (5,)
    assert local_gain.per_slot.mean.mean() == pytest.approx(local_gain.mean)


def test_standard_error_is_clustered_by_episode():
    """Slots of an episode repeat one another; they must not count as independent."""
    one = np.random.default_rng(0).normal(10, 1, size=(50, 1, 1))
    once = Result("x", Scenario(), 0, one)
    repeated = Result("x", Scenario(), 0, np.repeat(one, 100, axis=1))
    assert repeated.standard_error == pytest.approx(once.standard_error)


def test_episode_i_has_seed_plus_i(local_gain):
    alone = evaluate("local-gain-ao", SMALL, episodes=1, slots=5, seed=3)
    np.testing.assert_allclose(alone.rates[0], local_gain.rates[3], rtol=1e-3, atol=1e-4)
    assert np.isnan(alone.standard_error)


def test_processes_do_not_change_the_result(local_gain):
    np.testing.assert_array_equal(
        evaluate("local-gain-ao", SMALL, episodes=20, slots=5, processes=2).rates, local_gain.rates
    )


@pytest.mark.parametrize("name", ["random-wmmse", "greedy-ao", "structured-local-gain", "upper-bound"])
def test_compiled_kernels_change_no_more_than_rounding(monkeypatch, name):
    """The same owners everywhere, or a slot would differ by far more."""
    pytest.importorskip("numba")
    rates = []
    for fast in (True, False):
        monkeypatch.setattr(evaluation, "MdlbiVectorEnv", functools.partial(MdlbiVectorEnv, fast=fast))
        rates.append(evaluate(name, "mdlbi-v0", episodes=6, slots=2, every=5).rates)
    np.testing.assert_allclose(rates[0], rates[1], atol=1e-4)


def test_evaluation_equals_a_loop_over_the_environment():
    env = make_env(SMALL)
    observations, _ = env.reset(seed=7)
    total = []
    for _ in range(4):
        observations, _, _, _, infos = env.step(still_by_agent(observations))
        total.append([infos[agent]["sum_rate"] for agent in env.agents])
    result = evaluate(still, SMALL, episodes=1, slots=4, seed=7)
    np.testing.assert_allclose(result.rates[0], total, rtol=1e-4, atol=1e-6)
    assert result.policy == "still"


def test_callables_on_arrays_and_on_dicts():
    arrays = evaluate(still, SMALL, episodes=3, slots=4)
    dicts = evaluate(still_by_agent, SMALL, episodes=3, slots=4, interface="dicts")
    np.testing.assert_allclose(arrays.rates, dicts.rates, rtol=1e-4, atol=1e-6)


def test_learned_policy_on_structured_actions():
    options = {"action": "structured", "observation": "large_scale"}
    neutral = evaluate(lambda o: np.zeros((*o.shape[:2], 15)), SMALL, episodes=2, slots=3, name="neutral", **options)
    assert neutral.policy == "neutral"
    assert neutral.mean > evaluate("random", SMALL, episodes=2, slots=3).mean


@pytest.mark.parametrize("delay", [0, 1])
def test_every_skips_slots_and_changes_nothing_else(delay):
    options = {"episodes": 4, "association_delay": delay}
    whole = evaluate("local-gain-ao", SMALL, slots=13, **options)
    some = evaluate("local-gain-ao", SMALL, slots=4, every=4, **options)
    np.testing.assert_allclose(some.rates, whole.rates[:, ::4], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["fixed-ao", "random-rzf", "upper-bound"])
def test_first_leaves_out_slots_and_changes_nothing_else(name):
    """The held owners are still those of slot 0, and the draws of a random policy the same."""
    some = {"episodes": 3, "every": 30, "speed_mps": 40.0}
    whole = evaluate(name, SMALL, slots=3, **some)
    later = evaluate(name, SMALL, slots=2, first=30, **some)
    np.testing.assert_array_equal(later.rates, whole.rates[:, 1:])
    assert Result.from_json(later.to_json()).first == 30
    with pytest.raises(ValueError, match="do not pair: first slot 30 and 0"):
        later.difference(evaluate(name, SMALL, slots=2, **some))


def test_all_slots_by_default():
    assert evaluate("random", SMALL, episodes=1, horizon=7).rates.shape == (1, 7, 2)
    assert evaluate("random", SMALL, episodes=1, horizon=7, every=3).rates.shape == (1, 3, 2)
    assert evaluate("random", SMALL, episodes=1, horizon=7, every=3, first=1).rates.shape == (1, 2, 2)


def test_the_measure_is_never_the_shaped_reward():
    plain = evaluate("random-rzf", SMALL, episodes=2, slots=3)
    shaped = evaluate("random-rzf", SMALL, episodes=2, slots=3, reward="team", bid_cost=5.0)
    np.testing.assert_array_equal(plain.rates, shaped.rates)


def test_json_round_trip(local_gain):
    again = Result.from_json(local_gain.to_json())
    np.testing.assert_array_equal(again.rates, local_gain.rates)
    assert (again.policy, again.seed, again.scenario) == ("local-gain-ao", 0, local_gain.scenario)
    assert again.to_json() == local_gain.to_json()
    assert json.loads(local_gain.to_json())["mean"] == pytest.approx(local_gain.mean)


def test_json_of_a_single_episode_is_json():
    text = evaluate("random", SMALL, episodes=1, slots=1).to_json()
    assert json.loads(text)["standard_error"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "property name"),
        ("[]", "not a result"),
        ("{}", "policy, scenario, seed, rates missing"),
        ('{"policy": "x", "scenario": {}, "seed": 0, "rates": [1.0]}', r"rates of shape \(1,\)"),
        ('{"policy": "x", "scenario": {"num_bs": 0}, "seed": 0, "rates": [[[1.0]]]}', "num_bs=0"),
    ],
)
def test_bad_json(text, message):
    with pytest.raises(ValueError, match=message):
        Result.from_json(text)


def test_differences_are_paired(local_gain):
    fixed = evaluate("random-ao", SMALL, episodes=20, slots=5)
    gap = local_gain.difference(fixed)
    assert gap.mean == pytest.approx(local_gain.mean - fixed.mean)
    unpaired = np.hypot(local_gain.standard_error, fixed.standard_error)
    assert gap.standard_error < 0.5 * unpaired  # common draws pay
    for other in (
        evaluate("random", SMALL, episodes=19, slots=5),
        evaluate("random", SMALL, episodes=20, slots=4),
        evaluate("random", SMALL, episodes=20, slots=5, seed=1),
    ):
        with pytest.raises(ValueError, match="do not pair"):
            local_gain.difference(other)
    with pytest.raises(ValueError, match="do not pair: distance"):
        evaluate("random", SMALL, episodes=20, slots=5, every=2).difference(local_gain)


def test_order_of_the_baselines():
    """Users far from where they began: what was best at first is no better than chance."""
    names = ("no-irs-wmmse", "random-ao", "fixed-ao", "local-gain-ao", "greedy-ao", "exhaustive-ao", "upper-bound")
    found = {n: evaluate(n, "mdlbi-v0", episodes=24, slots=2, every=200) for n in names}
    for better, worse in (
        ("random-ao", "no-irs-wmmse"),
        ("fixed-ao", "no-irs-wmmse"),
        ("local-gain-ao", "random-ao"),
        ("local-gain-ao", "fixed-ao"),
        ("greedy-ao", "local-gain-ao"),
    ):
        gap = found[better].difference(found[worse])
        assert gap.mean > 2 * gap.standard_error, (better, worse, gap[:2])
    assert found["exhaustive-ao"].difference(found["greedy-ao"]).mean > -1e-3
    assert (found["exhaustive-ao"].rates <= found["upper-bound"].rates * (1 + 1e-4)).all()


def test_uniform_random_actions_score_as_designed():
    result = evaluate("random", "mdlbi-v0", episodes=60, slots=4, every=100)
    assert abs(result.mean - 1.20) < 4 * np.hypot(0.08, result.standard_error)


def test_no_bar_off_a_terminal(capfd):
    evaluate("random", SMALL, episodes=1, slots=2)
    assert capfd.readouterr() == ("", "")


def test_bar_when_wanted(capfd):
    pytest.importorskip("tqdm")
    evaluate("random", SMALL, episodes=2, slots=3, progress=True)
    assert "/6" in capfd.readouterr().err  # how often it is drawn depends on the speed


def test_upper_bound_needs_the_physical_sinr():
    with pytest.raises(ValueError, match="sinr='physical' only, not 'paper'"):
        evaluate("upper-bound", SMALL, episodes=1, slots=1, sinr="paper")


@pytest.mark.parametrize(
    ("policy", "options", "error", "message"),
    [
        ("greedy", {}, ValueError, "'greedy' is not known; allowed: random, .*upper-bound"),
        (3, {}, TypeError, "int: must be a name, a callable"),
        ("random", {"episodes": 0}, ValueError, "episodes=0: must be an integer >= 1"),
        ("random", {"episodes": 2.5}, ValueError, "episodes=2.5"),
        ("random", {"seed": -1}, ValueError, r"seed=-1: must be an integer in \[0, 2\^10000\)"),
        ("random", {"slots": 101}, ValueError, r"slots=101: must be an integer in \[1, 100\]"),
        ("random", {"slots": 11, "every": 10}, ValueError, r"slots=11: must be an integer in \[1, 10\]"),
        ("random", {"every": 0}, ValueError, "every=0"),
        ("random", {"first": 100}, ValueError, r"first=100: must be an integer in \[0, 99\]"),
        ("random", {"processes": 0}, ValueError, "processes=0"),
        ("random", {"interface": "lists"}, ValueError, "interface='lists': must be one of 'arrays', 'dicts'"),
        ("random", {"num_irs": -1}, ValueError, "num_irs=-1"),
    ],
)
def test_errors_name_the_value_and_what_is_allowed(policy, options, error, message):
    with pytest.raises(error, match=message):
        evaluate(policy, SMALL, **options)


def test_a_wrong_action_is_the_environment_s_error():
    with pytest.raises(ValueError, match=r"shape \(1, 2, 3\): must be \(1, 2, 66\)"):
        evaluate(lambda o: np.zeros((*o.shape[:2], 3)), SMALL, episodes=1, slots=1)


def test_policies_pickle_for_workers():
    import pickle

    assert all(pickle.loads(pickle.dumps(policy)) == policy for policy in POLICIES.values())


# --- policies that return something else ----------------------------------------------------------------------------


def by_items(observations):
    return {agent: np.zeros(66, np.float32) for agent, _ in observations.items()}


def by_name(observations):
    return {"bs_0": observations["bs_0"][:66], "bs_1": observations["bs_1"][:66]}


def a_dict(observations):
    return {"bs_0": np.zeros(66), "bs_1": np.zeros(66)}


def faulty(observations):
    return observations.shape[7]


@pytest.mark.parametrize("policy", [by_items, by_name, a_dict])
def test_a_policy_by_agent_is_told_to_say_so(policy):
    message = f"policy '{policy.__name__}' .*works with dicts by agent, so say interface='dicts'"
    with pytest.raises(ValueError, match=message):
        evaluate(policy, "mdlbi-small-v0", 1, slots=1)
    assert evaluate(policy, "mdlbi-small-v0", 1, slots=1, interface="dicts").mean >= 0


def test_errors_of_a_policy_stay_its_own():
    with pytest.raises(IndexError, match="out of range"):
        evaluate(faulty, "mdlbi-small-v0", 1, slots=1)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda o: np.zeros((2, 66)), r"actions of shape \(2, 66\): must be \(2, 2, 66\) = .*action='raw'"),
        (lambda o: np.zeros((len(o), 2, 13)), r"actions of shape \(2, 2, 13\)"),
        (lambda o: None, r"actions of shape \(\)"),
        (lambda o: [[1.0], [1.0, 2.0]], "no array of shape"),
        (lambda o: np.full((2, 2, 66), np.nan), "entries that are not finite: must be finite numbers in"),
        (lambda o: np.full((2, 2, 66), np.inf), "entries that are not finite"),
        (lambda o: np.zeros((2, 2, 66), complex), "entries of type complex128"),
        (lambda o: np.full((2, 2, 66), "1"), "entries of type <U1"),
        (lambda o: np.full((2, 2, 66), None), "entries of type object"),
    ],
    ids=range(9),
)
def test_actions_that_are_none_are_refused_by_the_name_of_the_policy(returned, message):
    with pytest.raises(ValueError, match=f"policy 'mine' returned {message}"):
        evaluate(returned, "mdlbi-small-v0", 2, slots=1, name="mine")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.zeros((2, 66)), "ndarray: with interface='dicts' must be a dict of bs_0, bs_1"),
        ({"bs_0": np.zeros(66)}, "no action of bs_1"),
        ({"bs_0": np.zeros(66), "bs_1": np.zeros(3)}, r"an action of bs_1 of shape \(3,\): must be \(66,\)"),
        ({"bs_0": np.zeros(66), "bs_1": np.full(66, np.nan)}, "entries that are not finite"),
    ],
    ids=range(4),
)
def test_dicts_that_are_none_are_refused_too(returned, message):
    with pytest.raises(ValueError, match=f"returned {message}"):
        evaluate(lambda observations: returned, "mdlbi-small-v0", 1, slots=1, interface="dicts")


class Made:
    def __call__(self, observations):
        return np.zeros((len(observations), 2, 66))


def test_a_class_is_no_policy_but_an_object_of_it_is():
    with pytest.raises(TypeError, match=r"policy Made is a class: must be an object made of it, such as Made\(\)"):
        evaluate(Made, "mdlbi-small-v0", 1, slots=1)
    assert evaluate(Made(), "mdlbi-small-v0", 1, slots=1).policy == "Made"


def test_near_matches_of_policies():
    with pytest.raises(ValueError, match=r"policy 'local-gain-a' is not known; .*; did you mean 'local-gain-ao'\?"):
        evaluate("local-gain-a", "mdlbi-small-v0")


@pytest.mark.parametrize(
    ("fields", "slots"),
    [({}, [0, 3, 4]), ({"contention": "collision"}, range(5)), ({"switching_slots": 2}, range(5))],
)
def test_a_policy_acts_in_every_slot_where_older_actions_count(fields, slots):
    acted = []

    class Counting:
        def bind(self, env, seed):
            def act(observations):
                acted.append(int(env.view().slot[0]))
                return np.zeros((len(observations), 2, env.action_size), np.float32)

            return act

    evaluate(Counting(), "mdlbi-blocked-small-v0", 1, slots=1, first=4, action="structured", **fields)
    assert acted == list(slots)
