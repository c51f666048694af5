"""A mean over independent episodes, and how far to trust it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

# Student's t by degrees of freedom, 1 to 10: |T| stays below it with probability 0.95
_STUDENT = (12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139)
_NORMAL = 1.959963984540054  # the same of the normal distribution


class Estimate(NamedTuple):
    """A mean over episodes."""

    mean: Any  # in the unit of what was measured, bit/s/Hz for rates
    standard_error: Any  # of the mean, from the spread of episodes; NaN for a single one
    episodes: np.ndarray  # (episodes, ...) value of each episode

    @classmethod
    def of(cls, episodes: np.ndarray) -> Estimate:
        """Mean and standard error along the first axis."""
        count = len(episodes)
        mean = episodes.mean(0)
        error = episodes.std(0, ddof=1) / math.sqrt(count) if count > 1 else np.full_like(mean, math.nan)
        if mean.ndim == 0:
            return cls(float(mean), float(error), episodes)
        return cls(mean, error, episodes)

    @property
    def half_width(self) -> Any:
        """Half of the 95 % interval, ``t standard_error`` with Student's t for ``episodes - 1``; NaN for one episode.

        A few episodes know little of their own spread: for 5 of them t is 2.78, not 1.96.
        """
        count = len(self.episodes)
        return self.standard_error * (student_t(count - 1) if count > 1 else math.nan)

    @property
    def interval(self) -> tuple[Any, Any]:
        """Both ends of the 95 % interval of the mean."""
        return self.mean - self.half_width, self.mean + self.half_width


def student_t(degrees: int) -> float:
    """What the absolute value of Student's t stays below with probability 0.95; within 2e-5.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5, and its table 26.10 up to 10 degrees.

    Args:
        degrees: of freedom, at least 1.
    """
    if degrees <= len(_STUDENT):
        return _STUDENT[degrees - 1]
    z, v = _NORMAL, float(degrees)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / v ** (i + 1) for i, term in enumerate(terms))
