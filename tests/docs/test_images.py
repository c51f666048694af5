"""Every committed figure is made by a script, has both forms, and is the same file whenever it is made."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
# frames of the environment, and pictures of a browser
PIXELS = {"street": {".gif", ".png"}, "replay": {".png"}, "replay-phone": {".png"}}
MOST_KB = {".svg": 300, ".png": 500, ".gif": 2500}
FILES = sorted(path for path in IMAGES.iterdir() if path.suffix in MOST_KB)
STEMS = sorted({path.stem for path in FILES})
SCRIPTS = {
    path: path.read_text(encoding="utf-8")
    for folder in ("experiments", "docs")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_there_are_figures():
    assert len(STEMS) > 10


@pytest.mark.parametrize("stem", STEMS)
def test_a_script_names_the_figure(stem):
    named = re.compile(rf"""["'/]{re.escape(stem)}(\.png|\.svg)?["'\s]""")
    own = [path for path, text in SCRIPTS.items() if path.stem == stem or named.search(text)]
    assert own, f"no script makes docs/images/{stem}"


@pytest.mark.parametrize("stem", STEMS)
def test_a_figure_has_both_forms(stem):
    assert {path.suffix for path in FILES if path.stem == stem} == PIXELS.get(stem, {".png", ".svg"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_figure_is_not_too_large(path):
    assert path.stat().st_size <= 1000 * MOST_KB[path.suffix]


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix == ".svg"], ids=lambda path: path.name)
def test_a_vector_figure_has_no_date_and_a_white_ground(path):
    """Without a date the same picture is the same file; on a dark page black letters need a ground."""
    text = path.read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    assert "<dc:date>" not in text
    assert re.search(r'id="patch_1">\s*<path [^>]*style="fill: #ffffff', text)


@pytest.mark.parametrize("stem", STEMS)
def test_a_page_shows_the_figure(stem):
    shown = re.compile(rf"images/{re.escape(stem)}\.(png|svg|gif)")
    assert any(shown.search(page.read_text(encoding="utf-8")) for page in PAGES)


def test_the_same_figure_is_the_same_file(tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from irs_marl_env import figure_style

    for name in ("a", "b"):
        with rc_context(figure_style.STYLE):
            figure = Figure(figsize=(3, 2))
            axes = figure.subplots()
            for i in range(3):
                axes.errorbar([0, 1], [i, i + 1], [0.1, 0.2], label=str(i), clip_on=True, **figure_style.look(i))
            axes.legend()
        figure_style.save(figure, tmp_path / f"{name}.svg")
    for ending in ("png", "svg"):
        one, other = ((tmp_path / f"{name}.{ending}").read_bytes() for name in ("a", "b"))
        assert one == other


def test_series_can_be_told_apart_without_colour():
    from irs_marl_env.figure_style import look

    looks = [look(i) for i in range(32)]
    assert len({tuple(each.values()) for each in looks}) == 32
    assert len({(each["marker"], each["linestyle"]) for each in looks}) == 32
