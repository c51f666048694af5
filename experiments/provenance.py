"""Which raw files were made from a working tree with changes: the list in results/README.md.

    python -m experiments.provenance

A file whose commit ends in ``-dirty`` was made by code that no commit holds. That is said here until it is made anew.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "results" / "README.md"
BEGIN, END = "<!-- dirty -->", "<!-- /dirty -->"


def commits(root: Path = ROOT / "results") -> dict[Path, tuple[str, float]]:
    """Commit and CPU seconds of every raw file that states a commit."""
    found = {}
    for path in sorted(root.rglob("*.json")):
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        commit = content.get("versions", {}).get("commit") if isinstance(content, dict) else None
        if commit:
            found[path.relative_to(root)] = (commit, float(content.get("cpu_seconds") or 0.0))
    return found


def table(found: dict[Path, tuple[str, float]]) -> str:
    """The files with changes, by folder, in Markdown."""
    dirty = {path: seconds for path, (commit, seconds) in found.items() if commit.endswith("-dirty")}
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in dirty:
        folders[path.parent].append(path)
    lines = [f"{len(dirty)} of the {len(found)} files that state a commit were made from a tree with changes:", ""]
    lines += ["| folder | files | s of a core | which |", "|---|---|---|---|"]
    for folder, paths in folders.items():
        names = ", ".join(f"`{path.stem}`" for path in paths)
        lines.append(f"| `{folder.as_posix()}/` | {len(paths)} | {sum(dirty[p] for p in paths):.0f} | {names} |")
    return "\n".join(lines)


def written(page: str, text: str) -> str:
    """The page with the list between its markers."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """The command line."""
    text = table(commits())
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8", newline="\n")
    print(text)


if __name__ == "__main__":
    main()
