"""Phase shifts of the IRSs of one cell for given beamformers, in closed form.

With the beams fixed, the weighted mean square error behind WMMSE is quadratic in the phase shifts,
``phi^H Q phi - 2 Re(phi^H b)``. Element ``e`` sees the field ``b_e - (Q phi)_e``, and its best phase, the
others held, is that of ``field_e + Q_ee phi_e``. Neither ``Q`` nor any other N x N matrix is formed: the
field follows from the products ``T = h_eff w^T`` at O(K^2) per element.

Inside, the elements of all IRSs stand on one axis of length ``S = L N`` and channels are scaled to
Pmax = sigma^2 = 1.
"""

from __future__ import annotations

import math
from typing import Any

from irs_marl_env.arrays import namespace
from irs_marl_env.physics import radio
from irs_marl_env.shapes import check_cell, check_noise, check_users
from irs_marl_env.solvers._cells import channel_of, flatten, unit_noise, unit_phase
from irs_marl_env.solvers.beamforming import _receivers

Array = Any  # a numpy array or a torch tensor

__all__ = ["align_phases", "parallel_sweep", "sequential_sweep"]

ATOM_BUDGET = 2**21  # complex numbers a sequential sweep prepares at a time


def align_phases(H: Array, G: Array, h: Array, weights: Array | None = None) -> Array:
    """Phases that add the reflected paths to the users' direct channels coherently.

    Maximises ``Re sum_k weight[l,k] h[l,k] diag(phi[l]) G[l] H[k]^H`` for every IRS l; closed form
    ``phi[l,n] = conj(f[l,n]) / |f[l,n]|`` with ``f[l,n] = sum_k weight[l,k] h[l,k,n] (G[l] H[k]^H)[n]``.
    Source: the one-user rule of Wu, Zhang, "Intelligent reflecting surface enhanced wireless network via
    joint active and passive beamforming", IEEE Trans. Wireless Commun. 18(11), 2019, with a weighted sum
    over users.

    Args:
        H: ``(..., K, Nb)`` BS-user row channels.
        G: ``(..., L, N, Nb)`` BS-IRS channels.
        h: ``(..., L, K, N)`` IRS-user row channels.
        weights: ``(..., K)`` or ``(..., L, K)`` real; a number of axes equal to that of ``H`` means per IRS
            and user. ``None`` is one.

    Returns:
        ``(..., L, N)`` complex, ``|phi| = 1``; one where the sum is zero.

    Example:
        For one user all paths add up in phase, whatever their phases were:

        >>> import numpy as np
        >>> from irs_marl_env import link, solvers
        >>> H, G = np.array([[0.1j]]), 0.1 * np.array([[[1], [1j], [-1]]])
        >>> h = np.array([[[1, -1j, 1j]]])
        >>> phi = solvers.align_phases(H, G, h)
        >>> (phi.round(6) + 0).tolist()
        [[1j, 1j, (-1+0j)]]
        >>> abs(link.cell_channel(H, G, h, phi)).round(6).tolist()  # 0.1 + 3 * 0.1
        [[0.4]]
    """
    check_cell(H, G, h)
    check_users(H, weights)
    xp = namespace(H)
    towards_users = G @ xp.conj(xp.matrix_transpose(H))[..., None, :, :]  # (..., L, N, K)
    matched = h * xp.matrix_transpose(towards_users)  # (..., L, K, N)
    if weights is not None:
        per_irs = weights if weights.ndim == H.ndim else weights[..., None, :]
        matched = matched * per_irs[..., None]
    return unit_phase(xp.conj(xp.sum(matched, axis=-2)))


