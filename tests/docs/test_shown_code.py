"""The code in README and docs runs as it stands (a block fenced as ``python no-run`` is text); links lead somewhere.

Blocks of a tutorial belong together: test_tutorials.py runs those.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = [
    pytest.param(code, id=f"{path.name}-{number}")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if path.parent.name != "tutorials"
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S))
]


def test_there_is_code():
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("code", BLOCKS)
def test_block(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README", "exec"), {"__name__": "__main__"})


PAGES = [path for folder in ("", "results") for path in sorted((ROOT / folder).glob("*.md"))]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not link.startswith(("http://", "https://")):
            assert (page.parent / link).exists(), link


def test_docs_hold_no_raw_data():
    assert not [path for path in (ROOT / "docs").rglob("*") if path.suffix in {".json", ".safetensors", ".npz"}]
