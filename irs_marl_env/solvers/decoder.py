"""Structured actions -> beamformers and phases, by the solvers' own closed forms.

Learning beamformers and phases entry by entry fails on channels that change; what a policy has to decide is which
IRSs to bid for, whom they should serve and how power is shared. The rest is known in closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from irs_marl_env.arrays import namespace
from irs_marl_env.physics import radio
from irs_marl_env.shapes import check_powers
from irs_marl_env.solvers._cells import Power
from irs_marl_env.solvers.alternating import refine
from irs_marl_env.solvers.beamforming import _rzf, wmmse_step
from irs_marl_env.solvers.phases import align_phases

Array = Any


def decode_structured(
    named: dict[str, Array],
    H: Array,
    G: Array,
    h: Array,
    power: Power,
    noise_power: float,
    sweeps: int,
    coefficients: Callable[[Array], Array] | None = None,
) -> tuple[Array, Array]:
    """Beamformers and phases of a batch of cells.

    Weighted coherent alignment of the phases with the focus weights, regularised zero-forcing with the user powers
    and the regulariser on the resulting channel, then ``sweeps`` rounds of {WMMSE step, parallel phase sweep}.

    What runs over the elements is computed in the precision of the channels, what runs over users and antennas in
    double precision: with more users than antennas, or users in one direction, the systems of equations are badly
    conditioned, and single precision would leave other beams to every order of the same sums.

    Args:
        named: of :class:`irs_marl_env.spaces.actions.StructuredActionCodec`, leading axes ``...``.
        H: ``(..., K, Nb)``, zero for users of other cells.
        G: ``(..., L, N, Nb)``.
        h: ``(..., L, K, N)``, zero for IRSs the BS may not use and users of other cells.
        power: Pmax, W; one number, or one per cell, an array that fits to the axes ``(...)``.
        noise_power: sigma^2, W.
        sweeps: rounds of refinement; with 0 the policy's powers are final.
        coefficients: what elements do to a wave by their phases ``theta (..., L, N)``, where that is not ``exp(j
            theta)``. The phases are chosen as if it were; the beams that are returned are made for the channel that
            comes of them, by regularised zero-forcing, or with sweeps by one more WMMSE step.

    Returns:
        ``w (..., K, Nb)`` sqrt(W) and ``phi (..., L, N)``.

    Example:
        A neutral action: all users and IRSs alike.

        >>> import numpy as np
        >>> from irs_marl_env import link, solvers
        >>> rng = np.random.default_rng(0)
        >>> H, G, h = (rng.normal(size=(*s, 2)) @ [1, 1j] for s in ((2, 4), (1, 8, 4), (1, 2, 8)))
        >>> neutral = {"focus": np.ones((1, 2)), "powers": np.ones(2), "regularizer": np.ones(())}
        >>> w, phi = solvers.decode_structured(neutral, H, G, h, power=1.0, noise_power=1.0, sweeps=2)
        >>> round(float(link.transmit_power(w)), 6), abs(phi).round(6).tolist()
        (1.0, [[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]])
        >>> round(float(solvers.weighted_sum_rate(link.cell_channel(H, G, h, phi), w, 1.0)), 2)
        13.01
    """
    check_powers(power, noise_power, H.shape[:-2])
    phi = align_phases(H, G, h, named["focus"])
    xp = namespace(H)
    precise = xp.astype(H, xp.complex128)
    first = coefficients(_angle(phi)) if coefficients is not None and sweeps == 0 else phi
    h_eff = radio.cell_channel(precise, G, h, first)
    w = _rzf(h_eff, power, noise_power, named["powers"], named["regularizer"], xp.finfo(H.dtype).eps)
    w, phi = refine(precise, G, h, w, phi, power, noise_power, sweeps=sweeps)
    if coefficients is not None and sweeps > 0:
        h_eff = radio.cell_channel(precise, G, h, coefficients(_angle(phi)))
        w = wmmse_step(h_eff, w, power, noise_power)
    return xp.astype(w, H.dtype), phi


def _angle(phi: Array) -> Array:
    return namespace(phi).atan2(phi.imag, phi.real)