def parallel_sweep(
    H: Array,
    G: Array,
    h: Array,
    w: Array,
    phi: Array,
    noise_power: float,
    weights: Array | None = None,
    damping: Array | float = 1.0,
) -> Array:
    """Update all elements at once: ``phi <- unit(field + damping * Q_ee phi)`` (Jacobi).

    Suits batches and accelerators. With ``damping`` one it usually ascends and may overshoot; with
    ``damping >= L N`` the surrogate is majorised (``Q <= L N diag(Q)`` for any positive semidefinite Q) and
    the weighted sum rate does not decrease. Source of the majorised form: Sun, Babu, Palomar,
    "Majorization-minimization algorithms ...", IEEE Trans. Signal Process. 65(3), 2017.

    Args:
        H, G, h: channels of the cell as in :func:`align_phases`.
        w: ``(..., K, Nb)`` beamformers, sqrt(W).
        phi: ``(..., L, N)`` present phase shifts.
        noise_power: sigma^2, W.
        weights: ``(..., K)`` weights of the users in the sum rate; ``None`` is one.
        damping: scalar or ``(...)``, at least zero.

    Returns:
        ``(..., L, N)`` complex, ``|phi| = 1``.

    Example:
        From phases that know nothing of the channels:

        >>> import numpy as np
        >>> from irs_marl_env import link, solvers
        >>> rng = np.random.default_rng(0)
        >>> H, G, h = (rng.normal(size=(*s, 2)) @ [1, 1j] for s in ((2, 4), (1, 8, 4), (1, 2, 8)))
        >>> phi, rates = np.ones((1, 8)), []
        >>> for _ in range(3):
        ...     h_eff = link.cell_channel(H, G, h, phi)
        ...     w = solvers.rzf(h_eff, power=1.0, noise_power=1.0)
        ...     rates.append(round(float(solvers.weighted_sum_rate(h_eff, w, 1.0)), 2))
        ...     phi = solvers.parallel_sweep(H, G, h, w, phi, noise_power=1.0)
        >>> rates
        [10.75, 10.9, 11.03]
    """
    check_cell(H, G, h, phi, w)
    check_users(H, weights)
    check_noise(noise_power)
    G_flat, h_flat = flatten(G, unit_noise(h, 1.0, noise_power))
    xp = namespace(H)
    phi_flat = xp.reshape(phi, (*phi.shape[:-2], phi.shape[-2] * phi.shape[-1]))
    H_scaled = unit_noise(H, 1.0, noise_power)
    products = radio.beam_products(channel_of(H_scaled, G_flat, h_flat, phi_flat), w)
    if not isinstance(damping, (int, float)):
        damping = damping[..., None]
    swept = _parallel_sweep(
        products,
        h_flat,
        radio.abs2(h_flat),
        _beams_at_irs(G_flat, w),
        phi_flat,
        *_receivers(products, weights),
        damping,
    )
    return xp.reshape(swept, phi.shape)


def sequential_sweep(
    H: Array,
    G: Array,
    h: Array,
    w: Array,
    phi: Array,
    noise_power: float,
    weights: Array | None = None,
) -> Array:
    """Update the elements one after the other, each to its exact optimum (Gauss-Seidel).

    ``phi_e <- unit(field_e + Q_ee phi_e)``, after which T and thereby every other field is brought up to
    date. Invariant: the weighted sum rate does not decrease. Source: block coordinate descent of the phase
    shifts in Guo, Liang, Chen, Larsson, "Weighted sum-rate maximization for reconfigurable intelligent
    surface aided wireless networks", IEEE Trans. Wireless Commun. 19(5), 2020.

    Args:
        H, G, h, w, phi, noise_power, weights: as in :func:`parallel_sweep`.

    Returns:
        ``(..., L, N)`` complex, ``|phi| = 1``.

    Example:
        With beams as they are the rate rises:

        >>> import numpy as np
        >>> from irs_marl_env import link, solvers
        >>> rng = np.random.default_rng(0)
        >>> H, G, h = (rng.normal(size=(*s, 2)) @ [1, 1j] for s in ((2, 4), (1, 8, 4), (1, 2, 8)))
        >>> phi = np.ones((1, 8))
        >>> w = solvers.rzf(link.cell_channel(H, G, h, phi), power=1.0, noise_power=1.0)
        >>> swept = solvers.sequential_sweep(H, G, h, w, phi, noise_power=1.0)
        >>> channels = (link.cell_channel(H, G, h, x) for x in (phi, swept))
        >>> [round(float(solvers.weighted_sum_rate(channel, w, 1.0)), 2) for channel in channels]
        [10.75, 10.84]
    """
    check_cell(H, G, h, phi, w)
    check_users(H, weights)
    check_noise(noise_power)
    G_flat, h_flat = flatten(G, unit_noise(h, 1.0, noise_power))
    xp = namespace(H)
    phi_flat = xp.reshape(phi, (*phi.shape[:-2], phi.shape[-2] * phi.shape[-1]))
    H_scaled = unit_noise(H, 1.0, noise_power)
    products = radio.beam_products(channel_of(H_scaled, G_flat, h_flat, phi_flat), w)
    swept = _sequential_sweep(products, h_flat, _beams_at_irs(G_flat, w), phi_flat, *_receivers(products, weights))
    return xp.reshape(swept, phi.shape)


