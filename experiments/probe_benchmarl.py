"""The probe of BenchMARL: the critic of its MAPPO over ``MdlbiTask``."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from typing import Any

import torch
from benchmarl.algorithms import MappoConfig
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig
from tensordict import TensorDict

from experiments.probing import DISCOUNT, ROWS, SPEED, VALUE, report, steps_per_s
from irs_marl_env.adapters.benchmarl import MdlbiTask


def experiment(setting: dict[str, Any], folder: str, updates: int) -> Experiment:
    """MAPPO with small networks on a scenario."""
    fields = {name: value for name, value in setting.items() if name != "scenario"}
    task = MdlbiTask(setting["scenario"], {**fields, "stagger": True, "return_state": False})
    config = ExperimentConfig.get_from_yaml()
    config.max_n_frames, config.loggers, config.save_folder, config.evaluation = updates * 320, [], folder, False
    config.gamma, config.lr, config.on_policy_n_envs_per_worker = DISCOUNT, 3e-3, ROWS
    config.on_policy_collected_frames_per_batch, config.on_policy_minibatch_size = 320, 320
    config.on_policy_n_minibatch_iters = 10
    model = MlpConfig(num_cells=[32], layer_class=torch.nn.Linear, activation_class=torch.nn.Tanh)
    return Experiment(task, MappoConfig.get_from_yaml(), model, critic_model_config=model, seed=0, config=config)


def main(updates: int = 60) -> None:
    """Print the line."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        fast = experiment(SPEED, folder, 1)
        env = fast.env_func()
        speed = steps_per_s(lambda: env.rollout(200, break_when_any_done=False), 200 * ROWS)
        trained = experiment(VALUE, folder, updates)
        trained.run()
        seen = torch.as_tensor(trained.env_func().reset()["bs", "observation"])
        group = TensorDict({"observation": seen}, seen.shape[:2])
        critic = trained.losses["bs"].critic_network
        with torch.no_grad(), trained.losses["bs"].critic_network_params.to_module(critic):
            value = critic(TensorDict({"bs": group}, seen.shape[:1]))["bs", "state_value"].mean().item()
    report("benchmarl", value, speed)


if __name__ == "__main__":
    main()
