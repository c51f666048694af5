"""skrl over its own wrapper of PettingZoo: what its MAPPO learns of a value that is known, and how fast steps are.

python -m experiments.probe_skrl
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from skrl.envs.wrappers.torch import wrap_env
from skrl.utils import set_seed

from examples.skrl_mappo import train
from experiments.probing import DISCOUNT, SPEED, VALUE, report, steps_per_s
from irs_marl_env import make_env


def value(slots: int = 8000) -> float:
    """Mean value of the first states, after training."""
    set_seed(0)
    env = wrap_env(make_env(fast=False, **VALUE), wrapper="pettingzoo")
    sizes: dict[str, Any] = {
        "rollouts": 80,
        "mini_batches": 1,
        "learning_epochs": 10,
        "learning_rate": 2e-3,
        "value_clip": 0.0,
    }
    mappo = train(env, slots, discount_factor=DISCOUNT, **sizes)
    states = []
    for seed in range(20):
        env._env.reset(seed=seed)
        states.append(env._env.state())
    rows = {"states": torch.as_tensor(np.stack(states))}
    with torch.no_grad():
        return float(np.mean([net.act(rows)[0].mean().item() for net in mappo.values.values()]))


def main() -> None:
    """Print the line of the table."""
    torch.set_num_threads(1)
    learned = value()
    env = wrap_env(make_env(**SPEED), wrapper="pettingzoo")
    env.reset()
    actions = {agent: torch.zeros(1, *env.action_space(agent).shape) for agent in env.possible_agents}

    def run(slots: int = 500) -> None:
        for _ in range(slots):
            env.step(actions)
            if not env.agents:
                env.reset()

    report("skrl", learned, steps_per_s(run, 500))


if __name__ == "__main__":
    main()
