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
from skrl.multi_agents.torch.mappo import MAPPO, MAPPO_CFG
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed
from skrl.utils.model_instantiators.torch import deterministic_model, gaussian_model

from irs_marl_env import compare, evaluate, get_scenario, make_env

SCENARIO = get_scenario("mdlbi-blocked-small-v0", action="structured", observation="large_scale", reward="team")
PER_AGENT = ("learning_rate_scheduler", "observation_preprocessor", "state_preprocessor", "value_preprocessor")
SPACES = ("observation_space", "state_space", "action_space")
HIDDEN = {"name": "net", "layers": [64, 64], "activations": "tanh"}
ACTOR = {"network": [HIDDEN | {"input": "OBSERVATIONS"}], "output": "ACTIONS", "initial_log_std": -1.0}
CRITIC = {"network": [HIDDEN | {"input": "STATES"}], "output": "ONE"}


def train(env: Any, slots: int, **settings: Any) -> MAPPO:
    """MAPPO over a wrapped environment; every base station has networks of its own, and its critic sees the state."""
    agents, models = env.possible_agents, {}
    settings |= {f"{name}_kwargs": {agent: {} for agent in agents} for name in PER_AGENT}
    cfg = MAPPO_CFG(time_limit_bootstrap=True, **settings)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0  # nothing on the disk
    for agent in agents:
        spaces = {name: getattr(env, name)(agent) for name in SPACES}
        models[agent] = {"policy": gaussian_model(**spaces, **ACTOR), "value": deterministic_model(**spaces, **CRITIC)}
    memories = {agent: RandomMemory(memory_size=cfg.rollouts) for agent in agents}
    of_agents = {f"{name}s": getattr(env, f"{name}s") for name in SPACES}
    mappo = MAPPO(possible_agents=agents, models=models, memories=memories, cfg=cfg, **of_agents)
    silent = {"headless": True, "disable_progressbar": True, "close_environment_at_exit": False}
    SequentialTrainer(cfg={"timesteps": slots, **silent}, env=env, agents=mappo).train()
    return mappo


def main(slots: int = 24_000, episodes: int = 50) -> None:
    """Train for so many slots, and print a table on the same draws."""
    torch.set_num_threads(1)  # small networks: more threads only wait for one another
    set_seed(1)
    env = wrap_env(make_env(SCENARIO), wrapper="pettingzoo")
    mappo = train(env, slots, discount_factor=0.0, rollouts=400, mini_batches=4, learning_epochs=10)

    def policy(observations: np.ndarray) -> np.ndarray:  # (E, M, D_o) to (E, M, D_a), a network for each base station
        rows = {agent: {"observations": torch.as_tensor(observations[:, m])} for m, agent in enumerate(mappo.policies)}
        with torch.no_grad():
            means = [net.act(rows[agent])[1]["mean_actions"] for agent, net in mappo.policies.items()]
        return torch.stack(means, dim=1).clamp(-1, 1).numpy()

    bank: dict[str, Any] = {"episodes": episodes, "seed": 10_000, "slots": 20, "every": 5}
    results = [evaluate(name, SCENARIO, **bank) for name in ("random", "structured-local-gain")]
    results.append(evaluate(policy, SCENARIO, name="MAPPO", **bank))
    print(compare(results, ["sum_rate", "jain"], baseline="structured-local-gain").table())


if __name__ == "__main__":
    main()
