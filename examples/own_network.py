"""A network of one's own: own sites, own mobility, own reward; PPO learns in it for a minute beside the baselines.

    pip install -e '.[sb3]'
    python examples/own_network.py

Three base stations stand 120 m apart, and an IRS that faces their middle between each two of them. Users drive around
on a ring road. The reward is the mean of the square roots of all rates, so that a bit is worth more to a slow user.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from stable_baselines3 import PPO

from irs_marl_env import Scenario, compare, evaluate, layouts
from irs_marl_env.adapters.sb3 import Sb3Policy, Sb3VecEnv
from irs_marl_env.arrays import namespace


class RingRoad:
    """Users drive around the middle of the area, each at its own U(0.5, 1.5) x ``speed_mps``."""

    radius_m = 40.0

    def start(self, constants: Any, streams: Any, position: Any) -> dict[str, Any]:
        s, middle = constants.scenario, constants.origin + constants.area / 2
        drawn = streams.uniform("layout", s.num_users, 2)  # (E, K, 2) in [0, 1)
        per_slot = (0.5 + drawn[..., 1]) * s.speed_mps * s.slot_s / self.radius_m  # rad
        return self._at({"middle": middle + 0 * drawn, "angle": 2 * math.pi * drawn[..., 0], "per_slot": per_slot})

    def advance(self, constants: Any, motion: dict[str, Any], streams: Any) -> dict[str, Any]:
        return self._at({**motion, "angle": motion["angle"] + motion["per_slot"]})

    def _at(self, motion: dict[str, Any]) -> dict[str, Any]:
        xp, angle = namespace(motion["angle"]), motion["angle"]
        direction = xp.stack([xp.cos(angle), xp.sin(angle)], axis=-1)
        return {**motion, "position": motion["middle"] + self.radius_m * direction}


def root_of_rates(outcome: Any, state: Any) -> Any:
    """Every base station is paid the mean of the square roots of all users' rates."""
    xp = namespace(outcome.rates)
    return xp.mean(xp.sqrt(outcome.rates), axis=-1, keepdims=True) + 0 * outcome.sum_rate  # (E, M)


BS = layouts.hexagonal(1, 120.0)[:3]  # the middle and two of its neighbours: a triangle
IRS = layouts.midpoints(BS, height_m=6.0)
SITES: dict[str, Any] = {"bs_positions_m": BS, "irs_positions_m": IRS, "irs_facing": layouts.towards(IRS, (60.0, 35.0))}
SIZES: dict[str, Any] = {"num_users": 6, "num_antennas": 4, "num_elements": 32, "horizon": 40}
RADIO: dict[str, Any] = {"blockage_db": 35.0, "action": "structured", "observation": "large_scale"}
AREA = (0.0, -25.0, 120.0, 95.0)
NETWORK = Scenario(
    **SITES, **SIZES, **RADIO, area_bounds_m=AREA, speed_mps=8.0, mobility=RingRoad, reward=root_of_rates
)


def main(steps: int = 120_000, episodes: int = 50) -> None:
    """Train, and print a table on the same draws."""
    torch.set_num_threads(1)
    model = PPO("MlpPolicy", Sb3VecEnv(NETWORK, 16), seed=1, gamma=0.0, n_steps=64, batch_size=256, device="cpu")
    ppo = Sb3Policy(model)  # observations (E, M, D_o) to actions (E, M, D_a), one row for each base station
    results = [evaluate(name, NETWORK, episodes, 10_000) for name in ("random", "structured-local-gain")]
    results.append(evaluate(ppo, NETWORK, episodes, 10_000, name="before training"))
    model.learn(steps)
    results.append(evaluate(ppo, NETWORK, episodes, 10_000, name="PPO"))
    print(compare(results, ["sum_rate", "jain"], baseline="structured-local-gain").table())


if __name__ == "__main__":
    main()
