"""Absurd sizes are refused at once, with the memory that they would need; the estimate is no guess."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, evaluate, get_scenario, make_vec_env, sizes

MOST = 10**400


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"num_users": 10**9}, r"num_users=1,000,000,000.*at least 7,275,961 TiB; must be at most 4 GiB"),
        ({"num_bs": 10**6}, r"num_bs=1,000,000, .*at least 14\.\d+ TiB"),
        ({"num_irs": 10**9}, r"num_irs=1,000,000,000, .* TiB"),
        ({"num_antennas": 10**9}, r"num_antennas=1,000,000,000, .* TiB"),
        ({"num_elements": 10**9}, r"num_elements=1,000,000,000: .* TiB"),
        ({"num_elements": (10**9, 1, 1, 1)}, r"num_elements=1,000,000,000: .* GiB"),
        *(({name: MOST}, f"{name}=about 2\\^1328") for name in ("num_bs", "num_users", "num_irs", "num_antennas")),
        ({"num_irs": MOST, "num_elements": MOST}, r"more than 10\^12 TiB"),
        ({"sweeps": 10**9}, r"sweeps=1000000000: must be an integer in \[0, 1000\]"),
        ({"horizon": 10**12}, r"horizon=1000000000000: must be an integer in \[1, 1000000000\]"),
        ({"horizon": MOST}, r"horizon=<an integer of about 401 digits>"),
    ],
)
def test_absurd_sizes_are_refused_at_once(overrides: dict[str, Any], message: str) -> None:
    start = time.perf_counter()
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        Scenario(**overrides)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**6
    assert time.perf_counter() - start < 1.0


def test_the_line_is_where_it_is_said_to_be() -> None:
    largest = next(k for k in range(30_000, 10_000, -1) if _needed(num_users=k) <= sizes.LARGEST_ENVIRONMENT)
    assert Scenario(num_users=largest).num_users == largest
    with pytest.raises(ValueError, match=r"must be at most 4 GiB"):
        Scenario(num_users=largest + 1)


def _needed(**overrides: Any) -> int:
    s = Scenario(**{**overrides, "num_users": 1})
    object.__setattr__(s, "num_users", overrides["num_users"])
    return sizes.environment_bytes(s)


MANY_STRUCTURED = {"num_users": 300, "action": "structured", "observation": "large_scale"}


@pytest.mark.parametrize(
    ("scenario_id", "overrides"),
    [
        *((name, MANY_STRUCTURED) for name in ("mdlbi-v0", "mdlbi-small-v0")),
        *(
            ("mdlbi-v0", overrides)
            for overrides in (
                {},
                {"num_users": 400},
                {"num_bs": 60},
                {"num_elements": 1000},
                {"num_antennas": 200},
                {"num_irs": 16, "num_elements": 64, "action": "structured"},
            )
        ),
    ],
    ids=lambda o: o if isinstance(o, str) else "-".join(o) or "default",
)
def test_the_estimate_is_what_a_step_takes_at_least_and_not_a_fraction_of_it(
    scenario_id: str, overrides: dict[str, Any]
) -> None:
    scenario = get_scenario(scenario_id, **overrides)
    one = sizes.environment_bytes(scenario)
    num_envs = max(2, int(5e6 / one))
    tracemalloc.start()
    vec = make_vec_env(scenario, num_envs, fast=False)
    vec.reset(seed=0)
    for _ in range(2):
        vec.step(np.zeros((num_envs, scenario.num_bs, vec.action_size), np.float32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert one * num_envs < peak < sizes.STEP * one * num_envs


def test_batches_that_no_machine_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    one = int(sizes.STEP * sizes.environment_bytes(get_scenario("mdlbi-small-v0")))
    each = rf"a step would need up to .* \({sizes.in_words(one)} each\)"
    with pytest.raises(ValueError, match=rf"num_envs=1,000,000,000: {each}; must be at most"):
        make_vec_env("mdlbi-small-v0", 10**9)
    with pytest.raises(ValueError, match=r"num_envs=about 2\^1328: a step would need"):
        make_vec_env("mdlbi-small-v0", MOST)
    monkeypatch.delattr("os.sysconf")  # as on Windows
    with pytest.raises(ValueError, match=r"must be at most [\d,]+ here \(1 TiB\)"):
        make_vec_env("mdlbi-small-v0", 10**9)
    assert make_vec_env("mdlbi-small-v0", 2, fast=False).num_envs == 2
    monkeypatch.setattr(sizes, "_memory", lambda device: 10 * one)  # what a step takes decides, not what lasts
    assert make_vec_env("mdlbi-small-v0", 10, fast=False).num_envs == 10
    with pytest.raises(ValueError, match=r"num_envs=11: a step would need up to .*; must be at most 10 here"):
        make_vec_env("mdlbi-small-v0", 11)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": 10**12}, r"episodes=1,000,000,000,000, slots=100: their rates would need 7,275 TiB"),
        ({"episodes": MOST}, r"episodes=about 2\^1328"),
        ({"slots": 10**12}, r"slots=1000000000000: must be an integer in \[1, 100\]"),
        ({"every": 10**12}, r"every=1000000000000: must be an integer in \[1, 100\]"),
        ({"first": 10**12}, r"first=1000000000000: must be an integer in \[0, 99\]"),
        ({"processes": 10**9}, r"processes=1000000000: must be an integer in \[1, 1024\]"),
        ({"seed": -1}, r"seed=-1: must be an integer in \[0, 2\^10000\)"),
        ({"horizon": 10**9}, r"slots=1,000,000,000: their rates"),
    ],
)
def test_absurd_evaluations(options: dict[str, Any], message: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message):
        evaluate("random", "mdlbi-small-v0", **options)
    assert time.perf_counter() - start < 1.0


def test_a_seed_may_be_of_any_size() -> None:
    assert evaluate("random", "mdlbi-small-v0", 1, MOST, slots=1).seed == MOST


def test_bytes_in_words() -> None:
    assert [sizes.in_words(n) for n in (7, 2048, 3 << 20, 5 << 30, 3 << 39, 5 << 50)] == [
        *("7 bytes", "2 KiB", "3 MiB", "5 GiB", "1.5 TiB"),
        "5,120 TiB",
    ]
