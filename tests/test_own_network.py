"""A network of one's own as a whole: what it brings, calculated a second time from the equations of docs/model.md.

The calculation knows nothing of the package: flat actions are cut by the documented layout, numbers are complex128, and
every sum is a loop. Rates are compared relative to 1 + rate, bit/s/Hz.
"""

from __future__ import annotations

import cmath
import math
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, evaluate, make_env, make_vec_env
from irs_marl_env.arrays import namespace

M, K, L, T, EPISODES = 3, 8, 5, 6, 3
ANTENNAS, ELEMENTS, POWERS_DBM, NOISE_DBM = (4, 2, 3), (6, 3, 1, 4, 2), (30.0, 21.0, 26.0), -95.0
NB, N = max(ANTENNAS), max(ELEMENTS)
BS_M = ((-120.0, -40.0, 20.0), (90.0, -60.0, 12.0), (10.0, 110.0, 25.0))
IRS_M = ((-60.0, -60.0, 6.0), (40.0, -80.0, 4.0), (60.0, 40.0, 5.0), (-20.0, 70.0, 8.0), (-90.0, 20.0, 7.0))
FACING = ((1.0, 2.0, 0.0), (-0.2, 1.0, 0.1), (-3.0, -1.0, 0.0), (0.0, -1.0, -0.2), (1.0, 0.0, 0.0))
LOSSES = (0.3, 1.2, 1.9)  # least amplitude, offset, steepness
SCENARIO = Scenario(
    num_users=K,
    num_antennas=ANTENNAS,
    num_elements=ELEMENTS,
    tx_power_dbm=POWERS_DBM,
    noise_power_dbm=NOISE_DBM,
    bs_positions_m=BS_M,
    irs_positions_m=IRS_M,
    irs_facing=FACING,
    irs_element_exponent=1.0,
    area_bounds_m=(-130.0, -110.0, 110.0, 130.0),
    initial_owner="none",
    horizon=T,
)
WAYS = [
    pytest.param({"fast": False}, id="plain"),
    pytest.param({"fast": True}, id="kernels", marks=pytest.mark.skipif(not find_spec("numba"), reason="no numba")),
    pytest.param({"backend": "torch"}, id="torch", marks=pytest.mark.skipif(not find_spec("torch"), reason="no torch")),
]
each_way = pytest.mark.parametrize("way", WAYS)
READINGS = [
    {"inter_cell_interference": interference, "reflection": reflection, "association_delay": delay}
    for interference in (False, True)
    for reflection in ("owned", "all")
    for delay in (0, 1)
]


def normal(rng: np.random.Generator, amplitude: float, *shape: int) -> np.ndarray:
    return amplitude * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))


def recording() -> dict[str, np.ndarray]:
    """Channels without entries of antennas and elements that are not there, cells of which one is often empty."""
    rng = np.random.default_rng(2)
    there = np.arange(NB) < np.array(ANTENNAS)[:, None]  # (M, Nb)
    driven = np.arange(N) < np.array(ELEMENTS)[:, None]  # (L, N)
    lead = EPISODES, T + 1
    return {
        "H": normal(rng, 3e-6, *lead, M, K, NB) * there[:, None],
        "G": normal(rng, 1e-3, *lead, M, L, N, NB) * there[:, None, None] * driven[..., None],
        "h": normal(rng, 3e-3, *lead, L, K, N) * driven[:, None],
        "positions": rng.uniform(-100, 100, (*lead, K, 2)),
        "cell": np.minimum(rng.integers(0, 6, (*lead, K)), M - 1),
    }


# --- the equations --------------------------------------------------------------------------------------------------


def amplitude_of(theta: float, losses: tuple[float, float, float] | None) -> float:
    if losses is None:
        return 1.0
    least, offset, steepness = losses
    return (1.0 - least) * ((math.sin(theta - offset) + 1.0) / 2.0) ** steepness + least


