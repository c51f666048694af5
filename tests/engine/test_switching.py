"""IRSs that are idle for some slots after they change hands: who owns them, what is seen of it, saved states."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np
import pytest

from irs_marl_env import Scenario, make_env, make_vec_env
from irs_marl_env.policies import policy

SIZES: dict[str, Any] = {"num_users": 3, "num_irs": 2, "num_antennas": 2, "num_elements": 3, "horizon": 40}
WAYS = ["plain", "compiled", "torch"]


def batch(way: str, num_envs: int = 3, **options: Any) -> Any:
    if way == "torch":
        pytest.importorskip("torch")
        return make_vec_env(Scenario(**{**SIZES, **options}), num_envs, backend="torch")
    if way == "compiled":
        pytest.importorskip("numba")
    return make_vec_env(Scenario(**{**SIZES, **options}), num_envs, fast=way == "compiled")


def actions(env: Any, bids: Any) -> Any:
    """Actions ``(E, M, D_a)`` of these bids and nothing else."""
    flat = np.zeros((env.num_envs, env.scenario.num_bs, env.action_size), np.float32)
    flat[..., env.action_codec.layout.slices["bids"]] = bids
    return env._xp.asarray(flat)


def owners(env: Any, winners: list[int | None]) -> list[int]:
    """The owner of the only IRS in the slots in which these BSs bid for it alone; ``None``: nobody claims it."""
    found = []
    for winner in winners:
        bids = [[0.5 if m == winner else -0.5] for m in range(env.scenario.num_bs)]
        found.append(int(env.step(actions(env, bids))[4]["owner"][0, 0]))
    return found


@pytest.mark.parametrize("way", WAYS)
def test_by_hand(way: str) -> None:
    """The first holder serves at once, a change costs two slots, and another one begins them anew."""
    one: dict[str, Any] = {"num_irs": 1, "switching_slots": 2, "contention": "priority"}
    env = batch(way, 1, **one)
    env.reset(seed=0)
    first = int(env.view().holder[0, 0])
    other = 1 - first
    wins = [first, other, other, other, first, other, other, other]
    assert owners(env, wins) == [first, -1, -1, other, -1, -1, -1, other]
    # an IRS that nobody wins keeps its holder, and its time goes on
    assert owners(env, [None, other, first, None, first]) == [-1, other, -1, -1, first]
    late = batch(way, 1, **one, association_delay=1)  # the same, a slot later
    late.reset(seed=0)
    assert owners(late, [*wins, 0]) == [first, first, -1, -1, other, -1, -1, -1, other]
    nobody = batch(way, 1, **one, initial_owner="none")  # who is first has to wait, too
    nobody.reset(seed=0)
    assert owners(nobody, [None, 1, 1, 1]) == [-1, -1, -1, 1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("contention", ["auction", "collision", "priority"])
@pytest.mark.parametrize("delay", [0, 1])
def test_owners_and_what_is_seen_of_them_equal_loops(way: str, contention: str, delay: int) -> None:
    env = batch(way, num_bs=3, switching_slots=2, contention=contention, association_delay=delay,
                observation="large_scale", action="structured", rho="owner")  # fmt: skip
    env.reset(seed=1)
    hands = [naive.Hands(row.tolist(), 2) for row in env.view().owner]
    rng, seen = np.random.default_rng(0), []
    acting = env.view().owner.tolist()
    for _ in range(25):
        bids = rng.uniform(-1, 1, (3, 3, 2)).astype(np.float32)
        decided = [naive.owners(row, contention) for row in bids]
        if delay == 1:
            expected = acting
            for row in hands:
                row.pass_slot()
        acting = [row.decide(won) for row, won in zip(hands, decided, strict=True)]
        if delay == 0:
            expected = acting
            for row in hands:
                row.pass_slot()
        observations, _, _, _, infos = env.step(actions(env, bids))
        assert np.asarray(infos["owner"]).tolist() == expected
        named = {name: np.asarray(x) for name, x in env.observation_codec.decode(observations).items()}
        holder = np.array([row.holder for row in hands])
        np.testing.assert_array_equal(named["held"], holder[:, None] == np.arange(3)[:, None])
        for m in range(3):
            others = [j for j in range(3) if j != m]
            np.testing.assert_array_equal(named["rho"][:, m], holder[:, None] == np.array(others)[:, None])
            np.testing.assert_array_equal(named["switching"][:, m], [[w / 2 for w in row.waits] for row in hands])
        state = env.state_encoder.blocks(np.asarray(env.state()))
        np.testing.assert_array_equal(state["owner"], named["held"])
        np.testing.assert_array_equal(state["switching"], named["switching"][:, 0])
        assert env.view().holder.tolist() == holder.tolist()
        assert env.view().idle.tolist() == [row.waits for row in hands]
        seen.append(named["switching"])
    assert {0.0, 0.5} <= set(np.unique(seen)) <= {0.0, 0.5, 1.0}


def test_an_idle_irs_does_not_reflect() -> None:
    """Rates while everything is idle are those of a system whose IRSs nobody won."""
    env = batch("plain", 2, switching_slots=3, action="structured", bs_irs_exponent=2.0, blockage_db=60.0)
    idle = batch("plain", 2, contention="collision", action="structured", bs_irs_exponent=2.0, blockage_db=60.0)
    env.reset(seed=0)
    idle.reset(seed=0)
    holder = env.view().holder
    bids = np.where(holder[:, None] == np.arange(2)[:, None], -1.0, 1.0)  # for what the other one holds
    for _ in range(3):
        found = env.step(actions(env, bids))[4]
        np.testing.assert_array_equal(found["rates"], idle.step(actions(idle, -1.0))[4]["rates"])
    served, unserved = env.step(actions(env, bids))[4], idle.step(actions(idle, -1.0))[4]
    assert (served["sum_rate"].sum(1) > 2 * unserved["sum_rate"].sum(1)).all()


@pytest.mark.parametrize("way", ["plain", "compiled"])
def test_csi_observations_have_the_share_and_the_irss_held(way: str) -> None:
    env = batch(way, csi="owned", switching_slots=4, observation="csi")
    observations, _ = env.reset(seed=0)
    assert env.observation_codec.layout.shapes["switching"] == (2,)
    won = np.where(env.view().holder[:, None] == np.arange(2)[:, None], -0.5, 0.5)  # change hands, all
    observations = env.step(actions(env, won))[0]
    named = env.observation_codec.decode(observations)
    np.testing.assert_array_equal(named["switching"], np.full((3, 2, 2), 0.75))
    held = env.view().holder[:, None] == np.arange(2)[:, None]
    np.testing.assert_array_equal((named["G"] != 0).all((-1, -2)), held)  # measured while it is idle
    np.testing.assert_allclose(env.observation_codec.encode(named), observations, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(env.observation_codec.high[env.observation_codec.layout.slices["switching"]], 1.0)


def test_channels_of_irss_that_are_measured_exist() -> None:
    """With delay 1 and CSI of held IRSs no other channels are made, and the rates are those of a system with all."""
    options: dict[str, Any] = {"association_delay": 1, "csi": "owned", "switching_slots": 2, "action": "structured"}
    env, rng = batch("plain", **options), np.random.default_rng(0)
    env.reset(seed=0)
    for _ in range(6):
        env.step(actions(env, rng.uniform(-1, 1, (3, 2, 2))))
        named = env.observation_codec.decode(env.observe())
        held = env.view().holder[:, None] == np.arange(2)[:, None]
        np.testing.assert_array_equal((named["G"] != 0).all((-1, -2)), held)


# --- saved states, policies, bounds -----------------------------------------------------------------------------------


def saved_in_the_middle() -> tuple[Any, dict[str, Any]]:
    env = batch("plain", switching_slots=3)
    env.reset(seed=0)
    env.step(actions(env, np.where(env.view().holder[:, None] == np.arange(2)[:, None], -0.5, 0.5)))
    return env, env.get_state()


def test_a_saved_state_goes_on() -> None:
    env, saved = saved_in_the_middle()
    assert saved["switching.idle"].tolist() == [[2, 2]] * 3
    other = batch("plain", switching_slots=3)
    other.set_state(saved)
    rng = np.random.default_rng(3)
    for _ in range(6):
        action = actions(env, rng.uniform(-1, 1, (3, 2, 2)))
        for x, y in zip(env.step(action)[:2], other.step(action)[:2], strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("switching.idle", 4, r"state\['switching.idle'\]\[0, 1\]=4: must be in \[0, 3\]"),
        ("switching.holder", 2, r"state\['switching.holder'\]\[0, 1\]=2: must be in \[-1, 1\]"),
        ("owner", 0, r"state\['owner'\]\[0, 1\]=0: must be -1 "),
    ],
)
def test_impossible_states_are_refused(name: str, value: int, message: str) -> None:
    env, saved = saved_in_the_middle()
    before = env.get_state()
    saved[name][0, 1] = value
    with pytest.raises(ValueError, match=message):
        env.set_state(saved)
    np.testing.assert_array_equal(env.get_state()["owner"], before["owner"])


def test_an_owner_who_is_not_the_holder_is_refused() -> None:
    env, saved = saved_in_the_middle()
    saved["switching.idle"][:] = 0
    saved["owner"][:] = 1 - saved["switching.holder"]
    with pytest.raises(ValueError, match=r"state\['owner'\]\[0, 0\]=\d: must be -1 or as state\['switching.holder'\]"):
        env.set_state(saved)


@pytest.mark.parametrize("delay", [0, 1])
def test_policies_make_beams_for_the_owners_that_act(monkeypatch: pytest.MonkeyPatch, delay: int) -> None:
    asked = []

    def optimised(cells: Any, owner: np.ndarray, memory: Any) -> Any:
        asked.append(owner[0].tolist())
        return right(cells, owner, memory)

    right = policy._optimised
    monkeypatch.setattr(policy, "_optimised", optimised)
    chosen = policy.POLICIES["random-ao"]
    scenario = chosen.adapt(Scenario(**SIZES, switching_slots=2, association_delay=delay))
    env = make_env(scenario, fast=False)
    act = chosen.bind(env)
    env.reset(seed=3)
    acted = [env.step(act())[4]["bs_0"]["owner"].tolist() for _ in range(12)]
    assert asked == acted
    assert -1 in np.ravel(acted)
    assert (np.array(acted) >= 0).any()


def test_no_switching_leaves_state_and_spaces_as_they_are() -> None:
    env = make_env("mdlbi-small-v0", fast=False, observation="large_scale")
    env.reset(seed=0)
    assert not any("switching" in name for name in env.get_state())
    assert "switching" not in env.observation_codec.layout.shapes
    assert "switching" not in env.state_encoder.layout.shapes
    assert (env.view().idle == 0).all()
    assert (env.view().holder == env.view().owner).all()


def test_the_field_is_checked() -> None:
    with pytest.raises(ValueError, match="switching_slots=-1: must be"):
        Scenario(switching_slots=-1)
