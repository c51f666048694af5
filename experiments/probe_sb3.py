"""Stable-Baselines3 over ``Sb3VecEnv``: what PPO and TD3 learn of a value that is known, and how fast steps are.

python -m experiments.probe_sb3
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO, TD3

from experiments.probing import DISCOUNT, ROWS, SPEED, VALUE, report, steps_per_s
from irs_marl_env.adapters.sb3 import Sb3VecEnv

SMALL: dict[str, Any] = {"policy_kwargs": {"net_arch": [32]}, "seed": 0, "gamma": DISCOUNT, "device": "cpu"}


def value_of_ppo() -> float:
    """Mean value of the first observations, after training."""
    rows = Sb3VecEnv(num_envs=8, fast=False, **VALUE)
    ppo = PPO("MlpPolicy", rows, n_steps=20, batch_size=80, learning_rate=2e-3, **SMALL)
    ppo.learn(40 * 20 * rows.num_envs)
    rows.seed(0)
    with torch.no_grad():
        return float(ppo.policy.predict_values(torch.as_tensor(rows.reset())).mean())


def value_of_td3() -> float:
    """Mean of the first critic at the first observations and the actor's actions, after training."""
    rows = Sb3VecEnv(num_envs=8, fast=False, **VALUE)
    td3 = TD3("MlpPolicy", rows, learning_rate=2e-3, learning_starts=160, gradient_steps=2, tau=0.05, **SMALL)
    td3.learn(2000 * rows.num_envs)
    rows.seed(0)
    observations = torch.as_tensor(rows.reset())
    with torch.no_grad():
        return float(td3.critic.q1_forward(observations, td3.actor(observations)).mean())


def main() -> None:
    """Print the line, with the value further from 10."""
    torch.set_num_threads(1)
    rows = Sb3VecEnv(num_envs=ROWS, seed=0, **SPEED)
    rows.reset()
    action = np.zeros((rows.num_envs, rows.batch.action_size), np.float32)
    speed = steps_per_s(lambda: [rows.step(action) for _ in range(200)], 200 * ROWS)
    learned = {"PPO": value_of_ppo(), "TD3": value_of_td3()}
    print(learned)
    report("stable-baselines3", max(learned.values(), key=lambda value: abs(value - 10)), speed)


if __name__ == "__main__":
    main()
