"""Errors over trainings and episodes together, and the smallest effect that a comparison could have detected.

A difference ``d[s, e]`` between two methods depends on the training s and on the episode e of the bank. Neither the
scatter over trainings alone nor that over episodes alone is the error of its mean, for another set of either would
change it. With both drawn at random (a two-way layout without repetition) the variance of the mean is
``var_s / S + var_e / E + var_se / (S E)``, and its usual estimate is ``(MS_s + MS_e - MS_se) / (S E)`` with the mean
squares of an analysis of variance (Searle, Casella, McCulloch, "Variance Components", Wiley 1992, section 4.3).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from experiments.figures.tools import Estimate, estimate, t_quantile

POWER = 0.8  # with which an effect counts as detectable, at the 5 % level, two-sided


def two_level(values: Any) -> tuple[Estimate, float]:
    """Mean of ``(trainings, episodes)`` values with its error over both, and the degrees of freedom of that error.

    The degrees of freedom are Satterthwaite's. The error is never below that over trainings alone or over episodes
    alone, which a negative estimate of a variance would make it. With one training that over episodes alone is known.

    Example:
        >>> found, freedom = two_level([[1.0, 3.0], [3.0, 5.0]])  # trainings 2 and 4, episodes 2 and 4, no more
        >>> found.mean, round(found.standard_error**2, 6), freedom
        (3.0, 2.0, 2.0)
    """
    x = np.atleast_2d(np.asarray(values, float))
    variance, freedom = variance_of_mean(x)
    return estimate(float(x.mean()), math.sqrt(variance), freedom, x.size), freedom


def variance_of_mean(x: np.ndarray) -> tuple[float, float]:
    """Variance of the mean of ``(trainings, episodes)`` values, and its degrees of freedom; see :func:`two_level`."""
    trainings, episodes = x.shape
    by_training, by_episode = x.mean(1), x.mean(0)
    over = (_mean_square(by_training) / trainings, _mean_square(by_episode) / episodes)
    rest = x - by_training[:, None] - by_episode + x.mean()
    both = (rest**2).sum() / max(1, (trainings - 1) * (episodes - 1)) / x.size
    variance = max(sum(over) - both, *over)
    parts = zip(over, (trainings - 1, episodes - 1), strict=True)
    spread = sum(part**2 / freedom for part, freedom in parts if freedom)
    return variance, variance**2 / spread if spread > 0 else 1.0


def _mean_square(x: np.ndarray) -> float:
    return float(x.var(ddof=1)) if len(x) > 1 else 0.0


def detectable(error: float, freedom: float) -> float:
    """The least true effect that a two-sided test at 5 % finds with a probability of :data:`POWER`.

    ``(t_.975 + t_.8) * error`` with Student's t. A difference that was not found may be as large.

    Example:
        >>> round(detectable(1.0, 1e6), 2), round(detectable(1.0, 2), 2)
        (2.8, 5.36)
    """
    return error * (t_quantile(freedom) + t_quantile(freedom, 2 * (1 - POWER)))


def ratio(above: Any, below: Any) -> tuple[Estimate, float]:
    """Mean of ``above (S, E)`` over that of ``below``, the same or ``(E,)``; its error, linearised, and its freedom."""
    a, b = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    value = a.mean() / b.mean()
    found, freedom = two_level((a - value * b) / b.mean())
    return estimate(float(value), found.standard_error, freedom, found.n), freedom