def slot_by_hand(
    H: Any, G: Any, h: Any, cell: Any, action: Any, held: list[int], reading: dict[str, Any], losses: Any = None
) -> tuple[np.ndarray, list[int], np.ndarray, list[int]]:
    """Rates ``(K,)``, the owners who act, powers ``(M,)`` and the owners to come, of one environment in one slot.

    ``held`` are the owners that stood before the bids of this slot.
    """
    H, G, h, action = H.astype(complex), G.astype(complex), h.astype(complex), action.astype(float)
    size = K * NB
    bids = action[:, 2 * size + sum(ELEMENTS) :]
    won = [max(range(M), key=lambda m: bids[m, l]) for l in range(L)]
    owner = held if reading["association_delay"] else won
    beams = np.zeros((M, K, NB), complex)
    power = np.zeros(M)
    for m in range(M):
        most = 10.0 ** (POWERS_DBM[m] / 10.0) / 1000.0
        for k in range(K):
            for i in range(ANTENNAS[m]):
                if cell[k] == m:
                    beams[m, k, i] = math.sqrt(most) * complex(action[m, k * NB + i], action[m, size + k * NB + i])
        power[m] = (abs(beams[m]) ** 2).sum()
        if power[m] > most:
            beams[m] *= math.sqrt(most / power[m])
            power[m] = most
    through = np.zeros((M, L, K, NB), complex)  # what BS m sends over IRS l to user k
    for l in range(L):
        start = 2 * size + sum(ELEMENTS[:l])
        for n in range(ELEMENTS[l]):
            theta = 0.0 if owner[l] < 0 else math.pi * action[owner[l], start + n]
            phi = amplitude_of(theta, losses) * cmath.exp(1j * theta)
            for m in range(M):
                for k in range(K):
                    through[m, l, k] += h[l, k, n] * phi * G[m, l, n]
    noise = 10.0 ** (NOISE_DBM / 10.0) / 1000.0
    rates = np.zeros(K)
    for k in range(K):
        reached_by = [l for l in range(L) if reading["reflection"] == "all" or owner[l] == cell[k]]
        heard, signal = noise, 0.0
        for i in range(K):
            m = cell[i]
            received = abs((H[m, k] + sum(through[m, l, k] for l in reached_by)) @ beams[m, i]) ** 2
            if i == k:
                signal = received
            elif m == cell[k] or reading["inter_cell_interference"]:
                heard += received
        rates[k] = math.log2(1.0 + signal / heard)
    return rates, owner, power, won


def worst_error(got: Any, rates: np.ndarray) -> float:
    return float((abs(np.asarray(got, float) - rates) / (1.0 + rates)).max())


# --- channels from arrays and from a file ----------------------------------------------------------------------------


