"""Observations: flat vectors and the named arrays in them.

An observation is a class, made with the scenario, of which :data:`OBSERVATIONS` has the built-in ones by name. It has

- ``size``, ``low`` and ``high``: D_o, and the bounds ``(D_o,)`` float32 of every entry;
- ``observe(known) -> (E, M, D_o)`` float32: what each BS sees, from what the BSs know
  (:class:`irs_marl_env.engine.observe.Known`: masks, log path gains, CSI, owners, rho ...).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irs_marl_env.arrays import clip_in_place, limit, multiply_into, namespace, on_host, real_and_imag
from irs_marl_env.scenario import Scenario
from irs_marl_env.spaces.layout import (
    CSI_LIMIT,
    GAIN_LIMIT,
    VALUE_LIMIT,
    VALUE_UNIT,
    CsiScale,
    Layout,
    Named,
    valid_elements,
)
from irs_marl_env.spaces.optional_blocks import OPTIONAL_BLOCKS, optional_entries, optional_shapes, set_bounds

Array = Any


def _largest_part(x: np.ndarray) -> float:
    """The largest magnitude of a real or imaginary part, 0 without any."""
    parts = x.view(np.float32)
    return float(max(parts.max(initial=0.0), -parts.min(initial=0.0)))


class CsiObservationCodec:
    """``observation="csi"``: the paper's o_m, (H re, H im, G re, G im, h re, h im, rho).

    Named: ``H (..., K, Nb)``, ``G (..., L, N, Nb)``, ``h (..., L, K, N)`` complex in physical units (own-cell users
    only), ``rho (..., M - 1, L)``, last ownership (or bids) of the other BSs in index order.
    D_o = 2 K Nb + 2 sum_l N_l Nb + 2 K sum_l N_l + (M - 1) L, and what :mod:`irs_marl_env.spaces.optional_blocks` adds.
    """

    def __init__(self, scenario: Scenario) -> None:
        M, K, L = scenario.num_bs, scenario.num_users, scenario.num_irs
        N, Nb, total = scenario.max_elements, scenario.max_antennas, sum(scenario.elements)
        shapes = {"H": (K, Nb), "G": (total, Nb), "h": (K * total,)}
        blocks = {f"{name}_{part}": shape for name, shape in shapes.items() for part in ("real", "imag")}
        self.layout = Layout({**blocks, "rho": (M - 1, L), **optional_shapes(scenario)})
        self.size = self.layout.size
        self.scale = CsiScale(scenario)
        self.factors = 1.0 / np.array([self.scale.direct, self.scale.bs_irs, self.scale.irs_user], np.float32)
        self.padded = total != L * N
        self._held_alone = scenario.csi == "owned"  # a BS sees the CSI of the IRSs it held last
        self._full_shape = {"H": (K, Nb), "G": (L, N, Nb), "h": (L, K, N)}
        slices = self.layout.slices
        self._both = {n: slice(slices[f"{n}_real"].start, slices[f"{n}_imag"].stop) for n in self._full_shape}
        valid = valid_elements(scenario)
        self._G_index = np.array([irs * N + n for irs, n in valid], dtype=np.int64)
        of_irs = [[n for irs, n in valid if irs == i] for i in range(L)]
        self._h_index = np.array(
            [(irs * K + k) * N + n for irs in range(L) for k in range(K) for n in of_irs[irs]], dtype=np.int64
        )
        self._flat_index = {
            "G": (self._G_index[:, None] * Nb + np.arange(Nb)).reshape(-1),
            "h": self._h_index,
        }
        self.low, self.high = (
            np.full(self.size, -CSI_LIMIT, np.float32),
            np.full(self.size, CSI_LIMIT, np.float32),
        )
        rho = self.layout.slices["rho"]
        self.low[rho], self.high[rho] = (-1.0 if scenario.rho == "bids" else 0.0), 1.0
        set_bounds(self.layout, self.low, self.high)
        self._optional = [name for name in self.layout.shapes if name in OPTIONAL_BLOCKS]

    def observe(self, known: Any) -> Array:
        """Observations ``(E, M, D_o)`` of all BSs, in memory of their own.

        Rows of other cells' users are zero, and so are IRSs whose CSI a BS does not see.
        """
        own_user, csi = known.own_user, known.csi
        out = known.empty((*own_user.shape[:2], self.size))
        factor_H = own_user[:, :, None, :, None] * (1.0 / self.scale.direct)
        factor_G: Any = 1.0 / self.scale.bs_irs
        factor_h = own_user[:, :, None, None, :, None] * (1.0 / self.scale.irs_user)
        if self._held_alone:
            factor_G = known.held[:, :, None, :, None, None] * factor_G
            factor_h = known.held[:, :, None, :, None, None] * factor_h
        self._write(out, "H", real_and_imag(csi.H), factor_H)  # (E, M, 2, K, Nb)
        self._write(out, "G", real_and_imag(csi.G), factor_G)  # (E, M, 2, L, N, Nb)
        self._write(out, "h", real_and_imag(csi.h[:, None]), factor_h)  # (E, 1, 2, L, K, N)
        out[..., self.layout.slices["rho"]] = known.rho.reshape(*out.shape[:-1], -1)
        for name, seen in optional_entries(self.layout, known).items():
            out[..., self.layout.slices[name]] = seen.reshape(*out.shape[:-1], -1)
        # values beyond the limit are rare: where looking is cheap, it is cheaper than clipping everything
        if not on_host(out) or any(
            _largest_part(x) * factor > CSI_LIMIT for x, factor in zip(csi, self.factors, strict=True)
        ):
            clip_in_place(out, -CSI_LIMIT, CSI_LIMIT)
        return out

    def _write(self, out: Array, name: str, parts: Array, factor: Any) -> None:
        """Write the real and the imaginary block of a channel, ``parts (E, 1 or M, 2, ...)`` times ``factor``."""
        block = out[..., self._both[name]]
        if not self.padded or name == "H":
            # splitting the last axis is always a view
            multiply_into(block.reshape(*out.shape[:-1], 2, *self._full_shape[name]), parts, factor)
            return
        scaled = parts * factor
        flat = scaled.reshape(*out.shape[:-1], 2, -1)[..., self._flat_index[name]]
        block[...] = flat.reshape(*block.shape)

    def decode(self, flat: Array) -> Named:
        """Named arrays, in physical units, of flat observations ``(..., D_o)``."""
        self.layout.check(flat)
        xp = namespace(flat)
        take, lead = self.layout.take, flat.shape[:-1]
        H = (take(flat, "H_real") + 1j * take(flat, "H_imag")) * self.scale.direct
        G = (take(flat, "G_real") + 1j * take(flat, "G_imag")) * self.scale.bs_irs
        h = (take(flat, "h_real") + 1j * take(flat, "h_imag")) * self.scale.irs_user
        if self.padded:
            G = _scatter(
                xp.reshape(xp.matrix_transpose(G), (*lead, G.shape[-1], -1)),
                self._G_index,
                self._full_shape["G"][:2],
            )
            G = xp.moveaxis(G, len(lead), -1)
            h = _scatter(h, self._h_index, self._full_shape["h"])
        return {
            "H": H,
            "G": xp.reshape(G, (*lead, *self._full_shape["G"])),
            "h": xp.reshape(h, (*lead, *self._full_shape["h"])),
            "rho": take(flat, "rho"),
            **{name: take(flat, name) for name in self._optional},
        }

    def encode(self, named: Named) -> Array:
        """Flat observations ``(..., D_o)`` of named arrays; the inverse of :meth:`decode` inside the bounds."""
        xp = namespace(named["H"])
        H, G, h = (
            named["H"] / self.scale.direct,
            named["G"] / self.scale.bs_irs,
            named["h"] / self.scale.irs_user,
        )
        lead = H.shape[:-2]
        G = xp.reshape(G, (*lead, -1, G.shape[-1]))
        h = xp.reshape(h, (*lead, math.prod(self._full_shape["h"])))
        if self.padded:
            G, h = G[..., self._G_index, :], h[..., self._h_index]
        blocks = {}
        for name, x in {"H": H, "G": G, "h": h}.items():
            blocks[f"{name}_real"], blocks[f"{name}_imag"] = xp.real(x), xp.imag(x)
        return xp.clip(self.layout.join({**named, **blocks}), -CSI_LIMIT, CSI_LIMIT)


def _scatter(values: Array, index: np.ndarray, shape: tuple[int, ...]) -> Array:
    """Put ``values (..., len(index))`` at ``index`` of zeros of the given shape."""
    xp = namespace(values)
    source = np.full(math.prod(shape), len(index))
    source[index] = np.arange(len(index))
    padded = xp.concat([values, xp.zeros_like(values[..., :1])], axis=-1)[..., source]
    return xp.reshape(padded, (*values.shape[:-1], *shape))


class LargeScaleObservationCodec:
    """``observation="large_scale"``: what changes slowly, and all that a bid needs.

    Named: ``own_user (..., K)`` 0/1; ``direct_gain (..., K)`` and ``irs_gain (..., L, K)`` log path gains of own
    users over the direct link and over each IRS (both legs), in units of 10 dB relative to the gain at half the
    area's width, zero for users of other cells; ``held (..., L)`` IRSs held last; ``rho (..., M - 1, L)``.
    D_o = 2 K + L K + L + (M - 1) L, and what :mod:`irs_marl_env.spaces.optional_blocks` adds.
    """

    def __init__(self, scenario: Scenario) -> None:
        M, K, L = scenario.num_bs, scenario.num_users, scenario.num_irs
        blocks = {"own_user": (K,), "direct_gain": (K,), "irs_gain": (L, K), "held": (L,), "rho": (M - 1, L)}
        self.layout = Layout({**blocks, **self._more_shapes(scenario), **optional_shapes(scenario)})
        self.size = self.layout.size
        self.low, self.high = np.zeros(self.size, np.float32), np.ones(self.size, np.float32)
        for name in ("direct_gain", "irs_gain"):
            self.low[self.layout.slices[name]], self.high[self.layout.slices[name]] = -GAIN_LIMIT, GAIN_LIMIT
        if scenario.rho == "bids":
            self.low[self.layout.slices["rho"]] = -1.0
        set_bounds(self.layout, self.low, self.high)

    def _more_shapes(self, scenario: Scenario) -> dict[str, tuple[int, ...]]:
        """Shapes of blocks that stand behind rho."""
        return {}

    def _more_blocks(self, known: Any) -> Named:
        """What stands in them, ``(E, M, ...)`` by name."""
        return {}

    def observe(self, known: Any) -> Array:
        """Observations ``(E, M, D_o)`` of all BSs."""
        own_user = known.own_user
        named = {
            "own_user": own_user,
            "direct_gain": limit(known.direct_gain * own_user, -GAIN_LIMIT, GAIN_LIMIT),
            "irs_gain": limit(known.irs_gain * own_user[:, :, None, :], -GAIN_LIMIT, GAIN_LIMIT),
            "held": known.held,
            "rho": known.rho,
        }
        return self.encode({**named, **self._more_blocks(known), **optional_entries(self.layout, known)})

    def decode(self, flat: Array) -> Named:
        """Named arrays of flat observations ``(..., D_o)``."""
        return self.layout.split(flat)

    def encode(self, named: Named) -> Array:
        """Flat observations ``(..., D_o)`` of named arrays."""
        return self.layout.join(named)


class ValuesObservationCodec(LargeScaleObservationCodec):
    """``observation="values"``: the large scale, and what each IRS is worth to the BS by its own CSI in this slot.

    Named: as :class:`LargeScaleObservationCodec`, and behind ``rho`` its marginal rates
    (:mod:`irs_marl_env.engine.set_rates`) in units of 1 bit/s/Hz, clipped to [-20, 20]: ``first_value (..., L)``, what
    an IRS adds as the only one, and ``last_value (..., L)``, what it adds to all the others.
    D_o = 2 K + L K + 3 L + (M - 1) L, and what :mod:`irs_marl_env.spaces.optional_blocks` adds.
    """

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        for name in self._more_shapes(scenario):
            self.low[self.layout.slices[name]], self.high[self.layout.slices[name]] = -VALUE_LIMIT, VALUE_LIMIT

    def _more_shapes(self, scenario: Scenario) -> dict[str, tuple[int, ...]]:
        return {"first_value": (scenario.num_irs,), "last_value": (scenario.num_irs,)}

    def _more_blocks(self, known: Any) -> Named:
        first, last = (limit(x / VALUE_UNIT, -VALUE_LIMIT, VALUE_LIMIT) for x in known.marginal_rates)
        return {"first_value": first, "last_value": last}


OBSERVATIONS: dict[str, type[CsiObservationCodec] | type[LargeScaleObservationCodec]] = {
    "csi": CsiObservationCodec,
    "large_scale": LargeScaleObservationCodec,
    "values": ValuesObservationCodec,
}
