"""MAPPO of skrl, over its own wrapper of PettingZoo: 2 minutes of learning beside the baselines.

    pip install -e '.[fast]' torch skrl
    python examples/skrl_mappo.py

skrl takes an end that is no termination for one of time only with ``time_limit_bootstrap=True``, and four of the
defaults of its settings work only when they are given for each agent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from skrl.multi_agents.torch.mappo import MAPPO, MAPPO_CFG
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed
from torch import nn

from irs_marl_env import compare, evaluate, get_scenario, make_env

SCENARIO = get_scenario("mdlbi-blocked-small-v0", action="structured", observation="large_scale", reward="team")
PER_AGENT = ("learning_rate_scheduler", "observation_preprocessor", "state_preprocessor", "value_preprocessor")


def network(size: int, outputs: int) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(nn.Linear(size, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))


class Policy(GaussianMixin, Model):  # type: ignore[misc]
    """Mean and deviation of an action, from the observation of the base station."""

    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        GaussianMixin.__init__(self)
        self.net = network(self.num_observations, self.num_actions)
        self.log_std = nn.Parameter(torch.full((self.num_actions,), -1.0))

    def compute(self, inputs: dict[str, Any], role: str = "") -> tuple[torch.Tensor, dict[str, Any]]:
        """As skrl asks for it."""
        return self.net(inputs["observations"]), {"log_std": self.log_std}


class Value(DeterministicMixin, Model):  # type: ignore[misc]
    """Value of the global state."""

    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        DeterministicMixin.__init__(self)
        self.net = network(self.num_states, 1)

    def compute(self, inputs: dict[str, Any], role: str = "") -> tuple[torch.Tensor, dict[str, Any]]:
        """As skrl asks for it."""
        return self.net(inputs["states"]), {}


def learner(env: Any, **settings: Any) -> MAPPO:
    """MAPPO for a wrapped environment, every base station with networks of its own."""
    agents, kinds = env.possible_agents, ("observation_spaces", "state_spaces", "action_spaces")
    spaces = {kind: getattr(env, kind) for kind in kinds}
    of_agent = {a: {kind[:-1]: spaces[kind][a] for kind in kinds} for a in agents}
    settings |= {f"{name}_kwargs": {a: {} for a in agents} for name in PER_AGENT}
    cfg = MAPPO_CFG(time_limit_bootstrap=True, **settings)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0  # nothing on the disk
    models = {a: {"policy": Policy(**of_agent[a]), "value": Value(**of_agent[a])} for a in agents}
    memories = {a: RandomMemory(memory_size=cfg.rollouts) for a in agents}
    return MAPPO(possible_agents=agents, models=models, memories=memories, cfg=cfg, **spaces)


def main(slots: int = 24_000, episodes: int = 50) -> None:
    """Train for so many slots, and print a table on the same draws."""
    torch.set_num_threads(1)  # small networks: more threads only wait for one another
    set_seed(1)
    env = wrap_env(make_env(SCENARIO), wrapper="pettingzoo")
    settings = {"rollouts": 400, "mini_batches": 4, "learning_epochs": 10, "learning_rate": 1e-3}
    mappo = learner(env, discount_factor=0.0, **settings)
    trainer = {"timesteps": slots, "headless": True, "disable_progressbar": True, "close_environment_at_exit": False}
    SequentialTrainer(cfg=trainer, env=env, agents=mappo).train()

    def policy(observations: np.ndarray) -> np.ndarray:  # (E, M, D_o) to (E, M, D_a), a network for each base station
        rows = torch.as_tensor(observations)
        nets = [mappo.policies[agent].net for agent in env.possible_agents]
        with torch.no_grad():
            return torch.stack([net(rows[:, m]) for m, net in enumerate(nets)], dim=1).clamp(-1, 1).numpy()

    bank = {"episodes": episodes, "seed": 10_000, "slots": 20, "every": 5}
    results = [evaluate(name, SCENARIO, **bank) for name in ("random", "structured-local-gain")]
    results.append(evaluate(policy, SCENARIO, name="MAPPO", **bank))
    print(compare(results, ["sum_rate", "jain"], baseline="structured-local-gain").table())


if __name__ == "__main__":
    main()
