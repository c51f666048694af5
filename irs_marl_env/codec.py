"""Flat Boxes and the named arrays in them: actions, observations and the global state.

All layouts use the global user and IRS indices; what is absent (users of other cells, padded elements) is zero.
Scales are constants of the scenario, never statistics of a sample, so that a value means the same at every step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irs_marl_env.channel import Channels, path_gain_at
from irs_marl_env.link import namespace
from irs_marl_env.scenario import Scenario

Array = Any
Named = dict[str, Array]

CSI_LIMIT = 100.0  # observations are clipped here: 40 dB above the gain at the reference distance
GAIN_LIMIT = 20.0  # the same for log path gains, in units of 10 dB
STRUCTURED_SPAN = math.log(10.0)  # structured weights reach from 1/10 to 10


class Layout:
    """Consecutive named blocks of a flat vector.

    Args:
        blocks: name to block shape, in order.
    """

    def __init__(self, blocks: dict[str, tuple[int, ...]]) -> None:
        self.shapes = dict(blocks)
        self.slices: dict[str, slice] = {}
        start = 0
        for name, shape in blocks.items():
            self.slices[name] = slice(start, start + math.prod(shape))
            start += math.prod(shape)
        self.size = start

    def take(self, flat: Array, name: str) -> Array:
        """Block ``name`` of ``flat (..., size)``, shaped."""
        return flat[..., self.slices[name]].reshape((*flat.shape[:-1], *self.shapes[name]))

    def join(self, named: Named) -> Array:
        """Flat vector ``(..., size)`` of all blocks."""
        name, shape = next(iter(self.shapes.items()))
        first = named[name]
        xp, lead = namespace(first), first.shape[: first.ndim - len(shape)]
        return xp.concat([xp.reshape(named[name], (*lead, -1)) for name in self.shapes], axis=-1)


def _valid_elements(scenario: Scenario) -> list[tuple[int, int]]:
    """``(irs, n)`` of every real (not padded) element."""
    return [(irs, n) for irs, count in enumerate(scenario.elements) for n in range(count)]


class _Elements:
    """Between padded ``(..., L, N)`` arrays and the flat ``sum_l N_l`` real elements."""

    def __init__(self, scenario: Scenario) -> None:
        self._shape = (scenario.num_irs, scenario.max_elements)
        index = [irs * scenario.max_elements + n for irs, n in _valid_elements(scenario)]
        self._index = np.array(index, dtype=np.int64)
        self.padded = len(index) != scenario.num_irs * scenario.max_elements
        place = np.full(self._shape[0] * self._shape[1], len(index))
        place[self._index] = np.arange(len(index))
        self._place = place

    def flatten(self, padded: Array) -> Array:
        """``(..., L, N)`` to ``(..., sum N_l)``."""
        flat = padded.reshape(*padded.shape[:-2], self._shape[0] * self._shape[1])
        return flat[..., self._index] if self.padded else flat

    def pad(self, flat: Array) -> Array:
        """``(..., sum N_l)`` to ``(..., L, N)``, zeros in the padding."""
        if self.padded:
            flat = namespace(flat).concat([flat, flat[..., :1] * 0], axis=-1)[..., self._place]
        return flat.reshape(*flat.shape[:-1], *self._shape)


# --- actions -------------------------------------------------------------------------------------------------------


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
        self._elements = _Elements(scenario)
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


ACTION_CODECS: dict[str, type[RawActionCodec] | type[StructuredActionCodec]] = {
    "raw": RawActionCodec,
    "structured": StructuredActionCodec,
}


# --- observations and state ---------------------------------------------------------------------------------------


def _reference_distance_m(scenario: Scenario) -> float:
    return scenario.area_width_m / 2


class CsiScale:
    """Amplitudes that CSI is divided by: each link's path gain at half the width of the area."""

    def __init__(self, scenario: Scenario) -> None:
        distance = _reference_distance_m(scenario)
        self.direct = math.sqrt(path_gain_at(scenario, "direct", distance))
        self.bs_irs = math.sqrt(path_gain_at(scenario, "bs_irs", distance))
        self.irs_user = math.sqrt(path_gain_at(scenario, "irs_user", distance))


def _multiply_into(out: Array, a: Array, b: Array) -> None:
    """``out[...] = a * b`` without a temporary where numpy can."""
    if type(out) is np.ndarray:
        np.multiply(a, b, out=out)
    else:
        out[...] = a * b


def _largest_part(x: np.ndarray) -> float:
    """The largest magnitude of a real or imaginary part, 0 without any."""
    parts = x.view(np.float32)
    return float(max(parts.max(initial=0.0), -parts.min(initial=0.0)))


def _real_imag(x: Array, axes: tuple[int, ...]) -> Array:
    """Real and imaginary part of ``(E, M, ...)`` complex as a view ``(E, M, 2, ...)``."""
    if type(x) is np.ndarray:
        return x.view(np.float32).reshape(*x.shape, 2).transpose(axes)
    import torch

    return torch.view_as_real(x).permute(axes)


