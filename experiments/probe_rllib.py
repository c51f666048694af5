"""RLlib over ``RLlibEnv``: what its PPO learns of a value that is known, and how fast steps are.

python -m experiments.probe_rllib
"""

from __future__ import annotations

from typing import Any

import numpy as np
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module import RLModuleSpec
from ray.rllib.env.vector.sync_vector_multi_agent_env import SyncVectorMultiAgentEnv

from experiments.probing import DISCOUNT, ROWS, SPEED, VALUE, report, steps_per_s
from irs_marl_env.adapters.rllib import RLlibEnv

SLOTS = 200  # of each timed call


def value(env: Any = RLlibEnv, iterations: int = 40) -> float:
    """Mean value of the first observations, after training."""
    model = {"fcnet_hiddens": [32], "vf_share_layers": False}
    config = (
        PPOConfig()
        .environment(env, env_config={**VALUE, "fast": False})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=8)
        .multi_agent(policies={"shared"}, policy_mapping_fn=lambda agent, episode, **_: "shared")
        .rl_module(rl_module_spec=RLModuleSpec(model_config=model))
        .training(gamma=DISCOUNT, lr=2e-3, vf_clip_param=1e6, train_batch_size_per_learner=160)
        .training(minibatch_size=80, num_epochs=10)
        .debugging(seed=0, log_level="ERROR")
    )
    algorithm = config.build_algo()
    for _ in range(iterations):
        algorithm.train()
    first = [obs for seed in range(20) for obs in env(VALUE).reset(seed=seed)[0].values()]
    rows = {Columns.OBS: torch.as_tensor(np.stack(first))}
    with torch.no_grad():
        found = algorithm.learner_group.foreach_learner(
            lambda learner: learner.module["shared"].compute_values(rows).mean().item()
        )
    algorithm.stop()
    return next(iter(found)).get()


def main() -> None:
    """Print the line of the table."""
    torch.set_num_threads(1)
    learned = value()
    vec = SyncVectorMultiAgentEnv([lambda: RLlibEnv(SPEED)] * ROWS)
    vec.reset(seed=0)
    action = np.zeros(vec.envs[0].action_spaces["bs_0"].shape, np.float32)
    actions = [dict.fromkeys(vec.envs[0].possible_agents, action)] * ROWS
    report("ray", learned, steps_per_s(lambda: [vec.step(actions) for _ in range(SLOTS)], SLOTS * ROWS))
    ray.shutdown()


if __name__ == "__main__":
    main()
