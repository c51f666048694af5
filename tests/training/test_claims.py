"""Agents that claim: what they remember, hand by hand, and their policy in evaluate, in a loop and in a file."""

import pickle
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")

from irs_marl_env import evaluate, get_scenario, load_policy, make_env, make_vec_env  # noqa: E402
from irs_marl_env.training import policy as trainer  # noqa: E402
from irs_marl_env.training.claims import Actor, ClaimsPolicy, Values  # noqa: E402
from irs_marl_env.training.files import read_tensors, write_tensors  # noqa: E402
from irs_marl_env.training.standings import FEATURES, Sightings, Standings, standing  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

TASK = get_scenario(
    "mdlbi-blocked-small-v0",
    mobility="random_waypoint",
    contention="collision",
    reward="team",
    action="structured",
    observation="large_scale",
    horizon=6,
    num_elements=2,
)


def made(seed=0, scenario=TASK, spread=3.0):
    """An untrained policy whose claims differ much between slots."""
    torch.manual_seed(seed)
    values, actor = Values(scenario.num_irs, 8), Actor(scenario.num_irs, 8)
    with torch.no_grad():
        for weight in actor.parameters():
            weight.copy_(spread * torch.randn(weight.shape))
    return ClaimsPolicy(values, actor, scenario, 8)


@pytest.mark.parametrize(
    ("mine", "others", "claimed", "before", "number"),
    [(1, 0, 1, 1, 0), (0, 1, 0, 0, 1), (0, 0, 0, 0, 2), (0, 0, 0, 1, 3), (0, 0, 1, 0, 4), (0, 0, 1, 1, 5)],
)
def test_standings_by_hand(mine, others, claimed, before, number):
    flags = (np.array([bool(flag)]) for flag in (mine, others, claimed, before))
    assert standing(*flags).tolist() == [number]


def named(held, rho, own=((1, 1), (0, 0)), gain=None):
    """Observations by name of one environment with two BSs."""
    own = np.array([own], np.float32)
    gain = np.zeros((1, 2, np.shape(held)[-1], own.shape[-1]), np.float32) if gain is None else gain
    return {
        "held": np.array([held], np.float32),
        "rho": np.array([rho], np.float32)[:, :, None],
        "own_user": own,
        "irs_gain": gain,
    }


def test_the_memory_of_claims_by_hand():
    """One IRS: BS 1 holds it, BS 0 challenges, BS 1 keeps off, BS 0 holds it, gives it up; then a new episode."""
    memory, no, yes = Standings(), np.array([False]), np.array([True])
    assert memory.see(named([[0], [1]], [[1], [0]]), yes)[0, :, 0].tolist() == [1, 0]
    story = [
        ([True, True], [[0], [0]], [[0], [0]], [4, 5]),  # contested: another held it before, I held it before
        ([False, False], [[0], [0]], [[0], [0]], [2, 3]),  # idle
        ([True, False], [[1], [0]], [[0], [1]], [0, 1]),
        ([False, False], [[0], [0]], [[0], [0]], [3, 2]),
        ([False, True], [[0], [1]], [[1], [0]], [1, 0]),
    ]
    for claims, held, rho, views in story:
        memory.claimed = np.array(claims)[None, :, None]
        assert memory.see(named(held, rho), no)[0, :, 0].tolist() == views
    memory.claimed = np.ones((1, 2, 1), bool)  # of the episode that ended
    assert memory.see(named([[0], [0]], [[0], [0]]), yes)[0, :, 0].tolist() == [3, 2]  # IRS 0 counts as BS 0's


def test_other_irss_held_enter_the_view():
    views = Standings().see(named([[1, 0], [0, 1]], [[0, 1], [1, 0]]), np.array([True]))
    assert views.tolist() == [[[0 * 2 + 0, 1 * 2 + 1], [1 * 2 + 1, 0 * 2 + 0]]]


def test_the_memory_of_users_by_hand():
    """Two users, one IRS: user 1 goes from BS 0 to BS 1 in the second slot. Gains 1 and 10 over the reference."""
    values = np.broadcast_to(np.array([1.0, 3.0]), (1, 2, 2))
    gain = np.array([[[[0.0, 1.0]], [[0.0, 0.0]]]], np.float32)
    later = np.array([[[[0.0, 0.0]], [[0.0, 1.0]]]], np.float32)
    memory, no, yes = Sightings(), np.array([False]), np.array([True])
    first = memory.features(named([[0], [0]], [[0], [0]], gain=gain), values, yes)
    second = memory.features(named([[0], [0]], [[0], [0]], ((1, 0), (0, 1)), later), values, no)
    third = memory.features(named([[0], [0]], [[0], [0]], ((1, 0), (0, 1)), later), values, no)
    level = lambda x: np.log10(0.01 + x)  # noqa: E731
    fade = np.exp(-1 / 8)
    for slot in (first, second, third):
        assert slot.shape == (1, 2, 1, FEATURES)
        np.testing.assert_allclose(slot[0, :, 0, :2], 2.0)  # first and last value of the only IRS
    np.testing.assert_allclose(first[0, :, 0, 2], [level(11.0), level(0.0)], rtol=1e-6)
    np.testing.assert_allclose(second[0, :, 0, 2], [level(1.0), level(10.0)], rtol=1e-6)
    crossed = slice(6, 10)  # left and came, fading; left and came just now
    np.testing.assert_allclose(first[0, :, 0, crossed], -1.0, rtol=1e-6)
    np.testing.assert_allclose(second[0, 0, 0, crossed], [1 + level(10.0), -1, 1 + level(10.0), -1], rtol=1e-6)
    np.testing.assert_allclose(second[0, 1, 0, crossed], [-1, 1 + level(10.0), -1, 1 + level(10.0)], rtol=1e-6)
    np.testing.assert_allclose(third[0, 0, 0, crossed], [1 + level(10 * fade), -1, -1, -1], rtol=1e-6)
    np.testing.assert_allclose(third[0, 1, 0, crossed], [-1, 1 + level(10 * fade), -1, -1], rtol=1e-6)
    np.testing.assert_allclose(second[0, :, 0, 10:13], [[0, -1, 1], [0, 1, -1]])  # share of users, more, left - came
    np.testing.assert_allclose(second[0, :, 0, 13:], [[0, level(1) - level(11)], [0, level(10) - level(0)]], rtol=1e-5)
    np.testing.assert_array_equal(memory.features(named([[0], [0]], [[0], [0]], gain=gain), values, yes), first)


