"""Solvers of one cell: hand-computed cases, invariants, independent optima, the published channels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from irs_marl_env import link, make_vec_env, solvers
from irs_marl_env.solvers import alternating

POWER, NOISE = 0.7, 0.2
LN2 = math.log(2)
BEAMFORMERS = (solvers.mrt, solvers.rzf, solvers.wmmse)
SWEEPS = ("parallel", "sequential")
REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference" / "guo2020.npz"


def complex_normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / math.sqrt(2)


def random_cell(seed: int, lead: tuple[int, ...] = (), **sizes: int) -> tuple[np.ndarray, ...]:
    """Rayleigh channels of one cell in double precision."""
    K, Nb, N, L = (sizes.get(name, default) for name, default in (("K", 3), ("Nb", 4), ("N", 6), ("L", 2)))
    rng = np.random.default_rng(seed)
    H = complex_normal(rng, *lead, K, Nb)
    return H, complex_normal(rng, *lead, L, N, Nb), 0.3 * complex_normal(rng, *lead, L, K, N)


def random_action(rng: np.random.Generator, cell: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    H, G, _ = cell
    w = link.project_power(complex_normal(rng, *H.shape), POWER, "sphere")
    return w, np.exp(2j * np.pi * rng.uniform(size=G.shape[:-1]))


def sum_rate(cell: tuple[Any, ...], w: Any, phi: Any, weights: Any = None, noise: float = NOISE) -> Any:
    return solvers.weighted_sum_rate(link.cell_channel(*cell, phi), w, noise, weights)


def environment_cells(scenario: str, num_envs: int, seed: int) -> tuple[tuple[np.ndarray, ...], float, float]:
    """Cells as the environment makes them, each IRS owned by a random BS."""
    vec = make_vec_env(scenario, num_envs)
    s = vec.scenario
    named = vec.observation_codec.decode(vec.reset(seed=seed)[0])
    owner = np.random.default_rng(seed).integers(0, s.num_bs, (num_envs, 1, s.num_irs))
    held = owner == np.arange(s.num_bs)[:, None]
    channels = (named["H"], named["G"], named["h"] * held[..., None, None])
    H, G, h = (x.reshape(-1, *x.shape[2:]).astype(np.complex64) for x in channels)
    return (H, G, h), s.tx_power_w, s.noise_power_w


@st.composite
def cells(draw: st.DrawFn) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.random.Generator]:
    """A cell, weights of its users (some zero) and a generator; users may be absent, IRSs not owned."""
    sizes = {"K": draw(st.integers(1, 5)), "Nb": draw(st.integers(1, 4)), "N": draw(st.integers(1, 5))}
    seed = draw(st.integers(0, 2**32 - 1))
    H, G, h = random_cell(seed, L=draw(st.integers(0, 3)), **sizes)
    rng = np.random.default_rng(seed)
    present, owned = rng.uniform(size=H.shape[0]) < 0.8, rng.uniform(size=G.shape[0]) < 0.8
    scale = 10 ** rng.uniform(-2, 2)
    cell = (scale * H * present[:, None], G, scale * h * present[:, None] * owned[:, None, None])
    return cell, rng.choice([0.0, 0.3, 1.0, 4.0], H.shape[0]), rng


# --- hand-computed cases -----------------------------------------------------------------------------------------


def test_aligned_elements_add_in_amplitude() -> None:
    H = np.array([[1j]])
    h = np.exp(1j * np.array([[[0.3, -2.0, 1.1]]]))
    G = np.exp(1j * np.array([[[2.0], [0.5], [-0.4]]]))
    phi = solvers.align_phases(H, G, h)
    np.testing.assert_allclose(link.cell_channel(H, G, h, phi), [[4j]], atol=1e-14)


def test_alignment_follows_the_weights_of_each_irs() -> None:
    """IRS 0 serves user 0 alone and IRS 1 user 1 alone, whatever the axes of the batch."""
    H, G, h = random_cell(0, (3,), K=2, Nb=1)
    focus = np.broadcast_to(np.eye(2), (3, 2, 2))
    phi = solvers.align_phases(H, G, h, focus)
    for irs in range(2):
        amplitude = np.sum(h[:, irs, irs] * phi[:, irs] * G[:, irs, :, 0], axis=-1) * H[:, irs, 0].conj()
        bound = np.sum(np.abs(h[:, irs, irs] * G[:, irs, :, 0]), axis=-1) * np.abs(H[:, irs, 0])
        np.testing.assert_allclose(amplitude, bound, rtol=1e-12)
    per_user = solvers.align_phases(H, G, h, np.tile([1.0, 0.0], (3, 1)))
    np.testing.assert_allclose(per_user[:, 0], phi[:, 0])


def test_no_field_leaves_the_phase_at_one() -> None:
    H, G, h = random_cell(0)
    assert np.all(solvers.align_phases(0 * H, G, h) == 1)
    w, phi = random_action(np.random.default_rng(0), (H, G, h))
    assert np.all(solvers.parallel_sweep(H, G, 0 * h, w, phi, NOISE) == 1)


def test_a_field_below_the_normal_numbers_counts_as_none() -> None:
    """Users whose beams die out leave such fields, and one over them overflows."""
    torch = pytest.importorskip("torch")
    H, G, h = (x.astype(np.complex64) for x in random_cell(0))
    H = H * np.float32(1e-40)
    assert np.all(solvers.align_phases(H, G, h) == 1)
    channels = torch.from_numpy(H).requires_grad_()
    solvers.align_phases(channels, torch.from_numpy(G), torch.from_numpy(h)).real.sum().backward()
    assert torch.isfinite(torch.view_as_real(channels.grad)).all()


@pytest.mark.parametrize("beamformer", BEAMFORMERS)
def test_one_user_gets_the_matched_filter(beamformer: Any) -> None:
    h_eff = random_cell(1, K=1)[0]
    w = beamformer(h_eff, POWER, NOISE)
    expected = math.log2(1 + POWER * np.sum(np.abs(h_eff) ** 2) / NOISE)
    assert solvers.weighted_sum_rate(h_eff, w, NOISE) == pytest.approx(expected, rel=1e-9)


def test_mrt_splits_the_power_as_told() -> None:
    h_eff = random_cell(2)[0]
    for weights, expected in ((None, [1 / 3] * 3), ([1.0, 0.0, 3.0], [0.25, 0, 0.75]), ([0.0] * 3, [0] * 3)):
        w = solvers.mrt(h_eff, POWER, NOISE, None if weights is None else np.array(weights))
        np.testing.assert_allclose(np.sum(np.abs(w) ** 2, axis=-1) / POWER, expected, rtol=1e-12)
    h_eff[1] = 0
    power = np.sum(np.abs(solvers.mrt(h_eff, POWER, NOISE)) ** 2, axis=-1)
    np.testing.assert_allclose(power / POWER, [0.5, 0, 0.5])


def test_rzf_runs_from_zero_forcing_to_mrt() -> None:
    h_eff = random_cell(3)[0]
    products = np.abs(link.beam_products(h_eff, solvers.rzf(h_eff, POWER, NOISE, regularizer=0.0)))
    assert np.max(products - np.diag(np.diag(products))) < 1e-10 * np.max(products)
    np.testing.assert_allclose(
        solvers.rzf(h_eff, POWER, NOISE, regularizer=1e9), solvers.mrt(h_eff, POWER, NOISE), atol=1e-6
    )
    inverse = np.linalg.inv(h_eff @ h_eff.conj().T + 3 * NOISE / POWER * np.eye(3))
    directions = (h_eff.conj().T @ inverse).T
    expected = directions / np.linalg.norm(directions, axis=-1, keepdims=True) * math.sqrt(POWER / 3)
    np.testing.assert_allclose(solvers.rzf(h_eff, POWER, NOISE), expected, rtol=1e-9)


def test_rzf_regularizer_may_differ_over_the_batch() -> None:
    h_eff = random_cell(4, (3,))[0]
    w = solvers.rzf(h_eff, POWER, NOISE, regularizer=np.array([0.1, 1.0, 10.0]))
    for row, regularizer in enumerate((0.1, 1.0, 10.0)):
        np.testing.assert_allclose(w[row], solvers.rzf(h_eff[row], POWER, NOISE, regularizer=regularizer), rtol=1e-9)


# --- invariants of the updates -------------------------------------------------------------------------------------


@given(cells())
def test_wmmse_step_does_not_lower_the_weighted_sum_rate(case: Any) -> None:
    (H, _, _), weights, rng = case
    w = link.project_power(complex_normal(rng, *H.shape), POWER, "sphere")
    before = solvers.weighted_sum_rate(H, w, NOISE, weights)
    for _ in range(5):
        w = solvers.wmmse_step(H, w, POWER, NOISE, weights)
        after = solvers.weighted_sum_rate(H, w, NOISE, weights)
        assert after >= before - 1e-9 * (1 + before)
        assert link.transmit_power(w) <= POWER * (1 + 1e-12)
        before = after


@given(cells())
def test_sequential_sweep_does_not_lower_the_weighted_sum_rate(case: Any) -> None:
    cell, weights, rng = case
    w, phi = random_action(rng, cell)
    before = sum_rate(cell, w, phi, weights)
    for _ in range(3):
        phi = solvers.sequential_sweep(*cell, w, phi, NOISE, weights)
        after = sum_rate(cell, w, phi, weights)
        assert after >= before - 1e-9 * (1 + before)
        np.testing.assert_allclose(np.abs(phi), 1, rtol=1e-12)
        before = after


@given(cells())
def test_parallel_sweep_ascends_when_damped_by_the_number_of_elements(case: Any) -> None:
    cell, weights, rng = case
    w, phi = random_action(rng, cell)
    swept = solvers.parallel_sweep(*cell, w, phi, NOISE, weights, damping=float(phi.size))
    before, after = sum_rate(cell, w, phi, weights), sum_rate(cell, w, swept, weights)
    assert after >= before - 1e-9 * (1 + before)


def test_damping_holds_the_phases_of_a_parallel_sweep() -> None:
    """From the phases that the field alone would set, to those that stand, in the ratio of field and curvature."""
    cell = random_cell(17)
    w, phi = random_action(np.random.default_rng(17), cell)
    free, held = (solvers.parallel_sweep(*cell, w, phi, NOISE, damping=d) for d in (0.0, 1e12))
    np.testing.assert_allclose(held, phi, atol=1e-9)
    assert abs(free - phi).max() > 0.1
    each = np.array([0.0, 1e12])  # one number for each cell of a batch
    batch = [np.stack([x, x]) for x in (*cell, w, phi)]
    both = solvers.parallel_sweep(*batch, NOISE, damping=each)
    np.testing.assert_allclose(both, [free, phi], atol=1e-9)


def test_one_element_is_set_to_its_optimum_by_both_sweeps() -> None:
    """With a single user the surrogate is exact: the phase that maximises |h_eff w| is reached at once."""
    H, G, h = cell = random_cell(5, K=1, N=1, L=1)
    w, phi = random_action(np.random.default_rng(5), cell)
    best = np.abs(H @ w.T) + np.abs(h[0] @ G[0] @ w.T)
    for sweep in (solvers.parallel_sweep, solvers.sequential_sweep):
        for _ in range(60):
            phi = sweep(*cell, w, phi, NOISE)
        np.testing.assert_allclose(np.abs(link.cell_channel(*cell, phi) @ w.T), best, rtol=1e-9)
        phi = -phi


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("strong", [False, True])
def test_alternating_optimization_ascends_within_the_constraints(
    dtype: Any, sweep: str, weighted: bool, strong: bool
) -> None:
    channels = random_cell(6, (20,), K=4, N=30 if strong else 6)  # undamped, a parallel sweep loses 5 bit/s/Hz
    cell = tuple(x.astype(dtype) for x in channels)
    weights = np.array([1.0, 0.0, 0.2, 3.0], cell[0].real.dtype) if weighted else None
    w, phi, history = solvers.alternating_optimization(*cell, POWER, NOISE, weights, 40, sweep=sweep)
    assert history.shape == (20, 41)
    assert np.all(np.diff(history, axis=-1) >= 0)
    assert np.all(history[:, -1] > 1.02 * history[:, 0])
    rounding = 20 * np.finfo(history.dtype).eps
    np.testing.assert_allclose(history[:, -1], sum_rate(cell, w, phi, weights), rtol=10 * rounding)
    np.testing.assert_allclose(np.abs(phi), 1, rtol=rounding)
    assert np.all(link.transmit_power(w) <= POWER * (1 + rounding))
    assert w.dtype == phi.dtype == dtype


def test_users_of_weight_zero_get_nothing() -> None:
    cell = random_cell(7)
    w, _, _ = solvers.alternating_optimization(*cell, POWER, NOISE, np.array([1.0, 0.0, 1.0]))
    assert np.sum(np.abs(w[1]) ** 2) < 1e-12


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_cell_does_not_notice_the_rest_of_its_batch(sweep: str) -> None:
    H, G, h = random_cell(8, (2, 3), K=4)
    H[0, 1, 2:], h[0, 1, :, 2:] = 0, 0  # fewer users than the others
    options = {"iterations": 15, "starts": 2, "tolerance": 1e-2, "sweep": sweep}
    w, phi, history = solvers.alternating_optimization(H, G, h, POWER, NOISE, **options)
    for row in np.ndindex(2, 3):
        alone = solvers.alternating_optimization(H[row], G[row], h[row], POWER, NOISE, **options)
        for together, single in zip((w, phi, history), alone, strict=True):
            np.testing.assert_allclose(together[row], single, rtol=1e-6, atol=1e-8)
    assert np.all(w[0, 1, 2:] == 0)


def test_permuting_users_permutes_beams() -> None:
    H, G, h = cell = random_cell(9, K=4)
    order = np.array([2, 0, 3, 1])
    w, phi, _ = solvers.alternating_optimization(*cell, POWER, NOISE)
    permuted = solvers.alternating_optimization(H[order], G, h[:, order], POWER, NOISE)
    np.testing.assert_allclose(permuted[0], w[order], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(permuted[1], phi, rtol=1e-6, atol=1e-8)


def test_only_the_ratio_of_power_and_noise_matters() -> None:
    cell = random_cell(10)
    w, phi, history = solvers.alternating_optimization(*cell, POWER, NOISE, iterations=10)
    scaled = solvers.alternating_optimization(*cell, 100 * POWER, 100 * NOISE, iterations=10)
    np.testing.assert_allclose(scaled[0], 10 * w, rtol=1e-9)
    np.testing.assert_allclose(scaled[1], phi, rtol=1e-9)
    np.testing.assert_allclose(scaled[2], history, rtol=1e-9)


# --- options of alternating optimisation ---------------------------------------------------------------------------


def test_starts_keep_the_best_and_repeat_with_the_seed() -> None:
    cell = random_cell(11, (30,), K=4)
    one = solvers.alternating_optimization(*cell, POWER, NOISE)
    more = solvers.alternating_optimization(*cell, POWER, NOISE, starts=4, seed=1)
    assert np.all(more[2][:, -1] >= one[2][:, -1])
    assert np.any(more[2][:, -1] > one[2][:, -1] + 1e-3)
    np.testing.assert_allclose(more[2][:, -1], sum_rate(cell, *more[:2]), rtol=1e-9)
    again = solvers.alternating_optimization(*cell, POWER, NOISE, starts=4, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(more, again, strict=True))
    other = solvers.alternating_optimization(*cell, POWER, NOISE, init="random", seed=2)
    same = solvers.alternating_optimization(*cell, POWER, NOISE, init="random", seed=1)
    assert not np.allclose(other[1], same[1])


def test_given_phases_are_the_start() -> None:
    cell = random_cell(12)
    _, phi = random_action(np.random.default_rng(12), cell)
    _, kept, history = solvers.alternating_optimization(*cell, POWER, NOISE, iterations=0, phi_init=phi)
    assert np.array_equal(kept, phi)
    assert history.shape == (1,)
    _, aligned, _ = solvers.alternating_optimization(*cell, POWER, NOISE, iterations=0)
    np.testing.assert_allclose(aligned, solvers.align_phases(*cell))


def test_a_converged_cell_rests() -> None:
    cell = random_cell(13, (10,))
    _, _, full = solvers.alternating_optimization(*cell, POWER, NOISE, iterations=100)
    w, phi, history = solvers.alternating_optimization(*cell, POWER, NOISE, iterations=100, tolerance=1e-3)
    assert history.shape == (10, 101)
    for row in range(10):
        gains = np.diff(full[row]) / full[row, :-1]
        stop = int(np.argmax(gains <= 1e-3)) + 1
        np.testing.assert_allclose(history[row, : stop + 1], full[row, : stop + 1], rtol=1e-9)
        assert np.all(history[row, stop:] == history[row, stop])
    np.testing.assert_allclose(history[:, -1], sum_rate(cell, w, phi), rtol=1e-9)


def test_damping_grows_to_the_number_of_elements_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """At that damping a sweep ascends, so more would only make it slower; after a step that helps it falls again."""
    cell, seen = random_cell(14, (1,), N=30, L=2), []
    sweep = alternating._parallel_sweep

    def watched(*operands: Any) -> Any:
        damping = operands[-1]
        seen.append(float(damping[0, 0]))
        phi = sweep(*operands)
        return phi if len(seen) > 5 else -phi  # the first five make it worse

    monkeypatch.setattr(alternating, "_parallel_sweep", watched)
    _, _, history = solvers.alternating_optimization(*cell, POWER, NOISE, iterations=8)
    np.testing.assert_allclose(seen, [1, 4, 16, 60, 60, 60, 48, 38.4])
    assert np.all(np.diff(history) >= 0)


def test_refine_is_two_steps_of_the_beams_a_sweep_of_the_phases_and_a_last_step() -> None:
    cell = random_cell(15)
    w, phi = random_action(np.random.default_rng(15), cell)
    mine = solvers.refine(*cell, w, phi, POWER, NOISE, sweeps=2)
    for _ in range(2):
        for _ in range(2):
            w = solvers.wmmse_step(link.cell_channel(*cell, phi), w, POWER, NOISE)
        phi = solvers.parallel_sweep(*cell, w, phi, NOISE)
    w = solvers.wmmse_step(link.cell_channel(*cell, phi), w, POWER, NOISE)
    for result, expected in zip(mine, (w, phi), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("faster", "further"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.4), (0.5, -0.3)])
def test_a_learned_beam_update_by_hand(faster: float, further: float) -> None:
    """``(|v|^2 / |w|^2)^d v + e (v - w)`` at full power, v a WMMSE step from w, without IRSs."""
    H, G, h = random_cell(18, L=0)
    scalars = {"start": np.zeros(3), "beams": np.array([[faster, further]]), "phases": np.zeros((0, 4))}
    mine, _ = solvers.unfold(H, G, h, POWER, NOISE, scalars)
    w = solvers.rzf(H, POWER, NOISE)
    v = solvers.wmmse_step(H, w, POWER, NOISE)
    ratio = np.sum(abs(v) ** 2, -1) / np.sum(abs(w) ** 2, -1)
    expected = ratio[:, None] ** faster * v + further * (v - w)
    np.testing.assert_allclose(mine, link.project_power(expected, POWER, "sphere"), rtol=1e-4)


def test_two_users_with_one_channel_share_the_power_of_zero_forcing() -> None:
    """Without regularisation their system of equations is singular."""
    w = solvers.rzf(np.ones((2, 1), complex), POWER, NOISE, regularizer=0.0)
    np.testing.assert_allclose(abs(w[:, 0]) ** 2, POWER / 2, rtol=1e-6)


@pytest.mark.parametrize("beamformer", BEAMFORMERS)
def test_channels_whose_squares_underflow_get_the_power_all_the_same(beamformer: Any) -> None:
    """Path gains of -480 dB, in single precision."""
    H = (1e-24 * random_cell(16)[0]).astype(np.complex64)
    w = beamformer(H, POWER, 1e-50)
    assert link.transmit_power(w.astype(complex)) == pytest.approx(POWER, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "zero"}, "init='zero' is not one of 'aligned', 'random'"),
        ({"sweep": "jacobi"}, "sweep='jacobi' is not one of"),
        ({"starts": 0}, r"starts=0: must be an integer in \[1, "),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solvers.alternating_optimization(*random_cell(0), POWER, NOISE, **options)


# --- refine, the decoder of structured actions ---------------------------------------------------------------------


def test_three_parallel_sweeps_come_within_half_a_percent() -> None:
    cell, power, noise = environment_cells("mdlbi-small-v0", 500, 3)
    ao = solvers.alternating_optimization(*cell, power, noise)[2][:, -1]
    shares = []
    for sweeps in range(4):
        phi = solvers.align_phases(*cell)
        w = solvers.rzf(link.cell_channel(*cell, phi), power, noise)
        w, phi = solvers.refine(*cell, w, phi, power, noise, sweeps=sweeps)
        np.testing.assert_allclose(np.abs(phi), 1, rtol=1e-5)
        assert np.all(link.transmit_power(w) <= power * (1 + 1e-5))
        shares.append(sum_rate(cell, w, phi, noise=noise).mean() / ao.mean())
    assert shares == sorted(shares)
    assert shares[0] < 0.9  # what is left for the sweeps to do
    assert shares[3] >= 0.995


def test_refine_serves_the_weighted_users() -> None:
    cell = random_cell(14, (50,))
    weights = np.array([5.0, 1.0, 0.1])
    phi = solvers.align_phases(*cell)
    w = solvers.rzf(link.cell_channel(*cell, phi), POWER, NOISE)
    plain = solvers.refine(*cell, w, phi, POWER, NOISE, sweeps=3)
    weighted = solvers.refine(*cell, w, phi, POWER, NOISE, weights, sweeps=3)
    assert np.mean(sum_rate(cell, *weighted, weights)) > 1.05 * np.mean(sum_rate(cell, *plain, weights))
    untouched = solvers.refine(*cell, w, phi, POWER, NOISE, sweeps=0)
    assert untouched[0] is w
    assert untouched[1] is phi


# --- independent optima --------------------------------------------------------------------------------------------


def scipy_optimum(cell: tuple[np.ndarray, ...], weights: np.ndarray, starts: int) -> float:
    """Multi-start quasi-Newton over raw beams and phases, the power projected."""
    H, G, h = cell
    beams = H.size

    def loss(x: np.ndarray) -> float:
        w = (x[:beams] + 1j * x[beams : 2 * beams]).reshape(H.shape)
        h_eff = H + sum(h[i] * np.exp(1j * x[2 * beams :].reshape(G.shape[:2])[i]) @ G[i] for i in range(len(G)))
        power = np.abs(h_eff @ (w / np.linalg.norm(w)).T) ** 2 * POWER / NOISE
        own = np.diag(power)
        return -float(weights @ np.log2(1 + own / (power.sum(-1) - own + 1)))

    rng = np.random.default_rng(0)
    size = 2 * beams + G.shape[0] * G.shape[1]
    tries = [minimize(loss, 2 * rng.standard_normal(size), options={"gtol": 1e-6}) for _ in range(starts)]
    return -min(t.fun for t in tries)


@pytest.mark.parametrize(
    ("sizes", "weights"),
    [
        ({"K": 1, "Nb": 2, "N": 4, "L": 1}, [1.0]),
        ({"K": 2, "Nb": 2, "N": 2, "L": 1}, [1.0, 1.0]),
        ({"K": 2, "Nb": 1, "N": 2, "L": 2}, [1.0, 1.0]),
        ({"K": 2, "Nb": 2, "N": 1, "L": 2}, [0.3, 1.0]),
        ({"K": 3, "Nb": 2, "N": 2, "L": 1}, [1.0, 1.0, 1.0]),
        ({"K": 3, "Nb": 3, "N": 1, "L": 0}, [1.0, 0.5, 2.0]),
    ],
)
def test_tiny_cells_reach_the_global_optimum(sizes: dict[str, int], weights: list[float]) -> None:
    cell = random_cell(15, **sizes)
    value = np.array(weights)
    best = scipy_optimum(cell, value, 12)
    for sweep in SWEEPS:
        _, _, history = solvers.alternating_optimization(
            *cell, POWER, NOISE, value, iterations=600, starts=6, tolerance=1e-8, sweep=sweep
        )
        assert history[-1] == pytest.approx(best, abs=1e-3)


def test_wmmse_alone_reaches_a_stationary_point() -> None:
    """No small change of the beams at full power raises the rate."""
    h_eff = random_cell(16)[0]
    w = solvers.wmmse(h_eff, POWER, NOISE, iterations=3000)
    best = solvers.weighted_sum_rate(h_eff, w, NOISE)
    rng = np.random.default_rng(0)
    for _ in range(50):
        changed = link.project_power(w + 1e-3 * complex_normal(rng, *w.shape), POWER, "sphere")
        assert solvers.weighted_sum_rate(h_eff, changed, NOISE) <= best + 1e-7
    assert best > solvers.weighted_sum_rate(h_eff, solvers.rzf(h_eff, POWER, NOISE), NOISE) + 0.005


@pytest.mark.skipif(not REFERENCE.exists(), reason="published channels ../shared/reference/guo2020.npz absent")
def test_published_channels() -> None:
    """Guo et al. 2020, Fig. 4(b): at or above their best curve from their own start (rates in nats)."""
    with np.load(REFERENCE) as archive:
        data = dict(archive)
    cell = (data["H"], data["G"][:, None], data["h"][:, None])
    weights, phi_init = data["weights"].astype(np.float32), data["phi_init"][:, None]
    w, phi, history = solvers.alternating_optimization(*cell, 1.0, 1.0, weights, iterations=100, phi_init=phi_init)
    nats = history * LN2
    assert nats[:, -1].mean() >= data["wsr_alg2_curve"][-1]
    assert nats[:, -1].mean() >= 0.94
    np.testing.assert_allclose(np.abs(phi), 1, rtol=1e-5)
    assert np.all(link.transmit_power(w) <= 1 + 1e-5)
    assert np.all(np.diff(history) >= 0)
    np.testing.assert_allclose(sum_rate(cell, w, phi, weights, 1.0), history[:, -1], rtol=1e-4)
    for channel, published in (
        (data["H"], "wsr_without_irs"),
        (link.cell_channel(*cell, phi_init), "wsr_random_phase"),
    ):
        w = solvers.wmmse(channel, 1.0, 1.0, weights, iterations=300)
        rate = solvers.weighted_sum_rate(channel, w, 1.0, weights).mean() * LN2
        assert rate == pytest.approx(float(data[published]), rel=6e-3)


# --- the upper bound -----------------------------------------------------------------------------------------------


def test_no_action_passes_the_bound() -> None:
    """10,000 random, half-optimised and optimised actions over cells of every kind."""
    tried = 0
    for index, sizes in enumerate(
        ({"K": 4}, {"K": 1}, {"K": 6, "Nb": 2}, {"K": 3, "Nb": 1, "N": 2, "L": 1}, {"K": 5, "L": 0})
    ):
        for scale in (0.03, 1.0, 30.0):
            H, G, h = random_cell(100 + index, (20,), **sizes)
            cell = (scale * H, G, scale * h)
            bound = solvers.upper_bound(*cell, POWER, NOISE)
            assert bound.shape == (20,)
            rng = np.random.default_rng(index)
            actions = [random_action(rng, cell) for _ in range(28)]
            for _, phi in actions[:8]:
                h_eff = link.cell_channel(*cell, phi)
                actions += [(f(h_eff, POWER, NOISE), phi) for f in BEAMFORMERS if sizes["K"] < 6 or f != solvers.rzf]
            actions += [
                solvers.alternating_optimization(*cell, POWER, NOISE, iterations=n, starts=s)[:2]
                for n, s in ((0, 1), (3, 1), (30, 1), (100, 3))
            ]
            for w, phi in actions:
                rate = sum_rate(cell, w, phi)
                assert np.all(rate <= bound * (1 + 1e-9))
                tried += rate.size
    assert tried >= 10_000


def test_bound_is_reached_where_the_optimum_is_known() -> None:
    H, G, h = random_cell(17, (5,), K=1, Nb=1)
    amplitude = np.abs(H[:, 0, 0]) + np.sum(np.abs(h[:, :, 0] * G[..., 0]), axis=(-2, -1))
    expected = np.log2(1 + POWER * amplitude**2 / NOISE)
    np.testing.assert_allclose(solvers.upper_bound(H, G, h, POWER, NOISE), expected, rtol=1e-12)
    orthogonal = np.diag([3.0, 1.0, 0.05]).astype(complex)
    nobody, none = np.zeros((0, 3, 2)), np.zeros((0, 2, 3))
    level = (POWER / NOISE + 1 / 9 + 1) / 2  # water stays below the third user's floor of 400
    expected = math.log2(9 * level) + math.log2(level)
    assert solvers.upper_bound(orthogonal, none, nobody, POWER, NOISE) == pytest.approx(expected, rel=1e-9)


def test_bound_is_close_where_the_surfaces_matter() -> None:
    """Each of the three bounds is the least somewhere; dropping one would be seen here."""
    cell, power, noise = environment_cells("mdlbi-v0", 15, 1)
    bound = solvers.upper_bound(*cell, power, noise).mean()
    ao = solvers.alternating_optimization(*cell, power, noise)[2][:, -1].mean()
    assert ao < bound < 1.3 * ao
    crowded = random_cell(18, (10,), K=12, Nb=2, L=0)
    best = solvers.alternating_optimization(*crowded, POWER, NOISE, starts=2)[2][:, -1]
    assert np.mean(solvers.upper_bound(*crowded, POWER, NOISE)) < 1.45 * best.mean()


# --- backends and edge cases ---------------------------------------------------------------------------------------


def test_torch_agrees_with_numpy() -> None:
    torch = pytest.importorskip("torch")
    cell = random_cell(19, (2, 3), K=4)
    cell[0][0, 0, 1], cell[2][0, 0, :, 1] = 0, 0
    weights = np.array([0.5, 1.0, 2.0, 0.0])
    of_irs = np.abs(cell[2][..., 0])

    def everything(H: Any, G: Any, h: Any, value: Any, focus: Any) -> list[Any]:
        phi = solvers.align_phases(H, G, h, focus)
        h_eff = link.cell_channel(H, G, h, phi)
        out = [phi, *(f(h_eff, POWER, NOISE, value) for f in BEAMFORMERS)]
        out += solvers.refine(H, G, h, out[2], phi, POWER, NOISE, value, sweeps=3)
        out += [f(H, G, h, out[2], phi, NOISE, value) for f in (solvers.parallel_sweep, solvers.sequential_sweep)]
        for sweep in SWEEPS:
            out += solvers.alternating_optimization(H, G, h, POWER, NOISE, value, 5, starts=2, sweep=sweep)
        return [*out, solvers.upper_bound(H, G, h, POWER, NOISE)]

    arrays = (*cell, np.broadcast_to(weights, (2, 3, 4)).copy(), of_irs)
    plain = everything(*arrays)
    tensors = everything(*(torch.from_numpy(x) for x in arrays))
    for a, b in zip(plain, tensors, strict=True):
        np.testing.assert_allclose(b.numpy(), a, rtol=1e-6, atol=1e-9)


def test_gradients_are_right_and_finite() -> None:
    """Through alignment, RZF and refinement, with an absent user and an IRS that is not owned."""
    torch = pytest.importorskip("torch")
    H, G, h = (torch.from_numpy(x) for x in random_cell(20, K=3, N=3))
    present, owned = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([1.0, 0.0])
    H, h = H * present[:, None], h * present[:, None] * owned[:, None, None]

    def rate(focus: Any, powers: Any, regularizer: Any, weights: Any) -> Any:
        phi = solvers.align_phases(H, G, h, focus)
        h_eff = link.cell_channel(H, G, h, phi)
        w = solvers.rzf(h_eff, POWER, NOISE, powers, regularizer)
        first = solvers.weighted_sum_rate(h_eff, w, NOISE)
        w, phi = solvers.refine(H, G, h, w, phi, POWER, NOISE, weights)
        return first + solvers.weighted_sum_rate(link.cell_channel(H, G, h, phi), w, NOISE)

    rng = np.random.default_rng(0)
    inputs = [torch.tensor(rng.uniform(0.2, 1, s), requires_grad=True) for s in ((2, 3), (3,), (), (3,))]
    assert torch.autograd.gradcheck(rate, inputs)
    zero = [torch.zeros(s, dtype=torch.float64, requires_grad=True) for s in ((2, 3), (3,), (), (3,))]
    rate(*zero).backward()
    assert all(torch.all(torch.isfinite(x.grad)) for x in zero if x.grad is not None)


EDGES: dict[str, dict[str, Any]] = {
    "no users": {"users": 0},
    "no direct path": {"direct": 0.0},
    "no IRS owned": {"owned": 0.0},
    "L=0": {"L": 0},
    "K=1": {"K": 1},
    "K > Nb": {"K": 6, "Nb": 2},
    "Nb=1": {"Nb": 1},
    "one element": {"N": 1, "L": 1},
    "very weak": {"scale": 1e-9},
    "very strong": {"scale": 1e4},
}


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("weighting", ["none", "some", "zero"])
def test_edge_cases_are_finite_and_feasible(edge: str, weighting: str, dtype: Any) -> None:
    case = dict(EDGES[edge])
    users, direct, owned, scale = (
        case.pop(name, default) for name, default in (("users", 2), ("direct", 1.0), ("owned", 1.0), ("scale", 1.0))
    )
    H, G, h = random_cell(21, (4,), **case)
    num_users = H.shape[1]
    crowded = np.array([False, True, True, False])[:, None]  # the other two cells lose users
    present = ((np.arange(num_users) < users) | crowded) & (users > 0)
    H, h = H * present[..., None] * direct * scale, h * present[:, None, :, None] * owned * scale
    cell = tuple(x.astype(dtype) for x in (H, G, h))
    weights = {"none": None, "some": np.arange(num_users) % 2.0, "zero": np.zeros(num_users)}[weighting]
    weights = None if weights is None else weights.astype(cell[0].real.dtype)
    phi = solvers.align_phases(*cell, None if weights is None else np.tile(weights, (4, 1)))
    h_eff = link.cell_channel(*cell, phi)
    beams = [f(h_eff, POWER, NOISE, weights) for f in BEAMFORMERS]
    beams.append(solvers.rzf(h_eff, POWER, NOISE, weights, 0.0))
    actions = [(w, phi) for w in beams]
    actions.append(solvers.refine(*cell, beams[1], phi, POWER, NOISE, weights))
    for sweep in SWEEPS:
        *action, history = solvers.alternating_optimization(*cell, POWER, NOISE, weights, 5, sweep=sweep)
        actions.append(tuple(action))
        assert np.all(np.isfinite(history))
    bound = solvers.upper_bound(*cell, POWER, NOISE)
    assert np.all(np.isfinite(bound))
    rounding = 50 * np.finfo(bound.dtype).eps
    for w, shifts in actions:
        assert w.shape == H.shape
        assert shifts.shape == G.shape[:-1]
        assert np.all(np.isfinite(w))
        np.testing.assert_allclose(np.abs(shifts), 1, rtol=rounding)
        assert np.all(link.transmit_power(w) <= POWER * (1 + rounding))
        assert np.all(sum_rate(cell, w, shifts) <= bound * (1 + rounding))
        assert np.all(w[np.broadcast_to(~present, w.shape[:2])] == 0)


@pytest.mark.parametrize(("num_users", "num_antennas"), [(3, 2), (2, 2), (2, 3)])
@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize(("precision", "gain"), [("complex128", 1e9), ("complex64", 1e5)])
def test_users_that_no_antenna_tells_apart_where_rounding_loses_the_noise(
    num_users: int, num_antennas: int, backend: str, precision: str, gain: float
) -> None:
    """The matrix of a WMMSE step is that of one direction then, and so it is singular."""
    xp: Any = np if backend == "numpy" else pytest.importorskip("torch", reason="needs torch")
    h = xp.ones((num_users, num_antennas), dtype=getattr(xp, precision))
    w = solvers.wmmse(gain * h, 1.0, 1.0, w_init=h, iterations=3)
    assert bool(xp.all(xp.isfinite(xp.abs(w))))
    assert float((abs(w) ** 2).sum()) == pytest.approx(1.0, rel=1e-5)
    assert float(solvers.weighted_sum_rate(gain * h, w, 1.0)) > 1.0
