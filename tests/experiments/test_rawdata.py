"""The layout of result files: nothing is lost, and an episode, a point or a seed stands on one line."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.rawdata import WIDTH, dumps
from irs_marl_env import Scenario, evaluate
from irs_marl_env.result import dump, load

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=25) | st.dictionaries(st.text(), inner, max_size=15), max_leaves=60
)


@given(VALUES)
def test_nothing_is_lost(value):
    text = dumps(value)
    assert json.dumps(json.loads(text)) == json.dumps(value)  # numbers by their digits, keys in order
    assert text.endswith("\n")


def test_an_episode_stands_on_one_line():
    results = [evaluate(name, "mdlbi-small-v0", episodes=3, slots=2, num_irs=1) for name in ("random", "random-mrt")]
    text = dump(results)
    lines = [line.strip().rstrip(",") for line in text.splitlines()]
    for result in results:
        assert all(json.dumps(episode) in lines for episode in result.rates.tolist())
    again = load(text)
    assert [result.to_json() for result in again] == [result.to_json() for result in results]
    everything_on_a_line = json.dumps({"results": [result.to_dict() for result in results]})  # the older layout
    assert [result.to_json() for result in load(everything_on_a_line)] == [result.to_json() for result in results]


def test_records_and_rows_stand_on_one_line_and_settings_share_lines():
    point = {"update": 500, "score": 1.25, "sweeps": {"5": 1.5, "10": 1.625}}
    value = {
        "config": json.loads(Scenario().to_json()),
        "curve": [point, point],
        "episodes": [i / 8 for i in range(25)],
    }
    lines = dumps(value).splitlines()
    assert [line.strip().rstrip(",") for line in lines].count(json.dumps(point)) == 2
    assert "  0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0, 1.125," in lines
    assert max(map(len, lines)) <= WIDTH
    assert len(lines) < 30


@pytest.mark.parametrize("bad", [math.nan, [math.inf], {"a": [[math.nan]]}])
def test_numbers_are_finite(bad):
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps(bad)
