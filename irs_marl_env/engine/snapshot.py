"""Saving the state of a batch as flat arrays by name, and going on from one that was saved.

What comes back may have gone through files and other hands, so every entry is checked before anything changes: the
names, shapes and types against those that a fresh episode of the scenario has, the values against what they mean.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from irs_marl_env import arrays, checks
from irs_marl_env.engine.core import Core
from irs_marl_env.engine.state import State
from irs_marl_env.physics import association
from irs_marl_env.physics.array_response import existing
from irs_marl_env.physics.channel import Channels
from irs_marl_env.streams import Streams

Array = Any

_PLAIN = ("scenario", "streams")  # JSON-able; all else are arrays
SIGMAS = 100.0  # no normal number that 64 random bits give is so far out
SHADOWING_SIGMAS = 12.0  # what shadowing multiplies up in a walk stays below
SLACK = 1.0 + 1e-5  # rounding of float32
_ON_HOST = ("slot", "motion.slot", "motion.episode")  # numpy whatever the backend: nothing random enters


def save(core: Core, state: State, streams: Streams, ends: np.ndarray) -> dict[str, Any]:
    """Everything the future of a batch depends on, flat: copies of arrays by dotted names, and JSON-able values.

    Args:
        core: the dynamics.
        state: of E environments.
        streams: theirs.
        ends: ``(E,)``, the slot that ends the episode of each.
    """
    saved: dict[str, Any] = {"scenario": core.scenario.digest, "streams": streams.get_state(), "ends": ends.copy()}
    for name, leaf in _leaves(state):
        saved[name] = arrays.copy(leaf) if hasattr(leaf, "shape") else copy.deepcopy(leaf)
    return saved


def restore(
    core: Core, saved: Any, num_envs: int, on_device: bool | None = None, may_be_over: bool = True
) -> tuple[State, Streams, np.ndarray]:
    """What :func:`save` was given, in new arrays of the core's kind; nothing that exists changes.

    Args:
        core: the dynamics.
        saved: what :func:`save` returned, of this or the other kind of arrays.
        num_envs: E that it must be of.
        on_device: as for :meth:`Core.streams`.
        may_be_over: whether an episode may stand at its end, waiting for a reset.

    Returns:
        The state, the streams and the ends.

    Raises:
        ValueError: an entry is missing, unknown or not what it must be; the message names it and its value.
    """
    if not isinstance(saved, Mapping):
        raise checks.refusal("state", saved, "a dict as get_state returned it")
    digest = saved.get("scenario")
    if type(digest) is not str or digest != core.scenario.digest:
        raise ValueError(f"state of scenario {checks.shown(digest)}: must be of this one, {core.scenario.digest!r}")
    cell = arrays.on_host_or_none(saved.get("cell"))
    if cell is not None and cell.shape[:1] != (num_envs,):
        raise ValueError(f"state of {cell.shape[0] if cell.shape else 'no'} environments: must be of {num_envs}")
    leaves = _checked(core, saved, num_envs)
    _check_values(core, leaves, may_be_over)
    streams = core.streams(0, num_envs, on_device)
    streams.set_state(saved["streams"])
    ends = leaves.pop("ends")
    fields: dict[str, Any] = {"scattered": {}}  # empty where no link has a memory
    for name, leaf in leaves.items():
        if isinstance(leaf, np.ndarray) and name not in _ON_HOST:
            leaf = arrays.constant(leaf, None, core.xp, core.device)
        field, _, key = name.partition(".")
        if key:
            fields.setdefault(field, {})[key] = leaf
        else:
            fields[field] = leaf
    fields.setdefault("estimate", None)  # as where CSI has no errors; State has defaults for all else that may lack
    return State.from_fields(fields), streams, ends


def _leaves(state: State) -> Iterator[tuple[str, Any]]:
    """The arrays of a state, under dotted names."""
    for field, value in state._asdict().items():
        by_name = value._asdict() if hasattr(value, "_asdict") else value
        if isinstance(by_name, dict):
            yield from ((f"{field}.{key}", leaf) for key, leaf in by_name.items())
        elif value is not None:
            yield field, value


def _on_host(leaf: Any) -> Any:
    """An array or a tensor as numpy's, anything else as it is."""
    array = arrays.on_host_or_none(leaf)
    return leaf if array is None else array


