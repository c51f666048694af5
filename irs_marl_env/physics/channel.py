"""Channels: path loss, small-scale fading and its evolution, imperfect CSI.

``channel = sqrt(path gain) * (sqrt(kappa / (kappa + 1)) LoS + sqrt(1 / (kappa + 1)) g)`` with scattered part
``g ~ CN(0, 1)`` and Rician factor kappa (Rayleigh: kappa = 0); path gain ``C0 d^-alpha`` at the 3-D distance d [m].
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env import arrays
from irs_marl_env.arrays import constant, namespace
from irs_marl_env.link_budget import greatest_amplitudes, path_gain_at
from irs_marl_env.physics import array_response, association, deployment
from irs_marl_env.physics.radio import abs2
from irs_marl_env.scenario import Scenario
from irs_marl_env.streams import Streams
from irs_marl_env.units import db_to_linear

Array = Any
Memory = dict[str, Array]  # what a channel model keeps from slot to slot, with the environment as leading axis
Motion = dict[str, Array]  # of the users (physics/mobility.py)


class Channels(NamedTuple):
    """The three links, complex64."""

    H: Array  # (E, M, K, Nb) BS-user row channels
    G: Array  # (E, M, L, N, Nb) BS-IRS channels
    h: Array  # (E, L, K, N) IRS-user row channels


class Gains(NamedTuple):
    """Large-scale amplitude gains, float32; fading has unit power around them."""

    direct: Array  # (E, M, K)
    bs_irs: Array  # (E, M, L)
    irs_user: Array  # (E, L, K)


def bessel_j0(x: float) -> float:
    """Bessel function J0, by its integral ``(1/pi) int_0^pi cos(x sin t) dt`` (periodic: the sum converges quickly)."""
    x = abs(x)
    if x > 1e4:  # leading asymptotic term, error below 1e-7
        return math.sqrt(2.0 / (math.pi * x)) * math.cos(x - math.pi / 4)
    points = 64 + 2 * int(x)
    return float(np.mean(np.cos(x * np.sin(np.pi * np.arange(points) / points))))


def jakes_correlation(doppler_hz: float, lag_s: float) -> float:
    """Autocorrelation ``J0(2 pi f_D tau)`` of fading with uniformly distributed angles of arrival (Clarke, Jakes)."""
    return bessel_j0(2 * math.pi * doppler_hz * lag_s)


class ChannelModel:
    """Everything about the channels that the scenario fixes; draws nothing until asked.

    Args:
        scenario: the scenario.
        xp: array namespace to work in.
        device: device to work on.
    """

    draws = True  # whether a link of gain zero costs nothing, so that those nobody can use need not exist

    def __init__(self, scenario: Scenario, xp: Any, device: Any = None) -> None:
        self.scenario, self._xp, self._device = scenario, xp, device
        self._set_sites()
        self._set_gains()
        self._set_options()
        self._set_fading()

    def _set_sites(self) -> None:
        """Where BSs and IRSs stand, BSs first, and their arrays."""
        s, const = self.scenario, self._constant
        bs, irs = deployment.bs_positions(s), deployment.irs_positions(s)
        sites = np.concatenate([bs, irs])  # (M + L, 3)
        self._site_x, self._site_y = const(sites[:, :1], np.float64), const(sites[:, 1:2], np.float64)
        self._user_above = const(s.user_height_m - sites[:, 2:], np.float64)  # (M + L, 1) height of a user above a site
        rise2 = (sites[:, 2:] - s.user_height_m) ** 2
        self._rise2 = const(rise2, np.float64)
        self._mast_offset = irs[None] - bs[:, None]  # (M, L, 3)
        self._irs_axes = deployment.irs_axes(s)  # (L, 3, 3) columns, rows, normal
        self._may_touch = bool((rise2 < 1.0).any())  # else no user comes within a metre of a site
        self._mast_distance = np.linalg.norm(self._mast_offset, axis=-1)  # (M, L)
        self._antennas = const(array_response.linear_array(s.max_antennas), np.float64)
        self._columns_rows = [const(x, np.float64) for x in array_response.planar_array(s.elements, s.max_elements)]
        self._bs_irs_los = None
        if s.bs_irs_rician_k_db is not None:
            self._bs_irs_los = const(array_response.between_masts(s, self._mast_offset, self._irs_axes), np.complex64)
        # by link, 0 where there is no such antenna or element; None where none of them is missing
        masks = array_response.existing(s).items()
        self._existing = {link: None if mask.all() else const(mask, np.float32) for link, mask in masks}

    def _set_gains(self) -> None:
        """Amplitude gain at 1 m, and the exponent of the squared distance, of every site; gains between the masts."""
        s = self.scenario
        unit_gain = [path_gain_at(s, "direct", 1.0)] * s.num_bs + [path_gain_at(s, "irs_user", 1.0)] * s.num_irs
        exponent = np.array([s.direct_exponent] * s.num_bs + [s.irs_user_exponent] * s.num_irs)
        self._unit_amplitude = self._constant(np.sqrt(unit_gain)[:, None], np.float32)  # (M + L, 1)
        self._slope = self._constant((-0.25 * exponent)[:, None], np.float32)
        rows = [[math.sqrt(path_gain_at(s, "bs_irs", max(d, 1.0))) for d in row] for row in self._mast_distance]
        amplitude = np.array(rows).reshape(1, s.num_bs, s.num_irs)
        if self._irs_axes is not None:  # the element sees a BS under this cosine
            to_bs = np.vecdot(-self._mast_offset, self._irs_axes[:, 2]) / np.maximum(self._mast_distance, 1e-9)
            amplitude = amplitude * element_amplitude(to_bs, s.irs_element_exponent)
        self._bs_irs_gains = self._constant(amplitude, np.float32)

    def _set_options(self) -> None:
        """What facing, shadowing or another rule than the nearest BS need."""
        s = self.scenario
        self._normals = None  # of the IRSs, x, y and z each (L, 1)
        self._across_axis = self._up_axis = None  # of all sites, along which their arrays lie, x, y and z each
        if self._irs_axes is not None:
            like_street = np.tile([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], (s.num_bs, 1, 1))
            axes = np.concatenate([like_street, self._irs_axes[:, :2]])
            parts = axes[:, 0], axes[:, 1], self._irs_axes[:, 2]
            self._across_axis, self._up_axis, self._normals = (
                [self._constant(part[:, i : i + 1], np.float64) for i in range(3)] for part in parts
            )
        self._shadowed = s.shadowing_std_db > 0
        self._by_distance = s.cell_rule == "nearest"
        self._adjusted = self._normals is not None or self._shadowed or not self._by_distance
        self._tx_power_w = self._constant(s.tx_powers_w, np.float64)

    def _set_fading(self) -> None:
        """How the scattered part of each link changes, and its shape in one environment."""
        s = self.scenario
        user = jakes_correlation(s.user_doppler_hz, s.slot_s)
        mast = jakes_correlation(s.bs_irs_doppler_hz, s.slot_s)
        self.correlation = {"direct": user, "irs_user": user, "bs_irs": mast}
        self._mode = {"direct": s.fading, "bs_irs": s.bs_irs_fading, "irs_user": s.fading}
        self._shape = {
            "direct": (s.num_bs, s.num_users, s.max_antennas),
            "bs_irs": (s.num_bs, s.num_irs, s.max_elements, s.max_antennas),
            "irs_user": (s.num_irs, s.num_users, s.max_elements),
        }

    def _constant(self, values: Any, dtype: Any) -> Array:
        return constant(values, dtype, self._xp, self._device)

    def greatest_amplitudes(self, sigmas: float = 0.0) -> dict[str, float] | None:
        """The largest amplitude gain of each link, shadowing in its favour; ``None`` where nobody knows."""
        return greatest_amplitudes(self.scenario, sigmas)

    # --- large scale -------------------------------------------------------------------------------------------

    def large_scale(self, motion: Motion, memory: Memory) -> tuple[Array, Array, Gains]:
        """Cells and amplitude gains where the users are.

        Args:
            motion: of the users; ``"position" (E, K, 2)`` m.
            memory: of :meth:`evolve`.

        Returns:
            cell ``(E, K)`` integer, the same as a mask ``(E, M, K)`` float32, and the amplitude gains
            ``sqrt(C0 d^-alpha)``; distances below 1 m count as 1 m.
        """
        position = motion["position"]
        cell, own_user, amplitude = self._cells_and_amplitudes(position)
        M = self.scenario.num_bs
        if self._adjusted:
            amplitude = self._adjust(amplitude, position, memory)
        if not self._by_distance:
            cell, own_user = self._serve(position, amplitude[:, :M])
        if len(self._bs_irs_gains) != len(position):  # masts do not move: made once for a number of environments
            self._bs_irs_gains = arrays.same_in_all_rows(self._bs_irs_gains[0], len(position))
        return cell, own_user, Gains(amplitude[:, :M], self._bs_irs_gains, amplitude[:, M:])

    def _cells_and_amplitudes(self, position: Array) -> tuple[Array, Array, Array]:
        """Cells ``(E, K)``, their masks ``(E, M, K)`` and the amplitude gains ``(E, M + L, K)`` of all sites."""
        xp, M = self._xp, self.scenario.num_bs
        x, y = self._offset(position)
        distance2 = x * x + y * y + self._rise2
        cell = deployment.nearest(distance2[:, :M])
        if self._may_touch:
            distance2 = xp.where(distance2 > 1.0, distance2, 1.0)
        amplitude = self._unit_amplitude * xp.astype(distance2, xp.float32) ** self._slope
        return cell, association.in_cell(cell, M), amplitude

    def _adjust(self, amplitude: Array, position: Array, memory: Memory) -> Array:
        """Amplitude gains ``(E, M + L, K)`` with shadowing, and with the element pattern of IRSs that face a way."""
        xp, s, M = self._xp, self.scenario, self.scenario.num_bs
        if self._shadowed:
            amplitude = amplitude * 10.0 ** (s.shadowing_std_db / 20.0 * memory["shadowing"])
        if self._normals is not None and s.num_irs:
            x, y, rise, distance = (part[:, M:] for part in self._seen(position))
            cosine = (x * self._normals[0] + y * self._normals[1] + rise * self._normals[2]) / distance
            pattern = xp.astype(element_amplitude(cosine, s.irs_element_exponent), xp.float32)
            amplitude = xp.concat([amplitude[:, :M], amplitude[:, M:] * pattern], axis=1)
        return amplitude

    def _serve(self, position: Array, direct: Array) -> tuple[Array, Array]:
        """Cells ``(E, K)`` and their masks by the scenario's rule, from direct amplitude gains ``(E, M, K)``."""
        M = self.scenario.num_bs
        distance = self._seen(position)[3][:, :M]
        rule: Any = self.scenario.cell_rule
        cell = deployment.serving(rule, deployment.Links(distance, direct * direct, self._tx_power_w, position))
        return cell, association.in_cell(cell, M)

    def _seen(self, position: Array) -> tuple[Array, Array, Array, Array]:
        """From every site to every user: x, y, z and distance, each ``(E, M + L, K)`` [m]."""
        x, y = self._offset(position)
        rise = self._xp.broadcast_to(self._user_above, x.shape)
        distance = self._xp.sqrt(x * x + y * y + rise**2)
        return x, y, rise, self._xp.clip(distance, 1e-9, None)  # a user at the very place of a site has no direction

    def _offset(self, position: Array) -> tuple[Array, Array]:
        """From every site to every user, x and y ``(E, M + L, K)``; apart, since a last axis of two is slow."""
        return position[:, None, :, 0] - self._site_x, position[:, None, :, 1] - self._site_y

    # --- small scale -------------------------------------------------------------------------------------------

    def start(self, streams: Streams, motion: Motion) -> Memory:
        """Scattered parts g of a new episode, CN(0, 1) complex64, of the links whose fading has a memory."""
        scattered = {}
        for link, mode in self._mode.items():
            if mode == "frozen":
                scattered[link] = self._frozen(link, streams)
            elif mode != "iid":
                scattered[link] = self._draw(link, streams)
        return scattered | self._start_shadowing(streams)

    def _start_shadowing(self, streams: Streams) -> Memory:
        if not self._shadowed:
            return {}
        drawn_once = self._mode["direct"] == "frozen"
        return {"shadowing": self._frozen("shadowing", streams) if drawn_once else self._draw_shadowing(streams)}

    def _frozen(self, link: str, streams: Streams) -> Array:
        """What every environment has for ever, drawn as a batch of one: it cannot depend on their number."""
        frozen = Streams.frozen(self.scenario.frozen_seed, self._xp, self._device)
        drawn = self._draw_shadowing(frozen) if link == "shadowing" else self._draw(link, frozen)
        return arrays.same_in_all_rows(drawn[0], streams.num_envs)

    def _draw_shadowing(self, streams: Streams) -> Array:
        """Independent N(0, 1) of every site and user, ``(E, M + L, K)`` float32."""
        s = self.scenario
        return math.sqrt(2.0) * self._xp.real(streams.complex_normal("shadowing", s.num_bs + s.num_irs, s.num_users))

    def _draw(self, link: str, streams: Streams) -> Array:
        return streams.complex_normal(f"{link}_fading", *self._shape[link])

    def evolve(self, memory: Memory, streams: Streams, last: Motion, motion: Motion) -> Memory:
        """Scattered parts of the next slot, into which the users went from ``last`` to ``motion``.

        ``ar1``: ``g' = r g + sqrt(1 - r^2) n`` with r = J0(2 pi f_D T), so that the autocorrelation is r^lag;
        ``episode`` and ``frozen``: the same. (``iid`` has no memory: :meth:`channels` draws it.) Shadowing follows the
        way a user went: ``s' = r s + sqrt(1 - r^2) n`` with ``r = exp(-distance / shadowing_distance_m)`` (Gudmundson).
        """
        evolved = dict(memory)
        for link, g in memory.items():
            if self._mode.get(link) == "ar1":
                r = self.correlation[link]
                evolved[link] = r * g + math.sqrt(max(0.0, 1.0 - r * r)) * self._draw(link, streams)
        if self._shadowed:
            xp = self._xp
            way = motion["position"] - last["position"]
            kept = xp.exp(xp.sqrt(xp.vecdot(way, way)) / -self.scenario.shadowing_distance_m)[:, None, :]
            fresh = xp.sqrt(1.0 - kept * kept) * self._draw_shadowing(streams)
            evolved["shadowing"] = xp.astype(kept * memory["shadowing"] + fresh, xp.float32)
        return evolved

    def channels(
        self, gains: Gains, memory: Memory, motion: Motion, streams: Streams, G: Array | None = None
    ) -> Channels:
        """Channels of a slot from large scale, scattered part and (for Rician links) geometry.

        Args:
            gains: amplitude gains; a link of gain zero is zero and costs no draw.
            memory: of :meth:`evolve`.
            motion: of the users.
            streams: advanced for ``iid`` links.
            G: BS-IRS channels of the last slot, returned again where nothing in them changes.
        """
        s = self.scenario
        direct_los, irs_user_los = self._line_of_sight(motion["position"])
        H = self._channel("direct", gains.direct, memory, direct_los, s.direct_rician_k_db, streams)
        if G is None or self._mode["bs_irs"] in ("iid", "ar1"):
            G = self._channel("bs_irs", gains.bs_irs, memory, self._bs_irs_los, s.bs_irs_rician_k_db, streams)
        h = self._channel("irs_user", gains.irs_user, memory, irs_user_los, s.irs_user_rician_k_db, streams)
        return Channels(H, G, h)

    def _channel(
        self,
        link: str,
        gain: Array,
        memory: Memory,
        line_of_sight: Array | None,
        k_db: float | None,
        streams: Streams,
    ) -> Array:
        g = memory.get(link)
        if g is None and line_of_sight is None:
            channel = streams.scaled_normal(f"{link}_fading", gain, *self._shape[link][gain.ndim - 1 :])
        else:
            g = self._draw(link, streams) if g is None else g
            g = g if line_of_sight is None else _rician(g, line_of_sight, k_db)
            channel = gain.reshape(*gain.shape, *(1,) * (g.ndim - gain.ndim)) * g
        return self._without_padding(link, channel)

    def _without_padding(self, link: str, channel: Array) -> Array:
        """Antennas that a BS and elements that an IRS does not have, set to zero."""
        existing = self._existing[link]
        return channel if existing is None else channel * existing

    def _line_of_sight(self, position: Array) -> tuple[Array | None, Array | None]:
        """Line of sight of the Rician user links, direct ``(E, M, K, Nb)`` and IRS ``(E, L, K, N)``; else ``None``."""
        s = self.scenario
        if s.direct_rician_k_db is None and s.irs_user_rician_k_db is None:
            return None, None
        x, y, rise, distance = self._seen(position)
        across, up = y / distance, rise / distance  # direction cosines along y and z
        if self._across_axis is not None and self._up_axis is not None:
            (a, b, c), (d, e, f) = self._across_axis, self._up_axis
            across, up = (x * a + y * b + rise * c) / distance, (x * d + y * e + rise * f) / distance
        phase = -2 * math.pi / s.wavelength_m * distance[..., None]
        M, direct, irs_user = s.num_bs, None, None
        if s.direct_rician_k_db is not None:
            direct = array_response.at_linear_array(phase[:, :M], across[:, :M], self._antennas)
        if s.irs_user_rician_k_db is not None and s.num_irs:
            irs_user = array_response.at_planar_array(phase[:, M:], across[:, M:], up[:, M:], *self._columns_rows)
        return direct, irs_user

    # --- channel state information --------------------------------------------------------------------------------

    def estimate(self, true: Channels, gains: Gains, streams: Streams) -> Channels | None:
        """What the BSs know: the true channels plus independent CN errors of variance ``csi_error_variance`` times the
        path gain of the link; ``None`` without errors."""
        variance = self.scenario.csi_error_variance
        if variance == 0:
            return None
        scale = math.sqrt(variance)
        known = {}
        for link, channel, gain in zip(self._shape, true, gains, strict=True):
            error = streams.scaled_normal("csi_error", scale * gain, *self._shape[link][gain.ndim - 1 :])
            known[link] = channel + self._without_padding(link, error)
        return Channels(*known.values())


