"""Learned unfolding of alternating optimisation: a few layers of the solvers' own steps with trained scalars.

Alternating optimisation converges slowly where a step undoes part of the one before: phases turn for beams that are
about to change, and users that should go without power lose it by a constant factor per step. Here every layer still
is one rescaled WMMSE step and one phase update of all elements at once, but how far each goes is learned, by the exact
gradient through the sum rate (``examples/analytic_gradient.py``). The scalars are the same for every cell of every
size; at :func:`neutral_coefficients` the layers are plain WMMSE steps and parallel sweeps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irs_marl_env.arrays import namespace
from irs_marl_env.physics import radio
from irs_marl_env.shapes import check_cell, check_powers
from irs_marl_env.solvers._cells import Power, channel_of, flatten, per_cell, unit_phase
from irs_marl_env.solvers.beamforming import _receivers, _wmmse_step, rzf
from irs_marl_env.solvers.phases import _beams_at_irs, _field_and_curvature, align_phases

Array = Any  # a numpy array or a torch tensor

__all__ = ["neutral_coefficients", "unfold"]


def neutral_coefficients(layers: int) -> dict[str, np.ndarray]:
    """Scalars at which :func:`unfold` is RZF on aligned phases, layers of {WMMSE step, parallel sweep}, a WMMSE step.

    Returns:
        ``start (3,)``, ``beams (layers + 1, 2)`` and ``phases (layers, 4)`` float32; 6 layers + 5 scalars.

    Example:
        >>> from irs_marl_env import solvers
        >>> {name: scalars.shape for name, scalars in solvers.neutral_coefficients(layers=2).items()}
        {'start': (3,), 'beams': (3, 2), 'phases': (2, 4)}
    """
    neutral = {"start": np.zeros(3), "beams": np.zeros((layers + 1, 2)), "phases": np.zeros((layers, 4))}
    neutral["phases"][:, :2] = 1.0
    return {name: value.astype(np.float32) for name, value in neutral.items()}


def unfold(
    H: Array, G: Array, h: Array, power: Power, noise_power: float, coefficients: dict[str, Array]
) -> tuple[Array, Array]:
    """Beams and phases by a few layers of {beam update, phase update} with learned scalars, and a last beam update.

    With all powers at Pmax = sigma^2 = 1, ``|x|^2`` the squared norm and the rows of the arrays of scalars called
    ``(a, b, c)``, ``(d, e)`` and ``(i, q, r, s)``:

    - start: phases aligned (:func:`align_phases`) with user weights ``|H_k|^(2 a)``; beams :func:`rzf` with powers
      ``|h_k|^(2 b)`` on the effective channel h and the regulariser ``exp(c)``;
    - beams: with v a rescaled WMMSE step from w, ``w_k <- (|v_k|^2 / |w_k|^2)^d v_k + e (v_k - w_k)``, then scaled to
      Pmax: users that gain or lose power do so faster;
    - phases: ``phi <- unit(field + (q Q_ee + r mean Q_ee + s mean |field|) phi)``, where the part of the field that
      lowers interference (:mod:`irs_marl_env.solvers.phases`) counts ``i`` times.

    Args:
        H: ``(..., K, Nb)`` BS-user row channels; rows of absent users are zero.
        G: ``(..., L, N, Nb)`` BS-IRS channels; L may be 0.
        h: ``(..., L, K, N)`` IRS-user row channels, zero for IRSs the cell does not own.
        power: Pmax, W; one number, or one per cell, an array that fits to the axes ``(...)``.
        noise_power: sigma^2, W.
        coefficients: as from :func:`neutral_coefficients`, of the type of the channels; their number of layers counts.

    Returns:
        ``w (..., K, Nb)`` at full power and ``phi (..., L, N)``. Not monotone.

    Example:
        Two layers with scalars that were not learned:

        >>> import numpy as np
        >>> from irs_marl_env import link, solvers
        >>> rng = np.random.default_rng(0)
        >>> H, G, h = (rng.normal(size=(*s, 2)) @ [1, 1j] for s in ((2, 4), (1, 8, 4), (1, 2, 8)))
        >>> scalars = solvers.neutral_coefficients(layers=2)
        >>> w, phi = solvers.unfold(H, G, h, power=1.0, noise_power=1.0, coefficients=scalars)
        >>> round(float(solvers.weighted_sum_rate(link.cell_channel(H, G, h, phi), w, 1.0)), 2)
        13.01
    """
    check_cell(H, G, h)
    check_powers(power, noise_power, H.shape[:-2])
    xp = namespace(H)
    start, beams, phases = (coefficients[name] for name in ("start", "beams", "phases"))
    root_snr = (power / noise_power) ** 0.5
    H_scaled = H * per_cell(root_snr, H, 2)
    G_flat, h_flat = flatten(G, h * per_cell(root_snr, h, 3))
    energy = radio.abs2(h_flat)
    aligned = align_phases(H, G, h, _strength(H_scaled, start[0]))
    phi = xp.reshape(aligned, (*aligned.shape[:-2], h_flat.shape[-1]))
    channel = channel_of(H_scaled, G_flat, h_flat, phi)
    w = rzf(channel, 1.0, 1.0, _strength(channel, start[1]), xp.exp(start[2]))
    for layer in range(phases.shape[0]):
        w = _beam_update(channel, w, beams[layer])
        if G.shape[-3] > 0:
            phi = _phase_update(channel, G_flat, h_flat, energy, w, phi, phases[layer])
            channel = channel_of(H_scaled, G_flat, h_flat, phi)
    w = _beam_update(channel, w, beams[-1])
    return w * per_cell(power**0.5, w, 2), xp.reshape(phi, aligned.shape)


def _strength(channel: Array, exponent: Array) -> Array:
    """``|channel_k|^(2 exponent)`` relative to the strongest user, zero for absent ones: ``(..., K)``."""
    xp = namespace(channel)
    gain = xp.vecdot(channel, channel).real
    present = gain > 0
    strength = xp.where(present, gain, xp.ones_like(gain)) ** exponent
    strength = xp.where(present, strength, xp.zeros_like(strength))
    largest = xp.max(strength, axis=-1, keepdims=True)
    return strength / xp.where(largest > 0, largest, xp.ones_like(largest))


def _phase_update(channel: Array, G: Array, h: Array, energy: Array, w: Array, phi: Array, scalars: Array) -> Array:
    xp = namespace(channel)
    products = radio.beam_products(channel, w)
    receivers = _receivers(products, None)
    reached = energy, _beams_at_irs(G, w)
    field, curvature = _field_and_curvature(products, h, *reached, *receivers, interference=scalars[0])
    curvature_mean, field_mean = (xp.mean(x, axis=-1, keepdims=True) for x in (curvature, xp.abs(field)))
    inertia = scalars[1] * curvature + (scalars[2] * curvature_mean + scalars[3] * field_mean)
    return unit_phase(field + inertia * phi)


def _beam_update(channel: Array, w: Array, scalars: Array) -> Array:
    xp = namespace(channel)
    step = _wmmse_step(channel, radio.beam_products(channel, w), None)
    floor = 1e-6  # of Pmax: a user without power stays without
    old, new = (xp.vecdot(x, x).real + floor for x in (w, step))
    faster = ((new / old) ** scalars[0] + scalars[1])[..., None]
    return radio.project_power(faster * step - scalars[1] * w, 1.0, "sphere")
