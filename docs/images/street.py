"""Draws docs/images/street.gif and its last frame, street.png; needs the extra ``render``.

    python docs/images/street.py

The BSs bid by the local-gain rule, and the structured decoder does the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from irs_marl_env import films
from irs_marl_env.episodes import play

POLICY = "structured-local-gain"
SCENARIO = "mdlbi-v0"
SLOTS = 64
SEED = 9
FPS = 6.5  # ten seconds


def frames() -> Iterator[np.ndarray]:
    """One after the reset, and one after each slot."""
    for played in play(POLICY, SCENARIO, SEED, SLOTS, render_mode="rgb_array"):
        played.env.caption = f"bids by the local-gain rule on {SCENARIO}"
        picture = played.env.render(0)
        assert picture is not None
        yield picture


def main() -> None:
    """Run one episode and write both files."""
    drawn = list(frames())
    path = Path(__file__).with_suffix(".gif")
    films.write_gif(path, drawn, FPS)
    films.write_png(path.with_suffix(".png"), drawn, FPS)
    for written in (path, path.with_suffix(".png")):
        print(f"{written}: {written.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
