"""One step of the core against the equations, entry by entry; constraints and codecs for any input."""

from __future__ import annotations

import math
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irs_marl_env import Scenario, make_env
from irs_marl_env.channel import Channels
from irs_marl_env.codec import (
    CsiObservationCodec,
    LargeScaleObservationCodec,
    RawActionCodec,
    StateCodec,
    StructuredActionCodec,
)
from irs_marl_env.core import Core
from irs_marl_env.streams import Streams

SIZES: dict[str, Any] = {"num_users": 5, "num_irs": 3, "num_antennas": 3, "num_elements": (2, 4, 3), "speed_mps": 30.0}
# strong IRSs and little noise, so that every term of the SINR matters
STRONG: dict[str, Any] = {
    "blockage_db": 40.0,
    "bs_irs_exponent": 2.0,
    "irs_user_exponent": 2.0,
    "noise_power_dbm": -110,
}


def named_action(s: Scenario, flat: np.ndarray) -> tuple[list[Any], list[Any], list[Any]]:
    """w ``[M][K][Nb]``, theta ``[M][L][N_l]`` and bids ``[M][L]`` of flat raw actions, by the documented layout."""
    w, theta, bids = [], [], []
    beams = s.num_users * s.num_antennas
    for row in np.clip(flat, -1, 1).astype(float):
        re, im = row[:beams], row[beams : 2 * beams]
        w.append(math.sqrt(s.tx_power_w) * (re + 1j * im).reshape(s.num_users, s.num_antennas))
        start, per_irs = 2 * beams, []
        for count in s.elements:
            per_irs.append(math.pi * row[start : start + count])
            start += count
        theta.append(per_irs)
        bids.append(row[start : start + s.num_irs])
        assert start + s.num_irs == row.size
    return w, theta, bids


def expected_rates(s: Scenario, state: Any, flat: np.ndarray, owner: Any) -> tuple[np.ndarray, list[float]]:
    """Rates of the users and powers of the BSs of one raw action, from the equations."""
    w, theta, _ = named_action(s, flat)
    cell = state.cell[0]
    H, G, h = (np.asarray(x[0], complex) for x in state.channels)
    beams = np.array(w)
    for m in range(s.num_bs):
        beams[m][cell != m] = 0  # a BS serves its own users
        beams[m] = naive.project(beams[m], s.tx_power_w, s.power)
    phi = np.ones((s.num_irs, s.max_elements), complex)
    for l, m in enumerate(owner):
        for n in range(s.elements[l]):
            angle = theta[m][l][n] if m >= 0 else 0.0
            if s.phase_bits is not None:
                step = 2 * math.pi / 2**s.phase_bits
                angle = step * round(angle / step)
            phi[l, n] = complex(math.cos(angle), math.sin(angle))
    A = naive.user_irs(owner, cell, s.num_bs, s.reflection, naive.strength(G, h))
    sinr = naive.sinr(H, G, h, phi, A, beams, cell, s.noise_power_w, s.sinr, s.inter_cell_interference)
    return np.log2(1 + sinr), [float((np.abs(b) ** 2).sum()) for b in beams]


