"""What a policy neglects is said, once, and nothing else is."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, evaluate
from irs_marl_env.policies import POLICIES, ClassicalPolicy
from irs_marl_env.policies.limits import LIMITS

TINY = Scenario(num_bs=2, num_users=3, num_irs=2, num_antennas=2, num_elements=4, horizon=10)
PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"


def options(name: str, **fields: Any) -> list[str]:
    """The options that a policy neglects."""
    return [sentence.split(":")[0] for sentence in POLICIES[name].neglects(TINY.replace(**fields))]


@pytest.mark.parametrize("name", POLICIES)
def test_nothing_is_neglected_by_default(name: str) -> None:
    assert options(name) == []


@pytest.mark.parametrize(
    ("fields", "concerned", "not_concerned"),
    [
        (
            {"inter_cell_interference": True},
            ["exhaustive-ao", "no-irs-wmmse", "random-ao", "structured-random", "local-gain-ao-pf", "random-wmmse"],
            ["random", "no-irs-mrt", "random-rzf", "structured-oracle"],
        ),
        (
            {"reflection": "all"},
            ["exhaustive-ao", "random-ao", "structured-exhaustive", "structured-marginal", "head-count"],
            ["random", "random-wmmse", "random-mrt", "no-irs-wmmse"],
        ),
        ({"sinr": "paper"}, ["greedy-ao", "random-wmmse", "structured-fixed"], ["random-rzf", "random"]),
        ({"sinr": "reflected"}, ["marginal-ao"], ["no-irs-mrt"]),
        ({"reflection": "all", "num_irs": 0}, [], ["exhaustive-ao"]),
        ({"inter_cell_interference": True, "num_bs": 1}, [], ["exhaustive-ao"]),
        (
            {"switching_slots": 2},
            ["exhaustive-ao", "greedy-ao", "structured-marginal", "structured-exhaustive"],
            ["planner", "hysteresis", "fixed-ao", "local-gain-ao", "random-ao"],
        ),
        ({"switching_slots": 2, "num_irs": 0}, [], ["exhaustive-ao"]),
    ],
)
def test_who_neglects_what(fields: dict[str, Any], concerned: list[str], not_concerned: list[str]) -> None:
    for name in concerned:
        assert len(options(name, **fields)) == 1, name
    for name in not_concerned:
        assert options(name, **fields) == [], name


@pytest.mark.parametrize("rule", ["fixed", "marginal", "marginal-rate", "greedy", "exhaustive"])
def test_a_rule_that_values_irss_neglects_whatever_the_beams(rule: str) -> None:
    mixed = ClassicalPolicy("mine", rule, "mrt")
    assert len(mixed.neglects(TINY.replace(reflection="all", inter_cell_interference=True, sinr="paper"))) == 3
    assert ClassicalPolicy("mine", "local-gain", "mrt").neglects(TINY.replace(reflection="all", sinr="paper")) == []


def test_evaluate_warns_once_and_names_both() -> None:
    with pytest.warns(UserWarning, match="neglects") as caught:
        evaluate(
            "exhaustive-ao", TINY, episodes=20, slots=1, inter_cell_interference=True, reflection="all", processes=2
        )
    assert [str(w.message).split(":")[0] for w in caught] == [
        "policy 'exhaustive-ao' neglects inter_cell_interference=True",
        "policy 'exhaustive-ao' neglects reflection=\"all\"",
    ]
    assert {Path(w.filename).name for w in caught} == {"test_limits.py"}  # it points to whoever called


def test_the_bound_is_one_whatever_interferes() -> None:
    """It says nothing: with less interference than there is it is still above."""
    for fields in ({"inter_cell_interference": True}, {"reflection": "all"}, {"csi_error_variance": 0.2}):
        bound = evaluate("upper-bound", TINY, episodes=4, slots=2, **fields)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reached = evaluate("exhaustive-ao", TINY, episodes=4, slots=2, **fields)
        assert (reached.rates <= bound.rates * (1 + 1e-4) + 1e-6).all()


def lowest(bids: Any, tie_break: Any) -> Any:
    """The lowest bid wins, which no baseline expects."""
    return bids.argmin(-2)


def highest(bids: Any, tie_break: Any) -> Any:
    return bids.argmax(-2)


def test_owners_that_a_contention_of_ones_own_did_not_give() -> None:
    with pytest.warns(UserWarning, match="'local-gain-ao' bids .* but the contention .*lowest.* gave IRSs to others"):
        evaluate("local-gain-ao", TINY, episodes=2, slots=3, contention=lowest)
    assert np.isfinite(evaluate("local-gain-ao", TINY, episodes=2, slots=3, contention=highest).mean)
    assert np.isfinite(evaluate("random-ao", TINY, episodes=2, slots=2, every=4, contention=highest).mean)


def test_the_page_has_every_policy_and_every_limit() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for limit in LIMITS:
        assert f"`{limit.option}`" in text or all(f"`{part}`" in text for part in re.split(" or ", limit.option))
    for name in POLICIES:
        assert f"`{name}`" in text
