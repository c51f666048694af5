# %% [markdown]
# # Reproduce a figure of the paper
#
# Figure 4 of the [paper](https://arxiv.org/abs/2106.12883) shows the sum rate against the number of intelligent
# reflecting surfaces (IRSs). This notebook makes its shape from policies that learn nothing, with errors, in about a
# minute of a core. You need `pip install 'irs-marl-env[render]'` and Jupyter.
#
# **What it is and what it is not.** The paper names neither all sizes nor its baselines' code, so no number of it can
# be met. What can be examined is the claim: *the sum rate grows with the number of IRSs.* The figure with trained
# agents and 30 users is in [the paper re-examined](../docs/paper.md#figure-4-more-irss-more-users).

# %%
import matplotlib.pyplot as plt

from irs_marl_env import evaluate

# %% [markdown]
# ## The runs
#
# The default scenario with ten users, 100 slots an episode, of which slots 0 and 25 are measured. Users and direct
# channels do not depend on the number of IRSs: random streams are apart, so what an IRS adds is a paired difference.
# The tests of the project run this notebook with fewer episodes.

# %%
EPISODES = 40
COUNTS = (1, 2, 4)
SYSTEM = {"num_users": 10, "horizon": 100}
BANK = {"episodes": EPISODES, "slots": 2, "every": 25, "seed": 10_000}
POLICIES = {
    "local-gain-ao": ("local-gain rule, optimised phases", "#0072B2", "o"),
    "random-ao": ("random owners, optimised phases", "#D55E00", "s"),
    "random-wmmse": ("random owners and phases", "#009E73", "^"),
}
results = {
    (name, count): evaluate(name, "mdlbi-v0", num_irs=count, **SYSTEM, **BANK) for name in POLICIES for count in COUNTS
}
without = evaluate("no-irs-wmmse", "mdlbi-v0", num_irs=1, **SYSTEM, **BANK)
print(f"without IRSs {without.mean:.2f} +- {without.standard_error:.2f} bit/s/Hz")
for (name, count), result in results.items():
    print(f"{name:14} L={count} {result.mean:.2f} +- {result.standard_error:.2f} bit/s/Hz")

# %% [markdown]
# ## The figure

# %%
figure, axis = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
axis.axhline(without.mean, color="0.3", linestyle=":", label="no IRS")
axis.axhspan(*without.metric("sum_rate").interval, color="0.3", alpha=0.1, linewidth=0)
for name, (label, colour, marker) in POLICIES.items():
    estimates = [results[name, count].metric("sum_rate") for count in COUNTS]
    axis.plot(COUNTS, [e.mean for e in estimates], color=colour, marker=marker, label=label)
    low, high = zip(*(e.interval for e in estimates), strict=True)
    axis.fill_between(COUNTS, low, high, color=colour, alpha=0.15, linewidth=0)
axis.set(xlabel="number of IRSs L", ylabel="system sum rate [bit/s/Hz]", xticks=COUNTS)
axis.set_title("K = 10, mean and 95 % interval over episodes", loc="left", fontsize=9)
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# The bands are wide because episodes differ: users of one stand close to a mast, those of another far away. They
# differ in the same way for all points, so the claim is to be judged by paired differences.

# %% [markdown]
# ## Does the rate grow with L?

# %%
for name, (label, *_) in POLICIES.items():
    for count in COUNTS[1:]:
        gap = results[name, count].difference(results[name, 1], across=True)
        print(f"{label:34} L=1 to {count}: {gap.mean:+.2f} [{gap.interval[0]:+.2f}, {gap.interval[1]:+.2f}]")

# %% [markdown]
# From one to four IRSs it does, for every policy; from one to two, random phases leave the question open. The
# notebook also shows what carries it: of the gain from one to four IRSs chance with random phases has a fifth, and
# optimised phases have most. So the figure says nothing for or against learning; that is what the comparison at a
# fixed L is for:

# %%
for count in COUNTS:
    gap = results["local-gain-ao", count].difference(results["random-ao", count])
    print(f"L={count}: the rule for owners brings {gap.mean:+.2f} [{gap.interval[0]:+.2f}, {gap.interval[1]:+.2f}]")

# %% [markdown]
# The [table of the whole study](../docs/paper.md#figure-4-more-irss-more-users) has 100 episodes, 30 users and
# trained agents beside these rows.
