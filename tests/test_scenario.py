"""The scenario: presets, validation messages, JSON, digest."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irs_marl_env import Scenario, get_scenario, make_env, scenario_ids

SIZES = {  # id: M, K, L, Nb, N, T, blockage [dB]
    "mdlbi-v0": (2, 10, 4, 8, 32, 800, 20.0),
    "mdlbi-small-v0": (2, 4, 2, 4, 16, 100, 20.0),
    "mdlbi-blocked-v0": (2, 10, 4, 8, 32, 800, 35.0),
    "mdlbi-blocked-small-v0": (2, 4, 2, 4, 16, 100, 35.0),
    "mdlbi-k30-v0": (2, 30, 4, 8, 32, 800, 20.0),
    "mdlbi-large-v0": (8, 128, 32, 16, 64, 800, 20.0),
    "mdlbi-collision-v0": (2, 4, 2, 4, 16, 100, 35.0),
    "mdlbi-switching-v0": (2, 4, 2, 4, 16, 100, 35.0),
    "mdlbi-interference-v0": (2, 12, 4, 4, 64, 100, 35.0),
    "mdlbi-city-v0": (8, 80, 16, 4, 64, 100, 35.0),
}
TASKS: dict[str, dict[str, Any]] = {  # what makes each task
    "mdlbi-collision-v0": {"mobility": "random_waypoint", "contention": "collision"},
    "mdlbi-switching-v0": {"mobility": "random_waypoint", "switching_slots": 4, "observe_velocity": True},
    "mdlbi-interference-v0": {"inter_cell_interference": True, "reflection": "all", "power_control": True},
    "mdlbi-city-v0": {"contention": "auction", "mobility": "random_waypoint"},
}


def space_sizes(s: Scenario) -> tuple[int, int]:
    """D_o and D_a, from the sizes alone."""
    if s.observation == "large_scale":
        M, K, L = s.num_bs, s.num_users, s.num_irs
        D_o = 2 * K + L * K + L + (M - 1) * L + (L if s.switching_slots else 0) + (4 * K if s.observe_velocity else 0)
        return D_o, L + L * K + K + 1 + s.power_control
    M, K, L, Nb, total = s.num_bs, s.num_users, s.num_irs, s.num_antennas, sum(s.elements)
    return 2 * K * Nb + 2 * total * Nb + 2 * K * total + (M - 1) * L, 2 * K * Nb + total + L


# --- presets -----------------------------------------------------------------------------------------------------


def test_every_preset_is_listed() -> None:
    assert set(scenario_ids()) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_preset_sizes(name: str) -> None:
    s = get_scenario(name)
    sizes = (s.num_bs, s.num_users, s.num_irs, s.num_antennas, s.num_elements, s.horizon, s.blockage_db)
    assert sizes == SIZES[name]


@pytest.mark.parametrize("name", TASKS)
def test_tasks_are_what_their_names_say(name: str) -> None:
    common = {"reward": "team", "action": "structured", "observation": "large_scale"}
    s = get_scenario(name)
    assert {field: getattr(s, field) for field in (common | TASKS[name])} == common | TASKS[name]


@pytest.mark.parametrize("name", SIZES)
def test_space_sizes_follow_the_formula(name: str) -> None:
    env = make_env(name)
    D_o, D_a = space_sizes(env.scenario)
    for agent in env.possible_agents:
        assert env.observation_space(agent).shape == (D_o,)
        assert env.action_space(agent).shape == (D_a,)


def test_space_sizes_of_the_default() -> None:
    env = make_env("mdlbi-v0")
    assert env.observation_space("bs_0").shape == (4772,)
    assert env.action_space("bs_0").shape == (292,)


def test_space_sizes_of_the_other_forms() -> None:
    env = make_env("mdlbi-v0", action="structured", observation="large_scale")
    M, K, L = 2, 10, 4
    assert env.action_space("bs_0").shape == (L + L * K + K + 1,)
    assert env.observation_space("bs_1").shape == (2 * K + L * K + L + (M - 1) * L,)


def test_space_sizes_with_unequal_irs() -> None:
    env = make_env("mdlbi-small-v0", num_irs=3, num_elements=(1, 5, 16))
    assert (env.observation_space("bs_0").shape[0], env.action_space("bs_0").shape[0]) == space_sizes(env.scenario)


def test_derived_quantities() -> None:
    s = Scenario()
    assert s.tx_power_w == pytest.approx(0.39810717)  # 26 dBm
    assert s.noise_power_w == pytest.approx(1e-11)  # -80 dBm
    assert s.reference_gain == pytest.approx(1e-3)
    assert s.wavelength_m == pytest.approx(0.12491352)
    assert s.user_doppler_hz == pytest.approx(1.5 / 0.12491352)
    assert s.replace(doppler_hz=3.0).user_doppler_hz == 3.0
    assert s.area_m == (80.0, 80.0)
    assert s.replace(num_bs=5).area_m == (80.0, 200.0)


# --- overrides and JSON ------------------------------------------------------------------------------------------


def test_overrides() -> None:
    s = get_scenario("mdlbi-small-v0", num_users=7)
    assert (s.num_users, s.num_antennas) == (7, 4)
    assert s.replace(num_users=4) == get_scenario("mdlbi-small-v0")
    assert make_env("mdlbi-small-v0", num_irs=0).scenario.num_irs == 0
    assert make_env(s, num_users=5).scenario == s.replace(num_users=5)


def test_scenario_is_frozen_and_hashable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Scenario().num_users = 3  # type: ignore[misc]
    assert hash(Scenario()) == hash(Scenario())


TRACE = np.linspace(1.0, 30.0, 2 * 10 * 2).reshape(2, 10, 2)
VARIANTS = [
    {},
    {"num_irs": 3, "num_elements": (4, 1, 9)},
    {"phase_bits": 2, "doppler_hz": 5.0, "direct_rician_k_db": 3.0},
    {"mobility": "trace", "trace": TRACE, "horizon": 1},
    {"sinr": "paper", "tx_power_dbm": 30, "team_weight": 0.1, "reward": "mixed"},
]


@pytest.mark.parametrize("overrides", VARIANTS, ids=lambda o: "-".join(o) or "default")
def test_json_round_trip(overrides: dict[str, Any]) -> None:
    s = Scenario(**overrides)
    again = Scenario.from_json(s.to_json())
    assert again == s
    assert again.digest == s.digest
    assert Scenario.from_json(s.to_json(indent=2)) == s
    assert set(json.loads(s.to_json())) == {field.name for field in dataclasses.fields(Scenario)}


@given(
    power=st.floats(-100, 100),
    users=st.integers(1, 10**4),
    delay=st.integers(0, 1),
    bits=st.none() | st.integers(1, 16),
    reading=st.sampled_from(["physical", "paper", "reflected"]),
)
def test_json_keeps_every_bit(power: float, users: int, delay: int, bits: int | None, reading: str) -> None:
    s = Scenario(tx_power_dbm=power, num_users=users, association_delay=delay, phase_bits=bits, sinr=reading)
    assert Scenario.from_json(s.to_json()) == s


def test_from_json_keeps_defaults() -> None:
    assert Scenario.from_json('{"num_users": 3}') == Scenario(num_users=3)
    assert Scenario.from_json("{}") == Scenario()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a scenario in JSON"),
        ("[1]", "is an object, not list"),
        ('{"num_user": 3}', "'num_user' is not a scenario field; did you mean 'num_users'"),
        ('{"num_users": NaN}', "num_users=nan: must be an integer >= 1"),
        ('{"speed_mps": NaN}', "speed_mps=nan: must be a finite number"),
        ('{"speed_mps": "fast"}', "speed_mps='fast': must be a finite number"),
    ],
)
def test_from_json_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scenario.from_json(text)


def test_digest_is_stable_across_processes() -> None:
    code = "from irs_marl_env import Scenario; print(Scenario(num_users=7, speed_mps=2).digest)"
    for hash_seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        assert done.stdout.strip() == Scenario(num_users=7, speed_mps=2.0).digest


def test_fields_that_came_later_leave_old_digests_alone() -> None:
    """Digests of the first version, by which states were saved."""
    assert Scenario().digest == "8d5d408573af36f7"
    assert get_scenario("mdlbi-small-v0").digest == "b5c98b20fd616d3b"
    assert Scenario(fairness_offset=0.2).digest != Scenario().digest


def test_digest_tells_scenarios_apart() -> None:
    digests = {get_scenario(name).digest for name in scenario_ids()}
    assert len(digests) == len(scenario_ids())
    assert Scenario(tx_power_dbm=26).digest == Scenario(tx_power_dbm=26.0).digest  # the same number
    assert Scenario(num_elements=[1, 2, 3, 4]).digest == Scenario(num_elements=(1, 2, 3, 4)).digest
    assert len(Scenario().digest) == 16


# --- validation --------------------------------------------------------------------------------------------------

WHOLE = ["num_bs", "num_users", "num_irs", "num_groups", "horizon", "frozen_seed", "sweeps", "switching_slots"]
REAL = [field.name for field in dataclasses.fields(Scenario) if field.type in ("float", "float | None")]
ONE_OR_EACH = ["num_antennas", "num_elements", "tx_power_dbm"]
CHOICES = {
    "fading": {"iid", "ar1", "episode", "frozen"},
    "bs_irs_fading": {"iid", "ar1", "episode", "frozen"},
    "mobility": {"group", "random_waypoint", "gauss_markov", "static", "trace"},
    "layout": {"episode", "frozen"},
    "sinr": {"physical", "paper", "reflected"},
    "reflection": {"owned", "single", "all"},
    "contention": {"auction", "collision", "priority", "second_price"},
    "initial_owner": {"random", "none"},
    "power": {"ball", "sphere"},
    "csi": {"all", "owned"},
    "rho": {"owner", "bids", "none"},
    "reward": {"local", "team", "mixed", "proportional_fair", "min_rate", "energy_efficiency"},
    "action": {"raw", "structured"},
    "observation": {"csi", "large_scale"},
    "cell_rule": {"nearest", "strongest"},
    "channel_model": {"rician"},
}


def refused(field: str, value: Any) -> str:
    with pytest.raises(ValueError, match=f"^{field}") as caught:
        Scenario(**{field: value})
    return str(caught.value)


@pytest.mark.parametrize("value", [-1, 1.5, 2.0, "3", None, True, math.nan, [2]])
@pytest.mark.parametrize("field", [*WHOLE, "association_delay"])
def test_whole_numbers(field: str, value: Any) -> None:
    if value is None and field in ("num_bs", "num_irs"):
        assert getattr(Scenario(**{field: None}), field) == {"num_bs": 2, "num_irs": 4}[field]
        return
    assert f"{field}={value!r}: must be an integer" in refused(field, value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1", True, [1.0], 1e13, -1e13])
@pytest.mark.parametrize("field", REAL)
def test_real_numbers(field: str, value: Any) -> None:
    message = refused(field, value)
    assert f"{field}={value!r}: must be a finite number in" in message
    assert ("or None" in message) == (getattr(Scenario(), field) is None or field == "reference_gain_db")


@pytest.mark.parametrize(("field", "least"), [("area_width_m", 1e-3), ("cell_depth_m", 1e-3), ("slot_s", 1e-9)])
def test_lengths_and_times_are_positive(field: str, least: float) -> None:
    for value in (0.0, 5e-324, least / 2):
        assert f"{field}={value}: must be a finite number in [{least:g}, 1e+06]" in refused(field, value)
    assert getattr(Scenario(**{field: least}, group_radius_m=0.0), field) == least


@pytest.mark.parametrize("field", CHOICES)
def test_choices(field: str) -> None:
    for choice in CHOICES[field] - {"trace"}:
        assert getattr(Scenario(**{field: choice}), field) == choice
    for value in ("nothing", None, 1):
        message = refused(field, value)
        assert f"{field}={value!r}: must be one of" in message
        assert all(repr(choice) in message for choice in CHOICES[field])


@pytest.mark.parametrize("value", [math.nan, "3", None, True, 1e13, -1e13, {3: 3}, [[3, 3]], (3, None)])
@pytest.mark.parametrize("field", ONE_OR_EACH)
def test_one_number_or_one_for_each(field: str, value: Any) -> None:
    kind = (
        "a finite number in [-100, 100], or one such number" if field == "tx_power_dbm" else "an integer >= 1, or one"
    )
    assert f"{field}={value!r}: must be {kind}" in refused(field, value)


def test_every_field_is_checked() -> None:
    checked = {*WHOLE, *REAL, *CHOICES, "association_delay"}
    rest = {field.name for field in dataclasses.fields(Scenario)} - checked
    sites = {"bs_positions_m", "irs_positions_m", "irs_facing", "area_bounds_m"}  # tests/physics/test_deployment.py
    sites |= {"channels"}  # tests/test_recordings.py
    assert (
        rest
        == {*ONE_OR_EACH, "inter_cell_interference", "observe_velocity", "phase_bits", "power_control", "trace"} | sites
    )  # below


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"num_bs": 0}, "num_bs=0: must be an integer >= 1"),
        ({"association_delay": 2}, r"association_delay=2: must be an integer in \[0, 1\]"),
        ({"num_elements": 0}, "num_elements=0: must be an integer >= 1"),
        ({"num_elements": "many"}, "num_elements='many': must be an integer >= 1"),
        ({"num_elements": (4, 0, 4, 4)}, r"num_elements=\(4, 0, 4, 4\): must be an integer >= 1, or one such"),
        ({"num_elements": (4, 4)}, r"num_elements=\(4, 4\): must be one integer, or num_irs=4 integers"),
        ({"inter_cell_interference": 1}, "inter_cell_interference=1: must be True or False"),
        ({"observe_velocity": 0.0}, "observe_velocity=0.0: must be True or False"),
        ({"power_control": "yes"}, "power_control='yes': must be True or False"),
        ({"phase_bits": 0}, r"phase_bits=0: must be an integer in \[1, 16\] or None"),
        ({"phase_bits": 1.5}, r"phase_bits=1.5: must be an integer in \[1, 16\] or None"),
        ({"group_radius_m": 41.0}, "group_radius_m=41.0: must be at most half the smaller side of the area, 40"),
        ({"team_weight": 1.5}, r"team_weight=1.5: must be a finite number in \[0, 1\]"),
        ({"trace": TRACE}, r"trace=.*: must be None unless mobility='trace' \(mobility='group'\)"),
        (
            {"trace": 3, "mobility": "trace"},
            r"trace=.*shape \(\).*: must be None, the path of an .npz or .npy",
        ),
        ({"trace": [["a"]], "mobility": "trace"}, r"trace=\[\['a'\]\]: must be None, the path"),
        ({"trace": TRACE, "mobility": "trace"}, r"trace=.*\(2, 10, 2\).*shape \('>=801', 10, 2\)"),
        (
            {"trace": TRACE + 60, "mobility": "trace", "horizon": 1},
            r"trace\[\d+, \d+\]=\[.*\]: must be finite positions .* inside \[0, 80\] x \[0, 80\] m",
        ),
        (
            {"trace": np.full((2, 10, 2), np.nan), "mobility": "trace", "horizon": 1},
            r"trace\[0, 0\]=\[nan, nan\]: must be finite positions",
        ),
    ],
)
def test_impossible_values(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scenario(**overrides)


def test_numpy_numbers_are_numbers() -> None:
    s = Scenario(num_users=np.int64(3), tx_power_dbm=np.float32(20), num_elements=np.array([1, 2, 3, 4]))
    assert s == Scenario(num_users=3, tx_power_dbm=20.0, num_elements=(1, 2, 3, 4))
    assert type(s.num_users) is int
    assert type(s.tx_power_dbm) is float


@pytest.mark.parametrize("build", [get_scenario, make_env])
def test_unknown_names(build: Any) -> None:
    with pytest.raises(ValueError, match=r"'mdlbi-v9' is not known; allowed: mdlbi-v0"):
        build("mdlbi-v9")
    with pytest.raises(ValueError, match=r"scenario 3 is not known"):
        build(3)
    with pytest.raises(
        ValueError, match=r"'num_iris' is not a scenario field; did you mean 'num_irs'\? Allowed: num_bs"
    ):
        build("mdlbi-v0", num_iris=3)
    with pytest.raises(ValueError, match=r"'zzz' is not a scenario field\. Allowed: num_bs"):
        Scenario().replace(zzz=3)


def test_a_subclass_may_not_add_fields():
    @dataclasses.dataclass(frozen=True)
    class Mine(Scenario):
        extra: int = 0

    with pytest.raises(TypeError, match=r"Mine\.extra: a subclass of Scenario may have methods of its own, but no"):
        Mine()