def _called(name: str, index: tuple[int, ...] = ()) -> str:
    return f"state[{name!r}]" + (str([int(i) for i in index]) if index else "")


# --- names, shapes, types -------------------------------------------------------------------------------------------


def _checked(core: Core, saved: Mapping[str, Any], num_envs: int) -> dict[str, Any]:
    """Copies of the entries on the host, with the names, shapes and types that they must have."""
    s = core.scenario
    along_trace = np.zeros((s.horizon + 1, s.num_users, 2)) if s.mobility == "trace" else None
    one = core.reset(core.streams(0, 1), along_trace)  # what an episode has
    like = {"ends": np.zeros(1, np.int64)} | {name: _on_host(leaf) for name, leaf in _leaves(one)}
    missing, unknown = sorted({*like, *_PLAIN} - set(saved)), sorted(map(str, set(saved) - {*like, *_PLAIN}))
    if missing or unknown:
        raise ValueError(f"state lacks {missing} and has unknown {unknown}: must have {sorted([*like, *_PLAIN])}")
    foreign = _foreign(core)
    leaves = {}
    for name, example in like.items():
        leaf = _on_host(saved[name])
        if name.startswith(foreign) and name != "motion.position":
            leaves[name] = copy.deepcopy(leaf)
            continue
        shape: tuple[Any, ...] = (num_envs, *example.shape[1:])
        if name == "motion.trace":
            shape = (num_envs, f">={s.horizon + 1}", *example.shape[2:])
        found = leaf if isinstance(leaf, np.ndarray) else None
        if found is None or not _fits(found.shape, shape) or found.dtype != example.dtype:
            shown = type(leaf).__name__ if found is None else f"{found.dtype} array of shape {found.shape}"
            raise checks.refusal(_called(name), shown, f"an array of {example.dtype}, shape {shape}")
        leaves[name] = np.array(found, order="C")
    return leaves


def _foreign(core: Core) -> tuple[str, ...]:
    """How the names of entries begin that somebody else's mobility or channel model made: theirs to know."""
    s = core.scenario
    parts = (("motion.", s.mobility), ("scattered.", s.channel_model))
    return tuple(begin for begin, part in parts if not isinstance(part, str))


def _fits(shape: tuple[int, ...], allowed: tuple[Any, ...]) -> bool:
    """Whether a shape is the one that is allowed, in which ``">=n"`` is any size from n on."""
    if len(shape) != len(allowed):
        return False
    pairs = zip(shape, allowed, strict=True)
    return all(n >= int(wanted[2:]) if isinstance(wanted, str) else n == wanted for n, wanted in pairs)


# --- values ---------------------------------------------------------------------------------------------------------


