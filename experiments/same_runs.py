"""Whether two folders hold the same trainings: curves, policies and checkpoints, bit for bit.

    python -m experiments.same_runs FOLDER OTHER

Each folder is one of examples/sweep.py. What a clock measured may differ, and where a run stands. Needs ``train``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from irs_marl_env.training.files import read_json, read_tensors
from irs_marl_env.training.folder import CHECKPOINT, POLICY, RESULT

CLOCKS = ("seconds", "cpu_seconds")


def differences(one: Path, other: Path) -> list[str]:
    """What differs between two folders of runs; empty if nothing does.

    Raises:
        ValueError: there are no runs.
    """
    names = [{path.parent.name for path in folder.glob(f"*/{RESULT}")} for folder in (one, other)]
    if not names[0]:
        raise ValueError(f"{one}: no finished runs there")
    found = [f"{name}: in one of the folders alone" for name in sorted(names[0] ^ names[1])]
    for name in sorted(names[0] & names[1]):
        mine, its = (read_json(folder / name / RESULT) for folder in (one, other))
        found += [f"{name}: {part} of {RESULT}" for part in ("curve", "final") if mine[part] != its[part]]
        for file in (POLICY, CHECKPOINT):
            found += [f"{name}: {part} of {file}" for part in _unlike(one / name / file, other / name / file)]
    return found


def _unlike(one: Path, other: Path) -> list[str]:
    """The tensors and other entries in which two files differ."""
    (mine, plain), (its, other_plain) = read_tensors(one), read_tensors(other)
    found = [f"tensor {name}" for name in sorted(mine.keys() ^ its.keys())]
    found += [f"tensor {name}" for name in sorted(mine.keys() & its.keys()) if not _same(mine[name], its[name])]
    rest, other_rest = _without_clocks(plain), _without_clocks(other_plain)
    return found + [key for key in sorted(rest.keys() | other_rest.keys()) if rest.get(key) != other_rest.get(key)]


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a, b)


def _without_clocks(plain: dict[str, Any]) -> dict[str, Any]:
    progress = {name: value for name, value in plain.get("progress", {}).items() if name not in CLOCKS}
    return {**plain, "args": {**plain["args"], "out": None}, "progress": progress}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    args = parser.parse_args()
    found = differences(args.one, args.other)
    if found:
        sys.exit("\n".join(["these differ:", *found]))
    count = len(list(args.one.glob(f"*/{RESULT}")))
    print(f"{count} runs: curves, policies and checkpoints are identical")


if __name__ == "__main__":
    main()
