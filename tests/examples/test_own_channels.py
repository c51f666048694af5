"""examples/own_channels.py: the walk and the file without Sionna; what Sionna calls a channel where it is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples import own_channels as example


def test_users_walk_up_and_down_the_side_streets() -> None:
    walked = example.walk(np.random.default_rng(3), slots=200, users=8)
    assert walked.shape == (200, 8, 2)
    steps = np.linalg.norm(np.diff(walked, axis=0), axis=-1)
    assert steps.max() <= 1.5
    low, high = example.SIDE_STREETS_M[:, 0], example.SIDE_STREETS_M[:, 1]
    inside = ((walked[:, :, None] >= low) & (walked[:, :, None] <= high)).all(-1)  # (slots, users, streets)
    assert (inside.all(0).sum(-1) == 1).all()  # each in one street all the time
    assert inside.all(0).any(0).all()  # and somebody in each
    assert (np.sign(np.diff(walked[..., 1], axis=0)).min(0) == -1).all()  # everybody turns
    assert (np.sign(np.diff(walked[..., 1], axis=0)).max(0) == 1).all()


def test_the_file_says_who_is_heard_loudest(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    H = np.zeros((1, 2, 3, 2, 4), complex)  # (episodes, slots, M, K, Nb)
    H[0, 0, 2, 0] = H[0, 0, 1, 1] = H[0, 1, 0] = 1e-4
    G, h = np.full((1, 1, 3, 1, 5, 4), 1e-3 + 0j), np.full((1, 2, 1, 2, 5), 1e-2j)
    example.write(tmp_path / "file.npz", {"H": H, "G": G, "h": h})
    with np.load(tmp_path / "file.npz") as arrays:
        assert sorted(arrays.files) == ["G", "H", "cell", "h"]
        assert arrays["cell"].tolist() == [[[2, 1], [0, 0]]]
    printed = capsys.readouterr().out
    assert "G: gain of a link -60.0 dB (median), -60.0 to -60.0 dB" in printed
    assert "h: gain of a link -40.0 dB (median)" in printed


@pytest.mark.filterwarnings("default")
def test_a_channel_of_sionna_is_received_over_sent() -> None:
    """In free space it is the wave over the distance of two antennas, and the elements of an IRS have one order."""
    rt = pytest.importorskip("sionna.rt", reason="needs the extra 'sionna'")
    scene = rt.load_scene()
    scene.frequency = example.CARRIER_HZ
    wavelength = 299_792_458 / example.CARRIER_HZ
    bs, irs, user = np.array([(-75.0, 0.0, 10.0)]), np.array([(-32.5, -8.2, 8.0)]), np.array([(-24.0, 22.0, 1.5)])
    # looking north, a row runs west: y of the array's own axes; elements are counted down each column
    row, column = np.meshgrid(range(3), range(2), indexing="ij")
    shift = np.stack([(column.T - 0.5) * -1.0, 0 * column.T, 1.0 - row.T], axis=-1).reshape(-1, 3) * wavelength / 2
    G = example.trace(scene, bs, irs, (1, 1), (3, 2), 10_000)[0, :, 0]  # (elements, 1)
    h = example.trace(scene, irs, user, (3, 2), (1, 1), 10_000)[0, :, 0]  # (1, elements)
    for found, other in ((G[:, 0], bs), (h[0], user)):
        distance = np.linalg.norm(irs + shift - other, axis=-1)
        expected = wavelength / (4 * np.pi * distance) * np.exp(-2j * np.pi * distance / wavelength)
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.03 * abs(expected).max())
