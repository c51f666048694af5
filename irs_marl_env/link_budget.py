"""Path gains of a scenario, and whether single precision holds what comes of them.

Takes any record with the radio fields of :class:`irs_marl_env.Scenario`, which it stands below.
"""

from __future__ import annotations

import math
from typing import Any

from irs_marl_env.checks import shown
from irs_marl_env.service_area import reference_distance_m
from irs_marl_env.units import db_to_linear

SHADOWING_SIGMAS = 4.0  # one link in 30,000 is further in the user's favour
LINKS = ("direct", "bs_irs", "irs_user")
LEAST_GAIN_DB = -600.0  # amplitudes above 1e-30, their inverses and products with fading are single numbers
MOST_GAIN_DB = 600.0
MOST_SNR_DB = 180.0  # the solvers multiply two powers of received signals, each below 1e19 times the noise


def path_gain_at(scenario: Any, link: str, distance_m: float) -> float:
    """Linear path gain ``C0 d^-alpha`` of ``"direct"``, ``"bs_irs"`` or ``"irs_user"`` at a distance, with blockage."""
    blockage = db_to_linear(-scenario.blockage_db) if link == "direct" else 1.0
    exponent: float = getattr(scenario, f"{link}_exponent")
    return scenario.reference_gain * blockage * distance_m**-exponent


def greatest_amplitudes(scenario: Any, sigmas: float = 0.0) -> dict[str, float]:
    """The amplitude gain of each link where the two ends stand as near to each other as their heights allow.

    Args:
        scenario: the record.
        sigmas: standard deviations by which shadowing is in favour of the user links.
    """
    s = scenario
    bs = [s.bs_height_m] if s.bs_positions_m is None else [z for *_, z in s.bs_positions_m]
    irs = [s.irs_height_m] if not s.irs_positions_m else [z for *_, z in s.irs_positions_m]
    ends = {"direct": (bs, [s.user_height_m]), "bs_irs": (bs, irs), "irs_user": (irs, [s.user_height_m])}
    nearest = {link: min(abs(a - b) for a in one for b in other) for link, (one, other) in ends.items()}
    amplitude = {link: math.sqrt(path_gain_at(s, link, max(1.0, d))) for link, d in nearest.items()}  # 1 m at least
    favour = 10.0 ** (sigmas * s.shadowing_std_db / 20.0)
    return {link: a if link == "bs_irs" else a * favour for link, a in amplitude.items()}


def greatest_snr_db(scenario: Any) -> float:
    """No signal of one antenna at the greatest Pmax can be stronger, but for fading: all paths coherent, users next to
    the sites."""
    return strongest_snr_db(scenario, *greatest_amplitudes(scenario, SHADOWING_SIGMAS).values())


def strongest_snr_db(scenario: Any, direct: float, bs_irs: float, irs_user: float) -> float:
    """The same for the greatest amplitudes of the three links [dB]; it cannot be below -6000."""
    total = direct + sum(scenario.elements) * bs_irs * irs_user
    power_dbm = scenario.tx_power_dbm
    greatest = max(power_dbm) if isinstance(power_dbm, tuple) else power_dbm
    return greatest - scenario.noise_power_dbm + 20.0 * math.log10(max(total, 1e-300))


def check_link_budget(scenario: Any) -> None:
    """Refuse path gains and signal-to-noise ratios that single precision does not hold.

    Raises:
        ValueError: a path gain at half the width of the street, or what else scales observations, beyond -600 or
            600 dB; or a signal next to a site more than 180 dB above the noise.
    """
    distance_m = reference_distance_m(scenario)
    on_street = scenario.bs_positions_m is None and scenario.area_bounds_m is None
    length = f"area_width_m={scenario.area_width_m:g}" if on_street else f"a reference distance of {distance_m:g} m"
    gain_db = {link: 10.0 * math.log10(path_gain_at(scenario, link, distance_m)) for link in LINKS}
    gain_db["BS-IRS-user"] = gain_db["bs_irs"] + gain_db["irs_user"]
    for link, gain in gain_db.items():
        if not LEAST_GAIN_DB <= gain <= MOST_GAIN_DB:
            raise ValueError(
                f"{length} with reference_gain_db={scenario.reference_gain_db}, the exponents and blockage_db: the "
                f"{link} path gain at {distance_m:g} m is {gain:.4g} dB, must be in "
                f"[{LEAST_GAIN_DB:g}, {MOST_GAIN_DB:g}] dB, which single precision holds"
            )
    snr_db = greatest_snr_db(scenario)
    if snr_db > MOST_SNR_DB:
        raise ValueError(
            f"tx_power_dbm={_written(scenario.tx_power_dbm)}, noise_power_dbm={scenario.noise_power_dbm:g} and the "
            f"path gains: a user next to a site could receive {snr_db:.4g} dB above the noise, must be at most "
            f"{MOST_SNR_DB:g} dB, which single precision holds"
        )


def _written(power_dbm: Any) -> str:
    return shown(power_dbm) if isinstance(power_dbm, tuple) else f"{power_dbm:g}"
