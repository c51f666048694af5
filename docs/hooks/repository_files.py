"""Hook of mkdocs: links of the pages to files outside docs/ work on the site as they do on GitHub.

``../CONTRIBUTING.md``, ``../CHANGELOG.md`` and ``../SECURITY.md`` are pages of the site. Any other file of text that a
page links to becomes a page that shows it, so that the site is whole without a network. Folders, data and pictures
elsewhere lead to the repository where its address is known (``repo_url`` of mkdocs.yml), and are plain text where it is
not. A link that is called by the name of its file, as usual on GitHub, is called by the title of the page.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import File, Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
# files at the root that are pages
PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
HOME = "README.md"  # of docs/, for links to the README of the repository
LANGUAGES = {".py": "python", ".sh": "bash", ".toml": "toml", ".yml": "yaml", ".cff": "yaml", ".txt": "text"}
LANGUAGES |= {"": "text", ".md": "markdown"}
LARGEST = 200_000  # bytes of a file that is shown as a page
LINK = re.compile(r"(?P<text>!?\[(?:[^\[\]]|\[[^\[\]]*\])*\])\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2`* *$", re.M | re.S)


def on_config(config: MkDocsConfig) -> None:
    """Addresses to clone from end in .git, those of pages do not."""
    if config.repo_url:
        config.repo_url = config.repo_url.removesuffix(".git")


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages made of files outside docs/."""
    from mkdocs.structure.files import File, InclusionLevel

    for name, page in PAGES.items():
        content = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=content))
    for name in sorted({name for file in files.documentation_pages() for name in _linked(file)}):
        file = File.generated(config, _page_of(name), content=_shown(name), inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(file)


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn every link that leaves docs/ into one that works on the site."""
    source = page.file.src_uri

    def turned(match: re.Match[str]) -> str:
        text, anchor = match["text"], "".join(match["target"].partition("#")[1:])
        name = _repository_path(source, match["target"])
        if name is None:
            return _titled(match, source, files)
        inside = name.removeprefix("docs/") if name.startswith("docs/") else PAGES.get(name)
        if name == "README.md":
            inside = HOME
        elif inside is None and _is_shown(name):
            inside = _page_of(name)
        if inside is not None:
            file = files.get_file_from_path(inside)
            text = f"[{_title(file)}]" if file and text[1:-1] == name else text
            return f"{text}({posixpath.relpath(inside, posixpath.dirname(source) or '.')}{anchor})"
        if config.repo_url:
            return f"{text}({config.repo_url}/{'tree' if (ROOT / name).is_dir() else 'blob'}/HEAD/{name})"
        said = text.removeprefix("!")[1:-1]
        return f"`{said}`" if "/" in said and "`" not in said else said

    pieces, end = [], 0
    for fence in FENCE.finditer(markdown):
        pieces += [LINK.sub(turned, markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*pieces, LINK.sub(turned, markdown[end:])])


def _repository_path(source: str, target: str) -> str | None:
    """The path in the repository that a link of a page leads to; None for links that stay as they are."""
    target = target.partition("#")[0]
    if not target or re.match(r"[a-z]+:|/", target) or source.startswith("source/"):
        return None
    generated = source in PAGES.values()  # from the root of the repository, not from docs/
    name = posixpath.normpath(posixpath.join("" if generated else posixpath.dirname(f"docs/{source}"), target))
    return None if not generated and name.startswith("docs/") and not name.endswith(".py") else name


def _titled(match: re.Match[str], source: str, files: Files) -> str:
    """A link within docs/, with the title of its page in place of the name of its file."""
    path = match["target"].partition("#")[0]
    file = files.get_file_from_path(posixpath.normpath(posixpath.join(posixpath.dirname(source), path)))
    called_so = match["text"] in (f"[{path}]", f"[docs/{path}]")
    return f"[{_title(file)}]({match['target']})" if file and called_so else match[0]


def _title(file: File) -> str:
    """The first heading of a page."""
    return next(line for line in file.content_string.splitlines() if line.startswith("# ")).removeprefix("# ")


def _linked(file: File) -> set[str]:
    """The files outside the site that a page links to and that are shown as pages."""
    text = FENCE.sub("", file.content_string)
    names = (_repository_path(file.src_uri, match["target"]) for match in LINK.finditer(text))
    return {name for name in names if name is not None and _is_shown(name)}


def _is_shown(name: str) -> bool:
    """Whether a file of the repository becomes a page of its own."""
    path = ROOT / name
    if name in PAGES or name == "README.md" or (name.startswith("docs/") and path.suffix != ".py"):
        return False
    return path.is_file() and path.suffix in LANGUAGES and path.stat().st_size < LARGEST


def _page_of(name: str) -> str:
    """The page that shows a file."""
    return f"source/{name}" if name.endswith(".md") else f"source/{name}.md"


def _shown(name: str) -> str:
    """A file as a page, which search leaves out."""
    text = (ROOT / name).read_text(encoding="utf-8")
    head = f"---\ntitle: {name}\nsearch:\n  exclude: true\n---\n\n"
    return f"{head}# `{name}`\n\n``````{LANGUAGES[Path(name).suffix]}\n{text.rstrip()}\n``````\n"
