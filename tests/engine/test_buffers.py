"""``read_only=True``: memory used again behind the caller's back must never show."""

from __future__ import annotations

import gc
import pickle
from typing import Any

import numpy as np
import pytest

from irs_marl_env import make_vec_env

ENVS = 32  # observations of 140 kB: small ones may have fresh memory all the same
SETTINGS: list[dict[str, Any]] = [
    {},
    {"csi": "owned"},
    {"csi": "owned", "association_delay": 1},
    {"csi": "owned", "contention": "collision", "initial_owner": "none"},
    {"csi_error_variance": 0.1, "fading": "ar1", "bs_irs_fading": "frozen"},
    {"num_bs": 3, "num_elements": (3, 5)},  # padded: written as a whole
    {"observation": "large_scale"},
]
each_setting = pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: "-".join(map(str, s.values())) or "default")
each_way = pytest.mark.parametrize("fast", [False, True], ids=["plain", "compiled"])


def pair(fast: bool, setting: dict[str, Any]) -> tuple[Any, Any, np.ndarray]:
    """The same environments with and without ``read_only``, and actions past two ends of an episode."""
    if fast:
        pytest.importorskip("numba")
    options = {"horizon": 5, "speed_mps": 30.0, "fast": fast, **setting}
    fresh, reused = (make_vec_env("mdlbi-small-v0", ENVS, read_only=r, **options) for r in (False, True))
    shape = (12, ENVS, fresh.scenario.num_bs, fresh.action_size)
    return fresh, reused, np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@each_way
@each_setting
def test_observations_are_the_same(setting: dict[str, Any], fast: bool) -> None:
    """Whoever throws each observation away gets the very numbers of fresh memory, as owners and cells change."""
    fresh, reused, actions = pair(fast, setting)
    np.testing.assert_array_equal(fresh.reset(seed=0)[0], reused.reset(seed=0)[0])
    for action in actions:
        expected, actual = fresh.step(action), reused.step(action)
        np.testing.assert_array_equal(actual[0], expected[0])
        np.testing.assert_array_equal(actual[1], expected[1])
        if "final_observation" in expected[4]:
            np.testing.assert_array_equal(actual[4]["final_observation"], expected[4]["final_observation"])
        del actual


@each_way
@each_setting
def test_kept_observations_stay_as_they_are(setting: dict[str, Any], fast: bool) -> None:
    """A replay memory may keep some, all, or parts of observations; more than the pool has buffers."""
    _, reused, actions = pair(fast, setting)
    kept = [reused.reset(seed=0)[0]]
    copies = [kept[0].copy()]
    for t, action in enumerate(actions):
        observation = reused.step(action)[0]
        if t % 3 != 1:
            part = observation[1, :, 5:] if t % 3 == 2 else observation  # a view keeps its memory too
            kept.append(part)
            copies.append(part.copy())
        del observation
        for now, then in zip(kept, copies, strict=True):
            np.testing.assert_array_equal(now, then)
    for i, a in enumerate(kept):
        for b in kept[:i]:
            assert not np.shares_memory(a, b)


def test_memory_is_used_again_and_cannot_be_written() -> None:
    _, reused, actions = pair(True, {})
    places = set()
    for action in actions:
        observation = reused.step(action)[0] if places else reused.reset(seed=0)[0]
        assert not observation.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            observation[0, 0, 0] = 1.0
        places.add(observation.__array_interface__["data"][0])
        del observation
        gc.collect()
    assert len(places) <= 2


@each_way
def test_a_pickled_batch_continues_and_shares_nothing(fast: bool) -> None:
    _, reused, actions = pair(fast, {"csi": "owned"})
    reused.reset(seed=0)
    held = reused.step(actions[0])[0]
    twin = pickle.loads(pickle.dumps(reused))
    for action in actions[1:]:
        a, b = reused.step(action)[0], twin.step(action)[0]
        np.testing.assert_array_equal(a, b)
        assert not np.shares_memory(a, b)
        assert not np.shares_memory(a, held)


@each_way
@pytest.mark.parametrize("csi", ["all", "owned"])
def test_what_callers_write_into_their_observations_is_gone_with_them(csi: str, fast: bool) -> None:
    """Observations are writable unless asked otherwise, and the memory of large ones is used again all the same."""
    if fast:
        pytest.importorskip("numba")
    options = {"fast": fast, "csi": csi, "speed_mps": 30.0}
    written, untouched = (make_vec_env("mdlbi-small-v0", 40, **options) for _ in range(2))
    actions = np.random.default_rng(0).uniform(-1, 1, (8, 40, 2, written.action_size)).astype(np.float32)
    kept = [untouched.reset(seed=0)[0]]
    held, places = [written.reset(seed=0)[0]], []
    for action in actions:
        np.testing.assert_array_equal(held[0], kept[-1])
        places.append(held[0].__array_interface__["data"][0])
        held.pop()[...] = 7.0
        held.append(written.step(action)[0])
        kept.append(untouched.step(action)[0])  # kept, so never memory that was used before
    assert len(set(places)) < len(places)


@each_way
def test_read_only_is_what_it_says_with_and_without_kernels(fast: bool) -> None:
    fresh, reused, _ = pair(fast, {})
    assert fresh.reset(seed=0)[0].flags.writeable
    assert not reused.reset(seed=0)[0].flags.writeable
