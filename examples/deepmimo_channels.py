"""Channels out of a DeepMIMO scenario (the folders of version 4), written as a file for `channels=`.

    python -m examples.deepmimo_channels --stand-in city      # a small folder in the same layout: no real place
    python -m examples.deepmimo_channels city --bs 0:0@45 0:1@135 --irs 1:0@90 1:1@90 --users 2 --out measured.npz

It reads the files themselves, without the package DeepMIMO: `params.json` and, for each transmitter and each set of
receivers, one array per quantity and path (`power_t000_tx000_r002.npz`; older scenarios have `.mat`, for which scipy is
needed). `SET:POINT@AZIMUTH` names a point of a set and where its array looks [degrees from the x-axis]. An IRS has to
belong to a set that both receives and transmits, as base stations do where a scenario has links between them.
docs/own-channels.md says what the arrays mean.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from examples.own_channels import write

QUANTITIES = ("power", "phase", "delay", "aoa_az", "aoa_el", "aod_az", "aod_el")  # of paths; dB, degrees, seconds
MAX_PATHS = 25  # columns of a file; absent paths are NaN


class Site(NamedTuple):
    """A point of a set of transmitters, and the direction its array looks to."""

    set: int
    point: int
    azimuth: float = 0.0  # [degrees]

    @classmethod
    def parse(cls, text: str) -> Site:
        """``SET:POINT`` or ``SET:POINT@AZIMUTH``."""
        try:
            where, _, azimuth = text.partition("@")
            index, point = map(int, where.split(":"))
            return cls(index, point, float(azimuth or 0))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: must be SET:POINT or SET:POINT@AZIMUTH") from None


def read(folder: Path, quantity: str, site: Site, receivers: int) -> np.ndarray:
    """One array of the folder: ``(receivers, paths)``, or positions ``(receivers, 3)``; npz, npy or mat."""
    name = f"{quantity}_t{site.set:03}_tx{site.point:03}_r{receivers:03}"
    if (file := folder / f"{name}.npz").exists():
        with np.load(file) as arrays:
            return arrays[quantity]
    if (file := folder / f"{name}.npy").exists():
        return np.load(file)
    if (file := folder / f"{name}.mat").exists():
        from scipy.io import loadmat

        return loadmat(file)[quantity]
    raise SystemExit(f"{folder / name}.npz (.npy, .mat): does not exist; --bs and --irs name sets that transmit, "
                     "and the sets of users and IRSs have to receive from them")  # fmt: skip


def steering(azimuth: np.ndarray, zenith: np.ndarray, shape: tuple[int, int], looks: float) -> np.ndarray:
    """Response ``(..., columns * rows)`` of a planar array at half a wavelength to directions in degrees.

    Elements are counted along a row first, from the bottom row. A wave from the direction of an element reaches it
    early, and one that leaves into that direction has a shorter way: the same sign for both.
    """
    y, z = np.tile(np.arange(shape[0]), shape[1]), np.repeat(np.arange(shape[1]), shape[0])
    azimuth, zenith = np.deg2rad(azimuth - looks)[..., None], np.deg2rad(zenith)[..., None]
    return np.exp(1j * np.pi * (np.sin(zenith) * np.sin(azimuth) * y + np.cos(zenith) * z))


def channel(
    folder: Path, site: Site, receivers: int, rows: Any, tx: tuple[int, int], rx: tuple[int, int], looks: float = 0.0
) -> np.ndarray:
    """Channels ``(rows, rx antennas, tx antennas)`` at the carrier: received = channel @ sent.

    They are the sum over the paths of sqrt(gain) exp(j phase) a_rx a_tx^T: what DeepMIMO computes for its first
    subcarrier, times the root of the number of subcarriers, over which it spreads the power.
    """
    path = {quantity: read(folder, quantity, site, receivers)[rows].astype(float) for quantity in QUANTITIES}
    there = ~np.isnan(path["power"])
    path = {quantity: np.where(there, value, 0.0) for quantity, value in path.items()}
    gain = np.where(there, 10 ** (path["power"] / 20), 0.0) * np.exp(1j * np.deg2rad(path["phase"]))
    arrive = steering(path["aoa_az"], path["aoa_el"], rx, looks)
    leave = steering(path["aod_az"], path["aod_el"], tx, site.azimuth)
    return np.einsum("np,npr,npt->nrt", gain, arrive, leave, optimize=True).astype(np.complex64)


def walk(rng: np.random.Generator, grid: np.ndarray, slots: int, users: int, step_m: float) -> np.ndarray:
    """Rows ``(slots, users)`` of the grid ``(points, 2)`` [m] nearest to users who walk between random points."""
    place, goal = grid[rng.integers(len(grid), size=(2, users))]
    rows = np.empty((slots, users), int)
    for slot in range(slots):
        rows[slot] = np.linalg.norm(grid - place[:, None], axis=-1).argmin(axis=-1)
        way = goal - place
        far = np.linalg.norm(way, axis=-1, keepdims=True)
        place = np.where(far > step_m, place + way * step_m / np.maximum(far, step_m), goal)
        goal = np.where(far > step_m, goal, grid[rng.integers(len(grid), size=users)])
    return rows


def convert(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The arrays of the file, with the axis of episodes in front."""
    if not (folder / "params.json").exists():
        raise SystemExit(f"{folder / 'params.json'}: does not exist; FOLDER must be a scenario of DeepMIMO 4")
    if json.loads((folder / "params.json").read_text(encoding="utf-8"))["scene"]["num_scenes"] != 1:
        raise SystemExit(f"{folder}: has several scenes; this example walks users over the grid of a single one")
    antennas, elements = tuple(args.antennas), tuple(args.elements)
    grid = read(folder, "rx_pos", args.bs[0], args.users)[:, :2].astype(float)
    seeds = [np.random.default_rng([args.seed, episode]) for episode in range(args.episodes)]
    rows = np.stack([walk(rng, grid, args.slots, args.num_users, args.step_m) for rng in seeds])  # (episodes, slots, K)
    H = [channel(folder, b, args.users, rows.ravel(), antennas, (1, 1)) for b in args.bs]  # of (points walked, 1, Nb)
    h = [channel(folder, i, args.users, rows.ravel(), elements, (1, 1)) for i in args.irs]  # of (points walked, 1, N)
    g = [[channel(folder, b, i.set, [i.point], antennas, elements, i.azimuth)[0] for i in args.irs] for b in args.bs]
    return {
        "H": np.stack([link.reshape(*rows.shape, -1) for link in H], axis=2),  # (episodes, slots, M, K, Nb)
        "G": np.broadcast_to(np.array(g), (args.episodes, 1, *np.shape(g))),  # (episodes, 1, M, L, N, Nb)
        "h": np.stack([link.reshape(*rows.shape, -1) for link in h], axis=2),  # (episodes, slots, L, K, N)
        "positions": grid[rows],
    }


