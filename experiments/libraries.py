"""An environment of its own for each library, made from nothing: what ``probes.py`` and ``recipes.py`` run in.

The libraries pin versions that exclude each other. Environments lie under ``build/libraries`` and are kept; making one
takes minutes and some gigabytes. Torch comes first, in one version, and every later installation is held to it:
otherwise a library's open range of versions may replace it, with all that the new one brings for GPUs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "libraries.md"
FOLDER = ROOT / "build" / "libraries"
TORCH = "torch==2.13.0"
PACKAGES = {  # of a library, with what its probe and its recipes need beside this package
    "torchrl": ["torchrl==0.14.1"],
    "benchmarl": ["benchmarl==1.5.2"],
    "sb3": ["stable-baselines3==2.9.2", "supersuit==3.11.0", "tyro"],
    "rllib": ["ray[rllib]==2.60.0"],
    "agilerl": ["agilerl==2.58.0", "peft", "pettingzoo<1.27", "tensordict==0.13.0"],
    "skrl": ["skrl==2.1.1"],
}


def interpreter(name: str, folder: Path = FOLDER) -> Path:
    """Python of the environment of a library, which is made if it is missing or was left half made.

    Raises:
        subprocess.CalledProcessError: it cannot be made.
    """
    home = folder / name
    python, ready = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python"), home / "ready.json"
    wanted = json.dumps([TORCH, *PACKAGES[name]])
    if not ready.is_file() or ready.read_text(encoding="utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        held = home / "held.txt"
        held.write_text(f"{TORCH}\n", encoding="utf-8")
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, TORCH], check=True)
        subprocess.run([*pip, "-c", str(held), "-e", f"{ROOT}[fast]", *PACKAGES[name]], check=True)
        subprocess.run([str(python), "-m", "pip", "check"], check=True, stdout=sys.stderr)
        ready.write_text(wanted, encoding="utf-8")
    return python


def surroundings() -> dict[str, str]:
    """Environment variables of a process for one core which finds this package's modules."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, **threads, "PYTHONPATH": path}


def write_between(begin: str, end: str, text: str) -> None:
    """Put a text into the page, between two marks that stand there once each."""
    before, rest = PAGE.read_text(encoding="utf-8").split(begin)
    after = rest.split(end)[1]
    PAGE.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", encoding="utf-8", newline="\n")
