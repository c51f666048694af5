"""Returns of several slots, by hand, across the end of an episode."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from tiny_training import tiny_run  # noqa: E402

from examples.maddpg import advance  # noqa: E402
from irs_marl_env.training.returns import Returns  # noqa: E402

# slot t of two episodes of 4 slots: reward 10^t of the episode, observed t before it and t + 1 after it
SLOTS = [(episode, t) for episode in (0, 1) for t in range(4)]


def _transitions(returns, slots=SLOTS):
    found = []
    for episode, t in slots:
        obs, after = 100.0 * episode + t, 100.0 * episode + t + 1
        rows = {"obs": np.array([obs]), "next_obs": np.array([after]), "reward": np.array([10.0**t], np.float32)}
        found += returns.add(t == 3, **rows)
    return [tuple(float(x[name][0]) for name in ("obs", "reward", "next_obs", "discount")) for x in found]


def test_a_return_of_several_slots_stops_at_the_end_of_an_episode_and_goes_on_with_the_value_of_its_last_observation():
    by_hand = [(0, 1 + 5 + 25, 3, 0.125), (1, 10 + 50 + 250, 4, 0.125), (2, 100 + 500, 4, 0.25), (3, 1000, 4, 0.5)]
    both = by_hand + [(100 + obs, reward, 100 + after, discount) for obs, reward, after, discount in by_hand]
    assert _transitions(Returns(3, 0.5)) == both


def test_without_a_value_of_what_follows_the_last_slots_give_no_transition():
    found = _transitions(Returns(3, 0.5, bootstrap=False))
    assert [x[:2] for x in found] == [(0, 31), (1, 310), (100, 31), (101, 310)]


def test_a_return_that_begins_after_a_delay():
    found = _transitions(Returns(1, 0.0, delay=1, bootstrap=False))
    assert [x[:2] for x in found] == [(0, 10), (1, 100), (2, 1000), (100, 10), (101, 100), (102, 1000)]
    found = _transitions(Returns(2, 0.5, delay=1))
    assert found[:4] == [(0, 10 + 50, 3, 0.25), (1, 100 + 500, 4, 0.25), (2, 1000, 4, 0.5), (100, 60, 103, 0.25)]


def test_a_return_of_one_slot_is_its_reward():
    assert _transitions(Returns(1, 0.5))[3:5] == [(3, 1000, 4, 0.5), (100, 1, 101, 0.5)]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("delay", [0, 1])
@pytest.mark.parametrize("bootstrap", [True, False])
def test_how_many_transitions_there_are_and_how_many_slots_wait(n, delay, bootstrap):
    for slots in range(len(SLOTS) + 1):
        returns = Returns(n, 0.5, delay, bootstrap)
        found = _transitions(returns, SLOTS[:slots])
        assert len(found) == returns.transitions(slots, 4)
        assert len(returns.waiting) == returns.waiting_after(slots, 4)


def test_targets_take_the_discount_of_their_own_return():
    run = tiny_run(n_step=2, gamma=0.5, set=("horizon=3",), batch=4)
    for _ in range(3):
        run.step()
    assert run.replay.arrays["discount"][:12].tolist() == [0.25] * 8 + [0.5] * 4
    batch = {name: array[:12] for name, array in run.replay.arrays.items()}
    target, reward = run.learner.target(batch), 0.2 * batch["reward"].T
    batch["discount"] = batch["discount"] / 2
    torch.testing.assert_close(run.learner.target(batch) - reward, (target - reward) / 2)


@pytest.mark.parametrize("settings", [{"gamma": 0.0}, {"gamma": 0.5, "bootstrap": False}])
@pytest.mark.parametrize("algo", ["mdlbi", "maddpg"])
def test_what_follows_is_not_remembered_where_no_target_holds_its_value(settings, algo):
    run = tiny_run(algo=algo, **settings)
    run.step()
    assert {"obs", "action", "reward"} <= run.replay.arrays.keys()
    assert not run.replay.arrays.keys() & {"next_obs", "next_state", "discount"}
    reward = 0.2 * run.replay.arrays["reward"].T
    assert torch.equal(run.learner.target(run.replay.arrays), reward)


@pytest.mark.parametrize("settings", [{"n_step": 3}, {"n_step": 3, "bootstrap": False, "algo": "maddpg"}])
@pytest.mark.parametrize("stop", [4, 5, 6])  # two, none and one slot of an episode behind it
def test_a_run_goes_on_in_the_middle_of_a_return(tmp_path, settings, stop):
    settings = {**settings, "set": ("horizon=5",), "gamma": 0.7}
    whole, first, second = (tiny_run(**settings) for _ in range(3))
    for _ in range(stop):
        advance(first)
    first.save(tmp_path / "c.safetensors")
    second.load(tmp_path / "c.safetensors")
    for _ in range(12):
        advance(whole)
    while second.learner.updates < 12:
        advance(second)
    for a, b in zip(whole.learner.nets.parameters(), second.learner.nets.parameters(), strict=True):
        assert torch.equal(a, b)
    for name, array in whole.replay.arrays.items():
        assert torch.equal(array, second.replay.arrays[name])
