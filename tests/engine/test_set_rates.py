"""Own rates of sets of IRSs: against loops in double precision, against the slot itself, and with kernels."""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, make_vec_env
from irs_marl_env.engine.set_rates import marginal_sets, marginals

SMALL: dict[str, Any] = {"num_users": 5, "num_irs": 3, "num_antennas": 3, "num_elements": 4, "horizon": 9}
KERNELS = pytest.param(True, marks=pytest.mark.skipif(find_spec("numba") is None, reason="needs numba"))


def slot(scenario: Any, fast: bool | None = False, steps: int = 1, **fields: Any) -> Any:
    """An environment after some slots of random actions."""
    env = make_vec_env(scenario, 4, fast=fast, **fields)
    env.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        env.step(rng.uniform(-1, 1, (4, env.scenario.num_bs, env.action_size)).astype(np.float32))
    return env


def all_sets(num_irs: int) -> np.ndarray:
    return np.array(list(itertools.product([False, True], repeat=num_irs)), bool).reshape(2**num_irs, num_irs)


def expected_rate(H: Any, G: Any, h: Any, power: float, noise: float, sweeps: int) -> float:
    """Sum rate of one cell after the decoder, neutral entries: user by user and element by element, complex128.

    ``H (K, Nb)``, ``G (S, Nb)`` and ``h (K, S)`` of the users and elements of the cell alone.
    """
    (K, Nb), S = H.shape, len(G)
    H, h = H * np.sqrt(power / noise), h * np.sqrt(power / noise)
    phi = np.ones(S, complex)
    for e in range(S):  # coherent with the direct channels
        path = sum(h[k, e] * sum(G[e, b] * np.conj(H[k, b]) for b in range(Nb)) for k in range(K))
        phi[e] = np.conj(path) / abs(path)

    def channel() -> Any:
        return np.array([H[k] + sum(h[k, e] * phi[e] * G[e] for e in range(S)) for k in range(K)])

    at = channel()  # regularised zero-forcing, equal powers
    directions = [np.linalg.solve(at.conj().T @ at + K * np.eye(Nb), at[k].conj()) for k in range(K)]
    w = np.array([x / np.linalg.norm(x) / np.sqrt(K) for x in directions])
    for step in range(2 * sweeps + 1 if sweeps else 0):
        if step and step % 2 == 0:  # all elements at once, along the gradient of the rate
            T, field, curvature = at @ w.T, np.zeros(S, complex), np.zeros(S)
            at_irs = [[sum(G[e, b] * w[i, b] for b in range(Nb)) for e in range(S)] for i in range(K)]
            for k in range(K):
                heard = 1 + sum(abs(T[k, i]) ** 2 for i in range(K))
                noisy = heard - abs(T[k, k]) ** 2
                cost = abs(T[k, k]) ** 2 / (noisy * heard)
                for i, e in itertools.product(range(K), range(S)):
                    slope = T[k, i] / heard - (T[k, i] / noisy if i != k else 0)
                    field[e] += np.conj(h[k, e] * at_irs[i][e]) * slope
                    curvature[e] += cost * abs(h[k, e] * at_irs[i][e]) ** 2
            phi = field + curvature * phi
            phi = phi / abs(phi)
            at = channel()
        T = at @ w.T
        receive, load = np.zeros(K, complex), np.zeros(K)
        for k in range(K):
            noisy = 1 + sum(abs(T[k, i]) ** 2 for i in range(K) if i != k)
            receive[k], load[k] = T[k, k] / noisy, abs(T[k, k]) ** 2 / (noisy * (noisy + abs(T[k, k]) ** 2))
        matrix = sum(load[k] * np.outer(at[k].conj(), at[k]) for k in range(K)) + load.sum() * np.eye(Nb)
        w = np.array([receive[k] * np.linalg.solve(matrix, at[k].conj()) for k in range(K)])
        w = w / np.linalg.norm(w)
    T = at @ w.T
    sinr = [abs(T[k, k]) ** 2 / (1 + sum(abs(T[k, i]) ** 2 for i in range(K) if i != k)) for k in range(K)]
    return float(sum(np.log2(1 + x) for x in sinr))


