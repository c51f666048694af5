"""Extension of griffe: what Sphinx would read in our docstrings, as Markdown.

Roles such as ``:func:`evaluate` `` become links to the object where the site documents it, and code where it does not.
``docs/model.md`` becomes a link to that page. A paragraph that ends in ``::`` and the indented lines below it become a
block of code, and ``Example:`` becomes ``Examples:``, the one of the two that griffe reads as doctests. ``Scenario``
has a page of its own for its fields, so here it is ``Scenario(**fields)``.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import (
    AliasResolutionError,
    Extension,
    Function,
    Module,
    NameResolutionError,
    Object,
    Parameter,
    ParameterKind,
    Parameters,
)

ROLE = re.compile(r":(?:func|class|meth|mod|attr|data|exc|obj):`~?([^`]+)`")
PAGE = re.compile(r"`*\bdocs/([\w-]+)\.md\b`*")
EXAMPLE = re.compile(r"^Example:$", re.M)
_SELF = Parameter("self", kind=ParameterKind.positional_or_keyword)
LITERAL = re.compile(r"::\n\n((?: +[^\n]*\n?|\n)+)")


class RolesToMarkdown(Extension):
    """Changes the text of every docstring as soon as the package is loaded."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Walk over everything that the package defines."""
        self._walk(pkg)
        given = Parameter("fields", kind=ParameterKind.var_keyword)
        pkg["scenario.Scenario"].set_member("__init__", Function("__init__", parameters=Parameters(_SELF, given)))

    def _walk(self, item: Object) -> None:
        if item.docstring is not None:
            item.docstring.value = _as_markdown(item.docstring.value, item)
        for member in item.members.values():
            if not member.is_alias:
                self._walk(member)


def _as_markdown(text: str, item: Object) -> str:
    """One docstring without roles and ``::``."""

    def link(match: re.Match[str]) -> str:
        name = match[1].removesuffix("()")
        return f'<autoref identifier="{_full_name(name, item)}" optional><code>{name}</code></autoref>'

    def block(match: re.Match[str]) -> str:
        lines = match[1].rstrip("\n").split("\n")
        margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        indent = " " * max(margin - 4, 0)
        body = "\n".join(f"{indent}{line[margin:]}".rstrip() for line in lines)
        return f":\n\n{indent}```python\n{body}\n{indent}```\n\n"

    text = PAGE.sub(r"[\1](../\1.md)", ROLE.sub(link, EXAMPLE.sub("Examples:", text)))  # from a page of api/
    return LITERAL.sub(block, text)


def _full_name(name: str, item: Object) -> str:
    """The full path of what a docstring calls by a short name; the short name where nothing is found."""
    scope: Object | None = item
    while scope is not None:
        try:
            path = scope.resolve(name)
            found = item.modules_collection[path]
            return str(found.final_target.path if found.is_alias else found.path)
        except (NameResolutionError, AliasResolutionError, KeyError):
            scope = scope.parent
    return name
