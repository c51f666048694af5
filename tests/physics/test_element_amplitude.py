"""Elements whose amplitude depends on their phase (Abeywickrama et al. 2020), from the formula to a policy."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, evaluate, link, make_vec_env, solvers
from irs_marl_env.arrays import namespace
from irs_marl_env.evaluation import BOUND
from irs_marl_env.physics.radio import element_amplitude, phase_shifts
from irs_marl_env.policies.cells import Cells

PAPER = 0.2, 0.43 * math.pi, 1.6  # beta_min, phi_0, alpha of the paper's figures
LOSSY = Scenario(
    num_users=4,
    num_irs=3,
    num_elements=(20, 12, 16),
    num_antennas=4,
    blockage_db=40,
    element_amplitude_min=0.2,
    horizon=10,
)
each_kind = pytest.mark.parametrize("kind", ["numpy", "torch"])


def array(kind: str, x: Any, dtype: str = "float64") -> Any:
    return np.asarray(x, dtype) if kind == "numpy" else pytest.importorskip("torch").asarray(np.asarray(x, dtype))


@each_kind
@pytest.mark.parametrize("parameters", [PAPER, (0.0, 0.0, 0.3), (0.8, 5.0, 3.0), (0.5, 1.0, 0.0), (1.0, 1.0, 2.0)])
def test_values(parameters: tuple[float, float, float], kind: str) -> None:
    least, offset, steepness = parameters
    ends = element_amplitude(array(kind, [offset + math.pi / 2, offset - math.pi / 2]), *parameters)
    assert float(ends[0]) == pytest.approx(1.0)
    assert float(ends[1]) == pytest.approx(least if steepness else 1.0, abs=1e-8)
    for theta in np.linspace(-2 * math.pi, 2 * math.pi, 41):
        expected = (1 - least) * ((math.sin(theta - offset) + 1) / 2) ** steepness + least
        assert float(element_amplitude(array(kind, [theta]), *parameters)[0]) == pytest.approx(expected, abs=1e-7)


def test_numbers_of_the_paper() -> None:
    """Half way up the sine the amplitude is (1 - beta_min) 2^-alpha + beta_min."""
    assert float(element_amplitude(np.array(PAPER[1]), *PAPER)) == pytest.approx(0.2 + 0.8 * 2**-1.6)
    s = Scenario(element_amplitude_min=0.2)
    assert s.element_amplitude == pytest.approx(PAPER)  # the defaults of the other two are the paper's
    assert Scenario().element_amplitude is None
    assert s.digest != Scenario().digest == Scenario(element_amplitude_min=1).digest


@each_kind
def test_coefficients_take_the_amplitude_of_the_phase_on_the_grid(kind: str) -> None:
    theta = array(kind, np.random.default_rng(0).uniform(-4, 4, (3, 50)), "float32")
    phi = np.asarray(phase_shifts(theta, 2, PAPER))
    grid = np.round(np.asarray(theta, float) / (math.pi / 2)) * (math.pi / 2)
    beta = 0.8 * ((np.sin(grid - PAPER[1]) + 1) / 2) ** 1.6 + 0.2
    np.testing.assert_allclose(phi, beta * np.exp(1j * grid), atol=1e-6)
    assert phi.dtype == np.complex64
    np.testing.assert_array_equal(np.asarray(phase_shifts(theta, 2, None)), np.asarray(phase_shifts(theta, 2)))


@pytest.mark.parametrize("steepness", [0.0, 0.2, 0.5, 1.6])
def test_the_gradient_is_the_derivative_and_finite(steepness: float) -> None:
    torch = pytest.importorskip("torch")
    theta = torch.linspace(-3, 3, 25, dtype=torch.float64).requires_grad_()
    element_amplitude(theta, 0.1, 0.7, steepness).sum().backward()
    step = 1e-6
    ahead, behind = (element_amplitude(theta.detach().numpy() + d, 0.1, 0.7, steepness) for d in (step, -step))
    np.testing.assert_allclose(theta.grad.numpy(), (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-7)
    for dtype in (torch.float32, torch.float64):
        lowest = torch.tensor([0.7 - math.pi / 2, 0.0], dtype=dtype, requires_grad=True)
        element_amplitude(lowest, 0.1, 0.7, steepness).sum().backward()
        assert bool(torch.isfinite(lowest.grad).all())
    exact = torch.tensor([-math.pi / 2], dtype=torch.float64, requires_grad=True)
    with pytest.MonkeyPatch.context() as patch:  # a cosine of exactly zero, which rounding rarely leaves
        patch.setattr(namespace(exact), "cos", lambda x: x * 0.0)
        amplitude = element_amplitude(exact, 0.1, 0.0, steepness)
        amplitude.sum().backward()
    assert float(amplitude.detach()) == pytest.approx(0.1 if steepness else 1.0)
    assert bool(torch.isfinite(exact.grad).all())


# --- in the environment ---------------------------------------------------------------------------------------------


def sent(env: Any, action: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Beams and coefficients of an action."""
    slot = env._core.slot
    w, _, phi = slot.transmission(env._state, slot.decode(action), owner)
    return w, phi


