"""What a policy may read of a slot, and that it cannot change it; the options under which channels need not exist."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, make_env, make_vec_env
from irs_marl_env.engine.core import Core

SMALL: dict[str, Any] = {"num_users": 5, "num_irs": 3, "num_antennas": 2, "num_elements": 4}


def test_the_view_is_the_slot() -> None:
    """CSI with its errors and the true channels apart; masks, gains and positions of the same slot."""
    scenario = Scenario(**SMALL, csi_error_variance=0.3)
    core = Core(scenario)
    state = core.reset(core.streams(0, 2))
    view = core.view(state)
    for shown, known, true in zip(view.csi, state.csi, state.channels, strict=True):
        np.testing.assert_array_equal(shown, known)
        assert not np.array_equal(shown, true)
    for shown, true in zip(view.channels, state.channels, strict=True):
        np.testing.assert_array_equal(shown, true)
    np.testing.assert_array_equal(view.own_user, state.own_user == 1)
    np.testing.assert_array_equal(view.position, state.motion["position"])
    np.testing.assert_array_equal(view.slot, [0, 0])
    gain = (state.gains.bs_irs[1, 0, 2] * state.gains.irs_user[1, 2, 4]).astype(float) ** 2
    assert view.irs_gain[1, 0, 2, 4] == pytest.approx(gain, rel=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_nothing_that_is_shown_can_be_written_into(backend: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch")
    vec = make_vec_env(Scenario(**SMALL), 2, backend=backend)
    vec.reset(seed=0)
    view = vec.view()
    shown = [view.slot, view.position, view.cell, view.own_user, view.owner, view.irs_gain]
    for array in (*shown, *view.csi, *view.channels, *view.gains):
        assert type(array) is np.ndarray
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_an_old_view_keeps_its_slot() -> None:
    env = make_env(Scenario(**SMALL, speed_mps=20.0))
    env.reset(seed=0)
    view, position = env.view(), env.view().position.copy()
    env.step({agent: np.zeros(env.action_codec.size, np.float32) for agent in env.agents})
    np.testing.assert_array_equal(view.position, position)
    assert not np.array_equal(env.view().position, position)
    assert (view.slot, env.view().slot) == (0, 1)


@pytest.mark.parametrize(
    ("options", "all_exist"),
    [
        ({}, False),
        ({"reflection": "all"}, True),
        ({"inter_cell_interference": True}, True),
        ({"csi": "all"}, True),
        ({"association_delay": 0}, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("fast", [False, None], ids=["plain", "as installed"])
def test_channels_exist_unless_nobody_could_use_them(
    options: dict[str, Any], all_exist: bool, fast: bool | None
) -> None:
    core = Core(Scenario(**{**SMALL, "association_delay": 1, "csi": "owned", **options}), fast=fast)
    state = core.reset(core.streams(0, 3))
    missing = [bool((x == 0).any()) for x in state.channels]
    assert missing == [not all_exist] * 3


def test_a_trace_given_with_reset_bounds_the_episode() -> None:
    env = make_env(Scenario(**SMALL, mobility="trace", horizon=3))
    env.reset(seed=0, options={"trace": np.full((6, 5, 2), 10.0)})
    env.max_cycles = 5  # slots 0 to 5
    with pytest.raises(ValueError, match="horizon=6: must be less than the 6 slots of the trace"):
        env.max_cycles = 6
    assert env.max_cycles == env.scenario.horizon == 5
    slots = 0
    while env.agents:
        env.step({agent: np.zeros(env.action_codec.size, np.float32) for agent in env.agents})
        slots += 1
    assert slots == 5
