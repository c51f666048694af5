"""examples/deepmimo_channels.py: channels out of a folder of DeepMIMO are those of the geometry the folder was made of.

The expected values come from the distances between single antennas, which know no angles and no steering vectors.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from examples import deepmimo_channels as example

WAVELENGTH = 299_792_458 / 3.5e9
BS = np.array([(0.0, 0.0, 10.0), (80.0, 0.0, 10.0)])
IRS = np.array([(25.0, 20.0, 6.0), (55.0, 20.0, 6.0)])


@pytest.fixture
def free_space(tmp_path: Path) -> Path:
    """A stand-in without scatterers: one path between any two points."""
    example.stand_in(tmp_path / "free", num_scatterers=0)
    return tmp_path / "free"


@pytest.fixture
def city(tmp_path: Path) -> Path:
    example.stand_in(tmp_path / "city")
    return tmp_path / "city"


def antennas(centre: np.ndarray, shape: tuple[int, int], azimuth: float) -> np.ndarray:
    """Places ``(columns * rows, 3)`` [m]: the corner at the centre, along the row first, then the next row up."""
    along = np.array([-np.sin(np.deg2rad(azimuth)), np.cos(np.deg2rad(azimuth)), 0.0])
    return np.array(
        [centre + WAVELENGTH / 2 * (c * along + [0, 0, r]) for r in range(shape[1]) for c in range(shape[0])]
    )


def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


def wave(distance: np.ndarray) -> np.ndarray:
    return WAVELENGTH / (4 * np.pi * distance) * np.exp(-2j * np.pi * distance / WAVELENGTH)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *words: object) -> None:
    monkeypatch.chdir(folder.parent)  # whatever is written without --out
    monkeypatch.setattr(sys, "argv", ["deepmimo_channels", *map(str, (folder, *words))])
    example.main()


def test_one_path_has_the_phases_of_the_distances(free_space: Path) -> None:
    G = example.channel(free_space, example.Site(0, 1, 135.0), 1, [0], (4, 1), (3, 2), 90.0)[0]
    expected = wave(between(antennas(IRS[0], (3, 2), 90.0), antennas(BS[1], (4, 1), 135.0)))
    np.testing.assert_allclose(G, expected, rtol=0, atol=0.03 * abs(expected).max())  # 0.03: waves are plane here
    assert G.shape == (6, 4)


def test_an_irs_sends_from_the_elements_by_which_it_receives(free_space: Path) -> None:
    """Phases taken from the distances BS - element - user add all elements up: no conjugate, the same order."""
    user, shape = 400, (4, 4)
    place = example.read(free_space, "rx_pos", example.Site(1, 0), 2)[user]
    elements = antennas(IRS[0], shape, 90.0)
    to, on = between(elements, BS[:1])[:, 0], between(elements, place[None])[:, 0]
    phi = np.exp(2j * np.pi * (to + on) / WAVELENGTH)
    G = example.channel(free_space, example.Site(0, 0, 45.0), 1, [0], (1, 1), shape, 90.0)[0]
    h = example.channel(free_space, example.Site(1, 0, 90.0), 2, [user], shape, (1, 1))[0]
    received = (h @ np.diag(phi) @ G)[0, 0]
    alone = (WAVELENGTH / 4 / np.pi) ** 2 / (to[0] * on[0])
    assert abs(received) == pytest.approx(16 * alone, rel=0.01)
    assert abs((h.conj() @ np.diag(phi) @ G)[0, 0]) < 8 * alone  # and the test would see a conjugate


def test_blocked_paths_lose_40_db(free_space: Path) -> None:
    H = example.channel(free_space, example.Site(0, 0), 2, [7], (1, 1), (1, 1))[0, 0, 0]
    place = example.read(free_space, "rx_pos", example.Site(0, 0), 2)[7]
    assert abs(H) == pytest.approx(WAVELENGTH / (4 * np.pi * np.linalg.norm(place - BS[0])) / 100, rel=1e-4)


def test_paths_add_up_and_absent_ones_are_nothing(city: Path) -> None:
    site = example.Site(1, 1)
    H = example.channel(city, site, 2, [3, 5], (1, 1), (1, 1))[:, 0, 0]
    power, phase = (example.read(city, name, site, 2)[[3, 5]] for name in ("power", "phase"))
    assert power.shape == (2, 25)
    assert np.isnan(power[:, 7:]).all()
    by_hand = [
        sum(10 ** (p / 20) * np.exp(1j * np.pi / 180 * a) for p, a in zip(ps[:7], phs[:7], strict=True))
        for ps, phs in zip(power.astype(float), phase.astype(float), strict=True)
    ]
    np.testing.assert_allclose(H, by_hand, rtol=1e-5)

    file = city / "power_t001_tx001_r002.npz"
    power = np.load(file)["power"]
    power[3] = np.nan
    np.savez(file, power=power)
    again = example.channel(city, site, 2, [3, 5], (1, 1), (1, 1))[:, 0, 0]
    assert again[0] == 0
    assert again[1] == H[1]


@pytest.mark.parametrize("ending", ["mat", "npy"])
def test_other_endings(city: Path, ending: str) -> None:
    site = example.Site(0, 1, 10.0)
    expected = example.channel(city, site, 2, slice(None), (4, 1), (1, 1))
    for name in example.QUANTITIES:
        file = city / f"{name}_t000_tx001_r002"
        values = np.load(f"{file}.npz")[name]
        if ending == "mat":
            pytest.importorskip("scipy").io.savemat(f"{file}.mat", {name: values})
        else:
            np.save(f"{file}.npy", values)
        Path(f"{file}.npz").unlink()
    np.testing.assert_array_equal(example.channel(city, site, 2, slice(None), (4, 1), (1, 1)), expected)


def test_users_walk_over_the_grid() -> None:
    grid = np.stack(np.meshgrid(np.arange(30.0), np.arange(20.0)), axis=-1).reshape(-1, 2)
    rows = example.walk(np.random.default_rng(0), grid, slots=50, users=6, step_m=1.2)
    assert rows.shape == (50, 6)
    steps = np.linalg.norm(np.diff(grid[rows], axis=0), axis=-1)
    assert steps.max() <= 1.2 + 2**0.5  # a step, and half a diagonal of the grid at both ends
    assert (steps > 0).mean() > 0.5


def test_the_file(city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "measured.npz"
    small = ("--slots", 5, "--episodes", 3, "--num-users", 2, "--elements", 3, 2)
    run(monkeypatch, city, "--out", out, "--bs", "0:1@135", "0:0@45", *small)
    printed = capsys.readouterr().out
    with np.load(out) as arrays:
        shapes = {name: arrays[name].shape for name in arrays.files}
        H, G, h, positions, cell = (arrays[name] for name in ("H", "G", "h", "positions", "cell"))
    assert shapes == {
        "H": (3, 5, 2, 2, 4),
        "G": (3, 1, 2, 2, 6, 4),
        "h": (3, 5, 2, 2, 6),
        "positions": (3, 5, 2, 2),
        "cell": (3, 5, 2),
    }
    grid = example.read(city, "rx_pos", example.Site(0, 0), 2)
    episode, slot, user = 2, 3, 1
    row = np.linalg.norm(grid[:, :2] - positions[episode, slot, user], axis=-1).argmin()
    first, last = example.Site(0, 1, 135.0), example.Site(1, 1, 90.0)  # BS 0 of the file, IRS 1
    direct = example.channel(city, first, 2, [row], (4, 1), (1, 1))[0, 0]
    np.testing.assert_array_equal(H[episode, slot, 0, user], direct)
    np.testing.assert_array_equal(
        h[episode, slot, 1, user], example.channel(city, last, 2, [row], (3, 2), (1, 1))[0, 0]
    )
    np.testing.assert_array_equal(G[1, 0, 0, 1], example.channel(city, first, 1, [1], (4, 1), (3, 2), 90.0)[0])
    loudest = (abs(H[episode, slot, :, user]) ** 2).sum(-1).argmax()
    assert cell[episode, slot, user] == loudest
    assert "h (3, 5, 2, 2, 6), positions (3, 5, 2, 2)" in printed
    assert printed.count(" dB (median)") == 3


def test_what_cannot_be_read_is_named(city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"params\.json: does not exist"):
        run(monkeypatch, tmp_path / "nowhere")
    with pytest.raises(SystemExit, match=r"_t000_tx007_r002\.npz .*: does not exist"):
        run(monkeypatch, city, "--bs", "0:7")
    with pytest.raises(SystemExit, match=r"_t002_tx000_r002\.npz .*: does not exist"):
        run(monkeypatch, city, "--irs", "2:0")  # the users do not transmit
    with pytest.raises(argparse.ArgumentTypeError, match="'3': must be SET:POINT"):
        example.Site.parse("3")
    params = json.loads((city / "params.json").read_text(encoding="utf-8"))
    params["scene"]["num_scenes"] = 4
    (city / "params.json").write_text(json.dumps(params), encoding="utf-8")
    with pytest.raises(SystemExit, match="has several scenes"):
        run(monkeypatch, city)


def test_the_stand_in_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run(monkeypatch, tmp_path / "city", "--stand-in")
    assert "no real place" in capsys.readouterr().out
    assert "not a ray tracer" in (tmp_path / "city" / "params.json").read_text(encoding="utf-8")
