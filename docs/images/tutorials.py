"""The pictures of docs/tutorials: each page is followed as its reader would, and what it draws is kept.

    python docs/images/tutorials.py

Budgets are those of the tests; no picture depends on them.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "images" / "tutorials"


def main() -> None:
    """Draw all of them."""
    sys.path.insert(0, str(ROOT / "tests" / "docs"))
    from tutorial_page import FOLDER, Reader

    PICTURES.mkdir(exist_ok=True)
    for path in sorted(FOLDER.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        shown = re.findall(r"\]\(\.\./images/tutorials/([\w.-]+)\)", page)
        if not shown:
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            sys.path.insert(0, folder)
            Reader(full=False).follow(page)
            for name in shown:
                shutil.copy(name, PICTURES / name)
                print(path.name, name)
            os.chdir(ROOT)


if __name__ == "__main__":
    main()
