"""Every command that README, docs and the scripts themselves show: what it names exists, and it runs where it is cheap.

Commands of the command line run with few episodes. Scripts and experiments take long; their options are looked up in
what they say to ``--help``, and they run with small settings in tests of their own. The test and lint commands are what
``.ci/run`` runs.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from irs_marl_env import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = ("benchmarks", "docs", "examples", "experiments")
SCRIPTS = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
PACKAGE = ["python", "-m", "irs_marl_env"]
EXTRAS = {
    "matplotlib",
    "mpe2",
    "numba",
    "PIL",
    "psutil",
    "safetensors",
    "stable_baselines3",
    "supersuit",
    "torch",
    "tqdm",
    "tyro",
}
# run by .ci/run, or nothing of ours
ELSEWHERE = (
    "python -m pytest",
    "ruff",
    "mypy",
    "python3 -m venv",
    ". .venv/bin/activate",
    "tensorboard",
    "mkdocs serve",  # builds what test_site.py builds
    "git",
    "cd",
    "cp",
    "mkdir",
    "bash experiments/own_channels.sh",  # installs 0.7 GB
    "bash experiments/cluster_test.sh",  # starts a cluster of Ray
)


def lines() -> list[tuple[str, str]]:
    """Place and text of every shell line."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```(?:bash|sh|console)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S):
            joined = block.replace("\\\n", " ")
            shown = [line for line in joined.splitlines() if line.strip()]
            if page.parent.name == "tutorials":  # test_tutorials.py runs all the others
                shown = [line for line in shown if not line.startswith("python ")]
            found += [(page.name, line.removeprefix("$ ")) for line in shown]
        for code in re.findall(r"(?<!`)`(python [^`]*)`", page.read_text(encoding="utf-8")):
            if is_long(words := shlex.split(code)) and not words[-1].endswith("NAME"):
                found.append((page.name, shlex.join(words)))
    for script in SCRIPTS:
        doc = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8")), clean=False) or ""
        found += [(script.name, line.strip()) for line in doc.splitlines() if re.match(r"\s+python \S", line)]
    return found


def is_long(words: list[str]) -> bool:
    """Whether the command is one of a script or of an experiment, which is not run here."""
    return words[0] == "python" and (words[1].endswith(".py") or words[1:3] == ["-m", target(words)])


def target(words: list[str]) -> str:
    """The script of a command, or its module of experiments/, examples/ or tests/; nothing for another module."""
    if words[1] != "-m":
        return words[1]
    return words[2] if words[2].startswith(("experiments.", "examples.", "tests.")) else ""


def commands() -> list[tuple[str, list[str]]]:
    """Place and words of every command; ``a && b`` are two, ``NAME=value`` in front is dropped."""
    found = []
    for place, line in lines():
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words = words[1:]
            if words:
                found.append((place, words))
    return found


def chosen(*prefixes: list[str]) -> list[object]:
    """Parameters: commands that begin like one of the prefixes, once each."""
    seen: dict[str, list[str]] = {}
    for _, words in commands():
        if any(words[: len(prefix)] == prefix for prefix in prefixes):
            seen.setdefault(shlex.join(words), words)
    return [pytest.param(words, id=text) for text, words in seen.items()]


def test_commands_are_found() -> None:
    assert len(commands()) >= 12
    places = {"README.md", "CONTRIBUTING.md", "performance.md", "results.md", "step.py", "baselines.py", "street.py"}
    assert places <= {place for place, _ in commands()}


def test_every_command_is_checked_somewhere() -> None:
    known = (" ".join(PACKAGE), "pip install", *ELSEWHERE)
    for place, words in commands():
        text = " ".join(words)
        assert is_long(words) or text == ".ci/run" or text.startswith(known), f"{place}: nothing checks {text!r}"


