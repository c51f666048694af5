"""Scenarios and their fields as people type them: an id or a JSON file, and ``FIELD=VALUE``.

The command line, the trainer and the examples all read their options through these two functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from irs_marl_env.checks import shown
from irs_marl_env.json_text import parse, read_text
from irs_marl_env.scenario import Scenario, ScenarioError, from_plain, get_scenario

_LONGEST_CHANGE = 40  # characters of a title
_PYTHON_CONSTANTS = {"None": None, "True": True, "False": False}  # as well as JSON's null, true, false


def names_a_file(text: str) -> bool:
    """Whether :func:`scenario_named` takes the text for a file rather than for an id."""
    return Path(text).suffix.lower() == ".json"


def scenario_named(text: str, trusted: bool = False, /, **overrides: Any) -> Scenario:
    """The scenario that a text names.

    Args:
        text: an id of :func:`irs_marl_env.scenario_ids`, or the path of a JSON file (its name ends in ``.json``) as
            ``Scenario.to_json`` and ``python -m irs_marl_env scenarios --scenario ID`` write it.
        trusted: import the modules of parts that the file or an override names as ``"module:name"``.
        **overrides: scenario fields.

    Raises:
        ValueError: there is no such id, the file holds no scenario, or a field is unknown or impossible.
        OSError: the file cannot be read.
    """
    overrides = from_plain(overrides, trusted)  # of any name: the parameters are positional, so none collides
    if not names_a_file(text):
        return get_scenario(text, **overrides)
    content = read_text(text)
    try:
        scenario = Scenario.from_json(content, trusted)
    except ValueError as error:
        raise ScenarioError(f"{text}: {error}") from None
    return scenario.replace(**overrides)


def scenario_to_train_in(text: str, trusted: bool, usual: dict[str, Any], overrides: dict[str, Any]) -> Scenario:
    """The scenario that a text names, with fields that a trainer sets unless somebody says otherwise.

    Args:
        text: as for :func:`scenario_named`.
        trusted: the same.
        usual: what the trainer sets. A file's own ``reward`` and ``observation`` stay, if they are not the defaults of
            ``Scenario``: whoever wrote them there would not notice that they were gone.
        overrides: scenario fields that win over both.

    Raises:
        ValueError: see :func:`scenario_named`.
        OSError: the file cannot be read.
    """
    if names_a_file(text):
        written, default = scenario_named(text, trusted), Scenario()
        own = [name for name in ("reward", "observation") if getattr(written, name) != getattr(default, name)]
        usual = {name: value for name, value in usual.items() if name not in own}
    return scenario_named(text, trusted, **{**usual, **overrides})


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Scenario fields from texts ``FIELD=VALUE``; of a field that is named twice the last value holds.

    A value is read as JSON where it is JSON (numbers, lists, ``true``, ``null``), ``None``, ``True`` and ``False`` mean
    what they mean in Python, and everything else is a text.

    Raises:
        ValueError: a text without an equals sign.
    """
    fields: dict[str, Any] = {}
    for assignment in assignments:
        field, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set {shown(assignment)}: must be FIELD=VALUE")
        try:
            fields[field] = parse(text)
        except ValueError:  # a text as it is: a name, a path
            fields[field] = _PYTHON_CONSTANTS.get(text, text)
    return fields


def title(scenario: str | Scenario, overrides: dict[str, Any]) -> str:
    """What a picture calls a scenario: its id and the fields that were changed; nothing for one without an id.

    Example:
        >>> title("mdlbi-v0", {"num_irs": 2})
        'mdlbi-v0 with num_irs=2'
    """
    if not isinstance(scenario, str):
        return ""
    name = Path(scenario).stem if names_a_file(scenario) else scenario
    changed = ", ".join(f"{field}={shown(value)}" for field, value in overrides.items())
    if len(changed) > _LONGEST_CHANGE:
        changed = f"{len(overrides)} fields changed" if len(overrides) > 1 else f"{next(iter(overrides))} changed"
    return f"{name} with {changed}" if changed else name
