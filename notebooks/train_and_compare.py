# %% [markdown]
# # Train, and compare with error bars
#
# Three trainings of one method, beside rules on the same episodes, with both kinds of errors: over episodes, and over
# trainings. You need a clone of the repository and `pip install -e '.[train]'`; the trainer is a file of `examples/`,
# made to be copied and changed.
#
# The outputs below are those of `UPDATES = 1_200` and 100 episodes, a minute of a core. The tests of the project run
# this notebook with less.

# %%
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd().parent))  # examples/ is not part of the installed package

import matplotlib.pyplot as plt
import numpy as np
import torch

from examples.maddpg import advance, prepare
from irs_marl_env import compare, evaluate, load_policy
from irs_marl_env.training.policy import save_policy
from irs_marl_env.training.settings import Args

torch.set_num_threads(1)  # small networks: more threads only wait for one another

# %% [markdown]
# ## The method
#
# `own-value` learns what sets of IRSs are worth to a base station, and bids what an IRS adds
# ([training](../docs/training.md#bids-from-a-critic-of-own-sets)). Other methods are a word away: `mdlbi`, `maddpg`,
# `ddpg`, `fixed`.

# %%
UPDATES = 1_200
EPISODES = 100
SEEDS = (1, 2, 3)
BANK = {"episodes": EPISODES, "slots": 20, "every": 5, "seed": 10_000}  # training has small seeds


def training(seed):
    """Train, keep a file, and say how good the policy was on the way."""
    run = prepare(Args(algo="own-value", seed=seed, updates=UPDATES, device="cpu"))
    scenario, curve = run.env.scenario, []
    while run.learner.updates < UPDATES:
        if run.learner.updates % (UPDATES // 4) == 0:
            curve.append((run.learner.updates, evaluate(run.policy(), scenario, name="own-value", **BANK)))
        advance(run)  # step the environments, sample, update
    save_policy(run.policy(), Path(f"own-value-{seed}.safetensors"))
    return curve


curves = [training(seed) for seed in SEEDS]

# %% [markdown]
# ## Load and compare
#
# `load_policy` reads a policy file. All policies play the same 100 episodes, whose seeds no training has seen.

# %%
policies = [load_policy(f"own-value-{seed}.safetensors") for seed in SEEDS]
scenario = policies[0].scenario
trained = {f"own-value, seed {seed}": evaluate(p, scenario, **BANK) for seed, p in zip(SEEDS, policies, strict=True)}
names = ("structured-local-gain", "structured-random", "structured-fixed", "structured-oracle")
rules = {name: evaluate(name, scenario, **BANK) for name in names}
print(compare({**rules, **trained}, baseline="structured-local-gain").table())

# %% [markdown]
# The right column is the one to read. It is paired: episode by episode, trained minus rule. Unpaired, two rates with
# these intervals could not be told apart:

# %%
rule, first = rules["structured-local-gain"], trained["own-value, seed 1"]
paired = first.difference(rule)
alone = np.hypot(first.standard_error, rule.standard_error)
print(f"difference {paired.mean:+.3f}; error {paired.standard_error:.3f} paired, {alone:.3f} on different episodes")

# %% [markdown]
# ## Over trainings
#
# The interval above is about *this* network on other episodes. What the method gives on another seed is a question
# about trainings, and three of them answer it only roughly: with two degrees of freedom a 95 % interval is 4.3
# standard errors.

# %%
gains = np.array([result.difference(rule).mean for result in trained.values()])
error = gains.std(ddof=1) / np.sqrt(len(gains))
print("by training", gains.round(3), f"mean {gains.mean():+.3f}, 95 % interval +- {4.30 * error:.3f} over trainings")

# %% [markdown]
# ## A picture
#
# Every training has its own line. The band is the 95 % interval of the rule on this bank.

# %%
figure, axis = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
interval = rule.metric("sum_rate").interval
axis.axhspan(*interval, color="#0072B2", alpha=0.12, linewidth=0)
axis.axhline(rule.mean, color="#0072B2", linestyle="--", label="local-gain rule")
axis.axhline(rules["structured-oracle"].mean, color="black", linestyle=":", label="best owners in every slot")
for curve, last in zip(curves, trained.values(), strict=True):
    points = [*curve, (UPDATES, last)]
    means = [result.mean for _, result in points]
    axis.plot([update for update, _ in points], means, "o-", color="#D55E00", alpha=0.7, markersize=4)
axis.plot([], [], "o-", color="#D55E00", label="own-value, one line a training")
axis.set(xlabel="updates", ylabel="sum rate [bit/s/Hz]")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# What to report: how many trainings, on which seeds, over how many episodes, which error, and the rule that needs no
# learning beside it. [The leaderboard](../docs/leaderboard.md) does so for every method and task.
