"""examples/collision.py: its game is the environment's, its expectations are exact, and it learns to share."""

import itertools
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")

from examples import collision  # noqa: E402
from irs_marl_env import evaluate, load_policy, make_vec_env  # noqa: E402
from irs_marl_env.training.standings import FEATURES, Standings  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

ARGS = collision.Args(
    scenario="mdlbi-blocked-small-v0",
    set=("contention=collision", "mobility=random_waypoint", "horizon=8", "num_elements=2"),
    episodes=4,
    value_updates=3,
    updates=2,
    batch=3,
    window=4,
    width=8,
    eval_episodes=2,
    eval_slots=3,
)


def scenario(**fields):
    task = collision.scenario_to_train_in(ARGS.scenario, False, collision.TEAM, collision.parse_assignments(ARGS.set))
    return task.replace(**fields)


@pytest.mark.parametrize(("num_bs", "num_irs"), [(2, 1), (2, 2), (3, 1), (2, 3)])
def test_the_game_is_the_one_of_the_environment(num_bs, num_irs):
    """Under the same claims every state's views are what the BSs see, and its sets what they get."""
    game = collision.Game(num_bs, num_irs)
    env = make_vec_env(scenario(num_bs=num_bs, num_irs=num_irs), 12, fast=False)
    observations, _ = env.reset(seed=0)
    state, memory = game.held_by(env.view().owner), Standings()
    rng, bids = np.random.default_rng(0), env.action_codec.layout.slices["bids"]
    action = np.zeros((12, num_bs, env.action_size), np.float32)
    for _ in range(env.scenario.horizon):
        views = memory.see(env.observation_codec.decode(observations), env.view().slot == 0)
        np.testing.assert_array_equal(views, game.views[:, state].swapaxes(0, 1))
        joint = rng.integers(len(game.claims), size=12)
        memory.claimed = game.claims[joint]
        action[..., bids] = np.where(memory.claimed, 0.5, -0.5)
        observations, _, _, _, infos = env.step(action)
        held = infos["owner"][:, None] == np.arange(num_bs)[:, None]
        np.testing.assert_array_equal(game.sets[joint], (held << np.arange(num_irs)).sum(-1))
        state = game.following[state, joint]


def test_expected_rates_equal_the_sum_over_all_that_may_happen():
    game, rng = collision.Game(2, 1), np.random.default_rng(1)
    logits, values = rng.normal(size=(1, 3, 2, 1, 6)), rng.normal(size=(1, 3, 2, 2))
    begin = game.held_by(np.array([[1]]))
    expected = np.zeros(3)
    for story in itertools.product(itertools.product((False, True), repeat=2), repeat=3):
        holder, claims, chance = 1, (False, True), 1.0
        for t, made in enumerate(story):
            for m in range(2):
                alone = sum(claims) == 1
                see = (0 if claims[m] else 1) if alone else 2 + 2 * claims[m] + (holder == m)
                p = 1 / (1 + np.exp(-logits[0, t, m, 0, see]))
                chance *= p if made[m] else 1 - p
            holder, claims = made.index(True) if sum(made) == 1 else holder, made
            got = [made[m] and sum(made) == 1 for m in range(2)]
            # the later slots of a story share its first ones: each prefix counts once for each of its 4^(2 - t) ends
            expected[t] += _once(story, t) * chance * sum(values[0, t, m, int(got[m])] for m in range(2))
    found = collision.expected_rates(game, torch.tensor(logits), torch.tensor(values), torch.from_numpy(begin))
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-9)


def _once(story, t):
    """1 for one of the stories with the same beginning up to slot t, 0 for the others."""
    return float(all(made == (False, False) for made in story[t + 1 :]))


def test_values_come_from_the_team_reward():
    """Rewards that are the mean of known own values of sets give these values back."""
    args = replace(ARGS, episodes=60, value_updates=150, value_lr=2e-2)
    walks = collision.explore(scenario(), args)
    worth = np.array([0.0, 1.0, 2.0, 4.0])
    walks.reward = worth[walks.sets].mean(-1)
    torch.manual_seed(0)
    values = collision.learn_values(walks, args)
    some = {name: x[:5, :2] for name, x in walks.named.items()}
    busy = some["own_user"].sum(-1) > 0  # a BS without users has but one value, whatever its set
    with torch.no_grad():
        np.testing.assert_allclose(values(some).numpy()[busy].mean(0), worth, atol=0.3)


