"""Metrics: one number per episode out of the rates and powers that an evaluation kept.

Shapes: ``user_rates (episodes, slots, K)`` [bit/s/Hz], ``cell (episodes, slots, K)``, ``power_w (episodes, slots, M)``,
``rates (episodes, slots, M)``, the sums of ``user_rates`` over the cells. K are all users of the system, T the measured
slots. A metric is a function of a :class:`irs_marl_env.result.Result` and returns ``(episodes,)``, or ``(episodes,
slots)``, which is averaged over the slots. :data:`METRICS` has the built-in ones by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from irs_marl_env.checks import near, plain_text, shown
from irs_marl_env.rewards import log_utility, power_taken

Function = Callable[[Any], Any]
_NO_USERS = "it is the result of a bound, or comes from a file of an older version or one without users"


def sum_rate(result: Any) -> np.ndarray:
    """``(1/T) sum_t sum_m rates[t, m]``: the system sum rate per slot [bit/s/Hz]."""
    return result.rates.sum(-1).mean(-1)


def min_rate(result: Any) -> np.ndarray:
    """``(1/T) sum_t min_k rate[t, k]``: the lowest rate among all users of the system, averaged over slots."""
    return result.user_rates.min(-1).mean(-1)


def jain(result: Any) -> np.ndarray:
    """``(sum_k x_k)^2 / (K sum_k x_k^2)`` with ``x_k = (1/T) sum_t rate[t, k]``: Jain's index of fairness, in [1/K, 1].

    It is the index of the users' mean rates over the episode, not the mean of an index by slot. All rates zero give 1.
    Source: Jain, Chiu, Hawe, "A quantitative measure of fairness and discrimination", DEC-TR-301, 1984.
    """
    mean = result.user_rates.mean(1)
    squares = mean.shape[-1] * (mean**2).sum(-1)
    return np.where(squares > 0, mean.sum(-1) ** 2 / np.where(squares > 0, squares, 1.0), 1.0)


def rate_p5(result: Any) -> np.ndarray:
    """The 5th percentile of the K T rates of an episode, users and slots together [bit/s/Hz], linear between two."""
    users = result.user_rates
    return np.percentile(users.reshape(len(users), -1), 5.0, axis=-1)


def proportional_fair(result: Any) -> np.ndarray:
    """``(1/(K T)) sum_tk log2(c + rate[t, k])``, c the scenario's ``fairness_offset`` [bit/s/Hz].

    That is the reward ``"proportional_fair"``, averaged over the BSs by their numbers of users, and over the slots.
    """
    return log_utility(result.user_rates, result.scenario.fairness_offset).mean((-1, -2))


def energy_efficiency(result: Any) -> np.ndarray:
    """``(1/T) sum_t R_t / P_t`` [bit/s/Hz/W]: rate of the system over the power the system takes.

    ``R_t = sum_m rates[t, m]`` and ``P_t = sum_m (power_w[t, m] / amplifier_efficiency + circuit_power_w) +
    irs_element_power_w sum_l N_l``: all BSs and all elements, owned or idle, with the formula and the constants of the
    reward ``"energy_efficiency"`` (in which a BS pays for the elements it owns). A scenario without IRSs pays for none.
    """
    s = result.scenario
    elements, radiated = float(sum(s.elements)), result.power_w.sum(-1)
    constants = (s.num_bs * s.circuit_power_w, s.irs_element_power_w, s.amplifier_efficiency)
    return (result.rates.sum(-1) / power_taken(radiated, elements, *constants)).mean(-1)


@dataclass(frozen=True)
class Metric:
    """A metric and what stands on an axis of it.

    Attributes:
        name: in tables.
        function: of a result, to ``(episodes,)`` or ``(episodes, slots)``.
        unit: as it is printed, "" for none.
        needs: arrays of the result that may be missing.
        constants: scenario fields that are part of its definition.
    """

    name: str
    function: Function
    unit: str = ""
    needs: tuple[str, ...] = ("user_rates",)
    constants: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name and unit."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name

    def __call__(self, result: Any) -> np.ndarray:
        """Value ``(episodes,)`` of each episode.

        Raises:
            ValueError: the result lacks an array, or a function of one's own returned something else.
        """
        missing = [name for name in self.needs if getattr(result, name) is None]
        if missing:
            names = " and ".join(missing)
            raise ValueError(f"metric {self.name!r} needs {names}, which {result.policy!r} does not have: {_NO_USERS}")
        try:
            values = self.function(result)
        except (AttributeError, TypeError) as error:  # of a function of one's own that met None
            if result.user_rates is not None:
                raise
            raise ValueError(f"metric {self.name!r} failed on {result.policy!r}: {_NO_USERS} ({error})") from error
        episodes, slots, _ = result.rates.shape
        try:
            found = np.asarray(values)
        except Exception as error:  # a ragged list, a tensor elsewhere
            raise ValueError(f"metric {self.name!r} returned no array of numbers ({error})") from error
        if found.shape not in ((episodes,), (episodes, slots)):
            allowed = f"({episodes},) or ({episodes}, {slots}), for (episodes,) or (episodes, slots)"
            raise ValueError(f"metric {self.name!r} returned an array of shape {found.shape}: must be {allowed}")
        if found.dtype.kind not in "fiu" or not np.isfinite(found).all():
            kind = "numbers that are not finite" if found.dtype.kind == "f" else f"entries of type {found.dtype}"
            raise ValueError(f"metric {self.name!r} returned {kind}: must be finite real numbers")
        return np.asarray(found, np.float64) if found.ndim == 1 else found.mean(-1, dtype=np.float64)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("sum_rate", sum_rate, "bit/s/Hz", ()),
        Metric("min_rate", min_rate, "bit/s/Hz"),
        Metric("jain", jain),
        Metric("rate_p5", rate_p5, "bit/s/Hz"),
        Metric("proportional_fair", proportional_fair, "log2 bit/s/Hz", constants=("fairness_offset",)),
        Metric(
            "energy_efficiency",
            energy_efficiency,
            "bit/s/Hz/W",
            ("power_w",),
            ("circuit_power_w", "irs_element_power_w", "amplifier_efficiency"),
        ),
    )
}


def metric_named(metric: str | Function | Metric) -> Metric:
    """The metric that a name of :data:`METRICS` stands for, or that a function of one's own is.

    A function may have attributes ``name`` and ``unit`` for tables and pictures.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a name nor a function.
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        name = plain_text(metric)
        if name not in METRICS:
            known = f"must be one of {', '.join(METRICS)}, or a function of the result"
            raise ValueError(f"metric={shown(name)}: {known}{near(name, METRICS)}")
        return METRICS[name]
    if not callable(metric) or isinstance(metric, type):
        raise TypeError(f"metric={shown(metric)}: must be one of {', '.join(METRICS)}, or a function of the result")
    named = getattr(metric, "name", getattr(metric, "__name__", type(metric).__name__))
    return Metric(str(named), metric, str(getattr(metric, "unit", "")), ())
