"""Every scenario field with values that nobody should give: accepted and finite, or refused in one short message."""

from __future__ import annotations

import array
import dataclasses
import datetime
import json
import time
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, get_scenario, make_env
from irs_marl_env.checks import LONGEST, near, refusal, shown
from irs_marl_env.scenario import ScenarioError
from irs_marl_env.scenario_text import parse_assignments, scenario_named


class BadRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class LongRepr:
    def __repr__(self) -> str:
        return "x" * 10**6


class Evil:
    """Raises whatever it is asked."""

    __hash__ = None  # type: ignore[assignment]

    def _raise(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("evil")

    __eq__ = __index__ = __float__ = __int__ = __len__ = __iter__ = __array__ = __fspath__ = __bool__ = _raise
    __getattr__ = _raise


def nested(depth: int) -> Any:
    value: Any = 1.0
    for _ in range(depth):
        value = [value]
    return value


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)

JSON_VALUES: list[Any] = [
    *(None, True, False, "", "x", "x" * 10**5, "\0", 10**400, -(10**400), -1, 0, 1, 2**63, 5e-324, -0.0, 1e308, -1e308),
    *(
        float("nan"),
        float("inf"),
        float("-inf"),
        [],
        {},
        [[]],
        [[[]]],
        [[[1]]],
        [[[1, 2]]],
        nested(50),
        {"a": 1},
        [None],
    ),
]
VALUES: list[Any] = [
    *JSON_VALUES,
    *(10**5000, "\ud800", (), nested(10**4), ENDLESS, 1j, b"x", b"1", bytearray(b"1"), memoryview(b"1"), Ellipsis),
    *(np.float64(1), np.float32("nan"), np.int64(1), np.bool_(True), np.complex64(1), np.longdouble("1e4000")),
    *(np.array(1), np.array([1]), np.array([1.0, 2.0]), np.zeros(0), np.zeros((3, 0, 2)), np.array("a")),
    *(np.datetime64("2020"), np.timedelta64(1, "s"), datetime.date(2020, 1, 1), array.array("d", [1.0])),
    *(Path("/"), Path("missing"), Decimal(1), Decimal("NaN"), Decimal("sNaN"), Decimal("1e999999")),
    *(
        Fraction(1, 2),
        Fraction(10**400),
        object(),
        BadRepr(),
        LongRepr(),
        Evil(),
        int,
        float,
        set(),
        range(3),
        slice(1),
    ),
]
FIELDS = {field.name: field for field in dataclasses.fields(Scenario)}


def finite_or_refused(field: str, make: Any) -> bool:
    """Whether the scenario was made; it then gives finite numbers."""
    message = None
    try:
        env = make_env(make(), fast=False)
        env.reset(seed=0)
    except ValueError as error:  # a ScenarioError, or what the part refuses that the value is for
        message = str(error)
    if message is not None:
        assert field in message
        assert len(message) < 1300
        return False
    action = {agent: np.full(env.action_space(agent).shape, 0.3, np.float32) for agent in env.agents}
    observations, rewards, *_ = env.step(action)
    assert all(np.isfinite(x).all() for x in (*observations.values(), *rewards.values(), env.state()))
    return True


@pytest.mark.parametrize("field", FIELDS)
def test_hostile_values_in_python(field: str) -> None:
    extra = {"mobility": "trace"} if field == "trace" else {}
    start, made = time.perf_counter(), []
    for value in VALUES:
        if not (field in extra or (field == "trace" and value is None)):
            made.append(finite_or_refused(field, lambda v=value: get_scenario("mdlbi-small-v0", **{field: v}, **extra)))
    assert not all(made)
    assert time.perf_counter() - start < 20.0


@pytest.mark.parametrize("field", FIELDS)
def test_hostile_values_in_json_and_on_the_command_line(field: str, tmp_path: Path) -> None:
    base = json.loads(get_scenario("mdlbi-small-v0", **({"mobility": "trace"} if field == "trace" else {})).to_json())
    path = tmp_path / "s.json"
    for value in JSON_VALUES:
        if field == "trace" and value is None:
            continue
        text = json.dumps(value)
        path.write_text(json.dumps({**base, field: value}), encoding="utf-8")
        in_file = finite_or_refused(field, lambda: scenario_named(str(path)))
        path.write_text(json.dumps(base), encoding="utf-8")
        make = partial(scenario_named, str(path), **parse_assignments([f"{field}={text}"]))
        assert finite_or_refused(field, make) == in_file


def test_the_subnormal_area_is_refused_in_words() -> None:
    with pytest.raises(ScenarioError, match=r"area_width_m=5e-324: must be a finite number in \[0\.001, 1e\+06\]"):
        Scenario(area_width_m=5e-324)
    with pytest.raises(ScenarioError, match=r"at most half the .* 0\.5 \(area_width_m=1, num_bs \* cell_depth_m=80\)"):
        Scenario(area_width_m=1.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10**400, "<an integer of about 401 digits>"),
        (-(10**5000), "<a negative integer of about 5001 digits>"),
        (10**20, "1" + "0" * 20),
        (BadRepr(), "<BadRepr"),
        (nested(10**5), "[[[[[[[...]]]]]]]"),
        (list(range(10**6)), "[0, 1, 2, 3"),
        ("x" * 10**6, "'xxx"),
        (LongRepr(), "xxx"),
        (np.zeros((100, 100)), "array([[0."),
        ([16, "x"], "[16, 'x']"),
        ((1.5,), "(1.5,)"),
    ],
    ids=range(11),
)
def test_values_are_shown_short(value: Any, text: str) -> None:
    found = shown(value)
    assert found.startswith(text)
    assert len(found) <= LONGEST
    assert "\n" not in found
    assert str(refusal("field", value, "something else")) == f"field={found}: must be something else"


def test_near_matches() -> None:
    assert near("mdlbi-smal-v0", ("mdlbi-small-v0", "mdlbi-v0")) == "; did you mean 'mdlbi-small-v0'?"
    assert near("zzz", ("mdlbi-v0",)) == ""
    with pytest.raises(ScenarioError, match=r"'mdlbi-vo' is not known; allowed: .*; did you mean 'mdlbi-v0'\?"):
        get_scenario("mdlbi-vo")


@pytest.mark.parametrize("field", ["reward", "contention", "observation"])
def test_parts_that_are_none_are_refused_before_the_first_step(field: str) -> None:
    for value in (int, lambda *given: None, lambda *given: 3) if field == "observation" else (int, type, BadRepr):
        with pytest.raises(ValueError, match=f"{field}=.*must be"):
            make_env("mdlbi-small-v0", fast=False, **{field: value}).reset(seed=0)
