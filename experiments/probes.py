"""Which libraries know a time limit, and how fast they are: the table of docs/libraries.md.

    python experiments/probes.py                        # all, in environments under build/probes, which are kept
    python experiments/probes.py torchrl benchmarl      # some
    python experiments/probes.py torchrl --here         # in the environment that is active
    python experiments/probes.py --write                # also puts the table into docs/libraries.md

The libraries pin versions that exclude each other, so each probe (``experiments/probe_NAME.py``) runs in a virtual
environment of its own. The first run installs them, which takes minutes and some gigabytes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "libraries.md"
BEGIN, END = "<!-- probes -->", "<!-- /probes -->"
PACKAGES = {  # what a probe needs beside this package
    "torchrl": ["torchrl>=0.14"],
    "benchmarl": ["benchmarl==1.5.2"],
    "sb3": ["stable-baselines3>=2.9"],
    "rllib": ["ray[rllib]==2.60.0"],
    "agilerl": ["agilerl==2.58.0", "peft", "pettingzoo<1.27", "tensordict==0.13.0"],
    "skrl": ["skrl==2.1.1"],
}


def interpreter(name: str, folder: Path) -> Path:
    """Python of the environment of a library, made if it is missing."""
    python = folder / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / name / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder / name)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "-e", f"{ROOT}[fast]", *PACKAGES[name]]
        subprocess.run(install, check=True)
        (folder / name / "ready").touch()
    return python


def probe(name: str, python: Path) -> dict[str, Any]:
    """The line that a probe prints last."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [str(python), "-m", f"experiments.probe_{name}"]
    environment = {**os.environ, **threads, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(rows: list[dict[str, Any]]) -> str:
    """In Markdown."""
    names = ("library", "version", "value (10 is right)", "steps/s of a core, 16 rows", "share of our own batch")
    head = f"| {' | '.join(names)} |\n{'|---' * len(names)}|\n"
    lines = [
        f"| {row['library']} | {row['version']} | {row['value']:.2f} | {row['steps_per_s']:,} "
        f"| {row['steps_per_s'] / row['own_steps_per_s']:.2f} |\n"
        for row in rows
    ]
    return head + "".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(PACKAGES)}; none: all")
    parser.add_argument("--here", action="store_true", help="run in the active environment; install nothing")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "probes", help="of the environments")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in PACKAGES]
    if unknown:
        parser.error(f"name={unknown[0]!r}: must be one of {', '.join(PACKAGES)}")
    rows = []
    for name in args.names or PACKAGES:
        rows.append(probe(name, Path(sys.executable) if args.here else interpreter(name, args.folder)))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    text = table(rows)
    print(text)
    if args.write:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n{text.strip()}\n{END}{after}", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
