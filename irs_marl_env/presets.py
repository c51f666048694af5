"""What makes each preset: the fields in which it differs from the defaults of ``Scenario``.

The numbers behind an id change only together with its ``-vN``.
"""

from __future__ import annotations

from typing import Any

_SMALL = {"num_antennas": 4, "num_elements": 16, "num_users": 4, "num_irs": 2, "horizon": 100}
# tasks in which base stations have something to learn from each other (docs/tasks.md)
_TASK = {"blockage_db": 35.0, "reward": "team", "action": "structured", "observation": "large_scale"}
_COLLISION = {**_SMALL, **_TASK, "mobility": "random_waypoint", "contention": "collision"}
_SWITCHING = {**_SMALL, **_TASK, "mobility": "random_waypoint", "switching_slots": 4, "observe_velocity": True}


def _panels(num_blocks: int) -> tuple[tuple[float, float, float], ...]:
    """Four IRSs, 2 m apart, on a facade in the middle of each block of the street."""
    return tuple((40.0, 80.0 * block + y, 5.0) for block in range(num_blocks) for y in (37.0, 39.0, 41.0, 43.0))


_INTERFERENCE = {
    **_SMALL,
    **_TASK,
    **{"num_users": 12, "num_irs": 4, "num_elements": 64, "tx_power_dbm": 20.0, "irs_positions_m": _panels(1)},
    "mobility": "random_waypoint",
    "inter_cell_interference": True,
    "reflection": "all",
    "power_control": True,
}
_CITY = {
    **_TASK,
    **{"num_bs": 8, "num_antennas": 4, "num_elements": 64, "num_users": 80, "num_irs": 16, "horizon": 100},
    "irs_positions_m": _panels(4),
    "mobility": "random_waypoint",
}
PRESETS: dict[str, dict[str, Any]] = {
    "mdlbi-v0": {},
    "mdlbi-small-v0": _SMALL,
    "mdlbi-blocked-v0": {"blockage_db": 35.0},
    "mdlbi-blocked-small-v0": {**_SMALL, "blockage_db": 35.0},
    "mdlbi-k30-v0": {"num_users": 30},
    "mdlbi-large-v0": {
        "num_bs": 8,
        "num_antennas": 16,
        "num_elements": 64,
        "num_users": 128,
        "num_irs": 32,
    },
    "mdlbi-collision-v0": _COLLISION,
    "mdlbi-switching-v0": _SWITCHING,
    "mdlbi-interference-v0": _INTERFERENCE,
    "mdlbi-city-v0": _CITY,
}
