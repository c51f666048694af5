"""The radio link and the association: hand-computed cases, an independent implementation, invariances."""

from __future__ import annotations

import math
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from irs_marl_env import link
from irs_marl_env.physics import association

NOISE = 0.3
MODES = ("physical", "paper", "reflected")
REFLECTIONS = ("owned", "single", "all")


def complex_normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def as_backend(backend: str, *arrays: np.ndarray) -> tuple[Any, ...]:
    if backend == "numpy":
        return arrays
    torch = pytest.importorskip("torch")
    return tuple(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)


def as_numpy(x: Any) -> np.ndarray:
    return x if isinstance(x, np.ndarray) else x.detach().numpy()


@pytest.fixture(params=["numpy", "torch"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "torch":
        pytest.importorskip("torch")
    return request.param


@st.composite
def links(draw: st.DrawFn) -> dict[str, Any]:
    """A random link with up to two batch axes; cells may be empty, IRSs idle, beams zero."""
    lead = draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    M, K, L = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(0, 3))
    N, Nb = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cell = rng.integers(0, M, (*lead, K))
    if draw(st.booleans()):
        cell = np.zeros_like(cell)  # every other cell is empty
    w = complex_normal(rng, *lead, M, K, Nb)
    if draw(st.booleans()):
        w = w * rng.integers(0, 2, (*lead, M, K, 1))  # some beams are zero
    return {
        "lead": lead,
        "M": M,
        "H": complex_normal(rng, *lead, M, K, Nb),
        "G": complex_normal(rng, *lead, M, L, N, Nb),
        "h": complex_normal(rng, *lead, L, K, N),
        "phi": np.exp(2j * np.pi * rng.random((*lead, L, N))),
        "w": w,
        "owner": rng.integers(-1, M, (*lead, L)),
        "cell": cell,
        "rank": rng.random((*lead, M, K, L)),
    }


def a_link(seed: int = 0, *, M: int = 2, K: int = 4, L: int = 3, N: int = 4, Nb: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "M": M,
        "H": complex_normal(rng, M, K, Nb),
        "G": complex_normal(rng, M, L, N, Nb),
        "h": complex_normal(rng, L, K, N),
        "phi": np.exp(2j * np.pi * rng.random((L, N))),
        "w": complex_normal(rng, M, K, Nb),
        "owner": rng.integers(-1, M, L),
        "cell": rng.integers(0, M, K),
        "rank": rng.random((M, K, L)),
    }


def sinr_of(x: dict[str, Any], backend: str, mode: str, reflection: str, inter_cell: bool = False) -> np.ndarray:
    names = ("H", "G", "h", "phi", "w", "owner", "cell", "rank")
    H, G, h, phi, w, owner, cell, rank = as_backend(backend, *(x[name] for name in names))
    A = association.user_irs(owner, cell, x["M"], reflection, rank)
    h_eff = link.effective_channel(H, G, h, phi, A, cell)
    cross = link.cross_channel(H, G, h, phi, A, cell) if inter_cell else None
    direct = None if mode == "physical" else link.served(H, cell)
    return as_numpy(link.sinr(h_eff, w, cell, NOISE, mode=mode, h_direct=direct, h_cross=cross))


# --- by hand -----------------------------------------------------------------------------------------------------


def one_irs(h: list[complex], g: list[complex], phi: list[complex], direct: complex = 0.0) -> Any:
    """Effective channel of one BS with one antenna, one user and one IRS."""
    H = np.array([[[direct]]], complex)
    G = np.array(g, complex).reshape(1, 1, -1, 1)
    every = np.ones((1, 1, 1), bool)
    return link.effective_channel(H, G, np.array(h, complex).reshape(1, 1, -1), np.array([phi]), every, np.array([0]))


def test_two_elements_by_hand() -> None:
    # direct 1; element 1: j * 2 * (-j) = 2; element 2: (1 - j) * 1 * (1 + j) = 2
    h_eff = one_irs(h=[1j, 1 - 1j], g=[-1j, 1 + 1j], phi=[2.0, 1.0], direct=1.0)
    assert h_eff == pytest.approx(np.array([[5.0]]))
    # signal |5 * 2|^2 = 100 over a noise of 4: SINR 25, rate log2(26)
    sinr = link.sinr(h_eff, np.full((1, 1, 1), 2.0 + 0j), np.array([0]), 4.0)
    assert sinr == pytest.approx(np.array([25.0]))
    assert link.rates(sinr) == pytest.approx(np.array([math.log2(26.0)]))


def test_two_users_by_hand() -> None:
    # user 0 hears 3 on its own beam and 1 on the other; user 1 hears 2 and -1
    h_eff = np.array([[3.0, 1.0], [-1.0, 2.0]], complex)
    w = np.eye(2, dtype=complex)[None]
    same = link.sinr(h_eff, w, np.array([0, 0]), 1.0)
    assert same == pytest.approx(np.array([9 / 2, 4 / 2]))
    apart = link.sinr(h_eff, np.concatenate([w, w]), np.array([0, 1]), 1.0)
    assert apart == pytest.approx(np.array([9.0, 4.0]))  # one user per cell: noise alone


def test_literal_equation_4_by_hand() -> None:
    # direct path 1 for both users, reflected path 1 and 2; K = 2, beams 1 and 3 in the same cell
    h_eff, direct = np.array([[2.0], [3.0]], complex), np.ones((2, 1), complex)
    w = np.array([[[1.0], [3.0]]], complex)
    cell = np.array([0, 0])
    paper = link.sinr(h_eff, w, cell, 1.0, mode="paper", h_direct=direct)
    assert paper == pytest.approx(np.array([4 / (1 * 16 + 1), 81 / (1 * 64 + 1)]))
    reflected = link.sinr(h_eff, w, cell, 1.0, mode="reflected", h_direct=direct)
    assert reflected == pytest.approx(np.array([4 / (9 + 1), 81 / (4 + 1)]))


@pytest.mark.parametrize("n", [1, 7, 64])
def test_aligned_elements_give_power_n_squared(n: int) -> None:
    rng = np.random.default_rng(n)
    h, g = np.exp(2j * np.pi * rng.random(n)), np.exp(2j * np.pi * rng.random(n))
    aligned = one_irs(list(h), list(g), list(np.conj(h * g)))
    assert abs(aligned[0, 0]) ** 2 == pytest.approx(n**2)


def test_random_phases_give_power_n_on_average() -> None:
    n, draws = 32, 20_000
    rng = np.random.default_rng(1)
    phi = link.phase_shifts(2 * np.pi * rng.random((draws, 1, n)))
    h = np.ones((draws, 1, 1, n), complex)
    out = link.cell_channel(np.zeros((draws, 1, 1), complex), np.ones((1, n, 1), complex), h, phi)
    power = np.abs(out[:, 0, 0]) ** 2  # exponential with mean n: its mean has a relative error of 1/sqrt(draws)
    assert np.mean(power) == pytest.approx(n, rel=4 / math.sqrt(draws))


def test_a_single_user_hears_no_interference(backend: str) -> None:
    x = a_link(M=1, K=1)
    physical, reflected, literal = (sinr_of(x, backend, mode, "owned") for mode in ("physical", "reflected", "paper"))
    A = naive.user_irs(x["owner"], x["cell"], 1, "owned")
    h_eff = x["H"][0, 0] + naive.reflected(x["G"], x["h"], x["phi"], A, x["cell"], 0, 0)
    assert physical == pytest.approx(np.array([abs(h_eff @ x["w"][0, 0]) ** 2 / NOISE]))
    assert reflected == pytest.approx(physical)
    assert literal == pytest.approx(physical)  # K - 1 = 0


# --- against loops -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inter_cell", [False, True])
@pytest.mark.parametrize("reflection", REFLECTIONS)
@pytest.mark.parametrize("mode", MODES)
@given(x=links())
def test_sinr_equals_loops(mode: str, reflection: str, inter_cell: bool, x: dict[str, Any]) -> None:
    expected = np.empty(x["cell"].shape)
    for i in np.ndindex(x["lead"]):
        A = naive.user_irs(x["owner"][i], x["cell"][i], x["M"], reflection, x["rank"][i])
        arrays = (x[name][i] for name in ("H", "G", "h", "phi"))
        expected[i] = naive.sinr(*arrays, A, x["w"][i], x["cell"][i], NOISE, mode, inter_cell)
    for backend in available_backends():
        actual = sinr_of(x, backend, mode, reflection, inter_cell)
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-12, err_msg=backend)


