"""The table beside the map: users, IRSs and sum rate of every BS."""

from __future__ import annotations

from typing import Any

import numpy as np

from irs_marl_env.figure_style import QUIET
from irs_marl_env.render.plan import MOST_LISTED
from irs_marl_env.render.scene import Scene
from irs_marl_env.scenario import Scenario

_COLUMNS = ((0.44, "users"), (0.64, "IRSs"), (1.0, "bit/s/Hz"))
NO_RATE = "–"  # no slot has been yet


class Table:
    """A row for each BS, up to :data:`MOST_LISTED`, and the system; the slot stands above it.

    Args:
        ax: axes without a frame.
        scenario: of the environment.
        colours: ``(M, 3)``.
        height_in: of the axes [inches].
    """

    def __init__(self, ax: Any, scenario: Scenario, colours: np.ndarray, height_in: float) -> None:
        self._scenario = scenario
        self._listed = range(min(scenario.num_bs, MOST_LISTED))
        ax.set(xlim=(0, 1), ylim=(0, 1))
        ax.set_axis_off()
        left_out = scenario.num_bs - len(self._listed)
        pitch = min(1 / (len(self._listed) + bool(left_out) + 3.4), 0.24 / height_in)
        size = min(9.5, 0.62 * pitch * height_in * 72)
        self._title = ax.text(0.0, 1.0, "", va="top", weight="bold", fontsize=11)
        top = 1.0 - 0.32 / height_in
        for x, head in _COLUMNS:
            ax.text(x, top, head, ha="right", va="top", fontsize=size, color=QUIET)
        rows = [top - (m + 1) * pitch for m in self._listed]
        if left_out:
            below = f"... and {left_out} more"
            ax.text(0.07, top - (len(self._listed) + 1) * pitch, below, va="top", fontsize=size, color=QUIET)
        rows.append(top - (len(self._listed) + bool(left_out) + 1.2) * pitch)  # the sum, under a rule
        for m, y in enumerate(rows[:-1]):
            mast: dict[str, Any] = {"marker": "^", "ms": 0.8 * size, "mec": "black", "mew": 0.6, "clip_on": False}
            ax.plot([0.02], [y - 0.3 * pitch], mfc=colours[m], **mast)
            ax.text(0.07, y, f"BS {m}", va="top", fontsize=size)
        ax.plot([0.0, 1.0], [rows[-1] + 0.2 * pitch] * 2, color="black", linewidth=0.6)
        ax.text(0.07, rows[-1], "system", va="top", fontsize=size, weight="bold")
        self._entries = [
            [
                ax.text(x, y, "", ha="right", va="top", fontsize=size, weight="bold" if y == rows[-1] else "normal")
                for x, _ in _COLUMNS
            ]
            for y in rows
        ]
        self.moving = [self._title, *(row[-1] for row in self._entries)]
        self.calm = [entry for row in self._entries for entry in row[:-1]]  # changes now and then

    def update(self, scene: Scene) -> bool:
        """Show a scene; whether something calm has changed."""
        s = self._scenario
        self._title.set_text(f"slot {scene.slot} of {s.horizon}   {scene.slot * s.slot_s:.6g} s")
        users = np.bincount(scene.cell, minlength=s.num_bs)
        surfaces = np.bincount(scene.owner[scene.owner >= 0], minlength=s.num_bs)
        rates = [NO_RATE] * (s.num_bs + 1)
        if scene.sums is not None:
            rates = [f"{rate:.2f}" for rate in (*scene.sums, scene.sums.sum())]
        rows = [(users[m], surfaces[m], rates[m]) for m in self._listed]
        rows.append((users.sum(), surfaces.sum(), rates[-1]))
        before = [entry.get_text() for entry in self.calm]
        for entries, texts in zip(self._entries, rows, strict=True):
            for entry, text in zip(entries, texts, strict=True):
                entry.set_text(f"{text}")
        return before != [entry.get_text() for entry in self.calm]