# --- shared with alternating.py: elements on one axis, channels scaled to Pmax = sigma^2 = 1 ----------------


def _beams_at_irs(G: Array, w: Array) -> Array:
    """Amplitude of each beam at each element: ``(..., S, K)``."""
    return radio.beam_products(G, w)


def _parallel_sweep(
    products: Array,
    h: Array,
    energy: Array,
    beams: Array,
    phi: Array,
    gain: Array,
    cost: Array,
    damping: Array | float,
) -> Array:
    """Jacobi sweep; ``energy`` is ``|h|^2``, ``beams`` of :func:`_beams_at_irs`, the next two of the receivers."""
    field, curvature = _field_and_curvature(products, h, energy, beams, gain, cost)
    return unit_phase(field + (damping * curvature) * phi)


def _field_and_curvature(
    products: Array,
    h: Array,
    energy: Array,
    beams: Array,
    gain: Array,
    cost: Array,
    interference: Array | float = 1.0,
) -> tuple[Array, Array]:
    """What drives the elements: ``field (..., S)`` complex and ``Q_ee (..., S)`` real; arguments as for the sweep.

    The field is the exact gradient of the weighted sum rate by the conjugate of phi. ``interference`` scales the part
    of it that lowers interference, which beams yet to be updated could do as well.
    """
    xp = namespace(h)
    num_users = h.shape[-2]
    eye = xp.eye(num_users, dtype=h.dtype, device=getattr(h, "device", None))
    coupling = cost[..., :, None] * products
    if not (isinstance(interference, float) and interference == 1.0):
        coupling = coupling * (interference + (1.0 - interference) * xp.real(eye))
    # users' sums may be of double precision, what runs over the elements is of that of their channels
    residual = xp.astype(eye * gain[..., None, :] - coupling, h.dtype, copy=False)
    cost = xp.astype(cost, energy.dtype, copy=False)
    # conj(h) and conj(beams) are never formed: both are large, the sum over users is not
    field = xp.conj(xp.sum(h * (xp.conj(residual) @ xp.matrix_transpose(beams)), axis=-2))
    return field, (cost[..., None, :] @ energy)[..., 0, :] * xp.vecdot(beams, beams).real


def _sequential_sweep(products: Array, h: Array, beams: Array, phi: Array, gain: Array, cost: Array) -> Array:
    """Gauss-Seidel sweep on the products weighted by sqrt(cost), whose squared sum is the quadratic form.

    The batch stands on the last axis, so that each of the many small steps runs over contiguous memory.
    """
    xp = namespace(h)
    num_users, num_elements = h.shape[-2:]
    batch = math.prod(phi.shape[:-1])
    own = xp.conj(xp.sum(xp.conj(gain)[..., :, None] * h * xp.matrix_transpose(beams), axis=-2))
    curvature = xp.sum(cost[..., :, None] * radio.abs2(h), axis=-2) * xp.sum(radio.abs2(beams), axis=-1)
    root = xp.sqrt(cost)[..., :, None]
    own, curvature, shifts = (_batch_last(x, (batch, num_elements)) for x in (own, curvature, phi))
    state = _batch_last(root * products, (batch, num_users * num_users))
    to_user = _batch_last(xp.matrix_transpose(root * h), (batch, num_elements, num_users))
    from_bs = _batch_last(beams, (batch, num_elements, num_users))
    block = max(1, ATOM_BUDGET // max(1, num_users * num_users * batch))
    updated = []
    for first in range(0, num_elements, block):
        users, bs = to_user[first : first + block], from_bs[first : first + block]
        atoms = xp.reshape(users[:, :, None, :] * bs[:, None, :, :], (users.shape[0], num_users * num_users, batch))
        mirrored = xp.conj(atoms)
        for e in range(atoms.shape[0]):
            old = shifts[first + e]
            field = own[first + e] - xp.sum(mirrored[e] * state, axis=0)
            new = unit_phase(field + curvature[first + e] * old)
            state = state + (new - old) * atoms[e]
            updated.append(new)
    if not updated:
        return phi
    return xp.reshape(xp.matrix_transpose(xp.stack(updated, axis=0)), phi.shape)


def _batch_last(x: Array, shape: tuple[int, ...]) -> Array:
    """Reshape to ``shape`` (batch first) and move the batch to the end, contiguous."""
    xp = namespace(x)
    moved = xp.moveaxis(xp.reshape(x, shape), 0, -1)
    return xp.reshape(xp.reshape(moved, (-1,)), moved.shape)