def available_backends() -> list[str]:
    try:
        import torch  # noqa: F401
    except ImportError:
        return ["numpy"]
    return ["numpy", "torch"]


@pytest.mark.parametrize("reflection", REFLECTIONS)
@given(x=links())
def test_association_equals_loops(reflection: str, x: dict[str, Any]) -> None:
    for backend in available_backends():
        owner, cell, rank = as_backend(backend, x["owner"], x["cell"], x["rank"])
        A = as_numpy(association.user_irs(owner, cell, x["M"], reflection, rank))
        assert A.dtype == bool
        for i in np.ndindex(x["lead"]):
            expected = naive.user_irs(x["owner"][i], x["cell"][i], x["M"], reflection, x["rank"][i])
            np.testing.assert_array_equal(A[i], expected, err_msg=backend)
        if reflection == "single":
            assert (A.sum(axis=-1) <= 1).all()


def test_single_reflection_breaks_equal_strengths() -> None:
    owner, cell = np.array([0, 0, 0]), np.array([0])
    A = association.user_irs(owner, cell, 1, "single", np.ones((1, 1, 3)))
    assert A.tolist() == [[[True, False, False]]]


def test_single_precision_is_enough(backend: str) -> None:
    """The physics runs in complex64; its rates stay within 1e-4 bit/s/Hz of double precision."""
    x = a_link(3, K=6, L=4, N=32, Nb=4)
    single = {name: v.astype(np.complex64) if np.iscomplexobj(v) else v for name, v in x.items()}
    rates = [np.log2(1 + sinr_of(y, backend, "physical", "owned")) for y in (x, single)]
    np.testing.assert_allclose(rates[1], rates[0], atol=1e-4)


@given(x=links())
def test_cell_channel_of_owned_irs(x: dict[str, Any]) -> None:
    """A cell that is handed its own IRSs alone sees the same channel as the full system."""
    H, G, h, phi, owner, cell = (x[name] for name in ("H", "G", "h", "phi", "owner", "cell"))
    full = link.effective_channel(H, G, h, phi, association.user_irs(owner, cell, x["M"], "owned"), cell)
    for i in np.ndindex(x["lead"]):
        for m in range(x["M"]):
            users, mine = cell[i] == m, owner[i] == m
            alone = link.cell_channel(H[i][m, users], G[i][m, mine], h[i][mine][:, users], phi[i][mine])
            np.testing.assert_allclose(alone, full[i][users], rtol=1e-9, atol=1e-12)


@given(x=links())
def test_cross_channel_contains_the_serving_one(x: dict[str, Any]) -> None:
    H, G, h, phi, owner, cell = (x[name] for name in ("H", "G", "h", "phi", "owner", "cell"))
    A = association.user_irs(owner, cell, x["M"], "owned")
    cross = link.cross_channel(H, G, h, phi, A, cell)
    np.testing.assert_allclose(link.served(cross, cell), link.effective_channel(H, G, h, phi, A, cell))


def test_received_power_splits_the_products() -> None:
    products = complex_normal(np.random.default_rng(0), 2, 3, 3)
    own, others = link.received_power(products)
    np.testing.assert_allclose(own, np.abs(np.diagonal(products, axis1=-2, axis2=-1)) ** 2)
    np.testing.assert_allclose(own + others, (np.abs(products) ** 2).sum(axis=-1))


def test_unknown_choices_are_refused() -> None:
    x = a_link()
    with pytest.raises(ValueError, match=r"mode='optimistic'.*'physical'.*'paper'"):
        sinr_of(x, "numpy", "optimistic", "owned")
    h_eff = np.ones((1, 1), complex)
    with pytest.raises(ValueError, match=r"mode='paper' needs h_direct"):
        link.sinr(h_eff, h_eff[None], np.array([0]), 1.0, mode="paper")
    with pytest.raises(ValueError, match=r"mode='cube'.*'ball'.*'sphere'"):
        link.project_power(h_eff, 1.0, "cube")
    with pytest.raises(ValueError, match=r"reflection='mirror'.*'owned'.*'single'.*'all'"):
        association.user_irs(np.array([0]), np.array([0]), 1, "mirror")


# --- invariances -------------------------------------------------------------------------------------------------


@given(x=links(), angles=st.integers(0, 2**32 - 1))
def test_a_common_phase_on_a_beam_changes_nothing(x: dict[str, Any], angles: int) -> None:
    before = sinr_of(x, "numpy", "physical", "owned", True)
    turn = np.exp(2j * np.pi * np.random.default_rng(angles).random(x["w"].shape[:-1]))[..., None]
    after = sinr_of({**x, "w": x["w"] * turn}, "numpy", "physical", "owned", True)
    np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-15)


@given(x=links(), scale=st.floats(1e-6, 1e6))
def test_scaling_power_and_noise_together_changes_nothing(x: dict[str, Any], scale: float) -> None:
    h_eff = link.effective_channel(
        x["H"], x["G"], x["h"], x["phi"], association.user_irs(x["owner"], x["cell"], x["M"], "owned"), x["cell"]
    )
    before = link.sinr(h_eff, x["w"], x["cell"], NOISE)
    after = link.sinr(h_eff, x["w"] * math.sqrt(scale), x["cell"], NOISE * scale)
    np.testing.assert_allclose(after, before, rtol=1e-9)


