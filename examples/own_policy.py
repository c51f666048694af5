"""A policy of one's own beside the baselines: one that sees observations alone, and one that looks at the slot.

    python examples/own_policy.py

Both act through structured actions: they bid for the IRSs, and the environment's decoder does the rest. The same works
on the command line: python -m irs_marl_env evaluate --policy examples.own_policy:NearestUsers --set action=structured
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irs_marl_env import evaluate, get_scenario

SCENARIO = get_scenario("mdlbi-blocked-small-v0", action="structured", observation="large_scale")
Act = Callable[[np.ndarray], np.ndarray]


class BidOwnGain:
    """Each BS bids the best gain that any of its users has over the IRS: a function of its own observation."""

    name = "best-user-gain"

    def bind(self, env: Any, seed: int) -> Act:
        """A callable from observations ``(E, M, D_o)`` to actions ``(E, M, D_a)``; ``seed`` is for own draws."""
        codec, bids = env.observation_codec, env.action_codec.layout.slices["bids"]
        neutral = env.action_codec.neutral  # full power, and nobody favoured

        def act(observations: np.ndarray) -> np.ndarray:
            named = codec.decode(observations)  # own_user, direct_gain, irs_gain, held, rho
            gain = np.where(named["own_user"][:, :, None] > 0, named["irs_gain"], -20.0)  # (E, M, L, K)
            actions = np.tile(neutral, (*observations.shape[:2], 1))
            actions[..., bids] = np.clip(gain.max(-1) / 5.0, -1, 1)
            return actions

        return act


class NearestUsers:
    """The BS with more users near an IRS gets it: looks at positions, which no observation holds."""

    name = "nearest-users"

    def bind(self, env: Any, seed: int) -> Act:
        """As above; ``env.view()`` shows the present slot."""
        scenario, bids = env.scenario, env.action_codec.layout.slices["bids"]
        neutral = env.action_codec.neutral
        area = np.array(scenario.area_m)
        irs = np.stack([np.full(scenario.num_irs, 0.5), (np.arange(scenario.num_irs) + 0.5) / scenario.num_irs], -1)

        def act(observations: np.ndarray) -> np.ndarray:
            view = env.view()
            distance = np.linalg.norm(view.position[:, :, None] - irs * area, axis=-1)  # (E, K, L) m
            near = 1.0 / (1.0 + distance)
            actions = np.tile(neutral, (*observations.shape[:2], 1))
            actions[..., bids] = np.tanh(view.own_user @ near)  # (E, M, K) @ (E, K, L)
            return actions

        return act


def main() -> None:
    """Both policies and three baselines on the same draws."""
    best = evaluate("structured-exhaustive", SCENARIO, episodes=20, slots=10, every=10)
    for policy in ("structured-fixed", NearestUsers(), BidOwnGain(), "structured-local-gain", best):
        result = policy if policy is best else evaluate(policy, SCENARIO, episodes=20, slots=10, every=10)
        gap = best.difference(result)
        print(
            f"{result.policy:22} {result.mean:.3f} +- {result.standard_error:.3f} bit/s/Hz, "
            f"{gap.mean:.3f} +- {gap.standard_error:.3f} below the best owners"
        )


if __name__ == "__main__":
    main()
