"""examples/foresight.py: its sums against naive ones, its bids against the auction's rule, and a short training."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
pytest.importorskip("tyro", reason="needs the extra 'train'")

from examples import foresight  # noqa: E402
from examples.foresight import Args, Foresight, expected_rate, play, worth  # noqa: E402
from irs_marl_env import evaluate, get_scenario, load_policy, make_vec_env  # noqa: E402
from irs_marl_env.physics.association import switch  # noqa: E402
from irs_marl_env.training.files import read_tensors, write_tensors  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = get_scenario(
    "mdlbi-blocked-small-v0",
    **{"num_elements": 4, "horizon": 10, "switching_slots": 2, "mobility": "random_waypoint", "observe_velocity": True},
    **{"action": "structured", "observation": "large_scale"},
)


def _chances(bids, holder, idle, slots):
    """Chances ``(M,)`` to win one IRS, of bids ``(M, n + 1)``."""
    own = [bids[m, idle if m == holder else slots] for m in range(len(bids))]
    return np.exp(own - np.max(own)) / np.exp(own - np.max(own)).sum()


@pytest.mark.parametrize(("M", "L", "slots"), [(2, 1, 1), (2, 1, 3), (3, 1, 2), (2, 2, 2)])
def test_expected_rates_are_those_of_all_ways_the_auction_can_go(M, L, slots):
    T, generator = 3, np.random.default_rng(0)
    bids, values = generator.normal(size=(T, M, L, slots + 1)), generator.random((T, M, 2**L))
    start = generator.integers(0, M, L)
    expected = np.zeros(T)
    for way in itertools.product(itertools.product(range(M), repeat=L), repeat=T):
        chance, holder, idle = 1.0, start.copy(), np.zeros(L, int)
        for t, decided in enumerate(way):
            for irs in range(L):
                chance *= _chances(bids[t, :, irs], holder[irs], idle[irs], slots)[decided[irs]]
            holder, left, owner = switch(holder, idle, np.array(decided), slots)
            idle = np.maximum(left - 1, 0)
            # every way stands for all that it may go on to, so slot t counts each beginning once
            rest = M ** (L * (T - 1 - t))
            expected[t] += chance * sum(values[t, m, ((owner == m) << np.arange(L)).sum()] for m in range(M)) / rest
    found = expected_rate(*(torch.from_numpy(x[None]) for x in (bids, values, start)))
    assert found[0].numpy() == pytest.approx(expected, rel=1e-6)


def test_worth_is_the_discounted_sum_of_later_marginals():
    generator = np.random.default_rng(1)
    values = generator.random((1, 5, 2, 4))
    found = worth(torch.from_numpy(values), 2, 2, 0.5)[0].numpy()  # (T, M, L, 3)
    v = values[0]
    first, last = v[..., 1:3] - v[..., :1], v[..., 3:] - v[..., [2, 1]]
    marginal = (first + last) / 2
    for t, h in itertools.product(range(5), range(3)):
        later = sum(0.5**i * marginal[t + i] for i in range(h, 5 - t))
        assert found[t, ..., h] == pytest.approx(0.5 * later * np.ones((2, 2)))


def test_a_bid_is_the_output_for_the_slots_until_the_irs_serves():
    env = make_vec_env(TINY, 3)
    obs, _ = env.reset(seed=0)
    policy = Foresight(env, 8)
    generator = np.random.default_rng(0)
    for _ in range(6):
        view, at = env.view(), env.action_codec.layout.slices["bids"]
        every = policy.bids(torch.from_numpy(obs)).detach().numpy()  # (E, M, L, n + 1)
        bids = policy(obs)[..., at]
        assert (np.delete(policy(obs), np.r_[at], -1) == 0).all()
        for e, m, irs in itertools.product(range(3), range(2), range(2)):
            until = view.idle[e, irs] if view.holder[e, irs] == m else TINY.switching_slots
            bid = every[e, m, irs, until]
            assert bids[e, m, irs] == pytest.approx(bid / (1 + abs(bid)), abs=1e-6)
        action = np.zeros((3, 2, env.action_size), np.float32)
        action[..., at] = generator.random((3, 2, 2)) - 0.5
        obs = env.step(action)[0]


def test_what_is_played_are_own_sets_and_own_rates():
    env = make_vec_env(TINY, 4)
    played = play(env, 6, 0.8, seed=3)
    assert played.obs.shape == (6, 10, 2, env.observation_size)
    assert played.rates.shape == played.owned.shape == (6, 10, 2)
    assert not (played.owned[..., 0] & played.owned[..., 1]).any()  # an IRS has one owner
    idle = (played.owned[..., 0] | played.owned[..., 1]) != 3
    assert 0.05 < idle.float().mean() < 0.7
    held = played.obs[:, 1:, :, env.observation_codec.layout.slices["held"]]  # before slot t: who owned it in t - 1
    before = torch.stack([played.owned[:, :-1] & 1, played.owned[:, :-1] >> 1], -1)
    assert ((before == 1) <= (held == 1)).all()
    again = play(make_vec_env(TINY, 4), 6, 0.8, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(played, again, strict=True))


def _args(tmp_path, **settings) -> Args:
    text = tmp_path / "tiny.json"
    text.write_text(TINY.replace(horizon=40, switching_slots=4).to_json(), encoding="utf-8")
    return Args(scenario=str(text), width=16, walks=8, **settings)


def test_a_short_training_beats_the_plain_auction(tmp_path):
    args = _args(tmp_path, episodes=80, rate_updates=250, worth_updates=150, auction_updates=5)
    policy = foresight.train(args, report=lambda line: None)
    plain, trained = (evaluate(p, policy.scenario, 30, seed=9) for p in ("structured-local-gain", policy))
    assert trained.mean > plain.mean


def test_training_is_reproducible_and_a_policy_is_saved(tmp_path):
    args = _args(tmp_path, episodes=4, rate_updates=3, worth_updates=3, auction_updates=2)
    policy, again = (foresight.train(args, report=lambda line: None) for _ in range(2))
    policy.save(tmp_path / "policy.safetensors")
    rates = evaluate(policy, policy.scenario, 2).rates
    for other in (again, load_policy(tmp_path / "policy.safetensors")):
        assert np.array_equal(evaluate(other, policy.scenario, 2).rates, rates)
    with pytest.raises(ValueError, match=r"policy\.safetensors: the network does not fit the scenario"):
        load_policy(tmp_path / "policy.safetensors", switching_slots=3)
    args.seed = 2
    assert not np.array_equal(evaluate(foresight.train(args, lambda line: None), policy.scenario, 2).rates, rates)


def test_the_gradient_through_the_auction_brings_more():
    env = make_vec_env(TINY, 8)
    args = Args(episodes=16, auction_updates=40, walks=8, sharpness=1.0, auction_lr=0.05)
    played = play(env, 16, 0.9, seed=0)
    torch.manual_seed(0)
    policy = Foresight(env, 8)
    values = torch.zeros(16, 10, 2, 4)
    values[:, :, 1] = torch.tensor([0.0, 1.0, 1.0, 2.0])  # BS 1 alone has use for IRSs, which BS 0 holds

    def expected() -> float:
        with torch.no_grad():
            return float(expected_rate(policy.bids(played.obs), values, torch.zeros(16, 2, dtype=torch.int64)).mean())

    before = expected()
    foresight.learn_auction(policy, played, values, args)
    assert before < 1.0 < expected() < 2.0 * 8 / 10  # 2 bit/s/Hz after 2 idle slots of 10 are the most


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"switching_slots": 0}, "switching_slots=0: must be at least 1"),
        ({"association_delay": 1}, "association_delay=1: must be 0"),
        ({"num_irs": 5}, "num_irs=5: must be 1 to 4"),
        ({"num_irs": 0}, "num_irs=0: must be 1 to 4"),
    ],
)
def test_scenarios_it_cannot_learn_in_are_refused(tmp_path, overrides, message):
    text = tmp_path / "other.json"
    text.write_text(TINY.replace(**overrides).to_json(), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        foresight.scenario_of(str(text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["scenario"].update(switching_slots=10**9), "does not fit num_irs=2, switching_slots=1000000000"),
        (lambda a: a.update(name=None), "name=None: must be a text"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, change, message):
    shipped = Path(__file__).parents[2] / "examples" / "checkpoints" / "mdlbi-switching-v0.safetensors"
    tensors, about = read_tensors(shipped)
    change(about)
    write_tensors(tmp_path / "p.safetensors", tensors, about)
    with pytest.raises(ValueError, match=message):
        load_policy(tmp_path / "p.safetensors")
