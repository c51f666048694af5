"""``MdlbiTask``: what BenchMARL asks a task for, and that its algorithms run over the ends of episodes."""

from __future__ import annotations

from typing import Any

import pytest

benchmarl = pytest.importorskip("benchmarl", reason="needs the extra 'benchmarl'")
import torch  # noqa: E402
from benchmarl.algorithms import IddpgConfig, MappoConfig, MasacConfig, QmixConfig  # noqa: E402
from benchmarl.experiment import Experiment, ExperimentConfig  # noqa: E402
from benchmarl.models.mlp import MlpConfig  # noqa: E402

from irs_marl_env.adapters.benchmarl import MdlbiTask  # noqa: E402

FIELDS = {"action": "structured", "observation": "large_scale", "reward": "team", "horizon": 5, "fast": False}


def test_specs_are_those_of_one_environment() -> None:
    task = MdlbiTask("mdlbi-small-v0", FIELDS)
    env = task.get_env_fun(3, continuous_actions=True, seed=0, device="cpu")()
    assert env.batch_size == (3,)
    assert task.action_spec(env)["bs", "action"].shape == (2, env.batch.action_size)
    assert list(task.observation_spec(env).keys(True, True)) == [("bs", "observation")]
    assert task.observation_spec(env)["bs", "observation"].shape == (2, env.batch.observation_size)
    info, state = task.info_spec(env), task.state_spec(env)
    assert info is not None
    assert info["bs", "info", "sum_rate"].shape == (2, 1)
    assert state is not None
    assert state["state"].shape == (env.batch.state_size,)
    assert task.max_steps(env) == 5
    assert task.group_map(env) == {"bs": ["bs_0", "bs_1"]}
    bids = task.get_env_fun(3, continuous_actions=False, seed=0, device="cpu")()
    assert task.action_spec(bids)["bs", "action"].space.n == 9
    plain = MdlbiTask("mdlbi-small-v0", {"return_state": False, "metrics": False})
    assert not plain.supports_discrete_actions()
    assert plain.state_spec(env) is None
    assert plain.info_spec(env) is None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("algorithm", [MappoConfig, IddpgConfig, QmixConfig, MasacConfig])
def test_an_experiment_crosses_the_ends_of_episodes(algorithm: Any, tmp_path: Any) -> None:
    torch.set_num_threads(1)
    config = ExperimentConfig.get_from_yaml()
    config.max_n_frames, config.loggers, config.save_folder, config.render = 96, [], str(tmp_path), False
    for policy in ("on_policy", "off_policy"):
        setattr(config, f"{policy}_n_envs_per_worker", 4)
        setattr(config, f"{policy}_collected_frames_per_batch", 48)
    config.on_policy_minibatch_size, config.on_policy_n_minibatch_iters = 48, 1
    config.off_policy_train_batch_size, config.off_policy_n_optimizer_steps = 16, 1
    config.evaluation_interval, config.evaluation_episodes, config.create_json = 48, 2, True
    task = MdlbiTask("mdlbi-small-v0", {**FIELDS, "stagger": True})
    experiment = Experiment(task, algorithm.get_from_yaml(), MlpConfig.get_from_yaml(), seed=0, config=config)
    experiment.run()
    assert experiment.total_frames == 96