class CsiObservationCodec:
    """``observation="csi"``: the paper's o_m, (H re, H im, G re, G im, h re, h im, rho).

    Named: ``H (..., K, Nb)``, ``G (..., L, N, Nb)``, ``h (..., L, K, N)`` complex in physical units (own-cell users
    only), ``rho (..., M - 1, L)``, last ownership (or bids) of the other BSs in index order.
    D_o = 2 K Nb + 2 sum_l N_l Nb + 2 K sum_l N_l + (M - 1) L.
    """

    def __init__(self, scenario: Scenario) -> None:
        M, K, L = scenario.num_bs, scenario.num_users, scenario.num_irs
        N, Nb, total = scenario.max_elements, scenario.num_antennas, sum(scenario.elements)
        shapes = {"H": (K, Nb), "G": (total, Nb), "h": (K * total,)}
        blocks = {f"{name}_{part}": shape for name, shape in shapes.items() for part in ("real", "imag")}
        self.layout = Layout({**blocks, "rho": (M - 1, L)})
        self.size = self.layout.size
        self.scale = CsiScale(scenario)
        self.factors = 1.0 / np.array([self.scale.direct, self.scale.bs_irs, self.scale.irs_user], np.float32)
        self.padded = total != L * N
        self._full_shape = {"H": (K, Nb), "G": (L, N, Nb), "h": (L, K, N)}
        slices = self.layout.slices
        self._both = {n: slice(slices[f"{n}_real"].start, slices[f"{n}_imag"].stop) for n in self._full_shape}
        valid = _valid_elements(scenario)
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

    def write(self, out: Array, csi: Channels, own_user: Array, held: Array | None, rho: Array) -> None:
        """Write the observations of all BSs into ``out (E, M, D_o)``.

        Args:
            out: fresh float32 array, overwritten entirely.
            csi: what the BSs know, see :class:`irs_marl_env.channel.Channels`.
            own_user: ``(E, M, K)`` float32, 1 where BS m serves user k.
            held: ``(E, M, L)`` float32, the IRSs whose CSI a BS sees; ``None``: all.
            rho: ``(E, M, M - 1, L)`` float32.
        """
        factor_H = own_user[:, :, None, :, None] * (1.0 / self.scale.direct)
        factor_G: Any = 1.0 / self.scale.bs_irs
        factor_h = own_user[:, :, None, None, :, None] * (1.0 / self.scale.irs_user)
        if held is not None:
            factor_G = held[:, :, None, :, None, None] * factor_G
            factor_h = held[:, :, None, :, None, None] * factor_h
        self._write(out, "H", _real_imag(csi.H, (0, 1, 4, 2, 3)), factor_H)
        self._write(out, "G", _real_imag(csi.G, (0, 1, 5, 2, 3, 4)), factor_G)
        self._write(out, "h", _real_imag(csi.h[:, None], (0, 1, 5, 2, 3, 4)), factor_h)
        out[..., self.layout.slices["rho"]] = rho.reshape(*out.shape[:-1], -1)
        if type(out) is not np.ndarray:
            namespace(out).clip(out, -CSI_LIMIT, CSI_LIMIT, out=out)
        elif any(_largest_part(x) * factor > CSI_LIMIT for x, factor in zip(csi, self.factors, strict=True)):
            np.minimum(
                np.maximum(out, -CSI_LIMIT, out=out), CSI_LIMIT, out=out
            )  # rare, so looked for where it is cheap

    def _write(self, out: Array, name: str, parts: Array, factor: Any) -> None:
        """Write the real and the imaginary block of a channel, ``parts (E, 1 or M, 2, ...)`` times ``factor``."""
        block = out[..., self._both[name]]
        if not self.padded or name == "H":
            # splitting the last axis is always a view
            _multiply_into(block.reshape(*out.shape[:-1], 2, *self._full_shape[name]), parts, factor)
            return
        scaled = parts * factor
        flat = scaled.reshape(*out.shape[:-1], 2, -1)[..., self._flat_index[name]]
        block[...] = flat.reshape(*block.shape)

    def decode(self, flat: Array) -> Named:
        """Named arrays, in physical units, of flat observations ``(..., D_o)``."""
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
        return xp.clip(self.layout.join({**blocks, "rho": named["rho"]}), -CSI_LIMIT, CSI_LIMIT)


def _scatter(values: Array, index: np.ndarray, shape: tuple[int, ...]) -> Array:
    """Put ``values (..., len(index))`` at ``index`` of zeros of the given shape."""
    xp = namespace(values)
    place = np.full(math.prod(shape), len(index))
    place[index] = np.arange(len(index))
    padded = xp.concat([values, xp.zeros_like(values[..., :1])], axis=-1)[..., place]
    return xp.reshape(padded, (*values.shape[:-1], *shape))


def log_gain(amplitude: Array, reference: float) -> Array:
    """Path gain relative to a reference, in units of 10 dB, from amplitude gains (0 stays finite)."""
    xp = namespace(amplitude)
    return 2.0 * xp.log10(xp.clip(amplitude / reference, 1e-30, None))


