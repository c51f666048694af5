"""Returns of several slots: what a replay memory holds instead of single rewards."""

from __future__ import annotations

from collections import deque

import numpy as np

Rows = dict[str, np.ndarray]


class Returns:
    """Turns slots, one after the other, into transitions whose reward is that of n slots,

        R_t = sum_{i < k} gamma^i r_{t + delay + i},    followed by the observation of slot t + delay + k.

    k is n but for the last slots of an episode. An episode ends by its time limit, and what would come then is unknown:
    with ``bootstrap`` k is as many slots as were left, and the transition is followed by the episode's final
    observation, whose value counts gamma^k (its ``discount``). Without it such slots give no transition at all.

    Args:
        n: slots that count.
        gamma: discount.
        delay: slots between an action and the first reward that it decides.
        bootstrap: whether a value of what follows is added to a return.
    """

    def __init__(self, n: int, gamma: float, delay: int = 0, bootstrap: bool = True) -> None:
        self.n, self.gamma, self.delay, self.bootstrap = n, gamma, delay, bootstrap
        self.waiting: deque[Rows] = deque()  # slots whose return is not complete, oldest first

    @property
    def window(self) -> int:
        """Slots from an action to the last reward that counts, both included."""
        return self.delay + self.n

    def add(self, ended: bool, **slot: np.ndarray) -> list[Rows]:
        """Take a slot; return the transitions that are complete with it, oldest first.

        Args:
            ended: it is the last slot of an episode.
            **slot: its arrays by name, with ``reward`` and those that begin with ``next_``, which transitions take from
                the last slot of their return.
        """
        if self.window == 1:
            return [{**slot, "discount": np.full(len(slot["reward"]), self.gamma, np.float32)}]
        self.waiting.append(slot)
        complete = []
        while len(self.waiting) >= self.window or (ended and self.bootstrap and len(self.waiting) > self.delay):
            complete.append(self._transition())
            self.waiting.popleft()
        if ended:
            self.waiting.clear()
        return complete

    def _transition(self) -> Rows:
        """That of the oldest slot, over the slots that are there."""
        slots = list(self.waiting)[: self.window]
        counted = slots[self.delay :]
        reward = sum(np.float32(self.gamma**i) * slot["reward"] for i, slot in enumerate(counted))
        following = {name: array for name, array in slots[-1].items() if name.startswith("next_")}
        discount = np.full(len(slots[0]["reward"]), self.gamma ** len(counted), np.float32)
        return {**slots[0], **following, "reward": reward, "discount": discount}

    def transitions(self, slots: int, horizon: int) -> int:
        """How many transitions so many slots in a row gave, per environment."""
        episodes, begun = divmod(slots, horizon)
        lost = 0 if self.bootstrap else self.window - 1
        each = max(0, horizon - max(lost, self.delay))
        return episodes * each + max(0, begun - self.window + 1)

    def waiting_after(self, slots: int, horizon: int) -> int:
        """How many slots wait for the rest of their return after so many."""
        return min(slots % horizon, self.window - 1)
