# %% [markdown]
# # Your own network, channels and reward
#
# A corridor of a factory with three base stations (BSs), two reflecting surfaces (IRSs), channels from a formula of
# your own and a reward that favours slow users. You need `pip install 'irs-marl-env[render]'` and Jupyter.

# %%
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from irs_marl_env import Scenario, compare, evaluate, layouts, make_env

# %% [markdown]
# ## Sites
#
# Rows of x, y, z in metres. The BSs stand along the corridor, and the IRSs hang opposite, where two cells meet.

# %%
bs = np.array([(10.0, 0.0, 4.0), (30.0, 0.0, 4.0), (50.0, 0.0, 4.0)])
irs = np.array([(20.0, 12.0, 3.0), (40.0, 12.0, 3.0)])
M, L, K, Nb, N = len(bs), len(irs), 5, 4, 48
AREA = (0.0, 0.0, 60.0, 12.0)  # x_min, y_min, x_max, y_max

# %% [markdown]
# ## Channels
#
# The arrays may come from a ray tracer or a measurement. Here they come from a formula, at 3.5 GHz: users walk along
# the corridor; shelves block the direct way (Rayleigh fading, 25 dB below free space); over an IRS there is a line of
# sight, with the phase of every element by its distance.
#
# `H (episodes, slots, M, K, Nb)`, `G (1, M, L, N, Nb)`, `h (episodes, slots, L, K, N)`; an entry is an amplitude,
# received over sent. The tests of the project run this with fewer episodes.

# %%
EPISODES, SLOTS = 40, 21  # an episode of 20 steps needs 21 slots
WAVE = 3e8 / 3.5e9  # m
rng = np.random.default_rng(0)


def line_of_sight(a, b):
    """Free space between points (..., 3): amplitude and phase by the distance."""
    distance = np.linalg.norm(a - b, axis=-1)
    return WAVE / (4 * np.pi * distance) * np.exp(-2j * np.pi * distance / WAVE)


def walks():
    """Positions (slots, K, 2) of users who go up and down the corridor."""
    start, speed = rng.uniform((0, 1), (60, 10), (K, 2)), rng.choice((-1, 1), K) * rng.uniform(0.5, 1.5, K)
    x = start[:, 0] + speed * np.arange(SLOTS)[:, None]
    x = 60 - np.abs(60 - x % 120)  # they turn round at the ends
    return np.stack([x, np.broadcast_to(start[:, 1], x.shape)], axis=-1)


positions = np.stack([walks() for _ in range(EPISODES)])  # (episodes, slots, K, 2)
users = np.concatenate([positions, np.full((*positions.shape[:-1], 1), 1.5)], axis=-1)  # at a height of 1.5 m
antennas = bs[:, None] + np.arange(Nb)[:, None] * (0, WAVE / 2, 0)  # (M, Nb, 3), in a row
places = np.stack(np.meshgrid(np.arange(N // 6), [0], np.arange(6), indexing="ij"), -1).reshape(N, 3)  # 8 x 6
elements = irs[:, None] + places * WAVE / 2  # (L, N, 3)

fading = rng.standard_normal((2, EPISODES, SLOTS, M, K, Nb)) / np.sqrt(2)
direct = np.abs(line_of_sight(users[:, :, None], bs[:, None])) * 10 ** (-25 / 20)  # (episodes, slots, M, K)
channels = {
    "H": direct[..., None] * (fading[0] + 1j * fading[1]),
    "G": line_of_sight(elements[None, :, :, None], antennas[:, None, None])[None],
    "h": line_of_sight(elements[:, None], users[:, :, None, :, None]),
    "positions": positions,
}
for name, array in channels.items():
    level = f"median {20 * np.log10(np.median(np.abs(array))):.0f} dB" if name != "positions" else "m"
    print(f"{name:9} {array.shape!s:22} {level}")

# %% [markdown]
# ## A reward
#
# Every BS is paid the root of each user's rate, on average: twice the rate of a slow user is worth more than twice
# that of a fast one. It is a function of the outcome of a slot and returns one number for each of `E` environments
# and `M` BSs.


# %%
def comfort(outcome, state):
    mean = np.sqrt(outcome.rates).mean(axis=-1, keepdims=True)  # rates (E, K)
    return np.broadcast_to(mean, outcome.sum_rate.shape)  # (E, M)


# %% [markdown]
# ## All of it as a scenario

# %%
network = Scenario(
    bs_positions_m=bs.tolist(),
    irs_positions_m=irs.tolist(),
    irs_facing=layouts.towards(irs.tolist(), (30.0, -1000.0)),  # south, into the corridor
    area_bounds_m=AREA,
    num_users=K,
    num_antennas=Nb,
    num_elements=N,
    horizon=SLOTS - 1,
    channels=channels,
    tx_power_dbm=10.0,
    noise_power_dbm=-90.0,
    reward=comfort,
    action="structured",
    observation="large_scale",
)
env = make_env(network, render_mode="rgb_array")
env.reset(seed=0)
for _ in range(10):
    rewards = env.step(dict.fromkeys(env.agents, env.action_codec.neutral))[1]
    picture = env.render()
print({agent: round(reward, 3) for agent, reward in rewards.items()}, "the same for all: it is one team")
Image.fromarray(picture)

# %% [markdown]
# ## Who should have the IRSs?
#
# Each recorded episode is played once. The reward, as a metric, stands beside the sum rate.


# %%
def comfort_of(result):
    """The reward, of a result: (episodes, slots)."""
    return np.sqrt(result.user_rates).mean(-1)


names = ("no-irs-wmmse", "structured-random", "structured-local-gain", "structured-oracle")
results = [evaluate(name, network, EPISODES, every=5) for name in names]
print(compare(results, ["sum_rate", comfort_of], baseline="structured-random").table())

# %% [markdown]
# What can be won by the right owners is the row of the oracle. If it were within the interval of zero, there would be
# nothing to learn in this corridor. How the rates of users are spread:

# %%
figure, axis = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
colours = ("black", "#E69F00", "#0072B2", "#D55E00")
for result, colour, style in zip(results, colours, ("-", "--", "-.", ":"), strict=True):
    rates = np.sort(result.user_rates.ravel())
    axis.plot(rates, np.linspace(0, 1, len(rates)), style, color=colour, label=result.policy)
axis.set(xlabel="rate of a user [bit/s/Hz]", ylabel="share of users below", ylim=(0, 1))
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Where to go next
#
# - [Train, and compare with error bars](train_and_compare.ipynb)
# - Step by step, with what can go wrong: [network](../docs/tutorials/own-network.md),
#   [channels](../docs/tutorials/own-channels.md), [reward](../docs/tutorials/own-reward.md)
# - Files of Sionna RT and DeepMIMO: [channels of your own, in full](../docs/own-channels.md)
