"""The map: cells, BSs, IRSs with their numbers and bids, users with their trails, and who is linked to whom."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

from irs_marl_env.figure_style import BS_COLOURS, IDLE, QUIET, TRAIL
from irs_marl_env.physics import deployment
from irs_marl_env.render.outlines import collection, outline
from irs_marl_env.render.plan import MOST_LISTED, Plan
from irs_marl_env.render.scene import Scene
from irs_marl_env.scenario import Scenario

FAR_M = 1e4  # from here on the axes are in km
MOST_BIDDERS = 4  # BSs whose bids are drawn beside an IRS
MOST_BID_FOR = 12  # IRSs beside which bids are drawn
_NEUTRAL = 1.0  # bit/s/Hz, whose size a user has before the first slot
_BID_IN = 13.0  # points that a bid of 1 is above one of -1


class SiteMap:
    """Draws scenes onto axes.

    Args:
        ax: the axes.
        scenario: of the environment.
        plan: of the picture.
        colours: ``(M, 3)``.
        irs_colours: ``(M + 1, 3)``, the last for an idle IRS.
    """

    def __init__(self, ax: Any, scenario: Scenario, plan: Plan, colours: np.ndarray, irs_colours: np.ndarray) -> None:
        self._ax, self._scenario, self._plan = ax, scenario, plan
        self._colours, self._irs_colours = colours, irs_colours
        self._bs = plan.to_map(deployment.bs_positions(scenario)[:, :2])
        self._irs = plan.to_map(deployment.irs_positions(scenario)[:, :2])
        self._crowd = math.sqrt(max(1.0, scenario.num_users / 20, scenario.num_irs / 8))  # smaller markers
        self._trail: deque[np.ndarray] = deque(maxlen=TRAIL)
        self.moving: list[Any] = []
        left, right, bottom, top = plan.extent_m
        ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        unit = "m"
        if max(map(abs, plan.extent_m)) >= FAR_M:  # there is no room for so many digits
            unit = "km"
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_formatter(lambda metres, _: f"{metres / 1000:.6g}".replace("-", "\u2212"))
        ax.set_xlabel(f"{plan.axes[0]} [{unit}]", labelpad=1)
        ax.set_ylabel(f"{plan.axes[1]} [{unit}]", labelpad=1)
        ax.tick_params(pad=9)  # past the masts
        if scenario.cell_rule == "nearest" and scenario.channels is None:  # else cells are no areas
            ax.imshow(self._shading(), extent=plan.extent_m, origin="lower", interpolation="nearest", zorder=0)
        self._note = ax.text(0.02, 0.98, "", transform=ax.transAxes, va="top", fontsize=8.5, color=QUIET)
        self.moving.append(self._note)
        self._build_users()
        self._build_irs()
        self._build_bs()

    def _build_users(self) -> None:
        from matplotlib.collections import LineCollection

        ax = self._ax
        self._trails = LineCollection([], linewidths=2.2 / self._crowd, zorder=2)
        self._serving: Any = LineCollection([], linewidths=0.9 / self._crowd, zorder=2.5)
        ax.add_collection(self._trails, autolim=False)
        ax.add_collection(self._serving, autolim=False)
        self._users = ax.scatter([], [], marker="o", edgecolors="white", linewidths=0.7, zorder=5)
        self._users.set_clip_on(False)  # they walk up to the edge of the area
        self._marker_area = 26.0 / self._crowd  # points^2 per bit/s/Hz
        self.moving += [self._trails, self._serving, self._users]

    def _build_irs(self) -> None:
        from matplotlib.collections import LineCollection

        ax, count = self._ax, self._scenario.num_irs
        self._held = LineCollection([], linewidths=1.8 / self._crowd, zorder=3)
        ax.add_collection(self._held, autolim=False)
        side = max(10.5 / math.sqrt(self._crowd), 7.5)  # points
        self._irs_marks = ax.scatter(*self._irs.T, s=side**2, marker="s", linewidths=0.8, zorder=4)
        self._irs_marks.set(edgecolors="black", clip_on=False)  # IRSs hang on walls, which are edges of the area
        self.moving += [self._held, self._irs_marks]
        self._build_facings(side)
        self._bids: Any = None
        if count and self._scenario.num_bs <= MOST_BIDDERS and count <= MOST_BID_FOR:
            self._build_bids(side)
        numbers = [outline(str(l), (0.84 if l < 10 else 0.7) * side) for l in range(count)]
        self._numbers = collection(ax, numbers, self._irs)
        self._numbers.set(zorder=4.5, clip_on=False)
        self.moving.append(self._numbers)

    def _build_facings(self, side: float) -> None:
        """A short line from each IRS the way it faces."""
        axes = deployment.irs_axes(self._scenario)
        if axes is None:
            return
        along = 1.3 * side * self._plan.metres_per_point * self._plan.to_map(axes[:, 2, :2])
        ends = np.stack([self._irs, self._irs + along])
        self._ax.plot(*ends.transpose(2, 0, 1), color="black", linewidth=1.8 / self._crowd, zorder=3.5, clip_on=False)

    def _build_bids(self, side: float) -> None:
        """Beside each IRS a bar for each BS, as long as its bid: from -1 at the bottom to 1 at the top."""
        from matplotlib.collections import LineCollection

        metre = self._plan.metres_per_point
        right = self._plan.extent_m[1]
        places = np.arange(self._scenario.num_bs) * 4.0 + 4.5 + side / 2  # points from the middle of the IRS
        inward = np.where(self._irs[:, 0] + metre * (places[-1] + 4) > right, -1.0, 1.0)
        across = self._irs[:, None, 0] + metre * inward[:, None] * places
        self._bid_foot = np.stack([across, np.tile(self._irs[:, None, 1] - metre * _BID_IN / 2, (1, len(places)))], -1)
        self._bid_rise = metre * _BID_IN
        top = self._bid_foot + np.array([0.0, self._bid_rise])
        empty = list(np.stack([self._bid_foot, top], axis=2).reshape(-1, 2, 2))
        tracks = LineCollection(empty, linewidths=3.0, colors="#BBBBBB", capstyle="butt", zorder=1.5, clip_on=False)
        self._bids = LineCollection([], linewidths=3.0, capstyle="butt", zorder=3.9, clip_on=False)
        self._ax.add_collection(tracks, autolim=False)
        self._ax.add_collection(self._bids, autolim=False)
        self._bids.set_colors(np.tile(self._colours, (self._scenario.num_irs, 1)))
        self.moving.append(self._bids)

    def _build_bs(self) -> None:
        many = max(1.0, self._scenario.num_bs / 10)
        masts = self._ax.scatter(*self._bs.T, s=230 / many, marker="^", c=self._colours, edgecolors="black", zorder=6)
        masts.set_clip_on(False)  # BSs stand on the edge of the area, too
        self.moving += [masts, *self._bs_labels()]

    def _bs_labels(self) -> list[Any]:
        """Names of the BSs, next to their masts on the side of the map's middle."""
        left, right, bottom, top = self._plan.extent_m
        long, short = right - left, top - bottom
        shifts, sides = [], []
        for x, y in self._bs:
            inward = 1 if x - left < 0.25 * long else -1 if x - left > 0.75 * long else 0
            shifts.append((9 * inward, -15 if y - bottom > 0.6 * short else 15))
            sides.append(inward)
        names = [f"BS {m}" if self._scenario.num_bs <= MOST_LISTED else f"{m}" for m in range(len(self._bs))]
        paths = [outline(*label) for label in zip(names, [9.0] * len(names), shifts, sides, strict=True)]
        halo, words = (collection(self._ax, paths, self._bs) for _ in range(2))
        halo.set(zorder=7, facecolors="white", edgecolors="white", linewidths=3.0)
        words.set(zorder=7.1, facecolors=0.6 * self._colours)  # dark enough to be read
        return [halo, words]

    def legend(self, figure: Any) -> None:
        """What the marks mean, under the map."""
        from matplotlib.lines import Line2D

        def mark(label: str, marker: str, area: float, colour: str, edge: str = "black") -> Line2D:
            size = math.sqrt(area)
            return Line2D([], [], ls="none", marker=marker, ms=size, mfc=colour, mec=edge, mew=0.8, label=label)

        handles = [mark("BS", "^", 90, "white")]
        if self._scenario.num_irs:
            handles += [
                mark("IRS (colour: owner)", "s", 64, BS_COLOURS[0]),
                mark("idle (edge: next owner)" if self._scenario.switching_slots else "idle", "s", 64, IDLE),
            ]
        if self._bids is not None:
            handles.append(Line2D([], [], ls="none", marker="|", ms=10, mew=3, mec=BS_COLOURS[0], label="bid"))
        for label, rate in (("user at 0", 0), ("1", 1), ("4 bit/s/Hz", 4)):
            handles.append(mark(label, "o", self._area_of(rate), QUIET, "white"))
        width, height = self._plan.size_in
        left, bottom = self._plan.map_in[:2]
        figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=((left - 0.1) / width, (bottom - 0.48) / height),
            borderaxespad=0.0,
            ncols=len(handles),
            handletextpad=0.2,
            columnspacing=0.7,
            fontsize=8.0,
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

    # --- a frame -------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Users were not followed: their trails begin anew."""
        self._trail.clear()

    def follow(self, scene: Scene) -> None:
        """Keep where the users are."""
        self._trail.append(scene.position)

    def update(self, scene: Scene) -> None:
        """Show a scene."""
        self._note.set_text("no positions are recorded: users stand in order" if scene.in_order else "")
        colours = self._colours[scene.cell]
        rates = np.full(len(scene.cell), _NEUTRAL) if scene.rates is None else scene.rates
        order = np.argsort(-rates)  # small markers on top
        self._users.set_offsets(scene.position[order])
        self._users.set_sizes(self._area_of(rates[order]))
        hollow = scene.rates is None  # nothing has been received yet
        self._users.set_facecolors("white" if hollow else colours[order])
        self._users.set_edgecolors(colours[order] if hollow else "white")
        self._users.set_linewidths(1.6 / self._crowd if hollow else 0.7)
        self._trails.set_segments(list(np.stack(self._trail, axis=1)) if len(self._trail) > 1 else [])
        self._trails.set_colors(0.62 + 0.38 * colours)
        self._update_irs(scene)

    def _update_irs(self, scene: Scene) -> None:
        owner = scene.owner
        self._irs_marks.set_facecolors(self._irs_colours[owner])
        if self._scenario.switching_slots:  # an idle one has the edge of the BS it is being set up for
            waiting = (owner < 0) & (scene.holder >= 0)
            self._irs_marks.set_edgecolors(np.where(waiting[:, None], self._irs_colours[scene.holder], 0.0))
            self._irs_marks.set_linewidths(np.where(waiting, 2.0, 0.8))
        held = np.flatnonzero(owner >= 0)
        self._held.set_segments(list(np.stack([self._bs[owner[held]], self._irs[held]], axis=1)))
        self._held.set_colors(self._colours[owner[held]])
        brightness = self._irs_colours[owner] @ [0.299, 0.587, 0.114]
        self._numbers.set_facecolors(np.where(brightness[:, None] > 0.58, 0.0, 1.0) * np.ones(3))
        if self._bids is not None:
            bids = [] if scene.bids is None else self._bars(scene.bids)
            self._bids.set_segments(bids)
        self._update_serving(scene)

    def _bars(self, bids: np.ndarray) -> list[np.ndarray]:
        rise = self._bid_rise * (np.clip(bids.T, -1.0, 1.0) + 1.0) / 2  # (L, M)
        top = self._bid_foot.copy()
        top[..., 1] += rise
        return list(np.stack([self._bid_foot, top], axis=2).reshape(-1, 2, 2))

    def _update_serving(self, scene: Scene) -> None:
        """Thin lines from each IRS to the users of its owner, fainter where the way is weaker."""
        if scene.serves is None:
            self._serving.set_segments([])
            return
        irs, user = np.nonzero(scene.serves)
        self._serving.set_segments(list(np.stack([self._irs[irs], scene.position[user]], axis=1)))
        alpha = 0.6 / self._crowd * scene.serves[irs, user]
        self._serving.set_colors(np.column_stack([self._colours[scene.owner[irs]], alpha]))

    def _area_of(self, rate: Any) -> Any:
        """Marker area [points^2] of a user at a rate [bit/s/Hz]; those at rate 0 stay visible."""
        return self._marker_area * np.minimum(rate, 12.0) + 16.0
