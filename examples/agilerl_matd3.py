"""MATD3 of AgileRL over ``AgileVecEnv``: a minute of learning beside the baselines.

pip install -e '.[fast]' torch agilerl==2.58.0 'pettingzoo<1.27' tensordict==0.13.0 peft  # in its own environment
python examples/agilerl_matd3.py
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
NETWORKS = {"encoder_config": {"hidden_size": [64]}, "head_config": {"hidden_size": [64]}}


def make(vec: AgileVecEnv, **settings: Any) -> MATD3:
    """The learner; what is normalised before tanh stays off the bounds, where tanh has no slope."""
    spaces = [[of(agent) for agent in vec.agents] for of in (vec.single_observation_space, vec.single_action_space)]
    matd3 = MATD3(*spaces, agent_ids=vec.agents, vect_noise_dim=vec.num_envs, O_U_noise=False, **settings)
    for actor in (*matd3.actors.values(), *matd3.actor_targets.values()):
        norm = torch.nn.LayerNorm(vec.batch.action_size, elementwise_affine=False)
        actor.head_net.model = torch.nn.Sequential(*actor.head_net.model[:-1], norm, actor.head_net.model[-1])
    return matd3


def learn(matd3: MATD3, vec: AgileVecEnv, steps: int, warmup: int = 500) -> None:
    """So many steps of all environments, with an update after each once ``warmup`` are done."""
    memory, rng, (observations, infos) = ReplayBuffer(200_000), np.random.default_rng(1), vec.reset(seed=1)
    for step in range(steps):
        actions, raw = matd3.get_action(obs=observations, infos=infos)
        if step < warmup:
            raw = actions = {agent: rng.uniform(-1, 1, x.shape).astype(np.float32) for agent, x in raw.items()}
        following, rewards, terminations, _, infos = vec.step(actions)
        # AgileRL's own loop would store the first observation of the next episode as what follows a last slot
        over = infos["bs_0"].get("TimeLimit.truncated", np.zeros(1, bool))[:, None]
        last = {a: np.where(over, infos[a].get("terminal_observation", x), x) for a, x in following.items()}
        row = transition_to_tensordict(MultiAgentTransition(observations, raw, rewards, last, terminations))
        row.batch_size, observations = [vec.num_envs], following
        memory.add(row)
        if step >= warmup:
            matd3.learn(memory.sample(matd3.batch_size))
    matd3.set_training_mode(False)


def main(steps: int = 3000, episodes: int = 50) -> None:
    """Train for so many steps of 16 environments, and print a table on the same draws."""
    torch.set_num_threads(1)  # small networks: more threads only wait for one another
    torch.manual_seed(1)
    vec = AgileVecEnv(SCENARIO, 16)
    matd3 = make(vec, gamma=0.0, batch_size=256, lr_critic=1e-3, expl_noise=0.4, net_config=NETWORKS)
    learn(matd3, vec, steps)

    def policy(observations: np.ndarray) -> np.ndarray:  # (E, M, D_o) to (E, M, D_a)
        return np.stack([*matd3.get_action({a: observations[:, m] for m, a in enumerate(vec.agents)})[0].values()], 1)

    policies: dict[str, Any] = {name: name for name in ("random", "structured-local-gain")} | {"MATD3": policy}
    results = [evaluate(policies[name], SCENARIO, episodes, 10_000, 20, 5, name=name) for name in policies]
    print(compare(results, ["sum_rate", "jain"], baseline="structured-local-gain").table())


if __name__ == "__main__":
    main()
