"""Channels of one's own: the arrays decide the rates, in every environment, and bad ones are one message each."""

from __future__ import annotations

import pickle
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, array_files, evaluate, make_env, make_vec_env
from irs_marl_env.cli import main
from irs_marl_env.policies import POLICIES
from irs_marl_env.recordings import open_recording
from irs_marl_env.scenario import ScenarioError

M, K, L, N, NB, T, EPISODES = 3, 5, 2, 4, 2, 6, 3
SIZES = {"num_bs": M, "num_users": K, "num_irs": L, "num_elements": N, "num_antennas": NB, "horizon": T}
SCENARIO = Scenario(**SIZES, cell_depth_m=20.0)
WAYS = [
    pytest.param({"fast": False}, id="plain"),
    pytest.param({"fast": True}, id="kernels", marks=pytest.mark.skipif(not find_spec("numba"), reason="no numba")),
    pytest.param({"backend": "torch"}, id="torch", marks=pytest.mark.skipif(not find_spec("torch"), reason="no torch")),
]


def normal(rng: np.random.Generator, amplitude: float, *shape: int) -> np.ndarray:
    drawn = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    return (amplitude * drawn).astype(np.complex64)


def recording(episodes: int | None = EPISODES, moving_g: bool = False, **optional: bool) -> dict[str, np.ndarray]:
    """Random channels; with the axis of episodes if their number is given."""
    rng = np.random.default_rng(7)
    lead = (T + 1,) if episodes is None else (episodes, T + 1)
    found = {
        "H": normal(rng, 1e-5, *lead, M, K, NB),
        "G": normal(rng, 1e-3, *(lead if moving_g else (1,)), M, L, N, NB),
        "h": normal(rng, 2e-2, *lead, L, K, N),
    }
    if optional.get("positions"):
        found["positions"] = rng.uniform(0, 60, (*lead, K, 2))
    if optional.get("cell"):
        found["cell"] = rng.integers(0, M, (*lead, K))
    return found


def rates_by_hand(H: Any, G: Any, h: Any, cell: Any, action: Any, scenario: Scenario) -> tuple[np.ndarray, np.ndarray]:
    """Owners ``(L,)`` and sum rates ``(M,)`` of one slot in double precision, from one raw action ``(M, D_a)``."""
    H, G, h = (np.asarray(x, complex) for x in (H, G, h))
    action = np.asarray(action, float)
    beams = K * NB
    w = action[:, :beams].reshape(M, K, NB) + 1j * action[:, beams : 2 * beams].reshape(M, K, NB)
    theta = np.pi * action[:, 2 * beams : 2 * beams + L * N].reshape(M, L, N)
    owner = action[:, -L:].argmax(0)
    powers, noise = scenario.tx_powers_w, 10 ** (scenario.noise_power_dbm / 10 - 3)
    w = w * (np.arange(NB) < np.array(scenario.antennas)[:, None, None])
    total = np.zeros(M)
    for m in range(M):
        users, power = np.flatnonzero(cell == m), powers[m]
        beam = np.sqrt(power) * w[m, users]
        beam *= min(1.0, np.sqrt(power / max((abs(beam) ** 2).sum(), 1e-300)))
        for k in range(len(users)):
            row = H[m, users[k]].copy()
            for l in np.flatnonzero(owner == m):
                row += (h[l, users[k]] * np.exp(1j * theta[m, l])) @ G[m, l]
            received = abs(beam @ row) ** 2
            total[m] += np.log2(1 + received[k] / (received.sum() - received[k] + noise))
    return owner, total


