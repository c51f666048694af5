"""Joint beamforming and phase shifts of one cell by alternating optimisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irs_marl_env.arrays import namespace
from irs_marl_env.checks import check_whole, shown
from irs_marl_env.physics import radio
from irs_marl_env.shapes import check_cell, check_powers, check_users
from irs_marl_env.sizes import MOST_ITERATIONS
from irs_marl_env.solvers._cells import (
    Power,
    channel_of,
    choose,
    flatten,
    per_cell,
    present_users,
    take_rows,
    unit_phase,
    weighted_sum,
)
from irs_marl_env.solvers.beamforming import _receivers, _wmmse_step, rzf
from irs_marl_env.solvers.phases import (
    _beams_at_irs,
    _field_and_curvature,
    _parallel_sweep,
    _sequential_sweep,
    align_phases,
)

Array = Any  # a numpy array or a torch tensor

__all__ = ["alternating_optimization", "refine"]

INITS = ("aligned", "random")
SWEEPS = ("sequential", "parallel")


def refine(
    H: Array,
    G: Array,
    h: Array,
    w: Array,
    phi: Array,
    power: Power,
    noise_power: float,
    weights: Array | None = None,
    sweeps: int = 2,
) -> tuple[Array, Array]:
    """A few rounds of {two WMMSE steps; one parallel phase sweep}: cheap, batched and differentiable.

    A WMMSE step costs far less than a sweep, which touches every element; two of them per sweep and one at
    the end halve the distance to the limit (``benchmarks/solvers.py``). Not monotone: a parallel sweep may
    overshoot (:func:`alternating_optimization` ascends).

    Args:
        H: ``(..., K, Nb)`` BS-user row channels; its precision, which may be above that of ``G`` and ``h``, is that of
            all that runs over users and antennas.
        G: ``(..., L, N, Nb)`` BS-IRS channels.
        h: ``(..., L, K, N)`` IRS-user row channels, zero for IRSs the cell does not own.
        w: ``(..., K, Nb)`` beamformers to start from, sqrt(W), in the precision of ``H``.
        phi: ``(..., L, N)`` phase shifts to start from.
        power: Pmax, W; one number, or one per cell, an array that fits to the axes ``(...)``.
        noise_power: sigma^2, W.
        weights: ``(..., K)`` weights of the users in the sum rate; ``None`` is one.
        sweeps: number of rounds; 0 returns ``w`` and ``phi`` as they are.

    Returns:
        ``w (..., K, Nb)`` at full power (all-zero beams stay zero) and ``phi (..., L, N)``.

    Example:
        Two rounds from aligned phases, for two users of an IRS of eight elements:

        >>> import numpy as np
        >>> from irs_marl_env import link, solvers
        >>> rng = np.random.default_rng(0)
        >>> H, G, h = (rng.normal(size=(*s, 2)) @ [1, 1j] for s in ((2, 4), (1, 8, 4), (1, 2, 8)))
        >>> phi = solvers.align_phases(H, G, h)
        >>> w = solvers.rzf(link.cell_channel(H, G, h, phi), power=1.0, noise_power=1.0)
        >>> refined = solvers.refine(H, G, h, w, phi, power=1.0, noise_power=1.0)
        >>> for w, phi in ((w, phi), refined):
        ...     h_eff = link.cell_channel(H, G, h, phi)
        ...     print(round(float(solvers.weighted_sum_rate(h_eff, w, noise_power=1.0)), 2))
        13.0
        13.01
    """
    check_cell(H, G, h, phi, w)
    check_powers(power, noise_power, H.shape[:-2])
    if sweeps == 0:
        return w, phi
    xp = namespace(H)
    root_snr = (power / noise_power) ** 0.5
    G_flat, h_flat = flatten(G, h * per_cell(root_snr, h, 3))
    shifts = xp.reshape(phi, (*phi.shape[:-2], h_flat.shape[-1]))
    H_scaled, energy = H * per_cell(root_snr, H, 2), radio.abs2(h_flat)
    beams = radio.project_power(w, 1.0, "sphere")
    channel = channel_of(H_scaled, G_flat, h_flat, shifts)
    for _ in range(sweeps):
        for _ in range(2):
            beams = _wmmse_step(channel, radio.beam_products(channel, beams), weights)
        if G.shape[-3] == 0:
            continue
        products = radio.beam_products(channel, beams)
        at_irs = _beams_at_irs(G_flat, xp.astype(beams, G_flat.dtype, copy=False))
        receivers = _receivers(products, weights)
        shifts = _parallel_sweep(products, h_flat, energy, at_irs, shifts, *receivers, 1.0)
        channel = channel_of(H_scaled, G_flat, h_flat, shifts)
    beams = _wmmse_step(channel, radio.beam_products(channel, beams), weights)
    return beams * per_cell(power**0.5, beams, 2), xp.reshape(shifts, phi.shape)


def alternating_optimization(
    H: Array,
    G: Array,
    h: Array,
    power: Power,
    noise_power: float,
    weights: Array | None = None,
    iterations: int = 30,
    phi_init: Array | None = None,
    seed: int = 0,
    starts: int = 1,
    tolerance: float | None = None,
    init: str = "aligned",
    sweep: str = "parallel",
    leaps: bool | None = None,
) -> tuple[Array, Array, Array]:
    """Maximise the weighted sum rate of one cell over beamformers and phase shifts.

    Every iteration is one WMMSE step (:func:`wmmse_step`: Christensen et al. 2008, Shi et al. 2011) and one
    phase sweep: ``"sequential"`` (:func:`sequential_sweep`: element-wise, Guo et al. 2020) or ``"parallel"``
    (:func:`parallel_sweep`: all elements at once, damped by majorisation, Sun et al. 2017). A parallel sweep
    that lowers the rate is dropped and the next one damped more, until its ascent is certain.

    A sweep holds beams and receivers, so the phases it finds stay the closer to those before the higher the SNR
    is, and from phases that are far from good it all but stands still. With ``leaps`` a second ascent from the same
    start also tries, in every iteration, a long way along the gradient of the phases, with beams made anew for it,
    and takes it if the rate rises; the better of the two ascents is kept.

    Args:
        H: ``(..., K, Nb)`` BS-user row channels; rows of absent users are zero.
        G: ``(..., L, N, Nb)`` BS-IRS channels; L may be 0.
        h: ``(..., L, K, N)`` IRS-user row channels, zero for IRSs the cell does not own.
        power: Pmax, W; one number, or one per cell, an array that fits to the axes ``(...)``.
        noise_power: sigma^2, W.
        weights: ``(..., K)`` weights of the users in the sum rate, not negative; ``None`` is one.
        iterations: number of iterations at most.
        phi_init: ``(..., L, N)`` phase shifts of the first start; ``None`` lets ``init`` decide.
        seed: of the random phases, which are the same for every cell of the batch.
        starts: number of starts; those after the first have random phases and the best of each cell is kept.
        tolerance: a cell rests once an iteration raised its rate by no more than this share; ``None`` never.
        init: the first start, ``"aligned"`` (:func:`align_phases`) or ``"random"``.
        sweep: ``"sequential"`` or ``"parallel"``.
        leaps: whether there is an ascent with leaps, for about three times the time; ``None``: from all starts but the
            aligned one.

    Returns:
        ``w (..., K, Nb)`` at full power, ``phi (..., L, N)`` with ``|phi| = 1`` and ``history (...,
        iterations + 1)``, the weighted sum rate [bit/s/Hz] at the start and after each iteration. Invariant:
        the history never decreases, and its last entry is the rate of the answer. A cell's answer does not
        depend on the others in the batch (up to rounding).

    Raises:
        ValueError: unknown ``init`` or ``sweep``, counts out of range, shapes that do not fit, or powers that are none.

    Example:
        Rates from two starts, and what nothing can exceed:

        >>> import numpy as np
        >>> from irs_marl_env import solvers
        >>> rng = np.random.default_rng(0)
        >>> H, G, h = (rng.normal(size=(*s, 2)) @ [1, 1j] for s in ((2, 4), (1, 8, 4), (1, 2, 8)))
        >>> for init in ("random", "aligned"):
        ...     w, phi, history = solvers.alternating_optimization(H, G, h, 1.0, 1.0, init=init)
        ...     print(history[[0, 1, 10, -1]].round(2).tolist())
        [9.37, 9.51, 12.46, 12.92]
        [13.0, 13.0, 13.07, 13.16]
        >>> float(solvers.upper_bound(H, G, h, power=1.0, noise_power=1.0).round(2))
        14.29
    """
    for name, value, allowed in (("init", init, INITS), ("sweep", sweep, SWEEPS)):
        if value not in allowed:
            raise ValueError(f"{name}={shown(value)} is not one of {', '.join(map(repr, allowed))}")
    check_cell(H, G, h, phi_init, same_batch=True)
    check_users(H, weights)
    check_powers(power, noise_power, H.shape[:-2])
    check_whole("iterations", iterations, 0, MOST_ITERATIONS)
    check_whole("starts", starts, 1, MOST_ITERATIONS)
    check_whole("seed", seed, 0)
    xp = namespace(H)
    root_snr = (power / noise_power) ** 0.5
    candidates = _starting_phases(H, G, h, weights, phi_init, init, starts, seed)
    batch = math.prod(H.shape[:-2])
    scaled = H * per_cell(root_snr, H, 2), *flatten(G, h * per_cell(root_snr, h, 3))
    H_flat, G_flat, h_flat = (xp.reshape(x, (batch, *x.shape[-2:])) for x in scaled)
    if weights is not None:
        weights = xp.reshape(xp.broadcast_to(weights, H.shape[:-1]), H_flat.shape[:-1])
    users, slots = present_users(H_flat, h_flat)
    H_flat, h_flat = take_rows(H_flat, users), take_rows(h_flat, users)
    if weights is not None:
        weights = xp.take_along_axis(weights, users, axis=-1)
    best: Any = None
    aligned = phi_init is None and init == "aligned"
    for index, phi in enumerate(candidates):
        start = xp.reshape(phi, (batch, h_flat.shape[-1]))
        leaping = not (aligned and index == 0) if leaps is None else leaps
        for leap in (False, True) if leaping else (False,):
            answer = _ascend(H_flat, G_flat, h_flat, start, weights, iterations, sweep, tolerance, leap)
            if best is None:
                best = answer
            else:
                improves = answer[2][:, -1] > best[2][:, -1]
                best = tuple(choose(improves, new, old) for new, old in zip(answer, best, strict=True))
    w, phi, history = best
    padding = xp.zeros_like(w[:, :1, :])
    w = xp.reshape(take_rows(xp.concat([w, padding], axis=-2), slots), H.shape)
    lead = H.shape[:-2]
    return (
        w * per_cell(power**0.5, w, 2),
        xp.reshape(phi, (*lead, *G.shape[-3:-1])),
        xp.reshape(history, (*lead, iterations + 1)),
    )


def _ascend(
    H: Array,
    G: Array,
    h: Array,
    phi: Array,
    weights: Array | None,
    iterations: int,
    sweep: str,
    tolerance: float | None,
    leaping: bool,
) -> tuple[Array, Array, Array]:
    """Alternate from one start on a flat batch of scaled cells; a step that does not help is not taken."""
    xp = namespace(H)
    energy = radio.abs2(h)
    channel = channel_of(H, G, h, phi)
    w = rzf(channel, 1.0, 1.0)
    products = radio.beam_products(channel, w)
    rate = _rate(products, weights)
    working = xp.ones_like(rate, dtype=xp.bool)
    damping, resistance = xp.ones_like(rate), xp.zeros_like(rate)
    history = [rate]
    for _ in range(iterations):
        before = rate
        new_w = _wmmse_step(channel, products, weights)
        new_products = radio.beam_products(channel, new_w)
        new_rate = _rate(new_products, weights)
        taken = working & (new_rate >= rate)
        w, products, rate = (
            choose(taken, new, old) for new, old in ((new_w, w), (new_products, products), (new_rate, rate))
        )
        if phi.shape[-1] > 0:
            operands = (_beams_at_irs(G, w), phi, *_receivers(products, weights))
            if sweep == "parallel":
                new_phi = _parallel_sweep(products, h, energy, *operands, damping[:, None])
            else:
                new_phi = _sequential_sweep(products, h, *operands)
            new_channel = channel_of(H, G, h, new_phi)
            new_products = radio.beam_products(new_channel, w)
            new_rate = _rate(new_products, weights)
            taken = working & (new_rate >= rate)
            # S Q_ee majorises Q, so at that damping the sweep is certain to ascend
            damping = xp.where(taken, damping * 0.8, damping * 4.0)
            damping = xp.clip(damping, 1.0, float(phi.shape[-1]))
            phi, channel, products, rate = (
                choose(taken, new, old)
                for new, old in (
                    (new_phi, phi),
                    (new_channel, channel),
                    (new_products, products),
                    (new_rate, rate),
                )
            )
        if leaping and phi.shape[-1] > 0:
            new = _leap(H, G, h, energy, phi, w, products, weights, resistance)
            taken = working & (new[-1] > rate)
            resistance = xp.where(taken, resistance * 0.5, xp.clip(resistance * 4.0, 0.1, 1e6))
            phi, channel, w, products, rate = (
                choose(taken, *pair) for pair in zip(new, (phi, channel, w, products, rate), strict=True)
            )
        history.append(rate)
        if tolerance is not None:
            working = working & (rate - before > tolerance * before)
            if not bool(xp.any(working)):
                break
    history += [rate] * (iterations + 1 - len(history))
    return w, phi, xp.stack(history, axis=-1)


def _leap(
    H: Array,
    G: Array,
    h: Array,
    energy: Array,
    phi: Array,
    w: Array,
    products: Array,
    weights: Array | None,
    resistance: Array,
) -> tuple[Array, ...]:
    """Phases along the gradient, and regularised zero-forcing of the users' present powers on the channel they make.

    With the beams held a new phase brings interference that new beams would take away, so the two move together. A
    ``resistance (B,)`` of zero goes all the way: one user's received power, convex in the phases, rises by it for sure.

    Returns:
        phi, the channel, w, the products and the rate, which may be lower than before.
    """
    xp = namespace(h)
    field, _ = _field_and_curvature(products, h, energy, _beams_at_irs(G, w), *_receivers(products, weights))
    hold = resistance * xp.mean(xp.abs(field), axis=-1)
    new_phi = unit_phase(field + hold[:, None] * phi)
    channel = channel_of(H, G, h, new_phi)
    new_w = rzf(channel, 1.0, 1.0, xp.sum(radio.abs2(w), axis=-1))
    new_products = radio.beam_products(channel, new_w)
    return new_phi, channel, new_w, new_products, _rate(new_products, weights)


def _rate(products: Array, weights: Array | None) -> Array:
    signal, interference = radio.received_power(products)
    return weighted_sum(radio.rates(signal / (interference + 1.0)), weights)


def _starting_phases(
    H: Array,
    G: Array,
    h: Array,
    weights: Array | None,
    phi_init: Array | None,
    init: str,
    starts: int,
    seed: int,
) -> list[Array]:
    """Phase shifts ``(..., L, N)`` to start from; random ones are one draw shared by all cells."""
    xp = namespace(H)
    shape = (*H.shape[:-2], *G.shape[-3:-1])
    candidates = []
    if phi_init is not None:
        candidates.append(xp.broadcast_to(phi_init, shape))
    elif init == "aligned":
        candidates.append(align_phases(H, G, h, weights))
    rng = np.random.default_rng(seed)
    real = xp.real(H)
    while len(candidates) < starts:
        theta = rng.uniform(-np.pi, np.pi, G.shape[-3:-1])
        drawn = xp.asarray(theta, dtype=real.dtype, device=getattr(H, "device", None))
        candidates.append(xp.broadcast_to(radio.phase_shifts(drawn), shape))
    return candidates
