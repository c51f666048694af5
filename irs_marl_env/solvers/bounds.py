"""An upper bound on what any beamformers and any phase shifts can reach in one cell."""

from __future__ import annotations

import math
from typing import Any

from irs_marl_env.arrays import namespace
from irs_marl_env.checks import check_whole
from irs_marl_env.physics import radio
from irs_marl_env.shapes import check_cell, check_powers
from irs_marl_env.sizes import MOST_ITERATIONS
from irs_marl_env.solvers._cells import Power, flatten, per_cell, present_users, take_rows

Array = Any  # a numpy array or a torch tensor

__all__ = ["upper_bound"]

PRICES = 96  # grid points of the multiplier in _shared_gain_bound
WATER_STEPS = 60  # halvings of the water level
MAX_STACKED = 640  # K' Nb beyond which the third bound, an eigenvalue problem of that size, is left out


def upper_bound(H: Array, G: Array, h: Array, power: Power, noise_power: float, iterations: int = 3) -> Array:
    """Bound on the sum rate of one cell for ANY beams within the power limit and ANY elements of ``|phi| <= 1``.

    Channels are scaled to Pmax = sigma^2 = 1; ``g_k = ||h_eff[k]||^2`` depends on the phases. The answer is the
    smallest of three bounds.

    1. Own best channel. ``h_eff[k] = sum_s phi_s v_s`` with ``v_s = h[k,s] G[s]`` and ``v_0 = H[k]``,
       ``phi_0 = 1``. For every unit x and any ``d > 0``, Cauchy-Schwarz gives ``|h_eff[k] x|^2 <=
       (sum_s |v_s x|)^2 <= (sum_s d_s) sum_s |v_s x|^2 / d_s``, hence
       ``g_k <= b_k = (sum_s d_s) lambda_max(sum_s v_s^H v_s / d_s)``, the Lagrange dual of the semidefinite
       relaxation. Without interference ``R_k <= log2(1 + p_k g_k)``, since ``|h_eff[k] w_k|^2 <= p_k g_k``,
       so the sum rate is at most the water-filling of Pmax over the gains b_k.
    2. Antennas. The sum rate is at most the sum capacity of the broadcast channel, which equals that of its
       dual multiple access channel, ``max_q log2 det(I + sum_k q_k h_eff[k]^H h_eff[k])``, ``sum_k q_k <= 1``
       (Vishwanath, Jindal, Goldsmith, 2003); by the inequality of the means it is at most
       ``Nb log2(1 + max_k b_k / Nb)``.
    3. Shared phases. One phi cannot serve all users best. The argument of 1. for the stacked vector
       ``(h_eff[k] / sqrt(b_k))_k`` gives ``sum_k g_k / b_k <= tau``. With ``t_k = g_k / b_k`` in [0, 1] and
       ``x_k = sqrt(p_k t_k)``, Cauchy-Schwarz gives ``sum_k x_k <= sqrt(tau)`` while the rate of user k is at
       most ``f_k(x_k) = log2(1 + b_k x_k^2)``. By Lagrange duality, for any price ``mu >= 0``,
       ``sum_k R_k <= mu sqrt(tau) + sum_k max_{0 <= x <= 1} (f_k(x) - mu x)``.

    Every ``d`` and ``mu`` gives a bound, so a coarse search for good ones costs tightness, never validity.

    Args:
        H: ``(..., K, Nb)`` BS-user row channels; rows of absent users are zero.
        G: ``(..., L, N, Nb)`` BS-IRS channels; L may be 0.
        h: ``(..., L, K, N)`` IRS-user row channels, zero for IRSs the cell does not own. Give all of them for
            a bound over every association.
        power: Pmax, W; one number, or one per cell, an array that fits to the axes ``(...)``.
        noise_power: sigma^2, W.
        iterations: improvements of ``d``.

    Returns:
        ``(...)`` bit/s/Hz, at the precision of the channels.

    Raises:
        ValueError: shapes that do not fit, or powers that are none.

    Example:
        For one user it is what aligned phases reach; for two it is above any answer:

        >>> import numpy as np
        >>> from irs_marl_env import solvers
        >>> rng = np.random.default_rng(0)
        >>> H, G, h = (rng.normal(size=(*s, 2)) @ [1, 1j] for s in ((2, 4), (1, 8, 4), (1, 2, 8)))
        >>> for users in (1, 2):
        ...     cell = H[:users], G, h[:, :users]
        ...     history = solvers.alternating_optimization(*cell, power=1.0, noise_power=1.0)[2]
        ...     bound = solvers.upper_bound(*cell, power=1.0, noise_power=1.0)
        ...     print(f"{history[-1]:.2f} <= {bound:.2f}")
        8.41 <= 8.50
        13.16 <= 14.29
    """
    check_cell(H, G, h, same_batch=True)
    check_powers(power, noise_power, H.shape[:-2])
    check_whole("iterations", iterations, 0, MOST_ITERATIONS)
    xp = namespace(H)
    real_dtype = xp.real(H).dtype
    root_snr = (power / noise_power) ** 0.5
    batch = math.prod(H.shape[:-2])
    H, G, h = (xp.astype(x, xp.complex128) for x in (H, G, h))  # squared path gains, long sums
    flat = (H * per_cell(root_snr, H, 2), *flatten(G, h * per_cell(root_snr, h, 3)))
    H_flat, G_flat, h_flat = (xp.reshape(x, (batch, *x.shape[-2:])) for x in flat)
    users, _ = present_users(H_flat, h_flat)
    H_flat, h_flat = take_rows(H_flat, users), take_rows(h_flat, users)
    # (B, K', S + 1, Nb): what each element contributes to each user's channel, the direct path first
    reflected = h_flat[..., None] * G_flat[:, None, :, :]
    paths = xp.concat([H_flat[:, :, None, :], reflected], axis=-2)
    gain = _norm_bound(paths, iterations)  # (B, K')
    num_antennas = H.shape[-1]
    bounds = [
        _water_filling(gain),
        num_antennas * radio.rates(xp.max(gain, axis=-1) / num_antennas),
    ]
    if paths.shape[1] * num_antennas <= MAX_STACKED:
        bounds.append(_shared_gain_bound(gain, _norm_bound(_stacked(paths, gain), iterations)))
    tightest = bounds[0]
    for bound in bounds[1:]:
        tightest = xp.where(bound < tightest, bound, tightest)
    return xp.astype(xp.reshape(tightest, H.shape[:-2]), real_dtype)


