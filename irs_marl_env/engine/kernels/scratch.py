"""Memory that the decoder of structured actions works in, for the largest cell there can be.

S is the number of elements of the cell's IRSs, which stand on one axis. What runs over elements is single precision,
real and imaginary parts apart: a row is S real and S imaginary parts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from irs_marl_env.engine.kernels.types import C128, F32, F64, Int


class ElementScratch(NamedTuple):
    """Memory for what runs over the elements of a cell, float32."""

    G: F32  # (Nb 2 S,) BS to elements, a row per antenna
    h: F32  # (K 2 S,) elements to users, a row per user
    at_irs: F32  # (K 2 S,) amplitude at the elements, a row per beam
    phi: F32  # (2, S)
    field: F32  # (2, S)
    curvature: F32  # (S,)
    path: F32  # (2, S)
    left: F32  # (2, max(K, Nb)) a row that multiplies matrices
    product: F32  # (2, 2 S) what its real and its imaginary parts make of them


class UserScratch(NamedTuple):
    """Memory for what runs over the users and antennas of a cell, complex128 and float64."""

    direct: C128  # (K, Nb) BS to users
    channel: C128  # (K, Nb) with what the IRSs reflect
    gram: C128  # (K, K) of the rows of the channel; not made with more users than antennas
    beams: C128  # (K, Nb)
    products: C128  # (K, K) of channel and beams
    matrix: C128  # (D, D), D = min(K, Nb)
    right: C128  # (D, max(K, Nb))
    gain: C128  # (K,) gains of the receivers
    cost: F64  # (K,) costs of the receivers
    share: F64  # (K,) of the load


@njit
def scratch_memory(num_users: Int, num_antennas: Int, size: Int) -> Any:
    wide, small = max(num_users, num_antennas), min(num_users, num_antennas)
    elements = ElementScratch(
        G=np.empty(2 * num_antennas * size, np.float32),
        h=np.empty(2 * num_users * size, np.float32),
        at_irs=np.empty(2 * num_users * size, np.float32),
        phi=np.empty((2, size), np.float32),
        field=np.empty((2, size), np.float32),
        curvature=np.empty(size, np.float32),
        path=np.empty((2, size), np.float32),
        left=np.empty((2, wide), np.float32),
        product=np.empty((2, 2 * size), np.float32),
    )
    users = UserScratch(
        direct=np.empty((num_users, num_antennas), np.complex128),
        channel=np.empty((num_users, num_antennas), np.complex128),
        gram=np.empty((num_users, num_users), np.complex128),
        beams=np.empty((num_users, num_antennas), np.complex128),
        products=np.empty((num_users, num_users), np.complex128),
        matrix=np.empty((small, small), np.complex128),
        right=np.empty((small, wide), np.complex128),
        gain=np.empty(num_users, np.complex128),
        cost=np.empty(num_users, np.float64),
        share=np.empty(num_users, np.float64),
    )
    return elements, users
