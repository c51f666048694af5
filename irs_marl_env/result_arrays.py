"""The arrays of a result, as they are rounded, and as they are checked when they come from a file."""

from __future__ import annotations

from typing import Any

import numpy as np

from irs_marl_env.checks import refusal
from irs_marl_env.scenario import Scenario

DECIMALS = 6  # of a stored rate: far below its error, and JSON stays small
DIGITS = 6  # of a stored power, which may be far below 1 W
LARGEST_RATE = 1e9  # bit/s/Hz of a BS: ten million users at 100 each
BY_USER = ("user_rates", "cell", "power_w")  # all or none of them
_SLACK = 1e-3  # by which single precision may be above a limit of power, far more than it ever is


def rounded_power(power_w: np.ndarray) -> np.ndarray:
    """Powers with :data:`DIGITS` digits, whatever their size."""
    power = np.asarray(power_w, np.float64)
    digits = np.floor(np.log10(np.where(power > 0, power, 1.0)))
    scale = 10.0 ** (DIGITS - 1 - digits)
    return np.round(power * scale) / scale


def checked(values: dict[str, Any], scenario: Scenario) -> dict[str, np.ndarray]:
    """The arrays among the values of a result, as ``Result`` keeps them.

    Args:
        values: from JSON; ``"rates"`` is there.
        scenario: of the result.

    Raises:
        ValueError: one of them is of the wrong shape or out of range, some are missing, or they contradict one another.
    """
    M, K = scenario.num_bs, scenario.num_users
    rates = _numbers("rates", values["rates"], M, LARGEST_RATE)
    missing = [name for name in BY_USER if values.get(name) is None]
    if len(missing) == len(BY_USER):
        return {"rates": rates}
    if missing:
        raise ValueError(f"not a result: {', '.join(missing)} missing; {', '.join(BY_USER)} belong together")
    by_user = _numbers("user_rates", values["user_rates"], K, LARGEST_RATE)
    cell = _numbers("cell", values["cell"], K, M - 1, whole=True)
    power = _numbers("power_w", values["power_w"], M, float(max(scenario.tx_powers_w)) * (1 + _SLACK))
    for name, array in (("user_rates", by_user), ("cell", cell), ("power_w", power)):
        if array.shape[:2] != rates.shape[:2]:
            allowed = f"that of the rates, {rates.shape[:2]}, for episodes and slots"
            raise ValueError(f"{name} of shape {array.shape}: must be {allowed}")
    _check_sums(rates, by_user, cell)
    return {"rates": rates, "user_rates": by_user, "cell": cell, "power_w": power}


def are_numbers(values: Any) -> bool:
    """Whether a value of JSON is a number, or a list of lists ... of numbers."""
    if isinstance(values, list):
        return all(map(are_numbers, values))
    return isinstance(values, (int, float)) and not isinstance(values, bool)


def _numbers(name: str, values: Any, last: int, high: float, whole: bool = False) -> np.ndarray:
    """An array ``(episodes, slots, last)`` of numbers in [0, high] from lists or an array."""
    kind = "integers" if whole else "numbers"
    allowed = f"(episodes, slots, {last}) {kind} in [0, {high:g}], of at least one episode and one slot"
    try:
        if not isinstance(values, np.ndarray) and not are_numbers(values):
            raise ValueError
        array = np.array(values) if whole else np.array(values, dtype=np.float64)
        if whole and array.size and array.dtype.kind not in "iu":
            raise ValueError
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise refusal(name, values, allowed) from None
    if array.ndim != 3 or array.shape[2] != last or 0 in array.shape:
        raise ValueError(f"{name} of shape {array.shape}: must be {allowed}")
    bad = ~((array >= 0) & (array <= high))  # NaN is in no range
    if bad.any():
        where = [int(i) for i in np.argwhere(bad)[0]]
        kind = "an integer" if whole else "a finite number"
        raise refusal(f"{name}{where}", array[tuple(where)].item(), f"{kind} in [0, {high:g}]")
    return array.astype(np.int32) if whole else array


def _check_sums(rates: np.ndarray, by_user: np.ndarray, cell: np.ndarray) -> None:
    """Refuse rates of users that do not add up to those of their BSs."""
    slack = 10.0**-DECIMALS * (by_user.shape[-1] + 1)  # each number was rounded by itself
    for m in range(rates.shape[-1]):
        total = np.where(cell == m, by_user, 0.0).sum(-1)
        bad = ~np.isclose(total, rates[..., m], rtol=1e-5, atol=slack)
        if bad.any():
            episode, slot = (int(i) for i in np.argwhere(bad)[0])
            raise refusal(
                f"sum of user_rates[{episode}, {slot}] over the users with cell {m}",
                float(total[episode, slot]),
                f"rates[{episode}, {slot}, {m}], {float(rates[episode, slot, m])}",
            )
