"""The release rule: who keeps, challenges and takes an IRS, slot by slot."""

from types import SimpleNamespace

import numpy as np
import pytest

from irs_marl_env import evaluate, get_scenario, make_env, make_vec_env
from irs_marl_env.policies import POLICIES
from irs_marl_env.policies.release import ReleasePolicy
from irs_marl_env.policies.rules import own_gain

TASK = get_scenario(
    "mdlbi-blocked-small-v0", mobility="random_waypoint", contention="collision", reward="team", horizon=20
)
KEPT, LOW, HIGH = 6.0, 2.0, 16.0  # dB: above keep_db; below it; above challenge_db


def claims(gains_db, holder, free, users=None):
    """Claims ``(M,)`` for one IRS whose gains are given, dB over the reference."""
    M = len(gains_db)
    scenario = TASK.replace(num_bs=M, num_irs=1)
    env = make_vec_env(scenario, 1, action="structured", observation="large_scale", fast=False)
    env.reset(seed=0)
    unit = own_gain(SimpleNamespace(scenario=scenario, irs_gain=np.ones((1, 1, 1, 1)), own_user=np.ones((1, 1, 1))))
    own = np.eye(M, dtype=bool) if users is None else np.array(users)[:, None] & np.eye(M, dtype=bool)
    gain = 10 ** (np.array(gains_db) / 10) / unit[0, 0, 0]
    irs_gain = np.broadcast_to(gain[:, None, None], (M, 1, M))[None]  # of every user, also of others': not read
    view = SimpleNamespace(scenario=scenario, irs_gain=irs_gain, own_user=own[None])
    return ReleasePolicy().claims(view, np.array([[holder]]), np.array([[free]]))[0, :, 0].tolist()


@pytest.mark.parametrize(
    ("gains", "holder", "free", "claimed"),
    [
        ([KEPT, KEPT], 0, 0, [True, False]),  # kept, and the other one keeps off
        ([LOW, KEPT], 0, 0, [False, False]),  # given up
        ([KEPT, HIGH], 0, 0, [True, True]),  # challenged
        ([HIGH, HIGH], 0, 1, [False, True]),  # a slot later it is the challenger's
        ([LOW, LOW], 1, 1, [True, False]),  # offered to the other one after it was given up
        ([LOW, LOW], 1, 2, [False, True]),  # and back
        ([HIGH, LOW, HIGH], 0, 1, [False, True, False]),  # three BSs: in turn
        ([HIGH, LOW, HIGH], 0, 2, [False, False, True]),
        ([HIGH, LOW, HIGH], 0, 3, [True, False, False]),
    ],
)
def test_who_claims(gains, holder, free, claimed):
    assert claims(gains, holder, free) == claimed


def test_who_has_no_users_takes_nothing():
    assert claims([HIGH, HIGH], 0, 1, users=[True, False]) == [False, False]


def test_holders_are_followed_through_the_environment():
    """The rule acts in the environment as on a plain record of who held what; a new episode begins anew."""
    env = make_vec_env(POLICIES["release"].adapt(TASK.replace(horizon=7)), 40, fast=False)
    env.reset(seed=3)
    act, bids = POLICIES["release"].bind(env), env.action_codec.layout.slices["bids"]
    contested = 0
    for slot in range(14):
        view = env.view()
        if slot in (0, 7):
            holder, free = view.owner.copy(), np.zeros_like(view.owner)
            assert (holder >= 0).all()
        action = act()
        claimed = action[..., bids] > 0
        np.testing.assert_array_equal(claimed, ReleasePolicy().claims(view, holder, free))
        assert not np.delete(action, np.arange(action.shape[-1])[bids], axis=-1).any()
        alone = claimed.sum(1) == 1
        contested += (claimed.sum(1) == 2).sum()
        holder, free = np.where(alone, claimed.argmax(1), holder), np.where(alone, 0, free + 1)
        env.step(action)
    assert contested  # or the test would show little


def test_without_an_owner_the_first_offers_are_spread_over_the_base_stations():
    env = make_vec_env(POLICIES["release"].adapt(TASK.replace(initial_owner="none", horizon=5)), 16, fast=False)
    env.reset(seed=0)
    act = POLICIES["release"].bind(env)
    for slot in range(11):
        view, action = env.view(), act()
        claimed = action[..., env.action_codec.layout.slices["bids"]] > 0
        env.step(action)
        if slot % 5:
            continue
        np.testing.assert_array_equal(claimed[:, 1, 0], view.own_user[:, 1].any(-1))  # IRS 0 counts as BS 0's last
        np.testing.assert_array_equal(claimed[:, 0, 1], view.own_user[:, 0].any(-1))
        assert not claimed[:, 0, 0].any()
        assert not claimed[:, 1, 1].any()


def test_single_and_batched_environment_alike():
    scenario = POLICIES["release"].adapt(TASK)
    batch, single = make_vec_env(scenario, 2, fast=False), make_env(scenario, fast=False)
    batch.reset(seed=5)
    single.reset(seed=6)
    act_batch, act_single = POLICIES["release"].bind(batch), POLICIES["release"].bind(single)
    for _ in range(6):
        infos = batch.step(act_batch())[-1]
        info = single.step(act_single())[-1]
        np.testing.assert_array_equal(infos["owner"][1], info["bs_0"]["owner"])


def test_it_needs_structured_actions():
    with pytest.raises(ValueError, match=r"'release' needs action='structured', not 'raw'"):
        POLICIES["release"].bind(make_vec_env(TASK.replace(action="raw"), 1, fast=False))


def test_it_is_far_above_owners_that_are_held():
    holding = ReleasePolicy("hold", keep_db=-400.0, challenge_db=400.0)
    task = TASK.replace(horizon=100)
    release, held = (evaluate(one, task, 48, 20_000, every=5, progress=False) for one in ("release", holding))
    gain = release.difference(held)
    assert gain.mean > 4 * gain.standard_error
