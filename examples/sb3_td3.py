"""TD3 of Stable-Baselines3, one actor for all base stations: 2 minutes of learning beside the baselines.

    pip install -e '.[sb3]'
    python examples/sb3_td3.py

Every base station is a row of ``Sb3VecEnv`` and a sample in one replay memory. Noise is drawn anew for every row.
"""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3 import TD3
from stable_baselines3.common.noise import NormalActionNoise, VectorizedActionNoise

from irs_marl_env import compare, evaluate, get_scenario
from irs_marl_env.adapters.sb3 import Sb3VecEnv

SCENARIO = get_scenario("mdlbi-blocked-small-v0", action="structured", observation="large_scale", reward="team")


def main(steps: int = 160_000, episodes: int = 50) -> None:
    """Train on so many samples, and print a table on the same draws."""
    torch.set_num_threads(1)  # small networks: more threads only wait for one another
    env = Sb3VecEnv(SCENARIO, 16)
    size = env.action_space.shape[0]
    model = TD3(
        "MlpPolicy",
        env,
        seed=1,
        gamma=0.0,  # an action changes nothing but its own slot's rate
        learning_rate=1e-3,
        learning_starts=3200,
        buffer_size=200_000,
        gradient_steps=2,  # after each step of all rows
        action_noise=VectorizedActionNoise(NormalActionNoise(np.zeros(size), np.full(size, 0.3)), env.num_envs),
        policy_kwargs={"net_arch": [64, 64]},
        device="cpu",
    )

    def td3(observations: np.ndarray) -> np.ndarray:  # (E, M, D_o) to (E, M, D_a), one row for each base station
        rows = model.predict(observations.reshape(-1, observations.shape[-1]), deterministic=True)[0]
        return rows.reshape(*observations.shape[:2], -1)

    model.learn(steps)
    bank = {"episodes": episodes, "seed": 10_000, "slots": 20, "every": 5}
    results = [evaluate(name, SCENARIO, **bank) for name in ("random", "structured-local-gain")]
    results.append(evaluate(td3, SCENARIO, name="TD3", **bank))
    print(compare(results, ["sum_rate", "jain"], baseline="structured-local-gain").table())


if __name__ == "__main__":
    main()