@pytest.mark.parametrize("mode", MODES)
@given(x=links(), order=st.integers(0, 2**32 - 1))
def test_permuting_users_permutes_rates(mode: str, x: dict[str, Any], order: int) -> None:
    p = np.random.default_rng(order).permutation(x["cell"].shape[-1])
    axis = {"H": -2, "h": -2, "w": -2, "cell": -1, "rank": -2}
    permuted = {**x, **{name: np.take(x[name], p, axis=a) for name, a in axis.items()}}
    before = sinr_of(x, "numpy", mode, "single", True)
    after = sinr_of(permuted, "numpy", mode, "single", True)
    np.testing.assert_allclose(after, before[..., p], rtol=1e-9, atol=1e-15)


def test_arguments_are_left_alone(backend: str) -> None:
    x = a_link()
    kept = {name: np.copy(v) for name, v in x.items()}
    for mode in MODES:
        sinr_of(x, backend, mode, "single", True)
    link.project_power(x["w"], 0.1)
    for name, before in kept.items():
        np.testing.assert_array_equal(x[name], before)


# --- constraints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["ball", "sphere"])
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(1e-12, 1e3), limit=st.floats(1e-3, 10.0))
@example(seed=0, size=0.0, limit=1.0)
def test_power_projection(mode: str, seed: int, size: float, limit: float) -> None:
    w = size * complex_normal(np.random.default_rng(seed), 3, 2, 4)
    for backend in available_backends():
        projected = as_numpy(link.project_power(*as_backend(backend, w), limit, mode))
        for m in range(3):
            np.testing.assert_allclose(projected[m], naive.project(w[m], limit, mode), rtol=1e-9, atol=1e-30)
        power = as_numpy(link.transmit_power(*as_backend(backend, projected)))
        assert (power <= limit * (1 + 1e-9)).all()
        if mode == "sphere" and size:
            np.testing.assert_allclose(power, limit)


@pytest.mark.parametrize("limit", [0.4, 40.0])
@pytest.mark.parametrize("amplitude", [0.0, 1e-22, 5e-20])
def test_beams_below_the_normal_numbers_are_not_blown_up(backend: str, amplitude: float, limit: float) -> None:
    """Their power is a number of few digits or none; scaled to Pmax, they would be anything."""
    w = np.full((1, 1), amplitude, np.complex64)
    assert np.float32(amplitude) ** 2 < np.finfo(np.float32).smallest_normal
    projected = as_numpy(link.project_power(*as_backend(backend, w), limit, "sphere"))
    np.testing.assert_array_equal(projected, w)


@given(theta=st.lists(st.floats(-50, 50), min_size=1, max_size=5))
def test_phases_have_unit_modulus(theta: list[float]) -> None:
    for backend in available_backends():
        phi = as_numpy(link.phase_shifts(*as_backend(backend, np.array(theta))))
        np.testing.assert_allclose(phi, np.exp(1j * np.array(theta)), atol=1e-12)


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
@given(theta=st.floats(-50, 50))
def test_phase_quantisation(bits: int, theta: float) -> None:
    phi = link.phase_shifts(np.array([theta]), bits)[0]
    levels = np.exp(2j * np.pi * np.arange(2**bits) / 2**bits)
    distance = np.abs(levels - phi)
    assert distance.min() < 1e-9
    assert distance.argmin() == np.abs(levels - np.exp(1j * theta)).argmin() or np.isclose(
        *np.sort(np.abs(levels - np.exp(1j * theta)))[:2]
    )


