"""The radio link: constraints on the action, effective channel, SINR and rate.

Every function is pure, works on any leading batch axes (written ``...``), accepts numpy arrays and torch
tensors alike, never writes in place (so the rate is differentiable) and is the only place where its
formula stands.

Symbols: M BSs, K users, L IRSs, N elements, Nb antennas; ``cell[k]`` is the BS that serves user k;
``owner[l]`` the BS that controls IRS l (-1: none); channels are amplitude gains (dimensionless), powers are W.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from irs_marl_env.arrays import at_least, index_grid, namespace
from irs_marl_env.shapes import check_fit, check_noise

Array = Any  # a numpy array or a torch tensor
Power = Any  # a number, or an array of them

__all__ = [
    "beam_products",
    "cell_channel",
    "cross_channel",
    "effective_channel",
    "element_amplitude",
    "namespace",
    "phase_shifts",
    "project_power",
    "rates",
    "received_power",
    "reflected_products",
    "served",
    "sinr",
    "transmit_power",
]


def abs2(x: Array) -> Array:
    """Squared magnitude ``|x|^2`` without the square root of ``abs``."""
    real, imag = x.real, x.imag
    return real * real + imag * imag


@lru_cache(maxsize=64)
def _off_diagonal(xp: Any, size: int, device: Any) -> Array:
    return ~xp.eye(size, dtype=xp.bool, device=device)


def served(x: Array, cell: Array) -> Array:
    """Pick for each user the entry of the BS that serves it.

    Args:
        x: ``(..., M, K, D)``, one entry per BS and user.
        cell: ``(..., K)`` integer, the serving BS of each user.

    Returns:
        ``(..., K, D)`` with ``out[k] = x[cell[k], k]``.

    Example:
        User 0 is served by BS 1, user 1 by BS 0:

        >>> import numpy as np
        >>> from irs_marl_env import link
        >>> link.served(np.array([[[1], [2]], [[3], [4]]]), np.array([1, 0])).tolist()
        [[3], [2]]
    """
    xp = namespace(x)
    *lead, num_bs, num_users, depth = x.shape
    if len(lead) == 1:
        rows, users = index_grid(xp, lead[0], num_users, x.device)
        return x[rows, cell, users]
    rows = math.prod(lead)  # not -1, which is ambiguous without IRSs (depth 0)
    flat = served(x.reshape(rows, num_bs, num_users, depth), cell.reshape(rows, num_users))
    return flat.reshape(*lead, num_users, depth)


# --- constraints (2) and (6c) ------------------------------------------------------------------------------


def phase_shifts(theta: Array, bits: int | None = None, amplitude: tuple[float, float, float] | None = None) -> Array:
    """Diagonal of Phi, ``phi = exp(j theta)``, optionally on a grid of ``2**bits`` phases and with losses.

    Args:
        theta: ``(...)`` real, rad.
        bits: resolution of the phase shifter; ``None`` is continuous.
        amplitude: the last three arguments of :func:`element_amplitude`, whose losses the elements then have.

    Returns:
        ``(...)`` complex, ``|phi| = 1``, or ``element_amplitude(theta)``; with ``bits`` the nearest of the phases
        ``2 pi i / 2**bits``, of which the amplitude is taken, too.

    Example:
        With two bits the phases are 0, 90, 180 and 270 degrees:

        >>> import numpy as np
        >>> from irs_marl_env import link
        >>> link.phase_shifts(np.array([0.2, 1.4, np.pi]), bits=2).round(6).tolist()
        [(1+0j), 1j, (-1+0j)]
    """
    xp = namespace(theta)
    if bits is not None:
        step = 2.0 * math.pi / 2**bits
        theta = xp.round(theta / step) * step
    phi = xp.cos(theta) + 1j * xp.sin(theta)
    return phi if amplitude is None else phi * element_amplitude(theta, *amplitude)


def element_amplitude(theta: Array, least: float, offset: float, steepness: float) -> Array:
    """Amplitude of an element by its phase, ``(1 - least) ((sin(theta - offset) + 1) / 2)^steepness + least``.

    Source: Abeywickrama, Zhang, Wu, Yuen, "Intelligent reflecting surface: practical phase shift model and beamforming
    optimization", IEEE Trans. Commun. 68(9), 2020: an element absorbs most where its current resonates.

    Args:
        theta: ``(...)`` real, rad.
        least: beta_min in [0, 1], at ``theta = offset - pi / 2``.
        offset: phi_0, rad.
        steepness: alpha, not negative; 0 is an amplitude of 1.

    Returns:
        ``(...)`` real in [least, 1], with a finite gradient everywhere.

    Example:
        >>> import numpy as np
        >>> from irs_marl_env import link
        >>> theta = np.array([-np.pi / 2, 0.0, np.pi / 2])
        >>> link.element_amplitude(theta, least=0.2, offset=0.0, steepness=1.0).round(6).tolist()
        [0.2, 0.6, 1.0]
    """
    xp = namespace(theta)
    # (sin x + 1) / 2 is the square of this: as it is the sum would cancel where the amplitude is least
    root = xp.abs(xp.cos((theta - offset) / 2.0 - math.pi / 4.0))
    positive = root > 0.0
    shape = xp.where(positive, root, xp.ones_like(root)) ** (2.0 * steepness)  # no gradient of a power at zero
    if steepness > 0.0:
        shape = xp.where(positive, shape, xp.zeros_like(root))
    return (1.0 - least) * shape + least


def transmit_power(w: Array) -> Array:
    """Radiated power of each BS, ``sum_k ||w_k||^2`` [W], from ``w (..., K, Nb)`` to ``(...)``.

    Example:
        >>> import numpy as np
        >>> from irs_marl_env import link
        >>> float(link.transmit_power(np.array([[1, 1j], [0, 2]])))
        6.0
    """
    flat = w.reshape(*w.shape[:-2], w.shape[-2] * w.shape[-1])
    return namespace(w).vecdot(flat, flat).real


def _ball(power: Array, max_power: Power) -> Array:
    return at_least(power, max_power)


def _sphere(power: Array, max_power: Power) -> Array:
    # beams of no power stay so, whatever the factor; the finite one keeps the gradient free of NaN, and the quotient of
    # the two powers a number
    xp = namespace(power)
    above_one = max(max_power, 1.0) if isinstance(max_power, (int, float)) else at_least(max_power, 1.0)
    least = float(xp.finfo(power.dtype).smallest_normal) * above_one
    return xp.where(power > least, power, max_power)


# the power that is scaled to Pmax: "ball" never scales up, "sphere" always radiates Pmax
POWER: dict[str, Callable[[Array, Power], Array]] = {"ball": _ball, "sphere": _sphere}


def power_factor(power: Array, max_power: Power, mode: str = "ball") -> Array:
    """Amplitude factor by which beams of a given transmit power meet ``<= Pmax``; see :func:`project_power`."""
    if mode not in POWER:
        raise ValueError(f"mode={mode!r} is not one of {', '.join(map(repr, POWER))}")
    return namespace(power).sqrt(max_power / POWER[mode](power, max_power))


def project_power(w: Array, max_power: Power, mode: str = "ball") -> Array:
    """Enforce ``sum_k ||w_k||^2 <= Pmax`` (Eq. 2) by scaling all beams of a BS together.

    Args:
        w: ``(..., K, Nb)`` complex beamformers, sqrt(W).
        max_power: Pmax, W; one number, or an array that fits to the axes ``(...)`` of ``w``.
        mode: ``"ball"`` scales down only when over the limit; ``"sphere"`` always radiates Pmax (beams that are
            all zero stay zero, and so do, in effect, those whose power is below the normal numbers).

    Returns:
        ``(..., K, Nb)`` with transmit power at most Pmax (up to rounding).

    Raises:
        ValueError: unknown mode.

    Example:
        Beams of 6 W are scaled down to 1.5 W, and left alone where 8 W are allowed:

        >>> import numpy as np
        >>> from irs_marl_env import link
        >>> w = np.array([[1, 1j], [0, 2]])
        >>> link.project_power(w, 1.5).round(6).tolist()
        [[(0.5+0j), 0.5j], [0j, (1+0j)]]
        >>> float(link.transmit_power(link.project_power(w, 8.0)))
        6.0
    """
    return w * power_factor(transmit_power(w), max_power, mode)[..., None, None]


# --- effective channel, Eqs. (1) and (3) ---------------------------------------------------------------------


def cell_channel(H: Array, G: Array, h: Array, phi: Array) -> Array:
    """Effective row channel inside one cell that owns every IRS it is given (Eqs. 1 and 3).

    ``h_eff[k] = H[k] + sum_l h[l,k] diag(phi[l]) G[l]``.

    Args:
        H: ``(..., K, Nb)`` BS-user row channels.
        G: ``(..., L, N, Nb)`` BS-IRS channels.
        h: ``(..., L, K, N)`` IRS-user row channels (the paper's h^H, already Hermitian).
        phi: ``(..., L, N)`` diagonal of Phi.

    Returns:
        ``(..., K, Nb)`` complex.

    Example:
        Four elements in phase with the direct path, and against it:

        >>> import numpy as np
        >>> from irs_marl_env import link
        >>> H, G, h = np.full((1, 1), 0.1), np.full((1, 4, 1), 0.1), np.full((1, 1, 4), 0.5)
        >>> phi = np.ones((1, 4))
        >>> [link.cell_channel(H, G, h, x).round(6).tolist() for x in (phi, -phi)]
        [[[0.3]], [[-0.1]]]
    """
    *lead, num_irs, num_users, num_elements = h.shape
    if num_irs == 0 or num_users == 0:
        return H
    towards_user = (h * phi[..., :, None, :]).swapaxes(-3, -2)
    towards_user = towards_user.reshape(*lead, num_users, num_irs * num_elements)
    from_bs = G.reshape(*G.shape[:-3], num_irs * num_elements, G.shape[-1])
    return H + towards_user @ from_bs


def _reaching(h: Array, user_irs: Array, cell: Array) -> Array:
    """IRS-user channels with those of IRSs that do not serve the user set to zero, ``(..., L, K, N)``."""
    xp = namespace(h)
    reach = xp.matrix_transpose(served(user_irs, cell))
    return xp.where(reach[..., None], h, xp.zeros_like(h[..., :1, :1, :1]))


def effective_channel(H: Array, G: Array, h: Array, phi: Array, user_irs: Array, cell: Array) -> Array:
    """Effective row channel of every user from its serving BS (Eqs. 1 and 3).

    ``h_eff[k] = H[m,k] + sum_l A[m,k,l] h[l,k] diag(phi[l]) G[m,l]`` with ``m = cell[k]``.

    Args:
        H: ``(..., M, K, Nb)`` BS-user row channels.
        G: ``(..., M, L, N, Nb)`` BS-IRS channels.
        h: ``(..., L, K, N)`` IRS-user row channels (the paper's h^H, already Hermitian).
        phi: ``(..., L, N)`` diagonal of Phi.
        user_irs: ``(..., M, K, L)`` bool, the association A.
        cell: ``(..., K)`` integer, the serving BS of each user.

    Returns:
        ``(..., K, Nb)`` complex.

    Example:
        Two BSs and two users, each served by its own; the IRS reflects for user 1 alone:

        >>> import numpy as np
        >>> from irs_marl_env import link
        >>> H, G, h = np.ones((2, 2, 1)), np.ones((2, 1, 4, 1)), np.ones((1, 2, 4))
        >>> reflects = np.array([[[False], [False]], [[False], [True]]])  # (M, K, L)
        >>> link.effective_channel(H, G, h, np.ones((1, 4)), reflects, np.array([0, 1])).tolist()
        [[1.0], [5.0]]
    """
    return served(cross_channel(H, G, h, phi, user_irs, cell), cell)


def cross_channel(H: Array, G: Array, h: Array, phi: Array, user_irs: Array, cell: Array) -> Array:
    """Row channel from EVERY BS to every user, for inter-cell interference.

    A user is reached by the surfaces of its own reflection set ``A[cell[k], k]``, whoever transmits:
    ``out[m,k] = H[m,k] + sum_l A[cell[k],k,l] h[l,k] diag(phi[l]) G[m,l]``.

    Args:
        H, G, h, phi, user_irs, cell: as in :func:`effective_channel`.

    Returns:
        ``(..., M, K, Nb)`` complex; its entry ``m = cell[k]`` is :func:`effective_channel`.

    Example:
        With those of :func:`effective_channel`, BS 0 also reaches user 1 over the IRS:

        >>> import numpy as np
        >>> from irs_marl_env import link
        >>> H, G, h = np.ones((2, 2, 1)), np.ones((2, 1, 4, 1)), np.ones((1, 2, 4))
        >>> reflects = np.array([[[False], [False]], [[False], [True]]])  # (M, K, L)
        >>> link.cross_channel(H, G, h, np.ones((1, 4)), reflects, np.array([0, 1])).tolist()
        [[[1.0], [5.0]], [[1.0], [5.0]]]
    """
    num_irs, num_elements, num_antennas = G.shape[-3:]
    num_users = H.shape[-2]
    if (H.shape[-1], h.shape[-3:]) != (num_antennas, (num_irs, num_users, num_elements)) or (
        phi.shape[-2:] != G.shape[-3:-1] or user_irs.shape[-2:] != (num_users, num_irs) or cell.shape[-1] != num_users
    ):
        links = {"H": (H, "M K Nb"), "G": (G, "M L N Nb"), "h": (h, "L K N")}
        check_fit(**links, phi=(phi, "L N"), user_irs=(user_irs, "M K L"), cell=(cell, "K"))
    h = _reaching(h, user_irs, cell)
    return cell_channel(H, G, h[..., None, :, :, :], phi[..., None, :, :])


def reflected_products(G: Array, h: Array, phi: Array, user_irs: Array, w: Array, cell: Array) -> Array:
    """Complex amplitude that each user gets of its own beam over each IRS, a part of what it receives.

    ``out[l,k] = A[m,k,l] h[l,k] diag(phi[l]) G[m,l] w[m,k]`` with ``m = cell[k]``. The sum over the IRSs and the direct
    part, ``H[m,k] w[m,k]``, is the diagonal of :func:`beam_products`.

    Args:
        G, h, phi, user_irs, cell: as in :func:`effective_channel`, with one leading axis E.
        w: ``(E, M, K, Nb)`` beamformers, sqrt(W).

    Returns:
        ``(E, L, K)`` complex, sqrt(W).

    Example:
        >>> import numpy as np
        >>> G, h, phi = np.full((1, 1, 1, 2, 1), 3.0), np.ones((1, 1, 1, 2)), np.array([[[1.0, 1j]]])
        >>> reflected_products(G, h, phi, np.full((1, 1, 1, 1), True), np.ones((1, 1, 1, 1)), np.zeros((1, 1), int))
        array([[[3.+3.j]]])
    """
    xp = namespace(h)
    rows, _ = index_grid(xp, *cell.shape, cell.device)
    arriving = G[rows, cell] @ served(w, cell)[:, :, None, :, None]  # (E, K, L, N, 1)
    weights = _reaching(h, user_irs, cell) * phi[:, :, None, :]  # (E, L, K, N)
    return xp.sum(weights * arriving[..., 0].swapaxes(1, 2), axis=-1)


# --- SINR, Eq. (4), and rate, Eq. (5) --------------------------------------------------------------------------


def beam_products(h_eff: Array, w: Array) -> Array:
    """Complex amplitude of beam i at user k, ``T[k,i] = h_eff[k] w[i]``: ``(..., K, K)``.

    Example:
        >>> import numpy as np
        >>> from irs_marl_env import link
        >>> link.beam_products(np.array([[1, 0], [1, 1]]), np.array([[2, 0], [0, 3]])).tolist()
        [[2, 0], [2, 3]]
    """
    return h_eff @ w.mT


def received_power(products: Array) -> tuple[Array, Array]:
    """Own-beam power and interference of each user when all beams serve one cell.

    Args:
        products: ``(..., K, K)`` from :func:`beam_products`.

    Returns:
        ``|T[k,k]|^2`` and ``sum_{i != k} |T[k,i]|^2``, both ``(..., K)`` [W]. The SINR is the first over
        (the second + sigma^2); no difference of large numbers is taken.

    Example:
        User 0 hears its own beam alone, user 1 both:

        >>> import numpy as np
        >>> from irs_marl_env import link
        >>> signal, interference = link.received_power(np.array([[2, 0], [2, 3]]))
        >>> signal.tolist(), interference.tolist()
        ([4, 9], [0, 4])
    """
    power = abs2(products)
    others = _off_diagonal(namespace(power), products.shape[-1], power.device)
    return _received(power, others)


def _received(power: Array, others: Array) -> tuple[Array, Array]:
    """Diagonal of ``power (..., K, K)``, and the sum over the entries of each row where ``others`` is true."""
    xp = namespace(power)
    return power.diagonal(0, -2, -1), xp.vecdot(power, xp.astype(others, power.dtype))


def _interference_reflected(h_eff: Array, h_direct: Array, beams: Array, others: Array) -> Array:
    return _received(abs2(beam_products(h_eff - h_direct, beams)), others)[1]


def _interference_paper(h_eff: Array, h_direct: Array, beams: Array, others: Array) -> Array:
    xp = namespace(h_eff)
    num_users = h_eff.shape[-2]
    in_cell = others | ~_off_diagonal(xp, num_users, others.device)
    beam_sum = xp.astype(in_cell, beams.dtype) @ beams
    return (num_users - 1) * abs2(xp.sum((h_eff - h_direct) * beam_sum, axis=-1))


# the readings of the denominator of Eq. (4); see docs/model.md for what each of them rewards
INTERFERENCE: dict[str, Callable[[Array, Array, Array, Array], Array] | None] = {
    "physical": None,  # what the beams of the cell bring over the very channel of the signal
    "reflected": _interference_reflected,
    "paper": _interference_paper,
}


def sinr(
    h_eff: Array,
    w: Array,
    cell: Array,
    noise_power: float,
    *,
    mode: str = "physical",
    h_direct: Array | None = None,
    h_cross: Array | None = None,
) -> Array:
    """SINR of every user under single-user detection (Eq. 4, with its readings).

    ``physical``: ``|h_eff[k] w[k]|^2 / (sum_{i != k, same cell} |h_eff[k] w[i]|^2 + sigma^2)``.
    ``reflected``: the interference arrives over the reflected path ``h_eff - h_direct`` alone.
    ``paper``: Eq. (4) literally, ``sum_{i != k} |h_reflected[k] sum_{j in cell} w[j]|^2``: the beams add
    before the magnitude is taken, once for each of the other K - 1 users.

    Args:
        h_eff: ``(..., K, Nb)`` effective row channels from the serving BS.
        w: ``(..., M, K, Nb)`` beamformers, sqrt(W); only ``w[cell[k], k]`` is radiated for user k.
        cell: ``(..., K)`` integer, the serving BS of each user.
        noise_power: sigma^2, W.
        mode: ``"physical"``, ``"reflected"`` or ``"paper"``.
        h_direct: ``(..., K, Nb)`` direct row channels, needed by the last two modes.
        h_cross: ``(..., M, K, Nb)`` from :func:`cross_channel`; given, the beams of the other cells
            interfere too (always incoherently).

    Returns:
        ``(..., K)`` real, linear.

    Raises:
        ValueError: unknown mode, ``h_direct`` missing, shapes that do not fit, or a noise power that is none.

    Example:
        Two users of one BS, whose beams point at one user each:

        >>> import numpy as np
        >>> from irs_marl_env import link
        >>> h_eff = np.array([[1 + 0j, 0], [1, 1]])  # user 1 also hears the first antenna
        >>> w = np.array([[[2 + 0j, 0], [0, 3]]])  # (M, K, Nb)
        >>> link.sinr(h_eff, w, np.array([0, 0]), noise_power=0.5).round(6).tolist()
        [8.0, 2.0]
    """
    if w.shape[-2:] != h_eff.shape[-2:] or cell.shape[-1:] != h_eff.shape[-2:-1]:
        check_fit(h_eff=(h_eff, "K Nb"), w=(w, "M K Nb"), cell=(cell, "K"))
    check_noise(noise_power)
    if mode not in INTERFERENCE:
        raise ValueError(f"mode={mode!r} is not one of {', '.join(map(repr, INTERFERENCE))}")
    if mode != "physical" and h_direct is None:
        raise ValueError(f"mode={mode!r} needs h_direct, the direct part of h_eff")
    beams = served(w, cell)
    same_cell = cell[..., :, None] == cell[..., None, :]
    others = same_cell & _off_diagonal(namespace(cell), cell.shape[-1], cell.device)
    signal, interference = _received(abs2(beam_products(h_eff, beams)), others)
    reading = INTERFERENCE[mode]
    if reading is not None:
        interference = reading(h_eff, h_direct, beams, others)
    if h_cross is not None:
        interference = interference + _inter_cell_interference(h_cross, w, cell)
    return signal / (interference + noise_power)


def _inter_cell_interference(h_cross: Array, w: Array, cell: Array) -> Array:
    """``sum_{m != cell[k]} sum_{i in cell m} |h_cross[m,k] w[m,i]|^2``: ``(..., K)`` [W]."""
    xp = namespace(h_cross)
    stations = xp.arange(w.shape[-3], device=cell.device)[:, None]
    mine = cell[..., None, :] == stations  # (..., M, K)
    received = abs2(beam_products(h_cross, w))  # (..., M, K, K): user k, beam i
    mask = ~mine[..., :, None] & mine[..., None, :]
    return xp.sum(received * xp.astype(mask, received.dtype), axis=(-3, -1))


def rates(sinr: Array) -> Array:
    """Achievable rate ``log2(1 + SINR)`` [bit/s/Hz] of every user (Eq. 4), same shape as ``sinr``.

    Example:
        >>> import numpy as np
        >>> from irs_marl_env import link
        >>> link.rates(np.array([0.0, 1.0, 3.0])).round(6).tolist()
        [0.0, 1.0, 2.0]
    """
    xp = namespace(sinr)
    return xp.log1p(sinr) * (1.0 / math.log(2.0))