def _stacked(paths: Array, gain: Array) -> Array:
    """What each element adds to all users' channels, scaled to bound one each: ``(B, S + 1, K' Nb)``."""
    xp = namespace(paths)
    usable = xp.where(gain > 0, gain, xp.ones_like(gain))
    whitened = xp.moveaxis(paths / xp.sqrt(usable)[..., None, None], 1, 2)
    batch, size, num_users, num_antennas = whitened.shape
    return xp.reshape(whitened, (batch, size, num_users * num_antennas))


def _norm_bound(vectors: Array, iterations: int) -> Array:
    """Bound on ``max_{|phi_s| <= 1} ||sum_s phi_s v_s||^2`` (step 1. of :func:`upper_bound`).

    The first ``d_s = ||v_s||``; then ``d_s^2 = v_s X v_s^H`` for a density X that moves towards the leading
    directions, a multiplicative step on the dual. The least bound seen counts.

    Args:
        vectors: ``(..., S, D)`` complex.
        iterations: number of steps after the first.

    Returns:
        ``(...)`` real.
    """
    xp = namespace(vectors)
    size = xp.sqrt(xp.sum(radio.abs2(vectors), axis=-1))  # (..., S)
    safe = xp.where(size > 0, size, xp.ones_like(size))
    unit = vectors / safe[..., None]
    share = xp.ones_like(size)  # d_s / ||v_s||
    density_root: Any = None
    best: Any = None
    for _ in range(iterations + 1):
        weighted = xp.sqrt(size / share)[..., None] * unit
        moment = xp.conj(xp.matrix_transpose(weighted)) @ weighted  # sum_s v_s^H v_s / d_s
        values, modes = xp.linalg.eigh(moment)
        bound = xp.sum(size * share, axis=-1) * values[..., -1]
        best = bound if best is None else xp.where(bound < best, bound, best)
        values = xp.clip(values, 0.0, None)
        peak = values[..., -1:]
        root = xp.sqrt(values / xp.where(peak > 0, peak, xp.ones_like(peak)))
        step = (modes * root[..., None, :]) @ xp.conj(xp.matrix_transpose(modes))
        density_root = step if density_root is None else density_root @ step  # X = R R^H up to scale
        share = xp.sqrt(xp.sum(radio.abs2(unit @ density_root), axis=-1))
        share = xp.clip(share, 1e-3, None)
    return xp.where(best > 0, best, xp.zeros_like(best))


