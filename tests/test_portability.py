"""What only some operating systems do, or do otherwise: looked for in every file of the project."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("irs_marl_env", "examples", "experiments", "benchmarks", "notebooks", "tests")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
OTHERS = {"archive", "os", "Image", "image", "tarfile", "_window"}  # whose open() is not that of text files
# names that are missing on some systems, and the files that ask before they use them or are skipped there
POSIX = {
    r"os\.(fork|setpgid|setsid|killpg|getuid|sched_\w+)\b": {"test_workers.py", "mutation.py"},
    r"^\s*(import|from) (fcntl|resource|pwd|grp|termios|select)\b": {"test_training_memory.py"},
    r"signal\.SIG(KILL|HUP|USR1|ALRM|PIPE)\b": {"test_training_stop.py", "mutation.py"},
    r"pthread_sigmask\(": {"workers.py"},
    r"os\.getloadavg\(": {"timing.py"},
    r"[\"']python3[\"' ]": {
        "test_shown_commands.py",
        "tutorial_page.py",
        "make.py",
    },  # text of commands; the name of a kernel
    r"[\"']/(tmp|dev/null)\b": set(),
    r"get_context\([\"'](fork|forkserver)": set(),
}


def reads_or_writes_text(call):
    """Whether a call opens a file as text."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in ("read_text", "write_text"):
        return isinstance(function, ast.Attribute)  # of a path; a function of this name is somebody's own
    if name != "open":
        return False
    if isinstance(function, ast.Attribute):
        owner = function.value
        if (getattr(owner, "id", None) or getattr(owner, "attr", "")) in OTHERS:
            return False
    modes = [x.value for x in (*call.args, *(k.value for k in call.keywords if k.arg == "mode"))
             if isinstance(x, ast.Constant) and isinstance(x.value, str)]  # fmt: skip
    return not any("b" in mode and len(mode) < 4 for mode in modes)


def calls_without_encoding(source):
    """Lines of calls that leave the encoding to the system, which is cp1252 on many."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and reads_or_writes_text(node)]
    return [node.lineno for node in calls if "encoding" not in {keyword.arg for keyword in node.keywords}]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_has_an_encoding(path):
    assert calls_without_encoding(path.read_text(encoding="utf-8")) == []


def test_a_missing_encoding_is_found():
    source = "p.read_text()\nopen('x')\nopen('x', 'rb')\nopen('x', mode='w')\nos.open('x', 1)"
    assert calls_without_encoding(source) == [1, 2, 4]


@pytest.mark.parametrize("pattern", POSIX)
def test_what_is_missing_elsewhere_is_asked_for_first(pattern):
    files = [path for path in FILES if path.name != Path(__file__).name]
    found = {path.name for path in files if re.search(pattern, path.read_text(encoding="utf-8"), re.M)}
    assert found == POSIX[pattern]


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_console_that_lacks_letters_ends_nothing(encoding, tmp_path):
    """A scenario may have a name, and a message a letter, that the console cannot show."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "irs_marl_env", "evaluate", "--policy", "random", "--scenario", "λ-粒子.json"]
    done = subprocess.run(command, capture_output=True, env=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr
