"""``DiscreteBids`` is the single environment with the bids that a choice stands for, in the words of PettingZoo."""

from __future__ import annotations

import itertools
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo.utils.conversions import parallel_to_aec

with warnings.catch_warnings():  # of PettingZoo 1.27 about itself
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import api_test, parallel_api_test, seed_test

from irs_marl_env import Scenario, make_env
from irs_marl_env.adapters.discrete import BidLevels, DiscreteBids

FIELDS: dict[str, Any] = {"action": "structured", "observation": "large_scale", "horizon": 5}
SIZES = {"joint": (2, 3), "each": (7, 4)}  # IRSs, levels


def make(num_irs: int, levels: int, **options: Any) -> DiscreteBids:
    return DiscreteBids(make_env("mdlbi-small-v0", fast=False, num_irs=num_irs, **FIELDS), levels, **options)


def test_spaces() -> None:
    assert make(2, 3).action_space("bs_0") == spaces.Discrete(9)
    assert make(6, 4).action_space("bs_0") == spaces.Discrete(4096)
    several = make(7, 4).action_space("bs_1")
    assert isinstance(several, spaces.MultiDiscrete)
    assert several.nvec.tolist() == [4] * 7
    for env in (make(2, 3), make(7, 4)):
        assert env.action_space("bs_0") is env.action_space("bs_0")
        assert env.action_spaces["bs_1"] is env.action_space("bs_1")
        assert env.observation_spaces["bs_1"] is env.observation_space("bs_1")
        assert env.action_space("bs_0") is not env.action_space("bs_1")


def test_what_a_number_means() -> None:
    scenario = Scenario(action="structured", num_irs=3)
    actions = BidLevels(scenario, 3).actions(np.arange(27))
    assert actions.dtype == np.float32
    assert actions[:, :3].tolist() == [list(bids) for bids in itertools.product((-1, 0, 1), repeat=3)]
    assert not actions[:, 3:].any()
    each = BidLevels(scenario.replace(num_irs=13), 2).actions(np.array([[0, 1] * 6 + [1]]))
    assert each[0, :13].tolist() == [-1, 1] * 6 + [1]


