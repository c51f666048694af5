"""The rule of quiet cells: who is silent, and what that means."""

import numpy as np
import pytest

from irs_marl_env import get_scenario, make_env, make_vec_env
from irs_marl_env.policies import POLICIES

TASK = get_scenario("mdlbi-interference-v0", num_users=6, num_elements=4, horizon=6)
QUIET = POLICIES["quiet-marginal"]


def begun(num_envs=48, **fields):
    env = make_vec_env(QUIET.adapt(TASK.replace(**fields)), num_envs, fast=False)
    env.reset(seed=4)
    return env


@pytest.mark.parametrize("num_bs", [2, 3])
def test_cells_with_less_than_an_equal_share_are_silent(num_bs):
    env = begun(num_bs=num_bs)
    load = env.view().own_user.sum(-1)
    action = QUIET.bind(env)()
    _, _, _, _, infos = env.step(action)
    equal = 6 / num_bs
    assert {"less", "equal", "more"} == {("less", "equal", "more")[int(np.sign(n - equal)) + 1] for n in load.ravel()}
    assert (infos["power_w"][load < equal] == 0).all()
    np.testing.assert_allclose(infos["power_w"][load >= equal], TASK.tx_power_w, rtol=1e-4)
    rows = np.indices(infos["owner"].shape)[0]
    assert (load[rows, infos["owner"]] >= equal).all()


def test_those_who_are_not_silent_bid_their_marginal_rates():
    env = begun()
    loud = env.view().own_user.sum(-1) >= 3
    bids = env.action_codec.layout.slices["bids"]
    marginal = POLICIES["structured-marginal"].bind(env)()[..., bids]
    found = QUIET.bind(env)()[..., bids]
    np.testing.assert_array_equal(found[loud], marginal[loud])
    assert (found[~loud] == -1).all()


def test_single_and_batched_environment_alike():
    batch, single = begun(2), make_env(QUIET.adapt(TASK), fast=False)
    batch.reset(seed=[1, 6])
    single.reset(seed=6)
    action = QUIET.bind(single)()
    np.testing.assert_array_equal(QUIET.bind(batch)()[1], np.stack([action[a] for a in single.possible_agents]))


def test_every_scenario_gets_power_control():
    adapted = QUIET.adapt(get_scenario("mdlbi-small-v0"))
    assert (adapted.power_control, adapted.action) == (True, "structured")


def test_scenarios_without_csi_are_refused():
    with pytest.raises(ValueError, match="csi='owned' must be 'all'"):
        QUIET.adapt(TASK.replace(csi="owned"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"action": "raw"}, "needs action='structured', not 'raw'"),
        ({}, "needs power_control=True, not False"),
    ],
)
def test_other_actions_are_refused(fields, message):
    scenario = TASK.replace(**{"power_control": False, **fields})
    with pytest.raises(ValueError, match=message):
        QUIET.bind(make_vec_env(scenario, 1, fast=False))
