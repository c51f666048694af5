"""A map of one environment, drawn with matplotlib (extra ``render``), which is imported only here and only when asked.

The picture is built once; a frame moves what has changed onto a kept background.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env.engine.state import Outcome, State
from irs_marl_env.physics import deployment
from irs_marl_env.scenario import Scenario

__all__ = ["Viewer"]

# Okabe and Ito's colours for all forms of colour vision, wine (Paul Tol) in place of their yellow
BS_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#000000")
IDLE = "#E6E6E6"  # an IRS that nobody controls
HISTORY = 60  # slots in the rate plot
MOST_LISTED = 12  # BSs that have a row in the table
TRAIL = 12  # slots a user's trail lasts
FPS = 10.0  # of the window
DPI = 100
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": "black",
    "axes.facecolor": "white",
    "axes.edgecolor": "black",
    "axes.labelcolor": "black",
    "axes.linewidth": 0.8,
    "axes.grid": False,
    "xtick.color": "black",
    "ytick.color": "black",
    "legend.frameon": False,
}

_log = logging.getLogger(__name__)


class Viewer:
    """Draws states of one environment.

    The map shows the users where they are now, coloured by cell, with a marker whose area grows with the rate of the
    last slot; the IRSs in the colour of the BS that controlled them in that slot, with a line to it. Beside it stand
    the sum rates of the last slots, as far as they were drawn.

    Args:
        scenario: what is drawn.
        render_mode: ``"rgb_array"``: pictures, without a window and without pyplot; ``"human"``: a window.

    Raises:
        ImportError: matplotlib is missing; install ``irs-marl-env[render]``.
    """

    def __init__(self, scenario: Scenario, render_mode: str) -> None:
        try:
            import matplotlib
        except ImportError as error:
            raise ImportError("rendering needs matplotlib: pip install 'irs-marl-env[render]'") from error
        self._scenario = scenario
        self._window = _Window() if render_mode == "human" else None
        self._plan = _plan(scenario)
        self._listed = range(min(scenario.num_bs, MOST_LISTED))  # of whom the table has a row
        self._colours = _rgb([BS_COLOURS[m % len(BS_COLOURS)] for m in range(scenario.num_bs)])
        self._irs_colours = np.concatenate([self._colours, _rgb([IDLE])])  # owner -1 takes the last
        self._bs = self._plan.to_map(deployment.bs_positions(scenario)[:, :2])
        self._irs = self._plan.to_map(deployment.irs_positions(scenario)[:, :2])
        self._rates: deque[tuple[int, np.ndarray]] = deque(maxlen=HISTORY)
        self._trail: deque[np.ndarray] = deque(maxlen=TRAIL)
        self._last_slot = -1
        self._background: Any = None
        with matplotlib.rc_context(_STYLE):
            self._build()

    # --- the picture, once ---------------------------------------------------------------------------------------

    def _build(self) -> None:
        size = self._plan.size_in
        if self._window is None:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure

            self._figure = Figure(figsize=size, dpi=DPI, facecolor="white")
            FigureCanvasAgg(self._figure)
        else:
            self._figure = self._window.open(size)
        self._moving: list[Any] = []
        self._build_map()
        self._build_plot()
        self._build_table()
        for artist in self._moving:
            artist.set_animated(self._window is None)  # animated: left out of the background

    def _axes(self, box: tuple[float, float, float, float]) -> Any:
        """Axes at ``(left, bottom, width, height)`` in inches."""
        width, height = self._plan.size_in
        return self._figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))

    def _build_map(self) -> None:
        from matplotlib.collections import LineCollection

        ax = self._axes(self._plan.map_in)
        left, right, bottom, top = self._plan.extent_m
        ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        ax.set_xlabel(f"{self._plan.axes[0]} [m]", labelpad=1)
        ax.set_ylabel(f"{self._plan.axes[1]} [m]", labelpad=1)
        if self._scenario.cell_rule == "nearest" and self._scenario.channels is None:  # else cells are no areas
            ax.imshow(self._shading(), extent=self._plan.extent_m, origin="lower", interpolation="nearest", zorder=0)
        crowd = math.sqrt(max(1.0, self._scenario.num_users / 20, self._scenario.num_irs / 8))  # smaller markers
        trails = LineCollection([], linewidths=1.2 / crowd, zorder=2)
        links = LineCollection([], linewidths=1.6 / crowd, zorder=3)
        irs = ax.scatter(*self._irs.T, s=110 / crowd, marker="s", edgecolors="black", linewidths=0.8, zorder=4)
        ax.add_collection(trails, autolim=False)
        ax.add_collection(links, autolim=False)
        users = ax.scatter([], [], marker="o", edgecolors="white", linewidths=0.7, zorder=5)
        self._trails, self._links, self._irs_marks, self._users = trails, links, irs, users
        self._moving += [trails, links, irs, users]
        self._marker_area = 26.0 / crowd  # points^2 per bit/s/Hz
        self._build_facings(ax, crowd)
        many = max(1.0, self._scenario.num_bs / 10)
        masts = ax.scatter(*self._bs.T, s=230 / many, marker="^", c=self._colours, edgecolors="black", zorder=6)
        masts.set_clip_on(False)  # BSs stand on the edge of the area
        ax.tick_params(pad=9)  # past the masts
        self._moving += [masts, *self._bs_labels(ax)]
        self._build_legend()

    def _build_facings(self, ax: Any, crowd: float) -> None:
        """A short line from each IRS the way it faces."""
        axes = deployment.irs_axes(self._scenario)
        if axes is None:
            return
        left, right, *_ = self._plan.extent_m
        along = 0.035 * (right - left) / crowd * self._plan.to_map(axes[:, 2, :2])
        ends = np.stack([self._irs, self._irs + along])
        ax.plot(*ends.transpose(2, 0, 1), color="black", linewidth=1.6 / crowd, zorder=3.5)

    def _bs_labels(self, ax: Any) -> list[Any]:
        """Names of the BSs, next to their masts on the side of the map's middle."""
        left, right, bottom, top = self._plan.extent_m
        long, short = right - left, top - bottom
        backing = {"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
        labels = []
        for m, (x, y) in enumerate(self._bs):
            inward = "left" if x - left < 0.25 * long else "right" if x - left > 0.75 * long else "center"
            shift = {"left": 9, "right": -9, "center": 0}[inward]
            rise = -15 if y - bottom > 0.6 * short else 15
            labels.append(
                ax.annotate(
                    f"BS {m}" if self._scenario.num_bs <= MOST_LISTED else f"{m}",
                    (x, y),
                    xytext=(shift, rise),
                    textcoords="offset points",
                    ha=inward,
                    va="center",
                    weight="bold",
                    color=_dark(self._colours[m]),
                    bbox=backing,
                    zorder=7,
                )
            )
        return labels

    def _build_legend(self) -> None:
        from matplotlib.lines import Line2D

        def mark(label: str, marker: str, area: float, colour: str, edge: str = "black") -> Line2D:
            size = math.sqrt(area)
            return Line2D([], [], ls="none", marker=marker, ms=size, mfc=colour, mec=edge, mew=0.8, label=label)

        handles = [mark("BS", "^", 90, "white")]
        if self._scenario.num_irs:
            handles += [mark("IRS (colour: owner)", "s", 64, BS_COLOURS[0]), mark("IRS, idle", "s", 64, IDLE)]
        for label, rate in (("user at 0", 0), ("1", 1), ("4 bit/s/Hz", 4)):
            handles.append(mark(label, "o", self._area_of(rate), "#444444", "white"))
        width, height = self._plan.size_in
        left, bottom = self._plan.map_in[:2]
        self._figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=((left - 0.1) / width, (bottom - 0.48) / height),
            borderaxespad=0.0,
            ncols=len(handles),
            handletextpad=0.2,
            columnspacing=0.9,
            fontsize=8.5,
        )

    def _shading(self) -> np.ndarray:
        """Pale colour of the nearest BS, ``(rows, columns, 3)``."""
        left, right, bottom, top = self._plan.extent_m
        columns = 400
        rows = max(2, round(columns * (top - bottom) / (right - left)))
        x = left + (np.arange(columns) + 0.5) * (right - left) / columns
        y = bottom + (np.arange(rows) + 0.5) * (top - bottom) / rows
        grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        cell = deployment.nearest(((self._bs[:, None] - grid) ** 2).sum(-1)).reshape(rows, columns)
        return 1.0 - 0.16 * (1.0 - self._colours[cell])

    def _build_plot(self) -> None:
        from matplotlib.ticker import MaxNLocator

        ax = self._plot = self._axes(self._plan.plot_in)
        ax.set(xlim=(-HISTORY, 0.5), ylim=(0, 1))
        ax.set_xlabel("slots before now", labelpad=1)
        ax.set_ylabel("sum rate [bit/s/Hz]", labelpad=2)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        ax.set_axisbelow(True)
        self._curves = [ax.plot([], [], color=c, linewidth=1.5)[0] for c in self._colours]
        self._moving += self._curves
        self._top = 1.0

    def _build_table(self) -> None:
        ax = self._axes(self._plan.table_in)
        ax.set(xlim=(0, 1), ylim=(0, 1))
        ax.set_axis_off()
        num_bs, listed = self._scenario.num_bs, self._listed
        pitch = min(1 / (len(listed) + (num_bs > len(listed)) + 3.4), 0.24 / self._plan.table_in[3])
        size = min(9.5, 0.62 * pitch * self._plan.table_in[3] * 72)
        self._title = ax.text(0.0, 1.0, "", va="top", weight="bold", fontsize=11)
        columns = ((0.42, "users"), (0.62, "IRSs"), (1.0, "bit/s/Hz"))
        top = 1.0 - 0.36 / self._plan.table_in[3]
        for x, head in columns:
            ax.text(x, top, head, ha="right", va="top", fontsize=size, color="#444444")
        rows = [top - (m + 1) * pitch for m in listed]
        left_out = num_bs - len(listed)
        if left_out:
            below = f"... and {left_out} more"
            ax.text(0.07, top - (len(listed) + 1) * pitch, below, va="top", fontsize=size, color="#444444")
        rows.append(top - (len(listed) + bool(left_out) + 1.2) * pitch)  # the sum, under a rule
        for m, y in enumerate(rows[:-1]):
            colour = self._colours[m]
            ax.plot(
                [0.02], [y - 0.3 * pitch], marker="^", ms=0.8 * size, mfc=colour, mec="black", mew=0.6, clip_on=False
            )
            ax.text(0.07, y, f"BS {m}", va="top", fontsize=size)
        ax.plot([0.0, 1.0], [rows[-1] + 0.2 * pitch] * 2, color="black", linewidth=0.6)
        ax.text(0.07, rows[-1], "system", va="top", fontsize=size, weight="bold")
        self._entries = [
            [
                ax.text(x, y, "", ha="right", va="top", fontsize=size, weight="bold" if y == rows[-1] else "normal")
                for x, _ in columns
            ]
            for y in rows
        ]
        self._moving += [self._title, *(entry for row in self._entries for entry in row)]

    # --- a frame -------------------------------------------------------------------------------------------------

    def draw(self, state: State, outcome: Outcome | None) -> np.ndarray | None:
        """One frame.

        Args:
            state: of a batch of one; not changed.
            outcome: of the slot before it, ``None`` after a reset.

        Returns:
            ``(height, width, 3)`` uint8 with ``"rgb_array"``, a fresh array; ``None`` with ``"human"``.
        """
        if self._window is not None and self._window.gone:
            return None  # the user closed it: go on without
        position = self._plan.to_map(np.asarray(state.motion["position"][0]))
        rates = np.zeros(len(position)) if outcome is None else np.asarray(outcome.rates[0])
        owner = np.asarray(state.owner[0] if outcome is None else outcome.owner[0])
        sums = np.zeros(self._scenario.num_bs) if outcome is None else np.asarray(outcome.sum_rate[0])
        cell = np.asarray(state.cell[0])
        slot = int(state.slot[0])
        self._remember(slot, position, None if outcome is None else sums)
        self._draw_map(position, cell, owner, rates)
        self._draw_plot(slot)
        self._draw_table(slot, cell, owner, sums)
        if self._window is not None:
            self._window.show()
            return None
        return self._picture()

    def _remember(self, slot: int, position: np.ndarray, sums: np.ndarray | None) -> None:
        if slot == self._last_slot:
            return
        if slot < self._last_slot:  # a new episode
            self._rates.clear()
        if slot != self._last_slot + 1:  # users were not followed in between
            self._trail.clear()
        self._last_slot = slot
        self._trail.append(position)
        if sums is not None:
            self._rates.append((slot, sums))

    def _area_of(self, rate: Any) -> Any:
        """Marker area [points^2] of a user at a rate [bit/s/Hz]; those at rate 0 stay visible."""
        return self._marker_area * np.minimum(rate, 12.0) + 16.0

    def _draw_map(self, position: np.ndarray, cell: np.ndarray, owner: np.ndarray, rates: np.ndarray) -> None:
        colours = self._colours[cell]
        order = np.argsort(-rates)  # small markers on top
        self._users.set_offsets(position[order])
        self._users.set_sizes(self._area_of(rates[order]))
        self._users.set_facecolors(colours[order])
        self._irs_marks.set_facecolors(self._irs_colours[owner])
        held = np.flatnonzero(owner >= 0)
        self._links.set_segments(list(np.stack([self._bs[owner[held]], self._irs[held]], axis=1)))
        self._links.set_colors(self._colours[owner[held]])
        self._trails.set_segments(list(np.stack(self._trail, axis=1)) if len(self._trail) > 1 else [])
        self._trails.set_colors(0.5 + 0.5 * colours)

    def _draw_plot(self, slot: int) -> None:
        recent = [(s - slot, sums) for s, sums in self._rates if s > slot - HISTORY]
        top = _round_up(1.05 * max((float(sums.max()) for _, sums in recent), default=0.0))
        if top > self._top or top < 0.4 * self._top:  # new ticks: the background changes, which is slow and rare
            self._top, self._background = top, None
            self._plot.set_ylim(0, top)
        when = [s for s, _ in recent]
        for m, curve in enumerate(self._curves):
            curve.set_data(when, [sums[m] for _, sums in recent])
            curve.set_marker("o" if len(recent) == 1 else "")

    def _draw_table(self, slot: int, cell: np.ndarray, owner: np.ndarray, sums: np.ndarray) -> None:
        num_bs = self._scenario.num_bs
        self._title.set_text(f"slot {slot} of {self._scenario.horizon}")
        users = np.bincount(cell, minlength=num_bs)
        surfaces = np.bincount(owner[owner >= 0], minlength=num_bs)
        rows = [(users[m], surfaces[m], sums[m]) for m in self._listed]
        rows.append((users.sum(), surfaces.sum(), sums.sum()))
        for entries, (count, held, rate) in zip(self._entries, rows, strict=True):
            for entry, text in zip(entries, (f"{count}", f"{held}", f"{rate:.2f}"), strict=True):
                entry.set_text(text)

    def _picture(self) -> np.ndarray:
        canvas: Any = self._figure.canvas
        if self._background is None:
            canvas.draw()
            self._background = canvas.copy_from_bbox(self._figure.bbox)
        canvas.restore_region(self._background)
        for artist in sorted(self._moving, key=lambda artist: artist.get_zorder()):
            self._figure.draw_artist(artist)
        return np.array(np.asarray(canvas.buffer_rgba())[..., :3])

    def close(self) -> None:
        """Close the window, if any, and let go of what was drawn."""
        self._background = None
        # its parts refer to each other: without this they hold megabytes until Python looks for such rings
        self._figure.clear()
        if self._window is not None:
            self._window.close()