@pytest.mark.parametrize(("num_irs", "levels"), SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("masks", [True, False])
def test_it_is_the_environment_with_those_bids(num_irs: int, levels: int, masks: bool) -> None:
    env, plain = (
        make(num_irs, levels, action_mask=masks),
        make_env("mdlbi-small-v0", num_irs=num_irs, fast=False, **FIELDS),
    )
    rng, values = np.random.default_rng(0), np.linspace(-1, 1, levels)
    for seed in (3, 4):
        seen, infos = env.reset(seed=seed)
        expected, _ = plain.reset(seed=seed)
        check(env, seen, infos, expected, {agent: {} for agent in expected}, masks)
        while env.agents:
            level = rng.integers(levels, size=(2, num_irs))
            power = levels ** np.arange(num_irs)[::-1]
            chosen = level @ power if env.levels.joint else level
            action = np.zeros((2, plain.action_codec.size), np.float32)
            action[:, :num_irs] = values[level]
            seen, rewards, terminations, truncations, infos = env.step(dict(zip(env.agents, chosen, strict=True)))
            expected, *rest, its = plain.step(dict(zip(plain.agents, action, strict=True)))
            assert (rewards, terminations, truncations) == tuple(rest)
            check(env, seen, infos, expected, its, masks)
            np.testing.assert_array_equal(env.state(), plain.state())
        assert not plain.agents


def check(env: DiscreteBids, seen: Any, infos: Any, expected: Any, its: Any, masks: bool) -> None:
    for agent, observation in seen.items():
        assert env.observation_space(agent).contains(observation)
        info = dict(infos[agent])
        if masks:
            choices = env.action_space(agent)
            for mask in (observation["action_mask"], info.pop("action_mask")):
                assert mask.dtype == np.int8
                assert mask.tolist() == [1] * (choices.n if env.levels.joint else choices.nvec.sum())
                assert choices.contains(choices.sample(mask))
                mask[:] = 0  # whoever writes into it reaches no later one
            observation = observation["observation"]
        np.testing.assert_array_equal(observation, expected[agent])
        assert list(info) == list(its[agent])
        for name, value in info.items():
            np.testing.assert_array_equal(value, its[agent][name])


def test_a_mask_of_many_choices_holds() -> None:
    space = make(7, 4).action_space("bs_0")
    mask = np.zeros((7, 4), np.int8)
    mask[np.arange(7), [0, 1, 2, 3, 2, 1, 0]] = 1
    assert space.sample(mask.ravel()).tolist() == [0, 1, 2, 3, 2, 1, 0]
    assert space.sample(tuple(mask)).tolist() == [0, 1, 2, 3, 2, 1, 0]


@pytest.mark.parametrize(("num_irs", "levels"), SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("masks", [True, False])
def test_pettingzoo(num_irs: int, levels: int, masks: bool) -> None:
    parallel_api_test(make(num_irs, levels, action_mask=masks), num_cycles=12)
    with warnings.catch_warnings():
        for text in (".*probably should be gymnasium.spaces.*", "Observation is not a NumPy array"):
            warnings.filterwarnings("ignore", text)  # Dict and MultiDiscrete are meant
        api_test(parallel_to_aec(make(num_irs, levels, action_mask=masks)), num_cycles=12)
    seed_test(lambda: parallel_to_aec(make(num_irs, levels, action_mask=masks)), num_cycles=12)


def test_pickles_go_on() -> None:
    env = make(2, 3)
    env.reset(seed=0)
    copied = pickle.loads(pickle.dumps(env))
    chosen = dict.fromkeys(env.agents, 4)
    assert env.step(chosen)[1] == copied.step(chosen)[1]
    assert env.action_space("bs_0") == copied.action_space("bs_0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action": "raw"}, "action='raw': must be 'structured'"),
        ({"num_irs": 0}, "num_irs=0: must be at least 1"),
    ],
)
def test_scenarios_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiscreteBids(make_env("mdlbi-small-v0", **{**FIELDS, **options}), 3)


@pytest.mark.parametrize("levels", [1, 2.5, True, None])
def test_levels_that_are_none(levels: Any) -> None:
    with pytest.raises(ValueError, match=f"levels={levels}: must be"):
        make(2, levels)


@pytest.mark.parametrize("choice", [-1, 9, 1.5, True, None, [0, 1], np.zeros(2, int), "0"])
def test_choices_that_are_none(choice: Any) -> None:
    env = make(2, 3)
    env.reset(seed=0)
    before = env.state()
    with pytest.raises(ValueError, match=r"actions\['bs_1'\]=.*: must be in Discrete\(9\)"):
        env.step({"bs_0": 0, "bs_1": choice})
    np.testing.assert_array_equal(env.state(), before)
    with pytest.raises(ValueError, match="must name exactly"):
        env.step({"bs_0": 0, "bs_7": 0})
    with pytest.raises(ValueError, match="actions must be a dict"):
        env.step([0, 0])  # type: ignore[arg-type]


@pytest.mark.parametrize("choice", [[0] * 6 + [4], [0] * 6, [0.0] * 7, 3])
def test_choices_of_each_irs_that_are_none(choice: Any) -> None:
    env = make(7, 4)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions\['bs_0'\]=.*: must be in MultiDiscrete"):
        env.step({"bs_0": choice, "bs_1": [0] * 7})


def test_through_the_wrapper_of_torchrl() -> None:
    with warnings.catch_warnings():  # of TorchRL about its own dependencies
        warnings.simplefilter("ignore")
        envs = pytest.importorskip("torchrl.envs")
        env = envs.PettingZooWrapper(make(2, 3), use_mask=False)
        steps = env.rollout(12, break_when_any_done=False)
    assert steps["next", "done"].flatten().tolist() == [t % 5 == 4 for t in range(12)]
    assert steps["bs", "action_mask"].shape == (12, 2, 9)
    assert steps["bs", "action_mask"].all()
