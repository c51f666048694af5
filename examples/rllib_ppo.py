"""PPO of RLlib (new API stack), one policy for all base stations: a minute of learning beside the baselines.

pip install -e '.[fast]' 'ray[rllib]==2.60.0' gymnasium==1.2.2 torch     # an environment of its own
python examples/rllib_ppo.py

Ray's files and RLlib's lie in a temporary folder, which is removed at the end.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning of Ray on machines without GPU
os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # no ~/.ray/auth_token

import numpy as np
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module import RLModuleSpec
from ray.tune.trainable import trainable

from irs_marl_env import compare, evaluate, get_scenario
from irs_marl_env.adapters.rllib import RLlibEnv

SCENARIO = get_scenario("mdlbi-blocked-small-v0", action="structured", observation="large_scale", reward="team")


def main(iterations: int = 12, episodes: int = 50, slots: int = 2000) -> None:
    """Train for so many iterations of so many slots, and print a table on the same draws."""
    torch.set_num_threads(1)  # small networks: more threads only wait for one another
    folder = tempfile.TemporaryDirectory(prefix="rllib-", ignore_cleanup_errors=True)
    trainable.DEFAULT_STORAGE_PATH = folder.name  # otherwise ~/ray_results
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, _temp_dir=folder.name)
    config = (
        PPOConfig()
        .environment(RLlibEnv, env_config={"scenario": SCENARIO})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=16)  # all in this process
        .multi_agent(policies={"shared"}, policy_mapping_fn=lambda agent, episode, **_: "shared")
        .rl_module(rl_module_spec=RLModuleSpec(model_config={"fcnet_hiddens": [64, 64], "vf_share_layers": False}))
        .training(gamma=0.0, lr=3e-4, train_batch_size_per_learner=slots, minibatch_size=256, num_epochs=10)
        .debugging(seed=1, log_level="ERROR")
    )
    algorithm = config.build_algo()

    def ppo(observations: np.ndarray) -> np.ndarray:  # (E, M, D_o) to (E, M, D_a), one row for each base station
        rows = torch.as_tensor(observations.reshape(-1, observations.shape[-1]))
        module = algorithm.get_module("shared")
        with torch.no_grad():
            logits = module.forward_inference({Columns.OBS: rows})[Columns.ACTION_DIST_INPUTS]
        mean = logits[:, : logits.shape[-1] // 2].clamp(-1, 1)  # the other half are logarithms of deviations
        return mean.reshape(*observations.shape[:2], -1).numpy()

    for _ in range(iterations):
        algorithm.train()
    bank: dict[str, Any] = {"episodes": episodes, "seed": 10_000, "slots": 20, "every": 5}
    results = [evaluate(name, SCENARIO, **bank) for name in ("random", "structured-local-gain")]
    results.append(evaluate(ppo, SCENARIO, name="PPO", **bank))
    print(compare(results, ["sum_rate", "jain"], baseline="structured-local-gain").table())
    algorithm.stop()
    ray.shutdown()
    folder.cleanup()


if __name__ == "__main__":
    main()
