"""Weights of the users in the sum rate that a policy maximises, for fairness over an episode or within a slot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from irs_marl_env.engine.view import View
from irs_marl_env.physics import radio
from irs_marl_env.rewards import log_utility
from irs_marl_env.solvers._cells import choose

WEIGHTS = ("proportional_fair", "slot_proportional_fair")
ROUNDS, STEP = 6, 0.5  # of reweighting; the first share of the way to the slopes


class Rates:
    """What a policy remembers of the rates of an episode."""

    def __init__(self) -> None:
        self._slot = np.array(-1)  # (E,) in which rates were added last
        self._sum, self._slots = np.zeros(()), np.zeros((), int)  # (E, K) bit/s/Hz and (E,), of the episode so far

    def mean(self, view: View) -> np.ndarray:
        """Mean rate ``(E, K)`` of each user over the slots of the episode so far, 0 in the first one."""
        begins, again = view.slot == 0, view.slot == self._slot
        new = ~(begins | again)
        self._sum = np.where(begins[:, None], 0.0, self._sum + new[:, None] * view.rates)
        self._slots = np.where(begins, 0, self._slots + new)
        self._slot = view.slot
        return self._sum / np.maximum(self._slots, 1)[:, None]


def proportional_fair(view: View, seen: Rates) -> np.ndarray:
    """``w_k`` in proportion to ``1 / (c + R_k)``, scaled so that the K weights have the mean one.

    ``R_k(t) = (1/t) sum_{s < t} rate_k(s)`` is the mean rate of user k over the slots of the episode so far, whatever
    cells the user was in, and 0 in the first one; c is the scenario's ``fairness_offset`` [bit/s/Hz]. The weighted sum
    rate is then what ``sum_k log(c + R_k)`` gains by the slot, to first order. Source: Kushner, Whiting, "Convergence
    of proportional-fair sharing algorithms under general conditions", IEEE Trans. Wireless Commun. 3(4), 2004.

    The policy has to be asked once in every slot.

    Returns:
        ``(E, K)`` float32.
    """
    weights = 1.0 / (view.scenario.fairness_offset + seen.mean(view))
    return (weights / weights.mean(-1, keepdims=True)).astype(np.float32)


def reweighted(
    optimised: Callable[[np.ndarray | None], tuple[np.ndarray, ...]], present: np.ndarray, offset: float
) -> tuple[np.ndarray, ...]:
    """Beams (and phases) for ``sum_k log2(c + rate_k)`` of the slot, by weighted sum rates that approach it.

    At a maximum the weights are ``1 / (c + rate_k)``, the slopes of the logarithm. Each round goes half of the way
    there, in logarithms, from the weights of the best answer so far: a user whom a sum rate leaves without any would
    else be worth ten others. A cell keeps its answer unless the new one is better, and goes half as far next time.
    Source of the slopes: Shi, Razaviyayn, Luo, He, "An iteratively weighted MMSE approach ...", IEEE Trans. Signal
    Process. 59(9), 2011, Section V.

    Args:
        optimised: weights ``(B, K)``, or ``None`` for ones, to rates ``(B, K)`` and what gives them, ``(B, ...)``.
        present: ``(B, K)`` bool, the users that exist.
        offset: c, bit/s/Hz.

    Returns:
        The utility ``(B,)`` of the users that exist, and what gives it.
    """
    rates, *answer = optimised(None)
    utility = (log_utility(rates, offset) * present).sum(-1)
    logs, step = np.zeros(rates.shape), np.full((len(rates), 1), STEP)  # of the weights that gave the answer
    for _ in range(ROUNDS):
        slopes = -np.log(offset + rates)
        trial = logs + step * (slopes - slopes.mean(-1, keepdims=True) - logs)
        weights = np.exp(trial)
        its_rates, *its = optimised((weights / weights.mean(-1, keepdims=True)).astype(rates.dtype))
        its_utility = (log_utility(its_rates, offset) * present).sum(-1)
        better = its_utility > utility
        utility, rates, logs = (
            choose(better, y, x) for x, y in ((utility, its_utility), (rates, its_rates), (logs, trial))
        )
        answer = [choose(better, y, x) for x, y in zip(answer, its, strict=True)]
        step = choose(better, step, step / 2)
    return (utility, *answer)


def user_rates(channel: np.ndarray, beams: np.ndarray, noise_power: float) -> np.ndarray:
    """Rates ``(..., K)`` [bit/s/Hz] in a cell by itself, of channels and beams ``(..., K, Nb)``."""
    signal, interference = radio.received_power(radio.beam_products(channel, beams))
    return radio.rates(signal / (interference + noise_power))
