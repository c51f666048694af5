"""experiments/analytic_gradient.py, experiments/unfolded_decoder.py and the unfolding they train."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "tqdm", "safetensors", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")

from experiments import analytic_gradient, unfolded_decoder  # noqa: E402
from irs_marl_env import evaluate, link, make_vec_env, solvers  # noqa: E402
from irs_marl_env.physics import radio  # noqa: E402
from irs_marl_env.solvers import decode_structured  # noqa: E402
from irs_marl_env.solvers.beamforming import _receivers  # noqa: E402
from irs_marl_env.solvers.phases import _beams_at_irs, _field_and_curvature  # noqa: E402

POWER, NOISE = 0.5, 0.02


pytestmark = pytest.mark.usefixtures("one_thread")


def cell(batch=3, K=3, L=2, N=4, Nb=3, absent=True, seed=0, dtype=np.complex128):
    rng = np.random.default_rng(seed)
    H, G, h = (
        (rng.normal(size=s) + 1j * rng.normal(size=s)).astype(dtype)
        for s in ((batch, K, Nb), (batch, L, N, Nb), (batch, L, K, N))
    )
    if absent:
        H[0, -1], h[0, :, -1], h[1, 0] = 0, 0, 0  # a user fewer, an IRS fewer
    return H, G, 0.5 * h


def random_coefficients(layers, seed=0):
    rng = np.random.default_rng(seed)
    return {name: x + rng.uniform(-0.3, 0.3, x.shape) for name, x in solvers.neutral_coefficients(layers).items()}


def rate(cells, w, phi, noise=NOISE):
    return solvers.weighted_sum_rate(link.cell_channel(*cells, phi), w, noise)


# --- solvers.unfold ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 3])
def test_neutral_unfolding_is_wmmse_steps_and_parallel_sweeps(layers):
    H, G, h = cells = cell()
    phi = solvers.align_phases(*cells)
    w = solvers.rzf(link.cell_channel(H, G, h, phi), POWER, NOISE)
    for _ in range(layers):
        w = solvers.wmmse_step(link.cell_channel(H, G, h, phi), w, POWER, NOISE)
        phi = solvers.parallel_sweep(H, G, h, w, phi, NOISE)
    w = solvers.wmmse_step(link.cell_channel(H, G, h, phi), w, POWER, NOISE)
    got_w, got_phi = solvers.unfold(*cells, POWER, NOISE, solvers.neutral_coefficients(layers))
    assert np.allclose(got_w, w, atol=1e-6)
    assert np.allclose(got_phi, phi, atol=1e-6)


def test_unfolding_is_feasible_and_counts_its_scalars():
    coefficients = random_coefficients(3)
    assert sum(x.size for x in solvers.neutral_coefficients(3).values()) == 6 * 3 + 5
    w, phi = solvers.unfold(*cell(), POWER, NOISE, coefficients)
    assert np.allclose(link.transmit_power(w), POWER)
    assert np.allclose(abs(phi), 1)
    assert np.all(w[0, -1] == 0)


def test_unfolding_does_not_care_about_the_order_of_users_and_irss():
    H, G, h = cell()
    users, irss = [2, 0, 1], [1, 0]
    w, phi = solvers.unfold(H, G, h, POWER, NOISE, random_coefficients(2))
    w2, phi2 = solvers.unfold(H[:, users], G[:, irss], h[:, irss][:, :, users], POWER, NOISE, random_coefficients(2))
    assert np.allclose(w2, w[:, users])
    assert np.allclose(phi2, phi[:, irss])


def test_unfolding_in_torch_equals_numpy_and_has_the_gradient_of_differences():
    cells, coefficients = cell(), random_coefficients(2)
    tensors = [torch.from_numpy(x) for x in cells]
    scalars = {name: torch.tensor(x, requires_grad=True) for name, x in coefficients.items()}
    w, phi = solvers.unfold(*tensors, POWER, NOISE, scalars)
    total = rate(tensors, w, phi).sum()
    assert total.item() == pytest.approx(rate(cells, *solvers.unfold(*cells, POWER, NOISE, coefficients)).sum())
    total.backward()
    for name, x in coefficients.items():
        for index in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[index] = 1e-5
            up, down = (
                rate(cells, *solvers.unfold(*cells, POWER, NOISE, {**coefficients, name: x + sign * step})).sum()
                for sign in (1, -1)
            )
            assert float(scalars[name].grad[index]) == pytest.approx((up - down) / 2e-5, abs=2e-4)


def test_unfolding_without_irs_or_users():
    H, G, h = cell(absent=False)
    w, phi = solvers.unfold(H, G[:, :0], h[:, :0], POWER, NOISE, solvers.neutral_coefficients(2))
    assert phi.shape == (3, 0, 4)
    assert np.allclose(w, solvers.wmmse(H, POWER, NOISE, iterations=3), atol=1e-6)
    w, phi = solvers.unfold(0 * H, G, 0 * h, POWER, NOISE, random_coefficients(2))
    assert np.all(w == 0)
    assert np.all(phi == 1)


@pytest.mark.parametrize("interference", [1.0, 0.3])
def test_the_field_is_the_gradient_of_the_rate_with_interference_scaled(interference):
    """With noise and power one: d rate / d conj(phi) = field / ln 2, its interference part by another route."""
    H, G, h = (torch.from_numpy(x[:, 0] if i else x) for i, x in enumerate(cell(absent=False)))
    phi = torch.from_numpy(np.exp(1j * np.arange(12.0).reshape(3, 4))).requires_grad_()
    w = torch.from_numpy(cell(seed=1)[0])

    def products(moving):
        return link.beam_products(link.cell_channel(H, G[:, None], h[:, None], moving[:, None]), w)

    fixed, moving = products(phi.detach()), products(phi)
    eye = torch.eye(3, dtype=torch.bool)
    rates = [
        link.rates(signal / (disturbance + 1)).sum()
        for signal, disturbance in (
            link.received_power(torch.where(eye, moving, fixed)),
            link.received_power(torch.where(eye, fixed, moving)),
        )
    ]
    gradient = torch.autograd.grad(rates[0] + interference * rates[1], phi)[0] / 2  # torch's is twice d / d conj
    fixed = fixed.numpy()
    reached = h.numpy(), radio.abs2(h.numpy()), _beams_at_irs(G.numpy(), w.numpy())
    field, _ = _field_and_curvature(fixed, *reached, *_receivers(fixed, None), interference=interference)
    assert np.allclose(field / np.log(2), gradient.numpy())


# --- the experiment -------------------------------------------------------------------------------------------------


def test_cells_are_those_of_the_environment():
    env = make_vec_env("mdlbi-small-v0", 3)
    env.reset(seed=4)
    view = env.view()
    owner = np.array([[0, 1], [1, 1], [-1, 0]])
    H, G, h = analytic_gradient.cell_channels(view, owner)
    for e, m, k in np.ndindex(3, 2, 4):
        mine = view.cell[e, k] == m
        assert np.array_equal(H[e, m, k], view.csi.H[e, m, k] * mine)
        for irs in range(2):
            assert np.array_equal(h[e, m, irs, k], view.csi.h[e, irs, k] * (mine and owner[e, irs] == m))
    np.testing.assert_array_equal(G, view.csi.G)


def test_channels_are_new_in_every_draw_and_the_same_for_a_seed():
    draws = [analytic_gradient.CellSource("mdlbi-small-v0 num_users=3", 5, seed).draw() for seed in (1, 1, 2)]
    assert draws[0][0].shape == (5, 3, 4)
    assert all(np.array_equal(a, b) for a, b in zip(draws[0], draws[1], strict=True))
    assert not np.array_equal(draws[0][0], draws[2][0])
    source = analytic_gradient.CellSource("mdlbi-small-v0", 4, 1)
    assert not np.array_equal(source.draw()[0], source.draw()[0])


def test_learned_phases_are_equivariant_and_feasible():
    torch.manual_seed(0)
    net = analytic_gradient.Phases(rounds=2, width=8)
    with torch.no_grad():
        for parameter in net.parameters():  # the last layers begin at zero
            parameter.add_(0.2 * torch.randn_like(parameter))
        H, G, h = (torch.from_numpy(x) for x in cell(dtype=np.complex64))
        w, phi = net(H, G, h, POWER, NOISE)
        users, irss, elements = [2, 0, 1], [1, 0], [3, 1, 0, 2]
        moved = (H[:, users], G[:, irss][:, :, elements], h[:, irss][:, :, users][..., elements])
        w2, phi2 = net(*moved, POWER, NOISE)
        plain = solvers.align_phases(H, G, h)
    assert torch.allclose(w2, w[:, users], atol=1e-5)
    assert torch.allclose(phi2, phi[:, irss][:, :, elements], atol=1e-5)
    assert torch.allclose(phi.abs(), torch.ones(()), atol=1e-6)
    assert torch.allclose(link.transmit_power(w), torch.tensor(POWER))
    assert not torch.allclose(phi, plain, atol=0.1)


def test_the_flat_network_is_feasible():
    H, G, h = cell(dtype=np.complex64)
    net = analytic_gradient.Flat(H, G, h, width=8)
    with torch.no_grad():
        w, phi = net(*(torch.from_numpy(x) for x in (H, G, h)), POWER, NOISE)
    assert torch.allclose(phi.abs(), torch.ones(()), atol=1e-6)
    assert torch.allclose(link.transmit_power(w), torch.tensor(POWER))
    assert bool((w[0, -1] == 0).all())


def test_the_flat_network_sees_only_what_rates_depend_on():
    """Users in another order, their channels and the two of an element turned: the same rates, of the same users."""
    torch.manual_seed(0)
    H, G, h = (torch.from_numpy(x) for x in cell(dtype=np.complex64))
    net = analytic_gradient.Flat(H.numpy(), G.numpy(), h.numpy(), width=8)
    of_user = torch.exp(2j * torch.pi * torch.rand(3, 1, 3, 1))
    of_element = torch.exp(2j * torch.pi * torch.rand(3, 2, 4, 1))
    users = [2, 0, 1]
    turned = H * of_user[:, 0], G * of_element, h * of_user * of_element.conj().mT
    moved = turned[0][:, users], turned[1], turned[2][:, :, users]
    with torch.no_grad():
        net.net[-1].weight.mul_(1e3)  # it begins so small that phases hardly depend on the cell
        (w, phi), (w2, phi2) = net(H, G, h, POWER, NOISE), net(*moved, POWER, NOISE)
    assert not torch.allclose(phi[0], phi[1], atol=0.1)
    assert torch.allclose(phi, phi2, atol=1e-4)
    assert torch.allclose(w[:, users], w2, atol=1e-4)
    assert torch.allclose(rate((H, G, h), w, phi), rate(moved, w2, phi2), atol=1e-4)


def test_training_the_scalars_beats_the_untrained_layers_and_reports(tmp_path, capsys):
    args = analytic_gradient.Args(
        seeds=(5,),
        networks=("unfolding-2", "phases", "flat"),
        updates=(24, 2, 2),
        cells=(16, 4, 4),
        eval_cells=48,
        repeats=1,
        out=str(tmp_path),
    )
    result = analytic_gradient.main(args)
    shares = result["shares"]
    assert shares["AO-30"]["mdlbi-small-v0"] == 1
    assert shares["unfolding-2"]["mdlbi-small-v0"] > shares["untrained-2"]["mdlbi-small-v0"] + 2e-4
    assert result["runs"]["unfolding-2"][0]["curve"][0][1] == pytest.approx(
        shares["untrained-2"]["mdlbi-small-v0"], abs=1e-4
    )
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["shares"] == shares
    assert (tmp_path / "quality.png").stat().st_size > 10_000
    assert "unfolding-2" in capsys.readouterr().out


# --- in the environment -----------------------------------------------------------------------------------------------


def test_decoding_outside_equals_the_structured_decoder_inside():
    def decode(named, *cells):
        return decode_structured(named, *cells, 2)

    outside = evaluate(unfolded_decoder.DecodedPolicy(decode), "mdlbi-small-v0", 3, 7, slots=3, progress=False)
    inside = evaluate("structured-local-gain", "mdlbi-small-v0", 3, 7, slots=3, progress=False)
    assert np.allclose(outside.rates, inside.rates, rtol=2e-4)


def test_actions_of_an_actor_are_decoded_with_its_bids():
    def actor(observations):
        actions = np.zeros((*observations.shape[:2], 2 + 8 + 4 + 1), np.float32)
        actions[:, 1, :2] = 0.5
        return actions

    seen = []

    def decode(named, H, G, h, power, noise):
        seen.append(h)
        return solvers.unfold(H, G, h, power, noise, solvers.neutral_coefficients(1))

    evaluate(unfolded_decoder.DecodedPolicy(decode, actor), "mdlbi-small-v0", 2, 7, slots=2, progress=False)
    assert all(np.all(h[:, 0] == 0) for h in seen)
    assert any(np.any(h[:, 1] != 0) for h in seen)


@pytest.mark.parametrize("override", [{"association_delay": 1}, {"contention": "collision"}, {"reflection": "single"}])
def test_owners_that_cannot_be_foretold_are_refused(override):
    with pytest.raises(ValueError, match="association_delay=0"):
        evaluate(unfolded_decoder.DecodedPolicy(lambda *_: None), "mdlbi-small-v0", 1, slots=1, **override)


def test_the_comparison_in_the_environment_runs(tmp_path):
    scalars = {name: x.tolist() for name, x in solvers.neutral_coefficients(3).items()}
    (tmp_path / "trained.json").write_text(
        json.dumps({"runs": {"unfolding-3": [{"seed": 1, "scalars": scalars}]}}), encoding="utf-8", newline="\n"
    )
    args = unfolded_decoder.Args(str(tmp_path / "trained.json"), episodes=2, slots=1, out=str(tmp_path))
    rows = unfolded_decoder.main(args)["table"]["mdlbi-small-v0"]
    assert rows["unfolding-3"]["mean"] == pytest.approx(rows["untrained-3"]["mean"], abs=1e-5)
    assert rows["sweeps-2"]["unfolding_minus_it"] == pytest.approx(
        rows["unfolding-3"]["mean"] - rows["sweeps-2"]["mean"], abs=1e-5
    )
