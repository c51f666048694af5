"""Every tutorial does what it says, and what it shows is what comes out (docs/tutorials, run by tutorial_page.py).

IRS_MARL_FULL=1 runs them with the budgets that they name, and compares their numbers too.
"""

import sys

import pytest
from tutorial_page import FOLDER, Reader, blocks, unlike

PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_tutorial(page, tmp_path, monkeypatch):
    for package in ("torch", "stable_baselines3", "matplotlib"):
        if package in page.read_text(encoding="utf-8"):
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    try:
        Reader().follow(page.read_text(encoding="utf-8"))
    finally:
        for name in set(sys.modules) - before:  # files of the page, imported
            if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(tmp_path)):
                del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_tutorial_has_its_parts(page):
    text = page.read_text(encoding="utf-8")
    for heading in ("## What can go wrong", "## Where to go next"):
        assert heading in text
    assert "At the end you" in text.split("##")[0]
    assert any(block.language == "text" for block in blocks(text)), "no output is shown"


READ = "```python\nn = 3\nprint('n is', n, 0.5)\n```\n\n```text\nn is 3 {}\n```\n"
FILE = '```python title="own.py"\nprint(4)\n```\n```bash\npython own.py\n```\n```text\n{}\n```\n'
FAILS = "<!-- raises -->\n```python\n{}\n```\n```text\nZeroDivisionError: division by zero\n```\n"


def test_a_page_is_read_as_it_is_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Reader().follow(READ.format(0.505) + FILE.format(4) + FAILS.format("n / 0"))
    wrong = {
        READ.format("0.7"): r"0\.7 is shown, 0\.5 is printed",
        READ.format("0.5 more"): "4 words are shown|5 words are shown",
        FILE.format(5): "5 is shown, 4 is printed",
        FAILS.format("3 / 1"): "no error comes",
        FAILS.format("int('x')"): "'ZeroDivisionError:' is shown",
        "```bash\nrm -r .\n```\n": "nothing runs",
    }
    for page, message in wrong.items():
        with pytest.raises(AssertionError, match=message):
            Reader().follow(page)
    with pytest.raises(ValueError, match="must be python, bash or text"):
        blocks("```python no-run\n```\n")


def test_a_budget_is_cut_and_words_stay():
    page = "```python\nSTEPS = 9_999  # long\nprint('steps', STEPS)\n```\n```text\nsteps {}\n```"
    Reader(full=False).follow(page.format(9999))
    Reader(full=True).follow(page.format(9999))
    with pytest.raises(AssertionError, match="2000 is shown, 9999 is printed"):
        Reader(full=True).follow(page.format(2000))
    with pytest.raises(AssertionError, match="'STEPS' is shown"):
        Reader(full=False).follow(page.format(9999).replace("text\nsteps", "text\nSTEPS"))


def test_texts_are_alike():
    assert not unlike("a 1.00 [0.50, 2.00]\n----", "a   1.01 [0.5, 2.02]\n------")
    assert not unlike("first 1\n...\nlast 2", "first 1\nx\ny\nlast 2")
    assert unlike("first 1\n...\nlast 2", "first 1\nx\nlast 3")
    assert unlike("12 users", "13 users")
