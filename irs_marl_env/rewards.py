"""Rewards: what the BSs are paid for a slot.

A reward is a function ``(outcome, state) -> (E, M)``, of which :data:`REWARDS` has the built-in ones by name. It sees
the :class:`irs_marl_env.engine.state.Outcome` of the slot (rates, powers, owners, cells, bids) and the
:class:`irs_marl_env.engine.state.State` that the slot began with, and has no side effects.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from irs_marl_env.arrays import REAL, described, is_array_of, namespace, read_only
from irs_marl_env.checks import shown
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


def proportional_fair(outcome: Any, state: Any, offset: float = 0.1) -> Array:
    """Mean of ``log2(offset + rate)`` over the BS's own users, 0 without any; the offset is in bit/s/Hz."""
    xp, own = namespace(outcome.rates), outcome.own_user
    utility = log_utility(outcome.rates, offset)[:, None, :]
    users = xp.sum(own, axis=-1)
    return xp.sum(utility * own, axis=-1) / xp.where(users > 0, users, xp.ones_like(users))


def min_rate(outcome: Any, state: Any) -> Array:
    """The least rate among the BS's own users [bit/s/Hz], 0 without any."""
    xp, own = namespace(outcome.rates), outcome.own_user > 0
    rates = xp.broadcast_to(outcome.rates[:, None, :], own.shape)
    least = xp.min(xp.where(own, rates, xp.full_like(rates, xp.inf)), axis=-1)
    return xp.where(xp.any(own, axis=-1), least, xp.zeros_like(least))


def energy_efficiency(
    outcome: Any,
    state: Any,
    circuit_power_w: float = 8.0,
    element_power_w: float = 0.01,
    amplifier_efficiency: float = 0.8,
    elements: tuple[int, ...] = (),
) -> Array:
    """The BS's sum rate over the power it takes [bit/s/Hz/W].

    ``sum_rate / (power_w / amplifier_efficiency + circuit_power_w + element_power_w N)``, with the N elements of the
    IRSs it owns in the slot; the form of Huang et al., "Reconfigurable intelligent surfaces for energy efficiency in
    wireless communication", IEEE Trans. Wireless Commun. 18(8), 2019.
    """
    power = outcome.power_w
    xp, device = namespace(power), power.device
    mine = outcome.owner[:, None, :] == xp.arange(power.shape[1], device=device)[:, None]  # (E, M, L)
    counts = xp.asarray(elements, dtype=power.dtype, device=device)
    driven = xp.sum(xp.astype(mine, power.dtype) * counts, axis=-1)
    return outcome.sum_rate / power_taken(power, driven, circuit_power_w, element_power_w, amplifier_efficiency)


def log_utility(rates: Array, offset: float) -> Array:
    """``log2(offset + rate)`` of each user, rates and offset in bit/s/Hz."""
    return namespace(rates).log2(offset + rates)


def power_taken(
    radiated_w: Array, elements: Array, circuit_power_w: float, element_power_w: float, amplifier_efficiency: float
) -> Array:
    """Power [W] that transmitters take with so many elements of IRSs."""
    return radiated_w / amplifier_efficiency + circuit_power_w + element_power_w * elements


REWARDS: dict[str, Callable[..., Array]] = {
    "local": local,
    "team": team,
    "mixed": mixed,
    "proportional_fair": proportional_fair,
    "min_rate": min_rate,
    "energy_efficiency": energy_efficiency,
}

# what the scenario's fields are to a built-in reward
_CONSTANTS: dict[str, Callable[[Scenario], dict[str, Any]]] = {
    "mixed": lambda s: {"team_weight": s.team_weight},
    "proportional_fair": lambda s: {"offset": s.fairness_offset},
    "energy_efficiency": lambda s: {
        "circuit_power_w": s.circuit_power_w,
        "element_power_w": s.irs_element_power_w,
        "amplifier_efficiency": s.amplifier_efficiency,
        "elements": s.elements,
    },
}


def reward_function(scenario: Scenario) -> Reward:
    """The reward of a scenario, with its constants, the cost of bids and the price of what they win.

    With ``bid_cost`` a BS pays so many bit/s/Hz per unit of positive bid for each IRS, won or not, with any reward.
    With ``contention="second_price"`` it pays for each IRS that it wins, see :func:`payments`, with any reward, too.
    """
    chosen: Reward = scenario.strategy("reward")
    if not isinstance(scenario.reward, str):
        chosen = partial(_checked, chosen)
    elif scenario.reward in _CONSTANTS:
        chosen = partial(chosen, **_CONSTANTS[scenario.reward](scenario))
    if scenario.bid_cost:
        chosen = partial(_less_bids, chosen, scenario.bid_cost)
    if isinstance(scenario.contention, str) and scenario.contention == "second_price":
        chosen = partial(_less_payments, chosen, scenario.price_bps_hz)
    return chosen


def payments(bids: Array, winner: Array, price: float) -> Array:
    """What each BS pays for the IRSs it wins: ``price max(0, second highest bid)`` each, (Vickrey 1961).

    Args:
        bids: ``(E, M, L)``.
        winner: ``(E, L)``, -1 for nobody.
        price: bit/s/Hz that a bid of 1 offers.

    Returns:
        ``(E, M)`` bit/s/Hz; 0 where there is nobody else who bids.
    """
    xp, num_bs = namespace(bids), bids.shape[1]
    if num_bs == 1:
        return xp.zeros_like(xp.sum(bids, axis=-1))  # there may be no IRS
    second = xp.clip(xp.sort(bids, axis=1)[:, -2], 0.0, None)
    won = winner[:, None, :] == xp.arange(num_bs, device=bids.device)[:, None]
    return price * xp.sum(xp.where(won, second[:, None], xp.zeros_like(bids)), axis=-1)


def _checked(reward: Reward, outcome: Any, state: Any) -> Array:
    """The reward of somebody else's function, which must be one number for each BS of each environment."""
    paid, expected = reward(read_only(outcome), read_only(state)), tuple(outcome.sum_rate.shape)
    if not is_array_of(paid, outcome.sum_rate, expected, REAL):
        found = described(paid, outcome.sum_rate)
        raise ValueError(
            f"the reward {shown(reward)} returned {found}: must be an array of shape {expected}, (E, M), of real "
            "numbers"
        )
    xp = namespace(paid)
    with np.errstate(over="ignore"):  # infinite in single precision is refused, too
        single = xp.astype(paid, outcome.sum_rate.dtype)
    if not xp.all(xp.isfinite(single)):
        raise ValueError(f"the reward {shown(reward)} returned numbers that are not finite: {shown(paid)}")
    return single


def _less_bids(reward: Reward, bid_cost: float, outcome: Any, state: Any) -> Array:
    xp = namespace(outcome.bids)
    return reward(outcome, state) - bid_cost * xp.sum(xp.clip(outcome.bids, 0.0, None), axis=-1)


def _less_payments(reward: Reward, price: float, outcome: Any, state: Any) -> Array:
    return reward(outcome, state) - payments(outcome.bids, outcome.winner, price)