# --- gradients ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inter_cell", [False, True])
@pytest.mark.parametrize("reflection", REFLECTIONS)
@pytest.mark.parametrize("mode", MODES)
def test_rate_is_differentiable(mode: str, reflection: str, inter_cell: bool) -> None:
    torch = pytest.importorskip("torch")
    x = a_link(M=2, K=3, L=2, N=2, Nb=2)
    x["owner"], x["cell"] = np.array([0, 1]), np.array([0, 0, 1])
    names = ("H", "G", "h", "owner", "cell", "rank")
    H, G, h, owner, cell, rank = as_backend("torch", *(x[name] for name in names))
    A = association.user_irs(owner, cell, 2, reflection, rank)

    def sum_rate(w: Any, theta: Any) -> Any:
        phi = link.phase_shifts(theta)
        cross = link.cross_channel(H, G, h, phi, A, cell)
        h_eff = link.effective_channel(H, G, h, phi, A, cell)
        beams = link.project_power(w, 1.0, "ball")
        direct = link.served(H, cell)
        sinr = link.sinr(h_eff, beams, cell, NOISE, mode=mode, h_direct=direct, h_cross=cross if inter_cell else None)
        return link.rates(sinr).sum()

    w = torch.from_numpy(x["w"]).requires_grad_()
    theta = torch.tensor(np.random.default_rng(0).random((2, 2))).requires_grad_()
    torch.autograd.gradcheck(sum_rate, (w, theta))
    sum_rate(w, theta).backward()
    assert torch.count_nonzero(theta.grad) == theta.numel()
    assert torch.count_nonzero(w.grad) >= 6  # the beams of each user's own BS


@pytest.mark.parametrize("power", ["ball", "sphere"])
@pytest.mark.parametrize("mode", MODES)
def test_gradients_stay_finite_at_zero_beams(mode: str, power: str) -> None:
    torch = pytest.importorskip("torch")
    x = a_link(M=2, K=3)
    H, G, h, phi, owner, cell = as_backend("torch", *(x[n] for n in ("H", "G", "h", "phi", "owner", "cell")))
    w = torch.zeros(2, 3, 3, dtype=torch.complex128, requires_grad=True)
    h_eff = link.effective_channel(H, G, h, phi, association.user_irs(owner, cell, 2, "owned"), cell)
    beams = link.project_power(w, 1.0, power)
    rate = link.rates(link.sinr(h_eff, beams, cell, NOISE, mode=mode, h_direct=link.served(H, cell))).sum()
    rate.backward()
    assert rate.item() == 0.0
    assert torch.isfinite(torch.view_as_real(w.grad)).all()


# --- contention --------------------------------------------------------------------------------------------------


def refuse_ties(tied: Any, bids: np.ndarray) -> Any:
    """No keys for numpy, which asks only where there is a tie; torch asks always, and must report none."""
    assert not isinstance(tied, (np.ndarray, np.bool_)), "asked without a tie"
    assert not tied.any(), "a tie was reported where there is none"
    return as_backend("torch", np.zeros_like(bids))[0]


@pytest.mark.parametrize("contention", ["auction", "collision", "priority"])
@given(
    bids=st.integers(1, 4).flatmap(
        lambda m: st.lists(
            st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=m, max_size=m), min_size=0, max_size=4
        ).map(lambda rows: np.array(rows).reshape(len(rows), m).T)
    )
)
def test_contention_equals_loops(contention: str, bids: np.ndarray) -> None:
    expected = naive.owners(bids, contention)
    rng = np.random.default_rng(0)
    for backend in available_backends():
        tied = None in expected
        tie_break = (lambda t: keys(rng, t, bids)) if tied else (lambda t: refuse_ties(t, bids))
        (given_bids,) = as_backend(backend, bids)
        actual = as_numpy(association.assign(given_bids, contention, tie_break))
        assert actual.shape == (bids.shape[1],)
        for l, owner in enumerate(expected):
            if owner is None:  # tied: one of the highest bidders
                assert bids[actual[l], l] == bids[:, l].max()
            else:
                assert actual[l] == owner


def keys(rng: np.random.Generator, tied: Any, bids: np.ndarray) -> Any:
    drawn = rng.random(bids.shape)
    return drawn if isinstance(tied, (np.ndarray, np.bool_)) else as_backend("torch", drawn)[0]


def test_ties_are_reported_per_row_and_drawn_uniformly() -> None:
    rng = np.random.default_rng(5)
    bids = np.zeros((4000, 3, 2))
    bids[:, 2, 1] = -1.0  # the second IRS is tied between the first two BSs
    bids[::2] = rng.random((2000, 3, 2))  # every other environment has no tie
    seen = []

    def tie_break(tied: np.ndarray) -> np.ndarray:
        seen.append(tied)
        return rng.random(bids.shape)

    owner = association.assign(bids, "auction", tie_break)
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0], np.arange(4000) % 2 == 1)
    np.testing.assert_array_equal(owner[::2], bids[::2].argmax(axis=1))
    for column, share in ((0, [1 / 3, 1 / 3, 1 / 3]), (1, [1 / 2, 1 / 2, 0])):
        frequency = np.bincount(owner[1::2, column], minlength=3) / 2000
        np.testing.assert_allclose(frequency, share, atol=4 * math.sqrt(0.25 / 2000))
