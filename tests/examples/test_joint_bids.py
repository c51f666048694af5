"""examples/joint_bids.py: what its parts promise, and that a short training runs."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from examples.joint_bids import Critic, JointBids, Seen, auction  # noqa: E402
from irs_marl_env import evaluate, get_scenario  # noqa: E402

SMALL = {"num_users": 4, "num_elements": 4, "horizon": 6}


def a_look(num_bs=3, num_irs=2, users=4):
    torch.manual_seed(0)
    shape = (5, num_bs, users)
    return Seen((torch.rand(shape) < 0.5).float(), torch.randn(shape), torch.randn(*shape, num_irs))


def test_an_auction_gives_every_irs_to_one_bs_and_has_a_gradient():
    bids = torch.zeros(4, 3, 2, requires_grad=True)
    won = auction(bids, 1.0)
    assert set(won.detach().round().unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(won.sum(1), torch.ones(4, 2))
    won[:, 0, 0].sum().backward()
    assert (bids.grad[:, 0, 0] > 0).all()
    assert (bids.grad[:, 1:, 0] < 0).all()
    assert (bids.grad[..., 1] == 0).all()


def test_much_higher_bids_win():
    bids = torch.tensor([[[100.0, -100.0], [0.0, 0.0]]])
    assert auction(bids, 1.0)[0].tolist() == [[1.0, 0.0], [0.0, 1.0]]


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
    turned = Seen(*(x.flip(2) for x in s))
    torch.testing.assert_close(critic(s, sets, share), critic(turned, sets, share))


def test_a_short_training_gives_a_policy(capsys):
    scenario = get_scenario("mdlbi-interference-v0", **SMALL)
    learner = JointBids(scenario, seed=1, num_envs=3, slots=4, updates=4)
    start = [p.clone() for p in learner.actor.parameters()]
    learner.train(show=False)
    assert any(not torch.equal(a, b) for a, b in zip(start, learner.actor.parameters(), strict=True))
    result = evaluate(learner, learner.scenario, episodes=2, slots=2)
    assert result.mean > 0
    power = result.power_w / learner.scenario.tx_power_w
    assert (power <= 1 + 1e-5).all()
    assert np.isfinite(power).all()


def test_own_users_come_first():
    scenario = get_scenario("mdlbi-interference-v0", **SMALL)
    learner = JointBids(scenario, seed=1, num_envs=3, slots=4, updates=4)
    view, s = learner.env.view(), learner.seen(learner.obs)
    load = view.own_user.sum(-1)
    np.testing.assert_array_equal(s.own.sum(-1).numpy(), load)
    gain = learner.env.observation_codec.decode(learner.obs)["irs_gain"]  # (E, M, L, K)
    for env, bs in np.ndindex(load.shape):
        users = np.nonzero(view.own_user[env, bs])[0]
        np.testing.assert_array_equal(s.over[env, bs, : len(users)].numpy(), gain[env, bs][:, users].T)
