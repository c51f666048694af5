"""Channels of one's own: arrays by name, from a dict or an ``.npz`` file, checked before an episode plays them.

A recording has one or several episodes. Its arrays, with S slots and an axis of episodes in front if there are several:

| name | shape | |
|---|---|---|
| ``H`` | ``(S, M, K, Nb)`` complex | BS-user row channels |
| ``G`` | ``(S or 1, M, L, N, Nb)`` complex | BS-IRS channels; without the axis of episodes they hold for all |
| ``h`` | ``(S, L, K, N)`` complex | IRS-user row channels |
| ``positions`` | ``(S, K, 2)`` m, optional | of the users |
| ``cell`` | ``(S, K)`` integers, optional | the BS that serves each user |

Entries are amplitudes (received over sent), as :mod:`irs_marl_env.physics.channel` makes them.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from irs_marl_env import checks
from irs_marl_env.array_files import is_mapped, load_arrays, path_of
from irs_marl_env.arrays import from_outside, read_only
from irs_marl_env.link_budget import LEAST_GAIN_DB, LINKS, MOST_GAIN_DB, MOST_SNR_DB, strongest_snr_db

AXES: dict[str, tuple[str, ...]] = {
    "H": ("slots", "M", "K", "Nb"),
    "G": ("slots", "M", "L", "N", "Nb"),
    "h": ("slots", "L", "K", "N"),
    "positions": ("slots", "K", "2"),
    "cell": ("slots", "K"),
}
CHANNELS = ("H", "G", "h")
SYMBOLS = {"M": "num_bs", "K": "num_users", "L": "num_irs", "Nb": "num_antennas", "N": "num_elements"}
_COUNTED = {"M": "BSs", "K": "users", "L": "IRSs", "Nb": "antennas", "N": "elements", "slots": "slots"}
_KINDS = {"positions": ("fiu", "real numbers"), "cell": ("iu", "integers")}
_KEPT = {"positions": np.float64, "cell": np.int64}  # types in memory; complex64 for channels
_COMPLEX = ("c", "complex numbers (complex64 or complex128)")
_BLOCK = 2**20  # numbers that are looked at at once
ALLOWED = "None, the path of an .npz file, or arrays by name: H, G, h and, if you like, positions and cell"


class Power(NamedTuple):
    """What one pass over a channel finds."""

    mean: np.ndarray  # (M, K), (M, L) or (L, K): mean power of each link over episodes, slots, antennas and elements
    rms: float  # amplitude, over the entries that are not zero; 1 without any
    most: float  # the largest absolute value of an entry


class Recording:
    """Channels of one's own, with an axis of episodes in front; equal to another by content.

    Args:
        given: arrays by name, in memory or mapped; never written into.
        name: what errors call them.

    Raises:
        ValueError: an array is missing, unknown, of the wrong type or shape, disagrees with another one, or is not
            finite; the message names it.
    """

    def __init__(self, given: Mapping[str, np.ndarray], name: str = "channels") -> None:
        self.name = name
        _check_names(name, given)
        self.arrays = {key: read_only(self._with_episodes(key, given[key])) for key in AXES if key in given}
        self.sizes = self._agreed()
        self.episodes, self.slots = self.arrays["H"].shape[:2]
        self._fitting: set[tuple[Any, ...]] = set()  # what has been compared with a scenario already
        self.power = {key: self._scan(key) for key in CHANNELS if key in self.arrays}
        self._check_finite_positions()

    def __repr__(self) -> str:
        sizes = ", ".join(f"{symbol}={size}" for symbol, size in self.sizes.items())
        return f"<{self.episodes} x {self.slots} slots, {sizes}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recording) and (self is other or self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> Any:
        return Recording, (self.arrays, self.name)

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex digits, of names, types, shapes and bytes."""
        found = hashlib.sha256()
        for key, array in self.arrays.items():
            found.update(f"{key} {array.dtype.str} {array.shape}".encode())
            found.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
        return found.hexdigest()

    @property
    def mapped(self) -> list[str]:
        """Names of the arrays that are in the file rather than in memory."""
        return [key for key, array in self.arrays.items() if is_mapped(array)]

    @property
    def scales(self) -> dict[str, float]:
        """Amplitude of each link, by which CSI is divided: root mean square of the entries that are not zero."""
        pairs = zip(LINKS, CHANNELS, strict=True)
        return {link: self.power[key].rms if key in self.power else 1.0 for link, key in pairs}

    @property
    def greatest_amplitudes(self) -> dict[str, float]:
        """The largest absolute value of an entry of each link."""
        pairs = zip(LINKS, CHANNELS, strict=True)
        return {link: self.power[key].most if key in self.power else 0.0 for link, key in pairs}

    def in_memory(self) -> Recording:
        """The same in memory of its own, which nobody else can write into; types do not depend on those given."""
        copies = {}
        for key, array in self.arrays.items():
            copies[key] = np.array(array, _KEPT.get(key, np.complex64), order="C")
            copies[key] += 0  # -0.0 becomes 0.0, which is equal but would be hashed as another
        return Recording(copies, self.name)

    def at(self, key: str, episode: np.ndarray, slot: np.ndarray) -> np.ndarray:
        """``(E, ...)`` of an array in memory of its own: row i is ``slot[i]`` of ``episode[i]``; complex64."""
        array = self.arrays[key]
        found = array[episode % len(array), np.minimum(slot, array.shape[1] - 1)]
        return np.ascontiguousarray(found, np.complex64 if key in CHANNELS else None)

    # --- the arrays among themselves -------------------------------------------------------------------------

    def _with_episodes(self, key: str, array: np.ndarray) -> np.ndarray:
        kinds, allowed = _KINDS.get(key, _COMPLEX)
        axes = _in_words(key)
        if array.dtype.kind not in kinds:
            raise ValueError(f"{self._called(key, array)} of {array.dtype}: must be {allowed}")
        if array.ndim == len(AXES[key]):
            array = array[None]
        if array.ndim != len(AXES[key]) + 1:
            raise ValueError(f"{self._called(key, array)}: must be {axes}, or with an axis of episodes in front")
        for axis, size in zip(("episodes", *AXES[key]), array.shape, strict=True):
            if size == 0 and axis not in ("L", "N"):
                raise ValueError(f"{self._called(key, array)}: has no {_COUNTED.get(axis, axis)}; must be {axes}")
        return array

    def _agreed(self) -> dict[str, int]:
        """Sizes by symbol, on which all arrays agree."""
        first: dict[str, str] = {}
        sizes: dict[str, int] = {}
        for key, array in self.arrays.items():
            for axis, (symbol, size) in enumerate(zip(("episodes", *AXES[key]), array.shape, strict=True)):
                if key == "G" and symbol in ("episodes", "slots") and size == 1:
                    continue
                wanted = 2 if symbol == "2" else sizes.setdefault(symbol, size)
                if size == wanted:
                    first.setdefault(symbol, key)
                    continue
                if symbol == "2":
                    raise ValueError(f"{self._called(key, array)}: must be {_in_words(key)}, x and y in m")
                one = first[symbol]
                if symbol == "episodes":
                    fewer, more = sorted((key, one), key=lambda k: len(self.arrays[k]))
                    few = f"has {min(size, wanted)} episodes" if fewer in self._several else "has no axis of episodes"
                    raise ValueError(
                        f"{self._called(fewer, self.arrays[fewer])}: {few}, but {more} {self._shape(more)} has "
                        f"{max(size, wanted)}; must agree, with an axis of episodes in front or without one"
                    )
                raise ValueError(
                    f"{self._called(key, array)}: {size} {_COUNTED.get(symbol, symbol)} on axis "
                    f"{axis - (key not in self._several)}, but {one} {self._shape(one)} has {wanted}; must agree, as "
                    f"{one} {_in_words(one)} and {key} {_in_words(key)}"
                )
        return {symbol: sizes[symbol] for symbol in SYMBOLS if symbol in sizes}

    @property
    def _several(self) -> list[str]:
        """Names of the arrays whose axis of episodes counts."""
        return [key for key, array in self.arrays.items() if len(array) > 1]

    def _shape(self, key: str) -> tuple[int, ...]:
        array = self.arrays[key]
        return array.shape if key in self._several else array.shape[1:]

    def _called(self, key: str, array: np.ndarray) -> str:
        shape = array.shape[1:] if array.ndim > len(AXES[key]) and len(array) == 1 else array.shape
        return f"{self.name}: {key}=<array of shape {shape}>"

    def _scan(self, key: str) -> Power:
        """One pass over a channel, block by block: refuses what is not finite, and measures the rest."""
        array = self.arrays[key]
        sums = np.zeros(array.shape[2:4])  # the two ends of a link; behind them are antennas and elements
        count, most = 0, 0.0
        for episode, begin, block in _blocks(array):
            with np.errstate(over="ignore", invalid="ignore"):
                single = block.astype(np.complex64)
            finite = np.isfinite(single)
            if not finite.all():
                at = tuple(int(i) for i in np.argwhere(~finite)[0])
                value = complex(block[at])
                why = "finite" if not np.isfinite(value) else "finite in single precision"
                where = f"episode {episode}, slot {begin + at[0]}, {list(at[1:])}"
                raise ValueError(f"{self.name}: {key} at {where} is {value}: must be {why}")
            power = block.real.astype(np.float64) ** 2 + block.imag.astype(np.float64) ** 2
            sums += power.sum(axis=(0, *range(3, power.ndim)))
            count += np.count_nonzero(power)
            most = max(most, float(power.max(initial=0.0)))
        mean = sums * (sums.size / max(array.size, 1))
        return Power(mean, math.sqrt(sums.sum() / count) if count else 1.0, math.sqrt(most))

    def _check_finite_positions(self) -> None:
        positions = self.arrays.get("positions")
        if positions is not None and not np.isfinite(positions).all():
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(positions))[0])
            where = f"episode {at[0]}, slot {at[1]}, {list(at[2:])}"
            raise ValueError(f"{self.name}: positions at {where} is {positions[at]}: must be finite")

    # --- the arrays and a scenario ---------------------------------------------------------------------------

    def check_fits(self, scenario: Any) -> None:
        """Refuse a scenario of other sizes, of longer episodes, or of another area.

        Raises:
            ValueError: the message names array, axis, what was found and must be, and the field that would fit.
        """
        s = scenario
        sizes = s.num_bs, s.num_users, s.num_irs, s.num_antennas, s.num_elements, s.horizon
        compared = (*sizes, s.bounds_m, s.tx_power_dbm, s.noise_power_dbm)
        if compared in self._fitting:
            return
        self._check_sizes(s)
        if self.slots <= s.horizon:
            raise ValueError(
                f"{self._called('H', self.arrays['H'])}: {self.slots} slots; an episode of horizon={s.horizon} needs "
                f"{s.horizon + 1}, so horizon must be at most {self.slots - 1}"
            )
        self._check_padding(s)
        self._check_users(s)
        self._check_powers(s)
        self._fitting.add(compared)

    def _check_sizes(self, s: Any) -> None:
        wanted = _sizes(s)
        if s.num_irs == 0:  # G and h are not used then
            wanted = {symbol: wanted[symbol] for symbol in ("M", "K", "Nb")}
        for key in CHANNELS if s.num_irs else CHANNELS[:1]:
            if key not in self.arrays:
                raise ValueError(f"{self.name}: holds no {key}; num_irs={s.num_irs} needs {key} {_in_words(key)}")
            for axis, symbol in enumerate(AXES[key]):
                size = self.arrays[key].shape[axis + 1]
                if symbol in wanted and size != wanted[symbol]:
                    slots = f">={s.horizon + 1}{' or 1' if key == 'G' else ''}"
                    shape = tuple(_sizes(s).get(symbol, slots) for symbol in AXES[key])
                    found = f"{self._called(key, self.arrays[key])}: {size} {_COUNTED[symbol]} on axis "
                    field = f"must be {SYMBOLS[symbol]}={wanted[symbol]}"
                    raise ValueError(
                        f"{found}{axis + (key in self._several)}, {field}, {_in_words(key)} = {_written(shape)}; if "
                        f"the data are right, say {self.overrides}"
                    )

    @property
    def overrides(self) -> str:
        """The scenario fields that fit, as one writes them."""
        return ", ".join(f"{SYMBOLS[symbol]}={size}" for symbol, size in self.sizes.items())

    def _check_padding(self, s: Any) -> None:
        """Antennas that a BS, and elements that an IRS does not have must be zero."""
        for bs, count in enumerate(s.antennas):
            beyond = {key: self.arrays[key][:, :, bs, ..., count:] for key in ("H", "G")[: 2 if s.num_irs else 1]}
            self._check_zero(beyond, f"BS {bs} has antennas beyond its num_antennas[{bs}]={count}")
        for irs, count in enumerate(s.elements):
            G, h = self.arrays["G"], self.arrays["h"]
            beyond = {"G": G[:, :, :, irs, count:], "h": h[:, :, irs, :, count:]}
            self._check_zero(beyond, f"IRS {irs} has elements beyond its num_elements[{irs}]={count}")

    def _check_zero(self, beyond: dict[str, np.ndarray], what: str) -> None:
        for key, part in beyond.items():
            if part.size and np.any(part):
                raise ValueError(f"{self._called(key, self.arrays[key])}: {what} that are not zero; must be zero")

    def _check_users(self, s: Any) -> None:
        positions, cell = self.arrays.get("positions"), self.arrays.get("cell")
        if positions is not None:
            for episode, walk in enumerate(positions):
                try:
                    s.check_positions(f"{self.name}: positions[{episode}]", walk, num_slots=s.horizon + 1)
                except ValueError as error:
                    raise ValueError(f"{error}; area_bounds_m says where users are") from None
        if cell is not None:
            outside = (cell < 0) | (cell >= s.num_bs)
            if outside.any():
                at = tuple(int(i) for i in np.argwhere(outside)[0])
                where = f"episode {at[0]}, slot {at[1]}, user {at[2]}"
                raise ValueError(f"{self.name}: cell at {where} is {cell[at]}: must be in [0, {s.num_bs - 1}]")

    def _check_powers(self, s: Any) -> None:
        """What single precision does not hold; see :mod:`irs_marl_env.link_budget`."""
        for key, power in self.power.items():
            gain_db = 20.0 * math.log10(power.rms)
            if not LEAST_GAIN_DB <= gain_db <= MOST_GAIN_DB:
                allowed = f"[{LEAST_GAIN_DB:g}, {MOST_GAIN_DB:g}] dB, which single precision holds"
                raise ValueError(f"{self.name}: {key} has a mean power of {gain_db:.4g} dB: must be in {allowed}")
        snr_db = strongest_snr_db(s, *self.greatest_amplitudes.values())
        if snr_db > MOST_SNR_DB:
            raise ValueError(
                f"{self.name}: with tx_power_dbm={s.tx_power_dbm} and noise_power_dbm={s.noise_power_dbm:g} the "
                f"strongest signal could be {snr_db:.4g} dB above the noise, must be at most {MOST_SNR_DB:g} dB, which "
                "single precision holds; are the channels amplitudes, received over sent?"
            )