def test_exploration_sees_every_set_and_rewards_are_the_teams():
    walks = collision.explore(scenario(), ARGS)
    assert walks.sets.shape == (4, 8, 2)
    assert walks.reward.shape == (4, 8)
    assert walks.named["irs_gain"].shape == (4, 8, 2, 2, 4)
    assert set(walks.sets.ravel()) == {0, 1, 2, 3}
    assert not (walks.sets[..., 0] & walks.sets[..., 1]).any()  # nobody shares an IRS
    assert 0.1 < (walks.sets == 0).mean() < 0.9
    assert len(np.unique(walks.reward)) > 20


def test_claims_learn_who_needs_the_irs():
    """An IRS that is worth much to the BS with more users, little to the other: claims go where it is worth more."""
    args = replace(ARGS, updates=120, episodes=40, batch=16)
    walks = collision.explore(scenario(num_irs=1), args)
    more = torch.from_numpy(walks.named["own_user"].sum(-1) >= 3)

    class Known(torch.nn.Module):
        def forward(self, named):
            worth = torch.from_numpy(named["own_user"].sum(-1) >= 3).float() * 2.0 + 0.5
            return torch.stack([torch.zeros_like(worth), worth], -1)

    torch.manual_seed(0)
    actor = collision.learn_claims(walks, Known(), args)
    features = torch.from_numpy(collision.features_along(walks, Known()(walks.named).numpy()))
    with torch.no_grad():
        claims = actor(features)[..., 0, :] > 0  # (E, T, M, 6)
    assert features.shape[-1] == FEATURES
    assert claims[..., 1][more].float().mean() > 0.9  # held by the other one: challenged
    assert claims[..., 0][~more & more.flip(-1)].float().mean() < 0.1  # held, but of more worth to the other: given up


def test_it_trains_saves_and_compares(tmp_path, monkeypatch, capsys):
    path = tmp_path / "claims.safetensors"
    options = ("episodes", "value_updates", "updates", "batch", "window", "width", "eval_episodes", "eval_slots")
    flags = [f"--{name.replace('_', '-')}={getattr(ARGS, name)}" for name in options]
    flags += [f"--set={field}" for field in ARGS.set]
    monkeypatch.setattr(sys, "argv", [collision.__file__, "--scenario", ARGS.scenario, *flags, "--out", str(path)])
    collision.main()
    printed = capsys.readouterr().out
    for line in ("claims-s1", "release", "auction (structured-local-gain)", "1.000"):
        assert line in printed
    loaded, trained = load_policy(path), collision.train(ARGS)  # the same seed, the same policy
    rates = [evaluate(one, one.scenario, 2, 3, progress=False).rates for one in (loaded, trained)]
    np.testing.assert_array_equal(*rates)
    monkeypatch.setattr(sys, "argv", [collision.__file__, "--eval", str(path), *flags[6:8]])
    collision.main()
    assert capsys.readouterr().out == printed.partition("\n")[2]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("contention=auction", "contention='auction': must be 'collision'"),
        ("association_delay=1", "association_delay=1: must be 0"),
        ("switching_slots=2", "switching_slots=2: must be 0"),
        ("rho=bids", "rho='bids': must be 'owner'"),
        ("reward=local", "reward='local': must be 'team'"),
        ("inter_cell_interference=true", "inter_cell_interference=True: must be False"),
        ("reflection=all", "reflection='all': must be another one"),
        ("num_irs=0", "num_irs=0: must be at least 1"),
        ("num_irs=4", "num_bs, num_irs=(2, 4): must be such that states times joint claims are at most 32768"),
    ],
)
def test_what_it_cannot_learn_is_refused(field, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        collision.train(replace(ARGS, set=(*ARGS.set, field)))


@pytest.mark.parametrize("name", ["episodes", "value_updates", "updates", "batch", "window", "width"])
def test_numbers_that_cannot_be_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=0: must be"):
        collision.train(replace(ARGS, **{name: 0}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("actor_lr", float("nan")),
        ("value_lr", -1.0),
        ("entropy", float("inf")),
        ("seed", -1),
        ("seed", 2**70),
        ("width", 100_000),
        ("eval_slots", 0),
        ("eval_episodes", 0),
        ("eval_seed", -1),
        ("out", Path("no such folder") / "x.safetensors"),
        ("out", Path(".")),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_done(name, value, monkeypatch):
    monkeypatch.setattr(collision, "explore", None)
    with pytest.raises(ValueError, match=f"^{name}=.*: must be"):
        collision.train(replace(ARGS, **{name: value}))
