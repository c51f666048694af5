"""One step of the core against the equations, entry by entry; the constraints for any input."""

from __future__ import annotations

import itertools
import math
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irs_marl_env import Scenario, make_vec_env
from irs_marl_env.engine.core import Core

# strong IRSs and little noise, so that every term of the SINR matters
STRONG: dict[str, Any] = {
    "blockage_db": 40.0,
    "bs_irs_exponent": 2.0,
    "irs_user_exponent": 2.0,
    "noise_power_dbm": -110,
}


def expected_rates(s: Scenario, state: Any, flat: np.ndarray, owner: Any) -> tuple[np.ndarray, list[float]]:
    """Rates of the users and powers of the BSs of one raw action, from the equations."""
    w, theta, _ = naive.named_action(s, flat)
    cell = state.cell[0]
    H, G, h = (np.asarray(x[0], complex) for x in state.channels)
    beams = np.array(w)
    for m in range(s.num_bs):
        beams[m][cell != m] = 0  # a BS serves its own users
        beams[m] = naive.project(beams[m], s.tx_powers_w[m], s.power)
    phi = np.ones((s.num_irs, s.max_elements), complex)
    for l, m in enumerate(owner):
        for n in range(s.elements[l]):
            angle = theta[m][l][n] if m >= 0 else 0.0
            if s.phase_bits is not None:
                step = 2 * math.pi / 2**s.phase_bits
                angle = step * round(angle / step)
            beta_min, offset, alpha = s.element_amplitude or (1.0, 0.0, 0.0)
            beta = beta_min + (1 - beta_min) * ((math.sin(angle - offset) + 1) / 2) ** alpha
            phi[l, n] = beta * complex(math.cos(angle), math.sin(angle))
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
    {"switching_slots": slots, "contention": contention, "association_delay": delay, "reflection": reflection}
    for slots, contention, delay, reflection in (
        (1, "auction", 0, "owned"),
        (2, "auction", 1, "all"),
        (1, "collision", 0, "all"),
        (1, "priority", 1, "owned"),
    )
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
    {"num_antennas": (1, 3), "tx_power_dbm": (20.0, 35.0)},
    {"num_bs": 3, "num_antennas": (2, 4, 1), "tx_power_dbm": (30, 10, 26), "inter_cell_interference": True},
    {"num_bs": 3, "num_antennas": (2, 4, 1), "tx_power_dbm": (30, 10, 26), "power": "sphere", "reflection": "all"},
    {"element_amplitude_min": 0.2},
    {"element_amplitude_min": 0.0, "element_amplitude_steepness": 0.7, "phase_bits": 2, "reflection": "single"},
    {"element_amplitude_min": 0.5, "element_amplitude_offset_rad": 2.0, "contention": "collision", "reflection": "all"},
]


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "compiled"])
@pytest.mark.parametrize("reading", READINGS, ids=lambda r: "-".join(map(str, r.values())))
def test_step_equals_the_equations(reading: dict[str, Any], fast: bool) -> None:
    if fast:
        pytest.importorskip("numba")
    s = Scenario(**{**naive.SIZES, **STRONG, **reading})
    core = Core(s, fast=fast)
    streams = core.streams(5, 1)
    state = core.reset(streams)
    rng = np.random.default_rng(0)
    hands = naive.Hands(state.owner[0].tolist(), s.switching_slots)
    for t in range(4):
        # the second half asks for little power
        action = rng.uniform(-1.3, 1.3, (1, s.num_bs, core.action_codec.size)).astype(np.float32)
        action[..., action.shape[-1] - s.num_irs :] /= 1.3  # clipped bids would tie
        if t >= 2:
            action[..., : 2 * s.num_users * s.max_antennas] *= 0.05
        decided = naive.owners(naive.named_action(s, action[0])[2], s.contention)
        owner = decided if s.association_delay == 0 else state.owner[0].tolist()
        assert None not in decided  # no tie
        if s.switching_slots:
            if s.association_delay == 1:
                hands.pass_slot()
            decided = hands.decide(decided)
            if s.association_delay == 0:
                hands.pass_slot()
                owner = decided
        rates, power = expected_rates(s, state, action[0], owner)
        before = state
        state, reward, outcome = core.step(state, action, streams)
        assert outcome.owner[0].tolist() == owner
        assert state.owner[0].tolist() == decided
        np.testing.assert_array_equal(outcome.cell, before.cell)
        np.testing.assert_allclose(outcome.rates[0], rates, rtol=2e-4, atol=1e-5)
        np.testing.assert_allclose(outcome.power_w[0], power, rtol=1e-4)
        per_bs = [rates[before.cell[0] == m].sum() for m in range(s.num_bs)]
        np.testing.assert_allclose(outcome.sum_rate[0], per_bs, rtol=2e-4, atol=1e-5)
        np.testing.assert_array_equal(reward, outcome.sum_rate)


