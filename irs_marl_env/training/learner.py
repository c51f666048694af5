"""What learners have in common: networks, their averages and optimisers, and a step down a gradient."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from irs_marl_env.training.command import Failed
from irs_marl_env.training.flat import Flat, FlatAdam
from irs_marl_env.training.settings import Args


class Diverged(Failed):
    """A loss or a weight is no longer finite."""


class GradientLearner:
    """Networks that learn by gradients.

    Args:
        nets: by name, on their device already.
        rates: of learning, by name.
        args: settings.
        gamma: discount.
        device: of the networks.

    Attributes:
        remembers: what of a transition it learns from, see :class:`irs_marl_env.training.loop.Run`.
        nets: the networks.
        targets: their Polyak averages.
        optimisers: by name of the network.
        updates: how many were done.
    """

    remembers: tuple[str, ...] = ("obs", "action", "reward")

    def __init__(
        self, nets: dict[str, nn.Module], rates: dict[str, float], args: Args, gamma: float, device: Any = "cpu"
    ) -> None:
        self.args, self.gamma, self.device, self.rates = args, gamma, device, rates
        self.nets = nn.ModuleDict(nets)
        self.targets = copy.deepcopy(self.nets).requires_grad_(False)
        self.optimisers = {name: FlatAdam(Flat(self.nets[name]), rate) for name, rate in rates.items()}
        self.followers = {name: Flat(self.targets[name]) for name in rates}
        self.updates = 0

    def descend(self, name: str, loss: torch.Tensor, watched: torch.Tensor) -> list[float]:
        """A step of Adam down the gradient of a loss; returns the loss and what is watched beside it.

        Raises:
            Diverged: the loss is not finite; the network is as it was.
        """
        numbers: list[float] = torch.stack([loss, watched]).tolist()  # one wait for a GPU, not two
        if not math.isfinite(numbers[0]):
            raise Diverged(f"the {name} loss is {numbers[0]} in update {self.updates}")
        optimiser = self.optimisers[name]
        if self.args.lr_decay:
            done = min(1.0, self.updates / self.args.updates)
            optimiser.param_groups[0]["lr"] = self.rates[name] * (1 - 0.9 * done)
        optimiser.descend(loss)
        return numbers

    def follow(self) -> None:
        """Averages take a step: theta' <- (1 - tau) theta' + tau theta (Eqs. 11, 12)."""
        for name, target in self.followers.items():
            target.follow(self.optimisers[name].weights, self.args.tau)

    def finite(self) -> bool:
        """Whether all weights are finite."""
        return all(bool(torch.isfinite(p).all()) for p in self.nets.parameters())
