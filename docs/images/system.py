"""Draws docs/images/system.svg and system.png: the system, with the symbols of docs/model.md; extra ``render``.

python docs/images/system.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from irs_marl_env.figure_style import BS_COLOURS, QUIET, STYLE, save

SIZE_IN = (8.2, 5.0)
BLUE, ORANGE = BS_COLOURS[:2]
Point = tuple[float, float]
BS0, BS1 = (0.75, 1.0), (7.45, 1.0)  # feet of the masts; the antennas are MAST above
MAST = 1.35
IRSS = ((4.1, 3.8, BLUE), (3.05, 2.75, BLUE), (5.15, 2.75, ORANGE))
USERS = ((2.25, 0.75, BLUE), (3.55, 0.95, BLUE), (5.95, 0.75, ORANGE))


def pale(colour: str, share: float) -> tuple[float, ...]:
    """The colour mixed with white."""
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return tuple(1.0 - share * (1.0 - rgb))


def bs(ax: Any, foot: Point, colour: str, name: str, side: int) -> None:
    """A mast with Nb = 4 antennas and the lobes of two beams, which go to the ``side`` 1 or -1."""
    from matplotlib.patches import Ellipse, Polygon

    x, y = foot
    ax.add_patch(Polygon([(x - 0.24, y), (x, y + MAST), (x + 0.24, y)], closed=False, fill=False, ec=colour, lw=2))
    for share in (0.25, 0.5):
        half = 0.24 * (1 - share)
        ax.plot([x - half, x + half], [y + share * MAST] * 2, color=colour, lw=1.4)
    ax.plot([x - 0.3, x + 0.3], [y + MAST] * 2, color=colour, lw=3, solid_capstyle="round")
    for i in range(4):
        at = x - 0.27 + 0.18 * i
        ax.plot([at, at], [y + MAST, y + MAST + 0.2], color=colour, lw=1.6)
        ax.plot([at], [y + MAST + 0.22], marker="v", ms=6, color=colour)
    for angle, length in ((28.0, 0.95), (-14.0, 0.75)):
        turn = angle if side > 0 else 180 - angle
        way = np.deg2rad(turn)
        middle = (x + 0.36 * side + 0.5 * length * np.cos(way), y + MAST + 0.08 + 0.5 * length * np.sin(way))
        ax.add_patch(Ellipse(middle, length, 0.24, angle=turn, fc=pale(colour, 0.3), ec=colour, lw=0.8, zorder=1.5))
    ax.text(x, y - 0.14, name, ha="center", va="top", weight="bold", color=colour, fontsize=11)


def irs(ax: Any, x: float, y: float, colour: str, name: str) -> None:
    """A panel of elements."""
    from matplotlib.patches import Rectangle

    columns, rows, pitch = 5, 3, 0.115
    width, height = columns * pitch + 0.05, rows * pitch + 0.05
    ax.add_patch(Rectangle((x - width / 2, y - height / 2), width, height, fc="white", ec=colour, lw=2, zorder=4))
    phases = np.random.default_rng(3).uniform(0.35, 1.0, (columns, rows))
    for i in range(columns):
        for j in range(rows):
            corner = (x - width / 2 + 0.04 + pitch * i, y - height / 2 + 0.04 + pitch * j)
            ax.add_patch(Rectangle(corner, 0.085, 0.085, fc=pale(colour, phases[i, j]), ec="none", zorder=5))
    ax.text(x, y + 0.26, name, ha="center", va="bottom", fontsize=10, color=colour, weight="bold")


def user(ax: Any, x: float, y: float, colour: str, name: str) -> None:
    """A phone."""
    from matplotlib.patches import FancyBboxPatch, Rectangle

    box = FancyBboxPatch((x - 0.07, y - 0.14), 0.14, 0.28, boxstyle="round,pad=0.02", fc=colour, ec=colour, zorder=5)
    ax.add_patch(box)
    ax.add_patch(Rectangle((x - 0.065, y - 0.09), 0.13, 0.2, fc="white", ec="none", zorder=6))
    ax.text(x, y - 0.22, name, ha="center", va="top", fontsize=9.5, color=colour)


def way(ax: Any, start: Point, end: Point, colour: Any, style: str = "-", width: float = 1.7) -> None:
    """An arrow from one end of a channel towards the other, a little short of both."""
    a, b = np.array(start), np.array(end)
    unit = (b - a) / np.hypot(*(b - a))
    arrow: dict[str, Any] = {"arrowstyle": "-|>,head_length=0.5,head_width=0.22", "lw": width, "color": colour}
    ax.annotate(
        "", xy=b - 0.27 * unit, xytext=a + 0.05 * unit, arrowprops={**arrow, "ls": style, "shrinkA": 0, "shrinkB": 0}
    )


def draw() -> Any:
    """The figure."""
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch, Rectangle

    figure = Figure(figsize=SIZE_IN)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, SIZE_IN[0]), ylim=(0, SIZE_IN[1]))
    ax.set_axis_off()
    for left, colour in ((0.15, BLUE), (4.1, ORANGE)):
        ax.add_patch(Rectangle((left, 0.15), 3.95, 4.2, fc=pale(colour, 0.1), ec="none", zorder=0))
    ax.text(0.27, 0.24, "cell of BS 0: users 0 and 1", color=BLUE, fontsize=9.5, va="bottom")
    ax.text(7.93, 0.24, "cell of BS 1: user 2", color=ORANGE, fontsize=9.5, va="bottom", ha="right")
    top0, top1 = (BS0[0] + 0.36, BS0[1] + MAST + 0.08), (BS1[0] - 0.36, BS1[1] + MAST + 0.08)
    # the channels: BS to IRS, IRS to user, and the direct way, which a wall blocks
    bs(ax, BS0, BLUE, "BS 0", 1)
    bs(ax, BS1, ORANGE, "BS 1", -1)
    for l, (x, y, colour) in enumerate(IRSS):
        near = 0.3 if colour == ORANGE else -0.3 if l else -0.22
        way(ax, top0 if colour == BLUE else top1, (x + near, y - (0.0 if l else 0.14)), colour)
        irs(ax, x, y, colour, f"IRS {l}")
    for irs_at, user_at, colour in ((1, 0, BLUE), (0, 1, BLUE), (1, 1, BLUE), (2, 2, ORANGE)):
        start = (IRSS[irs_at][0], IRSS[irs_at][1] - 0.22)
        way(ax, start, USERS[user_at][:2], colour, (0, (4, 1.6)))
    for at, foot in ((0, top0), (1, top0), (2, top1)):
        x, y, colour = USERS[at]
        way(ax, foot, (x, y), pale(colour, 0.55), (0, (1, 1.4)), 1.4)
        user(ax, x, y, colour, f"user {at}")
    for x, y in ((1.55, 1.6), (6.52, 1.6)):
        ax.add_patch(
            FancyBboxPatch((x, y - 0.33), 0.13, 0.62, boxstyle="round,pad=0.02", fc="#9A9A9A", ec="#666666", zorder=4)
        )
    return figure, ax


def words(ax: Any) -> None:
    """The symbols, each beside what it means."""
    for x, y, text, colour in (
        (2.5, 3.3, "$G_{0,0}$", BLUE),
        (2.35, 2.42, "$G_{0,1}$", BLUE),
        (6.02, 2.78, "$G_{1,2}$", ORANGE),
        (4.15, 2.2, "$h_{0,1}$", BLUE),
        (3.52, 1.95, "$h_{1,1}$", BLUE),
        (2.48, 2.02, "$h_{1,0}$", BLUE),
        (5.75, 1.95, "$h_{2,2}$", ORANGE),
        (2.17, 1.36, "$H_{0,0}$", BLUE),
        (1.98, 2.12, "$H_{0,1}$", BLUE),
        (6.04, 1.32, "$H_{1,2}$", ORANGE),
        (3.53, 2.75, r"$\phi_1$", BLUE),
        (4.68, 2.75, r"$\phi_2$", ORANGE),
    ):
        ax.text(x, y, text, color=colour, fontsize=12.5, ha="center", va="center", zorder=8)
    for x, colour, m in ((1.2, BLUE, 0), (7.0, ORANGE, 1)):
        ax.text(x, 3.02, f"beams $w_{m}$", color=colour, fontsize=11, ha="center", va="center")
    quiet: dict[str, Any] = {"fontsize": 9.0, "color": QUIET, "va": "center"}
    ax.text(4.55, 3.95, "elements with phases $\\phi_0$\nBS 0 owns IRSs 0 and 1, BS 1 owns IRS 2", **quiet)
    for x in (1.615, 6.585):
        ax.text(x, 1.1, "blocked", ha="center", **quiet)
    equation = (
        r"$h_{\mathrm{eff},k} = H_{m,k} + \sum_{l\,\mathrm{of\,BS}\,m}\; h_{l,k}\;\mathrm{diag}(\phi_l)\;G_{m,l}$"
    )
    ax.text(4.1, 4.7, equation, fontsize=13, ha="center", va="center")


def main() -> None:
    """Draw and write."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        figure, ax = draw()
        words(ax)
    for written in save(figure, Path(__file__).with_suffix(".svg")):
        print(f"{written}: {written.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
