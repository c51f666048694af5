"""A rule for power control: base stations with few users are silent, and the others have all IRSs to themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from irs_marl_env.engine.view import View
from irs_marl_env.policies.limits import neglected
from irs_marl_env.policies.rate_rules import marginal_rate
from irs_marl_env.scenario import Scenario


@dataclass(frozen=True)
class QuietPolicy:
    """Bids by own marginal rates, but a base station (BS) with fewer users than an equal share of them is silent.

    With two BSs the smaller cell is silent, and the number of one's own users says which one that is; if they are of
    one size both transmit. A silent BS radiates nothing and bids the least for everything. There is always a BS that
    is not silent. What remains is as with ``structured-marginal``: own CSI, and beams and phases of the decoder.

    Attributes:
        name: what tables call it.
    """

    name: str = "quiet-marginal"

    def neglects(self, scenario: Scenario) -> list[str]:
        """What of a scenario the policy chooses without regard to, a sentence each."""
        return neglected("marginal-rate", "structured", scenario)

    def adapt(self, scenario: Scenario) -> Scenario:
        """The scenario with structured actions and power control, and with the cheap observations: it reads none.

        Raises:
            ValueError: a BS does not have the CSI of all IRSs.
        """
        if scenario.csi != "all":
            raise ValueError(f"policy {self.name!r} values every IRS by its CSI: csi={scenario.csi!r} must be 'all'")
        return scenario.replace(action="structured", power_control=True, observation="large_scale")

    def bind(self, env: Any, seed: int = 0) -> Callable[..., Any]:
        """A callable ``observations -> actions``; see :meth:`ClassicalPolicy.bind`. It draws nothing from ``seed``.

        Raises:
            ValueError: the environment has other actions, or what :meth:`adapt` refuses.
        """
        needed = self.adapt(env.scenario)
        for field in ("action", "power_control"):
            if getattr(needed, field) != getattr(env.scenario, field):
                wanted, found = getattr(needed, field), getattr(env.scenario, field)
                raise ValueError(f"policy {self.name!r} needs {field}={wanted!r}, not {found!r}")
        slices, neutral = env.action_codec.layout.slices, env.action_codec.neutral

        def act(observations: Any = None) -> Any:
            view = env.view()
            bids = marginal_rate(view, None, None)
            actions = np.tile(neutral, (*bids.shape[:2], 1))
            actions[..., slices["bids"]] = bids
            quiet = silent(view)
            for entry in ("bids", "total_power"):
                actions[..., slices[entry]] = np.where(quiet[..., None], -1.0, actions[..., slices[entry]])
            if hasattr(env, "num_envs"):
                return actions
            return {agent: actions[0, m] for m, agent in enumerate(env.possible_agents)}

        return act


def silent(view: View) -> np.ndarray:
    """``(E, M)`` bool: BSs with fewer users than an equal share."""
    found: np.ndarray = view.own_user.sum(-1) * view.scenario.num_bs < view.scenario.num_users
    return found
