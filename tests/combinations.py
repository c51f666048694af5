"""Combinations of scenario options: few that still contain every pair, or all readings of the paper."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

from irs_marl_env import Scenario

SIZES: dict[str, dict[str, int]] = {
    "usual": {"num_bs": 2, "num_users": 4, "num_irs": 2, "num_antennas": 3},
    "no IRS": {"num_bs": 2, "num_users": 3, "num_irs": 0, "num_antennas": 2},
    "one user": {"num_bs": 2, "num_users": 1, "num_irs": 1, "num_antennas": 2},
    "more users than antennas": {"num_bs": 2, "num_users": 5, "num_irs": 2, "num_antennas": 1},
    "one BS": {"num_bs": 1, "num_users": 3, "num_irs": 2, "num_antennas": 2},
    "three BSs": {"num_bs": 3, "num_users": 5, "num_irs": 3, "num_antennas": 2},
}
READINGS: dict[str, tuple[Any, ...]] = {
    "sinr": ("physical", "paper", "reflected"),
    "reflection": ("owned", "single", "all"),
    "contention": ("auction", "collision", "priority", "second_price"),
    "association_delay": (0, 1),
    "csi": ("all", "owned"),
    "rho": ("owner", "bids", "none"),
    "power": ("ball", "sphere"),
    "inter_cell_interference": (False, True),
    "reward": ("local", "team", "mixed"),
    "action": ("raw", "structured"),
    "observation": ("csi", "large_scale"),
}
OPTIONS: dict[str, tuple[Any, ...]] = {
    **READINGS,
    "observation": (*READINGS["observation"], "values"),
    "size": tuple(SIZES),
    "unequal_irs": (False, True),
    "unequal_bs": (False, True),
    "element_amplitude_min": (1.0, 0.3),
    "initial_owner": ("random", "none"),
    "switching_slots": (0, 2),
    "observe_velocity": (False, True),
    "power_control": (False, True),
    "phase_bits": (None, 1, 3),
    "csi_error_variance": (0.0, 0.2),
    "bid_cost": (0.0, 0.1),
    "fading": ("iid", "ar1", "episode", "frozen"),
    "bs_irs_fading": ("iid", "ar1", "episode", "frozen"),
    "direct_rician_k_db": (None, 3.0),
    "bs_irs_rician_k_db": (None, 6.0),
    "irs_user_rician_k_db": (None, 0.0),
    "mobility": ("group", "random_waypoint", "gauss_markov", "static", "trace"),
    "layout": ("episode", "frozen"),
    "sweeps": (0, 2),
}

Choice = dict[str, Any]


def scenario(choice: Choice, horizon: int) -> Scenario:
    """The scenario of a choice of options; fast users, so that cells change and may be empty."""
    fields = {name: value for name, value in choice.items() if name not in ("size", "unequal_irs", "unequal_bs")}
    size: dict[str, Any] = SIZES[choice.get("size", "usual")]
    elements: Any = tuple(1 + l for l in range(size["num_irs"])) if choice.get("unequal_irs") else 3
    if choice.get("unequal_bs"):
        antennas = tuple(max(1, size["num_antennas"] - m) for m in range(size["num_bs"]))
        size = {**size, "num_antennas": antennas, "tx_power_dbm": tuple(26 - 5 * m for m in range(size["num_bs"]))}
    if fields.get("mobility") == "trace":
        draw = random.Random(0)
        depth = 40.0 * size["num_bs"]
        fields["trace"] = [
            [(80 * draw.random(), depth * draw.random()) for _ in range(size["num_users"])] for _ in range(horizon + 1)
        ]
    return Scenario(
        **size, **fields, num_elements=elements, horizon=horizon, speed_mps=30.0, doppler_hz=0.2, bs_irs_doppler_hz=0.1
    )


def pairwise(options: dict[str, tuple[Any, ...]] = OPTIONS, seed: int = 0) -> list[Choice]:
    """A short list of choices in which every two values of two options meet, greedily; always the same list."""
    draw = random.Random(seed)
    missing = {
        ((a, x), (b, y))
        for a, b in itertools.combinations(options, 2)
        for x, y in itertools.product(range(len(options[a])), range(len(options[b])))
    }

    def gain(index: dict[str, int]) -> int:
        return sum(((a, index[a]), (b, index[b])) in missing for a, b in itertools.combinations(options, 2))

    chosen = []
    while missing:
        (a, x), (b, y) = min(missing)  # progress is certain
        candidates = []
        for _ in range(30):
            index = {name: draw.randrange(len(values)) for name, values in options.items()}
            candidates.append({**index, a: x, b: y})
        best = max(candidates, key=gain)
        missing -= {((a, best[a]), (b, best[b])) for a, b in itertools.combinations(options, 2)}
        chosen.append({name: options[name][i] for name, i in best.items()})
    return chosen


def all_readings() -> Iterator[Choice]:
    """Every combination of the readings of the paper, on the usual size."""
    for values in itertools.product(*READINGS.values()):
        yield dict(zip(READINGS, values, strict=True))
