"""BSs of unequal power and antennas, against the equations in double precision, and everything that asks for them."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, evaluate, make_env, make_vec_env, solvers
from irs_marl_env.evaluation import BOUND
from irs_marl_env.policies import POLICIES
from irs_marl_env.policies.cells import Cells
from irs_marl_env.scenario import ScenarioError

POWERS_DBM, ANTENNAS = (30.0, 26.0, 20.0), (6, 4, 1)
SIZES: dict[str, Any] = {"num_bs": 3, "num_users": 7, "num_irs": 3, "num_elements": (5, 3, 8), "horizon": 6}
# strong IRSs and little noise, so that every term of the SINR matters
STRONG: dict[str, Any] = {"blockage_db": 30.0, "bs_irs_exponent": 2.0, "irs_user_exponent": 2.0, "speed_mps": 40.0}
UNEQUAL = Scenario(**SIZES, **STRONG, tx_power_dbm=POWERS_DBM, num_antennas=ANTENNAS, noise_power_dbm=-95)
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"fast": False},
    "kernels": {"fast": True},
    "torch": {"backend": "torch"},
}
NEEDS = {"plain": "numpy", "kernels": "numba", "torch": "torch"}
each_way = pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, marks=pytest.mark.skipif(find_spec(NEEDS[way]) is None, reason=f"{NEEDS[way]} is missing"))
        for way in WAYS
    ],
)
SINGLE = 1e-6  # of (1 bit/s/Hz + the rate); single precision leaves 2e-7 here


def made(scenario: Scenario, num_envs: int, way: str) -> Any:
    return make_vec_env(scenario, num_envs, **WAYS[way])


def stepped(env: Any, action: np.ndarray) -> dict[str, np.ndarray]:
    """What a step brings, in numpy."""
    observations, rewards, _, _, infos = env.step(env._xp.asarray(action))
    brought = {"observations": observations, "rewards": rewards, "state": env.state()}
    brought |= {name: infos[name] for name in ("rates", "sum_rate", "power_w", "owner", "cell")}
    return {name: np.asarray(x) for name, x in brought.items()}


def random_actions(scenario: Scenario, rng: np.random.Generator, num_envs: int) -> np.ndarray:
    """Bids without ties, beams of much and of little power."""
    beams = 2 * scenario.num_users * scenario.max_antennas
    size = beams + sum(scenario.elements) + scenario.num_irs
    action = rng.uniform(-1, 1, (num_envs, scenario.num_bs, size)).astype(np.float32)
    action[1::2, :, :beams] *= 0.02
    return action


def by_hand(channels: Any, cell: np.ndarray, action: np.ndarray, interference: bool) -> tuple[np.ndarray, ...]:
    """Rates ``(K,)``, owners and powers of one environment, from the documented layout and Eqs. (1)-(5) alone."""
    H, G, h = (np.asarray(x).astype(complex) for x in channels)
    M, K, Nb = H.shape
    L, N = h.shape[0], h.shape[2]
    a = action.astype(float)
    w = (a[:, : K * Nb] + 1j * a[:, K * Nb : 2 * K * Nb]).reshape(M, K, Nb)
    P = np.array([10 ** (dbm / 10) / 1000 for dbm in POWERS_DBM])
    for m in range(M):
        w[m] *= math.sqrt(P[m])
        w[m, :, ANTENNAS[m] :] = 0.0
        w[m, cell != m] = 0.0
        w[m] *= min(1.0, math.sqrt(P[m] / (abs(w[m]) ** 2).sum())) if w[m].any() else 1.0
    owner = a[:, -L:].argmax(0)
    phi = np.zeros((L, N), complex)
    start = 2 * K * Nb
    for l, size in enumerate(SIZES["num_elements"]):
        phi[l, :size] = np.exp(1j * math.pi * a[owner[l], start : start + size])
        start += size
    rates = np.zeros(K)
    for k in range(K):
        mine = [l for l in range(L) if owner[l] == cell[k]]
        row = [H[m, k] + sum((h[l, k] * phi[l]) @ G[m, l] for l in mine) for m in range(M)]  # from every BS
        received = np.array([abs(row[cell[i]] @ w[cell[i], i]) ** 2 for i in range(K)])
        heard = received[(np.arange(K) != k) & ((cell == cell[k]) | interference)].sum()
        rates[k] = math.log2(1 + received[k] / (heard + 10 ** (-95 / 10) / 1000))
    return rates, owner, (abs(w) ** 2).sum((1, 2))


# --- the equations -------------------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize("interference", [False, True], ids=["cells apart", "interference"])
def test_rates_are_those_of_the_equations(interference: bool, way: str) -> None:
    env = made(UNEQUAL.replace(inter_cell_interference=interference), 6, way)
    worst, served = 0.0, set()
    env.reset(seed=0)
    rng = np.random.default_rng(1)
    for _ in range(5):
        action, view = random_actions(UNEQUAL, rng, 6), env.view()
        channels, cell = [np.array(x) for x in view.channels], np.array(view.cell)
        got = stepped(env, action)
        for e in range(6):
            rates, owner, power = by_hand([x[e] for x in channels], cell[e], action[e], interference)
            worst = max(worst, (abs(got["rates"][e] - rates) / (1 + rates)).max())
            np.testing.assert_array_equal(got["owner"][e], owner)
            np.testing.assert_allclose(got["power_w"][e], power, rtol=1e-6)
            served |= set(cell[e].tolist())
    assert served == {0, 1, 2}
    assert worst < SINGLE


@each_way
def test_channels_of_absent_antennas_are_zero_and_all_others_are_not(way: str) -> None:
    s = UNEQUAL.replace(csi_error_variance=0.5, direct_rician_k_db=3.0, bs_irs_rician_k_db=3.0, fading="ar1")
    env = made(s, 2, way)
    env.reset(seed=0)
    view, there = env.view(), np.arange(6) < np.array(ANTENNAS)[:, None]  # (M, Nb)
    elements = np.arange(8) < np.array(SIZES["num_elements"])[:, None]  # (L, N)
    for channels in (view.channels, view.csi):
        H, G = np.array(channels.H).swapaxes(1, 2), np.array(channels.G)
        np.testing.assert_array_equal(H != 0, np.broadcast_to(there, H.shape))
        expected = there[:, None, None] & elements[None, :, :, None]
        np.testing.assert_array_equal(G != 0, np.broadcast_to(expected, G.shape))


@each_way
def test_absent_antennas_do_not_radiate(way: str) -> None:
    first, second = made(UNEQUAL, 4, way), made(UNEQUAL, 4, way)
    action = random_actions(UNEQUAL, np.random.default_rng(2), 4)
    beams = action[..., : 2 * 7 * 6].reshape(4, 3, 2, 7, 6)
    absent = np.broadcast_to(np.arange(6) >= np.array(ANTENNAS)[:, None, None, None], beams.shape)
    other, silent = action.copy(), action.copy()
    other[..., : 2 * 7 * 6] = np.where(absent, -beams[..., ::-1], beams).reshape(4, 3, -1)
    silent[..., : 2 * 7 * 6] = np.where(absent, 1.0, 0.0).reshape(4, 3, -1)
    for env in (first, second):
        env.reset(seed=3)
    a, b = stepped(first, action), stepped(second, other)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    nothing = stepped(first, silent)
    assert (nothing["power_w"] == 0).all()
    assert (nothing["rates"] == 0).all()


@each_way
@pytest.mark.parametrize("action_kind", ["raw", "structured"])
def test_one_number_and_the_same_for_each_are_one_scenario(action_kind: str, way: str) -> None:
    one = UNEQUAL.replace(num_antennas=4, tx_power_dbm=26.0, action=action_kind)
    each = one.replace(num_antennas=[4, 4, 4], tx_power_dbm=np.full(3, 26.0))
    assert (each.num_antennas, each.tx_power_dbm) == ((4, 4, 4), (26.0, 26.0, 26.0))
    envs = [made(s, 3, way) for s in (one, each)]
    assert (envs[0].observation_size, envs[0].action_size) == (envs[1].observation_size, envs[1].action_size)
    for env in envs:
        env.reset(seed=4)
    rng = np.random.default_rng(0)
    for _ in range(4):
        action = rng.uniform(-1, 1, (3, 3, envs[0].action_size)).astype(np.float32)
        a, b = (stepped(env, action) for env in envs)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.skipif(find_spec("numba") is None, reason="numba is missing")
@pytest.mark.parametrize("reading", [{}, {"power": "sphere"}, {"inter_cell_interference": True}, {"reflection": "all"}])
@pytest.mark.parametrize("action_kind", ["raw", "structured"])
def test_kernels_are_the_plain_code(action_kind: str, reading: dict[str, Any]) -> None:
    s = UNEQUAL.replace(action=action_kind, **reading)
    plain, compiled = made(s, 4, "plain"), made(s, 4, "kernels")
    plain.reset(seed=5)
    rng = np.random.default_rng(0)
    for _ in range(4):
        compiled.set_state(plain.get_state())
        action = rng.uniform(-1, 1, (4, 3, plain.action_size)).astype(np.float32)
        a, b = stepped(plain, action), stepped(compiled, action)
        np.testing.assert_allclose(a["rates"], b["rates"], rtol=2e-4, atol=2e-4)  # docs/performance.md
        np.testing.assert_allclose(a["power_w"], b["power_w"], rtol=1e-4)


def test_structured_beams_use_the_power_of_their_own_bs() -> None:
    env = made(UNEQUAL.replace(action="structured"), 8, "plain")
    env.reset(seed=0)
    power = stepped(env, np.zeros((8, 3, env.action_size), np.float32))["power_w"]
    for m, dbm in enumerate(POWERS_DBM):
        radiating = power[:, m] > 0  # a cell with users
        assert radiating.any()
        np.testing.assert_allclose(power[radiating, m], 10 ** (dbm / 10) / 1000, rtol=1e-5)


def test_64_base_stations() -> None:
    antennas = tuple(1 + m % 4 for m in range(64))
    power_dbm = tuple(10.0 + m % 7 for m in range(64))
    s = Scenario(num_bs=64, num_users=70, num_irs=2, num_elements=2, num_antennas=antennas, tx_power_dbm=power_dbm)
    env = make_vec_env(s.replace(horizon=2), 2, fast=False)
    env.reset(seed=0)
    got = stepped(env, np.ones((2, 64, env.action_size), np.float32) * 0.9)
    assert np.isfinite(got["rates"]).all()
    limit = 10 ** (np.array(power_dbm) / 10) / 1000
    users = (got["cell"][:, None] == np.arange(64)[:, None]).any(-1)
    np.testing.assert_allclose(got["power_w"], np.where(users, np.broadcast_to(limit, (2, 64)), 0), rtol=1e-5)


@each_way
def test_the_strongest_bs_is_the_one_with_its_own_power(way: str) -> None:
    env = made(UNEQUAL.replace(cell_rule="strongest", tx_power_dbm=(0.0, 26.0, 46.0)), 10, way)
    env.reset(seed=0)
    view = env.view()
    gain_db = 20 * np.log10(view.gains.direct)  # (E, M, K)
    np.testing.assert_array_equal(view.cell, (gain_db + np.array([0.0, 26.0, 46.0])[:, None]).argmax(1))
    assert (np.asarray(view.cell) != gain_db.argmax(1)).any()


# --- actions and states --------------------------------------------------------------------------------------------


def test_the_codec_knows_the_bs() -> None:
    codec = make_env(UNEQUAL, fast=False).action_codec
    flat = np.random.default_rng(0).uniform(-1, 1, (2, 3, codec.size)).astype(np.float32)
    named = codec.decode(flat)
    for m in range(3):
        alone = codec.decode(flat[:, m], bs=m)
        for name in named:
            np.testing.assert_array_equal(alone[name], named[name][:, m], err_msg=name)
        np.testing.assert_allclose(codec.encode(alone, bs=m), codec.encode(named)[:, m])
        assert (alone["w"][..., ANTENNAS[m] :] == 0).all()
        largest = math.sqrt(2 * 10 ** (POWERS_DBM[m] / 10) / 1000)
        assert 0.3 * largest < abs(alone["w"]).max() < largest
    again = codec.decode(codec.encode(named))
    for name in named:
        np.testing.assert_allclose(again[name], named[name], rtol=1e-6, err_msg=name)
    for shape in ((codec.size,), (2, codec.size)):
        with pytest.raises(ValueError, match=r"must be \(..., M\) with M=3.*bs=0"):
            codec.decode(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=r"bs=3: must be an integer in \[0, 2\]"):
        codec.decode(flat[0, 0], bs=3)


@each_way
def test_a_state_goes_on_and_has_nothing_where_nothing_is(way: str) -> None:
    env, copy = made(UNEQUAL, 2, way), made(UNEQUAL, 2, way)
    env.reset(seed=0)
    action = random_actions(UNEQUAL, np.random.default_rng(0), 2)
    env.step(env._xp.asarray(action))
    saved = env.get_state()
    copy.set_state(saved)
    a, b = stepped(env, action), stepped(copy, action)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    for name, at in (("channels.H", (0, 2, 0, 3)), ("channels.G", (1, 0, 1, 4, 0)), ("channels.h", (0, 1, 0, 6))):
        broken = dict(saved)
        broken[name] = np.asarray(saved[name]).copy()
        broken[name][at] = 1e-9
        with pytest.raises(ValueError, match=f"{name}'.*must be 0: there is no such antenna or element"):
            copy.set_state(broken)


# --- policies and solvers ------------------------------------------------------------------------------------------


def test_every_policy_runs_and_none_passes_the_bound() -> None:
    slots = {"episodes": 3, "slots": 2, "seed": 1, "fairness_offset": 0.1}
    bound = evaluate(BOUND, UNEQUAL, **slots).per_bs.episodes
    mean = {}
    for name in POLICIES:
        result = evaluate(name, UNEQUAL, **slots)
        assert (result.per_bs.episodes <= bound + 1e-6).all(), name
        mean[name] = result.mean
    assert mean["random"] < mean["no-irs-wmmse"] < mean["exhaustive-ao"]
    assert mean["no-irs-wmmse"] > 1.5 * mean["no-irs-mrt"]


def test_cells_are_solved_with_the_power_of_their_bs() -> None:
    env = made(UNEQUAL, 4, "plain")
    env.reset(seed=0)
    view = env.view()
    rows, bs = np.nonzero(view.own_user.any(-1))  # cells with users
    assert set(bs) == {0, 1, 2}
    solution = Cells(view).solve(rows, bs, np.ones((len(rows), 3), bool))
    radiated = (abs(solution.w) ** 2).sum((1, 2))
    np.testing.assert_allclose(radiated, 10 ** (np.array(POWERS_DBM)[bs] / 10) / 1000, rtol=1e-5)
    for w, m in zip(solution.w, bs, strict=True):
        assert (w[:, ANTENNAS[m] :] == 0).all()


def cells(seed: int, lead: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    shapes = ((3, 4), (2, 5, 4), (2, 3, 5))
    return tuple((rng.normal(size=(*lead, *shape, 2)) @ [1, 1j]) * 1e-3 for shape in shapes)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_solvers_take_a_power_for_each_cell(kind: str) -> None:
    H, G, h = cells(0, (2, 3))
    power, noise = np.array([0.1, 1.0, 3.0]), 1e-7
    to: Any = np.asarray if kind == "numpy" else pytest.importorskip("torch").asarray
    w0 = to(H.conj())
    solved: dict[str, Any] = {
        "mrt": lambda H, G, h, p, w: solvers.mrt(H, p, noise),
        "rzf": lambda H, G, h, p, w: solvers.rzf(H, p, noise, regularizer=0.3),
        "wmmse": lambda H, G, h, p, w: solvers.wmmse(H, p, noise, iterations=3),
        "wmmse_step": lambda H, G, h, p, w: solvers.wmmse_step(H, w, p, noise),
        "ao": lambda H, G, h, p, w: solvers.alternating_optimization(H, G, h, p, noise, iterations=3)[0],
        "refine": lambda H, G, h, p, w: solvers.refine(H, G, h, w, h[..., 0, :] / abs(h[..., 0, :]), p, noise)[0],
        "unfold": lambda H, G, h, p, w: solvers.unfold(H, G, h, p, noise, neutral)[0],
        "upper_bound": lambda H, G, h, p, w: solvers.upper_bound(H, G, h, p, noise),
    }
    neutral = {name: to(x) for name, x in solvers.neutral_coefficients(2).items()}
    for name, solve in solved.items():
        together = solve(to(H), to(G), to(h), to(power), w0)
        for e in range(2):
            for m in range(3):
                alone = solve(*(to(x[e, m]) for x in (H, G, h)), float(power[m]), w0[e, m])
                np.testing.assert_allclose(np.asarray(together[e, m]), np.asarray(alone), rtol=1e-6, err_msg=name)
        column = solve(to(H), to(G), to(h), to(power[:, None][:2]), w0)
        assert tuple(column.shape) == tuple(together.shape)
        with pytest.raises(ValueError, match=r"power has shape \(4,\): must be one number, or fit to the leading axes"):
            solve(to(H), to(G), to(h), to(np.ones(4)), w0)
    H, G, h = (x.astype(np.complex64) for x in (H, G, h))
    assert str(solvers.rzf(to(H), to(power), noise).dtype).endswith("complex64")  # the precision of the channels


# --- what is not allowed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tx_power_dbm": (26, 26, 26)}, r"tx_power_dbm=\(26.0, 26.0, 26.0\): must be one number, or num_bs=2 numbers"),
        ({"num_antennas": [4]}, r"num_antennas=\(4,\): must be one integer, or num_bs=2 integers"),
        ({"num_antennas": ()}, r"num_antennas=\(\): must be one integer, or num_bs=2 integers"),
        ({"num_antennas": (4, 0)}, r"num_antennas=\(4, 0\): must be an integer >= 1, or one such integer per BS"),
        ({"num_antennas": np.array([4.0, 2.0])}, r"num_antennas=.*: must be an integer >= 1, or one such"),
        ({"num_antennas": np.ones((2, 1), int)}, r"num_antennas=.*: must be an integer >= 1, or one such"),
        (
            {"tx_power_dbm": (26, math.nan)},
            r"tx_power_dbm=\(26, nan\): must be a finite number in \[-100, 100\], or one such number per BS",
        ),
        ({"tx_power_dbm": (26, "26")}, r"tx_power_dbm=.*: must be a finite number in \[-100, 100\], or one such"),
        ({"tx_power_dbm": {26: 26}}, r"tx_power_dbm=.*: must be a finite number in \[-100, 100\], or one such"),
        ({"tx_power_dbm": (-90, 100), "noise_power_dbm": -250}, r"tx_power_dbm=\(-90.0, 100.0\), noise_power_dbm=-250"),
        ({"num_antennas": (1, 10**10)}, "num_antennas=10,000,000,000.*one environment would need at least"),
    ],
    ids=str,
)
def test_what_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        Scenario(**fields)


def test_records() -> None:
    s = UNEQUAL
    assert Scenario.from_json(s.to_json()) == s
    assert Scenario.from_json(s.to_json()).digest == s.digest
    assert s.digest != s.replace(tx_power_dbm=(30, 26, 21)).digest
    assert "num_antennas=(6, 4, 1)" in repr(s)
    assert (s.antennas, s.max_antennas) == (ANTENNAS, 6)
    assert Scenario(num_antennas=3).antennas == (3, 3)
    np.testing.assert_allclose(s.tx_powers_w, [1.0, 10**-0.4, 0.1])
    assert Scenario().tx_powers_w == (Scenario().tx_power_w,) * 2
    assert s.replace(tx_power_dbm=(20.0,) * 3).tx_power_w == pytest.approx(0.1)
    with pytest.raises(ScenarioError, match=r"tx_power_dbm=\(30.0, 26.0, 20.0\): must be the same for all BSs"):
        _ = s.tx_power_w
    with pytest.raises(ScenarioError, match="or num_bs=2 integers"):
        s.replace(num_bs=2)
