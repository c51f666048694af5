"""Channels: path loss, small-scale fading and its evolution, imperfect CSI.

``channel = sqrt(path gain) * (sqrt(kappa / (kappa + 1)) LoS + sqrt(1 / (kappa + 1)) g)`` with scattered part
``g ~ CN(0, 1)`` and Rician factor kappa (Rayleigh: kappa = 0); path gain ``C0 d^-alpha`` at the 3-D distance d [m].
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env import geometry
from irs_marl_env import link as radio
from irs_marl_env.scenario import Scenario
from irs_marl_env.streams import Streams, load_kernels
from irs_marl_env.units import db_to_linear

Array = Any


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
    """Bessel function J0, by its integral ``(1/pi) int_0^pi cos(x sin t) dt`` (periodic: the sum converges fast)."""
    x = abs(x)
    if x > 1e4:  # leading asymptotic term, error below 1e-7
        return math.sqrt(2.0 / (math.pi * x)) * math.cos(x - math.pi / 4)
    points = 64 + 2 * int(x)
    return float(np.mean(np.cos(x * np.sin(np.pi * np.arange(points) / points))))


def jakes_correlation(doppler_hz: float, lag_s: float) -> float:
    """Autocorrelation ``J0(2 pi f_D tau)`` of fading with uniformly distributed angles of arrival (Clarke, Jakes)."""
    return bessel_j0(2 * math.pi * doppler_hz * lag_s)


def path_gain_at(scenario: Scenario, link: str, distance_m: float) -> float:
    """Linear path gain of ``"direct"``, ``"bs_irs"`` or ``"irs_user"`` at a distance, blockage included."""
    blockage = db_to_linear(-scenario.blockage_db) if link == "direct" else 1.0
    exponent: float = getattr(scenario, f"{link}_exponent")
    return scenario.reference_gain * blockage * distance_m**-exponent


class ChannelModel:
    """Everything about the channels that the scenario fixes; draws nothing until asked.

    Args:
        scenario: the scenario.
        xp: array namespace to work in.
        device: device to work on.
        fast: use the compiled kernels.
    """

    def __init__(self, scenario: Scenario, xp: Any, device: Any = None, fast: bool = False) -> None:
        self.scenario, self._xp, self._device = scenario, xp, device
        self._kernels = load_kernels(fast)
        M, L = scenario.num_bs, scenario.num_irs
        bs, irs = geometry.bs_positions(scenario), geometry.irs_positions(scenario)
        sites = np.concatenate([bs, irs])
        self._site_x = self._const(sites[:, :1], np.float64)  # (M + L, 1)
        self._site_y = self._const(sites[:, 1:2], np.float64)
        rise = (sites[:, 2:] - scenario.user_height_m) ** 2
        self._heights = self._const(scenario.user_height_m - sites[:, 2], np.float64)  # from every site to a user
        self._antennas = self._const(_ula(scenario.num_antennas), np.float64)
        self._columns_rows = tuple(self._const(a, np.float64) for a in _upa(scenario.elements, scenario.max_elements))
        self._rise2 = self._const(rise, np.float64)  # (M + L, 1) squared height difference
        self._may_touch = bool((rise < 1.0).any())
        self._stations = self._const(np.arange(M)[:, None], np.int64)  # (M, 1)
        unit_gain = [path_gain_at(scenario, "direct", 1.0)] * M + [path_gain_at(scenario, "irs_user", 1.0)] * L
        exponent = [scenario.direct_exponent] * M + [scenario.irs_user_exponent] * L
        # amplitude gain at 1 m, and its exponent of the squared distance, of every site; as the kernel takes them too
        self._per_site = np.array(np.sqrt(unit_gain), np.float32), np.array(-0.25 * np.array(exponent), np.float32)
        self._unit_amplitude, self._slope = (self._const(x[:, None], np.float32) for x in self._per_site)

        real_elements = np.arange(scenario.max_elements) < np.array(scenario.elements, int)[:, None]
        self._real_elements = self._const(real_elements, np.float32)  # (L, N), 0 for padding
        distance = np.linalg.norm(bs[:, None] - irs[None], axis=-1)
        self.bs_irs_gain = np.array(
            [[math.sqrt(path_gain_at(scenario, "bs_irs", max(d, 1.0))) for d in row] for row in distance]
        ).reshape(M, L)  # amplitude
        self._bs_irs_gain = self._const(self.bs_irs_gain, np.float32)
        self._bs_irs_gains: Array | None = None  # the same for every environment, made once
        self._site = np.ascontiguousarray(np.concatenate([sites[:, :2], rise], axis=1))
        self._padded = not real_elements.all()
        user = jakes_correlation(scenario.user_doppler_hz, scenario.slot_s)
        mast = jakes_correlation(scenario.bs_irs_doppler_hz, scenario.slot_s)
        self.correlation = {"direct": user, "irs_user": user, "bs_irs": mast}
        self._mode = {
            "direct": scenario.fading,
            "irs_user": scenario.fading,
            "bs_irs": scenario.bs_irs_fading,
        }
        self._shape = {
            "direct": (M, scenario.num_users, scenario.num_antennas),
            "bs_irs": (M, L, scenario.max_elements, scenario.num_antennas),
            "irs_user": (L, scenario.num_users, scenario.max_elements),
        }
        self._causes = [f"{link}_fading" for link in self._shape]
        rician = (scenario.direct_rician_k_db, scenario.bs_irs_rician_k_db, scenario.irs_user_rician_k_db)
        # all channels are Rayleigh and new in every slot, and no element is missing
        self._all_new = {*self._mode.values()} == {"iid"} and rician == (None,) * 3 and not self._padded
        los = None
        if scenario.bs_irs_rician_k_db is not None:
            los = self._const(_bs_irs_line_of_sight(scenario, bs, irs), np.complex64)
        self._bs_irs_los = los

    def _const(self, values: np.ndarray, dtype: Any) -> Array:
        values = np.asarray(values, dtype=dtype)
        return values if self._xp is np else self._xp.asarray(values, device=self._device)

    # --- large scale -------------------------------------------------------------------------------------------

    def large_scale(self, position: Array) -> tuple[Array, Array, Gains]:
        """Cells and amplitude gains at user positions.

        Args:
            position: ``(E, K, 2)`` m.

        Returns:
            cell ``(E, K)`` integer, the same as a mask ``(E, M, K)`` float32, and the amplitude gains
            ``sqrt(C0 d^-alpha)``; distances below 1 m count as 1 m.
        """
        xp, num_envs, M = self._xp, position.shape[0], self.scenario.num_bs
        if self._bs_irs_gains is None or self._bs_irs_gains.shape[0] != num_envs:
            self._bs_irs_gains = xp.broadcast_to(self._bs_irs_gain, (num_envs, *self._bs_irs_gain.shape))
        if self._kernels:
            cell, own_user, amplitude = self._large_scale_compiled(position)
        else:
            x, y = self._offset(position)
            distance2 = x * x + y * y + self._rise2
            cell = geometry.nearest(distance2[:, :M])
            own_user = xp.astype(cell[:, None, :] == self._stations, xp.float32)
            if self._may_touch:
                distance2 = xp.where(distance2 > 1.0, distance2, 1.0)
            amplitude = self._unit_amplitude * xp.astype(distance2, xp.float32) ** self._slope
        return cell, own_user, Gains(amplitude[:, :M], self._bs_irs_gains, amplitude[:, M:])

    def _large_scale_compiled(self, position: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        num_envs, num_users = position.shape[:2]
        cell = np.empty((num_envs, num_users), np.int64)
        own_user = np.empty((num_envs, self.scenario.num_bs, num_users), np.float32)
        amplitude = np.empty((num_envs, len(self._site), num_users), np.float32)
        self._kernels.large_scale(position, self._site, *self._per_site, cell, own_user, amplitude)
        return cell, own_user, amplitude

    def _offset(self, position: Array) -> tuple[Array, Array]:
        """From every site to every user, x and y ``(E, M + L, K)``; apart, since a last axis of two is slow."""
        return position[:, None, :, 0] - self._site_x, position[:, None, :, 1] - self._site_y

    # --- small scale -------------------------------------------------------------------------------------------

    def start(self, streams: Streams) -> dict[str, Array]:
        """Scattered parts g of a new episode, CN(0, 1) complex64, of the links whose fading has a memory."""
        scattered = {}
        for link, mode in self._mode.items():
            if mode == "frozen":  # a batch of one: the realisation cannot depend on the number of environments
                frozen = Streams.frozen(self.scenario.frozen_seed, self._xp, self._device)
                one = self._draw(link, frozen)
                scattered[link] = self._xp.broadcast_to(one, (streams.num_envs, *self._shape[link]))
            elif mode != "iid":
                scattered[link] = self._draw(link, streams)
        return scattered

    def _draw(self, link: str, streams: Streams) -> Array:
        return streams.complex_normal(f"{link}_fading", *self._shape[link])

    def evolve(self, scattered: dict[str, Array], streams: Streams) -> dict[str, Array]:
        """Scattered parts of the next slot.

        ``ar1``: ``g' = r g + sqrt(1 - r^2) n`` with r = J0(2 pi f_D T), so that the autocorrelation is r^lag;
        ``episode`` and ``frozen``: the same. (``iid`` has no memory: :meth:`channels` draws it.)
        """
        evolved = dict(scattered)
        for link, g in scattered.items():
            if self._mode[link] == "ar1":
                r = self.correlation[link]
                evolved[link] = r * g + math.sqrt(max(0.0, 1.0 - r * r)) * self._draw(link, streams)
        return evolved

    def channels(
        self, gains: Gains, scattered: dict[str, Array], position: Array, streams: Streams, G: Array | None = None
    ) -> Channels:
        """Channels of a slot from large scale, scattered part and (for Rician links) geometry.

        Args:
            gains: amplitude gains; a link of gain zero is zero and costs no draw.
            scattered: of :meth:`evolve`.
            position: ``(E, K, 2)`` m.
            streams: advanced for ``iid`` links.
            G: BS-IRS channels of the last slot, returned again where nothing in them changes.
        """
        if self._all_new:
            shapes = (self._shape[link][gain.ndim - 1 :] for link, gain in zip(self._shape, gains, strict=True))
            draws = zip(self._causes, gains, shapes, strict=True)
            return Channels(*streams.scaled_normals(list(draws)))
        s = self.scenario
        direct_los, irs_user_los = self._line_of_sight(position)
        H = self._channel("direct", gains.direct, scattered, direct_los, s.direct_rician_k_db, streams)
        if G is None or self._mode["bs_irs"] in ("iid", "ar1"):
            G = self._channel("bs_irs", gains.bs_irs, scattered, self._bs_irs_los, s.bs_irs_rician_k_db, streams)
        h = self._channel("irs_user", gains.irs_user, scattered, irs_user_los, s.irs_user_rician_k_db, streams)
        return Channels(H, G, h)

    def _channel(
        self,
        link: str,
        gain: Array,
        scattered: dict[str, Array],
        line_of_sight: Array | None,
        k_db: float | None,
        streams: Streams,
    ) -> Array:
        g = scattered.get(link)
        if g is None and line_of_sight is None:
            channel = streams.scaled_normal(f"{link}_fading", gain, *self._shape[link][gain.ndim - 1 :])
        else:
            g = self._draw(link, streams) if g is None else g
            g = g if line_of_sight is None else _rician(g, line_of_sight, k_db)
            channel = gain.reshape(*gain.shape, *(1,) * (g.ndim - gain.ndim)) * g
        return self._without_padding(link, channel)

    def _without_padding(self, link: str, channel: Array) -> Array:
        """Elements that an IRS does not have, set to zero."""
        if not self._padded or link == "direct":
            return channel
        real = self._real_elements
        return channel * (real[:, :, None] if link == "bs_irs" else real[:, None, :])

    def _line_of_sight(self, position: Array) -> tuple[Array | None, Array | None]:
        """Line of sight of the Rician user links, direct ``(E, M, K, Nb)`` and IRS ``(E, L, K, N)``; else ``None``."""
        xp, s = self._xp, self.scenario
        if s.direct_rician_k_db is None and s.irs_user_rician_k_db is None:
            return None, None
        x, y = self._offset(position)
        rise = xp.broadcast_to(self._heights[:, None], x.shape)
        distance = xp.sqrt(x * x + y * y + rise**2)
        across = y / distance  # direction cosines along y and z
        up = rise / distance
        M = s.num_bs
        phase = -2 * math.pi / s.wavelength_m * distance[..., None]
        direct = irs_user = None
        if s.direct_rician_k_db is not None:
            direct = _unit(phase[:, :M] + math.pi * across[:, :M, :, None] * self._antennas, xp)
        if s.irs_user_rician_k_db is not None and s.num_irs:
            column, row = self._columns_rows
            at_irs = across[:, M:, :, None] * column[:, None] + up[:, M:, :, None] * row[:, None]
            irs_user = _unit(phase[:, M:] + math.pi * at_irs, xp)
        return direct, irs_user

    # --- channel state information --------------------------------------------------------------------------------

    def estimate(self, true: Channels, gains: Gains, streams: Streams) -> Channels:
        """What the BSs know: the true channels plus independent CN errors of variance
        ``csi_error_variance`` times the path gain of the link (0: the very same arrays)."""
        variance = self.scenario.csi_error_variance
        if variance == 0:
            return true
        scale = math.sqrt(variance)
        known = {}
        for link, channel, gain in zip(self._shape, true, gains, strict=True):
            error = streams.scaled_normal("csi_error", scale * gain, *self._shape[link][gain.ndim - 1 :])
            known[link] = channel + self._without_padding(link, error)
        return Channels(*known.values())


# --- line of sight ----------------------------------------------------------------------------------------------


def _rician(scattered: Array, line_of_sight: Array, k_db: float | None) -> Array:
    """``sqrt(kappa / (kappa + 1)) LoS + sqrt(1 / (kappa + 1)) g`` with kappa = 10^(k_db / 10)."""
    assert k_db is not None
    kappa = db_to_linear(k_db)
    return math.sqrt(kappa / (kappa + 1)) * line_of_sight + math.sqrt(1 / (kappa + 1)) * scattered


def _unit(phase: Array, xp: Any) -> Array:
    return xp.astype(xp.cos(phase) + 1j * xp.sin(phase), xp.complex64)


def _ula(num_antennas: int) -> np.ndarray:
    """Index of each antenna of a half-wavelength uniform linear array along y."""
    return np.arange(num_antennas)


def _upa(elements: tuple[int, ...], max_elements: int) -> tuple[np.ndarray, np.ndarray]:
    """Column (y) and row (z) index ``(L, N)`` of each element of half-wavelength planar arrays, as square as can be."""
    index = np.arange(max_elements)
    columns = [n // max(r for r in range(1, math.isqrt(n) + 1) if n % r == 0) for n in elements]
    return np.array([index % c for c in columns]), np.array([index // c for c in columns])


def _bs_irs_line_of_sight(scenario: Scenario, bs: np.ndarray, irs: np.ndarray) -> np.ndarray:
    """Line of sight ``(M, L, N, Nb)`` between the masts: array responses at both ends, phase of the distance.

    Far field: the path of an element at p towards a unit direction u is shorter by ``p . u``.
    """
    offset = irs[None] - bs[:, None]  # (M, L, 3)
    distance = np.linalg.norm(offset, axis=-1)
    direction = offset / np.maximum(distance, 1e-9)[..., None]
    at_bs = np.pi * direction[..., 1, None] * _ula(scenario.num_antennas)  # (M, L, Nb)
    if not scenario.num_irs:
        return np.zeros((scenario.num_bs, 0, scenario.max_elements, scenario.num_antennas), complex)
    column, row = _upa(scenario.elements, scenario.max_elements)
    at_irs = -np.pi * (direction[..., 1, None] * column + direction[..., 2, None] * row)  # (M, L, N)
    phase = -2 * np.pi / scenario.wavelength_m * distance
    return np.exp(1j * (phase[..., None, None] + at_irs[..., None] + at_bs[..., None, :]))


def element_energy(G: Array, h: Array) -> Array:
    """Mean received gain over an IRS with random phases, ``sum_n |h_{l,k,n}|^2 ||G_{m,l,n}||^2``: ``(E, M, K, L)``."""
    xp = radio.namespace(h)
    from_bs = xp.sum(radio.abs2(G), axis=-1)  # (E, M, L, N)
    energy = xp.sum(from_bs[:, :, :, None, :] * radio.abs2(h)[:, None], axis=-1)  # (E, M, L, K)
    return xp.matrix_transpose(energy)
