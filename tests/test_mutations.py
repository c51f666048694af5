"""The list of mutations is about the code as it is, and the command that tries them tells kills from survivors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import mutation
import pytest

ROOT = mutation.ROOT
MUTATIONS = mutation.read()


def test_every_line_stands_where_the_list_says_and_every_test_exists() -> None:
    for m in MUTATIONS:
        changed = m.apply((ROOT / m.path).read_text(encoding="utf-8"))
        compile(changed, m.path, "exec")
        for test in m.tests:
            file, _, name = test.partition("::")
            assert (ROOT / file).exists(), test
            assert not name or re.search(rf"^def {name}\b", (ROOT / file).read_text(encoding="utf-8"), re.M), test
    assert len(set(MUTATIONS)) == len(MUTATIONS)


def test_all_parts_are_mutated() -> None:
    mutated = {m.path for m in MUTATIONS if not m.equivalent}
    for part in ("physics", "solvers", "spaces", "engine", "engine/kernels", "policies", "training"):
        assert any(str(Path(path).parent) == f"irs_marl_env/{part}" for path in mutated), part
    for module in ("streams", "philox", "rewards", "evaluation", "vector_env", "parallel_env"):
        assert f"irs_marl_env/{module}.py" in mutated
    assert sum(not m.equivalent for m in MUTATIONS) >= 70


def test_a_line_that_is_gone_or_stands_twice_is_an_error() -> None:
    m = mutation.Mutation("a.py", ("tests",), "x = 1", "x = 2")
    assert m.apply("if y:\n    x = 1\nx = 10\n") == "if y:\n    x = 2\nx = 10\n"
    for text, count in (("x = 3\n", 0), ("x = 1\n  x = 1\n", 2)):
        with pytest.raises(ValueError, match=f"has {count} lines 'x = 1': must have exactly one"):
            m.apply(text)
    with pytest.raises(ValueError, match="changes nothing"):
        m._replace(mutant="x = 1").apply("x = 1\n")


@pytest.mark.parametrize(
    "text", ["+ x", "@ a.py: t\n- x\n- y", "@ a.py: t\n- x", "- x\n+ y", "~ why", "@ a.py: t\n- x\n~ why", "words"]
)
def test_a_list_that_cannot_be_read_is_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"could stand here|replaced by nothing"):
        mutation.read(path)


def test_kills_and_survivors_are_told_apart(tmp_path: Path) -> None:
    """On a project of two lines: one is tested, one is not, and one mutation cannot even be imported."""
    code = "def double(x):\n    return 2 * x\ndef half(x):\n    return x / 2\n"
    (tmp_path / "two.py").write_text(code, encoding="utf-8")
    test = "from two import double\ndef test_double():\n    assert double(3) == 6\n"
    (tmp_path / "test_two.py").write_text(test, encoding="utf-8")
    script = (
        "import sys, pathlib, mutation\n"
        "mutation.OPTIONS, mutation.PRELOADED = ('-x', '-q', '-p', 'no:cacheprovider'), ()\n"
        "changes = ('return 2 * x', 'return 3 * x'), ('return x / 2', 'return 0'), ('def half(x):', 'def')\n"
        "for line, mutant in changes:\n"
        "    m = mutation.Mutation('two.py', ('test_two.py',), line, mutant)\n"
        "    print(mutation.tried(pathlib.Path(sys.argv[1]), m))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT / "tests", capture_output=True, text=True, check=True)
    killed, survived, broken = done.stdout.splitlines()
    assert (killed, survived) == ("killed", "survived")
    assert broken.startswith("no result: pytest ended with")
    assert (tmp_path / "two.py").read_text(encoding="utf-8") == code


def test_the_command_lists_and_refuses() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "tests.mutation", "--list"], cwd=ROOT, capture_output=True, text=True
    )
    assert listed.stdout.count("    - ") == len(MUTATIONS)
    refused = subprocess.run(
        [sys.executable, "-m", "tests.mutation", "--only", "0"], cwd=ROOT, capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert f"--only 0: must be in 1 ... {len(MUTATIONS)}" in refused.stderr
