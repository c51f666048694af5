"""Transmit beamforming of one cell: MRT, regularised zero-forcing and WMMSE.

One cell has K users, of which the absent ones are all-zero rows, and a BS with Nb antennas. Row ``k`` of
``h_eff`` is the effective channel of user k; beam ``i`` reaches it with amplitude ``h_eff[k] @ w[i]`` (no
conjugate). Functions take numpy arrays or torch tensors with any leading axes, never write in place and,
unless told otherwise, are differentiable. Shapes that do not fit and powers that are none (noise of zero, NaN) are
refused with a ``ValueError``. Inside, channels are scaled so that power and noise are both one.
"""

from __future__ import annotations

from typing import Any

from irs_marl_env.arrays import namespace
from irs_marl_env.checks import check_whole
from irs_marl_env.physics import radio
from irs_marl_env.shapes import check_fit, check_noise, check_powers, check_users
from irs_marl_env.sizes import MOST_ITERATIONS
from irs_marl_env.solvers._cells import Power, eye_like, per_cell, unit_noise, weighted_sum

Array = Any  # a numpy array or a torch tensor

__all__ = ["mrt", "rzf", "weighted_sum_rate", "wmmse", "wmmse_step"]


def mrt(h_eff: Array, power: Power, noise_power: float, weights: Array | None = None) -> Array:
    """Maximum ratio transmission, ``w[k] = sqrt(p_k) h_eff[k]^H / ||h_eff[k]||``.

    Args:
        h_eff: ``(..., K, Nb)`` effective row channels.
        power: Pmax, W; one number, or one per cell, an array that fits to the axes ``(...)``.
        noise_power: sigma^2, W (unused; the beamformers share one signature).
        weights: ``(..., K)`` relative powers of the users, not negative; ``None`` is equal power.

    Returns:
        ``(..., K, Nb)`` beamformers, sqrt(W). Pmax is split over the users that exist; a user with a zero
        channel gets a zero beam, and so do all of them when no user that exists has a positive weight.
    """
    check_users(h_eff, weights)
    check_powers(power, noise_power, h_eff.shape[:-2])
    return _assign_power(namespace(h_eff).conj(h_eff), h_eff, power, weights)


def rzf(
    h_eff: Array,
    power: Power,
    noise_power: float,
    weights: Array | None = None,
    regularizer: Array | float | None = None,
) -> Array:
    """Regularised zero-forcing, directions of ``H^H (H H^H + alpha I)^{-1}`` with given user powers.

    ``alpha = regularizer * K_active sigma^2 / Pmax``; one is the MMSE choice for equal powers, zero is
    zero-forcing (a floor near the rounding error keeps it defined for K > Nb), large values tend to MRT.
    Source: Peel, Hochwald, Swindlehurst, "A vector-perturbation technique for near-capacity multiantenna
    multiuser communication, Part I", IEEE Trans. Commun. 53(1), 2005.

    Args:
        h_eff: ``(..., K, Nb)`` effective row channels.
        power: Pmax, W; one number, or one per cell, an array that fits to the axes ``(...)``.
        noise_power: sigma^2, W.
        weights: ``(..., K)`` relative powers of the users, not negative; ``None`` is equal power.
        regularizer: scalar or ``(...)``, not negative; ``None`` is one.

    Returns:
        ``(..., K, Nb)`` beamformers, sqrt(W); powers are split as in :func:`mrt`.
    """
    check_users(h_eff, weights)
    check_powers(power, noise_power, h_eff.shape[:-2])
    return _rzf(h_eff, power, noise_power, weights, regularizer, namespace(h_eff).finfo(h_eff.dtype).eps)


def _rzf(
    h_eff: Array,
    power: Power,
    noise_power: float,
    weights: Array | None,
    regularizer: Array | float | None,
    eps: float,
) -> Array:
    """:func:`rzf` whose floor is that of numbers with a rounding error ``eps``, whatever they are computed in."""
    xp = namespace(h_eff)
    scaled = unit_noise(h_eff, power, noise_power)
    gram = scaled @ xp.conj(xp.matrix_transpose(scaled))
    energy = xp.real(xp.linalg.diagonal(gram))
    alpha = xp.sum(xp.astype(energy > 0, energy.dtype), axis=-1)
    if regularizer is not None:
        alpha = alpha * regularizer
    floor = 64 * eps * xp.sum(energy, axis=-1)
    alpha = xp.where(alpha > floor, alpha, floor)
    alpha = xp.where(alpha > 0, alpha, xp.ones_like(alpha))  # a cell without users
    eye = eye_like(gram)
    directions = xp.conj(xp.linalg.solve(gram + alpha[..., None, None] * eye, scaled))
    return _assign_power(directions, h_eff, power, weights)


