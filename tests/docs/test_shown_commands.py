"""Every command that README, docs and the scripts themselves show: what it names exists, and it runs where it is cheap.

Commands of the command line run with few episodes. Those of scripts are long; their options are looked up in the
script's ``--help``, and the scripts run with small settings in their own tests (test_examples_*, test_benchmarks). The
test and lint commands are what ``.ci/run`` runs.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from irs_marl_env import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCRIPTS = [path for folder in ("benchmarks", "examples") for path in sorted((ROOT / folder).rglob("*.py"))]
PACKAGE = ["python", "-m", "irs_marl_env"]
# run by .ci/run, or nothing of ours
ELSEWHERE = (
    "python -m pytest",
    "ruff",
    "mypy",
    "python3 -m venv",
    ". .venv/bin/activate",
    "tensorboard",
    "git",
    "cd",
    "cp",
)


def lines() -> list[tuple[str, str]]:
    """Place and text of every shell line."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```(?:bash|sh|console)\n(.*?)^```$", page.read_text(), re.M | re.S):
            joined = block.replace("\\\n", " ")
            found += [(page.name, line.removeprefix("$ ")) for line in joined.splitlines() if line.strip()]
    for script in SCRIPTS:
        doc = ast.get_docstring(ast.parse(script.read_text()), clean=False) or ""
        found += [(script.name, line.strip()) for line in doc.splitlines() if re.match(r"\s+python \S", line)]
    return found


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
    assert {"README.md", "CONTRIBUTING.md", "performance.md", "step.py"} <= {place for place, _ in commands()}


def test_every_command_is_checked_somewhere() -> None:
    known = (" ".join(PACKAGE), "pip install", *ELSEWHERE)
    for place, words in commands():
        text = " ".join(words)
        is_script = words[0] == "python" and words[1].endswith(".py")
        assert is_script or text == ".ci/run" or text.startswith(known), f"{place}: nothing checks {text!r}"


@pytest.mark.parametrize("words", chosen(PACKAGE))
def test_command_line_runs(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands, but with few episodes; what it reads is there, what it writes goes elsewhere."""
    arguments = words[len(PACKAGE) :]
    if arguments[0] == "evaluate":
        arguments += ["--episodes", "2", "--slots", "1", "--every", "1", "--processes", "1"]
    elif arguments[0] == "render":
        pytest.importorskip("matplotlib")
        pytest.importorskip("PIL")
        arguments += ["--slots", "2"]
    for i, word in enumerate(arguments):
        if word == "--out":
            arguments[i + 1] = str(tmp_path / Path(arguments[i + 1]).name)
    monkeypatch.chdir(ROOT)
    assert cli.main(arguments) == 0, capsys.readouterr().err
    assert capsys.readouterr().out


@cache
def help_of(script: str) -> str:
    """What a script says to ``--help``, or why it cannot."""
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, cwd=ROOT)
    missing = re.search(r"No module named '(\w+)'|(\w+) is missing", done.stderr)
    if done.returncode and missing:
        pytest.skip(f"{script} needs {missing[1] or missing[2]}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("words", [p for p in chosen(["python"]) if p.values[0][1].endswith(".py")])
def test_script_and_its_options_exist(words: list[str]) -> None:
    script, options = words[1], [word.split("=")[0] for word in words[2:] if word.startswith("--")]
    source = (ROOT / script).read_text()
    if not options:
        compile(source, script, "exec")
        return
    assert "tyro.cli(" in source or "ArgumentParser(" in source, f"{script} takes no options"
    text = help_of(script)
    for option in options:
        assert re.search(rf"{re.escape(option)}\b(?![-\w])", text), f"{script} has no option {option}"


@pytest.mark.parametrize("words", chosen(["pip", "install"]))
def test_extras_exist(words: list[str]) -> None:
    project = (ROOT / "pyproject.toml").read_text()
    section = project.split("[project.optional-dependencies]")[1].split("\n[")[0]
    extras = set(re.findall(r"^(\w+) = \[", section, re.M))
    for word in words:
        for names in re.findall(r"^(?:\.|irs-marl-env)\[(.*)\]$", word):
            assert set(names.split(",")) <= extras, word