# --- what is played -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moving_g", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_rewards_are_those_of_the_arrays(way: dict[str, Any], moving_g: bool) -> None:
    """Over the ends of episodes, which follow one another in every row; row i begins with episode seed + i."""
    data = recording(moving_g=moving_g, cell=True)
    vec = make_vec_env(SCENARIO, 4, channels=data, **way)
    vec.reset(seed=1)
    rng = np.random.default_rng(0)
    for t in range(2 * T + 3):
        action = rng.uniform(-1, 1, (4, M, vec.action_size)).astype(np.float32)
        _, rewards, _, truncations, infos = vec.step(action)
        for row in range(4):
            episode, slot = (1 + row + t // T) % EPISODES, t % T
            at = (
                data["H"][episode, slot],
                data["G"][episode, slot] if moving_g else data["G"][0],
                data["h"][episode, slot],
            )
            cell = data["cell"][episode, slot]
            owner, wanted = rates_by_hand(*at, cell, action[row], SCENARIO)
            np.testing.assert_array_equal(np.asarray(infos["owner"])[row], owner)
            np.testing.assert_array_equal(np.asarray(infos["cell"])[row], cell)
            np.testing.assert_allclose(np.asarray(rewards)[row], wanted, rtol=1e-6, atol=2e-6)
        assert bool(np.asarray(truncations).all()) == (t % T == T - 1)


@pytest.mark.parametrize("way", WAYS)
def test_base_stations_of_unequal_power_and_antennas(way: dict[str, Any]) -> None:
    data = recording(cell=True)
    unequal = SCENARIO.replace(num_antennas=(2, 1, 2), tx_power_dbm=(30.0, 26.0, 20.0))
    with pytest.raises(
        ScenarioError, match=r"H=.*: BS 1 has antennas beyond its num_antennas\[1\]=1 that are not zero"
    ):
        unequal.replace(channels=data)
    data["H"][:, :, 1, :, 1:] = 0
    with pytest.raises(
        ScenarioError, match=r"G=.*: BS 1 has antennas beyond its num_antennas\[1\]=1 that are not zero"
    ):
        unequal.replace(channels=data)
    data["G"][:, 1, ..., 1:] = 0
    vec = make_vec_env(unequal, 2, channels=data, **way)
    vec.reset(seed=0)
    power = (abs(data["G"][0, 1, ..., 0].astype(complex)) ** 2).mean(-1)  # of the one antenna
    np.testing.assert_allclose(np.asarray(vec.view().gains.bs_irs)[0, 1] ** 2, power, rtol=1e-5)
    action = np.random.default_rng(0).uniform(-1, 1, (2, M, vec.action_size)).astype(np.float32)
    rewards = np.asarray(vec.step(action)[1])
    for row in range(2):
        at = data["H"][row, 0], data["G"][0], data["h"][row, 0], data["cell"][row, 0]
        np.testing.assert_allclose(rewards[row], rates_by_hand(*at, action[row], unequal)[1], rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("fast", [False, None], ids=["plain", "as installed"])
def test_the_single_environment_plays_the_same(fast: bool | None, tmp_path: Path) -> None:
    data = recording(None)
    np.savez(tmp_path / "measured.npz", **data)
    rng = np.random.default_rng(3)
    for channels in (data, tmp_path / "measured.npz", str(tmp_path / "measured.npz")):
        env = make_env(SCENARIO, channels=channels, fast=fast)
        env.reset(seed=11)
        for t in range(T):
            strongest = (abs(data["H"][t].astype(complex)) ** 2).mean(-1).argmax(0)
            actions = {a: env.action_space(a).sample() for a in env.agents}
            for a in actions:
                actions[a] = rng.uniform(-1, 1, actions[a].shape).astype(np.float32)
            stacked = np.stack(list(actions.values()))
            wanted = rates_by_hand(data["H"][t], data["G"][0], data["h"][t], strongest, stacked, SCENARIO)[1]
            rewards = env.step(actions)[1]
            np.testing.assert_allclose(list(rewards.values()), wanted, rtol=1e-6, atol=2e-6)
        assert not env.agents


def test_gains_cells_and_scales_follow_from_the_data() -> None:
    data = recording(positions=True)
    vec = make_vec_env(SCENARIO, 2, channels=data, observation="csi", fast=False)
    observations, _ = vec.reset(seed=0)
    view, codec = vec.view(), vec.observation_codec
    for link, key, axes, slots in (("direct", "H", (-1,), 0), ("irs_user", "h", (-1,), 0)):
        power = (abs(data[key][:2, slots].astype(complex)) ** 2).mean(axes)
        np.testing.assert_allclose(getattr(view.gains, link) ** 2, power, rtol=1e-5)
    power = (abs(data["G"].astype(complex)) ** 2).mean((-1, -2))
    np.testing.assert_allclose(view.gains.bs_irs**2, np.broadcast_to(power, (2, M, L)), rtol=1e-5)
    sites = np.array([(0.0, 20.0), (80.0, 20.0), (0.0, 50.0)])  # of the street
    np.testing.assert_allclose(view.position, data["positions"][:2, 0])
    away = np.linalg.norm(view.position[:, None] - sites[:, None], axis=-1)
    np.testing.assert_array_equal(view.cell, away.argmin(1))
    for key, scale in (("H", codec.scale.direct), ("G", codec.scale.bs_irs), ("h", codec.scale.irs_user)):
        assert scale == pytest.approx(np.sqrt((abs(data[key].astype(complex)) ** 2).mean()), rel=1e-5)
    seen = codec.decode(observations)["H"]
    np.testing.assert_allclose(
        seen, data["H"][:2, :1].repeat(M, 1)[:, range(M), range(M)] * view.own_user[..., None], rtol=1e-5
    )


def test_cell_rules_act_on_the_data() -> None:
    data = recording(positions=True)
    power = (abs(data["H"][0, 0].astype(complex)) ** 2).mean(-1)

    def weakest(links: Any) -> Any:
        np.testing.assert_allclose(links.direct_gain[0], power, rtol=1e-5)
        np.testing.assert_array_equal(links.position[0], data["positions"][0, 0])
        return links.direct_gain.argmin(1)

    for rule, wanted in (("strongest", power.argmax(0)), (weakest, power.argmin(0))):
        env = make_env(SCENARIO, channels=data, cell_rule=rule)
        env.reset(seed=0)
        np.testing.assert_array_equal(env.view().cell[0], wanted)


def test_the_area_may_be_elsewhere() -> None:
    data = recording(positions=True)
    data["positions"] -= 1000.0
    env = make_env(SCENARIO, channels=data, area_bounds_m=(-1000, -1000, -930, -930))
    env.reset(seed=0)
    np.testing.assert_array_equal(env.view().position[0], data["positions"][0, 0])
    place = env.state_encoder.blocks(env.state())["position"]
    np.testing.assert_allclose(place, (data["positions"][0, 0] + 1000) / 70, rtol=1e-5)
    middle = make_env(SCENARIO, channels=recording(), area_bounds_m=(-1000, -1000, -930, -930))
    middle.reset(seed=0)
    np.testing.assert_array_equal(middle.view().position[0], np.full((K, 2), -965.0))


def test_without_positions_users_stand_in_the_middle() -> None:
    env = make_env(SCENARIO, channels=recording())
    env.reset(seed=0)
    np.testing.assert_array_equal(env.view().position, np.broadcast_to([40.0, 30.0], (1, K, 2)))
    strongest = (abs(recording()["H"][0, 0].astype(complex)) ** 2).mean(-1).argmax(0)
    np.testing.assert_array_equal(env.view().cell[0], strongest)


def test_elements_that_an_irs_lacks_count_for_nothing() -> None:
    data = recording()
    data["G"][:, :, 1, 2:], data["h"][:, :, 1, :, 2:] = 0, 0
    env = make_env(SCENARIO, channels=data, num_elements=(N, 2))
    env.reset(seed=0)
    power = (abs(data["h"][0, 0, 1, :, :2].astype(complex)) ** 2).mean(-1)
    np.testing.assert_allclose(env.view().gains.irs_user[0, 1] ** 2, power, rtol=1e-5)
    power = (abs(data["G"][0, :, 1, :2].astype(complex)) ** 2).mean((-1, -2))
    np.testing.assert_allclose(env.view().gains.bs_irs[0, :, 1] ** 2, power, rtol=1e-5)
    scale = env.observation_codec.scale.irs_user  # over the entries that there are
    there = data["h"][data["h"] != 0].astype(complex)
    assert scale == pytest.approx(np.sqrt((abs(there) ** 2).mean()), rel=1e-5)


# --- episodes -------------------------------------------------------------------------------------------------------


def episodes(env: Any) -> list[int]:
    return list(env.get_state()["motion.episode"])


def test_episodes_are_counted_from_the_seed_on_and_may_be_chosen() -> None:
    single, vec = make_env(SCENARIO, channels=recording()), make_vec_env(SCENARIO, 4, channels=recording())
    single.reset(seed=5)
    assert episodes(single) == [2]
    for wanted in (0, 1, 2):
        single.reset()
        assert episodes(single) == [wanted]
    single.reset(options={"episode": 2})
    assert episodes(single) == [2]
    single.reset()
    assert episodes(single) == [1]  # the choice counts as one, too
    vec.reset(seed=[0, 4, 5, 2])
    assert episodes(vec) == [0, 1, 2, 2]
    vec.reset(options={"reset_mask": np.array([True, False, True, False]), "episode": 1})
    assert episodes(vec) == [1, 1, 1, 2]
    vec.reset(options={"reset_mask": np.array([True, False, False, False])})
    assert episodes(vec) == [2, 1, 1, 2]
    for wrong in (EPISODES, -1, 1.5, "1"):
        with pytest.raises(ValueError, match=r"options\['episode'\]=.*must be an integer in \[0, 2\]"):
            single.reset(options={"episode": wrong})
    with pytest.raises(ValueError, match=r"options\['positions'\] does not go with channels"):
        single.reset(options={"positions": np.zeros((K, 2))})
    with pytest.warns(UserWarning, match="reset option 'epsode' is unknown"):
        single.reset(options={"epsode": 1})


def test_rows_that_end_apart_go_on_with_episodes_of_their_own() -> None:
    vec = make_vec_env(SCENARIO, 3, channels=recording(), stagger=True)
    vec.reset(seed=0)
    action = np.zeros((3, M, vec.action_size), np.float32)
    for _ in range(4):  # the ends are slots 6, 4 and 2
        vec.step(action)
    assert episodes(vec) == [0, 2, 0]
    state = vec.get_state()
    assert list(state["motion.slot"]) == [4, 0, 2]
    other = make_vec_env(SCENARIO, 3, channels=recording(), stagger=True)
    other.set_state(state)
    for _ in range(5):
        action = np.random.default_rng(0).uniform(-1, 1, action.shape).astype(np.float32)
        a, b = vec.step(action), other.step(action)
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])
    for name, value, message in (
        ("motion.episode", [0, 3, 0], r"\[1\]'?\]?.*\[0, 2\]"),
        ("motion.slot", [4, 1, 2], "as state"),
    ):
        with pytest.raises(ValueError, match=message):
            other.set_state({**state, name: np.array(value)})