class LargeScaleObservationCodec:
    """``observation="large_scale"``: what changes slowly, and all that a bid needs.

    Named: ``own_user (..., K)`` 0/1; ``direct_gain (..., K)`` and ``irs_gain (..., L, K)`` log path gains of own
    users over the direct link and over each IRS (both legs), in units of 10 dB relative to the gain at half the
    area's width, zero for users of other cells; ``held (..., L)`` IRSs held last; ``rho (..., M - 1, L)``.
    D_o = 2 K + L K + L + (M - 1) L.
    """

    def __init__(self, scenario: Scenario) -> None:
        M, K, L = scenario.num_bs, scenario.num_users, scenario.num_irs
        self.layout = Layout(
            {"own_user": (K,), "direct_gain": (K,), "irs_gain": (L, K), "held": (L,), "rho": (M - 1, L)}
        )
        self.size = self.layout.size
        self.low, self.high = np.zeros(self.size, np.float32), np.ones(self.size, np.float32)
        for name in ("direct_gain", "irs_gain"):
            self.low[self.layout.slices[name]], self.high[self.layout.slices[name]] = -GAIN_LIMIT, GAIN_LIMIT
        if scenario.rho == "bids":
            self.low[self.layout.slices["rho"]] = -1.0

    def decode(self, flat: Array) -> Named:
        """Named arrays of flat observations ``(..., D_o)``."""
        return {name: self.layout.take(flat, name) for name in self.layout.shapes}

    def encode(self, named: Named) -> Array:
        """Flat observations ``(..., D_o)`` of named arrays."""
        return self.layout.join(named)


OBSERVATION_CODECS: dict[str, type[CsiObservationCodec] | type[LargeScaleObservationCodec]] = {
    "csi": CsiObservationCodec,
    "large_scale": LargeScaleObservationCodec,
}


class StateCodec:
    """The global state: everything the BSs know together, plus positions, cells and ownership.

    ``observation="csi"``: all channels as the BSs know them, scaled like the observations; ``"large_scale"``: the log
    path gains of every user to every BS, direct and over each IRS. Then ``position`` divided by the sides of the
    area, ``cell (M, K)`` and ``owner (M, L)`` one-hot.
    """

    def __init__(self, scenario: Scenario, xp: Any = np, device: Any = None) -> None:
        s, area = scenario, np.asarray(scenario.area_m)
        self._area = area if xp is np else xp.asarray(area, device=device)
        M, K, L, total = s.num_bs, s.num_users, s.num_irs, sum(s.elements)
        blocks: dict[str, tuple[int, ...]] = {"direct_gain": (M, K), "irs_gain": (M, L, K)}
        if s.observation == "csi":
            shapes = {"H": (M, K, s.num_antennas), "G": (M, s.num_antennas, total), "h": (K, total)}
            blocks = {f"{name}_{part}": shape for name, shape in shapes.items() for part in ("real", "imag")}
        self.layout = Layout({**blocks, "position": (K, 2), "cell": (M, K), "owner": (M, L)})
        self.size = self.layout.size
        self._limit = CSI_LIMIT if s.observation == "csi" else GAIN_LIMIT
        self.scale = CsiScale(s)
        self._elements = _Elements(s)
        self.low, self.high = np.zeros(self.size, np.float32), np.ones(self.size, np.float32)
        channel_end = self.layout.slices["position"].start
        self.low[:channel_end], self.high[:channel_end] = -self._limit, self._limit

    def encode(self, known: Named, position: Array, own_user: Array, held: Array) -> Array:
        """Flat states ``(E, size)`` float32.

        Args:
            known: ``{"csi": Channels}``, or ``{"direct_gain": (E, M, K), "irs_gain": (E, M, L, K)}``, log gains.
            position: ``(E, K, 2)`` m.
            own_user: ``(E, M, K)`` 0/1.
            held: ``(E, M, L)`` 0/1.
        """
        xp = namespace(own_user)
        if "csi" in known:
            csi: Channels = known["csi"]
            flatten = self._elements.flatten
            scaled = {
                "H": csi.H / self.scale.direct,
                "G": flatten(xp.moveaxis(csi.G, -1, 2)) / self.scale.bs_irs,
                "h": flatten(xp.moveaxis(csi.h, 2, 1)) / self.scale.irs_user,
            }
            known = {}
            for name, x in scaled.items():
                known[f"{name}_real"], known[f"{name}_imag"] = xp.real(x), xp.imag(x)
        known = {name: xp.clip(x, -self._limit, self._limit) for name, x in known.items()}
        named = {**known, "position": position / self._area, "cell": own_user, "owner": held}
        lead = own_user.shape[0]
        parts = [xp.astype(xp.reshape(named[name], (lead, -1)), xp.float32) for name in self.layout.shapes]
        return xp.concat(parts, axis=-1)

    def decode(self, flat: Array) -> Named:
        """Blocks of flat states ``(..., size)`` by name, scaled as they are."""
        return {name: self.layout.take(flat, name) for name in self.layout.shapes}
