"""Golden trajectories: the numbers behind an id change only together with its ``-vN``.

``python tests/test_golden.py ID ...`` writes those of some ids anew, without ids all, for a change that is meant.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from irs_marl_env import make_vec_env, scenario_ids

FILE = Path(__file__).parent / "golden" / "trajectories.json"
STEPS = 3


def trajectory(name):
    env = make_vec_env(name, 1, fast=False)
    observations, _ = env.reset(seed=7)
    rng = np.random.default_rng(11)
    entries = np.linspace(0, env.observation_size - 1, 12).astype(int)
    steps = []
    for _ in range(STEPS):
        action = rng.uniform(-1, 1, (1, env.scenario.num_bs, env.action_size)).astype(np.float32)
        observations, rewards, _, _, infos = env.step(action)
        steps.append(
            {
                "rewards": rewards[0].tolist(),
                "owner": infos["owner"][0].tolist(),
                "cell": infos["cell"][0].tolist(),
                "power_w": infos["power_w"][0].tolist(),
                "observation": observations[0, 0, entries].tolist(),
                "mean_magnitude": np.abs(observations[0]).mean(-1, dtype=np.float64).tolist(),
            }
        )
    return steps


@pytest.mark.parametrize("name", scenario_ids())
def test_trajectory(name):
    # the tolerance is for other processors: float32 sums in another order
    expected = json.loads(FILE.read_text(encoding="utf-8"))[name]
    for actual, step in zip(trajectory(name), expected, strict=True):
        assert actual["owner"] == step["owner"]
        assert actual["cell"] == step["cell"]
        for key in ("rewards", "power_w", "observation", "mean_magnitude"):
            np.testing.assert_allclose(actual[key], step[key], rtol=1e-3, atol=1e-5, err_msg=key)


if __name__ == "__main__":
    kept = json.loads(FILE.read_text(encoding="utf-8")) if sys.argv[1:] else {}
    kept |= {name: trajectory(name) for name in sys.argv[1:] or scenario_ids()}
    FILE.write_text(json.dumps({name: kept[name] for name in scenario_ids()}, indent=None) + "\n", encoding="utf-8")