@pytest.mark.parametrize("fast", [False, KERNELS])
@pytest.mark.parametrize("sweeps", [0, 2])
def test_rates_and_marginals_are_those_of_loops(sweeps: int, fast: bool) -> None:
    env = slot("mdlbi-small-v0", fast, num_irs=3, num_elements=(2, 5, 3), sweeps=sweeps, csi_error_variance=0.3)
    view, s = env.view(), env.scenario
    H, G, h = (np.asarray(x, complex) for x in view.csi)  # with errors: what the BSs know, not what is
    values: dict[Any, float] = {}
    for e, m, members in itertools.product(range(4), range(2), map(tuple, all_sets(3))):
        own = [k for k in range(4) if view.cell[e, k] == m]
        elements = [(l, n) for l in range(3) if members[l] for n in range(s.elements[l])]
        G_of = np.array([G[e, m, l, n] for l, n in elements]).reshape(len(elements), 4)
        h_of = np.array([[h[e, l, k, n] for l, n in elements] for k in own]).reshape(len(own), len(elements))
        power = s.tx_power_w, s.noise_power_w
        values[e, m, members] = expected_rate(H[e, m, own], G_of, h_of, *power, sweeps) if own else 0.0
    found = view.set_rates(all_sets(3))
    expected = [[[values[e, m, tuple(x)] for x in all_sets(3)] for m in range(2)] for e in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert 0 in found
    assert np.ptp(found, axis=-1).max() > 0.5
    none, every = (False,) * 3, (True,) * 3
    for l in range(3):
        one = tuple(i == l for i in range(3))
        rest = tuple(i != l for i in range(3))
        first = [[values[e, m, one] - values[e, m, none] for m in range(2)] for e in range(4)]
        last = [[values[e, m, every] - values[e, m, rest] for m in range(2)] for e in range(4)]
        np.testing.assert_allclose(view.marginal_rates[0][..., l], first, rtol=1e-3, atol=2e-5)
        np.testing.assert_allclose(view.marginal_rates[1][..., l], last, rtol=1e-3, atol=2e-5)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"reflection": "single"},
    {"csi": "owned"},
    {"csi": "owned", "reflection": "single", "association_delay": 1},
    {"phase_bits": 1},
    {"element_amplitude_min": 0.3, "phase_bits": 2},
    {"element_amplitude_min": 0.3, "sweeps": 0},
    {"sinr": "paper"},
    {"sinr": "reflected"},
    {"power": "sphere", "sweeps": 0},
    {"num_elements": (1, 4, 2), "num_antennas": (3, 2), "tx_power_dbm": (26, 14)},
    {"num_bs": 1},
    {"num_bs": 3, "bs_irs_fading": "frozen", "action": "raw"},
    {"num_irs": 0, "num_elements": 2},
    {"num_irs": 1},
    {"power_control": True, "sweeps": 0},
]


@pytest.mark.parametrize("fields", OPTIONS, ids=str)
def test_they_are_what_the_slot_brings(fields: dict[str, Any]) -> None:
    """Without interference and with true CSI a BS gets what it expects, whatever the others do; kernels or not."""
    s = Scenario(**{**SMALL, "action": "structured", **fields}, speed_mps=20.0)
    env = slot(s)
    views = [env.view(), slot(s, None).view()]
    sets = all_sets(s.num_irs)
    values = [view.set_rates(sets) for view in views]
    np.testing.assert_allclose(values[1], values[0], rtol=2e-3, atol=1e-4)
    if s.action == "raw":
        return
    action = np.tile(env.action_codec.neutral, (4, s.num_bs, 1))
    known = views[0].owner  # under csi="owned" the state's own; else anything
    for seed in range(3):
        owner = np.random.default_rng(seed).integers(-1, s.num_bs, (4, s.num_irs))
        if s.csi == "owned":
            owner = np.where(np.random.default_rng(seed).random(owner.shape) < 0.5, known, -1)
        rates = views[0].rates_if(owner, action)
        np.testing.assert_array_equal(rates, views[0].rates_if(owner))
        for e, m in itertools.product(range(4), range(s.num_bs)):
            (index,) = np.flatnonzero((sets == (owner[e] == m)).all(-1))
            got = rates[e, views[0].cell[e] == m].sum()
            np.testing.assert_allclose(values[0][e, m, index], got, rtol=2e-3, atol=1e-4)


