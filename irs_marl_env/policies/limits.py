"""What a policy without learning does not regard: the one list of it.

A policy that chooses as if an option of the scenario were another one is still run: its rates are true, but it may be
far from what its name promises. ``evaluate`` warns of it, and docs/evaluation.md has the list as a table, with what a
policy knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from irs_marl_env.scenario import Scenario

_OPTIMISED = ("ao", "wmmse", "structured")  # beams that maximise a rate; MRT and RZF are formulas that promise nothing
_SOLVED = ("ao", "structured")  # phases that maximise it, too
_SLOTWISE = ("marginal", "marginal-rate", "greedy", "exhaustive")  # owners that maximise it in the present slot
_VALUED = (*_SLOTWISE, "fixed", "planner")  # in whatever slots
_TRYING = ("oracle",)  # owners by what the scenario really brings with each of them, whatever its options


class Limit(NamedTuple):
    """An option, and what is chosen without regard to it."""

    option: str  # as it is written
    holds: Callable[[Scenario], bool]
    transmissions: tuple[str, ...]  # of the policies that it concerns
    rules: tuple[str, ...]  # the same
    neglect: str  # what they choose as if


LIMITS = (
    Limit(
        "inter_cell_interference=True",
        lambda s: s.inter_cell_interference and s.num_bs > 1,
        _OPTIMISED,
        _VALUED,
        "it maximises the rate of each cell as if there were no interference between cells",
    ),
    Limit(
        'reflection="all"',
        lambda s: s.reflection == "all" and s.num_irs > 0 and s.num_bs > 1,
        _SOLVED,
        _VALUED,
        "it maximises the rate of each cell as if foreign IRSs scattered nothing to its users",
    ),
    Limit(
        'sinr="paper" or "reflected"',
        lambda s: s.sinr != "physical",
        _OPTIMISED,
        _VALUED,
        "it maximises rates by the SINR of sinr='physical'",
    ),
    Limit(
        "switching_slots > 0",
        lambda s: s.switching_slots > 0 and s.num_irs > 0 and s.num_bs > 1,
        (),
        _SLOTWISE,
        "it chooses the owners of a slot as if an IRS that changes hands were not idle",
    ),
)


def neglected(rule: str, transmission: str, scenario: Scenario) -> list[str]:
    """What a policy of these parts neglects of a scenario, a sentence each."""
    if rule in _TRYING:
        return []
    return [
        f"{limit.option}: {limit.neglect}"
        for limit in LIMITS
        if limit.holds(scenario) and (transmission in limit.transmissions or rule in limit.rules)
    ]
