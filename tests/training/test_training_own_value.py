"""Bids that are computed from a critic of own sets: what they are, and that the critic finds a known game's values."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from tiny_training import tiny_args, tiny_run  # noqa: E402

from examples import maddpg  # noqa: E402
from examples.maddpg import advance, prepare  # noqa: E402
from irs_marl_env import evaluate, load_policy, make_env, make_vec_env  # noqa: E402
from irs_marl_env.training.own_value import WIDTH, OwnValueLearner, all_sets, mean_marginals, pivotal_marginals  # noqa: E402
from irs_marl_env.training.policy import save_policy  # noqa: E402
from irs_marl_env.training.presets import OWN_VALUE  # noqa: E402
from irs_marl_env.training.settings import Args, parse, scenario_of, usual_fields  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
OWN = {"algo": "own-value", "eval_network": "target", "noise_start": 0.4, "noise_end": 0.4}


# --- bids -------------------------------------------------------------------------------------------------------------


def test_mean_of_first_and_last_marginal():
    """Q({}) = 0, Q({1}) = 3, Q({0}) = 2, both 4: IRS 0 adds 2 alone and 1 to the other one, IRS 1 adds 3 and 2."""
    assert all_sets(2).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert mean_marginals(torch.tensor([0.0, 3.0, 2.0, 4.0])).tolist() == [1.5, 2.5]
    assert mean_marginals(torch.tensor([1.0, 5.0])).tolist() == [4.0]


def test_a_bid_is_the_marginal_to_what_is_won_where_the_rivals_bid_as_much():
    """In that game: rivals who bid 1 for IRS 0 bid 0 for IRS 1, and those who bid 3 for IRS 0 bid 9 for IRS 1."""
    q, rivals = torch.tensor([0.0, 3.0, 2.0, 4.0]), torch.tensor([[1.0, 0.0], [3.0, 9.0]])
    same = torch.zeros(2)
    as_the_first = pivotal_marginals(q, torch.tensor([1.0, 4.0]), rivals, same)
    distance = 2 / (WIDTH * 2**0.5)  # of the bid for IRS 0 to the second sample, in widths
    second = 1 / (1 + np.exp(distance**2 / 2))
    assert as_the_first[0].item() == pytest.approx((1 - second) * 1 + second * 2)  # with IRS 1 won, and lost
    of_the_second = pivotal_marginals(q, torch.tensor([2.0, 4.0]), rivals, torch.tensor([0.0, 50.0]))
    assert of_the_second.tolist() == pytest.approx([2.0, 3.0])  # it loses IRS 1 there, and IRS 0 too


def test_expected_marginals_are_those_of_the_samples_one_by_one():
    rng = np.random.default_rng(0)
    q, bids, rivals, alike = rng.normal(size=16), rng.normal(size=4), rng.normal(size=(6, 4)), rng.normal(size=6)
    value = dict(zip(itertools.product((0, 1), repeat=4), q, strict=True))
    expected = np.zeros(4)
    for irs in range(4):
        spread = WIDTH * rivals[:, irs].std(ddof=1)
        weights = np.exp(alike - ((bids[irs] - rivals[:, irs]) / spread) ** 2 / 2)
        for weight, rival in zip(weights / weights.sum(), rivals, strict=True):
            won = [int(x) for x in bids > rival]
            both = [(*won[:irs], bit, *won[irs + 1 :]) for bit in (0, 1)]
            expected[irs] += weight * (value[both[1]] - value[both[0]])
    found = pivotal_marginals(*map(torch.from_numpy, (q, bids, rivals, alike)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_samples_are_the_highest_bids_of_the_others():
    run = tiny_run(**OWN, set=("num_bs=3",))
    actor, obs = run.learner.actor, torch.from_numpy(np.array(run.obs)).transpose(0, 1)
    bids = torch.arange(24.0).view(3, 4, 2)  # (M, B, L)
    actor.values = lambda obs: bids
    run.learner.look_around(obs)
    expected = torch.stack([torch.maximum(*bids[[j for j in range(3) if j != m]]) for m in range(3)])
    assert torch.equal(actor.rivals[:12], expected.transpose(0, 1).reshape(12, 2))
    assert torch.equal(actor.rivals[12:24], actor.rivals[:12])  # a batch that is smaller than the sample
    users = torch.from_numpy(run.env.observation_codec.decode(np.array(run.obs))["own_user"]).sum(-1).flatten()
    torch.testing.assert_close(actor.loads[:12], users * 3 / 4 - 1)
    assert torch.equal(actor.rivals, run.learner.targets["actor"].rivals)


def own_values_of_squares(num_irs):
    """A policy for which the value of a set is the square of its weight, observations for it, and the weights."""
    run = tiny_run(**OWN, set=(f"num_irs={num_irs}",), reward_scale=0.5)
    policy, weights = run.learner.actor, torch.linspace(1.0, 2.0, num_irs)
    policy.critic.forward = lambda seen, held: 0.5 * (held.expand(*seen.load.shape, -1) @ weights) ** 2
    return policy, torch.from_numpy(np.array(run.obs)).transpose(0, 1), [float(w) for w in weights]


def test_bids_are_marginals_to_what_is_won_of_the_others():
    """What is won is certain, so a bid is exact."""
    policy, obs, weights = own_values_of_squares(3)
    won = [0, 1]
    policy.rivals.fill_(1e6)
    policy.rivals[:, won] = -1e6
    bids = policy.values(obs)
    in_the_others = [sum(weights[j] for j in won if j != irs) for irs in range(3)]
    expected = [(rest + w) ** 2 - rest**2 for rest, w in zip(in_the_others, weights, strict=True)]
    np.testing.assert_allclose(bids[0, 0], expected, rtol=1e-5)
    assert bids.shape == (2, 4, 3)


def test_bids_for_many_irs_are_the_mean_of_first_and_last_marginals():
    policy, obs, weights = own_values_of_squares(6)
    whole = sum(weights)
    expected = [(w**2 + whole**2 - (whole - w) ** 2) / 2 for w in weights]
    bids = policy.values(obs)
    np.testing.assert_allclose(bids[1, 2], expected, rtol=1e-5)
    assert bids.shape == (2, 4, 6)


def test_actions_are_bids_in_the_order_of_their_values_and_neutral_otherwise():
    run = tiny_run(**OWN)
    actor, obs = run.learner.actor, torch.from_numpy(np.array(run.obs)).transpose(0, 1)
    values, action = actor.values(obs), actor(obs)
    bids = action[..., :2]
    assert torch.equal(bids.flatten().argsort(), values.flatten().argsort())
    assert bids.abs().max() < 1
    assert not action[..., 2:].any()


def test_with_power_control_it_learns_and_acts_at_full_power():
    run = tiny_run(**OWN, set=("power_control=true",))
    neutral = run.env.action_codec.neutral
    assert neutral[-1] == 1
    for action in (run.learner.act(run.obs), run.policy()(np.array(run.obs))):
        assert (action[..., 2:] == neutral[2:]).all()
    run.step()
    radiated = run.env.step(run.policy()(np.array(run.obs)))[4]["power_w"]
    np.testing.assert_allclose(radiated[radiated > 0], run.env.scenario.tx_power_w, rtol=1e-4)


@pytest.mark.parametrize("contention", ["collision", "priority"])
def test_rules_by_which_the_highest_bid_does_not_win_are_refused(contention):
    with pytest.raises(ValueError, match=f"contention='{contention}': must be a rule by which the highest bid wins"):
        tiny_run(**OWN, set=(f"contention={contention}",))


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "each its own"])
def test_a_set_is_worth_the_same_whoever_else_is_in_the_batch(shared):
    """Users of all rows stand one after the other in the critic, and where BSs have networks of their own, rows of the
    one have more users than those of the other. Alone, a user is there or not, and nothing else is."""
    run = tiny_run(**OWN, share_critic=shared, set=("num_bs=3", "num_irs=3"))
    named = run.env.observation_codec.decode(np.array(run.obs))
    rng = np.random.default_rng(0)
    users, wanted = named["own_user"].shape[-1], rng.integers(0, 5, (4, 3))
    named["own_user"] = (rng.permuted(np.tile(np.arange(users), (4, 3, 1)), axis=-1) < wanted[..., None]).astype(float)
    named["own_user"][0, 1] = 0  # nobody there
    obs = torch.from_numpy(run.env.observation_codec.encode(named).astype(np.float32)).transpose(0, 1)
    critic, held = run.learner.actor.critic, torch.from_numpy(rng.integers(0, 2, (3, 4, 3)).astype(np.float32))
    with torch.no_grad():
        together = critic(critic.look(obs), held.reshape(critic.stack, -1, 3)).view(3, 4)
        assert together[1, 0] == 0
        for row in range(4):
            alone = critic(critic.look(obs[:, row : row + 1]), held[:, row].reshape(critic.stack, -1, 3)).view(3)
            torch.testing.assert_close(alone, together[:, row])
        assert len(together.unique()) > 6


def test_bids_know_no_order_of_users_and_irs():
    run = tiny_run(**OWN, set=("num_irs=3",))
    named = run.env.observation_codec.decode(np.array(run.obs))
    users, irs = [2, 0, 3, 1], [1, 2, 0]
    other = {name: named[name][..., users] for name in ("own_user", "direct_gain")}
    other |= {"irs_gain": named["irs_gain"][..., irs, :][..., users]}
    other |= {name: named[name][..., irs] for name in ("held", "rho")}
    learner = run.learner
    learner.actor.rivals.normal_(generator=torch.Generator().manual_seed(0))
    before = learner.actor.act(np.array(run.obs))[..., :3]
    learner.actor.rivals.copy_(learner.actor.rivals[:, irs])
    after = learner.actor.act(run.env.observation_codec.encode(other).astype(np.float32))[..., :3]
    np.testing.assert_allclose(after, before[..., irs], atol=1e-5)


# --- learning ---------------------------------------------------------------------------------------------------------


class _KnownGame:
    """A BS is paid v_l = 1 + mean gain of its users for every IRS that it holds, and 1 less for both."""

    def __init__(self, env):
        self._env = env

    def __getattr__(self, name):
        return getattr(self._env, name)

    def worth(self):
        named = self._env.observation_codec.decode(np.array(self._env.observe()))
        users = named["own_user"].sum(-1)[..., None]
        return np.where(users > 0, 1 + named["irs_gain"].sum(-1) / np.maximum(users, 1), 0.0)  # (E, M, L)

    def step(self, action):
        worth = self.worth()
        obs, _, terminated, truncated, infos = self._env.step(action)
        held = infos["owner"][:, None] == np.arange(2)[:, None]  # (E, M, L), those of this slot
        reward = (held * worth).sum(-1) - held.all(-1) * (worth[..., 0] > 0)
        return obs, reward.astype(np.float32), terminated, truncated, infos


@pytest.mark.parametrize("delay", [0, 1])
def test_the_critic_finds_the_values_of_a_known_game(delay):
    """The first marginal of an IRS is v_l and the last one v_l - 1, whenever it is paid."""
    args = tiny_args(**OWN, width=32, batch=64, updates=300, critic_lr=1e-2, buffer=4000, updates_per_step=2, tau=0.1)
    args = replace(args, num_envs=16, reward_scale=0.5)
    env = _KnownGame(make_vec_env("mdlbi-small-v0", 16, horizon=20, association_delay=delay, **usual_fields(args)))
    run = prepare(args, env)
    while run.learner.updates < 300:
        advance(run)
    actor, worth = run.learner.actor, env.worth()
    obs = torch.from_numpy(np.array(run.obs)).transpose(0, 1)
    for won in (0.0, 1.0):
        actor.rivals.fill_(1e6 - 2e6 * won)
        with torch.no_grad():
            found = actor.values(obs).transpose(0, 1).numpy()
        error = (found - worth + won)[worth > 0]
        assert abs(error).mean() < 0.15
        assert not found[worth == 0].any()


def test_what_is_remembered_is_the_set_that_the_bids_won():
    """With a delay it is held in the next slot, whose rate is its return; the last slot of an episode has none."""
    for delay in (0, 1):
        run = tiny_run(**OWN, set=(f"association_delay={delay}", "horizon=5"), batch=4)
        owners, rates = [], []
        step = run.env.step

        def watched(action, step=step, owners=owners, rates=rates):
            result = step(action)
            owners.append(result[4]["owner"])
            rates.append(result[4]["sum_rate"])
            return result

        run.env.step = watched
        for _ in range(10):
            run.step()
        kept = [t for t in range(10) if t % 5 + delay < 5]
        assert run.replay.size == 4 * len(kept)
        for row, t in enumerate(kept):
            won = run.replay.arrays["won"][4 * row : 4 * row + 4].numpy()
            np.testing.assert_array_equal(won, owners[t + delay][:, None] == np.arange(2)[:, None])
            np.testing.assert_allclose(run.replay.arrays["reward"][4 * row : 4 * row + 4], rates[t + delay])


def test_owners_are_random_while_it_learns():
    run = tiny_run(**OWN, num_envs=64, batch=64, buffer=2000)
    for _ in range(20):
        run.step()
    won = run.replay.arrays["won"][: run.replay.size, 0]
    share = [
        (won == torch.tensor(one)).all(-1).float().mean().item() for one in itertools.product((0.0, 1.0), repeat=2)
    ]
    assert share == pytest.approx([0.25] * 4, abs=0.05)


# --- as every other algorithm -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [(), ("association_delay=1", "horizon=10"), ("num_irs=6", "num_bs=3")])
@pytest.mark.parametrize("shared", [True, False])
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, fields, shared):
    settings = {**OWN, "updates": 24, "set": fields, "share_critic": shared}
    whole, first, second = (tiny_run(**settings) for _ in range(3))
    for _ in range(13):
        advance(first)
    first.save(tmp_path / "c.safetensors")
    second.load(tmp_path / "c.safetensors")
    for _ in range(24):
        advance(whole)
    for _ in range(11):
        advance(second)
    for kind in ("nets", "targets"):
        mine, other = (getattr(run.learner, kind).state_dict() for run in (whole, second))
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert whole.evaluate() == second.evaluate()


def test_a_policy_file_bids_the_same_here_and_in_environments_of_other_sizes(tmp_path):
    run = tiny_run(**OWN, share_critic=True)
    for _ in range(10):
        advance(run)
    save_policy(run.policy(), tmp_path / "p.safetensors")
    policy = load_policy(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(policy(run.obs), run.learner.targets["actor"].act(run.obs))
    larger = policy.scenario.replace(num_users=6, num_bs=3)
    assert evaluate(policy, larger, episodes=2, slots=2).mean > 0
    env = make_env(larger)
    obs, _ = env.reset(seed=0)
    assert policy.bind(env)(obs)["bs_2"].shape == (env.action_codec.size,)


def test_main_trains_goes_on_and_evaluates(tmp_path, capsys):
    flags = ["--algo", "own-value", "--scenario", "mdlbi-small-v0", "--updates", "8", "--eval-every", "4", "--batch"]
    flags += ["24", "--eval-episodes", "2", "--eval-slots", "2", "--no-progress", "--no-tensorboard", "--no-baselines"]
    flags += ["--checkpoint-every", "4", "--device", "cpu", "--out", str(tmp_path), "--name", "run"]
    result = maddpg.main(flags)
    folder = tmp_path / "run"
    assert json.loads((folder / "args.json").read_text(encoding="utf-8"))["critic_lr"] == OWN_VALUE["critic_lr"]
    (folder / "checkpoint.safetensors").unlink()  # as if killed before the last one was written
    (folder / "result.json").unlink()
    assert maddpg.main(["--resume", str(folder)])["curve"] == result["curve"]
    capsys.readouterr()
    maddpg.main(["--eval", str(folder / "policy.safetensors"), "--no-baselines", "--eval-episodes", "2"])
    assert "own-value" in capsys.readouterr().out


def test_its_settings():
    assert parse(["--algo", "own-value"]) == parse(["--algo=own-value"]) == replace(Args(), **OWN_VALUE)
    assert parse(["--algo", "own-value", "--updates", "7"]).updates == 7
    assert scenario_of(parse(["--algo", "own-value"])).reward == "local"
    assert isinstance(tiny_run(**OWN).learner, OwnValueLearner)
    for settings, message in (
        ({"net": "mlp"}, "algo='own-value' needs net='deepsets'"),
        ({"set": ("horizon=2",), "n_step": 3}, "n_step=3: must be so few that a whole return fits into horizon=2"),
        ({"n_step": 2, "gamma": 0.0}, "gamma=0.0: must be above 0 with n_step=2"),
        ({"n_step": 0}, "n_step=0"),
        ({"set": ("observation=csi",)}, "^algo='own-value' needs .* observation='large_scale' or 'values'$"),
        ({"set": ("num_irs=0",)}, "^algo='own-value' needs an IRS, but num_irs=0$"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny_run(**OWN, **settings)
