"""A rule for claims: hold what is worth it, give up what is not, and challenge a holder by spoiling one slot.

Under ``contention="collision"`` base stations (BSs) cannot bid, and what an IRS is worth to a BS only that BS knows.
But who held it in the last slot everybody sees, and path gains change slowly, so claims can agree over time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from irs_marl_env.engine.view import View
from irs_marl_env.policies.rules import own_gain
from irs_marl_env.scenario import Scenario


@dataclass(frozen=True)
class ReleasePolicy:
    """Claims by two thresholds on a BS's own path gain, and by who held an IRS last; nothing else is known.

    The gain is the sum over a BS's own users of their path gains over the IRS, both legs, in dB over the reference of
    ``structured-local-gain``. Of each IRS:

    - who held it in the last slot claims it again while the gain is above ``keep_db``;
    - another BS claims it, too, where its gain is above ``challenge_db``. Then both lose the slot, and the IRS is free;
    - a free IRS is offered to the BSs in turn, a slot each, beginning after the one that held it last: with two BSs to
      the challenger, or to the other one if the holder gave it up. A BS that has users takes it.

    Where nobody has held IRS l in the episode yet, BS l mod M counts as its last holder. Beams and phases are left to
    the decoder of structured actions.

    Attributes:
        name: what tables call it.
        keep_db: threshold of keeping, dB.
        challenge_db: threshold of claiming what another BS holds, dB. Both were chosen on walks of
            ``mdlbi-collision-v0``.
    """

    name: str = "release"
    keep_db: float = 4.0
    challenge_db: float = 14.0

    remembers = True  # it has to act in every slot

    def neglects(self, scenario: Scenario) -> list[str]:
        """Nothing: it does not promise to maximise anything."""
        return []

    def adapt(self, scenario: Scenario) -> Scenario:
        """The scenario with structured actions, and with the observations that cost least: it reads none."""
        return scenario.replace(action="structured", observation="large_scale")

    def bind(self, env: Any, seed: int = 0) -> Callable[..., Any]:
        """A callable ``observations -> actions``; see :meth:`ClassicalPolicy.bind`. It draws nothing from ``seed``.

        Raises:
            ValueError: the environment's actions are not structured.
        """
        if env.scenario.action != "structured":
            raise ValueError(f"policy {self.name!r} needs action='structured', not {env.scenario.action!r}")
        offers = _Offers()
        codec = env.action_codec

        def act(observations: Any = None) -> Any:
            view = env.view()
            claims = self.claims(view, *offers.see(view))
            actions = np.tile(codec.neutral, (*claims.shape[:2], 1))
            actions[..., codec.layout.slices["bids"]] = np.where(claims, 1.0, -1.0)
            if hasattr(env, "num_envs"):
                return actions
            return {agent: actions[0, m] for m, agent in enumerate(env.possible_agents)}

        return act

    def claims(self, view: View, holder: np.ndarray, free: np.ndarray) -> np.ndarray:
        """``(E, M, L)`` bool.

        Args:
            view: the slot.
            holder: ``(E, L)`` the last holder.
            free: ``(E, L)`` slots since then in which nobody held the IRS; 0: it is held.
        """
        gain_db = 10.0 * np.log10(np.maximum(own_gain(view), 1e-30))
        bs: np.ndarray = np.arange(view.scenario.num_bs)[:, None]
        held = gain_db > np.where(holder[:, None] == bs, self.keep_db, self.challenge_db)
        turn: np.ndarray = (holder + free) % len(bs)
        offered = turn[:, None] == bs
        has_users = view.own_user.any(-1, keepdims=True)
        claimed: np.ndarray = np.where(free[:, None] > 0, offered & has_users, held)
        return claimed


class _Offers:
    """Who held each IRS last, and for how long nobody has held it since: what everybody sees."""

    def __init__(self) -> None:
        self.holder: np.ndarray | None = None
        self.free: np.ndarray | None = None

    def see(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Last holders and free slots, both ``(E, L)``, after the slot that the view shows the owners of."""
        owner = view.owner
        anew = np.broadcast_to((view.slot == 0)[:, None], owner.shape)
        usual = np.broadcast_to(np.arange(owner.shape[1]) % view.scenario.num_bs, owner.shape)
        holder, free = self.holder, self.free
        if holder is None or free is None:
            holder, free, anew = usual, np.zeros_like(owner), np.ones_like(anew)
        held = owner >= 0
        self.holder = np.where(held, owner, np.where(anew, usual, holder))
        self.free = np.where(held, 0, np.where(anew, 0, free) + 1)
        return self.holder, self.free
