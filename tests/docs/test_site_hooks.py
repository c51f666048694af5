"""What the hooks of the site make of links and docstrings."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest

HOOKS = Path(__file__).parents[2] / "docs" / "hooks"


@pytest.fixture
def hook(monkeypatch):
    """A module of docs/hooks by its name, imported as mkdocs does."""
    monkeypatch.syspath_prepend(str(HOOKS))
    return importlib.import_module


class Pages:
    """In place of mkdocs' files: every page is there and has its name as title."""

    def get_file_from_path(self, path):
        return SimpleNamespace(content_string=f"# Title of {path}\n")


def turned(hook, text, source, repo_url=""):
    page, config = SimpleNamespace(file=SimpleNamespace(src_uri=source)), SimpleNamespace(repo_url=repo_url)
    return hook("repository_files").on_page_markdown(text, page=page, config=config, files=Pages())


@pytest.mark.parametrize(
    ("source", "link", "expected"),
    [
        ("tasks.md", "[x](model.md#radio)", "[x](model.md#radio)"),
        ("tasks.md", "[model.md](model.md#radio)", "[Title of model.md](model.md#radio)"),
        ("tasks.md", "[docs/model.md](model.md)", "[Title of model.md](model.md)"),
        ("tasks.md", "[x](../CONTRIBUTING.md)", "[x](contributing.md)"),
        ("tutorials/own-policy.md", "[x](../../CHANGELOG.md#new)", "[x](../changelog.md#new)"),
        ("tasks.md", "[x](../README.md)", "[x](README.md)"),
        ("contributing.md", "[docs/model.md](docs/model.md)", "[Title of model.md](model.md)"),
        ("tasks.md", "[x](../examples/own_policy.py)", "[x](source/examples/own_policy.py.md)"),
        ("tasks.md", "[results](../results)", "results"),
        ("tasks.md", "[results/headroom](../results/headroom)", "`results/headroom`"),
        ("tasks.md", "[x](https://example.org/a.md)", "[x](https://example.org/a.md)"),
        ("tasks.md", "```text\n[x](../README.md)\n```", "```text\n[x](../README.md)\n```"),
    ],
)
def test_links(hook, source, link, expected):
    assert turned(hook, link, source) == expected


def test_folders_lead_to_the_repository_where_it_is_known(hook):
    site = "https://example.org/owner/name"
    assert turned(hook, "[x](../results)", "tasks.md", site) == f"[x]({site}/tree/HEAD/results)"


def test_the_address_to_clone_from_is_that_of_the_pages(hook):
    config = SimpleNamespace(repo_url="https://example.org/owner/name.git")
    hook("repository_files").on_config(config)
    assert config.repo_url == "https://example.org/owner/name"


def test_docstrings(hook):
    griffe = pytest.importorskip("griffe", reason="needs the extra docs")
    said = "See :func:`f` and docs/model.md, as in::\n\n    f()\n\nExample:\n    >>> 1\n    1\n"
    with griffe.temporary_visited_module(f'"""{said}"""\n\ndef f():\n    """F."""') as module:
        text = hook("docstrings")._as_markdown(module.docstring.value, module)
    assert text == (
        'See <autoref identifier="module.f" optional><code>f</code></autoref> and [model](../model.md), as in:\n\n'
        "```python\nf()\n```\n\nExamples:\n    >>> 1\n    1"
    )