def element_amplitude(cosine: Array, exponent: float) -> Array:
    """Amplitude of an IRS element's power gain ``cos^q``, zero behind the surface.

    Args:
        cosine: of the angle between the direction and the normal of the surface.
        exponent: q; 0 is one half of the room.

    Example:
        >>> element_amplitude(np.array([1.0, 0.25, -0.5]), 1.0).tolist()
        [1.0, 0.5, 0.0]
    """
    xp = namespace(cosine)
    in_front = cosine > 0
    return xp.where(in_front, xp.where(in_front, cosine, 1.0) ** (exponent / 2.0), 0.0)


CHANNEL_MODELS: dict[str, type[ChannelModel]] = {"rician": ChannelModel}


def _rician(scattered: Array, line_of_sight: Array, k_db: float | None) -> Array:
    """``sqrt(kappa / (kappa + 1)) LoS + sqrt(1 / (kappa + 1)) g`` with kappa = 10^(k_db / 10)."""
    assert k_db is not None
    kappa = db_to_linear(k_db)
    return math.sqrt(kappa / (kappa + 1)) * line_of_sight + math.sqrt(1 / (kappa + 1)) * scattered


def element_energy(G: Array, h: Array) -> Array:
    """Mean received gain over an IRS with random phases, ``sum_n |h_{l,k,n}|^2 ||G_{m,l,n}||^2``: ``(E, M, K, L)``."""
    xp = namespace(h)
    from_bs = xp.sum(abs2(G), axis=-1)  # (E, M, L, N)
    energy = xp.sum(from_bs[:, :, :, None, :] * abs2(h)[:, None], axis=-1)  # (E, M, L, K)
    return xp.matrix_transpose(energy)
