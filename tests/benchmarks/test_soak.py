"""The soak runs, and sees what grows."""

from __future__ import annotations

import importlib
import mmap
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

for needed in ("tyro", "psutil"):
    pytest.importorskip(needed)
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("soak")


def test_soak_runs() -> None:
    counts = ("--steps", "20", "--batched-steps", "0", "--creations", "0", "--frames", "0", "--evaluations", "0")
    done = subprocess.run([sys.executable, str(BENCHMARKS / "soak.py"), *counts], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr  # so few steps may still be warming up
    assert "| single steps, numpy | 20 |" in done.stdout
    assert "batch" not in done.stdout


@pytest.mark.parametrize("name", ["creations", "frames"])
def test_what_is_done_can_be_done_again(name: str, soak: Any) -> None:
    if name == "frames":
        pytest.importorskip("matplotlib")
    operation = getattr(soak, name)()
    for i in (0, 1, 50):
        operation(i)


def test_what_grows_is_named(soak: Any, tmp_path: Path) -> None:
    kept: list[Any] = []

    def nothing() -> Any:
        return lambda i: None

    def memory() -> Any:
        def keep(i: int) -> None:
            kept.append(mmap.mmap(-1, 2**20))  # pages of its own: bytes might lie in memory that others have freed
            kept[-1].write(bytes(2**20))

        return keep

    def files() -> Any:
        return lambda i: kept.append((tmp_path / "file").open("w", encoding="utf-8"))

    assert soak.soaked(nothing, {}, 50).grown == []
    growing = soak.soaked(memory, {}, 50)
    assert growing.grown == ["memory"]
    assert 500 < growing.growth_per_1000 < 1300  # MiB
    assert soak.soaked(files, {}, 50).grown == ["files"]
    for file in kept[50:]:
        file.close()
    table = soak.report({"leak": growing})
    assert "| leak | 50 |" in table
    assert "grows: memory" in table