def _check_values(core: Core, leaves: dict[str, Any], may_be_over: bool) -> None:
    s = core.scenario
    sides = np.array(s.area_m)
    low, high = np.array(s.bounds_m[:2]), np.array(s.bounds_m[2:])
    area = f"[{low[0]:g}, {high[0]:g}] x [{low[1]:g}, {high[1]:g}] m"
    ranges = {
        "slot": (0, s.horizon),
        "ends": (1, s.horizon),
        "cell": (0, s.num_bs - 1),
        "owner": (-1, s.num_bs - 1),
        "switching.holder": (-1, s.num_bs - 1),
        "switching.idle": (0, s.switching_slots),
        "bids": (-1.0, 1.0),
        "motion.travel": (0.0, 1.5 * s.slot_s * s.speed_mps * SLACK),
        **_ranges_of_links(core),
    }
    if core.recording is not None:
        ranges["motion.episode"] = 0, core.recording.episodes - 1
    for name, leaf in leaves.items():
        if not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in "fciu":
            continue
        _refuse_where(~np.isfinite(leaf), name, leaf, "finite")
        if name.startswith(_foreign(core)) and name != "motion.position":
            continue
        if name in ("motion.point", "motion.target"):  # of a member, from the centre of the group
            slack = (SLACK - 1.0) * sides
            outside = (leaf < np.minimum(low, -sides) - slack) | (leaf > np.maximum(high, sides) + slack)
            _refuse_where(outside, name, leaf, f"a point of {area}, or an offset within its sides")
        elif name in ("motion.velocity", "motion.drift"):
            most = s.speed_mps * (SIGMAS if name == "motion.velocity" else SLACK)
            _refuse_where(np.abs(leaf) > most, name, leaf, f"within +-{most:g} m/s")
        elif name == "moved":
            _refuse_where(np.abs(leaf) > sides, name, leaf, f"within +-{sides[0]:g} and +-{sides[1]:g} m")
        elif name in ("motion.position", "motion.trace"):
            slack = 1e-9 * sides  # rounding of a walk along the border
            _refuse_where((leaf < low - slack) | (leaf > high + slack), name, leaf, f"inside {area}")
        elif name in ranges:
            least, most = ranges[name]
            size = np.abs(leaf) if leaf.dtype.kind == "c" else leaf
            of = "of an absolute value " if leaf.dtype.kind == "c" else ""
            _refuse_where((size < least) | (size > most), name, leaf, f"{of}in [{least:g}, {most:g}]")
    for channel, there in zip(Channels._fields, existing(s).values(), strict=True):
        for name in (f"channels.{channel}", f"estimate.{channel}"):
            if name in leaves and not there.all():
                absent = (leaves[name] != 0) & ~there
                _refuse_where(absent, name, leaves[name], "0: there is no such antenna or element")
    own_user = association.in_cell(leaves["cell"], s.num_bs)
    _refuse_where(leaves["own_user"] != own_user, "own_user", leaves["own_user"], "1 where the BS is the user's cell")
    if s.switching_slots:
        _check_owners(leaves)
    slot, ends = leaves["slot"], leaves["ends"]
    _refuse_where(slot > ends if may_be_over else slot >= ends, "slot", slot, "before the end of the row's episode")
    if "motion.slot" in leaves and (s.mobility == "trace" or s.channels is not None):
        _refuse_where(leaves["motion.slot"] != slot, "motion.slot", leaves["motion.slot"], "as state['slot']")


def _check_owners(leaves: dict[str, Any]) -> None:
    """Who owns an IRS holds it, and nobody owns an idle one."""
    owner, holder, idle = (leaves[name] for name in ("owner", "switching.holder", "switching.idle"))
    nobody = owner == association.IDLE
    _refuse_where(~nobody & (owner != holder), "owner", owner, "-1 or as state['switching.holder']")
    _refuse_where(~nobody & (idle > 0), "owner", owner, "-1 where state['switching.idle'] is above 0")


def _ranges_of_links(core: Core) -> dict[str, tuple[float, float]]:
    """Amplitude gains, fading of unit power, and channels: no link is stronger than at the shortest distance."""
    s = core.scenario
    ranges = {"scattered.shadowing": (-SHADOWING_SIGMAS, SHADOWING_SIGMAS)}
    greatest = core.model.greatest_amplitudes(SHADOWING_SIGMAS) or {}  # of somebody else's model nobody knows
    for (link, most), channel in zip(greatest.items(), Channels._fields, strict=bool(greatest)):
        ranges[f"gains.{link}"] = (0.0, most * SLACK)
        ranges[f"scattered.{link}"] = (0.0, SIGMAS)
        ranges[f"channels.{channel}"] = (0.0, SIGMAS * most)
        ranges[f"estimate.{channel}"] = (0.0, SIGMAS * most * (1.0 + math.sqrt(s.csi_error_variance)))
    return ranges


def _refuse_where(bad: np.ndarray, name: str, leaf: np.ndarray, allowed: str) -> None:
    """Refuse a leaf that has a bad entry, naming the first."""
    if bad.any():
        at = tuple(np.argwhere(bad)[0])
        raise checks.refusal(_called(name, at), leaf[at].item(), allowed)
