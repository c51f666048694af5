"""Users: their walks, and what positions decide (cells, path loss)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from irs_marl_env.engine.compilation import kernel
from irs_marl_env.engine.kernels.random_numbers import bits_at
from irs_marl_env.engine.kernels.types import F32, F64, I64, U64, Bits, Float, Int

_TWO_PI = 2.0 * math.pi


@njit(inline="always")
def _uniform(index: Bits, key0: Bits, key1: Bits) -> Float:
    """``philox.to_uniform`` of the random bits at an index."""
    return np.float64(bits_at(index, key0, key1) >> np.uint64(11)) * 2.0**-53


@njit(inline="always")
def _fold(x: Float, origin: Float, side: Float) -> Float:
    """``mobility._fold`` of one coordinate."""
    return origin + (side - abs(side - (x - origin) % (2.0 * side)))


@kernel()
def walk(
    keys: U64,
    index: U64,
    point: F64,
    target: F64,
    travel: F64,
    num_centres: Int,
    origin: F64,
    area: F64,
    radius: Float,
    speed: Float,
    new_point: F64,
    new_target: F64,
    new_travel: F64,
    member: I64,
    position: F64,
) -> None:
    """``mobility._walk`` with the targets of ``mobility._group_points`` (centres in the area, members in a disc), and
    ``mobility._group_position`` of the points.

    A point that arrives reads its three numbers of this slot; those of the others are passed over unread.

    Args:
        keys: ``(E, 2)`` Philox keys of the cause "mobility".
        index: ``(E,)``, moved on by 3 P numbers.
        point, target: ``(E, P, 2)`` m.
        travel: ``(E, P)`` m per slot.
        num_centres: points before this one have targets in the area, all others in the disc.
        origin: ``(2,)`` m, corner of the area.
        area: ``(2,)`` m, its sides.
        radius: of the disc [m].
        speed: nominal, m per slot.
        new_point, new_target, new_travel: of the next slot, overwritten.
        member: ``(K,)`` centre of each user; empty where the points are the users.
        position: ``(E, K, 2)`` m, overwritten where there are members.
    """
    num_envs, num_points = travel.shape
    for e in range(num_envs):
        for p in range(num_points):
            x, y, far = point[e, p, 0], point[e, p, 1], travel[e, p]
            to_x, to_y = target[e, p, 0] - x, target[e, p, 1] - y
            distance2 = to_x * to_x + to_y * to_y
            if distance2 > far * far:
                share = far / math.sqrt(distance2)
                new_point[e, p, 0], new_point[e, p, 1] = x + share * to_x, y + share * to_y
                new_target[e, p, 0], new_target[e, p, 1] = target[e, p, 0], target[e, p, 1]
                new_travel[e, p] = far
                continue
            new_point[e, p, 0], new_point[e, p, 1] = x + to_x, y + to_y
            first = index[e] + np.uint64(3 * p)
            u = _uniform(first, keys[e, 0], keys[e, 1])
            v = _uniform(first + np.uint64(1), keys[e, 0], keys[e, 1])
            if p < num_centres:
                new_target[e, p, 0], new_target[e, p, 1] = origin[0] + u * area[0], origin[1] + v * area[1]
            else:
                away = radius * math.sqrt(u)
                new_target[e, p, 0] = away * math.sin(_TWO_PI * (v + 0.25))
                new_target[e, p, 1] = away * math.sin(_TWO_PI * v)
            new_travel[e, p] = speed * (0.5 + _uniform(first + np.uint64(2), keys[e, 0], keys[e, 1]))
        index[e] += np.uint64(3 * num_points)
        for k in range(len(member)):
            for i in range(2):
                around = new_point[e, member[k], i] + new_point[e, num_centres + k, i]
                position[e, k, i] = _fold(around, origin[i], area[i])


@kernel(error_model="numpy")
def large_scale(position: F64, site: F64, unit: F32, slope: F32, cell: I64, own_user: F32, amplitude: F32) -> None:
    """``channel.ChannelModel._cells_and_amplitudes``.

    Args:
        position: ``(E, K, 2)`` m.
        site: ``(S, 3)`` x, y and squared height above the users, BSs first [m, m^2].
        unit: ``(S,)`` float32 amplitude gain at 1 m.
        slope: ``(S,)`` float32 exponent of the squared distance.
        cell: ``(E, K)`` int64, overwritten.
        own_user: ``(E, M, K)`` float32, overwritten.
        amplitude: ``(E, S, K)`` float32, overwritten.
    """
    num_envs, num_bs, num_users = own_user.shape
    for e in range(num_envs):
        nearest = np.empty(num_users, np.float64)
        for s in range(site.shape[0]):
            for k in range(num_users):
                x, y = position[e, k, 0] - site[s, 0], position[e, k, 1] - site[s, 1]
                distance2 = x * x + y * y + site[s, 2]
                if s == 0 or (s < num_bs and distance2 < nearest[k]):
                    nearest[k], cell[e, k] = distance2, s
                amplitude[e, s, k] = unit[s] * np.float32(max(distance2, 1.0)) ** slope[s]
        for m in range(num_bs):
            for k in range(num_users):
                own_user[e, m, k] = np.float32(cell[e, k] == m)


@kernel()
def owned_gains(
    direct: F32, bs_irs: F32, irs_user: F32, owner: I64, cell: I64, own_direct: F32, own_bs_irs: F32, own_irs_user: F32
) -> None:
    """``slot.Slot.owned_gains``: gains of links that some BS can use, zero for all others.

    Args:
        direct, bs_irs, irs_user: ``(E, M, K)``, ``(E, M, L)``, ``(E, L, K)`` float32.
        owner: ``(E, L)`` int64.
        cell: ``(E, K)`` int64.
        own_direct, own_bs_irs, own_irs_user: the same shapes, overwritten.
    """
    num_envs, num_bs, num_users = direct.shape
    for e in range(num_envs):
        for m in range(num_bs):
            for k in range(num_users):
                own_direct[e, m, k] = direct[e, m, k] if cell[e, k] == m else np.float32(0.0)
            for irs in range(owner.shape[1]):
                own_bs_irs[e, m, irs] = bs_irs[e, m, irs] if owner[e, irs] == m else np.float32(0.0)
        for irs in range(owner.shape[1]):
            for k in range(num_users):
                own_irs_user[e, irs, k] = irs_user[e, irs, k] if owner[e, irs] == cell[e, k] else np.float32(0.0)