def wmmse(
    h_eff: Array,
    power: Power,
    noise_power: float,
    weights: Array | None = None,
    iterations: int = 30,
    w_init: Array | None = None,
) -> Array:
    """Beamformers that ascend the weighted sum rate under a sum power limit.

    Maximises ``sum_k weights[k] log2(1 + SINR_k)`` subject to ``sum_k ||w_k||^2 <= Pmax`` by repeating
    :func:`wmmse_step`; the rate never decreases and every limit point is stationary.
    Sources: Christensen, Agarwal, de Carvalho, Cioffi, "Weighted sum-rate maximization using weighted MMSE
    for MIMO-BC beamforming design", IEEE Trans. Wireless Commun. 7(12), 2008; Shi, Razaviyayn, Luo, He, "An
    iteratively weighted MMSE approach ...", IEEE Trans. Signal Process. 59(9), 2011.

    Args:
        h_eff: ``(..., K, Nb)`` effective row channels.
        power: Pmax, W; one number, or one per cell, an array that fits to the axes ``(...)``.
        noise_power: sigma^2, W.
        weights: ``(..., K)`` weights of the users in the sum rate, not negative; ``None`` is one.
        iterations: number of steps.
        w_init: ``(..., K, Nb)`` start; ``None`` is :func:`rzf`. A user whose beam starts at zero stays
            without one.

    Returns:
        ``(..., K, Nb)`` beamformers, sqrt(W), at full power.
    """
    check_users(h_eff, weights)
    check_powers(power, noise_power, h_eff.shape[:-2])
    check_whole("iterations", iterations, 0, MOST_ITERATIONS)
    check_fit(h_eff=(h_eff, "K Nb"), w_init=(w_init, "K Nb"))
    scaled = unit_noise(h_eff, power, noise_power)
    w = radio.project_power(rzf(scaled, 1.0, 1.0) if w_init is None else w_init, 1.0, "sphere")
    for _ in range(iterations):
        w = _wmmse_step(scaled, radio.beam_products(scaled, w), weights)
    return w * per_cell(power**0.5, w, 2)


def wmmse_step(h_eff: Array, w: Array, power: Power, noise_power: float, weights: Array | None = None) -> Array:
    """One rescaled WMMSE step: closed form, no search for the power multiplier.

    The weighted sum rate at full power equals that of the unconstrained problem whose noise is
    ``sigma^2 ||w||^2 / Pmax``. Its WMMSE update is, with ``T = h_eff w^T`` and w at full power,
    ``q_k = sigma^2 + sum_{i != k} |T_ki|^2``, ``t_k = q_k + |T_kk|^2``, ``g_k = weight_k T_kk / q_k``,
    ``c_k = weight_k |T_kk|^2 / (q_k t_k)``::

        w_k <- g_k (sum_j c_j h_j^H h_j + (sigma^2 / Pmax) sum_j c_j I)^{-1} h_k^H,  then scaled to Pmax.

    Invariant: the weighted sum rate does not decrease. Sources: Christensen et al. 2008 (the rescaled
    transmit filter); Zhao, Lu, Shi, Luo, "Rethinking WMMSE", IEEE Trans. Signal Process. 71, 2023.

    Args:
        h_eff: ``(..., K, Nb)`` effective row channels.
        w: ``(..., K, Nb)`` present beamformers at any power; all-zero beams stay zero.
        power: Pmax, W; one number, or one per cell, an array that fits to the axes ``(...)``.
        noise_power: sigma^2, W.
        weights: ``(..., K)`` weights of the users in the sum rate; ``None`` is one.

    Returns:
        ``(..., K, Nb)`` beamformers, sqrt(W), at full power.
    """
    check_users(h_eff, weights)
    check_powers(power, noise_power, h_eff.shape[:-2])
    check_fit(h_eff=(h_eff, "K Nb"), w=(w, "K Nb"))
    scaled = unit_noise(h_eff, power, noise_power)
    products = radio.beam_products(scaled, radio.project_power(w, 1.0, "sphere"))
    return _wmmse_step(scaled, products, weights) * per_cell(power**0.5, scaled, 2)


