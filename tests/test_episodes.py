"""One episode of a policy, slot by slot."""

import numpy as np
import pytest

from irs_marl_env import evaluate, get_scenario
from irs_marl_env.episodes import adapted, play

SMALL = get_scenario("mdlbi-small-v0", horizon=6)


def test_an_episode_is_that_of_an_evaluation():
    """The slots that are played are those that evaluate measures with the same seed, for two policies."""
    for policy in ("structured-local-gain", "random-mrt"):
        played = list(play(policy, SMALL, seed=3, slots=5))
        assert len(played) == 6
        rates = np.array([each.infos["sum_rate"][0] for each in played[1:]])
        measured = evaluate(policy, SMALL, episodes=1, seed=3, slots=5).rates[0]
        np.testing.assert_allclose(rates, measured, atol=1e-6)


def test_a_slot_is_shown_before_anybody_moves():
    played = list(play("structured-local-gain", SMALL, slots=2))
    assert (played[0].view, played[0].action, played[0].infos) == (None, None, {})
    for slot, each in enumerate(played[1:]):
        assert each.view.slot[0] == slot
        assert (each.view.cell == each.infos["cell"]).all()
        assert each.action.shape == (1, SMALL.num_bs, each.env.action_size)
    assert (played[1].view.position != played[2].view.position).any()


def test_the_whole_episode_by_default_and_no_slot_of_the_next():
    played = list(play("random", SMALL))
    assert len(played) == SMALL.horizon + 1
    assert played[-1].env.view().slot[0] == SMALL.horizon


def test_policies_of_ones_own_and_their_interfaces():
    scenario = SMALL.replace(action="structured", observation="large_scale")

    def by_arrays(observations):
        return np.zeros((*observations.shape[:2], 15), np.float32)

    def by_agent(observations):
        return {agent: np.zeros(15, np.float32) for agent, _ in observations.items()}

    def sums(policy, **more):
        return [each.infos["sum_rate"][0].tolist() for each in list(play(policy, scenario, slots=2, **more))[1:]]

    assert sums(by_arrays) == sums(by_agent, interface="dicts")
    with pytest.raises(ValueError, match="policy 'mine' works with dicts by agent, so say"):
        sums(by_agent, name="mine")
    with pytest.raises(ValueError, match=r"policy 'mine' returned actions of shape \(1, 2, 3\): must be"):
        sums(lambda observations: np.zeros((1, 2, 3)), name="mine")


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        ("upper-bound", {}, "policy 'upper-bound': a bound does not act"),
        ("randon", {}, "did you mean 'random'"),
        ("random", {"slots": 7}, r"slots=7: must be an integer in \[1, 6\]"),
        ("random", {"slots": 0}, "slots=0"),
        ("random", {"seed": -1}, "seed=-1"),
        ("random", {"interface": "lists"}, "interface='lists'"),
        ("random", {"render_mode": "human"}, "render_mode='human'"),
    ],
)
def test_what_cannot_be_played_is_said_before_the_first_slot(policy, options, message):
    with pytest.raises(ValueError, match=message):
        play(policy, SMALL, **options)


def test_a_policy_has_the_scenario_it_needs():
    assert adapted("structured-fixed", "mdlbi-small-v0").action == "structured"
    assert adapted(lambda observations: observations, "mdlbi-small-v0") == get_scenario("mdlbi-small-v0")


@pytest.mark.parametrize("error", [ValueError("math domain error"), FileNotFoundError(2, "No such file", "w.npz")])
@pytest.mark.parametrize("interface", ["arrays", "dicts"])
def test_a_policy_that_fails_is_named_and_so_is_the_place(error, interface):
    """A command says nothing but the message, in which a file of the policy's looks like one of the command's."""

    def broken(observations):
        raise error

    message = rf"policy 'mine' failed: {type(error).__name__}: .*{error.args[-1]}.* \(test_episodes.py, line \d+\)"
    with pytest.raises(ValueError, match=message) as caught:
        list(play(broken, SMALL, slots=1, interface=interface, name="mine"))
    assert caught.value.__cause__ is error


def test_other_errors_of_a_policy_stay_as_they_are():
    with pytest.raises(ZeroDivisionError):
        list(play(lambda observations: 1 / 0, SMALL, slots=1))


def test_a_policy_that_goes_through_the_agents_of_an_array_is_told():
    with pytest.raises(ValueError, match="works with dicts by agent, so say interface='dicts'"):
        list(play(lambda observations: {agent: np.zeros(66) for agent in observations}, SMALL, slots=1))


def test_what_a_policy_neglects_is_said_before_the_first_slot():
    scenario = get_scenario("mdlbi-small-v0", sinr="paper")
    with pytest.warns(UserWarning, match="policy 'mine' neglects sinr=") as said:
        play("local-gain-ao", scenario, name="mine")
    assert len(said) == 1
    assert said[0].filename == __file__
