"""Every recipe in examples/, run in an environment of its library: the table of scores in docs/libraries.md.

    python -m experiments.recipes --quick             # all for a few seconds each: do they run?
    python -m experiments.recipes                     # all as documented, about 15 minutes of one core
    python -m experiments.recipes sb3_td3 rllib_ppo   # some
    python -m experiments.recipes sb3_td3 --here      # in the environment that is active
    python -m experiments.recipes --write             # all, and their rows go into docs/libraries.md

The first run makes the environments (``experiments/libraries.py``). Without ``--quick`` a recipe is run by the command
that its file documents, in an empty folder with an empty home; what it leaves there is said beside the table.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from experiments.libraries import FOLDER, PAGE, ROOT, interpreter, surroundings, write_between

BEGIN, END = "<!-- recipes -->", "<!-- /recipes -->"
RULES = ("random", "structured-local-gain")


class Recipe(NamedTuple):
    """A file in examples/."""

    library: str  # whose environment it runs in
    package: str  # whose version the table shows
    short: str  # arguments of its main() for a quick run, or its options
    trained: tuple[str, ...]  # what its table calls what it trained
    options: str = ""  # of the documented command


RECIPES = {
    "sb3_ppo": Recipe("sb3", "stable-baselines3", "--total-timesteps 4096 --eval-episodes 2", ("trained",)),
    "sb3_ppo --supersuit": Recipe(
        "sb3", "stable-baselines3", "--total-timesteps 4096 --eval-episodes 2", ("trained",), "--supersuit"
    ),
    "sb3_td3": Recipe("sb3", "stable-baselines3", "17_600, 2", ("TD3",)),
    "torchrl_mappo": Recipe("torchrl", "torchrl", "2, 2", ("MAPPO",)),
    "torchrl_maddpg": Recipe("torchrl", "torchrl", "20, 2", ("MADDPG",)),
    "torchrl_qmix": Recipe("torchrl", "torchrl", "20, 2", ("QMIX",)),
    "benchmarl_run": Recipe("benchmarl", "benchmarl", "1024, 2", ("Mappo", "Iddpg")),
    "rllib_ppo": Recipe("rllib", "ray", "1, 2, 400", ("PPO",)),
    "agilerl_matd3": Recipe("agilerl", "agilerl", "510, 2", ("MATD3",)),
    "skrl_mappo": Recipe("skrl", "skrl", "800, 2", ("MAPPO",)),
}


class Run(NamedTuple):
    """What came of a recipe."""

    version: str
    scores: dict[str, float]  # by name in the recipe's table, bit/s/Hz
    core_s: float  # of the recipe's own process
    left: list[str]  # files that it left in its folder and home


def scores_in(printed: str) -> dict[str, float]:
    """Levels by name, from the table that a recipe prints.

    Example:
        >>> scores_in("policy  sum_rate\\nrandom   2.090 [2.0, 2.2]\\n  trained  2.9 +- 0.1")
        {'random': 2.09, 'trained': 2.9}
    """
    rows = re.findall(r"^ *(\S.*?) +(-?\d+\.\d+) (?:\[|\+-)", printed, re.MULTILINE)
    return {name: float(level) for name, level in rows}


def command(name: str, quick: bool) -> list[str]:
    """What follows the interpreter."""
    recipe, stem = RECIPES[name], name.split()[0]
    script = [str(ROOT / "examples" / f"{stem}.py"), *recipe.options.split()]
    if not quick:
        return script
    if recipe.short.startswith("--"):
        return [*script, *recipe.short.split()]
    return ["-c", f"from examples.{stem} import main; main({recipe.short})"]


def run(name: str, python: Path, quick: bool) -> Run:
    """Run a recipe.

    Raises:
        subprocess.CalledProcessError: it failed.
        ValueError: its table does not hold the rules and what was trained.
    """
    recipe = RECIPES[name]
    with tempfile.TemporaryDirectory(prefix="recipe-", ignore_cleanup_errors=True) as folder:
        around = {**surroundings(), "HOME": folder, "USERPROFILE": folder}
        asked = [str(python), "-c", f"import importlib.metadata as m; print(m.version({recipe.package!r}))"]
        version = subprocess.run(asked, env=around, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        before = sum(os.times()[2:4])
        done = subprocess.run(
            [str(python), *command(name, quick)], env=around, cwd=folder, stdout=subprocess.PIPE, text=True, check=True
        )
        core_s = sum(os.times()[2:4]) - before
        left = sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())
    scores = scores_in(done.stdout)
    if "local-gain rule" in scores:  # so sb3_ppo.py calls it
        scores["structured-local-gain"] = scores["local-gain rule"]
    missing = [label for label in (*RULES, *recipe.trained) if label not in scores]
    if missing:
        raise ValueError(f"{name} printed no score of {', '.join(missing)}:\n{done.stdout}")
    return Run(version, scores, core_s, left)


def row(name: str, done: Run) -> str:
    """A line of the table, in Markdown."""
    recipe, (stem, *options) = RECIPES[name], name.split()
    file = " ".join([f"{stem}.py", *options])
    trained = " / ".join(f"{done.scores[label]:.3f}" for label in recipe.trained)
    rules = " | ".join(f"{done.scores[label]:.3f}" for label in RULES)
    return f"| `{file}` | {recipe.package} {done.version} | {trained} | {rules} | {done.core_s:.0f} |"


HEAD = """\
| recipe | version | score | `random` | `structured-local-gain` | seconds of a core |
|---|---|---|---|---|---|"""


def merged(lines: dict[str, str]) -> str:
    """The table with new rows, by the first cell; rows that were not run anew stay as the page has them."""
    stood = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    rows = {line.split(" | ")[0]: line for line in stood.splitlines() if line.startswith("| `")}
    rows |= {line.split(" | ")[0]: line for line in lines.values()}
    return "\n".join([HEAD, *rows.values()])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(RECIPES)}; none: all")
    parser.add_argument("--quick", action="store_true", help="a few seconds of training each")
    parser.add_argument("--here", action="store_true", help="run in the active environment; install nothing")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the environments")
    parser.add_argument("--write", action="store_true", help=f"put the rows into {PAGE.name}")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in RECIPES]
    if unknown:
        parser.error(f"name={unknown[0]!r}: must be one of {', '.join(RECIPES)}")
    if args.write and args.quick:
        parser.error("--write: must not stand beside --quick, whose scores mean nothing")
    lines = {}
    print(HEAD, flush=True)
    for name in args.names or RECIPES:
        python = Path(sys.executable) if args.here else interpreter(RECIPES[name].library, args.folder)
        done = run(name, python, args.quick)
        lines[name] = row(name, done)
        print(lines[name], flush=True)
        if done.left:
            print(f"{name} left {', '.join(done.left[:5])}", file=sys.stderr, flush=True)
    if args.write:
        write_between(BEGIN, END, merged(lines))


if __name__ == "__main__":
    main()
