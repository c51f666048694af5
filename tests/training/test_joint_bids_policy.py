"""Agents whose bids fit together: their policy in evaluate, in a loop and in a file."""

import pickle
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")

from irs_marl_env import evaluate, get_scenario, load_policy, make_env, make_vec_env  # noqa: E402
from irs_marl_env.training import policy as trainer  # noqa: E402
from irs_marl_env.training.files import read_tensors, write_tensors  # noqa: E402
from irs_marl_env.training.joint_bids import Actor, JointBidsPolicy, seen  # noqa: E402

SMALL = {"num_users": 10, "num_elements": 2, "horizon": 6}
TASK = get_scenario("mdlbi-interference-v0", observation="values", **SMALL)


def made(scenario=TASK, seed=0, of_cell=True):
    """An untrained policy whose bids and powers differ much."""
    torch.manual_seed(seed)
    actor = Actor(scenario.num_bs, scenario.num_irs, scenario.observation == "values", of_cell, 8)
    with torch.no_grad():
        for weight in actor.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape))
    return JointBidsPolicy(actor, scenario)


def test_own_users_come_first():
    env = make_vec_env(TASK.replace(num_bs=3), 3, fast=False)
    observations, _ = env.reset(seed=1)
    s, view = seen(torch.from_numpy(observations), env.observation_codec.layout, env.scenario), env.view()
    np.testing.assert_array_equal(s.own.sum(-1).numpy(), view.own_user.sum(-1))
    named = env.observation_codec.decode(observations)
    for row, bs in np.ndindex(3, 3):
        users = np.nonzero(view.own_user[row, bs])[0]
        np.testing.assert_array_equal(s.over[row, bs, : len(users)].numpy(), named["irs_gain"][row, bs][:, users].T)
    assert s.own.shape[-1] == 8
    np.testing.assert_allclose(s.worth[..., 1].numpy(), observations[..., -4:] / 5.0, rtol=1e-6)


def test_who_is_off_radiates_nothing_and_wins_nothing():
    env = make_vec_env(TASK, 24, fast=False)
    observations, _ = env.reset(seed=0)
    policy = made()
    s = seen(torch.from_numpy(observations), env.observation_codec.layout, TASK)
    with torch.no_grad():
        policy.actor.power[-1].bias -= policy.actor(s)[1].median()  # so that half of them are on
        on = policy.actor(s)[1].numpy() > 0
    infos = env.step(policy.bind(env)(observations))[4]
    assert (infos["power_w"][~on] == 0).all()
    one = on.sum(1) == 1
    assert one.any()
    assert (infos["owner"][one] == on[one].argmax(1)[:, None]).all()


def test_a_base_station_acts_on_its_own_observations_alone():
    env = make_vec_env(TASK, 8, fast=False)
    observations, _ = env.reset(seed=0)
    other = observations.copy()
    other[:, 1] = observations[::-1, 1]
    act = made().bind(env)
    np.testing.assert_array_equal(act(observations)[:, 0], act(other)[:, 0])


def test_single_and_batched_environment_alike():
    batch, single = make_vec_env(TASK, 2, fast=False), make_env(TASK, fast=False)
    observations, _ = batch.reset(seed=[1, 6])
    observation, _ = single.reset(seed=6)
    action = made().bind(single)(observation)
    actions = made().bind(batch)(observations)
    np.testing.assert_allclose(actions[1], np.stack([action[a] for a in single.possible_agents]), atol=1e-5)


@pytest.mark.parametrize("of_cell", [True, False])
@pytest.mark.parametrize("fields", [{}, {"observation": "large_scale", "power_control": False}])
def test_it_comes_back_from_a_file_and_from_a_pickle(tmp_path, fields, of_cell):
    scenario = TASK.replace(**fields)
    policy = made(scenario, of_cell=of_cell)
    policy.save(tmp_path / "p.safetensors")
    loaded = load_policy(tmp_path / "p.safetensors")
    assert (loaded.name, loaded.scenario) == (policy.name, scenario)
    assert load_policy(tmp_path / "p.safetensors", horizon=5).scenario == scenario.replace(horizon=5)
    rates = [evaluate(one, scenario, 2, 5, progress=False).rates for one in (policy, loaded)]
    rates.append(evaluate(pickle.loads(pickle.dumps(policy)), scenario, 2, 5, progress=False).rates)
    np.testing.assert_array_equal(rates[0], rates[1])
    np.testing.assert_array_equal(rates[0], rates[2])
    with pytest.raises(ValueError, match="a policy of another trainer, 'joint-bids': irs_marl_env"):
        trainer.load_policy(tmp_path / "p.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, a: a.pop("width"), "no width in it"),
        (lambda t, a: a.update(width=9), "the network does not fit num_bs=2, num_irs=4, width=9"),
        (lambda t, a: a.update(width=0), "width=0: must be"),
        (lambda t, a: a.update(name=None), "name=None: must be"),
        (lambda t, a: a.update(scenario={"num_users": 0}), "num_users"),
        (lambda t, a: t["base"].fill_(np.nan), "'base' holds what is no finite float32 number"),
        (lambda t, a: t.pop("base"), "the network does not fit"),
        (lambda t, a: a.update(kind="other"), "kind='other': must be one of claims, foresight, joint-bids"),
        (lambda t, a: a.update(kind=["joint-bids"]), "kind=['joint-bids']: must be one of"),
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
    for field, value in (("num_irs", 1), ("observation", "large_scale"), ("power_control", False)):
        fields = {field: value} if field != "num_irs" else {"num_irs": 1, "irs_positions_m": None}
        with pytest.raises(ValueError, match=f"policy 'joint-bids' needs {field}="):
            made().bind(make_vec_env(TASK.replace(**fields), 1, fast=False))
