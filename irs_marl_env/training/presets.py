"""Presets: values of settings that belong together, and the scenario fields that each kind of action needs."""

from __future__ import annotations

from typing import Any

TABLE_I: dict[str, Any] = {
    "preset": "paper",
    "scenario": "mdlbi-v0",
    "share_actor": False,
    "share_critic": False,
    "num_envs": 1,
    "net": "mlp",
    "width": 256,  # not in the paper
    "layer_norm": False,
    "actor_init": 1.0,
    "gamma": 0.99,
    "actor_lr": 1e-4,
    "critic_lr": 1e-3,
    "lr_decay": False,
    "tau": 1e-3,
    "batch": 64,
    "buffer": 10_000,
    "reward_scale": 1.0,
    "pretanh_penalty": 0.0,
    "critic_warmup": 0,
    "noise_start": 0.1,  # not in the paper
    "noise_end": 0.1,
    "updates": 3000,
    "eval_episodes": 4,  # the channel is frozen: only the first owners differ
}
STABILISED: dict[str, Any] = {
    **TABLE_I,
    "stabilised": True,
    "num_envs": 8,
    "layer_norm": True,
    "actor_init": 0.1,
    "gamma": None,
    "actor_lr": 3e-4,
    "tau": 5e-3,
    "batch": 128,
    "reward_scale": 0.2,
    "pretanh_penalty": 0.05,
    "critic_warmup": 300,
    "noise_start": 0.4,
    "noise_end": 0.05,
}
QUICK: dict[str, Any] = {
    "updates": 4000,
    "eval_every": 500,
    "share_actor": True,
    "share_critic": True,
    "batch": 128,
}
OWN_VALUE: dict[str, Any] = {
    "algo": "own-value",
    "updates": 2400,
    "updates_per_step": 2,
    "num_envs": 24,  # 29,000 transitions in all
    "share_actor": True,
    "share_critic": True,
    "critic_lr": 3e-3,
    "layer_norm": False,  # the critic is more accurate without it, and there is no tanh to protect
    "tau": 0.01,
    "eval_network": "target",
    "batch": 256,
    "reward_scale": 1.0,
    "critic_warmup": 0,
    "noise_start": 0.4,  # on bids that are all the same: random owners
    "noise_end": 0.4,
    "eval_every": 800,  # an evaluation on four IRSs takes seconds
    "checkpoint_every": 600,
}
ALGORITHM_SCENARIO: dict[str, dict[str, Any]] = {"ddpg": {"rho": "none"}, "own-value": {"reward": "local"}}
PRESET_SCENARIO: dict[str, dict[str, Any]] = {
    "structured": {"action": "structured", "observation": "large_scale", "reward": "team"},
    "paper": {
        "action": "raw",
        "observation": "csi",
        "reward": "local",
        "fading": "frozen",
        "bs_irs_fading": "frozen",
        "mobility": "static",
        "layout": "frozen",
    },
}
