"""Transmit beamforming of one cell: MRT, regularised zero-forcing and WMMSE.

One cell has K users, of which the absent ones are all-zero rows, and a BS with Nb antennas. Row ``k`` of
``h_eff`` is the effective channel of user k; beam ``i`` reaches it with amplitude ``h_eff[k] @ w[i]`` (no
conjugate). Functions take numpy arrays or torch tensors with any leading axes, never write in place and,
unless told otherwise, are differentiable. Shapes that do not fit and powers that are none (noise of zero, NaN) are
refused with a ``ValueError``. Inside, channels are scaled so that power and noise are both one.
"""

from __future__ import annotations

import math
from typing import Any

from irs_marl_env.arrays import namespace
from irs_marl_env.checks import check_whole
from irs_marl_env.physics import radio
from irs_marl_env.shapes import check_fit, check_noise, check_powers, check_users
from irs_marl_env.sizes import MOST_ITERATIONS
from irs_marl_env.solvers._cells import Power, choose, eye_like, per_cell, unit_noise, weighted_sum

Array = Any  # a numpy array or a torch tensor

ROUNDING = 64  # times the precision: a regularisation that rounding does not lose beside the sum of a diagonal
LITTLE = 0.01  # amplitude of the beams of users outside a selection, whose beams have one

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

    Example:
        One user, 25 W: the beam is the conjugate of the channel.

        >>> import numpy as np
        >>> from irs_marl_env import solvers
        >>> solvers.mrt(np.array([[3, 4j]]), power=25.0, noise_power=1.0).tolist()
        [[(3+0j), -4j]]
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

    Example:
        Without regularisation nobody disturbs anybody:

        >>> import numpy as np
        >>> from irs_marl_env import link, solvers
        >>> h_eff = np.array([[1.0, 0.5j], [0.5, 1.0]])
        >>> w = solvers.rzf(h_eff, power=2.0, noise_power=0.1, regularizer=0.0)
        >>> abs(link.beam_products(h_eff, w)).round(3).tolist()
        [[0.922, 0.0], [0.0, 0.922]]
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
    floor = ROUNDING * eps * xp.sum(energy, axis=-1)
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
        w_init: ``(..., K, Nb)`` start; ``None`` is :func:`rzf` and, in cells of more users than antennas, where that
            may end far below the best, also :func:`mrt` and zero-forcing of a selection of users; the best answer of
            each cell is kept. A user whose beam starts at zero stays without one.

    Returns:
        ``(..., K, Nb)`` beamformers, sqrt(W), at full power.

    Example:
        The second user is weak; WMMSE gives it less power than zero-forcing does:

        >>> import numpy as np
        >>> from irs_marl_env import solvers
        >>> h_eff = np.array([[1.0, 0.5j], [0.05, 0.1]])
        >>> beams = [solve(h_eff, 1.0, 0.1) for solve in (solvers.rzf, solvers.wmmse)]
        >>> [round(float(solvers.weighted_sum_rate(h_eff, w, 0.1)), 2) for w in beams]
        [2.86, 3.75]
    """
    check_users(h_eff, weights)
    check_powers(power, noise_power, h_eff.shape[:-2])
    check_whole("iterations", iterations, 0, MOST_ITERATIONS)
    check_fit(h_eff=(h_eff, "K Nb"), w_init=(w_init, "K Nb"))
    scaled = unit_noise(h_eff, power, noise_power)
    w = _ascended(scaled, rzf(scaled, 1.0, 1.0) if w_init is None else w_init, weights, iterations)
    if w_init is None and h_eff.shape[-2] > h_eff.shape[-1]:
        w = _further_starts(scaled, w, weights, iterations)
    return w * per_cell(power**0.5, w, 2)


def _ascended(scaled: Array, w: Array, weights: Array | None, iterations: int) -> Array:
    """Beams after so many steps from ``w``, for scaled channels."""
    w = radio.project_power(w, 1.0, "sphere")
    for _ in range(iterations):
        w = _wmmse_step(scaled, radio.beam_products(scaled, w), weights)
    return w


def _further_starts(scaled: Array, w: Array, weights: Array | None, iterations: int) -> Array:
    """The best of ``w`` and what further starts lead to, in cells of more users than antennas; ``w`` in the others."""
    xp = namespace(scaled)
    lead = scaled.shape[:-2]
    flat, w = (xp.reshape(x, (math.prod(lead), *x.shape[-2:])) for x in (scaled, w))
    if weights is not None:
        weights = xp.reshape(xp.broadcast_to(weights, scaled.shape[:-1]), flat.shape[:-1])
    crowded = xp.sum(xp.astype(xp.any(flat != 0, axis=-1), xp.int64), axis=-1) > flat.shape[-1]
    rows = xp.nonzero(crowded)[0]
    if not rows.shape[0]:
        return xp.reshape(w, scaled.shape)
    cells, best = flat[rows], w[rows]
    value = None if weights is None else weights[rows]
    rate = _scaled_rate(cells, best, value)
    for start in (mrt(cells, 1.0, 1.0), _selection(cells, value)):
        new = _ascended(cells, start, value, iterations)
        new_rate = _scaled_rate(cells, new, value)
        best = choose(new_rate > rate, new, best)
        rate = xp.where(new_rate > rate, new_rate, rate)
    # the crowded cells stand behind the others, and each cell is taken from where it is: nothing is written in place
    place = xp.cumulative_sum(xp.astype(crowded, xp.int64), axis=0) - 1 + len(crowded)
    index = xp.where(crowded, place, xp.arange(len(crowded), device=getattr(w, "device", None)))
    return xp.reshape(xp.concat([w, best], axis=0)[index], scaled.shape)


def _selection(scaled: Array, weights: Array | None) -> Array:
    """Zero-forcing ``(B, K, Nb)`` of as many users as antennas, chosen one by one by what is left of their channels.

    What is left is the part orthogonal to the channels of those chosen before (Yoo, Goldsmith, "On the optimality of
    multiantenna broadcast scheduling using zero-forcing beamforming", IEEE J. Sel. Areas Commun. 24(3), 2006). The
    others get a little power, for a beam of zero would stay zero.
    """
    xp = namespace(scaled)
    left = scaled if weights is None else scaled * xp.sqrt(weights)[..., None]
    chosen = xp.zeros_like(left[..., 0].real, dtype=xp.bool)
    user = xp.arange(scaled.shape[-2], device=getattr(scaled, "device", None))
    for _ in range(scaled.shape[-1]):
        energy = xp.where(chosen, xp.zeros_like(left[..., 0].real) - 1.0, xp.sum(radio.abs2(left), axis=-1))
        pick = user == xp.argmax(energy, axis=-1)[..., None]
        chosen = chosen | pick
        row = xp.sum(xp.where(pick[..., None], left, xp.zeros_like(left)), axis=-2)
        size = xp.sum(radio.abs2(row), axis=-1)[..., None, None]
        along = left @ xp.conj(row)[..., None]
        left = left - along * row[..., None, :] / xp.where(size > 0, size, xp.ones_like(size))
    kept = xp.astype(chosen, scaled.dtype)[..., None]
    return rzf(scaled * kept, 1.0, 1.0) + LITTLE * mrt(scaled * (1 - kept), 1.0, 1.0)


def _scaled_rate(scaled: Array, w: Array, weights: Array | None) -> Array:
    signal, interference = radio.received_power(radio.beam_products(scaled, w))
    return weighted_sum(radio.rates(signal / (interference + 1.0)), weights)


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

    Example:
        Each step raises the rate:

        >>> import numpy as np
        >>> from irs_marl_env import solvers
        >>> h_eff, rates = np.array([[1.0, 0.5j], [0.5, 1.0]]), []
        >>> w = solvers.mrt(h_eff, power=1.0, noise_power=0.1)
        >>> for _ in range(4):
        ...     rates.append(round(float(solvers.weighted_sum_rate(h_eff, w, 0.1)), 2))
        ...     w = solvers.wmmse_step(h_eff, w, power=1.0, noise_power=0.1)
        >>> rates
        [3.25, 4.93, 4.93, 4.93]
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

    Example:
        Two users without interference, each with an SNR of 3:

        >>> import numpy as np
        >>> from irs_marl_env import solvers
        >>> w = np.sqrt(3.0) * np.eye(2)
        >>> float(round(solvers.weighted_sum_rate(np.eye(2), w, noise_power=1.0), 6))
        4.0
        >>> float(round(solvers.weighted_sum_rate(np.eye(2), w, 1.0, weights=np.array([1.0, 0.5])), 6))
        3.0
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
        filters = xp.conj(_solve_with_noise(matrix, h_eff))
    else:
        matrix = (adjoint * share[..., None, :]) @ h_eff
        filters = xp.matrix_transpose(_solve_with_noise(matrix, adjoint))
    return radio.project_power(gain[..., None] * filters, 1.0, "sphere")


def _solve_with_noise(matrix: Array, right: Array) -> Array:
    """``(matrix + I)^-1 right``, ``(..., D, R)``, for ``matrix (..., D, D)`` with eigenvalues >= 0.

    Rounding loses I beside entries beyond 1e16 in double precision (SNRs beyond some 150 dB), and what is left may be
    singular, or not, by how a processor rounds. Then what :func:`rzf` takes at least stands for I.
    """
    xp, eye = namespace(matrix), eye_like(matrix)
    try:
        return xp.linalg.solve(matrix + eye, right)
    except (ValueError, RuntimeError) as error:  # what LinAlgError is in numpy and in torch, which is not imported here
        if not type(error).__name__.endswith("LinAlgError"):
            raise
    trace = xp.sum(xp.real(xp.linalg.diagonal(matrix)), axis=-1)
    floor = xp.finfo(trace.dtype).eps * trace
    noise = xp.where(floor > 1, ROUNDING * floor, xp.ones_like(floor))
    return xp.linalg.solve(matrix + noise[..., None, None] * eye, right)


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
