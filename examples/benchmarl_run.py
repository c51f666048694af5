"""MAPPO and IDDPG of BenchMARL over ``MdlbiTask``; any of its algorithms will do, those on discrete actions on bids.

    pip install -e '.[benchmarl,fast]'    # in an environment of its own: it needs TorchRL below 0.12
    python examples/benchmarl_run.py

Written for BenchMARL 1.5; three minutes of one core. The table compares them with rules on the same draws.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import torch
from benchmarl.algorithms import IddpgConfig, MappoConfig
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig
from tensordict import TensorDict
from torchrl.envs.utils import ExplorationType, set_exploration_type

from irs_marl_env import compare, evaluate
from irs_marl_env.adapters.benchmarl import MdlbiTask

NAME = "mdlbi-blocked-small-v0"
FIELDS: dict[str, Any] = {"action": "structured", "observation": "large_scale", "reward": "team"}
TASK = MdlbiTask(NAME, {**FIELDS, "stagger": True})


def settings(frames: int, folder: str) -> ExperimentConfig:
    """Of an experiment of so many slots in 16 environments at a time."""
    config = ExperimentConfig.get_from_yaml()
    config.max_n_frames, config.loggers, config.save_folder, config.evaluation = frames, [], folder, False
    config.gamma, config.lr = 0.0, 1e-3  # an action changes its own slot alone
    config.on_policy_n_envs_per_worker = config.off_policy_n_envs_per_worker = 16
    config.on_policy_collected_frames_per_batch, config.off_policy_collected_frames_per_batch = 256, 256
    config.on_policy_minibatch_size, config.on_policy_n_minibatch_iters = 128, 10
    config.off_policy_train_batch_size, config.off_policy_n_optimizer_steps = 256, 16
    config.off_policy_init_random_frames = 1024
    return config


def policy_of(experiment: Experiment) -> Any:
    """The trained policy without exploration, as ``evaluate`` takes it: ``(E, M, D_o)`` to ``(E, M, D_a)``."""

    def act(observations: np.ndarray) -> np.ndarray:
        group = TensorDict({"observation": torch.as_tensor(observations)}, observations.shape[:2])
        with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
            return experiment.policy(TensorDict({"bs": group}, observations.shape[:1]))["bs", "action"].numpy()

    return act


def main(frames: int = 32_768, episodes: int = 50) -> None:
    """Train, and print a table on the same draws."""
    torch.set_num_threads(1)
    results = [evaluate(name, NAME, episodes, 10_000, 20, 5, **FIELDS) for name in ("random", "structured-local-gain")]
    for algorithm in (MappoConfig, IddpgConfig):
        with tempfile.TemporaryDirectory() as folder:
            model, config = MlpConfig.get_from_yaml(), settings(frames, folder)
            experiment = Experiment(TASK, algorithm.get_from_yaml(), model, seed=1, config=config)
            experiment.run()
        name = algorithm.associated_class().__name__
        results.append(evaluate(policy_of(experiment), NAME, episodes, 10_000, 20, 5, name=name, **FIELDS))
    print(compare(results, ["sum_rate", "jain"], baseline="structured-local-gain").table())


if __name__ == "__main__":
    main()