def _sizes(s: Any) -> dict[str, int]:
    """The sizes of a scenario by symbol."""
    return {"M": s.num_bs, "K": s.num_users, "L": s.num_irs, "Nb": s.max_antennas, "N": s.max_elements}


def _check_names(name: str, given: Mapping[str, Any]) -> None:
    for key in given:
        if key not in AXES:
            raise ValueError(f"{name}: {checks.shown(key)} is unknown{checks.near(key, AXES)}; must be among {_ALL}")
    missing = [key for key in ("H", *(CHANNELS[1:] if "G" in given or "h" in given else ())) if key not in given]
    if missing:
        raise ValueError(f"{name}: holds {checks.shown(sorted(given))}, not {', '.join(missing)}; must hold H, G and h")


_ALL = ", ".join(AXES)


def _in_words(key: str) -> str:
    shape = ", ".join(AXES[key])
    return f"({shape.replace('slots', 'slots or 1')})" if key == "G" else f"({shape})"


def _written(shape: tuple[Any, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


def _blocks(array: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Episode, first slot and some slots of a whole array, in memory one by one."""
    length = max(1, _BLOCK // max(1, math.prod(array.shape[2:])))
    for episode in range(len(array)):
        for begin in range(0, array.shape[1], length):
            yield episode, begin, np.asarray(array[episode, begin : begin + length])


# --- from outside ---------------------------------------------------------------------------------------------------


def check_channels(name: str, value: Any) -> str | Recording | None:
    """The value of ``Scenario.channels`` as it is kept: a path as text, arrays as a :class:`Recording` in memory."""
    if value is None or isinstance(value, Recording):
        return value
    try:
        path = path_of(value)
    except Exception:  # of somebody else's __fspath__
        path = None
    if path is not None:
        return path
    if not isinstance(value, Mapping):
        raise checks.refusal(name, value, ALLOWED)
    _check_names(name, value)
    for key, x in value.items():
        if np.ma.is_masked(x):
            raise ValueError(f"{name}: {key} has {np.ma.count_masked(x)} masked entries: must have none")
    given = {key: from_outside(f"{name}: {key}", x) for key, x in value.items()}
    return Recording(given, name).in_memory()


def recording_of(scenario: Any) -> Recording | None:
    """The channels of a scenario, opened where they are a file, and compared with it; ``None`` without any.

    A file is looked through once, and again when it has changed.

    Raises:
        ValueError: see :class:`Recording` and its ``check_fits``; the message names the file.
    """
    channels: Any = scenario.channels
    if channels is None:
        return None
    recording = channels if isinstance(channels, Recording) else open_recording(channels)
    recording.check_fits(scenario)
    return recording


def open_recording(path: str) -> Recording:
    """The recording in an ``.npz`` file.

    Raises:
        ValueError: see :class:`Recording`; the message names the file.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # no path at all, perhaps
        return _open(path, None)  # which says what is wrong
    return _open(path, (os.path.abspath(path), found.st_mtime_ns, found.st_size, found.st_ino))


@lru_cache(maxsize=2)
def _open(path: str, version: tuple[Any, ...] | None) -> Recording:
    name = f"channels ({path})"
    try:
        arrays, others = load_arrays(path, tuple(AXES))
    except ValueError as error:
        raise ValueError(f"channels: {error}") from None
    for other in others:  # what else a file holds is its own affair, unless it looks like a slip
        if checks.near(other, AXES):
            raise ValueError(f"{name}: {checks.shown(other)} is unknown{checks.near(other, AXES)}")
    return Recording(arrays, name)
