"""Random scenarios: small sizes, all fields at once, from the usual to the ends of what is allowed.

:func:`random_fields` is the one definition that ``benchmarks/fuzz.py`` and the tests draw from. Numbers come from the
ranges that the fields of ``Scenario`` state, so a new field is drawn as soon as it is there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from irs_marl_env import Scenario, checks

Draw = Callable[[np.random.Generator], Any]

KEPT = 0.3  # share of the fields that keep their default: lines stay short, and options meet the usual model
EXTREME = 0.03  # share of the numbers at an end of what is allowed, or beyond the usual


def _between(low: float, high: float) -> Draw:
    return lambda rng: float(f"{rng.uniform(low, high):.4g}")


def _by_factor(low: float, high: float) -> Draw:
    """Uniform in the logarithm."""
    return lambda rng: float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.4g}")


def _whole(low: int, high: int) -> Draw:
    return lambda rng: int(rng.integers(low, high + 1))


# what is usual of a field; the ranges that the scenario allows are much wider
USUAL: dict[str, Draw] = {
    "tx_power_dbm": _between(-10, 46),
    "noise_power_dbm": _between(-110, -70),
    "reference_gain_db": _between(-60, 0),
    "direct_exponent": _between(2, 5),
    "bs_irs_exponent": _between(2, 4),
    "irs_user_exponent": _between(2, 4),
    "blockage_db": _between(0, 60),
    "carrier_frequency_hz": _by_factor(1e8, 1e11),
    "doppler_hz": _by_factor(1e-3, 1e3),
    "bs_irs_doppler_hz": _by_factor(1e-3, 1e2),
    "direct_rician_k_db": _between(-20, 30),
    "bs_irs_rician_k_db": _between(-20, 30),
    "irs_user_rician_k_db": _between(-20, 30),
    "area_width_m": _by_factor(5, 1000),
    "cell_depth_m": _by_factor(5, 1000),
    "bs_height_m": _between(0, 30),
    "irs_height_m": _between(0, 30),
    "user_height_m": _between(0, 5),
    "shadowing_std_db": _between(1, 12),
    "shadowing_distance_m": _by_factor(1, 100),
    "speed_mps": _by_factor(0.1, 60),
    "group_radius_m": _by_factor(0.1, 10),
    "slot_s": _by_factor(1e-3, 10),
    "csi_error_variance": _by_factor(1e-3, 1),
    "bid_cost": _by_factor(1e-3, 10),
    "frozen_seed": _whole(0, 10**6),
    "num_groups": _whole(1, 10),
    # ideal elements more often than not: kernels do not know the others
    "element_amplitude_min": lambda rng: 1.0 if rng.random() < 0.7 else float(f"{rng.uniform(0, 1):.3g}"),
    "element_amplitude_offset_rad": _between(0, 2 * math.pi - 0.01),
    "element_amplitude_steepness": _between(0, 4),
    "sweeps": _whole(0, 3),
}
# small: a scenario is stepped in a fraction of a second, and the odd cases (one of something, none, fewer than) meet
SIZES: dict[str, Draw] = {
    "num_bs": _whole(1, 4),
    "num_users": _whole(1, 8),
    "num_irs": _whole(0, 4),
    "horizon": _whole(1, 4),
}
SITES = ("bs_positions_m", "irs_positions_m", "irs_facing", "irs_element_exponent", "area_bounds_m")
# of each site, and always drawn
HARDWARE: dict[str, Draw] = {"num_antennas": _whole(1, 6), "num_elements": _whole(1, 9)}


def random_fields(rng: np.random.Generator, extreme: float = EXTREME) -> dict[str, Any]:
    """Fields of a random scenario; those left out keep their defaults.

    Args:
        rng: the generator.
        extreme: share of the numbers that lie at an end of what is allowed; 0 leaves all of them usual.

    Returns:
        Values by name. ``Scenario(**fields)`` may refuse them where fields do not go together.
    """
    fields: dict[str, Any] = {name: draw(rng) for name, draw in SIZES.items()}
    fields |= _sites(fields, rng)
    counts = {"BS": fields["num_bs"], "IRS": fields["num_irs"]}
    for field in dataclasses.fields(Scenario):
        name, check = field.name, field.metadata["check"]
        if name in (*fields, *SITES, "trace") or (name not in HARDWARE and rng.random() < KEPT):
            continue
        if isinstance(check, checks.Each) and rng.random() < 0.5:
            fields[name] = tuple(_value(name, check.one, rng, extreme) for _ in range(counts[check.site]))
            continue
        value = _value(name, check.one if isinstance(check, checks.Each) else check, rng, extreme)
        if value is not None:
            fields[name] = value
    if fields.get("mobility") == "trace":
        fields["trace"] = _trace(fields, rng)
    return fields


def _value(name: str, check: Any, rng: np.random.Generator, extreme: float) -> Any:
    """A value of a field, from what is usual or from what its check allows; ``None`` keeps the default."""
    if isinstance(check, checks.Flag):
        return bool(rng.integers(2))
    if isinstance(check, checks.Choice):
        return str(rng.choice(check.names))
    if isinstance(check, checks.Strategy):
        return str(rng.choice(list(checks.look_up(check.table))))
    if name == "phase_bits":
        return None if rng.random() < 0.5 else int(rng.choice([1, 2, 3, 6, 16]))
    if isinstance(check, checks.Real) and rng.random() < extreme:
        return _at_the_end(check, rng)
    usual = USUAL | HARDWARE
    if name in usual:
        return usual[name](rng)
    if isinstance(check, checks.Whole):
        return int(rng.integers(check.low, min(check.low + 8, check.high or check.low + 8) + 1))
    return _between(check.low, check.high)(rng) if isinstance(check, checks.Real) else None


def _at_the_end(check: checks.Real, rng: np.random.Generator) -> float:
    """One of the two ends of a range, or anything between them."""
    low = math.nextafter(check.low, check.high) if check.above else check.low
    return float(rng.choice([low, check.high, rng.uniform(low, check.high)]))


def _sites(fields: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Sites, facings and an area of one's own, each in a quarter of the scenarios."""
    drawn: dict[str, Any] = {}
    heights = {"bs_positions_m": (0, 30), "irs_positions_m": (0, 15)}
    for name, count in (("bs_positions_m", fields["num_bs"]), ("irs_positions_m", fields["num_irs"])):
        if count and rng.random() < 0.25:
            places = np.c_[rng.uniform(-300, 300, (count, 2)), rng.uniform(*heights[name], count)]
            drawn[name] = places.round(1).tolist()
    if fields["num_irs"] and rng.random() < 0.25:
        drawn["irs_facing"] = rng.normal(size=(fields["num_irs"], 3)).round(3).tolist()
        drawn["irs_element_exponent"] = float(rng.choice([0.0, 1.0, 2.5]))
    if rng.random() < 0.25:
        corner, sides = rng.uniform(-300, 300, 2), rng.uniform(50, 400, 2)
        drawn["area_bounds_m"] = [float(x) for x in (*corner, *(corner + sides))]
    return drawn


def _trace(fields: dict[str, Any], rng: np.random.Generator) -> list[list[list[float]]]:
    """Positions of as many slots as an episode needs."""
    where = ("num_bs", "area_width_m", "cell_depth_m", *SITES)
    known = {name: fields[name] for name in where if name in fields}
    x_min, y_min, x_max, y_max = Scenario(**known, group_radius_m=0.0, num_irs=fields["num_irs"]).bounds_m
    share = 0.01 + 0.98 * rng.random((fields["horizon"] + 1, fields["num_users"], 2))
    positions = (x_min, y_min) + share * (x_max - x_min, y_max - y_min)
    return [[[float(f"{x:.5g}") for x in user] for user in slot] for slot in positions]
