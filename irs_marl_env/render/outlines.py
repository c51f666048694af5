"""Short texts as one collection of outlines, which is drawn many times faster than texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def outline(text: str, size: float, shift: tuple[float, float] = (0.0, 0.0), side: int = 0, bold: bool = True) -> Any:
    """The path of a text around the origin.

    Args:
        text: a few letters.
        size: of the letters [points].
        shift: of the text from the origin [points].
        side: 1: the text begins there, -1: it ends there, 0: it has its middle there.
        bold: or not.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    path = TextPath((0, 0), text, size=size, prop=font)
    box = path.get_extents()
    across = {-1: -box.x1, 0: -(box.x0 + box.x1) / 2, 1: -box.x0}[side]
    return path.transformed(Affine2D().translate(across + shift[0], shift[1] - 0.36 * size))  # half a capital letter


def collection(ax: Any, paths: Sequence[Any], places: np.ndarray, transform: Any = None) -> Any:
    """Paths at places of the axes, as a collection without colours.

    Args:
        ax: axes, to which it is added.
        paths: n of :func:`outline`, in points.
        places: ``(n, 2)``.
        transform: of the places; ``None``: that of the data.
    """
    from matplotlib.collections import PathCollection
    from matplotlib.transforms import IdentityTransform

    where = places if len(places) else np.zeros((0, 2))
    options = {"offset_transform": ax.transData if transform is None else transform, "linewidths": 0}
    found = PathCollection(paths, sizes=[1.0], offsets=where, **options)
    found.set_transform(IdentityTransform())  # points already, not data
    ax.add_collection(found, autolim=False)
    return found
