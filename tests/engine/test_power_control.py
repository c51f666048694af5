"""Structured actions that say what share of Pmax a BS takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, evaluate, make_env, make_vec_env
from irs_marl_env.adapters.discrete import DiscreteBids
from irs_marl_env.engine.core import Core
from irs_marl_env.solvers.decoder import decode_structured

SIZES: dict[str, Any] = {
    **{"num_users": 4, "num_irs": 2, "num_antennas": 3, "num_elements": 5, "horizon": 9},
    **{"action": "structured", "observation": "large_scale", "power_control": True},
}
READINGS: list[dict[str, Any]] = [
    {},
    {"inter_cell_interference": True, "reflection": "all"},
    {"power": "sphere", "reflection": "single"},
    {"tx_power_dbm": (20.0, 30.0), "sweeps": 0},
    {"csi_error_variance": 0.1, "contention": "collision"},
    {"element_amplitude_min": 0.5},
]


def batch(way: str, **options: Any) -> Any:
    scenario = Scenario(**{**SIZES, **options})
    if way == "torch":
        pytest.importorskip("torch")
        return make_vec_env(scenario, 3, backend="torch")
    if way == "compiled":
        pytest.importorskip("numba")
    return make_vec_env(scenario, 3, fast=way == "compiled")


def actions(env: Any, share: Any, seed: int = 0) -> np.ndarray:
    """Random actions with these shares of the power."""
    flat = np.random.default_rng(seed).uniform(-1, 1, (3, 2, env.action_size)).astype(np.float32)
    flat[..., -1] = 2 * np.asarray(share) - 1
    return flat


@pytest.mark.parametrize("way", ["plain", "compiled", "torch"])
def test_two_users_by_hand(way: str) -> None:
    """One antenna, no IRS, a user in each cell: what a BS radiates is signal to one and interference to the other."""
    env = batch(way, num_users=2, num_irs=0, num_elements=1, num_antennas=1, inter_cell_interference=True,
                blockage_db=0.0, mobility="static")  # fmt: skip
    env.reset(seed=0, options={"positions": [[10.0, 40.0], [60.0, 40.0]]})
    H, pmax, noise = (
        np.abs(np.asarray(env.view().csi.H)[..., 0]) ** 2,
        env.scenario.tx_power_w,
        env.scenario.noise_power_w,
    )
    shares = np.array([[1.0, 0.25], [0.5, 0.0], [0.0, 0.125]])
    infos = env.step(env._xp.asarray(actions(env, shares)))[4]
    np.testing.assert_allclose(infos["power_w"], shares * pmax, rtol=1e-5, atol=1e-12)
    for e, (a, b) in enumerate(shares * pmax):
        expected = [a * H[e, 0, 0] / (b * H[e, 1, 0] + noise), b * H[e, 1, 1] / (a * H[e, 0, 1] + noise)]
        np.testing.assert_allclose(infos["rates"][e], np.log2(1 + np.array(expected)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", ["plain", "compiled", "torch"])
@pytest.mark.parametrize("reading", READINGS, ids=lambda r: "-".join(map(str, r.values())) or "default")
def test_a_bs_radiates_its_share_and_beams_are_made_for_it(way: str, reading: dict[str, Any]) -> None:
    env, twin = batch(way, **reading), batch("plain", **reading)
    weaker = batch("plain", **{**reading, "power_control": False})
    shares = np.array([[1.0, 0.3], [0.01, 1e-4], [0.0, 0.7]])
    limits = np.array(env.scenario.tx_powers_w)
    for vec in (env, twin, weaker):
        vec.reset(seed=1)
    action = actions(env, shares)
    state, slot = twin._state, Core(twin.scenario, fast=False).slot
    owner = np.asarray(slot.auction(action, twin._core.streams(0, 3))[1])
    found, expected = (vec.step(vec._xp.asarray(action))[4] for vec in (env, twin))
    np.testing.assert_allclose(found["power_w"], expected["power_w"], rtol=2e-3, atol=1e-7)
    np.testing.assert_allclose(found["rates"], expected["rates"], rtol=2e-3, atol=1e-5)
    served = np.asarray(expected["sum_rate"]) > 0
    np.testing.assert_allclose(expected["power_w"][served], (shares * limits)[served], rtol=1e-3)
    assert (np.asarray(found["sum_rate"])[2, 0], np.asarray(found["power_w"])[2, 0]) == (0, 0)
    assert served.sum() >= 3
    if reading in ({}, {"tx_power_dbm": (20.0, 30.0), "sweeps": 0}):  # the solver's own answer for that power
        own = weaker._core.slot
        named = own.decode(action[..., :-1])
        w = slot.transmission(state, slot.decode(action), owner)[0]
        usable = own.held(owner)[:, :, :, None] * state.own_user[:, :, None]
        powers = np.maximum(shares, 1e-9) * limits
        s = env.scenario
        cells = state.csi.H * state.own_user[..., None], state.csi.G, state.csi.h[:, None] * usable[..., None]
        best = decode_structured(named, *cells, powers, s.noise_power_w, s.sweeps)[0]
        np.testing.assert_allclose(w[served], best[served], rtol=1e-2, atol=1e-3 * np.abs(best).max())


@pytest.mark.parametrize("way", ["plain", "compiled"])
def test_the_whole_of_pmax_is_what_there_is_without_power_control(way: str) -> None:
    env, other = batch(way), batch(way, power_control=False)
    env.reset(seed=0)
    other.reset(seed=0)
    action = actions(env, 1.0)
    for x, y in zip(env.step(action)[:2], other.step(action[..., :-1])[:2], strict=True):
        np.testing.assert_array_equal(x, y)


def test_gradients_are_finite_at_both_ends() -> None:
    torch = pytest.importorskip("torch")
    env = batch("torch", inter_cell_interference=True)
    env.reset(seed=0)
    action = torch.as_tensor(actions(env, [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])).requires_grad_()
    env.step(action)[1].sum().backward()
    assert torch.isfinite(action.grad).all()
    assert action.grad[2, :, -1].abs().min() > 0


def test_the_codec_and_its_neutral_action() -> None:
    env = make_env(**SIZES)
    codec = env.action_codec
    assert list(codec.layout.shapes) == ["bids", "focus", "powers", "regularizer", "total_power"]
    flat = np.random.default_rng(0).uniform(-1, 1, (3, codec.size)).astype(np.float32)
    named = codec.decode(flat)
    np.testing.assert_allclose(named["total_power"], (1 + flat[:, -1]) / 2, rtol=1e-6)
    np.testing.assert_allclose(codec.encode(named), flat, atol=1e-6)
    neutral = codec.decode(codec.neutral)
    assert neutral["total_power"] == 1
    assert all((neutral[name] == 1).all() for name in ("focus", "powers", "regularizer"))
    assert (neutral["bids"] == 0).all()
    assert not make_env(**{**SIZES, "power_control": False}).action_codec.neutral.any()
    raw = make_env(**{**SIZES, "action": "raw"})  # raw beams say how much they radiate anyway
    assert raw.action_codec.size == make_env(**{**SIZES, "action": "raw", "power_control": False}).action_codec.size


def test_who_only_bids_radiates_pmax() -> None:
    single = make_env(**SIZES, speed_mps=0.0)
    env = DiscreteBids(single, levels=3)
    env.reset(seed=0, options={"positions": [[10.0, 40.0], [20.0, 40.0], [70.0, 40.0], [60.0, 40.0]]})
    infos = env.step({"bs_0": 1, "bs_1": 2})[4]
    result = evaluate("structured-local-gain", Scenario(**SIZES), episodes=3, slots=2)
    for found in (infos["bs_0"]["power_w"], infos["bs_1"]["power_w"], result.power_w.max()):
        assert found == pytest.approx(single.scenario.tx_power_w, rel=1e-4)


@pytest.mark.parametrize("net", ["deepsets", "mlp"])
@pytest.mark.parametrize("central", [False, True])
def test_actors_begin_near_pmax_and_critics_see_the_share(net: str, central: bool) -> None:
    torch = pytest.importorskip("torch")
    from irs_marl_env.training.networks import Actor, Critic, Sizes
    from irs_marl_env.training.settings import Args

    env = batch("plain")
    env.reset(seed=0)
    sizes, args = Sizes.of(env), Args(net=net, decoder_scale=0.4)
    generator = torch.Generator().manual_seed(0)
    actor, critic = Actor(sizes, args, generator), Critic(sizes, central, args, generator)
    share = env.action_codec.decode(actor.act(env.observe()))["total_power"]
    assert ((share > 0.85) & (share < 1)).all()
    obs, state = (torch.as_tensor(np.array(x)) for x in (env.observe(), env.state()))
    view = state if central else obs.transpose(0, 1)
    action = torch.zeros(2, 3, sizes.action.size).requires_grad_()
    critic(view, action).sum().backward()
    assert (action.grad[..., -2:] != 0).all()