@pytest.mark.filterwarnings("ignore:episodes=33, but channels hold 3")
@pytest.mark.parametrize("source", ["dict", "file"])
def test_evaluate_is_the_same_with_processes_and_from_a_file(source: str, tmp_path: Path) -> None:
    data = recording(positions=True)
    np.savez(tmp_path / "measured.npz", **data)
    channels: Any = data if source == "dict" else tmp_path / "measured.npz"
    one, three = (
        evaluate("random", SCENARIO, 33, slots=2, processes=n, channels=c) for n, c in ((1, data), (3, channels))
    )
    np.testing.assert_array_equal(one.rates, three.rates)
    again = one.rates.reshape(11, EPISODES, 2, M)  # the policy draws anew, the channels come again
    assert not np.array_equal(again[0], again[1])


@pytest.mark.parametrize("policy", [*POLICIES, "upper-bound"])
def test_every_policy_plays_a_recording(policy: str) -> None:
    assert evaluate(policy, SCENARIO, 2, slots=2, channels=recording()).mean > 0


def test_horizons_may_be_shorter() -> None:
    env = make_env(SCENARIO, channels=recording())
    env.max_cycles = T - 2
    env.reset(seed=0)
    with pytest.raises(ValueError, match=rf"{T + 1} slots; .*horizon must be at most {T}"):
        env.max_cycles = T + 1


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_large_file_is_mapped_and_plays_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {**recording(moving_g=True, positions=True, cell=True), "note": np.array(["whatever"])}
    np.savez(tmp_path / "large.npz", **{**data, "h": np.asfortranarray(data["h"])})
    np.savez_compressed(tmp_path / "small.npz", **data)
    monkeypatch.setattr(array_files, "MAP_FROM", 1)
    assert open_recording(str(tmp_path / "large.npz")).mapped == ["H", "G", "h", "positions", "cell"]
    assert open_recording(str(tmp_path / "small.npz")).mapped == []
    del data["note"]
    envs = [make_vec_env(SCENARIO, 2, channels=c) for c in (data, tmp_path / "large.npz", tmp_path / "small.npz")]
    first = [env.reset(seed=1)[0] for env in envs]
    for t in range(T + 2):
        for other in first[1:]:
            np.testing.assert_array_equal(first[0], other)
        action = np.random.default_rng(t).uniform(-1, 1, (2, M, envs[0].action_size)).astype(np.float32)
        first = [env.step(action)[0] for env in envs]


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path, data = tmp_path / "measured.npz", recording()
    np.savez(path, **data)
    make_env(SCENARIO, channels=path)
    data["H"][0, 0, 0, 0, 0] = np.nan
    np.savez(path, **data)
    with pytest.raises(ScenarioError, match="H at episode 0, slot 0"):
        make_env(SCENARIO, channels=path)


