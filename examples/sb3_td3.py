"""TD3 of Stable-Baselines3, one actor for all base stations: a minute of learning beside the baselines.

    pip install -e '.[sb3]'
    python examples/sb3_td3.py

Every base station is a row of ``Sb3VecEnv`` and a sample in one replay memory. As it comes, the actor of TD3 drives its
bids to the bounds, where tanh has no slope, and stays there. A layer of normalisation before tanh keeps it inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import TD3
from stable_baselines3.common.noise import NormalActionNoise, VectorizedActionNoise
from stable_baselines3.td3.policies import Actor, TD3Policy

from irs_marl_env import compare, evaluate, get_scenario
from irs_marl_env.adapters.sb3 import Sb3Policy, Sb3VecEnv

SCENARIO = get_scenario("mdlbi-blocked-small-v0", action="structured", observation="large_scale", reward="team")


class BoundedPolicy(TD3Policy):
    """TD3's networks, with an actor that does not saturate."""

    def make_actor(self, features_extractor: Any = None) -> Actor:
        """The actor, with a layer more before its last, which is tanh."""
        actor = super().make_actor(features_extractor)
        actor.mu.insert(len(actor.mu) - 1, torch.nn.LayerNorm(spaces.flatdim(self.action_space)))
        return actor


def main(steps: int = 96_000, episodes: int = 50) -> None:
    """Train on so many samples, and print a table on the same draws."""
    torch.set_num_threads(1)  # small networks: more threads only wait for one another
    env = Sb3VecEnv(SCENARIO, 16)
    size = env.batch.action_size
    model = TD3(
        BoundedPolicy,
        env,
        seed=1,
        gamma=0.0,  # an action changes nothing but its own slot's rate
        learning_starts=16_000,  # samples of random actions
        buffer_size=200_000,
        gradient_steps=2,  # after each step of all rows
        action_noise=VectorizedActionNoise(NormalActionNoise(np.zeros(size), np.full(size, 0.4)), env.num_envs),
        policy_kwargs={"net_arch": [64, 64]},
        device="cpu",
    )
    model.learn(steps)
    bank: dict[str, Any] = {"episodes": episodes, "seed": 10_000, "slots": 20, "every": 5}
    results = [evaluate(name, SCENARIO, **bank) for name in ("random", "structured-local-gain")]
    results.append(evaluate(Sb3Policy(model), SCENARIO, **bank))
    print(compare(results, ["sum_rate", "jain"], baseline="structured-local-gain").table())


if __name__ == "__main__":
    main()
