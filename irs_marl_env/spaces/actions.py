"""Actions: flat vectors in [-1, 1] and the named arrays in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from irs_marl_env.arrays import constant_like, namespace
from irs_marl_env.checks import check_whole
from irs_marl_env.physics.array_response import existing_antennas
from irs_marl_env.scenario import Scenario
from irs_marl_env.spaces.layout import ElementAxis, Layout, Named

Array = Any

STRUCTURED_SPAN = math.log(10.0)  # structured weights reach from 1/10 to 10


class RawActionCodec:
    """``action="raw"``: what the paper's actor emits, (w real, w imag, theta, bids), each in [-1, 1].

    Named: ``w (..., K, Nb)`` complex, sqrt(W), ``sqrt(Pmax) (re + j im)`` before the power projection, zero for
    antennas that the BS does not have; ``theta (..., L, N)`` rad, ``pi a``; ``bids (..., L)``.
    Size D_a = 2 K Nb + sum_l N_l + L.

    Where BSs differ in power or antennas, the last of the axes ``...`` has to be that of the M BSs; for the action of a
    single one say which it is, ``decode(flat, bs=0)``.
    """

    def __init__(self, scenario: Scenario) -> None:
        beams = (scenario.num_users, scenario.max_antennas)
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
        amplitudes = [math.sqrt(power_w) for power_w in scenario.tx_powers_w]
        self._amplitude: float | None = amplitudes[0]  # of all antennas of all BSs
        if len(set(amplitudes)) > 1 or len(set(scenario.antennas)) > 1:
            self._amplitude = None
            self._amplitudes = np.array(amplitudes)[:, None] * existing_antennas(scenario)  # (M, Nb)

    def _by_antenna(self, w: Array, bs: int | None) -> np.ndarray:
        """The amplitudes that belong to the entries of beams ``w (..., K, Nb)`` where BSs differ, 0 for no antenna."""
        num_bs = len(self._amplitudes)
        if bs is not None:
            return self._amplitudes[check_whole("bs", bs, 0, num_bs - 1)]
        if w.ndim < 3 or w.shape[-3] != num_bs:
            raise ValueError(
                f"actions with leading axes {tuple(w.shape[:-2])}: must be (..., M) with M={num_bs}, since the BSs "
                "differ in power or antennas; of a single BS say which, bs=0"
            )
        return self._amplitudes[:, None]

    def decode(self, flat: Array, bs: int | None = None) -> Named:
        """Named arrays of flat actions ``(..., D_a)``, of the BS ``bs`` alone if it is given."""
        self.layout.check(flat)
        take = self.layout.take
        w = take(flat, "w_real") + 1j * take(flat, "w_imag")
        return {
            "w": w * (self._amplitude or constant_like(self._by_antenna(w, bs), w)),
            "theta": self._elements.pad(take(flat, "theta") * math.pi),
            "bids": take(flat, "bids"),
        }

    def encode(self, named: Named, bs: int | None = None) -> Array:
        """Flat actions ``(..., D_a)`` of named arrays; the inverse of :meth:`decode`."""
        w, xp = named["w"], namespace(named["w"])
        if self._amplitude is None:
            amplitudes = self._by_antenna(w, bs)
            inverse = np.divide(1.0, amplitudes, out=np.zeros_like(amplitudes), where=amplitudes > 0)
            w = w * constant_like(inverse, w)
        else:
            w = w / self._amplitude
        theta = self._elements.flatten(named["theta"]) / math.pi
        return self.layout.join({"w_real": xp.real(w), "w_imag": xp.imag(w), "theta": theta, "bids": named["bids"]})


class StructuredActionCodec:
    """``action="structured"``: bids, focus weights, user powers and a regulariser, each in [-1, 1].

    Named: ``bids (..., L)``; ``focus (..., L, K)`` weights of the users in the phase alignment of each IRS;
    ``powers (..., K)`` relative user powers; ``regularizer (..., )`` factor on the zero-forcing regularisation.
    Except for the bids the entries are logarithmic, ``10^a``, so that zero is neutral. D_a = L + L K + K + 1.

    With ``power_control`` there is one entry more, ``total_power (..., )``: the share of Pmax that the BS takes,
    ``(1 + a) / 2``.

    Attributes:
        neutral: ``(D_a,)`` float32, the action that favours nobody: at Pmax, with bids of 0.
    """

    def __init__(self, scenario: Scenario) -> None:
        K, L = scenario.num_users, scenario.num_irs
        blocks: dict[str, tuple[int, ...]] = {"bids": (L,), "focus": (L, K), "powers": (K,), "regularizer": ()}
        self.layout = Layout({**blocks, "total_power": ()} if scenario.power_control else blocks)
        self.size = self.layout.size
        self.neutral = np.zeros(self.size, np.float32)
        if scenario.power_control:
            self.neutral[self.layout.slices["total_power"]] = 1.0

    def decode(self, flat: Array, bs: int | None = None) -> Named:
        """Named arrays of flat actions ``(..., D_a)``; they mean the same for every BS."""
        named, xp = self.layout.split(flat), namespace(flat)
        means: dict[str, Callable[[Array], Array]] = {"bids": lambda a: a, "total_power": lambda a: (1.0 + a) / 2.0}

        def logarithmic(a: Array) -> Array:
            return xp.exp(STRUCTURED_SPAN * a)

        return {name: means.get(name, logarithmic)(a) for name, a in named.items()}

    def encode(self, named: Named, bs: int | None = None) -> Array:
        """Flat actions ``(..., D_a)`` of named arrays; the inverse of :meth:`decode`."""
        xp = namespace(named["bids"])
        entries: dict[str, Callable[[Array], Array]] = {"bids": lambda x: x, "total_power": lambda x: 2.0 * x - 1.0}

        def logarithm(x: Array) -> Array:
            return xp.log(x) / STRUCTURED_SPAN

        return self.layout.join({name: entries.get(name, logarithm)(named[name]) for name in self.layout.shapes})


ACTIONS: dict[str, type[RawActionCodec] | type[StructuredActionCodec]] = {
    "raw": RawActionCodec,
    "structured": StructuredActionCodec,
}