def test_rewards_of_the_other_kinds() -> None:
    s = Scenario(**naive.SIZES, num_bs=3, contention="collision")
    outcomes = {}
    for kind in ("local", "team", "mixed"):
        for cost in (0.0, 0.7):
            core = Core(s.replace(reward=kind, team_weight=0.25, bid_cost=cost))
            streams = core.streams(0, 2)
            action = np.random.default_rng(1).uniform(-1.2, 1.2, (2, 3, core.action_codec.size)).astype(np.float32)
            _, *outcomes[kind, cost] = core.step(core.reset(streams), action, streams)
    own = outcomes["local", 0.0][1].sum_rate
    team = np.broadcast_to(own.mean(axis=1, keepdims=True), own.shape)
    paid = 0.7 * np.clip(action[..., -s.num_irs :], 0, 1).sum(axis=-1)
    assert (paid > 0).any()
    expected = {"local": own, "team": team, "mixed": 0.25 * team + 0.75 * own}
    for (kind, cost), (reward, outcome) in outcomes.items():
        np.testing.assert_allclose(reward, expected[kind] - (paid if cost else 0), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(outcome.sum_rate, own)  # metrics do not depend on the reward


@pytest.mark.parametrize("way", ["plain", "torch"])
def test_rewards_for_other_aims(way: str) -> None:
    """By loops over users and IRSs; users walk far enough to leave a BS without any."""
    if way == "torch":
        pytest.importorskip("torch")
    constants = {"circuit_power_w": 3.0, "irs_element_power_w": 0.2, "amplifier_efficiency": 0.5}
    fields = {**naive.SIZES, "num_bs": 3, "num_users": 4, "num_irs": 3, "num_elements": (1, 5, 2), "speed_mps": 60}
    options = {"backend": "torch"} if way == "torch" else {"fast": False}
    empty, most = 0, {}
    for kind in ("proportional_fair", "min_rate", "energy_efficiency"):
        s = Scenario(**fields, reward=kind, fairness_offset=0.3, contention="collision", **constants)
        vec = make_vec_env(s, 2, **options)
        vec.reset(seed=0)
        rng = np.random.default_rng(0)
        for _ in range(8):
            action = rng.uniform(-1, 1, (2, 3, vec.action_size)).astype(np.float32)
            _, reward, _, _, infos = vec.step(vec._xp.asarray(action))
            found = {name: np.asarray(x, float) for name, x in infos.items()}
            expected = np.zeros((2, 3))
            for e, m in itertools.product(range(2), range(3)):
                rates = [found["rates"][e, k] for k in range(4) if found["cell"][e, k] == m]
                driven = sum(n for n, owner in zip((1, 5, 2), found["owner"][e], strict=True) if owner == m)
                empty += not rates
                if not rates:
                    continue
                expected[e, m] = {
                    "proportional_fair": np.mean(np.log2(0.3 + np.array(rates))),
                    "min_rate": min(rates),
                    "energy_efficiency": sum(rates) / (found["power_w"][e, m] / 0.5 + 3.0 + 0.2 * driven),
                }[kind]
            np.testing.assert_allclose(np.asarray(reward), expected, rtol=1e-5, atol=1e-6)
            most[kind] = max(most.get(kind, 0.0), abs(expected).max())
    assert empty > 0
    assert all(most.values())


# --- constraints -------------------------------------------------------------------------------------------------


def watched(s: Scenario) -> tuple[Core, list[Any]]:
    """A core, and the list of what it transmits: beams, powers and phases."""
    core, sent = Core(s), []
    transmission = core.slot.transmission

    def remembered(*args: Any) -> Any:
        sent.append(transmission(*args))
        return sent[-1]

    core.slot.transmission = remembered  # type: ignore[method-assign]
    return core, sent


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
        **naive.SIZES,
        num_bs=num_bs,
        action=action,
        power=power,
        contention=contention,
        phase_bits=bits,
        reflection="all",
    )
    core, sent = watched(s)
    streams = core.streams(seed, 2)
    state = core.reset(streams)
    rng = np.random.default_rng(seed)
    flat = rng.uniform(-1, 1, (2, num_bs, core.action_codec.size))
    flat = scale * (np.sign(flat) if extreme else flat)
    state, _, outcome = core.step(state, flat.astype(np.float32), streams)
    w, radiated, phi = sent[-1]
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
        s = Scenario(**naive.SIZES, action="structured", sweeps=sweeps)
        core = Core(s)
        streams = core.streams(0, 50)
        state = core.reset(streams)
        rewards = []
        for _ in range(4):
            state, reward, _ = core.step(state, np.zeros((50, 2, core.action_codec.size), np.float32), streams)
            rewards.append(reward.sum(axis=1))
        mean[sweeps] = np.mean(rewards)
    raw = Core(Scenario(**naive.SIZES))
    streams = raw.streams(0, 50)
    action = np.random.default_rng(0).uniform(-1, 1, (50, 2, raw.action_codec.size)).astype(np.float32)
    random = raw.step(raw.reset(streams), action, streams)[1].sum(axis=1).mean()
    assert random < 0.5 * mean[0]
    assert mean[0] < mean[2] <= mean[5]
