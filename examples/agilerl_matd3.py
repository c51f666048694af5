"""MATD3 of AgileRL over ``AgileVecEnv``: 2 minutes of learning beside the baselines.

    pip install -e '.[fast]' 'torch<2.14' agilerl==2.58.0 'pettingzoo<1.27' tensordict==0.13.0 peft    # its own environment
    python examples/agilerl_matd3.py

AgileRL gives agents whose names differ in their number alone one network; so all base stations share an actor. Its own
training loop would store the first observation of the next episode as what follows the last; this one stores the last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from agilerl.algorithms import MATD3
from agilerl.components.data import MultiAgentTransition, transition_to_tensordict
from agilerl.components.replay_buffer import ReplayBuffer

from irs_marl_env import compare, evaluate, get_scenario
from irs_marl_env.adapters.agilerl import AgileVecEnv

SCENARIO = get_scenario("mdlbi-blocked-small-v0", action="structured", observation="large_scale", reward="team")
HIDDEN = {"hidden_size": [64]}
NETWORKS = {"latent_dim": 64, "encoder_config": HIDDEN, "head_config": HIDDEN | {"output_layernorm": True}}


def make(vec: AgileVecEnv, **settings: Any) -> MATD3:
    """The learner for a vector of environments."""
    spaces = [[of(agent) for agent in vec.agents] for of in (vec.single_observation_space, vec.single_action_space)]
    return MATD3(*spaces, agent_ids=vec.agents, vect_noise_dim=vec.num_envs, O_U_noise=False, **settings)


def learn(matd3: MATD3, vec: AgileVecEnv, steps: int, updates: int = 1, warmup: int = 500) -> None:
    """So many steps of all environments, with so many updates after each once ``warmup`` are done."""
    memory = ReplayBuffer(max_size=200_000)
    observations, infos = vec.reset(seed=1)
    matd3.set_training_mode(True)
    for step in range(steps):
        actions, raw = matd3.get_action(obs=observations, infos=infos)
        if step < warmup:
            raw = actions = {agent: np.random.uniform(-1, 1, x.shape).astype(np.float32) for agent, x in raw.items()}
        following, rewards, terminations, _, infos = vec.step(actions)
        last = {agent: infos[agent].get("terminal_observation", following[agent]) for agent in vec.agents}
        over = infos[vec.agents[0]].get("TimeLimit.truncated", np.zeros(vec.num_envs, bool))[:, None]
        last = {agent: np.where(over, last[agent], following[agent]) for agent in vec.agents}
        row = transition_to_tensordict(MultiAgentTransition(observations, raw, rewards, last, terminations))
        row.batch_size = [vec.num_envs]
        memory.add(row)
        observations = following
        for _ in range(updates if step >= warmup else 0):
            matd3.learn(memory.sample(matd3.batch_size))
    matd3.set_training_mode(False)


def main(steps: int = 4500, episodes: int = 50) -> None:
    """Train for so many steps of 16 environments, and print a table on the same draws."""
    torch.set_num_threads(1)  # small networks: more threads only wait for one another
    torch.manual_seed(1)
    np.random.seed(1)
    vec = AgileVecEnv(SCENARIO, 16)
    settings = {"batch_size": 256, "lr_actor": 1e-3, "lr_critic": 1e-3, "expl_noise": 0.4, "net_config": NETWORKS}
    matd3 = make(vec, gamma=0.0, **settings)
    learn(matd3, vec, steps)

    def policy(observations: np.ndarray) -> np.ndarray:  # (E, M, D_o) to (E, M, D_a)
        actions, _ = matd3.get_action({agent: observations[:, m] for m, agent in enumerate(vec.agents)})
        return np.stack([actions[agent] for agent in vec.agents], axis=1)

    bank: dict[str, Any] = {"episodes": episodes, "seed": 10_000, "slots": 20, "every": 5}
    results = [evaluate(name, SCENARIO, **bank) for name in ("random", "structured-local-gain")]
    results.append(evaluate(policy, SCENARIO, name="MATD3", **bank))
    print(compare(results, ["sum_rate", "jain"], baseline="structured-local-gain").table())


if __name__ == "__main__":
    main()