@pytest.mark.parametrize("losses", [None, LOSSES], ids=["ideal", "lossy"])
@pytest.mark.parametrize("reading", READINGS, ids=lambda r: "-".join(map(str, r.values())))
@each_way
def test_batched_rates_from_given_channels(
    way: dict[str, Any], reading: dict[str, Any], losses: Any, tmp_path: Path
) -> None:
    data = recording()
    np.savez(tmp_path / "measured.npz", **data)
    scenario = SCENARIO.replace(**reading)
    if losses is not None:
        names = ("element_amplitude_min", "element_amplitude_offset_rad", "element_amplitude_steepness")
        scenario = scenario.replace(**dict(zip(names, losses, strict=True)))
    from_arrays = make_vec_env(scenario, 3, channels=data, **way)
    from_file = make_vec_env(scenario, 3, channels=tmp_path / "measured.npz", **way)
    for vec in (from_arrays, from_file):
        vec.reset(seed=1)
    rng, held = np.random.default_rng(5), [[-1] * L for _ in range(3)]
    for slot in range(T - 1):
        action = rng.uniform(-1, 1, (3, M, from_arrays.action_size)).astype(np.float32)
        if slot == 1:
            action *= np.float32(0.02)  # below Pmax
        _, rewards, *_, infos = from_arrays.step(action)
        again, its = from_file.step(action)[1::3]
        for name in ("rates", "owner", "power_w", "cell"):
            np.testing.assert_array_equal(np.asarray(infos[name]), np.asarray(its[name]))
        np.testing.assert_array_equal(np.asarray(rewards), np.asarray(again))
        for row in range(3):
            episode = (1 + row) % EPISODES
            at = [data[name][episode, slot] for name in ("H", "G", "h", "cell")]
            rates, owner, power, held[row] = slot_by_hand(*at, action[row], held[row], reading, losses)
            assert worst_error(infos["rates"][row], rates) < 1e-6
            np.testing.assert_array_equal(np.asarray(infos["owner"])[row], owner)
            np.testing.assert_allclose(np.asarray(infos["power_w"])[row], power, rtol=1e-6)
            by_bs = [rates[at[3] == m].sum() for m in range(M)]
            np.testing.assert_allclose(np.asarray(rewards)[row], by_bs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("reading", READINGS, ids=lambda r: "-".join(map(str, r.values())))
@pytest.mark.parametrize("fast", [False, None], ids=["plain", "as installed"])
def test_single_rates_from_given_channels(fast: bool | None, reading: dict[str, Any], tmp_path: Path) -> None:
    data = recording()
    np.savez(tmp_path / "measured.npz", **data)
    rng = np.random.default_rng(6)
    for channels in (data, tmp_path / "measured.npz"):
        env = make_env(SCENARIO, channels=channels, fast=fast, **reading)
        env.reset(seed=2)
        held = [-1] * L
        for slot in range(T):
            action = rng.uniform(-1, 1, (M, env.action_space("bs_0").shape[0])).astype(np.float32)
            _, rewards, _, _, infos = env.step(dict(zip(env.possible_agents, action, strict=True)))
            at = [data[name][2, slot] for name in ("H", "G", "h", "cell")]
            rates, owner, power, held = slot_by_hand(*at, action, held, reading)
            for m, agent in enumerate(env.possible_agents):
                assert worst_error(infos[agent]["rates"], np.where(at[3] == m, rates, 0.0)) < 1e-6
                np.testing.assert_array_equal(infos[agent]["owner"], owner)
                assert rewards[agent] == pytest.approx(rates[at[3] == m].sum(), rel=1e-6, abs=1e-6)
                assert infos[agent]["power_w"] == pytest.approx(power[m], rel=1e-6)


# --- channels of the built-in model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", READINGS, ids=lambda r: "-".join(map(str, r.values())))
@each_way
def test_rates_from_channels_of_the_built_in_model(way: dict[str, Any], reading: dict[str, Any]) -> None:
    """Own sites, facings, shadowing and the strongest BS: the rates follow from the channels that ``view`` shows."""
    scenario = SCENARIO.replace(
        shadowing_std_db=6.0, cell_rule="strongest", direct_rician_k_db=3.0, bs_irs_rician_k_db=6.0, fading="ar1"
    )
    vec = make_vec_env(scenario, 3, **way, **reading)
    vec.reset(seed=4)
    rng, held, served = np.random.default_rng(7), [[-1] * L for _ in range(3)], set()
    for _ in range(T - 1):
        view = vec.view()
        channels, cell = [np.array(x) for x in view.channels], np.array(view.cell)
        action = rng.uniform(-1, 1, (3, M, vec.action_size)).astype(np.float32)
        infos = vec.step(action)[4]
        for row in range(3):
            at = [x[row] for x in channels]
            rates, owner, power, held[row] = slot_by_hand(*at, cell[row], action[row], held[row], reading)
            assert worst_error(infos["rates"][row], rates) < 1e-6
            np.testing.assert_array_equal(np.asarray(infos["owner"])[row], owner)
            np.testing.assert_allclose(np.asarray(infos["power_w"])[row], power, rtol=1e-6)
            served |= set(cell[row].tolist())
    assert served == {0, 1, 2}


# --- in other processes ----------------------------------------------------------------------------------------------


class East:
    """Users walk east, 5 m in a slot, up to the border."""

    def start(self, constants: Any, streams: Any, position: Any) -> dict[str, Any]:
        if position is None:
            position = constants.origin + streams.uniform("layout", constants.scenario.num_users, 2) * constants.area
        return {"position": position}

    def advance(self, constants: Any, motion: dict[str, Any], streams: Any) -> dict[str, Any]:
        position, xp = motion["position"], namespace(motion["position"])
        x = xp.clip(position[..., :1] + 5.0, None, constants.scenario.bounds_m[2])
        return {"position": xp.concat([x, position[..., 1:]], axis=-1)}


class HeldAlone:
    """Each BS sees which IRSs it holds."""

    def __init__(self, scenario: Scenario) -> None:
        self.size = scenario.num_irs
        self.low, self.high = np.zeros(self.size, np.float32), np.ones(self.size, np.float32)

    def observe(self, known: Any) -> Any:
        return known.held


def rayleigh(gains: Any, memory: Any, motion: Any, streams: Any) -> list[Any]:
    """Independent fading of every link around its gain."""
    found = []
    for name, gain, axes in zip(("direct", "bs_irs", "irs_user"), gains, ((NB,), (N, NB), (N,)), strict=True):
        fading = streams.complex_normal(f"{name}_fading", *gain.shape[1:], *axes)
        found.append(gain.reshape(*gain.shape, *(1,) * len(axes)) * fading)
    return found


def lowest_bid(bids: Any, tie_break: Any) -> Any:
    return bids.argmin(-2)


def worst_user(outcome: Any, state: Any) -> Any:
    return namespace(outcome.rates).min(outcome.rates, axis=-1, keepdims=True) + 0 * outcome.sum_rate


def by_turns(links: Any) -> Any:
    """The first users of BS 0, the next of BS 1, wherever they are."""
    return namespace(links.direct_gain).zeros_like(links.distance_m.argmin(-2)) + np.arange(K) % M


def without_a_name() -> Any:
    return lambda *given: None


OBJECTS: dict[str, Any] = {
    "mobility": East,
    "contention": lowest_bid,
    "reward": worst_user,
    "observation": HeldAlone,
    "channel_model": rayleigh,
    "cell_rule": by_turns,
}


@pytest.mark.parametrize("source", ["objects", "arrays", "file"])
def test_evaluations_do_not_depend_on_the_number_of_processes(source: str, tmp_path: Path) -> None:
    """All objects at once, and channels of a dict and of a path; three batches, so that three processes have work."""
    scenario = SCENARIO.replace(**OBJECTS)
    if source != "objects":
        np.savez(tmp_path / "measured.npz", **recording())
        channels = recording() if source == "arrays" else tmp_path / "measured.npz"
        others = {name: OBJECTS[name] for name in ("contention", "reward", "observation", "cell_rule")}
        scenario = SCENARIO.replace(channels=channels, **others)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "episodes=33, but channels hold 3 episodes")
        one, three = (evaluate("random", scenario, 33, slots=2, processes=n) for n in (1, 3))
    for name in ("rates", "user_rates", "cell", "power_w"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))
    if source == "objects":
        np.testing.assert_array_equal(one.cell, np.broadcast_to(np.arange(K) % M, one.cell.shape))
    assert one.mean > 0
    assert three.scenario == scenario


@pytest.mark.parametrize("field", OBJECTS)
def test_what_has_no_name_is_refused_before_other_processes_start(field: str) -> None:
    nameless: Any = without_a_name()
    if field == "mobility":
        nameless = type("Nameless", (East,), {})()
    with pytest.raises(ValueError, match=r"^processes: the scenario cannot be handed .*top level of a module"):
        evaluate("random", SCENARIO.replace(**{field: nameless}), 2, slots=1, processes=2)
