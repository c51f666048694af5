"""Notebooks: they run, what is committed is of their present text, and it holds nothing of the machine that made it."""

import getpass
import importlib.util
import json
import re
import socket
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason="needs the extra notebooks")
pytest.importorskip("nbclient", reason="needs the extra notebooks")
pytest.importorskip("ipykernel", reason="needs the extra notebooks")
pytest.importorskip("matplotlib", reason="needs the extra notebooks")

import nbformat

FOLDER = Path(__file__).parents[2] / "notebooks"
SPEC = importlib.util.spec_from_file_location("notebooks_make", FOLDER / "make.py")
make = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make)

QUICK = {"UPDATES": 40, "EPISODES": 2}
NOTEBOOKS = [pytest.param(path, id=path.stem) for path in make.SOURCES]


def committed(path):
    return nbformat.read(path.with_suffix(".ipynb"), as_version=4)


def kinds(notebook):
    """Of every cell with code, what it shows: text or pictures."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [["png" if "image/png" in o.get("data", {}) else "text" for o in cell.outputs] for cell in code]


def test_there_are_notebooks():
    assert len(NOTEBOOKS) == len(list(FOLDER.glob("*.ipynb"))) == 4
    assert sum(path.stat().st_size for path in FOLDER.glob("*.ipynb")) < 3e6


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_committed_is_what_the_source_says(path):
    here, there = make.source(path), committed(path)
    assert [(c.id, c.cell_type, c.source) for c in here.cells] == [(c.id, c.cell_type, c.source) for c in there.cells]
    assert there.metadata == make.METADATA
    nbformat.validate(there)


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_committed_has_outputs_and_nothing_of_a_machine(path):
    shown = [kind for cell in kinds(committed(path)) for kind in cell]
    assert shown.count("text") >= 3
    assert shown.count("png") >= 1
    counts = [cell.execution_count for cell in committed(path).cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))  # from top to bottom, in a fresh kernel
    text = path.with_suffix(".ipynb").read_text(encoding="utf-8")
    text = re.sub(r'"image/png": "[^"]*"', "", text)
    assert not re.search(r"/(home|root|tmp|work|Users)/|[A-Z]:\\\\|site-packages|stderr|Traceback", text)
    assert not re.search(r"iopub|\d{4}-\d\d-\d\dT", text)  # when a cell ran
    assert socket.gethostname() not in text
    assert getpass.getuser() in ("root", "runner") or getpass.getuser() not in text


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_runs(path):
    if "examples.maddpg" in path.read_text(encoding="utf-8"):
        pytest.importorskip("torch", reason="needs the extra train")
    quick = make.source(path, QUICK)
    assert quick.cells != make.source(path).cells, "no budget is cut"
    assert kinds(make.executed(quick)) == kinds(committed(path))


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_links_lead_somewhere(path):
    text = "\n".join(cell["source"] for cell in committed(path).cells if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)#\s]+)", text)
    assert links
    for link in links:
        assert link.startswith("https://") or (FOLDER / link).exists(), link


def test_what_is_kept_of_an_output():
    png = {"image/png": "abc", "text/plain": "<Figure at 0x7f>"}
    shown = nbformat.v4.new_output("display_data", png, metadata={"needs_background": "light"})
    kept = make._kept(shown)
    assert json.loads(json.dumps(kept)) == {"output_type": "display_data", "data": {"image/png": "abc"}, "metadata": {}}
    assert make._kept(nbformat.v4.new_output("stream", name="stderr", text="a warning")) is None
    assert make._kept(nbformat.v4.new_output("stream", name="stdout", text="a result")).text == "a result"


def test_printed_text_is_in_one_piece_whatever_was_warned_of_in_between():
    def printed(text):
        return nbformat.v4.new_output("stream", name="stdout", text=text)

    picture = nbformat.v4.new_output("display_data", {"image/png": "abc"})
    joined = make._joined([printed("a "), printed("b"), picture, printed("c")])
    assert [output.get("text") for output in joined] == ["a b", None, "c"]
