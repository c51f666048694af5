"""Channels from a ray tracer: Sionna RT follows walking users through a street, and a file for `channels=` comes out.

    python -m examples.own_channels --out measured.npz

Two base stations (BSs) stand at the ends of a street. The users walk in its side streets, where houses block the direct
link nearly everywhere: what reaches them was reflected or diffracted, or comes over one of two intelligent reflecting
surfaces (IRSs) on the walls opposite. It needs `pip install "irs-marl-env[sionna]"` and LLVM 17 or newer;
experiments/own_channels.sh makes an environment with both. docs/own-channels.md says what the arrays mean.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

CARRIER_HZ = 3.5e9
BS_M = np.array([(-75.0, 0.0, 10.0), (80.0, 0.0, 10.0)])
BS_ANTENNAS = (1, 4)  # rows, columns; half a wavelength apart, as the elements of an IRS are
IRS_M = np.array([(-32.5, -8.2, 8.0), (33.0, -8.2, 8.0)])  # on walls that look north, into the side streets
IRS_ELEMENTS = (16, 16)
SIDE_STREETS_M = np.array([[(-30.0, 12.0), (-17.0, 36.0)], [(18.0, 12.0), (31.0, 36.0)]])  # corners (x, y)
USER_HEIGHT_M = 1.5


def walk(rng: np.random.Generator, slots: int, users: int, slot_s: float = 1.0) -> np.ndarray:
    """Positions ``(slots, users, 2)`` [m]: each user walks up and down one side street and turns at its ends."""
    low, high = SIDE_STREETS_M[rng.integers(len(SIDE_STREETS_M), size=users)].swapaxes(0, 1)
    x, y = (low + (high - low) * rng.random((users, 2))).T
    velocity = rng.uniform(0.5, 1.5, users) * rng.choice([-1.0, 1.0], users)
    length = high[:, 1] - low[:, 1]
    way = (y - low[:, 1] + velocity * slot_s * np.arange(slots)[:, None]) % (2 * length)  # there and back
    return np.stack([np.broadcast_to(x, way.shape), low[:, 1] + np.minimum(way, 2 * length - way)], axis=-1)


def array(rows: int, columns: int) -> Any:
    """A planar array half a wavelength apart, of vertical antennas that radiate alike into all directions."""
    from sionna.rt import PlanarArray

    return PlanarArray(num_rows=rows, num_cols=columns, pattern="iso", polarization="V")


def trace(
    scene: Any, sources: np.ndarray, targets: np.ndarray, tx: tuple[int, int], rx: tuple[int, int], rays: int
) -> np.ndarray:
    """Channels ``(targets, rx antennas, sources, tx antennas)`` at the carrier: received = channel @ sent.

    All arrays look north, so an IRS has the same elements in the same order whether it receives or sends.
    """
    from sionna.rt import PathSolver, Receiver, Transmitter

    for name in (*scene.transmitters, *scene.receivers):
        scene.remove(name)
    scene.tx_array, scene.rx_array = array(*tx), array(*rx)
    north = (np.pi / 2, 0.0, 0.0)
    for i, position in enumerate(sources):
        scene.add(Transmitter(f"source-{i}", position.tolist(), orientation=north))
    for i, position in enumerate(targets):
        scene.add(Receiver(f"target-{i}", position.tolist(), orientation=north))
    paths = PathSolver(deterministic=True)(
        scene, max_depth=3, samples_per_src=rays, specular_reflection=True, diffraction=True, refraction=False
    )
    response = paths.cfr(frequencies=[0.0], normalize_delays=False, normalize=False, out_type="numpy")
    return response[..., 0, 0]  # one time step, one frequency: an offset of 0 Hz from the carrier


def measure(slots: int, episodes: int, users: int, seed: int, rays: int) -> dict[str, Any]:
    """The arrays of the file, with the axis of episodes in front."""
    from sionna.rt import load_scene
    from sionna.rt import scene as scenes

    scene = load_scene(scenes.simple_street_canyon)
    scene.frequency = CARRIER_HZ
    g = trace(scene, BS_M, IRS_M, BS_ANTENNAS, IRS_ELEMENTS, rays).transpose(2, 0, 1, 3)  # (M, L, N, Nb)
    positions, H, h = [], [], []
    for episode in range(episodes):
        walked = walk(np.random.default_rng([seed, episode]), slots, users)
        heights = np.full((*walked.shape[:2], 1), USER_HEIGHT_M)
        spots = np.concatenate([walked, heights], axis=-1).reshape(-1, 3)
        direct = trace(scene, BS_M, spots, BS_ANTENNAS, (1, 1), rays)[:, 0]  # (slots * K, M, Nb)
        last = trace(scene, IRS_M, spots, IRS_ELEMENTS, (1, 1), rays)[:, 0]  # (slots * K, L, N)
        positions.append(walked)
        H.append(direct.reshape(slots, users, *direct.shape[1:]).swapaxes(1, 2))  # (slots, M, K, Nb)
        h.append(last.reshape(slots, users, *last.shape[1:]).swapaxes(1, 2))  # (slots, L, K, N)
    G = np.broadcast_to(g, (episodes, 1, *g.shape))
    return {"H": np.stack(H), "G": G, "h": np.stack(h), "positions": np.stack(positions)}


def write(out: str | Path, arrays: dict[str, Any]) -> None:
    """Write the file, with the cells of the BSs that are heard loudest, and print the gains of the links."""
    cell = (abs(arrays["H"]) ** 2).mean(axis=-1).argmax(axis=-2)  # (..., K)
    np.savez(out, **arrays, cell=cell)
    print(f"{out}: " + ", ".join(f"{name} {array.shape}" for name, array in {**arrays, "cell": cell}.items()))
    for name in "HGh":
        power = abs(arrays[name]) ** 2
        gain = 10 * np.log10(power.mean(axis=(-2, -1) if name == "G" else -1) + 1e-30)  # over antennas and elements
        print(f"{name}: gain of a link {np.median(gain):.1f} dB (median), {gain.min():.1f} to {gain.max():.1f} dB")


def main() -> None:
    """Trace the rays, write the file, print the gains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="measured.npz", help="the file to write")
    parser.add_argument("--slots", type=int, default=21, help="slots per episode: one more than the horizon")
    parser.add_argument("--episodes", type=int, default=6)
    parser.add_argument("--users", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rays", type=int, default=100_000, help="per transmitter; more find more of the weak paths")
    args = parser.parse_args()
    write(args.out, measure(args.slots, args.episodes, args.users, args.seed, args.rays))


if __name__ == "__main__":
    main()
