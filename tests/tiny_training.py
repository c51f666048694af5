"""Trainings small enough for a test."""

from dataclasses import replace

import numpy as np
import torch

from examples.maddpg import prepare
from irs_marl_env.training.settings import Args

TINY = {
    "scenario": "mdlbi-small-v0",
    "width": 16,
    "num_envs": 4,
    "batch": 16,
    "buffer": 200,
    "critic_warmup": 5,
    "eval_episodes": 2,
    "eval_slots": 4,
    "baselines": False,
    "tensorboard": False,
    "progress": False,
    "device": "cpu",
}


def tiny_args(**changes):
    return replace(Args(), **{**TINY, **changes})


def tiny_run(**changes):
    return prepare(tiny_args(**changes))


def random_batch(run, size=5, seed=0):
    rng = np.random.default_rng(seed)
    shapes = run.shapes()  # of everything, whether the learner remembers it or not
    if "discount" not in run.replay.arrays:  # else it would count instead of gamma
        del shapes["discount"]
    batch = {
        name: torch.from_numpy(rng.uniform(-1, 1, (size, *shape)).astype(np.float32)) for name, shape in shapes.items()
    }
    for name in batch.keys() & {"obs", "next_obs"}:  # of every user one base station says that it is its own
        own = batch[name][..., run.env.observation_codec.layout.slices["own_user"]]  # (size, M, K), a view
        own.copy_(torch.nn.functional.one_hot(own.argmax(1), own.shape[1]).mT)
    return batch