READINGS: list[dict[str, Any]] = [
    {"sinr": sinr, "reflection": reflection, "inter_cell_interference": inter_cell}
    for sinr in ("physical", "paper", "reflected")
    for reflection in ("owned", "single", "all")
    for inter_cell in (False, True)
]
READINGS += [
    {"contention": contention, "association_delay": delay, "initial_owner": initial, "reflection": reflection}
    for contention in ("auction", "collision", "priority")
    for delay in (0, 1)
    for initial, reflection in (("none", "all"), ("random", "owned"))
]
READINGS += [
    {"power": "sphere"},
    {"phase_bits": 1},
    {"phase_bits": 3, "reflection": "single"},
    {"num_bs": 1},
    {"num_bs": 3, "inter_cell_interference": True},
    {"num_irs": 0, "num_elements": 2},
    {"num_users": 1},
    {"tx_power_dbm": -20.0},
]


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "compiled"])
@pytest.mark.parametrize("reading", READINGS, ids=lambda r: "-".join(map(str, r.values())))
def test_step_equals_the_equations(reading: dict[str, Any], fast: bool) -> None:
    if fast:
        pytest.importorskip("numba")
    s = Scenario(**{**SIZES, **STRONG, **reading})
    core, streams = Core(s, fast=fast), Streams.from_seed(5, 1, np, fast=fast)
    state = core.reset(streams)
    rng = np.random.default_rng(0)
    for t in range(4):
        # the second half asks for little power
        action = rng.uniform(-1.3, 1.3, (1, s.num_bs, core.action_codec.size)).astype(np.float32)
        action[..., action.shape[-1] - s.num_irs :] /= 1.3  # clipped bids would tie
        if t >= 2:
            action[..., : 2 * s.num_users * s.num_antennas] *= 0.05
        decided = naive.owners(named_action(s, action[0])[2], s.contention)
        owner = decided if s.association_delay == 0 else state.owner[0].tolist()
        assert None not in decided  # no tie
        rates, power = expected_rates(s, state, action[0], owner)
        before = state
        state, outcome = core.step(state, action, streams)
        assert outcome.owner[0].tolist() == owner
        assert state.owner[0].tolist() == decided
        np.testing.assert_array_equal(outcome.cell, before.cell)
        np.testing.assert_allclose(outcome.rates[0], rates, rtol=2e-4, atol=1e-5)
        np.testing.assert_allclose(outcome.power_w[0], power, rtol=1e-4)
        per_bs = [rates[before.cell[0] == m].sum() for m in range(s.num_bs)]
        np.testing.assert_allclose(outcome.sum_rate[0], per_bs, rtol=2e-4, atol=1e-5)
        np.testing.assert_array_equal(outcome.reward, outcome.sum_rate)


def test_rewards_of_the_other_kinds() -> None:
    s = Scenario(**SIZES, num_bs=3, contention="collision")
    outcomes = {}
    for kind in ("local", "team", "mixed"):
        for cost in (0.0, 0.7):
            core, streams = Core(s.replace(reward=kind, team_weight=0.25, bid_cost=cost)), Streams.from_seed(0, 2, np)
            action = np.random.default_rng(1).uniform(-1.2, 1.2, (2, 3, core.action_codec.size)).astype(np.float32)
            outcomes[kind, cost] = core.step(core.reset(streams), action, streams)[1]
    own = outcomes["local", 0.0].sum_rate
    team = np.broadcast_to(own.mean(axis=1, keepdims=True), own.shape)
    paid = 0.7 * np.clip(action[..., -s.num_irs :], 0, 1).sum(axis=-1)
    assert (paid > 0).any()
    expected = {"local": own, "team": team, "mixed": 0.25 * team + 0.75 * own}
    for (kind, cost), outcome in outcomes.items():
        np.testing.assert_allclose(outcome.reward, expected[kind] - (paid if cost else 0), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(outcome.sum_rate, own)  # metrics do not depend on the reward


# --- constraints -------------------------------------------------------------------------------------------------


class Watched(Core):
    """A core that remembers what it transmitted."""

    def _transmission(self, *args: Any) -> Any:
        self.sent = super()._transmission(*args)
        return self.sent


@given(
    action=st.sampled_from(["raw", "structured"]),
    power=st.sampled_from(["ball", "sphere"]),
    contention=st.sampled_from(["auction", "collision", "priority"]),
    bits=st.sampled_from([None, 1, 2]),
    num_bs=st.integers(1, 3),
    scale=st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 7.0, 1e30]),
    extreme=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_any_action_meets_the_constraints(
    action: str, power: str, contention: str, bits: int | None, num_bs: int, scale: float, extreme: bool, seed: int
) -> None:
    s = Scenario(
        **SIZES, num_bs=num_bs, action=action, power=power, contention=contention, phase_bits=bits, reflection="all"
    )
    core, streams = Watched(s), Streams.from_seed(seed, 2, np)
    state = core.reset(streams)
    rng = np.random.default_rng(seed)
    flat = rng.uniform(-1, 1, (2, num_bs, core.action_codec.size))
    flat = scale * (np.sign(flat) if extreme else flat)
    state, outcome = core.step(state, flat.astype(np.float32), streams)
    w, radiated, phi = core.sent
    assert np.isfinite(w).all()
    exact = (np.abs(w.astype(complex)) ** 2).sum(axis=(-2, -1))
    assert (exact <= s.tx_power_w * (1 + 1e-5)).all()
    np.testing.assert_allclose(radiated, exact, rtol=1e-4, atol=1e-30)
    assert (w[~state_mask(outcome.cell, num_bs)] == 0).all()  # nothing for users of other cells
    np.testing.assert_allclose(np.abs(phi), 1.0, atol=1e-6)
    if bits is not None:
        steps = np.angle(phi) / (2 * np.pi / 2**bits)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-5)
    assert outcome.owner.shape == (2, s.num_irs)  # one entry per IRS: at most one BS each
    assert ((outcome.owner >= -1) & (outcome.owner < num_bs)).all()
    assert np.isfinite(outcome.rates).all()
    assert np.isfinite(core.observe(state)).all()