class _Window:
    """A pyplot window that keeps pace with :data:`FPS`; without a display it is an invisible figure."""

    def __init__(self) -> None:
        import matplotlib.pyplot as plt

        self._plt = plt
        self._figure: Any = None
        self._next = 0.0

    def open(self, size_in: tuple[float, float]) -> Any:
        """The figure to draw on, in its window."""
        from matplotlib.backend_bases import FigureManagerBase

        self._figure = self._plt.figure(figsize=size_in, dpi=DPI, facecolor="white")
        manager = self._figure.canvas.manager
        self._visible = type(manager).pyplot_show != FigureManagerBase.pyplot_show
        self._visible = self._visible or self._plt.get_backend().lower() in _interactive_backends()
        if self._visible:
            manager.set_window_title("irs-marl-env")
            self._figure.show()
        else:
            _log.warning("render_mode='human' needs a display (matplotlib chose %s)", self._plt.get_backend())
        return self._figure

    @property
    def gone(self) -> bool:
        """Whether the user has closed the window."""
        return not self._plt.fignum_exists(self._figure.number)

    def show(self) -> None:
        """Bring the figure up to date and wait for the next frame's time."""
        if not self._visible:
            self._figure.canvas.draw()
            return
        self._figure.canvas.draw_idle()
        pause = max(self._next - time.monotonic(), 1e-3)
        self._figure.canvas.start_event_loop(pause)
        self._next = time.monotonic() + 1.0 / FPS

    def close(self) -> None:
        """Close the window."""
        self._plt.close(self._figure)


