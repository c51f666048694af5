"""Results: JSON that is whole or refused, and differences across what is the same physics."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Result, Scenario, evaluate, get_scenario
from irs_marl_env.cli import main
from irs_marl_env.result import dump, load, read

SMALL = get_scenario("mdlbi-small-v0", horizon=10)
RATES = np.random.default_rng(0).uniform(0, 5, (3, 2, 2)).round(6)
RESULT = Result("mine", SMALL, 5, RATES, every=2, first=1)
SHARE = np.random.default_rng(1).uniform(0, 1, (3, 2, 2))
USERS = np.stack(
    [RATES[..., 0] * SHARE[..., 0], RATES[..., 0] * (1 - SHARE[..., 0]), RATES[..., 1], 0 * RATES[..., 1]], -1
)
USERS = USERS.round(6)
CELL = np.broadcast_to(np.array([0, 0, 1, 1]), USERS.shape)
POWER = np.full(RATES.shape, 0.398107)
FULL = Result("mine", SMALL, 5, RATES, 2, 1, USERS, CELL, POWER)


def changed(**values: Any) -> dict[str, Any]:
    plain = copy.deepcopy(RESULT.to_dict())
    for name, value in values.items():
        plain[name] = value
        if value is ...:
            del plain[name]
    return plain


def full(**values: Any) -> dict[str, Any]:
    plain = copy.deepcopy(FULL.to_dict())
    for name, value in values.items():
        plain[name] = value
        if value is ...:
            del plain[name]
    return plain


def one_more(array: np.ndarray, value: float) -> list[Any]:
    """An array in which one number is another."""
    array = np.array(array)
    array[1, 0, 1] = value
    return array.tolist()


def ragged() -> list[Any]:
    rates = RATES.tolist()
    del rates[1][1]
    return rates


BROKEN: dict[str, tuple[Any, str]] = {
    "no policy": (changed(policy=...), "policy missing"),
    "no rates": (changed(rates=..., seed=...), "seed, rates missing"),
    "policy": (changed(policy=3), "policy=3: must be a text"),
    "surrogate": (changed(policy="\ud800"), "policy=.*: must be a text"),
    "scenario": (changed(scenario="mdlbi-v0"), "not a scenario: must be fields by name, not str"),
    "field": (changed(scenario={"num_user": 3}), "did you mean 'num_users'"),
    "sizes": (changed(scenario={"num_users": 10**9}), "at least .* TiB"),
    "seed": (changed(seed=-1), "seed=-1: must be an integer >= 0"),
    "no seed": (changed(seed=None), "seed=None"),
    "half a seed": (changed(seed=1.5), "seed=1.5"),
    "every": (changed(every=0), "every=0"),
    "first": (changed(first=-1), "first=-1"),
    "late": (changed(first=9), "last measured slot=11: must be within the 10 slots"),
    "text": (changed(rates="1, 2"), "rates='1, 2': must be"),
    "texts": (changed(rates=[[["1", "2"]]]), "rates=.*: must be"),
    "flags": (changed(rates=[[[True, False]]]), "rates=.*: must be"),
    "null": (changed(rates=[[[None, 1.0]]]), "rates=.*: must be"),
    "object": (changed(rates={"0": 1}), "rates=.*: must be"),
    "ragged": (changed(rates=ragged()), "rates=.*: must be"),
    "flat": (changed(rates=[1.0, 2.0]), r"rates of shape \(2,\): must be"),
    "none": (changed(rates=[]), r"rates of shape \(0,\): must be"),
    "no slots": (changed(rates=[[], []]), r"rates of shape \(2, 0\): must be"),
    "base stations": (changed(rates=RATES[..., :1].tolist()), r"shape \(3, 2, 1\): must be \(episodes, slots, 2\)"),
    "nan": (changed(rates=[[[float("nan"), 1.0]]]), r"rates\[0, 0, 0\]=nan: must be a finite number in \[0, 1e\+09\]"),
    "inf": (changed(rates=[[[1.0, 1e999]]]), r"rates\[0, 0, 1\]=inf"),
    "huge": (changed(rates=[[[1.0, 10**400]]]), "rates=.*: must be"),
    "negative": (changed(rates=[[[1.0, -0.5]]]), r"rates\[0, 0, 1\]=-0.5"),
    "mean": (changed(mean=1.0), r"mean=1.0: must be that of the rates, \d"),
    "mean text": (changed(mean="1"), "mean='1'"),
    "error": (changed(standard_error=9.0), "standard_error=9.0"),
    "per_bs": (changed(per_bs=[1.0, 2.0]), r"per_bs=\[1.0, 2.0\]: must be that of the rates"),
    "per_bs of others": (changed(per_bs=[1.0]), r"per_bs=\[1.0\]"),
    "lost episode": (changed(rates=RATES[:2].tolist()), "mean=.*: must be that of the rates"),
    "list": ([1], "must be an object, not list"),
    "no users": (full(user_rates=...), "user_rates missing; user_rates, cell, power_w belong together"),
    "users alone": (full(cell=..., power_w=None), "cell, power_w missing"),
    "users of others": (full(user_rates=USERS[..., :3].tolist()), r"user_rates of shape \(3, 2, 3\): must be .*, 4\)"),
    "users of fewer slots": (
        full(user_rates=USERS[:, :1].tolist()),
        r"user_rates of shape \(3, 1, 4\): .*rates, \(3, 2\)",
    ),
    "users of fewer episodes": (full(cell=CELL[:2].tolist()), r"cell of shape \(2, 2, 4\): must be that of the rates"),
    "power of fewer slots": (full(power_w=POWER[:, :1].tolist()), r"power_w of shape \(3, 1, 2\)"),
    "power of users": (full(power_w=USERS.tolist()), r"power_w of shape \(3, 2, 4\): must be \(episodes, slots, 2\)"),
    "text of users": (full(user_rates="x"), "user_rates='x': must be"),
    "negative user": (full(user_rates=one_more(USERS, -1.0)), r"user_rates\[1, 0, 1\]=-1.0: must be a finite number"),
    "nan user": (full(user_rates=one_more(USERS, float("nan"))), r"user_rates\[1, 0, 1\]=nan"),
    "huge user": (full(user_rates=one_more(USERS, 1e10)), r"user_rates\[1, 0, 1\]=10000000000.0"),
    "cell of none": (full(cell=one_more(CELL, 2)), r"cell\[1, 0, 1\]=2: must be an integer in \[0, 1\]"),
    "cell -1": (full(cell=one_more(CELL, -1)), r"cell\[1, 0, 1\]=-1: must be an integer"),
    "half a cell": (full(cell=one_more(CELL.astype(float), 0.5)), "cell=.*: must be .* integers"),
    "true cell": (full(cell=(CELL == 1).tolist()), "cell=.*: must be .* integers"),
    "huge cell": (full(cell=[[[10**30, 0, 1, 1]]]), "cell=.*: must be .* integers"),
    "too loud": (full(power_w=one_more(POWER, 0.4)), r"power_w\[1, 0, 1\]=0.4: must be a finite number in \[0, 0.39"),
    "power nan": (full(power_w=one_more(POWER, float("nan"))), r"power_w\[1, 0, 1\]=nan"),
    "other sums": (
        full(user_rates=one_more(USERS, 9.0)),
        r"sum of user_rates\[1, 0\] over the users with cell 0=.*rates",
    ),
    "other cells": (
        full(cell=one_more(CELL, 1)),
        r"sum of user_rates\[1, 0\] over the users with cell 0=.*: must be rates",
    ),
    "other rates": (
        full(rates=one_more(RATES, 1.0), mean=..., standard_error=...),
        r"sum of user_rates\[1, 0\] .*cell 1=",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_result_is_one_message_that_names_the_file(tmp_path: Path, kind: str, capsys: Any) -> None:
    value, message = BROKEN[kind]
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"results": [RESULT.to_dict(), value]}), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        Result.from_dict(value)
    with pytest.raises(ValueError, match=rf"r\.json: results\[1\]: .*{message}"):
        read(path)
    assert main(["results", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {path}: results[1]: ")
    assert len(printed.err) < 1300
    assert printed.out == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is nothing in it"),
        ("{", "not a file of results in JSON"),
        ("[]", "an object, not list"),
        ("{}", 'no list "results"'),
        ('{"results": []}', "at least one"),
        ('{"results": {}}', 'no list "results"'),
        ('{"results": [], "results": []}', "'results' stands twice"),
        ("[" * 50_000, "nested too deeply"),
        (dump([RESULT])[:-200], "not a file of results in JSON"),
    ],
)
def test_files_of_something_else(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"r\.json: .*{message}"):
        read(tmp_path / "r.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_was_written_is_read(tmp_path: Path, encoding: str) -> None:
    named = Result("größer", SMALL, 5, RATES)
    (tmp_path / "r.json").write_text(dump([RESULT, named]), encoding=encoding)
    first, second = read(tmp_path / "r.json")
    np.testing.assert_array_equal(first.rates, RATES)
    assert (first.policy, first.scenario, first.seed, first.every, first.first) == ("mine", SMALL, 5, 2, 1)
    assert second.policy == "größer"
    assert load(dump([first]))[0].mean == RESULT.mean
    assert Result.from_dict(changed(per_bs=RESULT.per_bs.mean.tolist())).mean == RESULT.mean
    assert Result.from_dict(changed(mean=..., standard_error=..., every=..., first=...)).mean == RESULT.mean


def test_users_cells_and_powers_are_written_and_read(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(dump([FULL, RESULT]), encoding="utf-8")
    again, bare = read(tmp_path / "r.json")
    for name, array in (("rates", RATES), ("user_rates", USERS), ("cell", CELL), ("power_w", POWER)):
        np.testing.assert_array_equal(getattr(again, name), array)
    assert again.cell is not None
    assert again.cell.dtype.kind == "i"
    assert again.to_json() == FULL.to_json()
    assert bare.user_rates is bare.cell is bare.power_w is None
    assert FULL.to_json(users=False) == RESULT.to_json()
    assert dump([FULL], users=False) == dump([RESULT])
    assert Result.from_dict(FULL.to_dict()).metric("jain").mean == FULL.metric("jain").mean
    lines = FULL.to_json().splitlines()
    assert len(lines) == 1 + 4 * (3 + 1)  # an episode of an array on each


def test_committed_files_are_read_and_have_no_users() -> None:
    root = Path(__file__).parents[1] / "results" / "baselines"
    found = read(next(iter(sorted(root.glob("K10-L2*.json")))))
    assert all(one.user_rates is None for one in found)
    with pytest.raises(ValueError, match="needs user_rates, which 'random' does not have"):
        found[0].metric("min_rate")


# --- differences ---------------------------------------------------------------------------------------------------


def result(policy: str = "a", **overrides: Any) -> Result:
    scenario = SMALL.replace(**overrides)
    return Result(policy, scenario, 0, RATES[..., : scenario.num_bs] if scenario.num_bs < 3 else RATES)


@pytest.mark.parametrize(
    "overrides",
    [
        {"tx_power_dbm": 30.0},
        {"blockage_db": 3.0},
        {"num_users": 5},
        {"num_elements": 8},
        {"association_delay": 1},
        {"reflection": "all"},
        {"contention": "collision"},
        {"mobility": "static"},
        {"power": "sphere"},
        {"phase_bits": 2},
        {"sinr": "paper"},
        {"csi_error_variance": 0.1},
        {"num_irs": 1},
    ],
    ids=lambda o: next(iter(o)),
)
def test_other_physics_is_compared_only_across(overrides: dict[str, Any]) -> None:
    name = next(iter(overrides))
    mine, its = result(), result("b", **overrides)
    with pytest.raises(ValueError, match=rf"'a' and 'b' met different physics: {name}=.* and .*across=True"):
        mine.difference(its)
    with pytest.raises(ValueError, match="different physics"):
        its.difference(mine)
    np.testing.assert_array_equal(mine.difference(its, across=True).episodes, mine.episodes - its.episodes)


def test_what_belongs_to_a_policy_is_no_physics() -> None:
    other = {"action": "structured", "observation": "large_scale", "sweeps": 5, "rho": "none", "csi": "owned"}
    its = result("b", **other, reward="team", team_weight=0.1, bid_cost=0.5, horizon=50)
    assert result().difference(its).mean == 0.0


def test_policies_without_irs_are_compared_with_those_that_have_some() -> None:
    bare = result("no-irs", num_irs=0)
    assert result(association_delay=1).difference(bare).mean == 0.0
    with pytest.raises(ValueError, match=r"noise_power_dbm=-70\.0 and -80\.0"):
        result(noise_power_dbm=-70.0).difference(bare)
    with pytest.raises(ValueError, match="num_irs=2 and 0"):  # one policy: then it is the scenario that is compared
        result("no-irs").difference(bare)


def test_evaluated_policies_pair_whatever_they_need() -> None:
    found = [evaluate(p, SMALL, 2, slots=1) for p in ("random", "no-irs-mrt", "structured-fixed", "upper-bound")]
    for mine in found:
        for its in found:
            assert np.isfinite(mine.difference(its).mean)
    trace = Scenario(mobility="trace", trace=np.ones((2, 1, 2)), horizon=1, num_users=1)
    pair = [Result(name, trace.replace(), 0, RATES[:, :1]) for name in "ab"]
    assert pair[0].difference(pair[1]).mean == 0.0