def state_mask(cell: np.ndarray, num_bs: int) -> np.ndarray:
    """``(E, M, K)``, whose user is whose."""
    return cell[:, None] == np.arange(num_bs)[:, None]


def test_structured_actions_refine_within_the_limits() -> None:
    """More sweeps never cost rate on average, and beat random raw actions by far."""
    mean = {}
    for sweeps in (0, 2, 5):
        s = Scenario(**SIZES, action="structured", sweeps=sweeps)
        core, streams = Core(s), Streams.from_seed(0, 50, np)
        state = core.reset(streams)
        rewards = []
        for _ in range(4):
            state, outcome = core.step(state, np.zeros((50, 2, core.action_codec.size), np.float32), streams)
            rewards.append(outcome.reward.sum(axis=1))
        mean[sweeps] = np.mean(rewards)
    raw, streams = Core(Scenario(**SIZES)), Streams.from_seed(0, 50, np)
    action = np.random.default_rng(0).uniform(-1, 1, (50, 2, raw.action_codec.size)).astype(np.float32)
    random = raw.step(raw.reset(streams), action, streams)[1].reward.sum(axis=1).mean()
    assert random < 0.5 * mean[0]
    assert mean[0] < mean[2] <= mean[5]


# --- codecs ------------------------------------------------------------------------------------------------------


def backends() -> list[Any]:
    try:
        import torch
    except ImportError:
        return [np.asarray]
    return [np.asarray, torch.as_tensor]


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    L = draw(st.integers(0, 3))
    unequal = st.tuples(*[st.integers(1, 4)] * L)
    return Scenario(
        num_bs=draw(st.integers(1, 3)),
        num_users=draw(st.integers(1, 4)),
        num_irs=L,
        num_antennas=draw(st.integers(1, 3)),
        num_elements=draw(st.integers(1, 4) | unequal),
        rho=draw(st.sampled_from(["owner", "bids", "none"])),
    )


LEADS = st.sampled_from([(), (1,), (3,), (2, 2)])


@pytest.mark.parametrize("kind", [RawActionCodec, StructuredActionCodec])
@given(s=scenarios(), lead=LEADS, seed=st.integers(0, 2**16))
def test_action_codec_is_its_own_inverse(kind: Any, s: Scenario, lead: tuple[int, ...], seed: int) -> None:
    codec = kind(s)
    flat = np.random.default_rng(seed).uniform(-1, 1, (*lead, codec.size)).astype(np.float32)
    for asarray in backends():
        named = codec.decode(asarray(flat))
        np.testing.assert_allclose(np.asarray(codec.encode(named)), flat, atol=1e-6)
        again = codec.decode(codec.encode(named))
        for name, value in named.items():
            np.testing.assert_allclose(np.asarray(again[name]), np.asarray(value), rtol=1e-4, atol=1e-6)
        assert tuple(named["bids"].shape) == (*lead, s.num_irs)
        if kind is RawActionCodec:
            assert tuple(named["w"].shape) == (*lead, s.num_users, s.num_antennas)
            assert tuple(named["theta"].shape) == (*lead, s.num_irs, s.max_elements)
        else:
            assert tuple(named["focus"].shape) == (*lead, s.num_irs, s.num_users)


