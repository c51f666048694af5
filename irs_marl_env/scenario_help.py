"""What the fields of a scenario are, for its readers: as text for ``help`` and the command line, as a page for docs/.

All of it is made from the fields' own metadata (:mod:`irs_marl_env.scenario_record`) and from their checks, so nothing
is said twice.
"""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

from irs_marl_env import checks
from irs_marl_env.scenario_fields import Group

WIDTH = 76  # of a line of text, beside the margin of help()
OWN_PARTS = "own-parts.md"


class FieldHelp(NamedTuple):
    """What a reader has to know of a field."""

    group: Group
    name: str
    default: str  # as one writes it in Python
    allowed: str  # in words
    unit: str  # empty for counts, ratios and choices
    says: str  # what it does, and what None means
    means: dict[str, str]  # what each built-in choice means, by name
    own: str  # what an object of one's own has to be; empty where none is allowed
    reading: str  # the reading of the paper that it decides; empty for none

    def mentions(self, word: str) -> bool:
        """Whether the word stands in what is said of the field, in small letters or large ones."""
        told = (self.group.title, self.name, self.allowed, self.unit, self.says, *self.means.values())
        return word.lower() in " ".join(told).lower()


def fields_of(record: type) -> list[FieldHelp]:
    """The fields of a class of ``dataclasses`` whose fields a :class:`Group` declared, in groups."""
    groups: dict[str, list[FieldHelp]] = {}
    for field in dataclasses.fields(record):
        about = field.metadata
        check: checks.Kind = about["check"]
        says = about["says"] + (f" None: {about['none']}." if about["none"] else "")
        more = (about["unit"], says, _meanings(check, about["means"]), about["own"], about["reading"])
        row = FieldHelp(about["group"], field.name, _default(field.default), check.all_allowed, *more)
        groups.setdefault(row.group.title, []).append(row)
    return [row for rows in groups.values() for row in rows]


def _meanings(check: Any, means: dict[str, str]) -> dict[str, str]:
    """What the names that a check allows mean, in its order."""
    if isinstance(check, checks.Strategy):
        return {name: means.get(name, "") for name in checks.look_up(check.table)}
    return {name: means.get(name, "") for name in getattr(check, "names", ())}


def _default(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) and len(repr(value)) > 8 else repr(value)


# --- as text ------------------------------------------------------------------------------------------------------


def text(rows: Iterable[FieldHelp]) -> str:
    """The fields group by group: name, default and unit, what each does, what is allowed."""
    return "\n\n".join(
        "\n".join([f"{group.title}: {group.says}", *("\n".join(_lines(row)) for row in some)])
        for group, some in groupby(rows, lambda row: row.group)
    )


def _lines(row: FieldHelp) -> Iterator[str]:
    yield f"  {row.name} = {row.default}" + (f"  [{row.unit}]" if row.unit else "")
    yield from _wrapped(row.says, 6)
    for name, meaning in row.means.items():
        yield from _wrapped(f"{name!r}: {meaning}", 8, 12)
    if row.own:
        yield from _wrapped(f"or {row.own}", 8, 12)
    if not row.means:
        yield from _wrapped(f"Allowed: {row.allowed}.", 6)


def _wrapped(words: str, indent: int, later: int | None = None) -> list[str]:
    further = indent if later is None else later
    return textwrap.wrap(words, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * further)


class WithFields:
    """The docstring of a class with its fields, made anew whenever somebody reads it.

    It stands in place of ``__doc__``: the choices of some fields stand in modules above the scenario, which its import
    must not load.

    Args:
        record: the class, with the docstring that comes before the fields.
    """

    def __init__(self, record: type) -> None:
        self._said = inspect.cleandoc(record.__doc__ or "")

    def __get__(self, instance: Any, record: type) -> str:
        return f"{self._said}\n\nFields:\n\n{text(fields_of(record))}\n"


# --- as a page ----------------------------------------------------------------------------------------------------

HEAD = """# Fields of a scenario

<!-- Made by `python docs/fields.py --write` from irs_marl_env/scenario_record.py; do not edit it here. -->

Everything that defines an environment is a field of `Scenario`, and any of them may be given to `make_env`,
`make_vec_env`, `evaluate` and `Scenario.replace` by name, or to the commands as `--set FIELD=VALUE`. Anything that is
not allowed is refused with a message that names the field, the value and what is allowed. `help(Scenario)` shows the
same list, and `python -m irs_marl_env scenarios --fields fading` what it says about a word.
"""


def page(record: type) -> str:
    """The fields as a page of markdown: a table for each group, an anchor for each field."""
    rows = fields_of(record)
    groups = [(group, list(some)) for group, some in groupby(rows, lambda row: row.group)]
    topics = "\n".join(
        f"- [{group.title}](#{_anchor(group.title)}): {', '.join(f'[`{row.name}`](#{row.name})' for row in some)}"
        for group, some in groups
    )
    return "\n".join([HEAD, topics, *(_section(group, some) for group, some in groups)]) + "\n"


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _section(group: Group, rows: list[FieldHelp]) -> str:
    more = f"[{group.page.partition('#')[0]}]({group.page})"
    table = ["| field | default | allowed | unit | what it does |", "|---|---|---|---|---|", *map(_table_row, rows)]
    return "\n".join([f"\n## {group.title}\n\n{group.says} More: {more}.\n", *table])


def _table_row(row: FieldHelp) -> str:
    says = row.says
    if row.means:
        says += " " + "; ".join(f"`{name!r}`: {meaning}" for name, meaning in row.means.items()) + "."
    if row.own:
        says += f" Or {row.own} ([{OWN_PARTS.removesuffix('.md')}]({OWN_PARTS}))."
    if row.reading:
        says += f" [Reading of the paper](model.md#reading-{row.reading})."
    names = ", ".join(f"`{name!r}`" for name in row.means)
    allowed = names or row.allowed.removeprefix("a finite number ")
    if row.own:
        allowed += ", or your own"
    cells = (f'<a id="{row.name}"></a>`{row.name}`', f"`{row.default}`", allowed, row.unit, says)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
