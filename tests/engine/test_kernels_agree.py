"""Kernels and plain code from one and the same state, over random scenarios of all options at once.

``docs/performance.md`` states the bound. A phase that stands on the edge between two of the grid of ``phase_bits`` may
fall to either side; rows in which one did are counted, and are few.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario
from irs_marl_env.engine.core import Core
from irs_marl_env.scenario import ScenarioError

pytest.importorskip("numba")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BOUND = 2e-4  # of (1 bit/s/Hz + the rate)
SETS, ROWS = 120, 4


@pytest.fixture
def random_fields(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("random_scenarios").random_fields


def phases(core: Core, state: Any, action: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """What the IRSs really set, ``(E, L, N)``."""
    return core.slot.transmission(state, core.slot.decode(action), owner)[2]


@pytest.mark.parametrize("action_kind", ["raw", "structured"])
def test_rates_agree_from_the_same_state(action_kind: str, random_fields: Any) -> None:
    compared = flipped = many_users = 0
    for seed in range(SETS):
        rng = np.random.default_rng(seed)
        try:
            scenario = Scenario(**{**random_fields(rng, 0.0), "action": action_kind})
        except ScenarioError:  # fields that do not go together
            continue
        plain, compiled = Core(scenario, fast=False), Core(scenario, fast=True)
        streams = plain.streams(seed, ROWS)
        along = np.full((scenario.horizon + 1, scenario.num_users, 2), 1.0) if scenario.mobility == "trace" else None
        state = plain.reset(streams, along)
        shape = (ROWS, scenario.num_bs, plain.action_codec.size)
        action = rng.uniform(-1.2, 1.2, shape).astype(np.float32)
        decided, _ = plain.slot.hand_over(state, plain.slot.auction(action, streams)[1])
        owner = decided if scenario.association_delay == 0 else state.owner
        its, mine = (core.slot.rates(state, action, owner)[0] for core in (plain, compiled))
        off = (np.abs(mine - its) > BOUND * (1 + its)).any(-1)
        if scenario.phase_bits is not None and off.any():
            steps = np.abs(phases(compiled, state, action, owner) - phases(plain, state, action, owner)).max((1, 2))
            on_edge = steps > 1e-3
            flipped += int((off & on_edge).sum())
            off &= ~on_edge
        assert not off.any(), (seed, scenario.to_json())
        compared += ROWS
        many_users += scenario.num_users > scenario.max_antennas
    assert compared > SETS * ROWS / 2
    assert flipped <= 0.01 * compared
    assert many_users > SETS / 4  # where the systems of equations are worst
