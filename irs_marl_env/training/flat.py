"""All parameters of a network as one vector, so that a step of Adam or of a Polyak average is one call for all of them.

A network here has a dozen or two small parameters: calls, and not arithmetic, are what a list of them costs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

MOMENTS = ("exp_avg", "exp_avg_sq")


@contextmanager
def without_denormals() -> Iterator[None]:
    """Numbers below 1e-38 count as zero here; afterwards they do not, which is torch's default.

    Squares of gradients that have become zero fade through such numbers for some ten thousand steps, and arithmetic on
    them takes several times as long. The weights are the same: beside Adam's epsilon such a root is nothing.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


class Flat:
    """The parameters of a network, one behind the other in a vector, of which they become views.

    Args:
        module: the network, on its device already. Its parameters stay the same objects, with the same values.

    Attributes:
        parameters: of the network, in its order.
        vector: all their entries.
    """

    def __init__(self, module: nn.Module) -> None:
        self.parameters = list(module.parameters())
        self.vector = torch.cat([p.detach().flatten() for p in self.parameters])
        for parameter, piece in zip(self.parameters, self.pieces(self.vector), strict=True):
            parameter.data = piece

    def pieces(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """Views of such a vector in the shapes of the parameters."""
        sizes = [p.numel() for p in self.parameters]
        return [piece.view(p.shape) for piece, p in zip(vector.split(sizes), self.parameters, strict=True)]

    def follow(self, other: Flat, tau: float) -> None:
        """``theta <- (1 - tau) theta + tau theta_other`` for networks of the same shapes."""
        self.vector.lerp_(other.vector, tau)


class FlatAdam:
    """Adam on all parameters of a network as one vector, to the bit what ``torch.optim.Adam`` does to the list.

    Torch's own class spends several times the arithmetic on looking after a general optimiser's options.

    Args:
        weights: of the network. Gradients are summed in a vector too, of which the parameters' own become views.
        rate: of learning.

    Attributes:
        param_groups: one group with the parameters and the learning rate, ``params`` and ``lr``, as torch's.
    """

    BETAS, EPSILON = (0.9, 0.999), 1e-8

    def __init__(self, weights: Flat, rate: float) -> None:
        self.weights, self.steps = weights, 0
        self._gradient, self._mean, self._square, self._root = (torch.zeros_like(weights.vector) for _ in range(4))
        for parameter, piece in zip(weights.parameters, weights.pieces(self._gradient), strict=True):
            parameter.grad = piece
        self.param_groups: list[dict[str, Any]] = [{"params": weights.parameters, "lr": rate}]

    def descend(self, loss: torch.Tensor) -> None:
        """A step down the gradient of a loss, which leaves the gradients of other networks alone."""
        self._gradient.zero_()
        loss.backward(inputs=self.weights.parameters)
        self.step()

    def step(self) -> None:
        """A step down the gradients as they are."""
        (beta1, beta2), gradient = self.BETAS, self._gradient
        self.steps += 1
        rate = self.param_groups[0]["lr"] / (1 - beta1**self.steps)
        with without_denormals():
            self._mean.lerp_(gradient, 1 - beta1)
            self._square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            # into memory that is there: new pages for millions of weights cost more than the arithmetic
            root = torch.sqrt(self._square, out=self._root).div_(math.sqrt(1 - beta2**self.steps)).add_(self.EPSILON)
            self.weights.vector.addcdiv_(self._mean, root, value=-rate)

    def state_dict(self) -> dict[str, Any]:
        """Moments by parameter, as torch's optimiser has them; none before the first step."""
        moments = zip(self.weights.pieces(self._mean), self.weights.pieces(self._square), strict=True)
        step = torch.tensor(float(self.steps), device="cpu")
        state = {i: {"step": step, **dict(zip(MOMENTS, pair, strict=True))} for i, pair in enumerate(moments)}
        return {"state": state if self.steps else {}, "param_groups": self.param_groups}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take the moments of such a state, this one's or torch's."""
        self.steps = 0
        for index, state in saved["state"].items():
            self.steps = int(state["step"])
            for vector, name in zip((self._mean, self._square), MOMENTS, strict=True):
                self.weights.pieces(vector)[index].copy_(state[name])