def damaged(content: bytes, kind: str) -> bytes:
    if kind == "cut":
        return content[: len(content) // 2]
    if kind == "header":  # of the first member
        at = content.index(b"\x93NUMPY") + 10
        return content[:at] + b"x" * 40 + content[at + 40 :]
    return b"" if kind == "empty" else b"no zip file at all"


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("kind", ["cut", "header", "empty", "other"])
def test_a_damaged_file_is_one_error(
    kind: str, mapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(array_files, "MAP_FROM", 1 if mapped else 2**26)
    path = tmp_path / "measured.npz"
    np.savez(path, **recording())
    path.write_bytes(damaged(path.read_bytes(), kind))
    with pytest.raises(ScenarioError, match=r"measured\.npz"):
        make_env(SCENARIO, channels=path)
    assert main(["channels", "--check", str(path)]) == 1
    assert "measured.npz" in capsys.readouterr().err


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "measured.npz", **{**recording(), "H": np.array([print], object)})
    with pytest.raises(ScenarioError, match=r"H: an array of object; must be real or complex numbers"):
        make_env(SCENARIO, channels=tmp_path / "measured.npz")


# --- refusals -------------------------------------------------------------------------------------------------------


def changed(**arrays: Any) -> dict[str, Any]:
    data = {**recording(positions=True, cell=True), **arrays}
    return {name: array for name, array in data.items() if array is not None}


def with_entry(name: str, at: tuple[int, ...], value: Any) -> dict[str, Any]:
    data = changed()
    data[name][at] = value
    return data


H, G, h = (recording()[name] for name in "HGh")
REFUSED: dict[str, tuple[Any, str]] = {
    "one NaN": (
        with_entry("h", (1, 3, 0, 2, 1), np.nan),
        r"h at episode 1, slot 3, \[0, 2, 1\] is \(nan.*must be finite",
    ),
    "infinite": (with_entry("G", (0, 2, 1, 3, 1), np.inf), r"G at episode 0, slot 0, \[2, 1, 3, 1\] is \(inf"),
    "one slot too few": (changed(H=H[:, :-1]), rf"h=<array of shape .*{T + 1} slots .* but H .* has {T}; must agree"),
    "all one slot too few": (
        {"H": H[:, :-1], "G": G, "h": h[:, :-1]},
        rf"H=<array of shape \(3, 6, 3, 5, 2\)>: {T} slots; an episode of horizon={T} needs {T + 1}, so horizon must",
    ),
    "transposed axes": (
        changed(H=H.swapaxes(2, 3)),
        r"G=<.*: 3 BSs on axis 1, but H \(3, 7, 5, 3, 2\) has 5; must agree",
    ),
    "wrong M": (
        {"H": H[:, :, :2], "G": G[:, :2], "h": h},
        r"H=<array of shape \(3, 7, 2, 5, 2\)>: 2 BSs on axis 2, must be num_bs=3, \(slots, M, K, Nb.*say num_bs=2, ",
    ),
    "wrong K": ({"H": H[:, :, :, :4], "G": G, "h": h[..., :4, :]}, r"H=.*: 4 users on axis 3, must be num_users=5"),
    "wrong L": ({"H": H, "G": G[:, :, :1], "h": h[:, :, :1]}, r"G=.*: 1 IRSs on axis 2, must be num_irs=2"),
    "wrong N": ({"H": H, "G": G[..., :3, :], "h": h[..., :3]}, r"G=.*: 3 elements on axis 3, must be num_elements=4"),
    "wrong Nb": ({"H": H[..., :1], "G": G[..., :1], "h": h}, r"H=.*: 1 antennas on axis 4, must be num_antennas=2"),
    "other episodes": (changed(h=h[:2]), r"h=<array of shape \(2, 7, 2, 5, 4\)>: has 2 episodes, but H .* has 3"),
    "no axis of episodes": (
        changed(h=h[0]),
        r"h=<array of shape \(7, 2, 5, 4\)>: has no axis of episodes, but H \(3, 7, 3, 5, 2\) has 3; must agree",
    ),
    "no axis of episodes in the first": (
        changed(H=H[0]),
        r"H=<array of shape \(7, 3, 5, 2\)>: has no axis of episodes, but h \(3, 7, 2, 5, 4\) has 3; must agree",
    ),
    "no axis of slots": (
        changed(H=H[0, 0]),
        r"H=<array of shape \(3, 5, 2\)>: must be \(slots, M, K, Nb\), or with an axis",
    ),
    "nothing in it": (changed(h=h[:, :0]), r"h=.*has no slots"),
    "real": (changed(H=H.real), r"H=.* of float32: must be complex numbers"),
    "no numbers": (changed(H=[[1], [2, 3]]), "H=.*must be an array of numbers"),
    "no H": (changed(H=None), r"holds .*, not H; must hold H, G and h"),
    "no G": (changed(G=None), r"holds .*, not G; must hold H, G and h"),
    "no IRSs": (changed(G=None, h=None), r"holds no G; num_irs=2 needs G \(slots or 1, M, L, N, Nb\)"),
    "unknown": (changed(postions=H), r"'postions' is unknown; did you mean 'positions'\?"),
    "beyond single precision": (changed(H=H.astype(complex) * 1e200), "H at .* must be finite in single precision"),
    "decibels": (
        changed(H=H * 1e13),
        r".*strongest signal could be .* must be at most 180 dB.* are the channels amplitudes",
    ),
    "too weak": (changed(H=H * 1e-28), r"H has a mean power of .* must be in \[-600, 600\] dB"),
    "position outside": (
        with_entry("positions", (2, 1, 0, 1), 60.5),
        r"positions\[2\]\[1, 0\]=\[.*60\.5\].*must be finite pos.*area_bounds_m says where users are",
    ),
    "position nowhere": (
        with_entry("positions", (2, 1, 0, 1), np.nan),
        r"positions at episode 2, slot 1, \[0, 1\] is nan",
    ),
    "three coordinates": (
        changed(positions=np.zeros((3, 7, 5, 3))),
        r"positions=.*: must be \(slots, K, 2\), x and y in m",
    ),
    "cell of nobody": (
        with_entry("cell", (0, 4, 2), M),
        r"cell at episode 0, slot 4, user 2 is 3: must be in \[0, 2\]",
    ),
    "cell in halves": (changed(cell=np.zeros((3, 7, 5))), "cell=.* of float64: must be integers"),
    "a number": (7, r"^channels=7: must be None, the path of an \.npz file, or arrays by name"),
    "a list": ([H, G, h], "^channels=.*: must be None, the path"),
    "no file": ("nowhere.npz", r"nowhere\.npz: no such file"),
    "an empty path": ("", "an empty path; must be that of an .npz"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_bad_channels_are_one_message_before_an_episode(kind: str, tmp_path: Path, capsys: Any) -> None:
    channels, message = REFUSED[kind]
    with pytest.raises(ScenarioError, match=message if message[:1] == "^" else rf"^channels.*{message}") as caught:
        make_env(SCENARIO, channels=channels)
    assert len(str(caught.value)) < 600
    if isinstance(channels, dict) and kind != "no numbers":
        path = tmp_path / "measured.npz"
        np.savez(path, **channels)
        with pytest.raises(ScenarioError, match=rf"^channels \(.*measured\.npz\): {message}"):
            make_vec_env(SCENARIO, 2, channels=path)
        sizes = [f"--set={name}={value}" for name, value in SIZES.items()]
        assert main(["channels", "--check", str(path), *sizes, "--set=cell_depth_m=20"]) == 1
        printed = capsys.readouterr()
        assert printed.err.startswith("error: channels")
        assert "Traceback" not in printed.err


def test_elements_beyond_those_of_an_irs_must_be_zero() -> None:
    with pytest.raises(
        ScenarioError, match=r"G=.*: IRS 1 has elements beyond its num_elements\[1\]=2 that are not zero"
    ):
        make_env(SCENARIO, channels=recording(), num_elements=(N, 2))


@pytest.mark.parametrize(("field", "value"), [("mobility", "static"), ("channel_model", lambda *_: None)])
def test_nothing_else_moves_users_or_makes_channels(field: str, value: Any) -> None:
    with pytest.raises(ScenarioError, match=rf"^{field}=.*: must be left at .* with channels"):
        Scenario(**SIZES, channels=recording(), **{field: value})


# --- the scenario ---------------------------------------------------------------------------------------------------


def test_arrays_are_a_value_of_their_own() -> None:
    data = recording()
    scenario = SCENARIO.replace(channels=data)
    same, other = SCENARIO.replace(channels=recording()), SCENARIO.replace(channels=recording(moving_g=True))
    assert scenario == same != other
    assert hash(scenario) == hash(same)
    assert scenario.digest == same.digest != other.digest
    assert scenario.digest != SCENARIO.digest
    back = pickle.loads(pickle.dumps(scenario))
    assert back == scenario
    assert back.digest == scenario.digest
    before = scenario.digest
    data["H"][:] = 0
    assert scenario.replace(num_users=K).channels == same.channels
    assert SCENARIO.replace(channels=scenario.channels).digest == before
    assert "channels=<3 x 7 slots, M=3" in repr(scenario)
    for write in (scenario.to_json, scenario.to_dict, lambda: scenario.to_json(portable=False)):
        with pytest.raises(
            ScenarioError, match=r"channels=<.*arrays go into no JSON: .*numpy\.savez and give the path"
        ):
            write()


def test_equal_numbers_are_an_equal_scenario_whatever_their_types() -> None:
    data = recording(cell=True, positions=True)
    data["positions"] = np.round(data["positions"])
    wider = {
        **{key: np.asfortranarray(data[key].astype(">c16")) for key in "HGh"},
        "cell": data["cell"].astype(np.uint8),
        "positions": data["positions"].astype(np.int16),
    }
    zero = data["H"][0, 0, 0, 0]
    zero[:] = 0
    wider["H"][0, 0, 0, 0] = -zero
    one, other = SCENARIO.replace(channels=data), SCENARIO.replace(channels=wider)
    assert (one, hash(one), one.digest) == (other, hash(other), other.digest)


def test_masked_entries_are_no_numbers() -> None:
    data = recording()
    masked = {**data, "h": np.ma.masked_array(data["h"], mask=abs(data["h"]) < 1e-3)}
    with pytest.raises(ScenarioError, match=r"channels: h has \d+ masked entries: must have none"):
        SCENARIO.replace(channels=masked)
    unmasked = {**data, "h": np.ma.masked_array(data["h"])}
    assert SCENARIO.replace(channels=unmasked) == SCENARIO.replace(channels=data)


def test_a_path_is_kept_as_text(tmp_path: Path) -> None:
    np.savez(tmp_path / "measured.npz", **recording())
    scenario = SCENARIO.replace(channels=tmp_path / "measured.npz")
    assert scenario.channels == (tmp_path / "measured.npz").as_posix()
    assert Scenario.from_json(scenario.to_json()) == scenario
    assert scenario.digest != SCENARIO.digest == SCENARIO.replace(channels=None).digest


# --- the command line -----------------------------------------------------------------------------------------------


def test_check_says_what_a_file_holds(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "measured.npz"
    data = recording()
    np.savez(path, **data, carrier_hz=3.5e9)
    assert main(["channels", "--check", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "3 episodes of 7 slots" in printed
    assert "not used: carrier_hz" in printed
    assert "fits num_bs=3, num_users=5, num_irs=2, num_antennas=2, num_elements=4, horizon at most 6" in printed
    gain = 10 * np.log10((abs(data["H"].astype(complex)) ** 2).mean((0, 1, 4)))
    assert f"H: min {gain.min():.1f}, median {np.median(gain):.1f}, max {gain.max():.1f}" in printed
    assert " ".join(f"{x:7.1f}" for x in gain[1]) in printed
    assert main(["channels", "--check", str(path), "--scenario", "mdlbi-small-v0"]) == 1
    shown = capsys.readouterr()
    assert "must be num_bs=2" in shown.err
    assert "3 episodes" in shown.out
    assert main(["channels", "--check", str(tmp_path / "none.npz")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_evaluate_takes_a_file_on_the_command_line(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "measured.npz"
    np.savez(path, **recording())
    sizes = [f"--set={name}={value}" for name, value in SIZES.items()]
    wanted = evaluate("local-gain-ao", SCENARIO, 2, slots=2, channels=recording()).mean
    arguments = ["--policy", "local-gain-ao", *sizes, f"--set=channels={path}", "--episodes=2", "--slots=2"]
    assert main(["evaluate", *arguments]) == 0
    assert f"{wanted:.3f}" in capsys.readouterr().out


def test_episodes_that_are_played_again_are_said() -> None:
    """The same data again bring no new information, which standard errors do not know."""
    scenario = SCENARIO.replace(channels=recording(episodes=2))
    with pytest.warns(UserWarning, match="episodes=3, but channels hold 2 episodes: some count several times"):
        evaluate("random", scenario, episodes=3, slots=1)
    evaluate("random", scenario, episodes=2, slots=1)  # without a warning, which would be an error here


def test_check_says_how_to_go_on_and_what_may_be_a_slip(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "measured.npz"
    data = recording(positions=True)
    np.savez(path, **data | {"H": 40.0 * data["H"] / abs(data["H"])})  # 32 dB, as if dB were amplitudes
    assert main(["channels", "--check", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "note: H has a mean gain above 0 dB; entries are amplitudes" in printed
    assert "note: G" not in printed
    assert "note: there is no cell" in printed
    (options,) = [line for line in printed.splitlines() if line.startswith("as options: ")]
    found = shlex.split(options.removeprefix("as options: "))
    assert main(["evaluate", "--policy", "random", "--episodes=2", "--slots=1", *found]) == 0
