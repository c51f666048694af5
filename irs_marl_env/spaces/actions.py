"""Actions: flat vectors in [-1, 1] and the named arrays in them."""

from __future__ import annotations

import math
from typing import Any

from irs_marl_env.arrays import namespace
from irs_marl_env.scenario import Scenario
from irs_marl_env.spaces.layout import ElementAxis, Layout, Named

Array = Any

STRUCTURED_SPAN = math.log(10.0)  # structured weights reach from 1/10 to 10


class RawActionCodec:
    """``action="raw"``: what the paper's actor emits, (w real, w imag, theta, bids), each in [-1, 1].

    Named: ``w (..., K, Nb)`` complex, sqrt(W), ``sqrt(Pmax) (re + j im)`` before the power projection;
    ``theta (..., L, N)`` rad, ``pi a``; ``bids (..., L)``. Size D_a = 2 K Nb + sum_l N_l + L.
    """

    def __init__(self, scenario: Scenario) -> None:
        beams = (scenario.num_users, scenario.num_antennas)
        self.layout = Layout(
            {
                "w_real": beams,
                "w_imag": beams,
                "theta": (sum(scenario.elements),),
                "bids": (scenario.num_irs,),
            }
        )
        self.size = self.layout.size
        self._elements = ElementAxis(scenario)
        self._amplitude = math.sqrt(scenario.tx_power_w)

    def decode(self, flat: Array) -> Named:
        """Named arrays of flat actions ``(..., D_a)``."""
        take = self.layout.take
        w = take(flat, "w_real") + 1j * take(flat, "w_imag")
        return {
            "w": w * self._amplitude,
            "theta": self._elements.pad(take(flat, "theta") * math.pi),
            "bids": take(flat, "bids"),
        }

    def encode(self, named: Named) -> Array:
        """Flat actions ``(..., D_a)`` of named arrays; the inverse of :meth:`decode`."""
        w = named["w"] / self._amplitude
        xp = namespace(w)
        theta = self._elements.flatten(named["theta"]) / math.pi
        return self.layout.join({"w_real": xp.real(w), "w_imag": xp.imag(w), "theta": theta, "bids": named["bids"]})


class StructuredActionCodec:
    """``action="structured"``: bids, focus weights, user powers and a regulariser, each in [-1, 1].

    Named: ``bids (..., L)``; ``focus (..., L, K)`` weights of the users in the phase alignment of each IRS;
    ``powers (..., K)`` relative user powers; ``regularizer (..., )`` factor on the zero-forcing regularisation.
    Except for the bids the entries are logarithmic, ``10^a``, so that zero is neutral. D_a = L + L K + K + 1.
    """

    def __init__(self, scenario: Scenario) -> None:
        K, L = scenario.num_users, scenario.num_irs
        self.layout = Layout({"bids": (L,), "focus": (L, K), "powers": (K,), "regularizer": ()})
        self.size = self.layout.size

    def decode(self, flat: Array) -> Named:
        """Named arrays of flat actions ``(..., D_a)``."""
        xp = namespace(flat)
        named = {name: self.layout.take(flat, name) for name in self.layout.shapes}
        return {
            name: x if name == "bids" else xp.exp(STRUCTURED_SPAN * x)  # the logarithmic entries
            for name, x in named.items()
        }

    def encode(self, named: Named) -> Array:
        """Flat actions ``(..., D_a)`` of named arrays; the inverse of :meth:`decode`."""
        xp = namespace(named["bids"])
        return self.layout.join(
            {
                name: named[name] if name == "bids" else xp.log(named[name]) / STRUCTURED_SPAN
                for name in self.layout.shapes
            }
        )


ACTIONS: dict[str, type[RawActionCodec] | type[StructuredActionCodec]] = {
    "raw": RawActionCodec,
    "structured": StructuredActionCodec,
}