def invented_paths(
    source: np.ndarray, targets: np.ndarray, scatterers: np.ndarray, wavelength: float, blocked_db: float
) -> dict[str, np.ndarray]:
    """Arrays ``(targets, paths)`` in DeepMIMO's units: the direct path, then one over each scatterer, 25 dB weaker."""
    via = np.broadcast_to(scatterers, (len(targets), *scatterers.shape))
    leave = np.concatenate([targets[:, None], via], axis=1) - source  # where each path goes first, and comes from last
    arrive = np.concatenate([np.broadcast_to(source, targets.shape)[:, None], via], axis=1) - targets[:, None]
    length = np.linalg.norm(leave, axis=-1) + np.linalg.norm(arrive, axis=-1)
    length[:, 0] /= 2  # the direct path was counted from both ends
    paths = {
        "power": 20 * np.log10(wavelength / (4 * np.pi * length)) - np.r_[blocked_db, np.full(len(scatterers), 25.0)],
        "phase": np.rad2deg(np.angle(np.exp(-2j * np.pi * length / wavelength))),
        "delay": length / 299_792_458,
        "inter": np.broadcast_to(np.r_[0.0, np.full(len(scatterers), 3.0)], length.shape),  # 3: scattered
    }
    for name, way in (("aod", leave), ("aoa", arrive)):
        paths[f"{name}_az"] = np.rad2deg(np.arctan2(way[..., 1], way[..., 0]))
        paths[f"{name}_el"] = np.rad2deg(np.arccos(way[..., 2] / np.linalg.norm(way, axis=-1)))  # from the zenith
    absent = ((0, 0), (0, MAX_PATHS - length.shape[1]))
    return {name: np.pad(value, absent, constant_values=np.nan) for name, value in paths.items()}


