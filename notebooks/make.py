"""Makes the notebooks from the .py files beside them, which are what one edits and reads in a diff.

    python notebooks/make.py                    # all of them, with their whole budgets
    python notebooks/make.py first_steps        # one of them

Each is run in an empty folder, so that what it writes is not kept. Texts and pictures stay in the .ipynb; times,
machines and warnings do not. It needs the extra ``notebooks``.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
SOURCES = sorted(path for path in FOLDER.glob("*.py") if path.name != "make.py")
METADATA = {
    "jupytext": {"formats": "ipynb,py:percent"},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def source(path: Path, budgets: dict[str, int] | None = None) -> Any:
    """A notebook without outputs, with smaller budgets for constants of these names."""
    text = path.read_text(encoding="utf-8")
    for name, value in (budgets or {}).items():
        text = re.sub(rf"^{name}\b(.*?)= [\d_]+", rf"{name}\1= {value}", text, flags=re.M)
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", nbformat.from_dict({})
    return notebook


def executed(notebook: Any, timeout_s: int = 600) -> Any:
    """The notebook with what its cells print and show, run as if it stood in the folder of the notebooks.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        paths = os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": paths, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        client = NotebookClient(notebook, timeout=timeout_s, resources=resources, record_timing=False)
        client.execute(env=environment)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _joined([kept for kept in map(_kept, cell.outputs) if kept is not None])
            cell.metadata = nbformat.from_dict({})
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def _kept(output: Any) -> Any:
    """An output as it is committed: text or a picture, and nothing that changes from machine to machine."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    if "image/png" in output.data:
        output.data = nbformat.from_dict({"image/png": output.data["image/png"]})
    output.metadata = nbformat.from_dict({})
    return output


def _joined(outputs: list[Any]) -> list[Any]:
    """Printed text in one piece, where something that is not kept came between two parts of it."""
    joined: list[Any] = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def main(names: list[str]) -> None:
    """Make those of these names, or all."""
    for path in [FOLDER / f"{name}.py" for name in names] or SOURCES:
        notebook = executed(source(path))
        target = path.with_suffix(".ipynb")
        nbformat.write(notebook, target)
        print(f"{target.name} {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
