"""What the solvers share: one layout of a cell, with all elements on one axis and Pmax = sigma^2 = 1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irs_marl_env.arrays import constant_like, namespace
from irs_marl_env.physics import radio

Array = Any  # a numpy array or a torch tensor
Power = Any  # a number, or an array of them


def unit_noise(channel: Array, power: Power, noise_power: float) -> Array:
    """Scale a channel ``(..., K, Nb)`` so that power and noise are one; keeps every later quantity near one."""
    return channel * per_cell((power / noise_power) ** 0.5, channel, 2)


def per_cell(x: Power, channel: Array, axes: int) -> Any:
    """Numbers of cells ``(...)`` with so many axes appended, in the real type of a channel; one number as it is."""
    if not getattr(x, "ndim", 0):
        return x
    x = constant_like(x, channel) if isinstance(x, np.ndarray) else namespace(x).astype(x, channel.real.dtype)
    return x.reshape(*x.shape, *(1,) * axes)


def flatten(G: Array, h: Array) -> tuple[Array, Array]:
    """Put the elements of all IRSs on one axis of length S = L N: G ``(..., S, Nb)``, h ``(..., K, S)``."""
    xp = namespace(h)
    *lead, num_irs, num_users, num_elements = h.shape
    size = num_irs * num_elements
    G_flat = xp.reshape(G, (*lead, size, G.shape[-1]))
    return G_flat, xp.reshape(xp.moveaxis(h, -3, -2), (*lead, num_users, size))


def channel_of(H: Array, G: Array, h: Array, phi: Array) -> Array:
    """:func:`irs_marl_env.physics.radio.cell_channel` in the layout of :func:`flatten`, as if of a single IRS."""
    return radio.cell_channel(H, G[..., None, :, :], h[..., None, :, :], phi[..., None, :])


def eye_like(square: Array) -> Array:
    """Identity of the size, type and device of ``(..., D, D)``."""
    xp = namespace(square)
    return xp.eye(square.shape[-1], dtype=square.dtype, device=getattr(square, "device", None))


def unit_phase(x: Array) -> Array:
    """``x / |x|``, and one where x is zero or below the normal numbers; free of NaN in value and gradient."""
    xp = namespace(x)
    size = xp.abs(x)  # a hypotenuse: does not underflow where the square would
    lost = size < xp.finfo(size.dtype).tiny  # too few digits for a phase, and the inverse would overflow
    x = xp.where(lost, xp.ones_like(x), x)
    return x * (1.0 / xp.abs(x))


def weighted_sum(x: Array, weights: Array | None) -> Array:
    """``sum_k weights[k] x[k]``; ``None`` is the plain sum."""
    return namespace(x).sum(x if weights is None else x * weights, axis=-1)


# --- batches of cells with different numbers of users ---------------------------------------------------------


def present_users(H: Array, h: Array) -> tuple[Array, Array]:
    """Order that puts the users of each cell first, cut to the largest cell, and the way back.

    Args:
        H: ``(B, K, Nb)`` and
        h: ``(B, K, S)``, zero rows for absent users.

    Returns:
        ``users (B, K')`` indices into the K users, and ``slots (B, K)`` indices into the K' kept ones, with
        K' itself for a user left out.
    """
    xp = namespace(H)
    present = xp.any(H != 0, axis=-1) | xp.any(h != 0, axis=-1)
    counts = xp.sum(xp.astype(present, xp.int64), axis=-1)
    kept = max(1, int(xp.max(counts))) if math.prod(counts.shape) else 1
    users = xp.argsort(xp.astype(~present, xp.int64), axis=-1, stable=True)
    slots = xp.argsort(users, axis=-1)
    return users[:, :kept], xp.where(slots < kept, slots, kept)


def take_rows(x: Array, users: Array) -> Array:
    """Rows ``users (B, K')`` of ``x (B, K, D)``: ``(B, K', D)``."""
    return namespace(x).take_along_axis(x, users[..., None], axis=-2)


def choose(condition: Array, x: Array, y: Array) -> Array:
    """``where`` by batch element, ``condition (B,)``, whatever the number of the other axes."""
    xp = namespace(x)
    return xp.where(xp.reshape(condition, condition.shape + (1,) * (x.ndim - 1)), x, y)
