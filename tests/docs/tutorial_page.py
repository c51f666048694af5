"""A tutorial is run as its reader would follow it: top to bottom, in one folder, and what it shows is what comes out.

========================================  ==============================================================================
in the page                               what is done
========================================  ==============================================================================
a block of python                         run in the names that earlier blocks of the page left
the same after ``<!-- raises -->``        run, and it has to fail
python with ``title="FILE.py"``           written to FILE.py
a block of bash                           its lines ``python ...`` are run; what installs and moves about is left out
a block of text                           what the block before printed, or the last line of its error
========================================  ==============================================================================

Numbers may differ in their last digits, as kernels, numpy and torch do. A line ``STEPS = 120_000`` is a budget: it is
cut to ``QUICK`` unless the environment variable ``IRS_MARL_FULL`` is set, and from there on only words are compared.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "tutorials"
QUICK = "2_000"
FULL = bool(os.environ.get("IRS_MARL_FULL"))
LEFT_OUT = ("pip install", "python3 -m venv", ". ", "mkdir", "cd ", "git clone")  # looked up in test_shown_commands.py
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_FENCE = re.compile(r"(<!-- raises -->\n)?^```(\w+)([^\n]*)\n(.*?)^```$", re.M | re.S)
_BUDGET = re.compile(r"^STEPS = [\d_]+", re.M)


class Block(NamedTuple):
    """A fenced block."""

    language: str
    title: str
    raises: bool
    text: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page.

    Raises:
        ValueError: a fence that nothing here knows.
    """
    found = []
    for before, language, rest, text in re.findall(
        r"(<!-- raises -->\n)?^```(\w+)([^\n]*)\n(.*?)^```$", page, re.M | re.S
    ):
        title = re.fullmatch(r' title="([\w.]+)"', rest)
        if (rest and not title) or language not in ("python", "bash", "text"):
            raise ValueError(f"```{language}{rest}: must be python, bash or text, with title= or nothing")
        found.append(Block(language, title[1] if title else "", bool(before), text))
    return found


class Reader:
    """Somebody who follows a page in a folder, the present one."""

    def __init__(self, full: bool = FULL) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.full, self.cut, self.printed = full, False, ""

    def follow(self, page: str) -> None:
        """Do what the page says, in its order.

        Raises:
            AssertionError: something else than the page shows comes out.
        """
        for block in blocks(page):
            if block.language == "text":
                difference = unlike(block.text, self.printed, numbers=not self.cut)
                assert not difference, f"{difference}\n--- shown\n{block.text}\n--- printed\n{self.printed}"
            elif block.language == "bash":
                self.printed = "".join(map(self.command, block.text.replace("\\\n", " ").splitlines()))
            elif block.title:
                Path(block.title).write_text(self.budgeted(block.text), encoding="utf-8")
            else:
                self.printed = self.python(self.budgeted(block.text), block.raises)

    def budgeted(self, code: str) -> str:
        """Code with a smaller budget, if it has one."""
        if self.full or not _BUDGET.search(code):
            return code
        self.cut = True
        return _BUDGET.sub(f"STEPS = {QUICK}", code)

    def python(self, code: str, raises: bool) -> str:
        """What a block prints, or how its error reads."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            try:
                exec(compile(code, "<tutorial>", "exec"), self.names)
            except Exception as error:
                if not raises:
                    raise
                return f"{type(error).__name__}: {error}"
        assert not raises, f"no error comes from\n{code}"
        return out.getvalue()

    def command(self, line: str) -> str:
        """What a command prints."""
        if line.startswith(LEFT_OUT):
            return ""
        words = shlex.split(line, comments=True)
        assert words[0] == "python", f"nothing runs {line!r}"
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, *words[1:]], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def unlike(shown: str, printed: str, numbers: bool = True) -> str:
    """The first difference of two texts, or nothing; a line ``...`` stands for any lines."""
    wanted, found = shown.strip().split("\n...\n"), printed.strip()
    if len(wanted) > 1:  # compare the beginning and the end
        first, last = wanted[0].count("\n") + 1, wanted[-1].count("\n") + 1
        lines = found.split("\n")
        return unlike(wanted[0], "\n".join(lines[:first]), numbers) or unlike(
            wanted[-1], "\n".join(lines[-last:]), numbers
        )
    shown, found = (re.sub(r"\b0x[0-9a-f]+", "0x", text) for text in (shown, found))  # where an object stands in memory
    shown_words, found_words = (_NUMBER.sub("#", re.sub(r"-{3,}", "---", text)).split() for text in (shown, found))
    for a, b in zip(shown_words, found_words, strict=False):
        if a != b:
            return f"{a!r} is shown, {b!r} is printed"
    if len(shown_words) != len(found_words):
        return f"{len(shown_words)} words are shown, {len(found_words)} are printed"
    pairs = zip(_NUMBER.findall(shown), _NUMBER.findall(found), strict=True) if numbers else ()
    return next((f"{a} is shown, {b} is printed" for a, b in pairs if abs(float(a) - float(b)) > _slack(a)), "")


def _slack(number: str) -> float:
    """How far a number may be off: nothing if it is whole, else 2 % and one in its last digit."""
    if "." not in number:
        return 0.0
    digits = len(number.partition("e")[0].partition(".")[2])
    return 0.02 * abs(float(number)) + 10.0**-digits
