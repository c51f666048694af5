"""Draws docs/images/street.png: ``python docs/images/street.py`` (needs the extra ``render``).

The BSs bid for each IRS what it brings their own users, and leave the rest to the structured decoder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from irs_marl_env import make_env

SLOTS = 45
SEED = 9


def main() -> None:
    env = make_env("mdlbi-v0", action="structured", observation="large_scale", render_mode="rgb_array")
    observations, _ = env.reset(seed=SEED)
    for _ in range(SLOTS):
        actions = {}
        for agent, flat in observations.items():
            seen = env.observation_codec.decode(flat)
            value = (seen["own_user"] * 10.0 ** seen["irs_gain"]).sum(-1)  # (L,), path gains in units of 10 dB
            bids = np.clip(np.log10(value + 1e-3) / 3, -1, 1)
            neutral = {"focus": np.ones_like(seen["irs_gain"]), "powers": np.ones_like(seen["own_user"])}
            actions[agent] = env.action_codec.encode({**neutral, "bids": bids, "regularizer": np.float32(1)})
        observations, *_ = env.step(actions)
        picture = env.render()
    env.close()
    path = Path(__file__).with_suffix(".png")
    Image.fromarray(picture).quantize(128).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
