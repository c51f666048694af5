"""The documentation site is built strictly, and every link, anchor, picture and script of what was built is there."""

import ast
import os
import posixpath
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import irs_marl_env
from irs_marl_env import replay

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LOADED = {"script": "src", "img": "src", "source": "src", "video": "src", "iframe": "src", "link": "href"}
NOT_LOADED = {"canonical", "prev", "next", "alternate"}  # rel of a link that a browser does not follow by itself


class Page(HTMLParser):
    """Anchors, links and loaded files of a page of HTML."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loaded, self.equations = set(), [], [], 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.equations += "arithmatex" in given.get("class", "").split()
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADED and LOADED[tag] in given and given.get("rel") not in NOT_LOADED:
            self.loaded.append(given[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built once as CI builds it, whichever process of pytest asks first."""
    pytest.importorskip("material", reason="needs the extra docs")
    pytest.importorskip("mkdocstrings", reason="needs the extra docs")
    filelock = pytest.importorskip("filelock", reason="needs filelock")
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "site"
    with filelock.FileLock(f"{folder}.lock"):
        if not (folder / "sitemap.xml").exists():
            build(folder)
    return folder


def build(folder):
    """Run mkdocs, which does not count warnings with --quiet."""
    names = ("DOCS_SITE_URL", "DOCS_REPO_URL", "READTHEDOCS_CANONICAL_URL", "READTHEDOCS_GIT_CLONE_URL")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, env=environment | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def pages(site):
    """Every page by its path in the site; that of errors is for servers and has other links."""
    paths = [path for path in sorted(site.rglob("*.html")) if path.name != "404.html"]
    return {path.relative_to(site).as_posix(): Page(path) for path in paths}


def test_every_page_of_docs_is_there(pages):
    names = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")}
    names = {name.replace("README", "index") for name in names if not name.startswith(("hooks/", "assets/"))}
    names |= {f"notebooks/{path.stem}.html" for path in (ROOT / "notebooks").glob("*.ipynb")}
    made = {name for name in pages if not name.startswith("source/")}
    assert made == names | {"changelog.html", "contributing.html", "security.html"}


def test_the_navigation_has_every_page_and_no_other(pages):
    """mkdocs itself refuses an entry without a page; here every page is in the list that each page shows."""
    shown = {link.partition("#")[0] for link in pages["index.html"].links if "://" not in link}
    shown = {"index.html" if link in (".", "") else link for link in shown}
    # only the first page of each part of the navigation is in the tabs; all are in the drawer
    assert {name for name in pages if not name.startswith("source/")} <= shown


def test_the_navigation_has_no_page_twice():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2].partition("\n\n")[0]
    names = re.findall(r"[\w/-]+\.md$", nav, re.M)
    assert len(names) > 30
    assert {name for name in names if names.count(name) > 1} == set()


def test_the_reference_has_every_public_name(pages):
    anchors = {anchor for name, page in pages.items() if name.startswith("api/") for anchor in page.anchors}
    parts = (irs_marl_env.link, irs_marl_env.solvers, irs_marl_env.policies, irs_marl_env.layouts, replay)
    public = {name for part in (irs_marl_env, *parts) for name in part.__all__ if not name.isupper()}
    public -= {"layouts", "link", "policies", "solvers"}  # pages of their own
    for file in (ROOT / "irs_marl_env" / "adapters").glob("*.py"):
        defined = ast.parse(file.read_text(encoding="utf-8")).body
        public |= {node.name for node in defined if isinstance(node, ast.ClassDef) and not node.name.startswith("_")}
    assert public - {anchor.rpartition(".")[2] for anchor in anchors} == set()


def test_the_reference_of_the_link_has_no_other_name(pages):
    names = {anchor.rpartition(".")[2] for anchor in pages["api/link.html"].anchors if "radio." in anchor}
    assert names == set(irs_marl_env.link.__all__)


def test_links_and_anchors_of_every_page_lead_somewhere(site, pages):
    broken = []
    for name, page in pages.items():
        for link in page.links:
            if re.match("[a-z]+:", link):
                continue
            path, _, anchor = unquote(link).partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            target = "index.html" if target == "." else target
            is_there = anchor in pages[target].anchors if anchor and target in pages else (site / target).is_file()
            if not is_there:
                broken.append(f"{name}: {link}")
    assert broken == []


def test_pages_load_files_of_the_site_alone(site, pages):
    for name, page in pages.items():
        for link in page.loaded:
            target = (site / name).parent / unquote(link.partition("?")[0].partition("#")[0])
            assert target.is_file(), f"{name} loads {link}"


def test_styles_and_scripts_of_ours_name_files_of_the_site(site):
    for path in (site / "assets").rglob("*.css"):
        for link in re.findall(r"url\(([^)]+)\)", path.read_text(encoding="utf-8")):
            link = link.strip("\"'")
            assert link.startswith("data:") or (path.parent / link).is_file(), f"{path.name} loads {link}"


def test_search_finds_pages_from_the_disk(site):
    """The index is a script, since a page on the disk may not read other files."""
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert index.startswith("var __index = {")
    assert "own-channels.html#" in index
    assert "source/" not in index


@pytest.fixture
def tab(browser):
    """A page of a real browser, and what it complained of and asked for."""
    tab = browser.new_page(viewport={"width": 390, "height": 800})
    tab.asked, tab.complaints = [], []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("console", lambda said: tab.complaints.append(said.text) if said.type in ("error", "warning") else None)
    yield tab
    tab.close()


def test_from_the_disk_on_a_phone_equations_are_drawn_and_nothing_is_wider_than_the_page(site, pages, tab):
    counts = """[".arithmatex .katex-html", ".arithmatex"].map(x => document.querySelectorAll(x).length)
        .concat(document.documentElement.scrollWidth)"""
    for name, page in pages.items():
        if not name.startswith(("source/", "api/")) or name == "api/solvers.html":  # one for all of them
            tab.goto((site / name).as_uri(), wait_until="domcontentloaded")  # by then equations are drawn
            assert (name, tab.evaluate(counts)) == (name, [page.equations, page.equations, 390])
    assert tab.complaints == []
    assert [url for url in tab.asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_from_the_disk_search_finds_a_word(site, tab):
    tab.set_viewport_size({"width": 1280, "height": 800})
    tab.goto((site / "index.html").as_uri())
    tab.locator(".md-search__input").fill("Vickrey")
    tab.locator(".md-search-result__link[href*='model.html?'][href$='#payments']").wait_for(state="attached")
