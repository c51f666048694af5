"""Arrays of records as small integers in one block of bytes, and the JSON that says what is what.

A number is ``origin + step * integer``; its error is half a step at most, and the steps stand in the JSON. Where
neighbours in time are alike, differences from slot to slot are stored, which pack better.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from irs_marl_env.figure_style import BS_COLOURS, TRAIL
from irs_marl_env.physics import deployment
from irs_marl_env.replay.record import Record, check_same_draws
from irs_marl_env.scenario import Scenario

RATE_STEP = 0.001  # bit/s/Hz, up to 65 bit/s/Hz; beyond that a 65535th of the greatest
SHARE_STEP = 0.01  # shares beyond +-1.27 count as that
BID_STEP = 1 / 32767  # bids of some rules differ little, and the greatest wins
_NUMBER = 8  # bytes to which arrays are aligned


class Packer:
    """Collects arrays in one block."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, integers: np.ndarray, step: float = 1.0, origin: float = 0.0, delta: bool = False) -> dict[str, Any]:
        """Put integers (or float32) into the block.

        Args:
            integers: ``(S, ...)``.
            step, origin: what makes numbers of them again.
            delta: keep differences along the first axis, modulo the size of the type.

        Returns:
            The JSON that :func:`unpacked` and the player read it by.
        """
        stored = integers
        if delta and len(integers) > 1:
            stored = np.concatenate([integers[:1], integers[1:] - integers[:-1]]).astype(integers.dtype)
        data = np.ascontiguousarray(stored.astype(stored.dtype.newbyteorder("<"))).tobytes()
        entry = {
            "type": integers.dtype.kind + str(integers.dtype.itemsize),
            "shape": list(integers.shape),
            "at": self._size,
            "step": step,
            "origin": origin,
            "delta": bool(delta),
        }
        data += bytes(-len(data) % _NUMBER)
        self._parts.append(data)
        self._size += len(data)
        return entry

    def block(self) -> bytes:
        """All of it, packed; the same arrays make the same bytes."""
        return gzip.compress(b"".join(self._parts), 9, mtime=0)


def unpacked(block: bytes, entry: dict[str, Any]) -> np.ndarray:
    """The numbers of an entry, as the player has them: float64."""
    data, count = gzip.decompress(block), math.prod(entry["shape"])
    kind = np.dtype("<" + entry["type"])
    integers = np.frombuffer(data, kind, count, entry["at"]).reshape(entry["shape"])
    if entry["delta"]:
        integers = np.add.accumulate(integers, axis=0, dtype=kind)
    return entry["origin"] + entry["step"] * integers.astype(np.float64)


def packed(records: Sequence[Record]) -> tuple[dict[str, Any], bytes]:
    """JSON and block of one record, or of two that are of one episode.

    Raises:
        ValueError: they are not of one episode, or of different physics.
    """
    check_same_draws(records)
    first, packer = records[0], Packer()
    s = first.scenario
    box = _box(records)
    content: dict[str, Any] = {
        "title": first.title,
        "seed": first.seed if first.seed < 2**53 else str(first.seed),
        "slots": first.slots,
        "slotSeconds": s.slot_s,
        "numBs": s.num_bs,
        "numUsers": s.num_users,
        "facts": facts(first),
        "colours": list(BS_COLOURS),
        "trail": TRAIL,
        "map": has_map(s),
        "recorded": s.channels is not None,
        "box": box,
        "bs": deployment.bs_positions(s).round(3).tolist(),
        "userHeight": s.user_height_m,
        "shaded": s.cell_rule == "nearest" and s.channels is None,
        "delayed": s.association_delay == 1,
        "allReflect": s.reflection == "all",
        "position": _positions(packer, first.position, box),
        "cell": packer.add(first.cell.astype(np.uint8 if s.num_bs <= 256 else np.uint16)),
        "panels": [_panel(packer, each) for each in records],
    }
    return content, packer.block()


def _panel(packer: Packer, record: Record) -> dict[str, Any]:
    """What belongs to one policy."""
    s = record.scenario
    axes = deployment.irs_axes(s)
    bs = np.int8 if s.num_bs < 128 else np.int16
    most = max(float(record.rates.max()), 0.0)
    step = RATE_STEP if most <= RATE_STEP * 65535 else most / 65535
    shares = np.clip(np.nan_to_num(record.shares) / SHARE_STEP, -127, 127)
    return {
        "policy": record.policy,
        "irs": deployment.irs_positions(s).round(3).tolist(),
        "facing": None if axes is None else axes[:, 2, :2].round(4).tolist(),
        "rates": packer.add(np.rint(record.rates / step).astype(np.uint16), step),
        "sumRate": packer.add(record.sum_rate.astype(np.float32)),
        "power": packer.add(record.power_w.astype(np.float32)),
        "bids": packer.add(np.rint(record.bids / BID_STEP).astype(np.int16), BID_STEP),
        "owner": packer.add(record.owner.astype(bs)),
        "holder": packer.add(record.holder.astype(bs)),
        "shares": packer.add(np.rint(shares).astype(np.int8), SHARE_STEP),
    }


def _positions(packer: Packer, position: np.ndarray, box: list[float]) -> dict[str, Any]:
    """Positions from the map's corner on, on a grid of 65536 points along its longer side."""
    step = max(box[2] - box[0], box[3] - box[1]) / 65535
    return packer.add(np.rint((position - np.array(box[:2])) / step).astype(np.uint16), step, delta=True)


def has_map(scenario: Scenario) -> bool:
    """Whether anybody knows where users are: recorded channels need not say it."""
    recording = scenario.recording()
    return recording is None or "positions" in recording.arrays


def _box(records: Sequence[Record]) -> list[float]:
    """``x_min, y_min, x_max, y_max`` [m] of the area, the sites and the users."""
    s = records[0].scenario
    points = [np.array(s.bounds_m).reshape(2, 2), deployment.bs_positions(s)[:, :2]]
    points += [deployment.irs_positions(each.scenario)[:, :2] for each in records]
    points += [records[0].position.reshape(-1, 2)]
    every = np.concatenate(points)
    return [*every.min(0).tolist(), *every.max(0).tolist()]


def facts(record: Record) -> list[str]:
    """The scenario in a few words."""
    s = record.scenario
    words = [_count(s.num_bs, "BS"), _count(s.num_users, "user"), _count(s.num_irs, "IRS")]
    words.append(f"slots of {s.slot_s:g} s")
    rule = s.contention if isinstance(s.contention, str) else getattr(s.contention, "__name__", "of one's own")
    words.append(f"contention {rule}")
    if s.association_delay:
        words.append("bids decide the owners of the next slot")
    if s.switching_slots:
        words.append(f"an IRS that changes hands is idle for {_count(s.switching_slots, 'slot')}")
    if s.reflection != "owned":
        words.append(f"reflection {s.reflection}")
    return words


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
