"""All parameters of a network as one vector, so that a step of Adam or of a Polyak average is one call for all of them.

A network here has a dozen or two small parameters: calls, and not arithmetic, are what a list of them costs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

MOMENTS = ("exp_avg", "exp_avg_sq")


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
    """Adam on all parameters of a network as one vector; its state is that of ``torch.optim.Adam`` over the list.

    Args:
        weights: of the network; gradients are summed in a vector too, of which the parameters' own become views.
        rate: of learning.
    """

    def __init__(self, weights: Flat, rate: float) -> None:
        self.weights = weights
        whole = nn.Parameter(weights.vector)  # the same memory
        whole.grad = torch.zeros_like(whole)
        for parameter, piece in zip(weights.parameters, weights.pieces(whole.grad), strict=True):
            parameter.grad = piece
        self._whole = whole
        self._adam = torch.optim.Adam([whole], lr=rate, fused=True)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """One group, with the learning rate ``lr``."""
        return self._adam.param_groups

    def descend(self, loss: torch.Tensor) -> None:
        """A step down the gradient of a loss, which leaves the gradients of other networks alone."""
        gradient: Any = self._whole.grad
        gradient.zero_()
        loss.backward(inputs=self.weights.parameters)
        self._adam.step()

    def step(self) -> None:
        """A step down the gradients as they are."""
        self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Moments by parameter, as checkpoints have always held them."""
        saved = self._adam.state_dict()
        whole, state = saved["state"].get(0), {}
        if whole is not None:
            moments = {name: self.weights.pieces(whole[name]) for name in MOMENTS}
            state = {
                index: {"step": whole["step"], **{name: moments[name][index] for name in MOMENTS}}
                for index in range(len(self.weights.parameters))
            }
        return {"state": state, "param_groups": saved["param_groups"]}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take moments by parameter."""
        by_index, state = saved["state"], {}
        if by_index:
            order = [by_index[index] for index in range(len(self.weights.parameters))]
            moments = {name: torch.cat([each[name].flatten() for each in order]) for name in MOMENTS}
            state = {0: {"step": order[0]["step"], **moments}}
        self._adam.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
