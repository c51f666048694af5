"""Decibel conversions, the only ones in the package: inside the physics every quantity is linear SI."""

from __future__ import annotations


def db_to_linear(value_db: float) -> float:
    """Power ratio of a level in dB, ``10^(x/10)``."""
    return 10.0 ** (value_db / 10.0)


def dbm_to_watt(level_dbm: float) -> float:
    """Power in W of a level in dBm."""
    return 1e-3 * db_to_linear(level_dbm)
