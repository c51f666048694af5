"""Path gains of a scenario, and whether single precision holds what comes of them.

Takes any record with the radio fields of :class:`irs_marl_env.Scenario`, which it stands below.
"""

from __future__ import annotations

import math
from typing import Any

from irs_marl_env.units import db_to_linear

LINKS = ("direct", "bs_irs", "irs_user")
LEAST_GAIN_DB = -600.0  # amplitudes above 1e-30, their inverses and products with fading are single numbers
MOST_GAIN_DB = 600.0
MOST_SNR_DB = 180.0  # the solvers multiply two powers of received signals, each below 1e19 times the noise


def path_gain_at(scenario: Any, link: str, distance_m: float) -> float:
    """Linear path gain ``C0 d^-alpha`` of ``"direct"``, ``"bs_irs"`` or ``"irs_user"`` at a distance, with blockage."""
    blockage = db_to_linear(-scenario.blockage_db) if link == "direct" else 1.0
    exponent: float = getattr(scenario, f"{link}_exponent")
    return scenario.reference_gain * blockage * distance_m**-exponent


def greatest_amplitudes(scenario: Any) -> dict[str, float]:
    """The amplitude gain of each link where the two ends stand as near to each other as their heights allow."""
    heights = {"direct": (scenario.bs_height_m, scenario.user_height_m)}
    heights["bs_irs"] = scenario.bs_height_m, scenario.irs_height_m
    heights["irs_user"] = scenario.irs_height_m, scenario.user_height_m
    nearest = {link: max(1.0, abs(a - b)) for link, (a, b) in heights.items()}  # closer than 1 m counts as 1 m
    return {link: math.sqrt(path_gain_at(scenario, link, d)) for link, d in nearest.items()}


def greatest_snr_db(scenario: Any) -> float:
    """No signal of one antenna at Pmax can be stronger, but for fading: all paths coherent, users next to the sites."""
    amplitude = greatest_amplitudes(scenario)
    total = amplitude["direct"] + sum(scenario.elements) * amplitude["bs_irs"] * amplitude["irs_user"]
    return scenario.tx_power_dbm - scenario.noise_power_dbm + 20.0 * math.log10(total)


def check_link_budget(scenario: Any) -> None:
    """Refuse path gains and signal-to-noise ratios that single precision does not hold.

    Raises:
        ValueError: a path gain at half the width of the area, which scales observations, beyond -600 or 600 dB; or a
            signal next to a site more than 180 dB above the noise.
    """
    half_m = scenario.area_width_m / 2.0
    gain_db = {link: 10.0 * math.log10(path_gain_at(scenario, link, half_m)) for link in LINKS}
    gain_db["BS-IRS-user"] = gain_db["bs_irs"] + gain_db["irs_user"]
    for link, gain in gain_db.items():
        if not LEAST_GAIN_DB <= gain <= MOST_GAIN_DB:
            raise ValueError(
                f"area_width_m={scenario.area_width_m:g} with reference_gain_db={scenario.reference_gain_db}, the "
                f"exponents and blockage_db: the {link} path gain at half the width is {gain:.4g} dB, must be in "
                f"[{LEAST_GAIN_DB:g}, {MOST_GAIN_DB:g}] dB, which single precision holds"
            )
    snr_db = greatest_snr_db(scenario)
    if snr_db > MOST_SNR_DB:
        raise ValueError(
            f"tx_power_dbm={scenario.tx_power_dbm:g}, noise_power_dbm={scenario.noise_power_dbm:g} and the path gains: "
            f"a user next to a site could receive {snr_db:.4g} dB above the noise, must be at most {MOST_SNR_DB:g} dB, "
            "which single precision holds"
        )
