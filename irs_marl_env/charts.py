"""Pictures of results with matplotlib (extra ``render``), which is imported only here and only when asked.

Bars of policies, and lines over the values of a field, both with 95 % intervals, in the style of
:mod:`irs_marl_env.figure_style`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from irs_marl_env import tables
from irs_marl_env.checks import shown
from irs_marl_env.estimate import Estimate
from irs_marl_env.figure_style import BS_COLOURS, STYLE, look, words, write

ENDINGS = (".png", ".svg", ".pdf")
_UNITS = {"dbm": "dBm", "db": "dB", "hz": "Hz", "mps": "m/s", "dbi": "dBi", "w": "W", "m": "m", "s": "s"}
_LONGEST_TICK = 24  # characters of a value on an axis
_CHARACTERS = 60  # of all values, that fit beside one another
_LOGARITHMIC = 20.0  # the ratio of values from which their axis is logarithmic


def check_picture(path: str | PathLike[str], name: str = "path") -> Path:
    """The path of a picture to be written; ``name`` is what a message calls it.

    Raises:
        ValueError: its name does not end like one.
        ImportError: matplotlib is missing; install ``irs-marl-env[render]``.
    """
    found = Path(path)
    if found.suffix.lower() not in ENDINGS:
        raise ValueError(f"{name} {shown(str(path))}: must end in {', '.join(ENDINGS)}")
    try:
        import matplotlib  # noqa: F401  (asked for before the work, used after it)
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'irs-marl-env[render]'") from error
    return found


def bars(
    path: str | PathLike[str],
    labels: Sequence[str],
    panels: Sequence[tuple[str, Sequence[Estimate], Sequence[Estimate | None]]],
    baseline: int,
) -> None:
    """Draw a bar for each label and, beside it, its paired difference to the baseline.

    Args:
        path: where to write it.
        labels: of the bars, from top to bottom.
        panels: one row of the picture each: what is measured, with its unit; the estimates; the differences, ``None``
            where there is none.
        baseline: index of the label that the differences are to.
    """
    path = check_picture(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, (0.9 + 0.3 * len(labels)) * len(panels) + 0.3), layout="constrained")
        axes = figure.subplots(len(panels), 2, squeeze=False, sharey=True, width_ratios=(3, 2))
        places, short = np.arange(len(labels)), list(map(words, tables.labels(labels)))
        for (label, estimates, differences), (left, right) in zip(panels, axes, strict=True):
            colours = [BS_COLOURS[0] if i == baseline else BS_COLOURS[5] for i in places]
            means = [estimate.mean for estimate in estimates]
            left.barh(places, means, color=colours, height=0.7)
            left.errorbar(means, places, xerr=_halves(estimates), fmt="none", ecolor="black", capsize=3, linewidth=1)
            left.axvline(0.0, color="black", linewidth=0.8)
            left.set_yticks(places, short)
            left.set_xlabel(words(label))
            right.axvline(0.0, color="black", linewidth=0.8)
            for place, difference in enumerate(differences):
                if difference is not None and place != baseline:
                    half = _halves([difference])
                    style: dict[str, Any] = {"fmt": "o", "color": BS_COLOURS[1], "capsize": 3, "markersize": 4}
                    right.errorbar([difference.mean], [place], xerr=half, linewidth=1, **style)
                elif place != baseline:
                    right.annotate(
                        "not paired", (0.5, place), xycoords=("axes fraction", "data"), ha="center", va="center"
                    )
            right.set_xlabel(f"minus {short[baseline]}, paired")
            right.grid(axis="x", linewidth=0.4)
        axes[0, 0].invert_yaxis()
        axes[0, 0].set_title("mean and 95 % interval over episodes", loc="left", fontsize=9.0)
        write(figure, path)


def lines(
    path: str | PathLike[str], field: str, values: Sequence[Any], series: Mapping[str, Sequence[Estimate]], label: str
) -> None:
    """Draw a line for each series over the values of a field.

    Args:
        path: where to write it.
        field: name of the scenario's field, whose last word is its unit.
        values: of the field; where one is no number they stand side by side in their order.
        series: estimates by name, one for each value.
        label: what is measured, with its unit.
    """
    path = check_picture(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    places = np.array(values, float) if numeric else np.arange(float(len(values)))
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axis = figure.subplots()
        logarithmic = numeric and min(values) > 0 and max(values) / min(values) >= _LOGARITHMIC
        if logarithmic:
            axis.set_xscale("log")
        beside = _beside(places, len(series), logarithmic)
        for i, (name, estimates) in enumerate(zip(tables.labels(list(series)), series.values(), strict=True)):
            means, half = [estimate.mean for estimate in estimates], _halves(estimates)
            bars: dict[str, Any] = {"capsize": 3, "markersize": 5, "linewidth": 1.4}
            axis.errorbar(beside[i], means, yerr=half, label=words(name), **bars, **look(i, numeric))
        ticks = [f"{v:g}" for v in values] if numeric else list(map(words, tables.value_labels(values, _LONGEST_TICK)))
        beside_one_another = sum(map(len, ticks)) <= _CHARACTERS
        turned: dict[str, Any] = (
            {} if beside_one_another else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        )
        axis.set_xticks(places, ticks, **turned)
        axis.minorticks_off()
        axis.set_xlabel(with_unit(field))
        axis.set_ylabel(words(label))
        axis.set_title("mean and 95 % interval over episodes", loc="left", fontsize=9.0)
        axis.grid(linewidth=0.4)
        figure.legend(loc="outside right upper")
        write(figure, path)


def _beside(places: np.ndarray, count: int, logarithmic: bool) -> list[np.ndarray]:
    """Places for each of ``count`` series, a little apart, so that no interval hides another."""
    along = np.log(places) if logarithmic else places
    gap = min(np.diff(np.sort(along)), default=1.0)
    step = min(0.012 * float(np.ptp(along)) or 0.05, 0.4 * float(gap) / count)
    moved = [along + (i - (count - 1) / 2) * step for i in range(count)]
    return [np.exp(x) for x in moved] if logarithmic else moved


def with_unit(field: str) -> str:
    """A field's name, with the unit that its last word is: ``"tx_power_dbm [dBm]"``."""
    unit = _UNITS.get(field.rpartition("_")[2])
    return f"{field} [{unit}]" if unit and "_" in field else field


def _halves(estimates: Sequence[Estimate]) -> list[float]:
    """Half widths of the intervals; none is drawn for a single episode."""
    return [0.0 if math.isnan(estimate.half_width) else estimate.half_width for estimate in estimates]
