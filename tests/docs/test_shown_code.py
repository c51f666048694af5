"""The code in README and docs runs as it stands; a block fenced as ``python no-run`` is text."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = [
    pytest.param(code, id=f"{path.name}-{number}")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```$", path.read_text(), re.M | re.S))
]


def test_there_is_code():
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("code", BLOCKS)
def test_block(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README", "exec"), {"__name__": "__main__"})
