"""The radio link: constraints on the action, effective channel, SINR and rate.

Every function is pure, works on any leading batch axes (written ``...``), accepts numpy arrays and torch
tensors alike, never writes in place (so the rate is differentiable) and is the only place where its
formula stands.

Symbols: M BSs, K users, L IRSs, N elements, Nb antennas; ``cell[k]`` is the BS that serves user k;
``owner[l]`` the BS that controls IRS l (-1: none); channels are amplitude gains (dimensionless), powers are W.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

Array = Any  # a numpy array or a torch tensor

__all__ = [
    "beam_products",
    "cell_channel",
    "cross_channel",
    "effective_channel",
    "phase_shifts",
    "project_power",
    "rates",
    "received_power",
    "served",
    "sinr",
    "transmit_power",
]


def abs2(x: Array) -> Array:
    """Squared magnitude ``|x|^2`` without the square root of ``abs``."""
    xp = array_namespace(x)
    real, imag = xp.real(x), xp.imag(x)
    return real * real + imag * imag


def served(x: Array, cell: Array) -> Array:
    """Pick for each user the entry of the BS that serves it.

    Args:
        x: ``(..., M, K, D)``, one entry per BS and user.
        cell: ``(..., K)`` integer, the serving BS of each user.

    Returns:
        ``(..., K, D)`` with ``out[k] = x[cell[k], k]``.
    """
    xp = array_namespace(x)
    num_bs, num_users, depth = x.shape[-3:]
    flat = xp.reshape(x, (-1, num_bs, num_users, depth))
    rows = xp.arange(flat.shape[0], device=getattr(x, "device", None))[:, None]
    users = xp.arange(num_users, device=getattr(x, "device", None))
    picked = flat[rows, xp.reshape(cell, (-1, num_users)), users]
    return xp.reshape(picked, (*x.shape[:-3], num_users, depth))


# --- constraints (2) and (6c) ------------------------------------------------------------------------------


def phase_shifts(theta: Array, bits: int | None = None) -> Array:
    """Diagonal of Phi, ``phi = exp(j theta)``, optionally on a grid of ``2**bits`` phases.

    Args:
        theta: ``(...)`` real, rad.
        bits: resolution of the phase shifter; ``None`` is continuous.

    Returns:
        ``(...)`` complex, ``|phi| = 1``; with ``bits`` the nearest of the phases ``2 pi i / 2**bits``.
    """
    xp = array_namespace(theta)
    if bits is not None:
        step = 2.0 * 3.141592653589793 / 2**bits
        theta = xp.round(theta / step) * step
    return xp.cos(theta) + 1j * xp.sin(theta)


def transmit_power(w: Array) -> Array:
    """Radiated power of each BS, ``sum_k ||w_k||^2`` [W], from ``w (..., K, Nb)`` to ``(...)``."""
    xp = array_namespace(w)
    return xp.sum(abs2(w), axis=(-2, -1))


def project_power(w: Array, max_power: float, mode: str = "ball") -> Array:
    """Enforce ``sum_k ||w_k||^2 <= Pmax`` (Eq. 2) by scaling all beams of a BS together.

    Args:
        w: ``(..., K, Nb)`` complex beamformers, sqrt(W).
        max_power: Pmax, W.
        mode: ``"ball"`` scales down only when over the limit; ``"sphere"`` always radiates Pmax
            (beams that are all zero stay zero).

    Returns:
        ``(..., K, Nb)`` with transmit power at most Pmax (up to rounding).
    """
    xp = array_namespace(w)
    power = transmit_power(w)
    tiny = xp.finfo(power.dtype).smallest_normal
    # the larger of the two keeps the square root and its gradient finite when all beams are zero
    factor = xp.sqrt(max_power / xp.where(power > tiny, power, xp.ones_like(power)))
    factor = xp.where(power > tiny, factor, xp.ones_like(power))
    if mode == "ball":
        factor = xp.where(power > max_power, factor, xp.ones_like(power))
    elif mode != "sphere":
        raise ValueError(f"mode={mode!r} is not one of 'ball', 'sphere'")
    return w * factor[..., None, None]


# --- effective channel, Eqs. (1) and (3) ---------------------------------------------------------------------


def _reflected(G: Array, h: Array, phi: Array, reach: Array) -> Array:
    """``sum_l reach[k,l] h_{l,k} diag(phi_l) G_{m,l}`` for every BS m and user k.

    Args:
        G: ``(..., M, L, N, Nb)``.
        h: ``(..., L, K, N)``.
        phi: ``(..., L, N)``.
        reach: ``(..., K, L)`` bool or real, which IRSs reflect towards user k.

    Returns:
        ``(..., M, K, Nb)``.
    """
    xp = array_namespace(h)
    *lead, num_irs, num_users, num_elements = h.shape
    weight = xp.astype(xp.matrix_transpose(reach), h.dtype)  # (..., L, K)
    towards_user = h * (phi[..., :, None, :] * weight[..., None])  # (..., L, K, N)
    towards_user = xp.reshape(
        xp.moveaxis(towards_user, -3, -2), (*lead, 1, num_users, num_irs * num_elements)
    )
    from_bs = xp.reshape(G, (*G.shape[:-3], num_irs * num_elements, G.shape[-1]))
    return towards_user @ from_bs


def effective_channel(H: Array, G: Array, h: Array, phi: Array, user_irs: Array, cell: Array) -> Array:
    """Effective row channel of every user from its serving BS (Eqs. 1 and 3).

    ``h_eff[k] = H[m,k] + sum_l A[m,k,l] h[l,k] diag(phi[l]) G[m,l]`` with ``m = cell[k]``.

    Args:
        H: ``(..., M, K, Nb)`` BS-user row channels.
        G: ``(..., M, L, N, Nb)`` BS-IRS channels.
        h: ``(..., L, K, N)`` IRS-user row channels (the paper's h^H, already Hermitian).
        phi: ``(..., L, N)`` diagonal of Phi.
        user_irs: ``(..., M, K, L)`` bool, the association A.
        cell: ``(..., K)`` integer, the serving BS of each user.

    Returns:
        ``(..., K, Nb)`` complex.
    """
    direct = served(H, cell)
    if h.shape[-3] == 0 or h.shape[-2] == 0:
        return direct
    reach = served(user_irs, cell)
    return direct + served(_reflected(G, h, phi, reach), cell)


def cross_channel(H: Array, G: Array, h: Array, phi: Array, user_irs: Array, cell: Array) -> Array:
    """Row channel from EVERY BS to every user, for inter-cell interference.

    A user is reached by the surfaces of its own reflection set ``A[cell[k], k]``, whoever transmits:
    ``out[m,k] = H[m,k] + sum_l A[cell[k],k,l] h[l,k] diag(phi[l]) G[m,l]``.

    Args:
        H, G, h, phi, user_irs, cell: as in :func:`effective_channel`.

    Returns:
        ``(..., M, K, Nb)`` complex; its entry ``m = cell[k]`` is :func:`effective_channel`.
    """
    if h.shape[-3] == 0 or h.shape[-2] == 0:
        return H
    return H + _reflected(G, h, phi, served(user_irs, cell))


def cell_channel(H: Array, G: Array, h: Array, phi: Array) -> Array:
    """Effective row channel inside one cell that owns every IRS it is given (Eqs. 1 and 3).

    ``h_eff[k] = H[k] + sum_l h[l,k] diag(phi[l]) G[l]``.

    Args:
        H: ``(..., K, Nb)`` BS-user row channels.
        G: ``(..., L, N, Nb)`` BS-IRS channels.
        h: ``(..., L, K, N)`` IRS-user row channels.
        phi: ``(..., L, N)`` diagonal of Phi.

    Returns:
        ``(..., K, Nb)`` complex.
    """
    if h.shape[-3] == 0 or h.shape[-2] == 0:
        return H
    xp = array_namespace(h)
    return H + xp.sum((h * phi[..., :, None, :]) @ G, axis=-3)


# --- SINR, Eq. (4), and rate, Eq. (5) --------------------------------------------------------------------------


def beam_products(h_eff: Array, w: Array) -> Array:
    """Complex amplitude of beam i at user k, ``T[k,i] = h_eff[k] w[i]``: ``(..., K, K)``."""
    xp = array_namespace(h_eff)
    return h_eff @ xp.matrix_transpose(w)


def received_power(products: Array) -> tuple[Array, Array]:
    """Own-beam power and interference of each user when all beams serve one cell.

    Args:
        products: ``(..., K, K)`` from :func:`beam_products`.

    Returns:
        ``|T[k,k]|^2`` and ``sum_{i != k} |T[k,i]|^2``, both ``(..., K)`` [W]. The SINR is the first over
        (the second + sigma^2); no difference of large numbers is taken.
    """
    xp = array_namespace(products)
    power = abs2(products)
    num_users = products.shape[-1]
    others = 1.0 - xp.eye(num_users, dtype=power.dtype, device=getattr(power, "device", None))
    return xp.linalg.diagonal(power), xp.sum(power * others, axis=-1)


def _interference_physical(h_eff: Array, h_direct: Array | None, w: Array, others: Array) -> Array:
    xp = array_namespace(h_eff)
    return xp.sum(abs2(beam_products(h_eff, w)) * others, axis=-1)


def _interference_reflected(h_eff: Array, h_direct: Array | None, w: Array, others: Array) -> Array:
    return _interference_physical(h_eff - h_direct, None, w, others)


def _interference_paper(h_eff: Array, h_direct: Array | None, w: Array, others: Array) -> Array:
    xp = array_namespace(h_eff)
    num_users = h_eff.shape[-2]
    eye = xp.eye(num_users, dtype=others.dtype, device=getattr(others, "device", None))
    beam_sum = xp.astype(others + eye, w.dtype) @ w  # sum over the beams of the user's own cell
    amplitude = xp.sum((h_eff - h_direct) * beam_sum, axis=-1)
    return (num_users - 1) * abs2(amplitude)


# the readings of the denominator of Eq. (4); see docs/model.md for what each of them rewards
INTERFERENCE: dict[str, Callable[[Array, Array | None, Array, Array], Array]] = {
    "physical": _interference_physical,
    "reflected": _interference_reflected,
    "paper": _interference_paper,
}


def sinr(
    h_eff: Array,
    w: Array,
    cell: Array,
    noise_power: float,
    *,
    mode: str = "physical",
    h_direct: Array | None = None,
    h_cross: Array | None = None,
) -> Array:
    """SINR of every user under single-user detection (Eq. 4, with its readings).

    ``physical``: ``|h_eff[k] w[k]|^2 / (sum_{i != k, same cell} |h_eff[k] w[i]|^2 + sigma^2)``.
    ``reflected``: the interference arrives over the reflected path ``h_eff - h_direct`` alone.
    ``paper``: Eq. (4) literally, ``sum_{i != k} |h_reflected[k] sum_{j in cell} w[j]|^2``: the beams add
    before the magnitude is taken, once for each of the other K - 1 users.

    Args:
        h_eff: ``(..., K, Nb)`` effective row channels from the serving BS.
        w: ``(..., M, K, Nb)`` beamformers, sqrt(W); only ``w[cell[k], k]`` is radiated for user k.
        cell: ``(..., K)`` integer, the serving BS of each user.
        noise_power: sigma^2, W.
        mode: ``"physical"``, ``"reflected"`` or ``"paper"``.
        h_direct: ``(..., K, Nb)`` direct row channels, needed by the last two modes.
        h_cross: ``(..., M, K, Nb)`` from :func:`cross_channel`; given, the beams of the other cells
            interfere too (always incoherently).

    Returns:
        ``(..., K)`` real, linear.

    Raises:
        ValueError: unknown mode, or ``h_direct`` missing.
    """
    if mode not in INTERFERENCE:
        raise ValueError(f"mode={mode!r} is not one of {', '.join(map(repr, INTERFERENCE))}")
    if mode != "physical" and h_direct is None:
        raise ValueError(f"mode={mode!r} needs h_direct, the direct part of h_eff")
    xp = array_namespace(h_eff)
    beams = served(w, cell)
    num_users = beams.shape[-2]
    same_cell = cell[..., :, None] == cell[..., None, :]
    other_user = ~xp.eye(num_users, dtype=xp.bool, device=getattr(cell, "device", None))
    signal = abs2(xp.sum(h_eff * beams, axis=-1))
    real_dtype = signal.dtype
    interference = INTERFERENCE[mode](h_eff, h_direct, beams, xp.astype(same_cell & other_user, real_dtype))
    if h_cross is not None:
        interference = interference + _inter_cell_interference(h_cross, w, cell)
    return signal / (interference + noise_power)


def _inter_cell_interference(h_cross: Array, w: Array, cell: Array) -> Array:
    """``sum_{m != cell[k]} sum_{i in cell m} |h_cross[m,k] w[m,i]|^2``: ``(..., K)`` [W]."""
    xp = array_namespace(h_cross)
    stations = xp.arange(w.shape[-3], device=getattr(cell, "device", None))[:, None]
    mine = cell[..., None, :] == stations  # (..., M, K)
    received = abs2(beam_products(h_cross, w))  # (..., M, K, K): user k, beam i
    mask = ~mine[..., :, None] & mine[..., None, :]
    return xp.sum(received * xp.astype(mask, received.dtype), axis=(-3, -1))


def rates(sinr: Array) -> Array:
    """Achievable rate ``log2(1 + SINR)`` [bit/s/Hz] of every user (Eq. 4), same shape as ``sinr``."""
    xp = array_namespace(sinr)
    return xp.log1p(sinr) * 1.4426950408889634