def weighted_sum_rate(h_eff: Array, w: Array, noise_power: float, weights: Array | None = None) -> Array:
    """``sum_k weights[k] log2(1 + SINR_k)`` of one cell (Eqs. 4 and 5): ``(...)`` bit/s/Hz.

    Args:
        h_eff: ``(..., K, Nb)`` effective row channels.
        w: ``(..., K, Nb)`` beamformers, sqrt(W).
        noise_power: sigma^2, W.
        weights: ``(..., K)``; ``None`` is one, the plain sum rate.
    """
    check_users(h_eff, weights)
    check_noise(noise_power)
    check_fit(h_eff=(h_eff, "K Nb"), w=(w, "K Nb"))
    signal, interference = radio.received_power(radio.beam_products(h_eff, w))
    return weighted_sum(radio.rates(signal / (interference + noise_power)), weights)


# --- shared with the other solvers: channels scaled to Pmax = sigma^2 = 1 -----------------------------------


def _receivers(products: Array, weights: Array | None) -> tuple[Array, Array]:
    """MMSE receivers folded with the MSE weights: ``g`` complex and ``c`` real of :func:`wmmse_step`."""
    xp = namespace(products)
    signal, interference = radio.received_power(products)
    disturbance = interference + 1.0
    gain = xp.linalg.diagonal(products) / disturbance
    cost = signal / (disturbance * (disturbance + signal))
    return (gain, cost) if weights is None else (gain * weights, cost * weights)


def _wmmse_step(h_eff: Array, products: Array, weights: Array | None) -> Array:
    """:func:`wmmse_step` for scaled channels; ``products`` belong to beams of unit power."""
    xp = namespace(h_eff)
    gain, cost = _receivers(products, weights)
    load = xp.sum(cost, axis=-1)[..., None]
    share = xp.astype(cost / xp.where(load > 0, load, xp.ones_like(load)), h_eff.dtype)
    adjoint = xp.conj(xp.matrix_transpose(h_eff))
    num_users, num_antennas = h_eff.shape[-2:]
    # both forms of the regularised inverse are the same beams; solve the smaller system
    if num_users <= num_antennas:
        matrix = (h_eff @ adjoint) * share[..., None, :]
        filters = xp.conj(xp.linalg.solve(matrix + eye_like(matrix), h_eff))
    else:
        matrix = (adjoint * share[..., None, :]) @ h_eff
        filters = xp.matrix_transpose(xp.linalg.solve(matrix + eye_like(matrix), adjoint))
    return radio.project_power(gain[..., None] * filters, 1.0, "sphere")


def _assign_power(directions: Array, h_eff: Array, power: float, weights: Array | None) -> Array:
    """Give each existing user its share of Pmax along its direction."""
    xp = namespace(h_eff)
    exists = xp.any(h_eff != 0, axis=-1)
    share = xp.astype(exists, xp.real(h_eff).dtype)
    if weights is not None:
        share = share * weights
    total = xp.sum(share, axis=-1)[..., None]
    share = share / xp.where(total > 0, total, xp.ones_like(total))
    # the norm is taken of unit-size numbers: squares of path gains would underflow in single precision
    size = xp.max(xp.abs(directions), axis=-1)[..., None]
    directions = directions / xp.where(size > 0, size, xp.ones_like(size))
    norm2 = xp.sum(radio.abs2(directions), axis=-1)
    positive = (share > 0) & (norm2 > 0)
    ratio = per_cell(power, h_eff, 1) * share / xp.where(positive, norm2, xp.ones_like(norm2))
    # of the masked value, not masked after it: sqrt has no gradient at zero
    amplitude = xp.sqrt(xp.where(positive, ratio, xp.ones_like(ratio)))
    return directions * xp.where(positive, amplitude, xp.zeros_like(amplitude))[..., None]