@pytest.mark.parametrize("words", chosen(PACKAGE))
def test_command_line_runs(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands, but with few episodes; what it reads is there, what it writes goes elsewhere."""
    arguments = words[len(PACKAGE) :]
    if arguments[0] in ("evaluate", "sweep"):
        arguments += ["--episodes", "2", "--slots", "1", "--every", "1", "--processes", "1"]
    elif arguments[0] == "compare" and not (ROOT / arguments[1]).exists():
        writer = writer_of(arguments[1])
        test_command_line_runs(writer, tmp_path, monkeypatch, capsys)
        arguments[1] = str(tmp_path / arguments[1])
    elif arguments[0] == "render":
        pytest.importorskip("matplotlib")
        pytest.importorskip("PIL")
        arguments += ["--slots", "2"]
    elif arguments[0] == "replay":
        arguments += ["--slots", "2"]
    for i, word in enumerate(arguments):
        if word in ("--out", "--json"):
            if arguments[i + 1].endswith((".png", ".svg", ".pdf")):
                pytest.importorskip("matplotlib")
            arguments[i + 1] = str(tmp_path / Path(arguments[i + 1]).name)
        elif "measured.npz" in word:
            arguments[i] = word.replace("measured.npz", measured(tmp_path))
    monkeypatch.chdir(ROOT)
    assert cli.main(arguments) == 0, capsys.readouterr().err
    assert capsys.readouterr().out


def writer_of(file: str) -> list[str]:
    """The command that is shown to write a file."""
    options = ("--out", "--json")
    written = [
        words
        for _, words in commands()
        if any(words[i : i + 2] == [o, file] for o in options for i in range(len(words)))
    ]
    assert written, f"no command writes {file}"
    return written[0]


def measured(folder: Path) -> str:
    """The file of docs/own-channels.md, with channels for three episodes of 20 slots of mdlbi-small-v0."""
    shapes = {"H": (3, 21, 2, 4, 4), "G": (1, 2, 2, 16, 4), "h": (3, 21, 2, 4, 16)}
    np.savez(folder / "measured.npz", **{name: np.full(shape, 1e-5 + 0j) for name, shape in shapes.items()})
    return str(folder / "measured.npz")


@cache
def help_of(name: str) -> str:
    """What a script or module says to ``--help``, or why it cannot."""
    start = [name] if name.endswith(".py") else ["-m", name]
    done = subprocess.run([sys.executable, *start, "--help"], capture_output=True, text=True, cwd=ROOT)
    missing = re.search(r"No module named '(\w+)'|(\w+) is missing", done.stderr)
    if done.returncode and missing and (package := missing[1] or missing[2]) in EXTRAS:
        pytest.skip(f"{name} needs {package}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("words", [p for p in chosen(["python"]) if is_long(p.values[0])])
def test_script_and_its_options_exist(words: list[str]) -> None:
    own = words[: words.index("--")] if "--" in words else words  # what follows is for the script that it starts
    name, options = target(words), [word.split("=")[0] for word in own if word.startswith("--")]
    path = ROOT / (name if name.endswith(".py") else f"{name.replace('.', '/')}.py")
    source = path.read_text(encoding="utf-8")
    if not options:
        compile(source, str(path), "exec")
        assert re.search(r"^print\(|__main__", source, re.M), f"{name} does nothing when it is run"
        return
    text = help_of(name)
    for option in options:
        assert re.search(rf"{re.escape(option)}\b(?![-\w])", text), f"{name} has no option {option}"


@pytest.mark.parametrize("words", chosen(["python", "-m", "pytest"]))
def test_tests_exist(words: list[str]) -> None:
    for word in words:
        assert not word.endswith(".py") or (ROOT / word).is_file(), word


@pytest.mark.parametrize("words", chosen(["pip", "install"]))
def test_extras_exist(words: list[str]) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.split("[project.optional-dependencies]")[1].split("\n[")[0]
    extras = set(re.findall(r"^(\w+) = \[", section, re.M))
    for word in words:
        for names in re.findall(r"^(?:\.|irs-marl-env)\[(.*)\]$", word):
            assert set(names.split(",")) <= extras, word
