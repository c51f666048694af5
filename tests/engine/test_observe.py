"""Observations and global states entry by entry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from naive import SIZES

from irs_marl_env import Scenario, make_env
from irs_marl_env.engine.core import Core
from irs_marl_env.physics.channel import Channels
from irs_marl_env.spaces.state import StateEncoder


def after_a_step(s: Scenario, num_envs: int = 2, fast: bool = False) -> tuple[Core, Any, np.ndarray]:
    """A core, its state after one random slot, and the action of that slot."""
    core = Core(s, fast=fast)
    streams = core.streams(0, num_envs)
    action = np.random.default_rng(0).uniform(-1, 1, (num_envs, s.num_bs, core.action_codec.size)).astype(np.float32)
    state, *_ = core.step(core.reset(streams), action, streams)
    return core, state, action


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "compiled"])
@pytest.mark.parametrize("csi", ["all", "owned"])
@pytest.mark.parametrize("elements", [3, (2, 4, 3)])
def test_csi_observation_by_entry(csi: str, elements: Any, fast: bool) -> None:
    """Every entry of the flat vector against the documented layout and the CSI of the state."""
    if fast:
        pytest.importorskip("numba")
    s = Scenario(**{**SIZES, "num_elements": elements}, num_bs=3, csi=csi, csi_error_variance=0.1)
    core, state, _ = after_a_step(s, fast=fast)
    observations = core.observe(state)
    reference = s.area_width_m / 2
    c0 = 10 ** (s.reference_gain_db / 10)
    scale = {
        "H": math.sqrt(c0 * 10 ** (-s.blockage_db / 10) * reference**-s.direct_exponent),
        "G": math.sqrt(c0 * reference**-s.bs_irs_exponent),
        "h": math.sqrt(c0 * reference**-s.irs_user_exponent),
    }
    hidden = 0
    for e in range(2):
        for m in range(3):
            mine = state.cell[e] == m
            held = [csi == "all" or state.owner[e, l] == m for l in range(s.num_irs)]
            hidden += held.count(False)
            H = [state.csi.H[e, m, k] * mine[k] / scale["H"] for k in range(s.num_users)]
            G = [state.csi.G[e, m, l, n] * held[l] / scale["G"] for l in range(s.num_irs) for n in range(s.elements[l])]
            h = [
                state.csi.h[e, l, k, : s.elements[l]] * held[l] * mine[k] / scale["h"]
                for l in range(s.num_irs)
                for k in range(s.num_users)
            ]
            others = [j for j in range(3) if j != m]
            rho = np.array([[state.owner[e, l] == j for l in range(s.num_irs)] for j in others], float)
            blocks = [np.concatenate([np.ravel(row) for row in x]) for x in (H, G, h)]
            expected = np.concatenate([part for x in blocks for part in (x.real, x.imag)] + [rho.ravel()])
            np.testing.assert_allclose(observations[e, m], np.clip(expected, -100, 100), rtol=1e-5, atol=1e-6)
    assert (hidden > 0) == (csi == "owned")


@pytest.mark.parametrize("observation", ["csi", "large_scale"])
def test_rho_modes(observation: str) -> None:
    for rho in ("owner", "bids", "none"):
        s = Scenario(**SIZES, num_bs=3, rho=rho, contention="collision", observation=observation)
        core, state, action = after_a_step(s)
        seen = core.observation_codec.decode(core.observe(state))["rho"]
        assert seen.shape == (2, 3, 2, 3)
        for e in range(2):
            for m in range(3):
                others = [j for j in range(3) if j != m]
                expected = {
                    "owner": [[state.owner[e, l] == j for l in range(3)] for j in others],
                    "bids": [action[e, j, -3:] for j in others],
                    "none": np.zeros((2, 3)),
                }[rho]
                np.testing.assert_allclose(seen[e, m], np.array(expected, float), rtol=1e-6)


def test_large_scale_observation_by_entry() -> None:
    s = Scenario(**SIZES, observation="large_scale")
    core, state, _ = after_a_step(s)
    named = core.observation_codec.decode(core.observe(state))
    reference = s.area_width_m / 2
    users = np.concatenate([state.motion["position"], np.full((2, s.num_users, 1), s.user_height_m)], axis=-1)
    bs = [(0, 40, 10), (80, 40, 10)]
    irs = [(40, 80 * (l + 0.5) / 3, 5) for l in range(3)]
    for e in range(2):
        for m in range(2):
            mine = state.cell[e] == m
            np.testing.assert_array_equal(named["own_user"][e, m], mine)
            np.testing.assert_array_equal(named["held"][e, m], state.owner[e] == m)
            for k in range(s.num_users):
                ratio = math.dist(users[e, k], bs[m]) / reference
                direct = -s.direct_exponent * math.log10(ratio)  # in units of 10 dB
                assert named["direct_gain"][e, m, k] == pytest.approx(direct * mine[k], abs=1e-5)
                for l in range(3):
                    legs = -s.bs_irs_exponent * math.log10(math.dist(bs[m], irs[l]) / reference)
                    legs -= s.irs_user_exponent * math.log10(math.dist(irs[l], users[e, k]) / reference)
                    assert named["irs_gain"][e, m, l, k] == pytest.approx(legs * mine[k], abs=1e-5)


def test_observations_are_clipped_to_the_box() -> None:
    """A user right at an IRS and a mast: the gain is far above the scale."""
    s = Scenario(
        num_users=2, num_irs=1, num_elements=4, irs_height_m=1.5, bs_height_m=1.5, direct_exponent=6.0,
        irs_user_exponent=4.0,
    )  # fmt: skip
    env = make_env(s)
    observations, _ = env.reset(seed=0, options={"positions": [[0.0, 40.0], [40.0, 40.0]]})
    assert np.abs(observations["bs_0"]).max() == 100.0
    assert env.observation_space("bs_0").contains(observations["bs_0"])
    assert np.abs(env.state()).max() == 100.0
    assert env.state_space.contains(env.state())


def test_log_gains_are_clipped_to_the_box() -> None:
    """A user right at an IRS: more than 200 dB above the gain at half the width of the area."""
    s = Scenario(
        num_users=2, num_irs=1, num_elements=1, num_antennas=1, observation="large_scale", mobility="static",
        area_width_m=4e3, cell_depth_m=2e3, bs_irs_exponent=0.0, irs_user_exponent=10.0, reference_gain_db=0.0,
        blockage_db=0.0, tx_power_dbm=-50.0, noise_power_dbm=20.0,
    )  # fmt: skip
    env = make_env(s)
    observations, _ = env.reset(seed=0, options={"positions": [[2e3, 2e3], [0.0, 0.0]]})
    gains = env.observation_codec.decode(np.stack(list(observations.values())))["irs_gain"]
    assert gains.max() == 20.0
    assert all(env.observation_space(agent).contains(x) for agent, x in observations.items())
    assert env.state().max() == 20.0
    assert env.state_space.contains(env.state())


@pytest.mark.parametrize("observation", ["csi", "large_scale"])
def test_bounds_of_rho_are_those_of_what_it_is(observation: str) -> None:
    for rho, least in (("owner", 0.0), ("bids", -1.0), ("none", 0.0)):
        codec = make_env(Scenario(**SIZES, num_bs=3, rho=rho, observation=observation)).observation_codec
        assert (codec.low[-6:] == least).all()
        assert (codec.high[-6:] == 1.0).all()


@pytest.mark.parametrize("observation", ["csi", "large_scale"])
def test_global_state_by_block(observation: str) -> None:
    s = Scenario(**SIZES, observation=observation)
    core, state, _ = after_a_step(s)
    flat = core.global_state(state)
    named = StateEncoder(s).blocks(flat)
    assert flat.dtype == np.float32
    np.testing.assert_allclose(named["position"], state.motion["position"] / 80.0, rtol=1e-6)
    np.testing.assert_array_equal(named["cell"], state.own_user)
    np.testing.assert_array_equal(named["owner"], state.owner[:, None] == np.arange(2)[:, None])
    # all BSs together know what the state holds: an agent's view is its part of it
    view = core.observation_codec.decode(core.observe(state))
    for m in range(2):
        mine = state.own_user[:, m]
        if observation == "csi":
            H = (named["H_real"] + 1j * named["H_imag"])[:, m] * core.observation_codec.scale.direct
            np.testing.assert_allclose(H * mine[..., None], view["H"][:, m], rtol=1e-4)
            G = named["G_real"][:, m] + 1j * named["G_imag"][:, m]  # (E, Nb, sum N_l)
            real = np.concatenate([view["G"][:, m, l, :n] for l, n in enumerate(s.elements)], axis=1)
            np.testing.assert_allclose(np.swapaxes(G, 1, 2) * core.observation_codec.scale.bs_irs, real, rtol=1e-4)
            h = (named["h_real"] + 1j * named["h_imag"]) * mine[..., None] * core.observation_codec.scale.irs_user
            real = np.concatenate([view["h"][:, m, l, :, :n] for l, n in enumerate(s.elements)], axis=2)
            np.testing.assert_allclose(h, real, rtol=1e-4)
        else:
            np.testing.assert_allclose(named["direct_gain"][:, m] * mine, view["direct_gain"][:, m], atol=1e-6)
            np.testing.assert_allclose(named["irs_gain"][:, m] * mine[:, None], view["irs_gain"][:, m], atol=1e-6)


def test_csi_codec_reads_what_was_written() -> None:
    s = Scenario(**SIZES, num_bs=2)
    core, state, _ = after_a_step(s)
    named = core.observation_codec.decode(core.observe(state))
    own = state.own_user
    seen = Channels(
        state.csi.H * own[..., None],
        state.csi.G,
        state.csi.h[:, None] * own[:, :, None, :, None],
    )
    for name in ("H", "G", "h"):
        np.testing.assert_allclose(named[name], getattr(seen, name), rtol=1e-4, atol=1e-12)
    flat = core.observation_codec.encode(named)
    np.testing.assert_allclose(flat, core.observe(state), rtol=1e-5, atol=1e-6)
