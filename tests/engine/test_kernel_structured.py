"""The compiled decoder of structured actions against ``decoder.decode_structured`` and the plain step.

Tolerances: both solve for the beams in double precision; sums over elements and the received powers are of single
precision, in another order. Over 3,000 random cells with as little noise as here the largest difference was 7.5e-6 of
the amplitude, 1e-5 of a phase and 6e-5 of (1 bit/s/Hz + the rate); all but a thousandth stayed below a tenth of that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irs_marl_env import Scenario, link, make_vec_env
from irs_marl_env.engine import plain as plain_parts
from irs_marl_env.solvers import decode_structured

pytest.importorskip("numba")
from irs_marl_env.engine import compiled as compiled_parts
from irs_marl_env.engine import kernels

ROWS = 2  # environments
POWER = 0.4
NORMAL = 1e-3  # amplitude of the two links of an IRS


class Cells(NamedTuple):
    """What the kernel is given."""

    weights: tuple[Any, Any, Any]  # focus, powers, regularizer
    channels: tuple[Any, Any, Any]  # H, G, h
    owner: Any
    cell: Any
    reach: Any
    elements: Any


def normal(rng: np.random.Generator, *shape: int) -> Any:
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def draw_cells(rng: np.random.Generator, sizes: tuple[int, int, int, int], whole: bool = False) -> Cells:
    """Random cells, of which a tenth of the links is blocked entirely, a fifth of the IRSs' users are not served, and
    some IRSs are nobody's; ``whole``: nothing of the kind."""
    num_bs, num_users, num_irs, num_antennas = sizes
    elements = rng.integers(1, 6, num_irs)
    N = max(elements, default=1)
    real = np.arange(N) < elements[:, None]
    H = normal(rng, ROWS, num_bs, num_users, num_antennas) * np.float32(10 ** rng.uniform(-7, -5))
    G = normal(rng, ROWS, num_bs, num_irs, N, num_antennas) * np.float32(NORMAL) * real[..., None]
    h = normal(rng, ROWS, num_irs, num_users, N) * np.float32(NORMAL) * real[:, None]
    owner = rng.integers(0 if whole else -1, num_bs, (ROWS, num_irs))
    cell = rng.integers(0, num_bs, (ROWS, num_users))
    reach = owner[:, :, None] == cell[:, None, :]
    if not whole:
        reach &= rng.random(reach.shape) < 0.8
        H *= rng.random((ROWS, 1, num_users, 1)) < 0.9
        h *= rng.random((ROWS, 1, num_users, 1)) < 0.9
    shapes = (ROWS, num_bs, num_irs, num_users), (ROWS, num_bs, num_users), (ROWS, num_bs)
    focus, powers, regularizer = ((10 ** rng.uniform(-1, 1, shape)).astype(np.float32) for shape in shapes)
    return Cells((focus, powers, regularizer), (H, G, h), owner, cell, reach, elements)


def compiled(cells: Cells, noise_power: float, sweeps: int) -> tuple[Any, ...]:
    """Beams, phases, rates, sums of rates, powers."""
    H, G, _ = cells.channels
    w, phi = np.zeros(H.shape, np.complex64), np.ones((*cells.owner.shape, G.shape[3]), np.complex64)
    rates, sum_rate, power = (np.full((ROWS, n), np.nan, np.float32) for n in (H.shape[2], H.shape[1], H.shape[1]))
    given = *cells.weights, *cells.channels, cells.owner, cells.cell, cells.reach, cells.elements
    results = w, phi, rates, sum_rate, power
    kernels.structured_slot(*given, np.full(len(given[3][0]), POWER), noise_power, sweeps, *results)
    return results


def plain(cells: Cells, noise_power: float, sweeps: int) -> tuple[Any, ...]:
    """The same by the plain functions."""
    H, G, h = cells.channels
    stations = np.arange(H.shape[1])[:, None]
    own = (cells.cell[:, None] == stations).astype(np.float32)
    mine = (cells.owner[:, None] == stations)[..., None] & cells.reach[:, None]
    H, h = H * own[..., None], h[:, None] * mine[..., None].astype(np.float32)
    named = dict(zip(("focus", "powers", "regularizer"), cells.weights, strict=True))
    w, phi_of_all = decode_structured(named, H, G, h, POWER, noise_power, sweeps)
    phi = phi_of_all[np.arange(ROWS)[:, None], cells.owner, np.arange(cells.owner.shape[1])]
    phi = np.where((cells.owner < 0)[..., None], np.complex64(1), phi)
    products = link.beam_products(link.cell_channel(H, G, h, phi_of_all), w)
    signal, interference = link.received_power(products)
    rates = link.rates(signal / (interference + noise_power)) * own
    return w, phi, rates.sum(1), rates.sum(-1), link.transmit_power(w)


