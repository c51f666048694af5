"""What importing the package costs beyond numpy, gymnasium, pettingzoo and array-api-compat.

    python benchmarks/imports.py
    python benchmarks/imports.py --write            # also puts the table into docs/performance.md

Every repeat is a fresh process that imports those four first, then the package; a first one, not counted, fills the
file caches and compiles the bytecode.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from statistics import median

import tyro
from timing import PAGE, duration, machine, table, write_between

MODULES = ("numpy", "gymnasium", "pettingzoo", "array_api_compat", "irs_marl_env")
PROBE = """
import json, time
seen = []
for module in {modules!r}:
    wall, cpu = time.perf_counter(), time.process_time()
    __import__(module)
    seen.append((time.perf_counter() - wall, time.process_time() - cpu))
print(json.dumps(seen))
"""


@dataclass
class Args:
    """Settings of the benchmark."""

    repeats: int = 9
    """fresh processes"""
    write: bool = False
    """put the table into docs/performance.md"""


def probe() -> list[tuple[float, float]]:
    """Wall and CPU seconds of each import in one fresh process."""
    code = PROBE.format(modules=MODULES)
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return json.loads(printed)


def main(args: Args) -> None:
    """Print the table."""
    stamp = machine()
    probe()
    repeats = [probe() for _ in range(args.repeats)]
    rows = []
    for i, module in enumerate(MODULES):
        cells = []
        for clock in (0, 1):
            seconds = [repeat[i][clock] for repeat in repeats]
            cells.append(f"{duration(min(seconds))} / {duration(median(seconds))}")
        rows.append([module, *cells])
    text = table(["import of, after those above", "wall, least / median", "CPU, least / median"], rows) + "\n" + stamp
    print(text)
    if args.write:
        write_between(PAGE, "imports", text)


if __name__ == "__main__":
    main(tyro.cli(Args))
