"""Where solvers start from: random phases at high SNR, and more users than antennas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from irs_marl_env import solvers


def complex_normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / math.sqrt(2)


def cells(users: int, antennas: int, elements: int, direct: float = 1.0, count: int = 20) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    sizes = (count, users, antennas), (count, 1, elements, antennas), (count, 1, users, elements)
    H, G, h = (complex_normal(rng, *shape) for shape in sizes)
    return direct * H, G, h


def crowded(users: int, antennas: int, count: int = 60) -> np.ndarray:
    """Channels of users near and far."""
    rng = np.random.default_rng(1)
    return complex_normal(rng, count, users, antennas) * np.exp(rng.normal(0, 1, (count, users, 1)))


def rate(channel: Any, w: Any, weights: Any = None) -> Any:
    return solvers.weighted_sum_rate(channel, w, 1.0, weights)


# --- phases far from good, at high SNR ------------------------------------------------------------------------------


@pytest.mark.parametrize("sweep", ["parallel", "sequential"])
@pytest.mark.parametrize("power", [1.0, 1e4, 1e8])
def test_random_phases_reach_the_optimum_of_one_user_at_any_snr(power: float, sweep: str) -> None:
    """Amplitudes add up: |H| + sum |h G|. Sweeps alone had .04 of that SNR at 1e4 and above."""
    H, G, h = cells(1, 1, 32)
    best = (abs(H[:, 0, 0]) + abs(h[:, 0, 0] * G[:, 0, :, 0]).sum(-1)) ** 2 * power
    options: dict[str, Any] = {"iterations": 60, "sweep": sweep}
    for start in ({"init": "random"}, {"phi_init": np.exp(1j * np.arange(32.0))[None]}):
        _, _, history = solvers.alternating_optimization(H, G, h, power, 1.0, **options, **start)
        share = np.expm1(history[:, -1] * math.log(2)) / best
        assert share.mean() > 0.98
        assert share.min() > 0.9
        assert np.all(share < 1 + 1e-9)
    stuck = solvers.alternating_optimization(H, G, h, power, 1.0, init="random", leaps=False, **options)[2][:, -1]
    assert power < 100 or np.mean(np.expm1(stuck * math.log(2)) / best) < 0.1


@pytest.mark.parametrize("power", [1e2, 1e4])
def test_random_phases_come_near_the_best_for_several_users(power: float) -> None:
    """Beams that are held allow phases no change at high SNR; the two move together."""
    cell = cells(4, 4, 16)
    best = solvers.alternating_optimization(*cell, power, 1.0, iterations=100, starts=3)[2][:, -1].mean()
    shares = [
        solvers.alternating_optimization(*cell, power, 1.0, init="random", leaps=leaps)[2][:, -1].mean() / best
        for leaps in (False, None)
    ]
    assert shares[0] < 0.88
    assert shares[1] > 0.94


def test_alignment_without_a_direct_path_leaps_when_told() -> None:
    """There is nothing to align to then, and all phases are one."""
    H, G, h = cells(1, 4, 32, direct=0.0)
    usual, leaping = (
        solvers.alternating_optimization(H, G, h, 1e4, 1.0, leaps=leaps)[2][:, -1] for leaps in (None, True)
    )
    assert np.all(leaping > usual + 1)
    # at least what the strongest antenna alone has with all elements in phase
    alone = (abs(h[:, 0, 0, :, None] * G[:, 0]).sum(1) ** 2).max(-1)
    assert np.all(leaping > np.log2(1 + 0.9e4 * alone))


def test_a_leap_that_leads_to_a_worse_end_is_not_kept() -> None:
    """Serving one user alone is best here, and leaps keep both."""
    rng = np.random.default_rng(0)
    H, G, h = (rng.standard_normal(shape) + 0j for shape in ((2, 2, 3), (2, 4, 3), (2, 2, 4)))
    cell = H[0], G[:1], h[:1]
    for leaps in (False, None):
        _, _, history = solvers.alternating_optimization(
            *cell, 1.0, 1.0, np.array([0.5, 0.5]), 100, phi_init=np.ones((1, 4), complex), leaps=leaps
        )
        assert history[-1] == pytest.approx(2.2145, abs=1e-3)


@pytest.mark.parametrize("sweep", ["parallel", "sequential"])
@pytest.mark.parametrize("weighted", [False, True])
def test_leaps_never_lower_the_rate(sweep: str, weighted: bool) -> None:
    cell = cells(4, 4, 10)
    weights = np.array([1.0, 0.0, 0.2, 3.0]) if weighted else None
    w, phi, history = solvers.alternating_optimization(*cell, 50.0, 1.0, weights, leaps=True, sweep=sweep)
    assert np.all(np.diff(history) >= 0)
    plain = solvers.alternating_optimization(*cell, 50.0, 1.0, weights, leaps=False, sweep=sweep)[2]
    assert np.all(history[:, -1] >= plain[:, -1])
    assert np.any(history[:, -1] > plain[:, -1] + 0.1)
    channel = cell[0] + (cell[2][:, 0] * phi) @ cell[1][:, 0]
    np.testing.assert_allclose(history[:, -1], rate(channel, w, weights), rtol=1e-9)
    np.testing.assert_allclose(abs(phi), 1, rtol=1e-12)
    np.testing.assert_allclose((abs(w) ** 2).sum((1, 2)), 50.0, rtol=1e-9)


def test_the_aligned_start_alone_does_not_leap_by_itself() -> None:
    cell = cells(3, 4, 8)
    usual, plain, leaping = (
        solvers.alternating_optimization(*cell, 100.0, 1.0, leaps=leaps) for leaps in (None, False, True)
    )
    for a, b in zip(usual, plain, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(usual[2], leaping[2])


def test_a_cell_leaps_alike_in_any_batch_and_backend() -> None:
    torch = pytest.importorskip("torch")
    cell = cells(3, 4, 8, count=4)
    options: dict[str, Any] = {"init": "random", "iterations": 15, "tolerance": 1e-2}
    together = solvers.alternating_optimization(*cell, 100.0, 1.0, **options)
    tensors = solvers.alternating_optimization(*(torch.from_numpy(x) for x in cell), 100.0, 1.0, **options)
    for row in range(4):
        alone = solvers.alternating_optimization(*(x[row] for x in cell), 100.0, 1.0, **options)
        for a, b, c in zip(together, alone, tensors, strict=True):
            np.testing.assert_allclose(a[row], b, rtol=1e-6, atol=1e-8)
            np.testing.assert_allclose(c[row].numpy(), b, rtol=1e-6, atol=1e-8)


# --- more users than antennas ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("users", "antennas"), [(3, 2), (6, 2), (8, 4)])
@pytest.mark.parametrize("power", [10.0, 1e4])
def test_wmmse_of_crowded_cells_is_near_the_best_of_many_starts(users: int, antennas: int, power: float) -> None:
    """From regularised zero-forcing alone the worst cell had .68 to .88 of it."""
    channel, rng = crowded(users, antennas), np.random.default_rng(2)
    mine = rate(channel, solvers.wmmse(channel, power, 1.0))
    rzf = rate(channel, solvers.wmmse(channel, power, 1.0, w_init=solvers.rzf(channel, power, 1.0)))
    tries = [
        rate(channel, solvers.wmmse(channel, power, 1.0, w_init=complex_normal(rng, *channel.shape))) for _ in range(8)
    ]
    best = np.max([mine, rzf, *tries], axis=0)
    assert np.all(mine >= rzf * (1 - 1e-9))
    assert (rzf / best).min() < 0.89
    assert (mine / best).min() > 0.9
    assert mine.mean() > 0.995 * best.mean()


def test_only_crowded_cells_of_a_batch_get_further_starts() -> None:
    channel = crowded(6, 2, count=12)
    channel[::3, 2:] = 0  # as many users as antennas
    channel[1] = 0  # nobody
    weights = np.random.default_rng(3).uniform(0, 2, (12, 6))
    together = solvers.wmmse(channel.reshape(3, 4, 6, 2), 100.0, 1.0, weights.reshape(3, 4, 6)).reshape(12, 6, 2)
    for row in range(12):
        alone = solvers.wmmse(channel[row], 100.0, 1.0, weights[row])
        np.testing.assert_allclose(together[row], alone, rtol=1e-6, atol=1e-9)
    w_init = solvers.rzf(10 * channel, 1.0, 1.0)  # in the units that wmmse computes in
    plain = solvers.wmmse(channel, 100.0, 1.0, weights, w_init=w_init)
    np.testing.assert_array_equal(together[::3], plain[::3])
    assert np.any(rate(channel, together, weights) > rate(channel, plain, weights) + 0.1)
    assert np.all(np.isfinite(together))


def test_selected_users_are_those_whose_channels_differ() -> None:
    """Two users share one channel: one of them and the third, weaker one are served."""
    channel = np.array([[2.0, 0.0], [1.9, 0.0], [0.0, 1.0]], complex)[None]
    power = (abs(solvers.beamforming._selection(channel, None)) ** 2).sum(-1)[0]
    assert power[0] == pytest.approx(0.5)
    assert power[2] == pytest.approx(0.5)
    assert power[1] == pytest.approx(solvers.beamforming.LITTLE**2)
    valued = solvers.beamforming._selection(channel, np.array([[1.0, 4.0, 1.0]]))
    assert (abs(valued) ** 2).sum(-1)[0].argmin() == 0


def test_crowded_cells_have_gradients_and_torch_agrees() -> None:
    torch = pytest.importorskip("torch")
    channel = crowded(5, 2, count=3)
    channel[0, 1:] = 0
    tensor = torch.from_numpy(channel).requires_grad_()
    w = solvers.wmmse(tensor, 10.0, 1.0, iterations=5)
    np.testing.assert_allclose(
        w.detach().numpy(), solvers.wmmse(channel, 10.0, 1.0, iterations=5), rtol=1e-6, atol=1e-8
    )
    solvers.weighted_sum_rate(tensor, w, 1.0).sum().backward()
    assert torch.isfinite(torch.view_as_real(tensor.grad)).all()
    assert tensor.grad.abs().sum() > 0
