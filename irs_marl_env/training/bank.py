"""The evaluation bank of a training: the episodes on which its agents and all baselines are measured."""

from __future__ import annotations

from typing import Any

from irs_marl_env.evaluation import BATCH, Result, evaluate
from irs_marl_env.scenario import Scenario
from irs_marl_env.sizes import environment_bytes
from irs_marl_env.training.settings import Args

LAST = 3  # evaluations averaged into the score of a run
TOGETHER, ROOM = 128, 2**22  # episodes stepped together at most, and bytes of their environments if more than BATCH


def on_bank(policy: Any, args: Args, scenario: Scenario) -> Result:
    """A policy on the evaluation bank, which has the same draws for every policy."""
    every = args.eval_apart or max(1, scenario.horizon // args.eval_slots)
    slots = min(args.eval_slots, 1 + (scenario.horizon - 1) // every)
    fitting = max(BATCH, ROOM // environment_bytes(scenario))  # small environments step more quickly together
    batch = min(args.eval_episodes, fitting, TOGETHER)
    return evaluate(policy, scenario, args.eval_episodes, args.eval_seed, slots, every, batch=batch, progress=False)
