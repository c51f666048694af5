"""What the pure functions of the link and the solvers were given: shapes that fit, powers that are powers.

These functions are called in every slot, so a check is a comparison or two; words are made only where something is
wrong.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from irs_marl_env.checks import refusal

Array = Any


def check_fit(**arrays: tuple[Array, str]) -> None:
    """Refuse arrays whose last axes contradict each other.

    Args:
        **arrays: by name, each with the symbols of its last axes; one symbol is one length. ``None`` is left out.

    Raises:
        ValueError: names the array, its shape, and the shape that it must have beside the others.

    Example:
        >>> check_fit(H=(np.zeros((4, 8)), "K Nb"), w=(np.zeros((3, 4, 8)), "M K Nb"))
        >>> check_fit(H=(np.zeros((4, 8)), "K Nb"), w=(np.zeros((3, 4, 7)), "M K Nb"))
        Traceback (most recent call last):
            ...
        ValueError: w has shape (3, 4, 7): must be (..., M, K, Nb) with K=4, Nb=8 as in H
    """
    lengths: dict[str, tuple[int, str]] = {}  # by symbol, with the array that said so first
    for name, (array, axes) in arrays.items():
        if array is None:
            continue
        symbols = axes.split()
        shape = getattr(array, "shape", None)
        if shape is None:
            raise ValueError(f"{name} is a {type(array).__name__}: must be a numpy array or a torch tensor")
        known = [symbol for symbol in symbols if symbol in lengths]
        last = dict(zip(symbols, shape[len(shape) - len(symbols) :], strict=False))
        if len(shape) < len(symbols) or any(last[symbol] != lengths[symbol][0] for symbol in known):
            expected = f"(..., {', '.join(symbols)})"
            lead = ", ".join(f"{symbol}={lengths[symbol][0]}" for symbol in known)
            source = " and ".join(dict.fromkeys(lengths[symbol][1] for symbol in known))
            fits = f" with {lead} as in {source}" if known else ""
            raise ValueError(f"{name} has shape {tuple(shape)}: must be {expected}{fits}")
        for symbol, length in last.items():
            lengths.setdefault(symbol, (length, name))


def check_cell(H: Array, G: Array, h: Array, phi: Array = None, w: Array = None, same_batch: bool = False) -> None:
    """Refuse channels, phases and beams that are not of one cell.

    Args:
        H, G, h: ``(..., K, Nb)``, ``(..., L, N, Nb)`` and ``(..., L, K, N)``.
        phi, w: ``(..., L, N)`` and ``(..., K, Nb)``, if there are any.
        same_batch: the leading axes have to be equal, too.
    """
    try:
        fits = (
            H.shape[-1] == G.shape[-1]
            and h.shape[-3:] == (G.shape[-3], H.shape[-2], G.shape[-2])
            and (phi is None or phi.shape[-2:] == G.shape[-3:-1])
            and (w is None or w.shape[-2:] == H.shape[-2:])
        )
        numbers = fits and _are_numbers_of_one_kind(H, G, h)
    except (AttributeError, IndexError):
        fits = numbers = False
    if fits and not numbers:
        kinds = ", ".join(f"{type(x).__name__} of {x.dtype}" for x in (H, G, h))
        raise ValueError(f"H, G and h are {kinds}: must be numbers, all in numpy arrays or all in torch tensors")
    if not fits:
        check_fit(H=(H, "K Nb"), G=(G, "L N Nb"), h=(h, "L K N"), phi=(phi, "L N"), w=(w, "K Nb"))
    if same_batch and not H.shape[:-2] == G.shape[:-3] == h.shape[:-3]:
        lead = f"{tuple(H.shape[:-2])}, {tuple(G.shape[:-3])} and {tuple(h.shape[:-3])}"
        raise ValueError(f"H, G and h have leading axes {lead}: must be the same; broadcast them first")


def check_users(channel: Array, weights: Array | None) -> None:
    """Refuse effective channels that are no ``(..., K, Nb)``, and weights of another number of users."""
    if len(getattr(channel, "shape", ())) < 2:
        check_fit(h_eff=(channel, "K Nb"))
    if not _are_numbers_of_one_kind(channel):
        raise ValueError(f"h_eff is an array of {channel.dtype}: must be of numbers")
    if weights is None:
        return
    shape, K = getattr(weights, "shape", ()), channel.shape[-2]
    if not shape or not _is_array(weights):
        raise refusal("weights", weights, f"None or an array of shape (..., K) with K={K}")
    if shape[-1] not in (1, K):
        raise ValueError(f"weights have shape {tuple(shape)}: must be (..., K) with K={K}")
    if not _are_numbers_of_one_kind(channel, weights):
        kinds = f"{type(channel).__name__} and {type(weights).__name__} of {weights.dtype}"
        raise ValueError(f"h_eff and weights are {kinds}: must be numbers of numpy or of torch, both of the same")


def check_powers(power: Any, noise_power: Any, cells: tuple[int, ...] = ()) -> None:
    """Refuse a transmit power or a noise power that is none.

    Args:
        power: one number, or an array of them that fits to the leading axes of the channels.
        noise_power: one number.
        cells: the leading axes of the channels.

    Raises:
        ValueError: names it, its value and what is allowed.
    """
    check_noise(noise_power)
    shape, cells = tuple(getattr(power, "shape", ())), tuple(cells)
    pairs = zip(shape[::-1], cells[::-1], strict=False)
    if len(shape) > len(cells) or any(n not in (1, axis) for n, axis in pairs):
        raise ValueError(
            f"power has shape {shape}: must be one number, or fit to the leading axes {cells} of the cells"
        )
    if isinstance(power, (int, float)):
        if not 0 <= power <= sys.float_info.max:  # NaN is in no range
            raise refusal("power", power, "a finite number >= 0: Pmax in W, not in dBm")
        if isinstance(noise_power, (int, float)) and not float(power) / noise_power < math.inf:
            raise refusal("power / noise_power", math.inf, f"finite (power={power!r}, noise_power={noise_power!r})")
    elif not _is_array(power) or not _all(power >= 0, power):
        raise refusal("power", power, "a finite number >= 0: Pmax in W, not in dBm")


def check_noise(noise_power: Any) -> None:
    """Refuse a noise power that is not positive: without noise a SINR is infinite, or 0 / 0.

    Raises:
        ValueError: says so.
    """
    if isinstance(noise_power, (int, float)):
        if 0 < noise_power <= sys.float_info.max:
            return
    elif _is_array(noise_power) and _all(noise_power > 0, noise_power):
        return
    raise refusal("noise_power", noise_power, "a finite number > 0: sigma^2 in W, not in dBm")


def _is_array(value: Any) -> bool:
    kind = getattr(getattr(value, "dtype", None), "kind", "f")  # a type of torch has no kind
    return hasattr(value, "dtype") and hasattr(value, "shape") and kind in "fiu" and "complex" not in str(value.dtype)


def _are_numbers_of_one_kind(first: Array, *others: Array) -> bool:
    """Whether arrays are all numpy's or all torch's, and of real or complex numbers."""
    numpy = isinstance(first, np.ndarray)
    return all(isinstance(x, np.ndarray) is numpy for x in others) and (
        not numpy or all(x.dtype.kind in "fciu" for x in (first, *others))
    )


def _all(holds: Any, value: Any) -> bool:
    """Whether a condition holds for finite numbers of numpy; a tensor is not asked, since that would wait for it."""
    return not isinstance(value, (np.ndarray, np.generic)) or bool(np.all(holds & np.isfinite(value)))