def test_a_base_station_acts_on_its_own_observations_alone():
    env = make_vec_env(TASK, 16, fast=False)
    observations, _ = env.reset(seed=0)
    plain, blind = made().bind(env), made().bind(env)
    for _ in range(4):
        other = observations.copy()
        other[:, 1] = observations[::-1, 1]
        actions = plain(observations)
        np.testing.assert_array_equal(actions[:, 0], blind(other)[:, 0])
        observations = env.step(actions)[0]


def test_single_and_batched_environment_alike_over_two_episodes():
    batch, single = make_vec_env(TASK, 2, fast=False), make_env(TASK, fast=False)
    observations, _ = batch.reset(seed=[1, 6])
    observation, _ = single.reset(seed=6)
    act_batch, act_single = made().bind(batch), made().bind(single)
    for slot in range(12):
        if slot == TASK.horizon:
            observation, _ = single.reset()
        actions, action = act_batch(observations), act_single(observation)
        np.testing.assert_array_equal(actions[1], np.stack([action[agent] for agent in single.possible_agents]))
        observations, observation = batch.step(actions)[0], single.step(action)[0]
    bids = batch.action_codec.layout.slices["bids"]
    assert set(np.unique(actions[..., bids])) <= {-1.0, 1.0}


def test_it_is_evaluated_in_every_slot_and_over_processes():
    policy = made()
    every = evaluate(policy, TASK, 3, 5, progress=False)
    some = evaluate(policy, TASK, 3, 5, every=5, progress=False)
    np.testing.assert_array_equal(every.rates[:, ::5], some.rates)
    copy = pickle.loads(pickle.dumps(policy))
    np.testing.assert_array_equal(evaluate(copy, TASK, 3, 5, progress=False).rates, every.rates)


def test_it_comes_back_from_a_file(tmp_path):
    policy = made(seed=2)
    policy.save(tmp_path / "p.safetensors")
    loaded = load_policy(tmp_path / "p.safetensors", horizon=5)
    assert isinstance(loaded, ClaimsPolicy)
    assert loaded.scenario == TASK.replace(horizon=5)
    loaded = load_policy(tmp_path / "p.safetensors")
    assert (loaded.name, loaded.scenario, loaded.width) == (policy.name, TASK, 8)
    assert np.array_equal(*(evaluate(one, TASK, 3, 5, progress=False).rates for one in (policy, loaded)))
    with pytest.raises(ValueError, match="a policy of another trainer, 'claims': irs_marl_env"):
        trainer.load_policy(tmp_path / "p.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, a: a.pop("width"), "no width in it"),
        (lambda t, a: a.update(width=9), "the networks do not fit num_irs=2, width=9"),
        (lambda t, a: a.update(width=0), "width=0: must be"),
        (lambda t, a: a.update(scenario={"num_users": 0}), "num_users"),
        (lambda t, a: t["actor.seen.bias"].fill_(np.nan), "'actor.seen.bias' holds what is no finite float32 number"),
        (lambda t, a: t.pop("actor.seen.bias"), "the networks do not fit"),
        (lambda t, a: a["scenario"].update(num_irs=64), "the networks do not fit num_irs=64"),  # 2^64 outputs
        (lambda t, a: a["scenario"].update(num_irs=4), "the networks do not fit num_irs=4"),
        (lambda t, a: a.update(name=None), "name=None: must be a text"),
        (lambda t, a: a.update(kind=["claims"]), "kind=['claims']: must be one of claims, foresight"),
        (lambda t, a: a.update(kind="other"), "kind='other': must be one of claims, foresight"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, change, message):
    path = tmp_path / "p.safetensors"
    made().save(path)
    tensors, about = read_tensors(path)
    change(tensors, about)
    write_tensors(path, tensors, about)
    with pytest.raises(ValueError, match=f"(?s){re.escape(str(path))}.*{re.escape(message)}"):
        load_policy(path)


def test_another_environment_is_refused():
    for field, value in (("num_irs", 1), ("observation", "csi"), ("action", "raw"), ("rho", "bids")):
        with pytest.raises(ValueError, match=f"policy 'claims' needs {field}="):
            made().bind(make_vec_env(TASK.replace(**{field: value}), 1, fast=False))
