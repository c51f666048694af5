"""Which libraries know a time limit, and how fast they are: the table of docs/libraries.md.

    python -m experiments.probes                        # all, in environments under build/libraries, which are kept
    python -m experiments.probes torchrl benchmarl      # some
    python -m experiments.probes torchrl --here         # in the environment that is active
    python -m experiments.probes --write                # also puts the table into docs/libraries.md

Each probe (``experiments/probe_NAME.py``) runs in an environment of its library (``experiments/libraries.py``), which
the first run installs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from experiments.libraries import FOLDER, PACKAGES, PAGE, ROOT, interpreter, surroundings, write_between

BEGIN, END = "<!-- probes -->", "<!-- /probes -->"


def probe(name: str, python: Path) -> dict[str, Any]:
    """The line that a probe prints last."""
    command = [str(python), "-m", f"experiments.probe_{name}"]
    done = subprocess.run(command, env=surroundings(), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
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
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the environments")
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
        write_between(BEGIN, END, text)


if __name__ == "__main__":
    main()