def check_alike(cells: Cells, noise_power: float, sweeps: int) -> tuple[Any, ...]:
    mine, its = compiled(cells, noise_power, sweeps), plain(cells, noise_power, sweeps)
    np.testing.assert_allclose(mine[0], its[0], atol=3e-5 * POWER**0.5)
    np.testing.assert_allclose(mine[1], its[1], atol=3e-5)
    for result, expected in zip(mine[2:4], its[2:4], strict=True):
        np.testing.assert_allclose(result, expected, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(mine[4], its[4], rtol=1e-5, atol=1e-12)
    return mine


SIZES = st.tuples(*(st.integers(low, high) for low, high in ((1, 3), (1, 9), (0, 3), (1, 6))))
SWEEPS = st.integers(0, 3)
SEEDS = st.integers(0, 2**32 - 1)
NOISE = st.floats(-15, -9)  # log10 of W


@given(SIZES, SWEEPS, SEEDS, NOISE)
def test_random_cells(sizes: tuple[int, int, int, int], sweeps: int, seed: int, noise: float) -> None:
    check_alike(draw_cells(np.random.default_rng(seed), sizes), 10**noise, sweeps)


@pytest.mark.parametrize("sizes", [(2, 6, 2, 8), (2, 24, 3, 4), (1, 5, 4, 5), (1, 9, 2, 3)])
@pytest.mark.parametrize("sweeps", [0, 1, 2])
def test_fewer_and_more_users_than_antennas(sizes: tuple[int, int, int, int], sweeps: int) -> None:
    cells = draw_cells(np.random.default_rng(3), sizes, whole=True)
    mine = check_alike(cells, 1e-10, sweeps)
    np.testing.assert_allclose(np.abs(mine[1]), 1, rtol=1e-6)


@given(SWEEPS, SEEDS, st.sampled_from(["channels", "direct", "G", "h", "powers"]))
def test_what_is_zero_everywhere(sweeps: int, seed: int, what: str) -> None:
    """Nothing is NaN, no phase is invented, no power is radiated without a beam."""
    cells = draw_cells(np.random.default_rng(seed), (2, 4, 2, 3), whole=True)
    H, G, h = cells.channels
    for name, arrays in (("channels", (H, G, h)), ("direct", (H,)), ("G", (G,)), ("h", (h,))):
        for array in arrays if name == what else ():
            array[...] = 0
    if what == "powers":
        cells.weights[1][...] = 0
    w, phi, rates, _, power = check_alike(cells, 1e-10, sweeps)
    if what in ("channels", "G", "h"):
        np.testing.assert_array_equal(phi, 1)
    if what in ("channels", "powers"):
        for nothing in (w, rates, power):
            np.testing.assert_array_equal(nothing, 0)


@pytest.mark.parametrize(("sweeps", "weak", "onwards"), [(0, 1e-21, 1e2), (2, 1e-33, 1e-5)])
def test_fields_below_the_normal_numbers_turn_nothing(sweeps: int, weak: float, onwards: float) -> None:
    """A field of some 1e-40 has a phase, but too few digits of it; only the last element is reached by more.

    The alignment sees H G h; a sweep G h and receivers, which are as weak as the channel over the last element.
    """
    cells = draw_cells(np.random.default_rng(5), (1, 2, 1, 2), whole=True)
    H, G, h = cells.channels
    H[:], G[:], h[:] = 1e-21, weak * 1j, onwards
    G[:, :, :, -1] = 1e-6j
    _, phi, *_ = check_alike(cells, 1e-10, sweeps)
    np.testing.assert_array_equal(phi[..., :-1], 1)
    np.testing.assert_allclose(phi[..., -1], -1j, atol=1e-6)


@given(SEEDS, SWEEPS)
def test_strangers_change_nothing(seed: int, sweeps: int) -> None:
    """Not a bit: users of other cells and IRSs of other BSs are not looked at."""
    rng = np.random.default_rng(seed)
    cells = draw_cells(rng, (2, 5, 3, 3), whole=True)
    before = compiled(cells, 1e-10, sweeps)
    foreign = cells.cell[:, None] != np.arange(2)[:, None]  # (E, M, K)
    cells.channels[0][foreign] = np.nan
    cells.channels[1][cells.owner[:, None] != np.arange(2)[:, None]] = np.nan
    cells.channels[2][~cells.reach] = np.nan
    for mine, its in zip(compiled(cells, 1e-10, sweeps), before, strict=True):
        np.testing.assert_array_equal(mine, its)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"sweeps": 0},
    {"power": "sphere", "num_users": 9},
    {"num_irs": 0},
    {"num_elements": (3, 5)},
    {"reflection": "single"},
    {"reflection": "all", "inter_cell_interference": True},
    {"csi": "owned"},
    {"csi": "owned", "association_delay": 1},
    {"association_delay": 1, "initial_owner": "none"},
    {"csi_error_variance": 0.2},
    {"contention": "collision", "sinr": "paper"},
    {"num_bs": 3, "reward": "team", "bs_irs_fading": "frozen"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_episode_is_the_plain_one(options: dict[str, Any]) -> None:
    """Same owners; rates within what single precision leaves of them, and channels that differ by 2e-6 themselves."""
    sizes = {"num_bs": 2, "num_users": 5, "num_irs": 2, "num_antennas": 3, "num_elements": 4}
    s = Scenario(**{**sizes, "action": "structured", "horizon": 12, "speed_mps": 20.0, **options})
    envs = [make_vec_env(s, 4, fast=fast) for fast in (True, False)]
    for env in envs:
        env.reset(seed=1)
    rng, total = np.random.default_rng(0), 0.0
    for _ in range(12):
        action = rng.uniform(-1.2, 1.2, (4, s.num_bs, envs[0].action_size)).astype(np.float32)
        results = [env.step(action) for env in envs]
        np.testing.assert_allclose(results[0][1], results[1][1], rtol=2e-3, atol=1e-4)
        for name, its in results[1][4].items():
            if isinstance(its, np.ndarray) and its.dtype != object:
                np.testing.assert_allclose(results[0][4][name], its, rtol=2e-3, atol=1e-4, err_msg=name)
        total += abs(results[1][1]).sum()
    assert total > 0


def test_who_decodes() -> None:
    """Compiled where asked for, except that BLAS is quicker for a single large cell."""
    small, large = (Scenario(action="structured", num_bs=1, num_users=n, num_antennas=64) for n in (63, 64))
    assert compiled_parts.Slot(small).decodes
    assert not hasattr(plain_parts.Slot(small), "decodes")
    assert not compiled_parts.Slot(large).decodes
    assert compiled_parts.Slot(large.replace(num_bs=2)).decodes
    assert not compiled_parts.Slot(large).whole_slot
    assert compiled_parts.Slot(large.replace(action="raw")).whole_slot


def test_compiled_now_or_loaded_from_the_disk_a_slot_is_the_same(tmp_path: Path) -> None:
    """Or a run that compiled and was killed would not go on as it was."""
    script = (
        "import hashlib, numpy as np\n"
        "from irs_marl_env import make_vec_env\n"
        "found = hashlib.sha256()\n"
        "for action in ('raw', 'structured'):\n"
        "    vec, rng = make_vec_env('mdlbi-small-v0', 4, action=action), np.random.default_rng(0)\n"
        "    found.update(vec.reset(seed=0)[0].tobytes())\n"
        "    for _ in range(30):\n"
        "        results = vec.step(rng.uniform(-1, 1, (4, 2, vec.action_size)).astype(np.float32))\n"
        "        found.update(results[0].tobytes() + np.ascontiguousarray(results[1]).tobytes())\n"
        "print(found.hexdigest())\n"
    )
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", script]
    first, second = (subprocess.run(command, env=env, check=True, capture_output=True).stdout for _ in range(2))
    assert first == second
