"""What the last slots brought: the sum rate of every BS, and who owned each IRS, over one axis of time."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

from irs_marl_env.figure_style import GRID, QUIET
from irs_marl_env.render.outlines import collection, outline
from irs_marl_env.render.scene import Scene
from irs_marl_env.scenario import Scenario

SLIDING = 60  # slots in view of a long episode
LONGEST_WHOLE = 120  # slots of an episode that is in view from its beginning to its end
FIRST_TOP = 5.0  # bit/s/Hz, where the axis of the rates ends at first
_MOST_TICKS = 5
# seconds in it, its name, and the length [s] of an episode from which on the next one is used
TIME_UNITS = ((1.0, "s", 1e5), (3600.0, "h", 1e7), (86400.0, "d", math.inf))
_MOST_NUMBERED = 10  # IRSs that all have their number beside their row


class History:
    """Curves of rates, and under them a row for each IRS in the colour of its owner.

    Args:
        rates_ax: axes of the curves.
        owners_ax: axes of the rows, ``None`` without IRSs.
        scenario: of the environment.
        colours: ``(M, 3)``.
        irs_colours: ``(M + 1, 3)``, the last for an idle IRS.
    """

    def __init__(
        self, rates_ax: Any, owners_ax: Any, scenario: Scenario, colours: np.ndarray, irs_colours: np.ndarray
    ) -> None:
        self._scenario = scenario
        self._whole = scenario.horizon <= LONGEST_WHOLE
        self._length = scenario.horizon if self._whole else SLIDING
        self._past: deque[tuple[int, np.ndarray, np.ndarray]] = deque(maxlen=self._length)
        self._top = FIRST_TOP
        self._rates_ax = rates_ax
        self._irs_colours = np.round(255 * irs_colours).astype(np.uint8)
        self.moving: list[Any] = []
        self._build_rates(colours)
        self._build_owners(owners_ax)
        self._build_time(rates_ax if owners_ax is None else owners_ax)

    def _build_rates(self, colours: np.ndarray) -> None:
        from matplotlib.ticker import MaxNLocator

        ax = self._rates_ax
        ax.set(xlim=(0, self._length), ylim=(0, self._top), xticks=[])
        ax.set_ylabel("sum rate [bit/s/Hz]", labelpad=2)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
        ax.grid(axis="y", color=GRID, linewidth=0.6)
        self._curves = [ax.plot([], [], color=c, linewidth=1.5)[0] for c in colours]
        self.moving += self._curves

    def _build_owners(self, ax: Any) -> None:
        count = self._scenario.num_irs
        self._pixels = np.full((count, self._length, 3), 255, np.uint8)
        self._image = None
        if ax is None:
            return
        ax.set(xlim=(0, self._length), ylim=(count, 0), xticks=[])
        every = -(-count // _MOST_NUMBERED)
        numbered = np.arange(0, count, every)
        ax.set_yticks(numbered + 0.5, [str(l) for l in numbered], fontsize=8.0)
        ax.tick_params(axis="y", length=0, pad=2)
        ax.set_ylabel("IRS", labelpad=2 if count <= 10 else 5)
        if count <= _MOST_NUMBERED:
            rules = ax.hlines(np.arange(1, count), 0, self._length, color="white", linewidth=1.5, zorder=3)
            self.moving.append(rules)
        extent = (0, self._length, count, 0)
        self._image = ax.imshow(self._pixels, extent=extent, aspect="auto", interpolation="nearest", zorder=2)
        self.moving.append(self._image)

    def _build_time(self, ax: Any) -> None:
        """Ticks in slots and seconds; they move with what is shown, so they are no ticks of matplotlib."""
        self._step = round_step(self._length)
        whole = self._scenario.horizon * self._scenario.slot_s
        self._time_unit = next((s, name) for s, name, most in TIME_UNITS if whole < most)
        across = ax.get_xaxis_transform()
        headings = [
            outline(word, 8.0, (-20.0, down), -1, bold=False) for word, down in (("slot", -9.5), ("time", -20.5))
        ]
        collection(ax, headings, np.zeros((2, 2)), across).set(facecolors=QUIET, clip_on=False)
        self._ticks = collection(ax, [], np.zeros((0, 2)), across)
        self._ticks.set(facecolors="black", clip_on=False)
        self._labelled: list[int] = []  # slots whose outlines are there
        marks: dict[str, Any] = {"marker": 3, "ms": 3.5, "ls": "none", "color": "black", "mew": 0.8, "clip_on": False}
        (self._marks,) = ax.plot([], [], transform=across, **marks)
        if self._whole:
            self._place_ticks(0)
        else:
            self.moving += [self._ticks, self._marks]

    def _place_ticks(self, first: int) -> None:
        slots = list(range(-(-first // self._step) * self._step, first + self._length + 1, self._step))
        if slots != self._labelled:
            slot_s, (seconds, unit) = self._scenario.slot_s, self._time_unit
            words = [((str(s), -9.5), (f"{s * slot_s / seconds:.4g} {unit}", -20.5)) for s in slots]
            self._ticks.set_paths([outline(t, 8.0, (0.0, down), bold=False) for pair in words for t, down in pair])
            self._labelled = slots
        at = np.array(slots, float) - first
        self._marks.set_data(at, np.zeros(len(at)))
        self._ticks.set_offsets(np.column_stack([np.repeat(at, 2), np.zeros(2 * len(at))]))

    # --- a frame -------------------------------------------------------------------------------------------------

    def forget(self) -> bool:
        """Begin an episode; whether the axis of the rates has changed, which is part of the background."""
        self._past.clear()
        return self._reach(FIRST_TOP)

    def follow(self, scene: Scene) -> None:
        """Keep a slot."""
        if scene.sums is None:
            return
        colours = self._irs_colours[scene.owner]
        waiting = (scene.owner < 0) & (scene.holder >= 0)  # set up for somebody, and idle meanwhile or unclaimed
        pale = 0.25 * self._irs_colours[scene.holder] + 0.75 * self._irs_colours[-1]
        if self._scenario.switching_slots:
            colours = np.where(waiting[:, None], pale.astype(np.uint8), colours)
        self._past.append((scene.slot, scene.sums, colours))

    def update(self, slot: int) -> bool:
        """Show what is kept; whether the axis of the rates has changed."""
        first = 0 if self._whole else max(0, slot - self._length)
        seen = [entry for entry in self._past if entry[0] > first]
        most = max((float(sums.max()) for _, sums, _ in seen), default=0.0)
        grown = most > self._top and self._reach(round_up(1.15 * most))
        when = [slot - first - 0.5 for slot, *_ in seen]  # slot s lasts from s - 1 to s
        for m, curve in enumerate(self._curves):
            curve.set_data(when, [sums[m] for _, sums, _ in seen])
            curve.set_marker("o" if len(seen) == 1 else "")
        if self._image is not None:
            self._pixels = np.full_like(self._pixels, 255)
            if seen:
                self._pixels[:, [slot - first - 1 for slot, *_ in seen]] = np.stack([c for *_, c in seen], axis=1)
            self._image.set_data(self._pixels)
        if not self._whole:
            self._place_ticks(first)
        return grown

    def _reach(self, top: float) -> bool:
        if top == self._top:
            return False
        self._top = top
        self._rates_ax.set_ylim(0, top)
        return True


def round_step(length: int) -> int:
    """The least of 1, 2, 5, 10, 20 ... that divides ``length`` slots into :data:`_MOST_TICKS` parts at the most."""
    power = 10 ** max(0, math.floor(math.log10(length / _MOST_TICKS)))
    return next(step * power for step in (1, 2, 5, 10) if length / (step * power) <= _MOST_TICKS)


def round_up(value: float) -> float:
    """The next round number, 1 at least."""
    if value <= 1.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value)
