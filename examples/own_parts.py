"""Parts of one's own: a mobility, a reward, a contention, cells, an observation, channels (docs/own-parts.md).

python examples/own_parts.py
python -m examples.maddpg --set reward=examples.own_parts:worst_user --trusted --updates 500
"""

from typing import Any

import numpy as np

from irs_marl_env import Scenario, evaluate, make_vec_env
from irs_marl_env.arrays import namespace


class WalkEast:
    """Users begin at uniform places and walk east until they stand at the border of the area."""

    def start(self, constants: Any, streams: Any, position: Any) -> dict[str, Any]:
        if position is None:  # else the positions that reset(options=...) gave
            position = constants.origin + streams.uniform("layout", constants.scenario.num_users, 2) * constants.area
        return {"position": position}

    def advance(self, constants: Any, motion: dict[str, Any], streams: Any) -> dict[str, Any]:
        s, xp = constants.scenario, namespace(motion["position"])
        x = xp.clip(motion["position"][..., :1] + s.speed_mps * s.slot_s, None, s.bounds_m[2])
        return {"position": xp.concat([x, motion["position"][..., 1:]], axis=-1)}


def worst_user(outcome: Any, state: Any) -> Any:
    """Every BS is paid the lowest rate of all users [bit/s/Hz]."""
    lowest = namespace(outcome.rates).min(outcome.rates, axis=-1, keepdims=True)
    return lowest + 0 * outcome.sum_rate  # (E, M)


def modest(bids: Any, tie_break: Any) -> Any:
    """The lowest bid above 0 wins the IRS; without a bid above 0 the IRS stays idle (owner -1)."""
    xp = namespace(bids)
    claims = xp.where(bids > 0, bids, 2.0)  # (E, M, L); 2 is above every bid
    return xp.where(xp.min(claims, axis=-2) < 2.0, xp.argmin(claims, axis=-2), -1)


def expanded(links: Any) -> Any:
    """The BS received best serves a user, where all but BS 0 count as 6 dB stronger: their cells reach further."""
    xp = namespace(links.direct_gain)
    biased = xp.concat([links.tx_power_w[:1], 4.0 * links.tx_power_w[1:]])  # (M,)
    return xp.argmax(biased[:, None] * links.direct_gain, axis=-2)  # (E, M, K) to (E, K)


class OwnGains:
    """Each BS sees the log path gains of its own users over the direct link, in units of 10 dB, and what it holds."""

    def __init__(self, scenario: Scenario) -> None:
        self.size = scenario.num_users + scenario.num_irs
        self.low = np.r_[np.full(scenario.num_users, -20.0), np.zeros(scenario.num_irs)].astype(np.float32)
        self.high = np.r_[np.full(scenario.num_users, 20.0), np.ones(scenario.num_irs)].astype(np.float32)

    def observe(self, known: Any) -> Any:
        xp = namespace(known.own_user)
        return xp.concat([known.direct_gain * known.own_user, known.held], axis=-1)  # (E, M, size)


class TwoRays:
    """Each link is a direct ray and one over the ground, whose phase is drawn anew in every slot."""

    def __init__(self, scenario: Scenario) -> None:
        s = scenario
        direct, bs_irs = (s.num_bs, s.num_users, s.num_antennas), (s.num_bs, s.num_irs, s.max_elements, s.num_antennas)
        self.shapes = {"direct": direct, "bs_irs": bs_irs, "irs_user": (s.num_irs, s.num_users, s.max_elements)}

    def __call__(self, gains: Any, memory: Any, motion: Any, streams: Any) -> list[Any]:
        links = []
        for (name, shape), gain in zip(self.shapes.items(), gains, strict=True):  # gain (E, M, K), (E, M, L), (E, L, K)
            ground = streams.complex_normal(f"{name}_fading", *shape)
            ground = ground / abs(ground)
            links.append(gain.reshape(*gain.shape, *(1,) * (ground.ndim - gain.ndim)) * (1.0 + 0.5 * ground))
        return links  # H (E, M, K, Nb), G (E, M, L, N, Nb), h (E, L, K, N)


def main() -> None:
    """A batch of environments with all six parts, and the sum rate of a baseline in it."""
    scenario = Scenario(
        num_users=4,
        num_irs=2,
        horizon=20,
        mobility=WalkEast,
        reward=worst_user,
        contention=modest,
        cell_rule=expanded,
        observation=OwnGains,
        channel_model=TwoRays,
    )
    vec = make_vec_env(scenario, num_envs=8)
    observations, _ = vec.reset(seed=0)  # (8, 2, 6)
    observations, rewards = vec.step(np.zeros((8, 2, vec.action_size), np.float32))[:2]
    print(observations.shape, rewards[0])  # every BS of an environment is paid the same
    print(evaluate("local-gain-ao", scenario, episodes=2, slots=3).mean)  # the sum rate, whatever the reward


if __name__ == "__main__":
    main()