def _interactive_backends() -> list[str]:
    from matplotlib.backends import BackendFilter, backend_registry

    return backend_registry.list_builtin(BackendFilter.INTERACTIVE)


# --- layout ----------------------------------------------------------------------------------------------------------


class _Plan(NamedTuple):
    """Where things stand on the figure; boxes are ``(left, bottom, width, height)`` in inches."""

    size_in: tuple[float, float]
    map_in: tuple[float, float, float, float]
    table_in: tuple[float, float, float, float]
    plot_in: tuple[float, float, float, float]
    extent_m: tuple[float, float, float, float]  # left, right, bottom and top of the map
    axes: tuple[str, str]  # their names

    def to_map(self, position: np.ndarray) -> np.ndarray:
        """Positions ``(..., 2)`` in m as the map has them: a long street lies on its side."""
        return position if self.axes[0] == "x" else position[..., ::-1]


def _plan(scenario: Scenario) -> _Plan:
    """A compact area has the panel beside it, an oblong one lies flat with the panel underneath."""
    sites = np.concatenate([deployment.bs_positions(scenario), deployment.irs_positions(scenario)])[:, :2]
    bounds = np.array(scenario.bounds_m)  # sites may stand outside the area of the users
    (left, bottom), (right, top) = np.minimum(bounds[:2], sites.min(0)), np.maximum(bounds[2:], sites.max(0))
    lying = top - bottom > 1.8 * (right - left)
    extent, axes = (left, right, bottom, top), ("x", "y")
    if lying:
        extent, axes = (bottom, top, left, right), ("y", "x")
    aspect = (extent[1] - extent[0]) / (extent[3] - extent[2])
    margin, legend, rows = 0.7, 0.8, min(scenario.num_bs, MOST_LISTED + 1)
    if aspect < 1.6:
        height = 4.7
        map_width = min(height * aspect, 6.0)
        size = (_even(max(margin + map_width, 5.3) + 3.6), _even(height + legend + 0.25))
        left = margin + map_width + 0.7
        panel = size[0] - left - 0.2
        table_height = min(0.55 + 0.24 * (rows + 1.4), 2.6)
        table = (left, size[1] - 0.27 - table_height, panel, table_height)
        plot = (left + 0.2, legend, panel - 0.2, table[1] - legend - 0.15)
        return _Plan(size, (margin, legend, map_width, height), table, plot, extent, axes)
    map_width = min(max(7.0, 2.75 * aspect), 11.0)
    map_height = max(map_width / aspect, 1.2)
    panel = max(1.9, 0.75 + 0.2 * (rows + 1.4))
    size = (_even(margin + map_width + 0.35), _even(map_height + legend + panel + 0.55))
    table = (margin, 0.1, 2.7, panel)
    plot = (margin + 3.5, 0.45, size[0] - margin - 3.7, panel - 0.45)
    bottom = size[1] - map_height - 0.25
    return _Plan(size, (margin, bottom, map_width, map_height), table, plot, extent, axes)


def _even(inches: float) -> float:
    """Rounded so that the picture has an even number of pixels, which video encoders want."""
    return 2 * round(inches * DPI / 2) / DPI


def _rgb(colours: list[str]) -> np.ndarray:
    """Hexadecimal colours as ``(n, 3)`` in [0, 1]."""
    return np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])


def _dark(colour: np.ndarray) -> np.ndarray:
    """The colour, dark enough to be read as text."""
    return 0.6 * colour


def _round_up(value: float) -> float:
    """The next round number, 1 at least."""
    if value <= 1.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value)
