"""The evaluation bank of a training: the episodes on which its agents and all baselines are measured."""

from __future__ import annotations

from typing import Any

from irs_marl_env.evaluation import Result, evaluate
from irs_marl_env.scenario import Scenario
from irs_marl_env.training.settings import Args

LAST = 3  # evaluations averaged into the score of a run


def on_bank(policy: Any, args: Args, scenario: Scenario) -> Result:
    """A policy on the evaluation bank, which has the same draws for every policy."""
    every = max(1, scenario.horizon // args.eval_slots)
    slots = min(args.eval_slots, scenario.horizon)
    return evaluate(policy, scenario, args.eval_episodes, args.eval_seed, slots=slots, every=every, progress=False)