def stand_in(folder: Path, seed: int = 0, carrier_hz: float = 3.5e9, num_scatterers: int = 6) -> None:
    """Write a small folder in DeepMIMO's layout: 2 BSs, 2 IRSs, a grid of users, and paths over a few scatterers.

    It describes no real place. The direct paths from the BSs to the users lose 40 dB in an obstacle.
    """
    x, y = np.meshgrid(np.arange(20.0, 61.0), np.arange(30.0, 51.0))
    sets = [  # name, does it transmit, does it receive, points
        ("bs", True, False, np.array([(0.0, 0.0, 10.0), (80.0, 0.0, 10.0)])),
        ("irs", True, True, np.array([(25.0, 20.0, 6.0), (55.0, 20.0, 6.0)])),
        ("users", False, True, np.stack([x.ravel(), y.ravel(), np.full(x.size, 1.5)], axis=-1)),
    ]
    scatterers = np.random.default_rng(seed).uniform((0, 20, 2), (80, 70, 8), size=(num_scatterers, 3))
    folder.mkdir(parents=True, exist_ok=True)
    for sender, receiver in ((0, 1), (0, 2), (1, 2)):
        blocked_db = 40.0 if (sender, receiver) == (0, 2) else 0.0
        targets = sets[receiver][3]
        for point, source in enumerate(sets[sender][3]):
            arrays = invented_paths(source, targets, scatterers, 299_792_458 / carrier_hz, blocked_db)
            arrays |= {"rx_pos": targets, "tx_pos": source[None]}
            for name, value in arrays.items():
                one: dict[str, Any] = {name: value.astype(np.float32)}
                np.savez_compressed(folder / f"{name}_t{sender:03}_tx{point:03}_r{receiver:03}.npz", **one)
    known = {
        f"txrx_set_{i}": {"name": name, "id": i, "id_orig": i, "is_tx": sends, "is_rx": receives,
                          "num_points": len(points), "num_active_points": len(points), "num_ant": 1, "dual_pol": False}
        for i, (name, sends, receives, points) in enumerate(sets)
    }  # fmt: skip
    params = {
        "version": "4.0.5",
        "name": "stand-in",
        "rt_params": {"frequency": carrier_hz, "raytracer_name": "stand-in of irs-marl-env, not a ray tracer"},
        "txrx_sets": known,
        "scene": {"num_scenes": 1},
        "materials": {},
    }
    (folder / "params.json").write_text(json.dumps(params, indent=2), encoding="utf-8")


def main() -> None:
    """Read a folder and write the file, or write a folder to try it on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a scenario of DeepMIMO 4")
    parser.add_argument("--stand-in", action="store_true", help="write FOLDER, small and invented")
    parser.add_argument("--bs", type=Site.parse, nargs="+", default=[Site(0, 0, 45.0), Site(0, 1, 135.0)])
    parser.add_argument("--irs", type=Site.parse, nargs="+", default=[Site(1, 0, 90.0), Site(1, 1, 90.0)])
    parser.add_argument("--users", type=int, default=2, help="the set of receivers that is the grid of users")
    parser.add_argument("--num-users", type=int, default=4)
    parser.add_argument("--antennas", type=int, nargs=2, default=(4, 1), metavar=("COLUMNS", "ROWS"))
    parser.add_argument("--elements", type=int, nargs=2, default=(16, 16), metavar=("COLUMNS", "ROWS"))
    parser.add_argument("--step-m", type=float, default=1.2, help="how far a user walks in a slot [m]")
    parser.add_argument("--slots", type=int, default=21, help="slots per episode: one more than the horizon")
    parser.add_argument("--episodes", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("measured.npz"))
    args = parser.parse_args()
    if args.stand_in:
        stand_in(args.folder, args.seed)
        print(f"{args.folder}: a stand-in in DeepMIMO's layout; its channels describe no real place")
    else:
        write(args.out, convert(args.folder, args))


if __name__ == "__main__":
    main()
