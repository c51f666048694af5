"""AgileRL over ``AgileVecEnv``: what its MATD3 learns of a value that is known, and how fast steps are.

python -m experiments.probe_agilerl
"""

from __future__ import annotations

import numpy as np
import torch

from examples.agilerl_matd3 import learn, make
from experiments.probing import DISCOUNT, ROWS, SPEED, VALUE, report, steps_per_s
from irs_marl_env.adapters.agilerl import AgileVecEnv


def value(steps: int = 3000) -> float:
    """Mean of the first critics at the first observations and the actors' actions, after training."""
    torch.manual_seed(0)
    vec, hidden = AgileVecEnv(num_envs=8, fast=False, **VALUE), {"hidden_size": [32]}
    nets = {"latent_dim": 32, "encoder_config": hidden, "head_config": hidden}
    settings = {"batch_size": 80, "lr_actor": 1e-3, "lr_critic": 2e-3, "tau": 0.05, "net_config": nets}
    matd3 = make(vec, gamma=DISCOUNT, **settings)
    learn(matd3, vec, steps, warmup=50)
    observations, infos = vec.reset(seed=0)
    actions, _ = matd3.get_action(obs=observations, infos=infos)
    states = matd3.preprocess_observation(observations)
    joint = torch.cat([torch.as_tensor(actions[agent]) for agent in vec.agents], dim=1)
    with torch.no_grad():
        return float(np.mean([critic(states, joint).mean().item() for critic in matd3.critics_1.values()]))


def main() -> None:
    """Print the line of the table."""
    torch.set_num_threads(1)
    learned = value()
    vec = AgileVecEnv(num_envs=ROWS, **SPEED)
    vec.reset(seed=0)
    action = {agent: np.zeros(vec.action_space(agent).shape, np.float32) for agent in vec.agents}
    report("agilerl", learned, steps_per_s(lambda: [vec.step(action) for _ in range(200)], 200 * ROWS))


if __name__ == "__main__":
    main()
