"""Draws docs/images/street.gif and its last frame, street.png; needs the extra ``render``.

    python docs/images/street.py

The BSs bid by the local-gain rule, and the structured decoder does the rest.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from irs_marl_env import get_scenario, make_env
from irs_marl_env.policies import POLICIES

SLOTS = 64
SEED = 9
COLOURS = 96  # of all frames together
MILLISECONDS = 150  # per frame


def main() -> None:
    """Run one episode and write both files."""
    policy = POLICIES["structured-local-gain"]
    env = make_env(policy.adapt(get_scenario("mdlbi-v0")), render_mode="rgb_array")
    env.reset(seed=SEED)
    act = policy.bind(env, SEED)
    frames = [Image.fromarray(env.render())]
    for _ in range(SLOTS):
        env.step(act())
        frames.append(Image.fromarray(env.render()))
    env.close()
    palette = frames[-1].quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    path = Path(__file__).with_suffix(".gif")
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0, optimize=True)
    frames[-1].save(path.with_suffix(".png"), optimize=True)
    for written in (path, path.with_suffix(".png")):
        print(f"{written}: {written.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