def test_an_irs_without_csi_counts_for_nothing() -> None:
    view = slot(Scenario(**SMALL, csi="owned")).view()
    held = view.owner[:, None] == np.arange(2)[:, None]  # (E, M, L)
    for marginal in view.marginal_rates:
        np.testing.assert_array_equal(marginal[~held], 0)
        assert abs(marginal[held]).min() > 0 or (view.own_user.sum(-1) == 0).any()


def test_interference_and_foreign_irss_are_left_out() -> None:
    plain = slot(Scenario(**SMALL)).view().set_rates(all_sets(3))
    more = slot(Scenario(**SMALL, inter_cell_interference=True, reflection="all")).view().set_rates(all_sets(3))
    np.testing.assert_array_equal(plain, more)


@pytest.mark.parametrize("num_irs", [0, 1, 2, 3, 5])
def test_marginal_sets_are_each_there_once(num_irs: int) -> None:
    sets = marginal_sets(num_irs)
    assert len({tuple(x) for x in sets}) == len(sets) == {0: 1, 1: 2, 2: 4}.get(num_irs, 2 * num_irs + 2)
    worth = np.arange(1.0, num_irs + 1) * 2  # v(S) = (sum of worth)^2 / 2 + 7
    first, last = marginals((sets @ worth) ** 2 / 2 + 7, num_irs)
    np.testing.assert_allclose(first, worth**2 / 2)
    np.testing.assert_allclose(last, worth.sum() * worth - worth**2 / 2)


@pytest.mark.parametrize(
    "sets", [[[True, False, True]], np.ones((2, 2), bool), np.ones((2, 3)), np.ones(3, bool), np.array(True)]
)
def test_other_sets_are_refused(sets: Any) -> None:
    with pytest.raises(ValueError, match=r"sets=.*must be an array of bool of shape \(C, num_irs=3\)"):
        slot(Scenario(**SMALL)).view().set_rates(sets)


def test_no_sets_have_no_values() -> None:
    for fast in (False, None):
        assert slot(Scenario(**SMALL), fast).view().set_rates(np.zeros((0, 3), bool)).shape == (4, 2, 0)


def test_torch_has_the_same() -> None:
    pytest.importorskip("torch")
    fields = {"num_irs": 3, "reflection": "single", "csi": "owned"}
    envs = [slot("mdlbi-small-v0", fast=None, backend=name, **fields) for name in ("numpy", "torch")]
    views = [env.view() for env in envs]
    np.testing.assert_allclose(*(view.set_rates(all_sets(3)) for view in views), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(*(view.marginal_rates for view in views), atol=1e-4)
    owner = np.array([[0, 1, -1]] * 4)
    action = np.full((4, 2, envs[0].action_size), 0.5)
    np.testing.assert_allclose(*(view.rates_if(owner, action) for view in views), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "owner", [[[0, 1, 2]] * 4, [[0, -2, 1]] * 4, [[0.0, 1, 1]] * 4, [[True] * 3] * 4, [0, 1, 1]], ids=str
)
def test_owners_that_are_none_are_refused(owner: Any) -> None:
    view = slot(Scenario(**SMALL, action="structured")).view()
    allowed = r"must be integers from -1 \(nobody\) to 1, of shape \(4, 3\)"
    with pytest.raises(ValueError, match=rf"^owner=.*{allowed}"):
        view.rates_if(owner)
    with pytest.raises(ValueError, match=rf"^decided=.*{allowed}"):
        view.owners(owner)


@pytest.mark.parametrize("change", [lambda a: a[:, :1], lambda a: a[0], lambda a: a * np.nan, lambda a: a > 0])
def test_actions_that_are_none_are_refused(change: Any) -> None:
    view = slot(Scenario(**SMALL, action="structured")).view()
    action = np.zeros((4, 2, 3 + 3 * view.scenario.num_users + view.scenario.num_users + 1))
    view.rates_if(view.owner, action)
    with pytest.raises(ValueError, match=r"^action=.*must be finite numbers of shape \(4, 2, "):
        view.rates_if(view.owner, change(action))