def test_raw_action_layout() -> None:
    s = Scenario(**SIZES)
    codec = RawActionCodec(s)
    flat = np.random.default_rng(0).uniform(-1, 1, (2, codec.size)).astype(np.float32)
    w, theta, bids = named_action(s, flat)
    named = codec.decode(flat)
    np.testing.assert_allclose(named["w"], w, rtol=1e-6)
    np.testing.assert_array_equal(named["bids"], np.array(bids, np.float32))
    for m in range(2):
        for l, count in enumerate(s.elements):
            np.testing.assert_allclose(named["theta"][m, l, :count], theta[m][l], rtol=1e-6)
            assert (named["theta"][m, l, count:] == 0).all()


def test_structured_action_is_logarithmic() -> None:
    codec = StructuredActionCodec(Scenario(**SIZES))
    flat = np.repeat(np.array([[-1.0], [0.0], [1.0]], np.float32), codec.size, axis=1)
    named = codec.decode(flat)
    for name in ("focus", "powers", "regularizer"):
        values = named[name].reshape(3, -1)
        np.testing.assert_allclose(values, np.broadcast_to([[0.1], [1.0], [10.0]], values.shape), rtol=1e-6)
    np.testing.assert_array_equal(named["bids"], flat[:, : named["bids"].shape[1]])


@given(s=scenarios(), lead=LEADS, seed=st.integers(0, 2**16))
def test_csi_observation_codec_is_its_own_inverse(s: Scenario, lead: tuple[int, ...], seed: int) -> None:
    codec = CsiObservationCodec(s)
    flat = np.random.default_rng(seed).uniform(-3, 3, (*lead, codec.size)).astype(np.float32)
    for asarray in backends():
        named = codec.decode(asarray(flat))
        assert tuple(named["H"].shape) == (*lead, s.num_users, s.num_antennas)
        assert tuple(named["G"].shape) == (*lead, s.num_irs, s.max_elements, s.num_antennas)
        assert tuple(named["h"].shape) == (*lead, s.num_irs, s.num_users, s.max_elements)
        assert tuple(named["rho"].shape) == (*lead, s.num_bs - 1, s.num_irs)
        np.testing.assert_allclose(np.asarray(codec.encode(named)), flat, rtol=1e-5, atol=1e-6)
        for l, count in enumerate(s.elements):
            assert (np.asarray(named["G"])[..., l, count:, :] == 0).all()
            assert (np.asarray(named["h"])[..., l, :, count:] == 0).all()


@pytest.mark.parametrize("backward", [False, True])
@given(s=scenarios(), lead=LEADS, seed=st.integers(0, 2**16))
def test_large_scale_observation_codec_is_its_own_inverse(
    backward: bool, s: Scenario, lead: tuple[int, ...], seed: int
) -> None:
    codec = LargeScaleObservationCodec(s)
    flat = np.random.default_rng(seed).uniform(-1, 1, (*lead, codec.size)).astype(np.float32)
    for asarray in backends():
        named = codec.decode(asarray(flat))
        if backward:  # the order of a dict means nothing
            named = dict(reversed(named.items()))
        np.testing.assert_array_equal(np.asarray(codec.encode(named)), flat)


# --- observations ------------------------------------------------------------------------------------------------


def after_a_step(s: Scenario, num_envs: int = 2, fast: bool = False) -> tuple[Core, Any, np.ndarray]:
    """A core, its state after one random slot, and the action of that slot."""
    core, streams = Core(s, fast=fast), Streams.from_seed(0, num_envs, np, fast=fast)
    action = np.random.default_rng(0).uniform(-1, 1, (num_envs, s.num_bs, core.action_codec.size)).astype(np.float32)
    state, _ = core.step(core.reset(streams), action, streams)
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
    assert env.state_space.contains(env.state())


@pytest.mark.parametrize("observation", ["csi", "large_scale"])
def test_global_state_by_block(observation: str) -> None:
    s = Scenario(**SIZES, observation=observation)
    core, state, _ = after_a_step(s)
    flat = core.global_state(state)
    named = StateCodec(s).decode(flat)
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
