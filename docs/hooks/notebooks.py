"""The notebooks of ``notebooks/`` as pages of the site, with their outputs, as they are committed.

A page is made of the .ipynb without running it, and without a library: cells of text are Markdown already.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

FOLDER = Path(__file__).parents[2] / "notebooks"


def page(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by name."""
    parts, pictures = [], {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode("".join(data["image/png"]))
                parts.append(f"![What the code above draws]({name})")
            else:
                printed = "".join(output.get("text") or data.get("text/plain", []))
                parts.append(f"```text\n{printed.rstrip()}\n```")
    note = f"*This page is the notebook `notebooks/{path.name}` of the repository.*"
    parts.insert(1, note)
    text = "\n\n".join(parts).replace("](../docs/", "](../")
    for other in FOLDER.glob("*.ipynb"):
        text = text.replace(f"]({other.name})", f"]({other.stem}.md)")
    return text + "\n", pictures


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add a page for each notebook, and its pictures."""
    from mkdocs.structure.files import File

    for path in sorted(FOLDER.glob("*.ipynb")):
        text, pictures = page(path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, picture in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=picture))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to notebooks lead to their pages."""
    return re.sub(r"\]\(((?:\.\./)*)\.\./notebooks/(\w+)\.ipynb\)", r"](\1notebooks/\2.md)", markdown)
