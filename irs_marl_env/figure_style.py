"""One look for every picture: colours, markers and settings of matplotlib, and how a figure is written.

Matplotlib (extra ``render``) is imported only where a picture is made. Colours are told apart with every form of colour
vision; in figures markers or line styles say the same again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from irs_marl_env.checks import plain_text

# Okabe and Ito's colours for all forms of colour vision, wine (Paul Tol) in place of their yellow
BS_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#000000")
IDLE = "#E6E6E6"  # an IRS that nobody controls
QUIET = "#444444"  # text that explains
GRID = "#DDDDDD"
TRAIL = 12  # slots that the trail of a user lasts
DPI = 100
MARKERS = "osD^vPX*"
LINES = ("-", "--", ":", "-.")
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": "black",
    "axes.facecolor": "white",
    "axes.edgecolor": "black",
    "axes.labelcolor": "black",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 5.0,
    "errorbar.capsize": 3.0,
    "xtick.color": "black",
    "ytick.color": "black",
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "irs-marl-env",  # the same picture is the same file
}


def look(index: int, joined: bool = True) -> dict[str, Any]:
    """Colour, marker and line style of the series ``index``: the first 32 differ.

    Args:
        index: from 0.
        joined: whether a line joins the points.

    Example:
        >>> look(0)
        {'color': '#0072B2', 'marker': 'o', 'linestyle': '-'}
    """
    return {
        "color": BS_COLOURS[index % len(BS_COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[(index // len(BS_COLOURS) + index) % len(LINES)] if joined else "none",
    }


def words(text: str) -> str:
    r"""A text of somebody else, such as a policy's name, as matplotlib has to be given it to show it as it is.

    To matplotlib a pair of dollars means mathematics and a leading underscore hides a label. Letters that cannot be
    seen, such as marks that turn the reading direction, become spaces.

    Example:
        >>> print(words("cheap$ and fast$"))
        cheap\$ and fast\$
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in plain_text(text)).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


_UNDATED: dict[str, Any] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def write(figure: Any, path: Path) -> None:
    """Write a figure of :data:`STYLE` as the ending of the file says, without a date, so that files can be compared."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        figure.savefig(path, dpi=DPI * 1.5, metadata=_UNDATED[path.suffix.lower()])


def save(figure: Any, path: Path) -> list[Path]:
    """Write a figure as PNG and as SVG; see :func:`write`.

    Args:
        figure: of matplotlib.
        path: of one of the two; the other stands beside it.

    Returns:
        Both paths.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written = [path.with_suffix(".png"), path.with_suffix(".svg")]
    for each in written:
        write(figure, each)
    return written
