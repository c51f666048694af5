"""Rewards: what the BSs are paid for a slot.

A reward is a function ``(outcome, state) -> (E, M)``, of which :data:`REWARDS` has the built-in ones by name. It sees
the :class:`irs_marl_env.engine.state.Outcome` of the slot (rates, powers, owners, cells, bids) and the
:class:`irs_marl_env.engine.state.State` that the slot began with, and has no side effects.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from irs_marl_env.arrays import namespace, read_only
from irs_marl_env.scenario import Scenario

Array = Any
Reward = Callable[[Any, Any], Array]


def local(outcome: Any, state: Any) -> Array:
    """The sum rate of the BS's own users [bit/s/Hz], as in the paper."""
    return outcome.sum_rate


def team(outcome: Any, state: Any) -> Array:
    """The mean of the sum rates over the BSs, the same for all of them."""
    return mixed(outcome, state, 1.0)


def mixed(outcome: Any, state: Any, team_weight: float = 0.5) -> Array:
    """``team_weight`` times the team's mean plus the rest times the BS's own sum rate."""
    sum_rate = outcome.sum_rate
    mean = namespace(sum_rate).mean(sum_rate, axis=-1, keepdims=True)
    return team_weight * mean + (1.0 - team_weight) * sum_rate


REWARDS: dict[str, Callable[..., Array]] = {"local": local, "team": team, "mixed": mixed}


def reward_function(scenario: Scenario) -> Reward:
    """The reward of a scenario, with its weights and the cost of bids.

    With ``bid_cost`` a BS pays so many bit/s/Hz per unit of positive bid for each IRS, won or not, with any reward.
    """
    chosen: Reward = scenario.strategy("reward")
    if scenario.reward == "mixed":
        chosen = partial(mixed, team_weight=scenario.team_weight)
    elif not isinstance(scenario.reward, str):
        chosen = partial(_checked, chosen)
    if scenario.bid_cost:
        return partial(_less_bids, chosen, scenario.bid_cost)
    return chosen


def _checked(reward: Reward, outcome: Any, state: Any) -> Array:
    """The reward of somebody else's function, which must be one number for each BS of each environment."""
    paid, expected = reward(read_only(outcome), read_only(state)), tuple(outcome.sum_rate.shape)
    if tuple(getattr(paid, "shape", ())) != expected:
        found = getattr(paid, "shape", type(paid).__name__)
        raise ValueError(f"the reward {reward!r} returned {found}: must be an array of shape {expected}, (E, M)")
    xp = namespace(paid)
    if not xp.all(xp.isfinite(paid)):
        raise ValueError(f"the reward {reward!r} returned numbers that are not finite: {paid}")
    return xp.astype(paid, outcome.sum_rate.dtype)


def _less_bids(reward: Reward, bid_cost: float, outcome: Any, state: Any) -> Array:
    xp = namespace(outcome.bids)
    return reward(outcome, state) - bid_cost * xp.sum(xp.clip(outcome.bids, 0.0, None), axis=-1)