def _water_filling(gain: Array) -> Array:
    """``max sum_k log2(1 + p_k gain_k)`` with ``sum_k p_k <= 1``: ``(..., K)`` to ``(...)`` bit/s/Hz.

    Bisection for the level; the level is rounded up, so that the value is never below the maximum.
    """
    xp = namespace(gain)
    active = gain > 0
    floor = 1 / xp.where(active, gain, xp.ones_like(gain))
    peak = xp.max(gain, axis=-1)[..., None]
    # heights above the lowest floor: a level of its own size would swallow Pmax = 1 where gains are tiny
    depth = floor - 1 / xp.where(peak > 0, peak, xp.ones_like(peak))
    low, high = xp.zeros_like(peak), xp.ones_like(peak)
    for _ in range(WATER_STEPS):
        level = (low + high) / 2
        spent = xp.sum(_share(level, depth, active), axis=-1)[..., None]
        low, high = xp.where(spent < 1.0, level, low), xp.where(spent < 1.0, high, level)
    return xp.sum(radio.rates(_share(high, depth, active) * gain), axis=-1)


def _share(level: Array, depth: Array, active: Array) -> Array:
    """Power poured on each user when the water stands at ``level``."""
    above = level - depth
    return namespace(level).where(active & (above > 0), above, 0 * above)


def _shared_gain_bound(gain: Array, tau: Array) -> Array:
    """Step 3. of :func:`upper_bound` by a grid of prices: ``gain (..., K)``, ``tau (...)`` to ``(...)``."""
    xp = namespace(gain)
    peak = xp.max(gain, axis=-1)[..., None]
    peak = xp.where(peak > 0, peak, xp.ones_like(peak))
    grid = xp.linspace(-4.0, 0.0, PRICES, dtype=gain.dtype, device=getattr(gain, "device", None))
    price = (xp.sqrt(peak) * 10.0**grid)[..., None, :]  # nats; (..., 1, P)
    gain = gain[..., :, None]
    # stationary where gain x^2 - 2 gain x / price + 1 = 0; the larger root is the maximum
    ratio = price * price / xp.where(gain > 0, gain, xp.ones_like(gain))
    best_x = (1.0 + xp.sqrt(xp.clip(1.0 - ratio, 0.0, None))) / price
    best_x = xp.where(ratio < 1.0, xp.clip(best_x, None, 1.0), xp.ones_like(best_x))
    price = price * math.log2(math.e)  # from here on per bit
    profit = radio.rates(gain * best_x * best_x) - price * best_x
    return xp.min(price[..., 0, :] * xp.sqrt(tau)[..., None] + xp.sum(xp.clip(profit, 0.0, None), axis=-2), axis=-1)
