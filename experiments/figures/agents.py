"""Agents trained once by the trainer and kept: their weights, how they learned, and what they score on the bank."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from examples.maddpg import advance, prepare
from experiments.figures.tools import BANK, once
from irs_marl_env import evaluate
from irs_marl_env.training.policy import TrainedPolicy, load_policy, save_policy
from irs_marl_env.training.settings import Args


def settings(algo: Any, scenario: str, fields: dict[str, Any], seed: int, updates: int, **changes: Any) -> Args:
    """The trainer's structured preset, with a batch and a number of environments that large systems can pay."""
    return replace(
        Args(),
        algo=algo,
        scenario=scenario,
        set=tuple(f"{key}={value}" for key, value in fields.items()),
        seed=seed,
        updates=updates,
        **{"num_envs": 16, "batch": 64, "critic_warmup": min(150, updates // 4), "device": "cpu", **changes},
    )


def trained(path: Path, args: Args, window: int = 25) -> tuple[TrainedPolicy, dict[str, Any]]:
    """A policy and the record of its training, from ``path`` (``.safetensors`` and ``.json``) or trained now.

    Args:
        path: without suffix.
        args: of the trainer.
        window: updates over which the training rate (with exploration) is averaged for the record.
    """
    weights, record = path.with_suffix(".safetensors"), path.with_suffix(".json")

    def make() -> dict[str, Any]:
        run = prepare(args)
        updates, rate = [], []
        begun = time.process_time()
        while run.learner.updates < args.updates:
            advance(run)
            if run.learner.updates % window == 0:
                updates.append(run.learner.updates)
                rate.append(run.progress.means()["train"])
        spent = time.process_time() - begun
        path.parent.mkdir(parents=True, exist_ok=True)
        save_policy(run.policy(), weights)
        return {"args": asdict(args), "updates": updates, "train": rate, "training_cpu_seconds": spent}

    if not weights.is_file():
        record.unlink(missing_ok=True)
    history = once(record, make)
    return load_policy(weights), history


def scores(policy: Any, scenario: Any, episodes: int, slots: int, every: int) -> dict[str, Any]:
    """System sum rate on the bank: of each episode, and of each measured slot.

    Args:
        policy: a name, or anything :func:`irs_marl_env.evaluate` takes.
        scenario: the scenario.
        episodes: of the bank.
        slots: measured in each.
        every: their distance.
    """
    result = evaluate(policy, scenario, episodes, BANK, slots=slots, every=every, progress=False)
    over_time = result.rates.sum(-1).round(3)  # (episodes, slots)
    return {"policy": result.policy, "every": every, "episodes": result.episodes, "over_time": over_time}
