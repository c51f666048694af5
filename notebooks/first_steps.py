# %% [markdown]
# # First steps, in five minutes
#
# An environment, the anatomy of a slot (bids, owners, rates), a picture, policies beside one another, and what a good
# reward is. You need `pip install 'irs-marl-env[render]'` and Jupyter.

# %%
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from irs_marl_env import compare, evaluate, get_scenario, make_env

# %% [markdown]
# ## An environment
#
# Two base stations (BSs) serve four users. Between their cells hang two intelligent reflecting surfaces (IRSs), each
# of which one BS can control. Houses block the direct links by 35 dB, so who has an IRS matters.
#
# With `action="structured"` a BS bids for the IRSs and chooses weights and powers, from which a decoder makes beams
# and phases. With `observation="large_scale"` it sees path gains instead of whole channels.

# %%
scenario = get_scenario("mdlbi-blocked-small-v0", action="structured", observation="large_scale")
env = make_env(scenario, render_mode="rgb_array")
observations, infos = env.reset(seed=0)
print(env.agents, {agent: observation.shape for agent, observation in observations.items()})
print("a BS sees ", {name: part.stop - part.start for name, part in env.observation_codec.layout.slices.items()})
print("a BS says ", {name: part.stop - part.start for name, part in env.action_codec.layout.slices.items()})

# %% [markdown]
# ## The anatomy of a slot
#
# First bids, then owners, then rates. Here BS 0 bids high for IRS 0 and low for IRS 1, and BS 1 bids in the middle
# for both. Everything else is neutral: full power, and no user is favoured.

# %%
bids = env.action_codec.layout.slices["bids"]
actions = {agent: env.action_codec.neutral.copy() for agent in env.agents}
actions["bs_0"][bids] = [0.9, -0.9]
actions["bs_1"][bids] = [0.1, 0.1]

observations, rewards, terminations, truncations, infos = env.step(actions)
print("owners of the IRSs  ", infos["bs_0"]["owner"])
print("BS of each user     ", infos["bs_0"]["cell"])
for agent in env.agents:
    print(agent, "rates of its users", infos[agent]["rates"].round(3), "sum", round(infos[agent]["sum_rate"], 3))
print("rewards             ", {agent: round(reward, 3) for agent, reward in rewards.items()})

# %% [markdown]
# The highest bid for each IRS has won. The reward of a BS is the sum of the rates of its own users, in bit/s/Hz. Then
# users walk, channels fade, and the next slot begins.
#
# The same users and channels with the owners swapped, for comparison:

# %%
env.reset(seed=0)
actions["bs_0"][bids], actions["bs_1"][bids] = [-0.9, 0.9], [0.1, 0.1]
swapped = env.step(actions)[1]
print("as before", round(sum(rewards.values()), 3), "bit/s/Hz; swapped", round(sum(swapped.values()), 3))

# %% [markdown]
# ## A picture
#
# Fifteen slots later. Triangles are BSs, squares are IRSs in the colour of their owner, circles are users; a circle
# grows with the rate. Everybody has bid the same since, so ties are drawn and the IRSs change hands by chance.

# %%
for _ in range(15):
    env.step(dict.fromkeys(env.agents, env.action_codec.neutral))
    picture = env.render()
Image.fromarray(picture)

# %% [markdown]
# ## Policies beside one another
#
# `evaluate` plays any policy on the same draws (the tests of the project run this with fewer episodes). These learn
# nothing, and the decoder is the same for all: they differ in the bids alone. `structured-oracle` tries all owners in
# every slot.

# %%
EPISODES = 50
bank = {"episodes": EPISODES, "slots": 10, "every": 10}
names = ("structured-random", "structured-fixed", "structured-local-gain", "structured-oracle")
results = {name: evaluate(name, scenario, **bank) for name in names}
print(compare(results.values(), baseline="structured-random").table())

# %% [markdown]
# The difference column is paired: every policy met the same users, walks and fading. So it has a much smaller
# interval than two rates that one subtracts.

# %%
figure, axis = plt.subplots(figsize=(6.4, 2.4), layout="constrained")
for place, result in enumerate(results.values()):
    axis.barh(place, result.mean, xerr=result.metric("sum_rate").half_width, color="#56B4E9", capsize=3)
axis.set_yticks(range(len(results)), results)
axis.invert_yaxis()
axis.set_xlabel("sum rate [bit/s/Hz], mean and 95 % interval")
plt.show()

# %% [markdown]
# ## What is a good reward?
#
# A rate by itself says little, because it depends on where users stand. Say where a policy is between chance and the
# best owners, on the same draws:

# %%
chance, best = results["structured-random"], results["structured-oracle"]
for name, result in results.items():
    share = result.difference(chance).mean / best.difference(chance).mean
    print(f"{name:21} {result.mean:.3f} bit/s/Hz, {share:4.0%} of the way from chance to the best owners")

# %% [markdown]
# The local-gain rule, by which each BS bids the path gains of its own users, needs no learning and goes most of the
# way. A method that learns should be above `structured-fixed` before anything else, and is good when it is above the
# local-gain rule.
#
# A policy of your own is any function from observations `(episodes, BSs, D_o)` to actions `(episodes, BSs, D_a)`:


# %%
def always_the_same(observations):
    """Neutral actions: bids are equal, and ties are drawn."""
    return np.tile(env.action_codec.neutral, (*observations.shape[:2], 1))


mine = evaluate(always_the_same, scenario, **bank)
print(f"{mine.mean:.3f} +- {mine.standard_error:.3f} bit/s/Hz")

# %% [markdown]
# ## Where to go next
#
# - [Your own network, channels and reward](own_network.ipynb)
# - [Train, and compare with error bars](train_and_compare.ipynb)
# - [A trained agent of your own in 15 minutes](../docs/tutorials/first-agent.md)
# - [Tasks and baselines](../docs/tasks.md)
