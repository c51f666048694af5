"""What readers are told of the fields: whole, true to the checks, the same in help(), in the terminal, on the page."""

from __future__ import annotations

import dataclasses
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

from irs_marl_env import Scenario, checks, scenario_help
from irs_marl_env.cli import main

ROOT = Path(__file__).parents[1]
ROWS = {row.name: row for row in scenario_help.fields_of(Scenario)}
FIELDS = [pytest.param(field, id=field.name) for field in dataclasses.fields(Scenario)]
UNITS = {  # by the end of the name
    **{"_dbm": "dBm", "_db": "dB", "_hz": "Hz", "_bps_hz": "bit/s/Hz", "_rad": "rad", "_w": "W", "_mps": "m/s"},
    **{"_m": "m", "_s": "s", "_bits": "bit"},
}
ELSEWHERE = {  # units that no name tells
    **{"trace": "m", "horizon": "slots", "switching_slots": "slots", "association_delay": "slots"},
    **{"bid_cost": "bit/s/Hz", "fairness_offset": "bit/s/Hz"},
}


def test_every_field_is_told_of_once() -> None:
    assert sorted(ROWS) == sorted(field.name for field in dataclasses.fields(Scenario))


@pytest.mark.parametrize("field", FIELDS)
def test_what_is_said_is_whole(field: dataclasses.Field) -> None:
    row, check = ROWS[field.name], field.metadata["check"]
    assert re.fullmatch(r"\S.*[.]", row.says)
    takes_none = not isinstance(check, checks.Strategy) and _takes(check, None)
    assert ("None: " in row.says) == takes_none
    choices = isinstance(check, (checks.Choice, checks.Strategy))
    names = checks.look_up(check.table) if isinstance(check, checks.Strategy) else getattr(check, "names", ())
    assert choices == bool(row.means)
    assert set(field.metadata["means"]) == set(names)
    assert bool(row.own) == bool(isinstance(check, checks.Strategy) and check.methods)


def _takes(check: checks.Kind, value: object) -> bool:
    try:
        check("field", value)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("field", FIELDS)
def test_units_are_those_of_the_names(field: dataclasses.Field) -> None:
    by_name = next((UNITS[end] for end in sorted(UNITS, key=len, reverse=True) if field.name.endswith(end)), "")
    assert field.metadata["unit"] == ELSEWHERE.get(field.name, by_name)


@pytest.mark.parametrize("field", FIELDS)
def test_allowed_is_what_a_refusal_says(field: dataclasses.Field) -> None:
    with pytest.raises(ValueError, match=re.escape(f"must be {ROWS[field.name].allowed}")):
        Scenario(**{field.name: object() if field.name != "mobility" else 3})


def test_help_shows_every_field() -> None:
    shown = pydoc.plain(pydoc.render_doc(Scenario))
    lines = [line.removeprefix(" |").strip() for line in shown.splitlines()]
    together = " ".join(" ".join(lines).split())
    for row in ROWS.values():
        assert f"{row.name} = {row.default}" + (f"  [{row.unit}]" if row.unit else "") in lines
        assert " ".join(row.says.split()) in together
        assert all(f"{name!r}: {meaning}" in together for name, meaning in row.means.items())
        assert row.means or f"Allowed: {' '.join(row.allowed.split())}." in together
    assert max(map(len, Scenario.__doc__.split("Fields:")[1].splitlines())) <= scenario_help.WIDTH


def test_a_subclass_and_a_record_tell_of_themselves() -> None:
    assert Scenario().__doc__ == Scenario.__doc__
    assert Scenario.__doc__.startswith("One environment, completely")


def test_the_page_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "docs" / "fields.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_its_links_and_anchors_lead_somewhere() -> None:
    page = scenario_help.page(Scenario)
    here = [*re.findall(r'<a id="([\w-]+)"', page), *map(_slug, re.findall(r"^#+ (.*)", page, re.MULTILINE))]
    assert len(here) == len(set(here))
    for name, anchor in re.findall(r"\]\(([\w.-]*)#([\w-]+)\)", page):
        text = page if not name else (ROOT / "docs" / name).read_text(encoding="utf-8")
        there = [*re.findall(r'<a id="([\w-]+)"', text), *map(_slug, re.findall(r"^#+ (.*)", text, re.MULTILINE))]
        assert anchor in there, (name, anchor)


def _slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")


def test_every_reading_names_its_field() -> None:
    """The row of docs/model.md to which a field leads says the field's name, and its other choices."""
    rows = (ROOT / "docs" / "model.md").read_text(encoding="utf-8").splitlines()
    for row in ROWS.values():
        if row.reading:
            (reading,) = [line for line in rows if f'<a id="reading-{row.reading}"></a>' in line]
            assert f"`{row.name}=" in reading
            assert all(f'"{name}"' in reading for name in row.means)


def test_fields_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenarios", "--fields"]) == 0
    assert capsys.readouterr().out == scenario_help.text(ROWS.values()) + "\n"
    assert main(["scenarios", "--fields", "DOPPLER"]) == 0
    found = re.findall(r"^  (\w+) = ", capsys.readouterr().out, re.MULTILINE)
    assert {"doppler_hz", "bs_irs_doppler_hz", "fading", "carrier_frequency_hz"} <= set(found)
    assert "reward" not in found


@pytest.mark.parametrize("more", [["nonsense"], ["fading", "--scenario", "mdlbi-v0"]])
def test_fields_refuses(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenarios", "--fields", *more]) == 2
    assert capsys.readouterr().err.startswith("error: --fields")
