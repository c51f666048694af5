"""JSON of users: encodings that are read, texts that are refused, and how commands say so."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from irs_marl_env import Scenario
from irs_marl_env.cli import main
from irs_marl_env.json_text import parse, read_text
from irs_marl_env.scenario_text import parse_assignments

SCENARIO = Scenario(num_users=3, num_irs=1)
TEXT = SCENARIO.to_json()
ENCODINGS = {
    "utf-8": b"",
    "utf-8-sig": b"",  # these write their mark themselves
    "utf-16": b"",
    "utf-32": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encodings_with_and_without_a_mark(tmp_path: Path, encoding: str, capsys: Any) -> None:
    for mark in {ENCODINGS[encoding], b""}:
        raw = mark + TEXT.encode(encoding)
        path = tmp_path / "s.json"
        path.write_bytes(raw)
        assert main(["scenarios", "--scenario", str(path)]) == 0
        assert Scenario.from_json(capsys.readouterr().out) == SCENARIO
        assert Scenario.from_json(raw) == SCENARIO
    assert Scenario.from_json("\ufeff" + TEXT) == SCENARIO


DEEP = "[" * 50_000
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "there is nothing in it"),
    "a mark alone": (codecs.BOM_UTF8 + b" \n", "there is nothing in it"),
    "half": (TEXT[: len(TEXT) // 2].encode(), "line 1 column"),
    "twice": (TEXT.encode() * 2, "Extra data"),
    "list": (b"[]", "an object, not list"),
    "null": (b"null", "an object, not NoneType"),
    "number": (b"3", "an object, not int"),
    "bytes": (b"{\xff\xfe}" + TEXT.encode(), "not a text in UTF-8, UTF-16 or UTF-32"),
    "latin": ('{"reward": "ä"}'.encode("latin-1"), "not a text in UTF-8"),
    "binary": (bytes(range(256)), "not a text in UTF-8"),
    "deep": (DEEP.encode(), "nested too deeply"),
    "deep value": (b'{"trace": ' + DEEP.encode() + b"}", "nested too deeply"),
    "nested": (b'{"mobility": "trace", "trace": ' + b"[" * 500 + b"]" * 500 + b"}", "trace=.*must be None"),
    "one key twice": (b'{"num_users": 2, "num_users": 3}', "the key 'num_users' stands twice"),
    "unknown": (b'{"num_user": 2}', "did you mean 'num_users'"),
    "nan": (b'{"speed_mps": NaN}', "speed_mps=nan: must be a finite number"),
    "infinity": (b'{"speed_mps": -Infinity}', "speed_mps=-inf"),
    "large": (b'{"speed_mps": 1e999}', "speed_mps=inf"),
    "10^400": (b'{"num_users": 1' + b"0" * 400 + b"}", "num_users=about 2"),
    "10^400 m": (b'{"speed_mps": 1' + b"0" * 400 + b"}", "speed_mps=<an integer of about 401 digits>"),
    "10^5000": (b'{"num_users": 1' + b"0" * 5000 + b"}", "num_users=inf"),
    "subnormal": (b'{"area_width_m": 5e-324}', "area_width_m=5e-324: must be a finite number in"),
    "text": (b'{"num_users": "3"}', "num_users='3': must be an integer"),
    "object": (b'{"num_users": {}}', "num_users={}: must be an integer"),
    "surrogate": (b'{"reward": "\\ud800"}', "reward="),
    "long": (b'{"reward": "' + b"x" * 10**6 + b'"}', "reward='xxx"),
    "import": (b'{"reward": "os:system"}', "trusted=True"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_scenario_file_is_one_message_that_names_it(tmp_path: Path, kind: str, capsys: Any) -> None:
    path = tmp_path / "broken.json"
    content, message = BROKEN[kind]
    path.write_bytes(content)
    assert main(["scenarios", "--scenario", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {path}: ")
    assert len(printed.err) < 1400
    with pytest.raises(ValueError, match=message):
        Scenario.from_json(content)


def test_files_that_cannot_be_read(tmp_path: Path, capsys: Any) -> None:
    for name in (tmp_path / "missing.json", tmp_path, tmp_path / ("x" * 5000 + ".json")):
        assert main(["results", str(name)]) == 2
        message = capsys.readouterr().err
        assert str(name)[:200] in message
        assert len(message) < 600
    with pytest.raises(OSError, match="missing"):
        read_text(tmp_path / "missing.json")


def test_assignments_that_are_no_json_are_texts() -> None:
    found = parse_assignments(["a=[1, 2]", "b=NaN", "c=" + DEEP, "d=None", "e=x=y", "f=true"])
    assert found["a"] == [1, 2]
    assert found["b"] != found["b"]
    assert (found["c"], found["d"], found["e"], found["f"]) == (DEEP, None, "x=y", True)


def test_parse_keeps_what_json_says() -> None:
    value = {"a": [1, 2.5, None, True, "ü"], "b": {"c": -(10**300)}}
    assert parse(json.dumps(value)) == value
    with pytest.raises(ValueError, match="a text or bytes, not int"):
        parse(3)  # type: ignore[arg-type]
