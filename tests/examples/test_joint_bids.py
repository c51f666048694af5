"""examples/joint_bids.py: what its parts promise, and that a short training runs."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for needed in ("safetensors", "tyro"):
    pytest.importorskip(needed, reason="needs the extra 'train'")

from examples.joint_bids import AllOutcomes, Critic, Critics, auction, learn, learner, main, outcomes  # noqa: E402
from irs_marl_env import evaluate, get_scenario, load_policy  # noqa: E402
from irs_marl_env.training.joint_bids import Seen  # noqa: E402

SMALL = {"num_users": 4, "num_elements": 4, "horizon": 6}
TASK = get_scenario("mdlbi-interference-v0", **SMALL)


def a_look(num_bs=3, num_irs=2, users=4):
    torch.manual_seed(0)
    shape = (5, num_bs, users)
    looks = (torch.rand(shape) < 0.5).float(), torch.randn(shape), torch.randn(*shape, num_irs)
    return Seen(*looks, torch.zeros(5, num_bs, num_irs, 0))


def test_an_auction_gives_every_irs_to_one_bs_with_the_chance_of_the_softmax():
    torch.manual_seed(0)
    won = auction(torch.log(torch.tensor([1.0, 2.0, 5.0]))[None, :, None].expand(20_000, 3, 2), 1.0)
    torch.testing.assert_close(won.sum(1), torch.ones(20_000, 2))
    torch.testing.assert_close(won.mean(0)[:, 0], torch.tensor([0.125, 0.25, 0.625]), atol=0.015, rtol=0)
    colder = auction(torch.log(torch.tensor([1.0, 2.0]))[None, :, None].expand(20_000, 2, 1), 0.5)
    torch.testing.assert_close(colder.mean(0)[:, 0], torch.tensor([0.2, 0.8]), atol=0.015, rtol=0)


def test_outcomes_by_hand():
    (first, of_first), (second, of_second), (both, of_both) = outcomes(2, 2, controls=True)
    assert (first.tolist(), of_first.tolist()) == ([False, True], [[1, 1]])
    assert (second.tolist(), of_second.tolist()) == ([True, False], [[0, 0]])
    assert (both.tolist(), of_both.tolist()) == ([True, True], [[0, 0], [0, 1], [1, 0], [1, 1]])
    assert [len(owners) for _, owners in outcomes(3, 2, controls=False)] == [9]
    assert sum(len(owners) for _, owners in outcomes(2, 4, controls=True)) == 18


def test_expected_rates_are_sums_over_outcomes():
    one = AllOutcomes(TASK.replace(action="structured"), seed=1, num_envs=2, slots=1, updates=1)
    torch.manual_seed(3)
    bids, chance, rates = torch.randn(5, 2, 4), torch.rand(5, 2), torch.rand(5, 18)
    found = one.expected(bids, chance, rates, warmth=0.5)
    share = (bids / 0.5).softmax(1)
    p, q = chance[:, 0], chance[:, 1]
    both = torch.zeros(5)
    for number, owner in enumerate(itertools.product(range(2), repeat=4)):
        both += torch.stack([share[:, m, irs] for irs, m in enumerate(owner)]).prod(0) * rates[:, 2 + number]
    torch.testing.assert_close(found, (1 - p) * q * rates[:, 0] + p * (1 - q) * rates[:, 1] + p * q * both)


def test_rates_of_outcomes_are_those_of_the_slot():
    one = AllOutcomes(TASK.replace(action="structured"), seed=1, num_envs=3, slots=1, updates=1)
    rates = one.rates()
    assert one.used == 3 * 18
    bids = torch.zeros(3, 2, 4)
    bids[:, 1, :2], bids[:, 0, 2:] = 1.0, 1.0  # owners 1, 1, 0, 0
    column = 2 + list(itertools.product(range(2), repeat=4)).index((1, 1, 0, 0))
    saved = one.env.get_state()
    for on, number in ((torch.ones(3, 2) > 0, column), (torch.tensor([[True, False]] * 3), 1)):
        one.env.set_state(saved)
        np.testing.assert_allclose(one.step(bids, on)["sum_rate"].sum(-1), rates[:, number], rtol=2e-4)


@pytest.mark.parametrize("meet", [False, True])
def test_what_others_do_enters_the_critic_only_where_cells_interfere(meet):
    s, sets, share = a_look(), torch.zeros(5, 3, 2), torch.ones(5, 3)
    critic = Critic(meet)
    other = share.clone()
    other[:, 1] = 0.3
    before, after = critic(s, sets, share), critic(s, sets, other)
    assert torch.equal(before[:, 0], after[:, 0]) != meet
    assert not torch.equal(before[:, 1], after[:, 1])


def test_the_critic_knows_no_order_of_users():
    s, sets, share = a_look(), torch.ones(5, 3, 2), torch.ones(5, 3)
    critic = Critic(False)
    turned = Seen(*(x.flip(2) for x in s[:3]), s.worth)
    torch.testing.assert_close(critic(s, sets, share), critic(turned, sets, share))


@pytest.mark.parametrize("meet", [False, True])
def test_the_worth_of_an_irs_is_that_of_giving_it(meet):
    one = Critics(TASK.replace(action="structured"), seed=1, num_envs=1, slots=1, updates=1)
    s, on, one.critic = a_look(), torch.ones(5, 3), Critic(meet)
    sets = auction(torch.zeros(5, 3, 2), 1.0)
    worth = one.worth_of_irs(s, sets, on, 1)
    for bs in range(3):
        given = sets.clone()
        given[..., 1] = 0.0
        given[:, bs, 1] = 1.0
        torch.testing.assert_close(worth[:, bs], one.critic(s, given, on).sum(1), rtol=1e-4, atol=1e-4)


FEW, MANY = {"power_control": False}, {"num_users": 6, "num_bs": 3}


@pytest.mark.parametrize(
    ("fields", "kind"), [({}, AllOutcomes), (FEW, AllOutcomes), (MANY, Critics), (FEW | MANY, Critics)]
)
def test_a_short_training_gives_a_policy(fields, kind):
    scenario = TASK.replace(action="structured", **fields)
    one = learner(scenario, 1, num_envs=3, slots=4, updates=4)
    assert type(one) is kind
    assert one.actor.of_cell is (kind is AllOutcomes or scenario.power_control)
    start = [p.clone() for p in one.actor.parameters()]
    one.train(show=False)
    assert any(not torch.equal(a, b) for a, b in zip(start, one.actor.parameters(), strict=True))


def test_learn_gives_a_policy_and_the_slots_it_took():
    policy, slots = learn(TASK.replace(observation="values"), 7, num_envs=3, slots=5, updates=2)
    assert slots == 3 * 5 + 3 * 2 * 18  # outcomes in slots 0 and 4
    assert (policy.name, policy.scenario.observation, policy.scenario.reward) == ("joint-bids-s7", "values", "team")
    result = evaluate(policy, policy.scenario, episodes=2, slots=2, progress=False)
    assert result.mean > 0
    power = result.power_w / policy.scenario.tx_power_w
    assert (power <= 1 + 1e-5).all()


def test_it_learns_to_share_in_a_few_seconds():
    """Beside untrained actors; 4 elements and 12 users, so that IRSs matter little and silence much."""
    before, _ = learn(TASK, 3, num_envs=32, slots=24, updates=0)
    after, _ = learn(TASK, 3, num_envs=32, slots=24, updates=120)
    rates = [evaluate(p, p.scenario, 64, 20_000, 2, 4, progress=False) for p in (before, after)]
    assert rates[1].difference(rates[0]).interval[0] > 0


@pytest.mark.parametrize("delay", [0, 1])
def test_outcomes_are_tried_in_the_slot_that_bids_decide(delay):
    """Eight slots with episodes of six: with a delay nothing is learned of the first slot of an episode."""
    scenario = TASK.replace(action="structured", association_delay=delay)
    one = AllOutcomes(scenario, seed=1, num_envs=2, slots=8, updates=0, apart=1)
    seen, step, rates, began = [], one.step, one.rates, []

    def watched(bids, on):
        seen.append(one.seen(one.obs.copy()).direct)
        return step(bids, on)

    def measured():
        began.append(len(seen))
        return rates()

    one.step, one.rates = watched, measured
    looks, tables = one.tables()
    assert began == ([1, 2, 3, 4, 5, 7] if delay else list(range(8)))
    torch.testing.assert_close(looks.direct, torch.cat([seen[slot - delay] for slot in began]))
    assert tables.shape == (2 * len(began), 18)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"contention": "collision"}, "contention='collision': must be"),
        ({"num_bs": 3, "num_users": 6, "association_delay": 1}, "association_delay=1: must be 0"),
        ({"association_delay": 1, "horizon": 1}, "horizon=1: must be more than association_delay=1"),
    ],
)
def test_another_game_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        learn(TASK.replace(**fields), 1)


@pytest.mark.parametrize(("delay", "slots"), [(0, 0), (1, 1)])
def test_so_few_slots_that_no_bid_decides_anything_are_refused(delay, slots):
    with pytest.raises(ValueError, match=f"slots={slots}: must be more than association_delay={delay}"):
        learn(TASK.replace(association_delay=delay), 1, slots=slots)


def test_the_command_line_saves_and_evaluates(tmp_path, monkeypatch, capsys):
    path = str(tmp_path / "p.safetensors")
    monkeypatch.setattr("examples.joint_bids.RULES", ())
    short = ["--eval-episodes=1", "--eval-slots=1"]
    main(["--num-envs=2", "--slots=1", "--updates=1", f"--save={path}", *short])
    trained = capsys.readouterr().out.splitlines()[-1]
    assert trained.startswith("joint-bids-s1 ")
    main([f"--eval={path}", *short])
    assert capsys.readouterr().out.splitlines()[-1] == trained
    assert load_policy(path).name == "joint-bids-s1"
