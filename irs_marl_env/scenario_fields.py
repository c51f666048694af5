"""Fields of a scenario: a default, and how a value is checked."""

from __future__ import annotations

import dataclasses
from typing import Any

from irs_marl_env import checks, service_area
from irs_marl_env.array_files import path_of, real_numbers


def field(default: Any, check: checks.Check) -> Any:
    """A field with a check: a function of a name and a value that returns the value as it is kept."""
    return dataclasses.field(default=default, metadata={"check": check})


def whole(default: int | None, low: int, high: int | None = None, *, optional: bool = False) -> Any:
    """An integer in [low, high]."""
    return field(default, checks.Whole(low, high, optional))


def real(default: float | None, low: float, high: float, *, optional: bool = False, above: bool = False) -> Any:
    """A real number in [low, high], or in (low, high] with ``above``."""
    return field(default, checks.Real(low, high, optional, above))


def each(default: float, one: checks.Kind, site: str) -> Any:
    """One number, or one for each ``"BS"`` or ``"IRS"``."""
    return field(default, checks.Each(one, site))


def one_of(default: str, *others: str) -> Any:
    """One of some names."""
    return field(default, checks.Choice((default, *others)))


def named_in(default: str, table: str, *methods: str, classes: bool = True) -> Any:
    """A strategy of a dict ``"module:DICT"`` of the package by name, or an object with these methods."""
    return field(default, checks.Strategy(f"irs_marl_env.{table}", methods, classes))


def rows(columns: int) -> Any:
    """``None``, or rows of coordinates."""
    return field(None, checks.Rows(columns, service_area.LONGEST_M, optional=True))


def flag(default: bool) -> Any:
    """True or False."""
    return field(default, checks.Flag())


def check_phase_bits(name: str, value: Any) -> int | None:
    """``None``, or a number of bits."""
    try:
        return checks.Whole(1, 16, optional=True)(name, value)
    except ValueError:
        raise checks.refusal(name, value, "an integer in [1, 16] or None (continuous phases)") from None


def check_trace(name: str, value: Any) -> str | tuple | None:
    """``None``, a path as text, or positions ``(slots, K, 2)`` as tuples."""
    if value is None:
        return None
    allowed = "None, the path of an .npz or .npy file, or positions (slots, num_users, 2) in m"
    try:
        path = path_of(value)
        if path is not None:
            return path
        positions = real_numbers(value) + 0.0  # -0.0 becomes 0.0, which is equal but would be hashed as another
    except Exception:  # of somebody else's __fspath__, too
        raise checks.refusal(name, value, allowed) from None
    if positions.ndim != 3:
        raise ValueError(f"{name}=<array of shape {positions.shape}>: must be {allowed}")
    return tuple(tuple(tuple(map(float, point)) for point in slot) for slot in positions)
