"""Scenarios whose radio single precision does not hold are refused; all others give finite numbers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, make_vec_env, scenario_ids
from irs_marl_env.link_budget import LEAST_GAIN_DB, MOST_SNR_DB, greatest_snr_db
from irs_marl_env.scenario import ScenarioError, get_scenario

SIZES = {"num_bs": 2, "num_users": 5, "num_irs": 2, "num_antennas": 3, "num_elements": 4, "horizon": 3}


def test_the_greatest_snr_by_hand() -> None:
    s = Scenario(num_irs=0, tx_power_dbm=30, noise_power_dbm=-90, reference_gain_db=-30, blockage_db=10)
    distance = s.bs_height_m - s.user_height_m  # right below the mast
    assert greatest_snr_db(s) == pytest.approx(30 + 90 - 30 - 10 - 40 * np.log10(distance))
    s = s.replace(num_irs=2, num_elements=(3, 7), bs_height_m=5, irs_height_m=5.5, user_height_m=5, blockage_db=300)
    assert greatest_snr_db(s) == pytest.approx(30 + 90 - 60 + 20 * np.log10(10), abs=1e-6)  # two legs of 1 m


def test_presets_are_far_from_the_ends() -> None:
    assert all(greatest_snr_db(get_scenario(name)) < 90 for name in scenario_ids())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tx_power_dbm": 100, "noise_power_dbm": -250}, ["tx_power_dbm=100", "noise_power_dbm=-250", "180 dB"]),
        ({"tx_power_dbm": 100, "reference_gain_db": 0, "num_elements": 10**4}, ["tx_power_dbm=100", "180 dB"]),
        ({"area_width_m": 1e6, "reference_gain_db": -200, "direct_exponent": 10}, ["area_width_m=1e+06", "direct"]),
        ({"area_width_m": 1e6, "bs_irs_exponent": 5, "irs_user_exponent": 6}, ["BS-IRS-user"]),
        ({"area_width_m": 5e-324, "group_radius_m": 0}, ["area_width_m=5e-324"]),
    ],
    ids=str,
)
def test_what_single_precision_does_not_hold_is_refused(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ScenarioError) as refused:
        Scenario(**fields)
    assert all(word in str(refused.value) for word in words)


# each at an end of what is allowed
POWERS = [{"tx_power_dbm": 100.0, "noise_power_dbm": 100.0}, {"tx_power_dbm": -100.0, "noise_power_dbm": -250.0}]
POWERS += [{"tx_power_dbm": -100.0, "noise_power_dbm": 100.0}, {"tx_power_dbm": 60.0, "noise_power_dbm": -115.0}]
PLACES: list[dict[str, Any]] = [
    {"area_width_m": 1e4, "cell_depth_m": 1e6, "direct_exponent": 4.0, "reference_gain_db": -200.0, "blockage_db": 0.0},
    {"area_width_m": 1e-3, "cell_depth_m": 1e-3, "group_radius_m": 0.0, "bs_height_m": 1.5, "irs_height_m": 1.5},
    {"bs_height_m": 1e4, "irs_height_m": 0.0, "direct_exponent": 10.0, "blockage_db": 300.0},
    {"direct_exponent": 0.0, "bs_irs_exponent": 0.0, "irs_user_exponent": 0.0, "reference_gain_db": 0.0},
]
READINGS: list[dict[str, Any]] = [
    {"action": "raw", "power": "sphere", "inter_cell_interference": True, "csi_error_variance": 1e3},
    {"action": "structured", "observation": "large_scale", "reflection": "single", "direct_rician_k_db": 100.0},
    {"action": "structured", "sinr": "paper", "csi": "owned", "bs_irs_rician_k_db": 100.0, "sweeps": 4},
]
WAYS: dict[str, dict[str, Any]] = {"plain": {"fast": False}, "usual": {}, "torch": {"backend": "torch"}}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading["action"])
def test_what_is_allowed_gives_finite_numbers(reading: dict[str, Any], way: str) -> None:
    """Unless the scenario is refused, which one of the ends together with another may be."""
    if way == "torch":
        pytest.importorskip("torch")
    made = 0
    for powers, place in itertools.product(POWERS, PLACES):
        try:
            scenario = Scenario(**SIZES, **powers, **place, **reading)
        except ScenarioError:
            continue
        env = make_vec_env(scenario, 3, **WAYS[way])
        seen = [env.reset(seed=0)[0]]
        rng = np.random.default_rng(0)
        for scale in (1.0, 1e-19, 1e-30, 3.0):
            action = (scale * rng.uniform(-1, 1, (3, 2, env.action_size))).astype(np.float32)
            observations, rewards, _, _, infos = env.step(env._xp.asarray(action))
            seen += [observations, rewards, infos["rates"], infos["power_w"], env.state()]
            assert (np.asarray(infos["power_w"]) <= scenario.tx_power_w * (1 + 1e-5)).all()
        assert all(np.isfinite(np.asarray(x)).all() for x in seen), scenario
        made += 1
    assert made >= 8


def test_limits_are_those_that_the_page_of_the_model_states() -> None:
    assert (LEAST_GAIN_DB, MOST_SNR_DB) == (-600, 180)
