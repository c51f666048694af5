"""The fuzz passes a sound package, finds faults that are put into it, and says how to make them again."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, make_vec_env
from irs_marl_env.engine import slot
from irs_marl_env.engine.core import Core
from irs_marl_env.physics import radio
from irs_marl_env.vector_env import MdlbiVectorEnv

pytest.importorskip("tyro")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SOUND = (0, 3)  # seeds of two scenarios, one of which has IRSs and several users


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("fuzz")


def test_a_sound_package_passes(fuzz: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(fuzz.Args(sets=2, seed=SOUND[0], extreme=0.0)) == 0
    text = capsys.readouterr().out
    assert "No violations." in text
    assert "seeds 0 ... 1" in text
    report = fuzz.run_set(SOUND[1], 0.0)
    made = set(fuzz.CHECKS) if len([w for w in fuzz.WAYS if fuzz.find_spec(fuzz.WAYS[w][0])]) > 1 else {"finite"}
    assert all(report.done[check] > 0 for check in made)


_whole_pickle = MdlbiVectorEnv.__getstate__
FAULTS: dict[str, tuple[Any, str, Any]] = {
    "finite": (slot.Slot, "_rates", lambda self, state, w, phi, owner: np.full(state.cell.shape, np.nan, np.float32)),
    "spaces": (MdlbiVectorEnv, "state", lambda self: np.full((self.num_envs, self.state_size), 1e6, np.float32)),
    "constraints": (radio, "power_factor", lambda power, limit, mode="ball": np.full_like(power, 1.5)),
    "row": (
        Core,
        "streams",
        lambda self, seed, n, on=None: self._parts.Streams.from_seed(3 * (seed or 0) + 21, n, np),
    ),
    "pickle": (MdlbiVectorEnv, "__getstate__", lambda self: {**_whole_pickle(self), "_ends": self._ends + 1}),
    "state": (MdlbiVectorEnv, "set_state", lambda self, saved: self.reset(seed=12345)),
    "silent": (MdlbiVectorEnv, "state", lambda self: 1 / 0),
}


@pytest.mark.parametrize("check", FAULTS)
def test_faults_are_found(check: str, fuzz: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "WAYS", {"plain": fuzz.WAYS["plain"]})
    seeds = [seed for seed in range(40) if suits(fuzz, seed)][:3]
    assert not any(fuzz.run_set(seed, 0.0).lines for seed in seeds)
    owner, name, fault = FAULTS[check]
    monkeypatch.setattr(owner, name, fault)
    assert any(fuzz.run_set(seed, 0.0).failed[check] for seed in seeds)


def suits(fuzz: Any, seed: int) -> bool:
    """Several slots, raw beams, IRSs."""
    try:
        s = fuzz.Fuzzed(seed, 0.0).scenario
    except ValueError:
        return False
    return bool(s.horizon > 2 and s.action == "raw" and s.num_irs)


def test_a_step_that_differs_is_found(fuzz: Any) -> None:
    """The comparison itself, on a step of which one number is changed."""
    seed = next(filter(lambda seed: suits(fuzz, seed), range(40)))
    fuzzed = fuzz.Fuzzed(seed, 0.0)
    env = fuzzed.make("plain")
    given = fuzz.actions(env, 5)
    env.reset(seed=5)
    step = fuzz.by_name(env.step(given[0]))
    views = [env.view(), env.view()]

    def lines(**changes: Any) -> list[str]:
        again = fuzz.Fuzzed(seed, 0.0)
        again.compare("torch", "slot 0", {**step, **changes}, step, [], views)
        return again.report.lines

    assert not lines()
    rates = step["rates"].copy()
    rates[1, 0] += 0.01
    assert f"rates[1, 0] = {rates[1, 0]:.6g}, plain {step['rates'][1, 0]:.6g}" in lines(rates=rates)[0]
    for name in ("rewards", "observations", "power_w"):
        assert name in lines(**{name: step[name] + 0.5})[0]
    assert "owner" in lines(owner=step["owner"] + 1)[0]


def test_violations_are_lines_of_code(fuzz: Any) -> None:
    for seed in range(20):
        try:
            fuzzed = fuzz.Fuzzed(seed, 0.1)
        except ValueError:
            continue
        fuzzed.note("same", "plain", "what is and what should be")
        (line,) = fuzzed.report.lines
        assert line.endswith(f"# seed {seed}: same: what is and what should be")
        env = eval(line, {"make_vec_env": make_vec_env})
        assert env.scenario == fuzzed.scenario
        assert env.num_envs == fuzz.ROWS


def test_bounds(fuzz: Any) -> None:
    def agree(a: float, b: float) -> bool:
        return bool(fuzz.rates_agree(np.array([a]), np.array([b]))[0])

    assert agree(0.0, 0.0)
    assert agree(5.0, 5.005)
    assert not agree(5.0, 5.01)
    assert not agree(0.0, 0.002)
    assert agree(60.0, 50.0)  # signals of 180 and 150 dB above noise and interference
    assert not agree(60.0, 30.0)


def test_phases_on_an_edge_of_the_grid_are_told_from_others(fuzz: Any) -> None:
    s = Scenario(phase_bits=2)
    edge = np.array([[[0.5, 0.2]], [[0.5, 0.2]], [[0.5, 0.2]], [[1.9999, 0.2]]])
    other = edge + np.array([1e-4, 0.0]) * np.array([-1, 1, 1, 1])[:, None, None]
    other[1, 0, 1] = 1.2  # another phase altogether
    other[2] = edge[2] + 1e-5  # the same
    other[3, 0, 0] -= 4.0  # a whole turn
    assert fuzz.on_edges(s, edge + 1e-5, other).tolist() == [True, False, False, False]


def test_every_field_is_drawn(fuzz: Any) -> None:
    drawn: dict[str, set[str]] = {}
    refused = 0
    for seed in range(300):
        fields = fuzz.random_fields(np.random.default_rng(seed))
        for name, value in fields.items():
            drawn.setdefault(name, set()).add(repr(value))
        try:
            Scenario(**fields)
        except ValueError:
            refused += 1
    for field in dataclasses.fields(Scenario):
        if field.name not in ("channels", "channel_model"):  # arrays and objects: test_recordings.py, test_own_parts.py
            assert len(drawn[field.name]) > 1, field.name
    assert refused < 60
    assert fuzz.random_fields(np.random.default_rng(7)) == fuzz.random_fields(np.random.default_rng(7))
