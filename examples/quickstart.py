"""First steps, in a few seconds: an episode, a batch of environments, and policies compared on the same draws.

    python examples/quickstart.py

It needs the base install alone.
"""

import numpy as np

from irs_marl_env import evaluate, get_scenario, make_env, make_vec_env

# One PettingZoo environment with random actions. Any field of Scenario can be overridden.
env = make_env("mdlbi-small-v0", num_irs=3, horizon=20)
observations, infos = env.reset(seed=0)
total = 0.0
while env.agents:
    actions = {agent: env.action_space(agent).sample() for agent in env.agents}
    observations, rewards, terminations, truncations, infos = env.step(actions)
    total += sum(rewards.values())
print(f"random actions: {total / 20:.2f} bit/s/Hz per slot; owners in the last one: {infos['bs_0']['owner']}")

# Many environments in one step. Row i is the single environment seeded with i, and begins its next episode by itself.
structured = get_scenario("mdlbi-small-v0", action="structured", observation="large_scale")
vec = make_vec_env(structured, num_envs=64)
batch, _ = vec.reset(seed=0)  # (64, 2, D_o)
batch, team = vec.step(np.zeros((64, 2, vec.action_size), np.float32))[:2]
print(f"64 environments: observations {batch.shape}, mean reward {team.mean():.2f} bit/s/Hz")


# Any policy on the same draws: a callable from observations to actions, or a baseline by name.
def neutral(observations: np.ndarray) -> np.ndarray:
    """Observations ``(E, M, D_o)`` to actions ``(E, M, D_a)`` that are all zero: ties decide who gets an IRS."""
    return np.zeros((*observations.shape[:2], vec.action_size), np.float32)


for policy in (neutral, "random", "no-irs-wmmse", "local-gain-ao", "upper-bound"):
    scenario = structured if policy is neutral else "mdlbi-small-v0"
    result = evaluate(policy, scenario, episodes=8, slots=5, every=20)
    print(f"{result.policy:14} {result.mean:6.2f} +- {result.standard_error:.2f} bit/s/Hz")