def ways() -> list[Any]:
    numba = pytest.mark.skipif(find_spec("numba") is None, reason="numba is missing")
    return ["plain", pytest.param("kernels", marks=numba)]


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize("action_kind", ["raw", "structured"])
def test_elements_have_the_amplitude_of_their_phase_and_idle_ones_that_of_zero(action_kind: str, way: str) -> None:
    env = make_vec_env(LOSSY.replace(action=action_kind, contention="collision"), 4, fast=way == "kernels")
    env.reset(seed=0)
    action = np.random.default_rng(0).uniform(-1, 1, (4, 2, env.action_size)).astype(np.float32)
    owner = np.array([[0, 1, -1]] * 4)
    _, phi = sent(env, action, owner)
    for l, size in enumerate(LOSSY.elements):
        of_irs = phi[:, l, :size]
        beta = 0.8 * ((np.sin(np.angle(of_irs) - PAPER[1]) + 1) / 2) ** 1.6 + 0.2
        np.testing.assert_allclose(abs(of_irs), beta, rtol=1e-4)
        assert abs(of_irs).min() < (0.9 if l < 2 else 0.5)
    idle = 0.8 * ((math.sin(-PAPER[1]) + 1) / 2) ** 1.6 + 0.2
    np.testing.assert_allclose(phi[:, 2, :16], idle, rtol=1e-6)


@pytest.mark.parametrize("sweeps", [0, 2])
def test_structured_beams_are_made_for_the_lossy_channel(sweeps: int) -> None:
    """On the channel that really results they bring more than the beams of ideal elements would."""
    env = make_vec_env(LOSSY.replace(action="structured", sweeps=sweeps), 12, fast=False)
    ideal = make_vec_env(LOSSY.replace(action="structured", sweeps=sweeps, element_amplitude_min=1), 12, fast=False)
    for one in (env, ideal):
        one.reset(seed=0)
    action = np.zeros((12, 2, env.action_size), np.float32)
    view, owner = env.view(), np.array([[0, 1, 0]] * 12)
    (w, phi), (w_ideal, phi_ideal) = (sent(one, action, owner) for one in (env, ideal))
    np.testing.assert_allclose(np.exp(1j * np.angle(phi)), phi_ideal, atol=1e-5)  # the phases of ideal elements
    user_irs = view.own_user[..., None] & (owner[:, None, None] == np.arange(2)[:, None, None])
    h_eff = link.effective_channel(*view.channels, phi, user_irs, view.cell)
    rate = [
        link.rates(link.sinr(h_eff, beams, view.cell, LOSSY.noise_power_w)).sum(-1).mean() for beams in (w, w_ideal)
    ]
    assert rate[0] > 1.005 * rate[1]
    if sweeps == 0:
        own = h_eff[:, None] * view.own_user[..., None]
        expected = solvers.rzf(own.astype(complex), LOSSY.tx_power_w, LOSSY.noise_power_w)
        np.testing.assert_allclose(w, expected, atol=2e-3 * abs(expected).max())


def test_cells_are_worth_what_the_lossy_elements_bring() -> None:
    """The worth of a set of IRSs, by which rules choose, is the rate on the channel that really results."""
    env = make_vec_env(LOSSY, 3, fast=False)
    env.reset(seed=0)
    view = env.view()
    rows, bs = np.array([0, 1, 2]), np.array([0, 1, 1])
    solution = Cells(view).solve(rows, bs, np.ones((3, 3), bool))
    csi = view.csi
    for b, (e, m) in enumerate(zip(rows, bs, strict=True)):
        own = view.own_user[e, m]
        phi = phase_shifts(np.angle(solution.phi[b]), None, PAPER)
        h_eff = csi.H[e, m] * own[:, None] + sum(
            (csi.h[e, l] * own[:, None] * phi[l]) @ csi.G[e, m, l] for l in range(3)
        )
        worth = float(solvers.weighted_sum_rate(h_eff, solution.w[b], LOSSY.noise_power_w))
        assert solution.value[b] == pytest.approx(worth, rel=1e-3)
        wider = solvers.wmmse(h_eff, LOSSY.tx_power_w, LOSSY.noise_power_w, w_init=solution.w[b], iterations=30)
        assert (
            float(solvers.weighted_sum_rate(h_eff, wider, LOSSY.noise_power_w)) < 1.01 * worth
        )  # nothing left to gain


def test_policies_lose_by_it_and_none_passes_the_bound() -> None:
    names = ("random", "random-wmmse", "local-gain-ao", "exhaustive-ao", "structured-local-gain")
    run = {"episodes": 3, "slots": 2, "seed": 0}
    bound = evaluate(BOUND, LOSSY, **run).per_bs.episodes
    np.testing.assert_array_equal(bound, evaluate(BOUND, LOSSY, element_amplitude_min=1, **run).per_bs.episodes)
    for name in names:
        lossy, ideal = (evaluate(name, LOSSY, element_amplitude_min=x, **run) for x in (0.2, 1.0))
        assert (lossy.per_bs.episodes <= bound + 1e-6).all()
        if name.endswith(("ao", "gain")):
            assert lossy.mean < 0.97 * ideal.mean, name
    lossy, ideal = (evaluate("no-irs-rzf", LOSSY, element_amplitude_min=x, **run) for x in (0.2, 1.0))
    assert lossy.mean == pytest.approx(ideal.mean, abs=2e-6)  # kernels serve the second one, within rounding


def test_the_bound_holds_for_any_amplitudes_up_to_one() -> None:
    rng = np.random.default_rng(0)
    H, G, h = ((rng.normal(size=(6, *shape, 2)) @ [1, 1j]) for shape in ((3, 4), (2, 5, 4), (2, 3, 5)))
    bound = solvers.upper_bound(H * 0.1, G, h, 1.0, 1.0)
    for _ in range(50):
        phi = rng.uniform(0, 1, (6, 2, 5)) * np.exp(1j * rng.uniform(-4, 4, (6, 2, 5)))
        h_eff = link.cell_channel(H * 0.1, G, h, phi)
        w = solvers.wmmse(h_eff, 1.0, 1.0, iterations=20)
        assert (solvers.weighted_sum_rate(h_eff, w, 1.0) <= bound).all()
