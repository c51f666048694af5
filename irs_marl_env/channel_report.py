"""What a file of channels holds, in words: arrays, gains per link, the scenario fields that fit, the first problem."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import numpy as np

from irs_marl_env.array_files import load_arrays
from irs_marl_env.recordings import AXES, CHANNELS, SYMBOLS, Recording, open_recording
from irs_marl_env.scenario import Scenario

MOST = 16  # rows and columns of gains that are shown
_ENDS = {"H": ("BS", "users"), "G": ("BS", "IRSs"), "h": ("IRS", "users")}


def report(path: str, scenario: Scenario | None = None) -> Iterator[str]:
    """Lines about a file, of which the last one tells the first problem, by an exception.

    Args:
        path: of an ``.npz`` file.
        scenario: what the file shall fit; ``None``: the arrays among themselves alone.

    Raises:
        ValueError: the first problem; all that could be said without it has been said.
    """
    arrays, others = load_arrays(path, tuple(AXES))
    yield path
    for name, array in arrays.items():
        yield f"  {name:<9} {array.dtype!s:<10} {array.shape}"
    if others:
        yield f"  not used: {', '.join(others)}"
    recording = open_recording(path)
    mapped = ", ".join(recording.mapped) or "none"
    yield f"{recording.episodes} episodes of {recording.slots} slots; mapped into memory: {mapped}"
    yield from _gains(recording)
    yield from _notes(recording)
    yield f"fits {recording.overrides}, horizon at most {recording.slots - 1}"
    yield f"as options: {_options(recording)} --set {shlex.quote(f'channels={path}')}"
    if scenario is not None:
        scenario.replace(channels=path).recording()
        yield "fits the scenario"


def _notes(recording: Recording) -> Iterator[str]:
    """What is allowed, and may be a slip."""
    for key, power in recording.power.items():
        if power.rms > 1.0:
            yield f"note: {key} has a mean gain above 0 dB; entries are amplitudes, received over sent, no values in dB"
    if "positions" in recording.arrays and "cell" not in recording.arrays:
        yield "note: there is no cell: the nearest BS serves a user, and bs_positions_m has to say where BSs stand"


def _options(recording: Recording) -> str:
    """Options of the command line with which the file fits."""
    fields = {SYMBOLS[symbol]: size for symbol, size in recording.sizes.items()} | {"horizon": recording.slots - 1}
    texts = [f"{name}={value}" for name, value in fields.items()]
    positions = recording.arrays.get("positions")
    if positions is not None:
        flat = positions.reshape(-1, 2)
        corners = *np.floor(flat.min(0) - 1), *np.ceil(flat.max(0) + 1)
        texts.append(f"area_bounds_m=[{','.join(f'{x:g}' for x in corners)}]")
    return " ".join(f"--set {shlex.quote(text)}" for text in texts)


def _gains(recording: Recording) -> Iterator[str]:
    yield "mean gain [dB] of each link, over episodes, slots, antennas and elements"
    for key in CHANNELS:
        if key not in recording.power or not recording.power[key].mean.size:
            continue
        with np.errstate(divide="ignore"):
            gain = 10.0 * np.log10(recording.power[key].mean)
        least, middle, most = gain.min(), np.median(gain), gain.max()
        row, columns = _ENDS[key]
        yield f"  {key}: min {least:.1f}, median {middle:.1f}, max {most:.1f}"
        for i, line in enumerate(gain[:MOST]):
            shown = " ".join(f"{value:7.1f}" for value in line[:MOST])
            yield f"     {row} {i} to {columns} 0..{len(line) - 1}: {shown}{' ...' if len(line) > MOST else ''}"
        if len(gain) > MOST:
            yield "     ..."
