"""Channels: path loss, fading statistics, line of sight, CSI error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, make_vec_env
from irs_marl_env.engine.core import Core
from irs_marl_env.engine.state import State
from irs_marl_env.link_budget import path_gain_at
from irs_marl_env.physics.channel import bessel_j0, element_energy
from irs_marl_env.physics.deployment import bs_positions, irs_positions

LINKS = ("H", "G", "h")
RICIAN = {"H": "direct_rician_k_db", "G": "bs_irs_rician_k_db", "h": "irs_user_rician_k_db"}
SMALL = Scenario(num_users=4, num_irs=2, num_antennas=3, num_elements=4, mobility="static")


def slots(
    scenario: Scenario, num_envs: int, count: int, seed: int = 0, xp: Any = np, fast: bool = False
) -> Iterator[State]:
    """``count + 1`` states of an episode, the first as reset made it."""
    core = Core(scenario, xp, fast=fast)
    streams = core.streams(seed, num_envs)
    state = core.reset(streams)
    action = xp.zeros((num_envs, scenario.num_bs, core.action_codec.size), dtype=xp.float32)
    yield state
    for _ in range(count):
        state, *_ = core.step(state, action, streams)
        yield state


def mean_power(scenario: Scenario, state: State) -> dict[str, np.ndarray]:
    """Path gains from the equations, shaped to broadcast against the channels."""
    bs, irs = bs_positions(scenario), irs_positions(scenario)
    users = np.concatenate([state.motion["position"], np.full((*state.cell.shape, 1), scenario.user_height_m)], axis=-1)
    c0 = 10 ** (scenario.reference_gain_db / 10)
    blocked = c0 * 10 ** (-scenario.blockage_db / 10)

    def gain(a: np.ndarray, b: np.ndarray, unit: float, exponent: float) -> np.ndarray:
        return unit * np.linalg.norm(a - b, axis=-1) ** -exponent

    return {
        "H": gain(bs[:, None], users[:, None], blocked, scenario.direct_exponent)[..., None],
        "G": gain(bs[:, None], irs[None], c0, scenario.bs_irs_exponent)[None, :, :, None, None],
        "h": gain(irs[:, None], users[:, None], c0, scenario.irs_user_exponent)[..., None],
    }


each_way = pytest.mark.parametrize(
    "fast",
    [
        pytest.param(False, id="plain"),
        pytest.param(
            True, id="compiled", marks=pytest.mark.skipif(find_spec("numba") is None, reason="numba is not installed")
        ),
    ],
)


# --- path loss ---------------------------------------------------------------------------------------------------


def test_path_gain_by_hand() -> None:
    s = Scenario()
    assert path_gain_at(s, "direct", 10.0) == pytest.approx(1e-3 * 1e-2 * 1e-4)  # -30 dB, 20 dB blocked, d^-4
    assert path_gain_at(s, "bs_irs", 100.0) == pytest.approx(1e-3 * 1e-5)
    assert path_gain_at(s, "irs_user", 10.0) == pytest.approx(1e-3 * 10**-2.4)


def test_free_space_at_the_carrier() -> None:
    """Friis at 1 m: 20 log10(4 pi f / c) = 32.45 + 20 log10(f / GHz) dB."""
    near, far = (Scenario(reference_gain_db=None, carrier_frequency_hz=f) for f in (2.4e9, 28e9))
    assert 10 * np.log10(near.reference_gain) == pytest.approx(-(32.447783 + 20 * np.log10(2.4)), abs=1e-5)
    for link in ("direct", "bs_irs", "irs_user"):
        ratio = path_gain_at(near, link, 7.0) / path_gain_at(far, link, 7.0)
        assert 10 * np.log10(ratio) == pytest.approx(21.34, abs=5e-3)
    envs = [make_vec_env(s, 1, fast=False, direct_rician_k_db=100.0) for s in (near, far)]
    gains = [env.reset(seed=0) and env.view().gains for env in envs]
    np.testing.assert_allclose(gains[0].direct / gains[1].direct, 28 / 2.4, rtol=1e-5)
    assert Scenario.from_json(far.to_json()) == far


@each_way
@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"fading": "ar1", "bs_irs_fading": "ar1", "doppler_hz": 0.3, "bs_irs_doppler_hz": 0.4},
        {"direct_rician_k_db": 0.0, "bs_irs_rician_k_db": 6.0, "irs_user_rician_k_db": 3.0},
        {"num_bs": 3, "blockage_db": 35.0, "user_height_m": 1.0, "num_elements": (4, 2)},
    ],
    ids=lambda o: next(iter(o), "rayleigh"),
)
def test_mean_power_is_the_path_gain(overrides: dict[str, Any], fast: bool) -> None:
    s = SMALL.replace(**overrides)
    ratio = dict.fromkeys(LINKS, 0.0)
    count = 12
    for state in slots(s, 1000, count - 1, fast=fast):
        expected = mean_power(s, state)
        for name in LINKS:
            power = np.abs(getattr(state.channels, name)) ** 2 / expected[name]
            real = power[power > 0]  # padded elements are exactly zero
            ratio[name] += real.mean() / count
    for name in LINKS:
        assert ratio[name] == pytest.approx(1.0, rel=0.02), name


def test_gains_equal_the_equations_to_single_precision() -> None:
    s = SMALL.replace(num_bs=3, num_users=50)
    (state,) = slots(s, 20, 0)
    expected = mean_power(s, state)
    np.testing.assert_allclose(state.gains.direct**2, expected["H"][..., 0], rtol=1e-5)
    np.testing.assert_allclose(state.gains.irs_user**2, expected["h"][..., 0], rtol=1e-5)


@each_way
@pytest.mark.parametrize("touched", ["both", "bs", "irs"])
def test_distances_below_a_metre_count_as_one(touched: str, fast: bool) -> None:
    """Users at the height of some of the sites, and in their place."""
    heights = {"bs_height_m": 9.0 if touched == "irs" else 1.5, "irs_height_m": 9.0 if touched == "bs" else 1.5}
    s = SMALL.replace(num_users=1, **heights)
    core = Core(s, fast=fast)
    streams = core.streams(0, 1)
    for place, link, distance in (
        ((0.0, 40.0), "direct", 7.5 if touched == "irs" else 1.0),
        ((40.0, 20.0), "irs_user", 7.5 if touched == "bs" else 1.0),
    ):
        state = core.reset(streams, np.array([place]))
        gain = getattr(state.gains, link)[0, 0, 0]
        assert gain**2 == pytest.approx(path_gain_at(s, link, distance), rel=1e-5)


@each_way
def test_masts_closer_than_a_metre_count_as_one(fast: bool) -> None:
    """A street of 0.4 m, with its only IRS 0.2 m from either BS."""
    s = SMALL.replace(num_irs=1, area_width_m=0.4, cell_depth_m=0.2, bs_height_m=3.0, irs_height_m=3.0)
    (state,) = slots(s, 1, 0, fast=fast)
    np.testing.assert_allclose(state.gains.bs_irs**2, path_gain_at(s, "bs_irs", 1.0), rtol=1e-5)


def test_energy_of_an_irs_sums_over_its_elements_and_the_antennas() -> None:
    rng = np.random.default_rng(0)
    G, h = (rng.normal(size=(*shape, 2)) @ [1, 1j] for shape in ((2, 2, 3, 4, 5), (2, 3, 6, 4)))
    energy = element_energy(G, h)  # (E, M, K, L)
    for e, m, k, l in np.ndindex(2, 2, 6, 3):
        expected = sum(abs(h[e, l, k, n]) ** 2 * sum(abs(G[e, m, l, n]) ** 2) for n in range(4))
        assert energy[e, m, k, l] == pytest.approx(expected)


def test_padded_elements_are_silent() -> None:
    s = SMALL.replace(num_elements=(1, 4), csi_error_variance=0.5, irs_user_rician_k_db=3.0, bs_irs_rician_k_db=3.0)
    for state in slots(s, 2, 3):
        for channels in (state.channels, state.csi):
            assert (channels.h[:, 0, :, 1:] == 0).all()
            assert (channels.G[:, :, 0, 1:] == 0).all()
            assert (channels.h[:, 1] != 0).all()


# --- time evolution ----------------------------------------------------------------------------------------------


def test_bessel_function() -> None:
    special = pytest.importorskip("scipy.special")
    x = np.concatenate([np.linspace(0, 50, 501), [123.4, 999.0, 9999.0, 10001.0, 1e6]])
    np.testing.assert_allclose([bessel_j0(v) for v in x], special.j0(x), atol=1e-7)


@pytest.mark.parametrize("product", [0.02, 0.1, 0.3, 0.5])  # f_D T
def test_ar1_autocorrelation_is_j0(product: float) -> None:
    special = pytest.importorskip("scipy.special")
    other = 0.6 * product
    s = SMALL.replace(
        fading="ar1", bs_irs_fading="ar1", slot_s=0.5, doppler_hz=2 * product, bs_irs_doppler_hz=2 * other
    )
    count, lags = 30, (1, 2, 3)
    series: dict[str, list[np.ndarray]] = {name: [] for name in LINKS}
    for state in slots(s, 300, count):
        for name in LINKS:
            series[name].append(getattr(state.channels, name))
    for name, doppler in (("H", product), ("G", other), ("h", product)):
        g = np.array(series[name])
        power = np.mean(np.abs(g) ** 2, axis=(0, 1))
        r = special.j0(2 * math.pi * doppler)
        for lag in lags:  # an AR(1) process: J0 at lag 1, its powers beyond
            measured = np.mean((g[lag:] * g[:-lag].conj()).mean(axis=(0, 1)) / power)
            assert measured == pytest.approx(r**lag, abs=0.02), (name, lag)


def test_doppler_follows_the_speed() -> None:
    special = pytest.importorskip("scipy.special")
    s = SMALL.replace(fading="ar1", speed_mps=0.03, slot_s=1.0)
    doppler = 0.03 * 2.4e9 / 299_792_458.0
    core = Core(s)
    assert core.model.correlation["direct"] == pytest.approx(special.j0(2 * math.pi * doppler))
    assert core.model.correlation["bs_irs"] == 1.0  # masts do not move


@pytest.mark.parametrize("mode", ["iid", "ar1", "episode", "frozen"])
def test_what_changes_when(mode: str) -> None:
    """Within an episode and from one episode to the next, for user links and mast links separately."""
    s = SMALL.replace(bs_irs_doppler_hz=0.2, layout="frozen")
    for name, field in (("H", "fading"), ("h", "fading"), ("G", "bs_irs_fading")):
        core = Core(s.replace(**{field: mode}))
        streams = core.streams(0, 1)
        action = np.zeros((1, 2, core.action_codec.size), np.float32)
        state = core.reset(streams)
        first = getattr(state.channels, name)
        state, *_ = core.step(state, action, streams)
        second = getattr(state.channels, name)
        third = getattr(core.reset(streams).channels, name)
        assert np.array_equal(first, second) == (mode in ("episode", "frozen")), name
        assert np.array_equal(first, third) == (mode == "frozen"), name


def test_frozen_is_one_realisation_for_ever() -> None:
    """Whatever the seed, the number of environments, the number of users or what was drawn before."""
    s = SMALL.replace(fading="frozen", bs_irs_fading="frozen", layout="frozen")
    (one,) = slots(s, 1, 0, seed=0)
    (many,) = slots(s, 5, 0, seed=99)
    core = Core(s, fast=False)  # as in slots(); kernels agree within rounding
    streams = core.streams(3, 2)
    streams.uniform("layout", 17)
    streams.complex_normal("direct_fading", 5)
    for _ in range(3):
        later = core.reset(streams)
    for name in LINKS:
        reference = getattr(one.channels, name)[0]
        for other in (many, later):
            for row in getattr(other.channels, name):
                np.testing.assert_array_equal(row, reference)
    (more_users,) = slots(s.replace(num_users=9, csi_error_variance=0.1, fading="iid"), 1, 0)
    np.testing.assert_array_equal(more_users.channels.G, one.channels.G)
    (other_seed,) = slots(s.replace(frozen_seed=1), 1, 0)
    assert not np.array_equal(other_seed.channels.G, one.channels.G)


def test_frozen_is_the_same_in_torch() -> None:
    pytest.importorskip("torch")
    import array_api_compat.torch as xp

    s = SMALL.replace(fading="frozen", bs_irs_fading="frozen", layout="frozen")
    (a,), (b,) = slots(s, 1, 0), slots(s, 2, 0, seed=1, xp=xp)
    for name in LINKS:
        expected = getattr(a.channels, name)[0]
        np.testing.assert_allclose(getattr(b.channels, name)[1].numpy(), expected, rtol=1e-4, atol=1e-12)


def test_users_of_different_links_fade_independently() -> None:
    s = SMALL.replace(num_antennas=2, num_elements=2)
    (state,) = slots(s, 8000, 0)
    power = mean_power(s, state)
    columns = [(getattr(state.channels, name) / np.sqrt(power[name])).reshape(8000, -1) for name in LINKS]
    g = np.concatenate(columns, axis=1)
    correlation = np.abs(g.conj().T @ g) / 8000
    off_diagonal = correlation - np.diag(np.diag(correlation))
    assert off_diagonal.max() < 5 / math.sqrt(8000)


# --- line of sight -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k_db", [-3.0, 3.0, 10.0])
@pytest.mark.parametrize("name", LINKS)
def test_rician_factor_is_recovered(name: str, k_db: float) -> None:
    s = SMALL.replace(**{RICIAN[name]: k_db})
    series = np.array([getattr(state.channels, name) for state in slots(s, 20, 600)])
    line_of_sight = series.mean(axis=0)
    scattered = np.mean(np.abs(series - line_of_sight) ** 2, axis=0)
    ratio = np.mean(np.abs(line_of_sight) ** 2 / scattered) - 1 / len(series)  # less the noise of the mean
    assert ratio == pytest.approx(10 ** (k_db / 10), rel=0.05)


def element_positions(scenario: Scenario) -> tuple[np.ndarray, np.ndarray]:
    """Exact positions ``(M, Nb, 3)`` and ``(L, N, 3)``: lines of antennas along y, plates of elements in y and z."""
    half = scenario.wavelength_m / 2
    along = np.array([0.0, 1.0, 0.0])
    antennas = bs_positions(scenario)[:, None] + half * np.arange(scenario.num_antennas)[:, None] * along
    columns = {4: 2, 6: 3, 7: 7, 16: 4}[scenario.max_elements]
    grid = np.array([(0.0, n % columns, n // columns) for n in range(scenario.max_elements)])
    return antennas, irs_positions(scenario)[:, None] + half * grid


@pytest.mark.parametrize("elements", [4, 6, 7, 16])
def test_line_of_sight_phases_are_those_of_the_exact_distances(elements: int) -> None:
    # K-factor of 100 dB: line of sight alone; at 1 THz arrays are so small that the far field is exact enough
    s = SMALL.replace(
        num_bs=3,
        num_elements=elements,
        carrier_frequency_hz=1e12,
        direct_rician_k_db=100.0,
        bs_irs_rician_k_db=100.0,
        irs_user_rician_k_db=100.0,
    )
    (state,) = slots(s, 2, 0)
    antennas, tiles = element_positions(s)
    users = np.concatenate([state.motion["position"], np.full((*state.cell.shape, 1), s.user_height_m)], axis=-1)
    distance = {
        "H": np.linalg.norm(antennas[None, :, None] - users[:, None, :, None], axis=-1),
        "G": np.linalg.norm(antennas[None, :, None, None] - tiles[None, None, :, :, None], axis=-1),
        "h": np.linalg.norm(tiles[None, :, None] - users[:, None, :, None], axis=-1),
    }
    for name in LINKS:
        channel = getattr(state.channels, name)
        turn = channel / np.abs(channel) * np.exp(2j * np.pi / s.wavelength_m * distance[name])
        np.testing.assert_allclose(turn, 1.0, atol=5e-3, err_msg=name)


# --- CSI ---------------------------------------------------------------------------------------------------------


def test_perfect_csi_is_the_channel() -> None:
    (state,) = slots(SMALL, 1, 0)
    assert state.csi is state.channels


@pytest.mark.parametrize("variance", [0.01, 0.5])
def test_csi_error_variance(variance: float) -> None:
    s = SMALL.replace(csi_error_variance=variance)
    errors: dict[str, list[np.ndarray]] = {name: [] for name in LINKS}
    for state in slots(s, 500, 5):
        expected = mean_power(s, state)
        for name in LINKS:
            error = getattr(state.csi, name) - getattr(state.channels, name)
            errors[name].append(error / np.sqrt(expected[name]))
    for name in LINKS:
        e = np.array(errors[name])
        assert np.mean(np.abs(e) ** 2) == pytest.approx(variance, rel=0.02), name
        assert abs(e.mean()) < 4 * math.sqrt(variance / e.size)
        lag_one = np.mean(e[1:] * e[:-1].conj()) / variance
        assert abs(lag_one) < 5 / math.sqrt(e[1:].size), name  # a new error in every slot


def test_reward_is_paid_on_the_true_channels() -> None:
    """Beams do not depend on CSI in raw actions, so neither may the rates."""
    rates = []
    for variance in (0.0, 1.0):
        core = Core(SMALL.replace(csi_error_variance=variance))
        streams = core.streams(0, 3)
        state = core.reset(streams)
        action = np.random.default_rng(0).uniform(-1, 1, (3, 2, core.action_codec.size)).astype(np.float32)
        for _ in range(3):
            state, _, outcome = core.step(state, action, streams)
        rates.append(outcome.rates)
    np.testing.assert_array_equal(rates[0], rates[1])


def test_options_do_not_shift_the_draws_of_others() -> None:
    """Two scenarios that differ in one option still see the same draws of every other cause."""
    base = SMALL.replace(mobility="random_waypoint")
    reference = list(slots(base, 2, 4))
    same = {
        "csi_error_variance": 0.3,
        "rho": "bids",
        "csi": "owned",
        "contention": "collision",
        "initial_owner": "none",
        "association_delay": 1,
        "reward": "team",
        "sinr": "paper",
    }
    for field, value in same.items():
        for a, b in zip(slots(base.replace(**{field: value}), 2, 4), reference, strict=True):
            np.testing.assert_array_equal(a.motion["position"], b.motion["position"], err_msg=field)
            for name in LINKS:
                np.testing.assert_array_equal(getattr(a.channels, name), getattr(b.channels, name), err_msg=field)
    for a, b in zip(slots(base.replace(bs_irs_fading="episode"), 2, 4), reference, strict=True):
        np.testing.assert_array_equal(a.channels.H, b.channels.H)
        np.testing.assert_array_equal(a.channels.h, b.channels.h)
    for a, b in zip(slots(base.replace(mobility="gauss_markov"), 2, 4), reference, strict=True):
        np.testing.assert_array_equal(a.channels.G, b.channels.G)
