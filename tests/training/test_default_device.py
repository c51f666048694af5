"""Trainings and trained policies stay on their device, whatever torch's default device is in a program of one's own."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import tiny_run

from examples.maddpg import advance
from irs_marl_env import evaluate, load_policy
from irs_marl_env.training.files import read_tensors

META = torch.device("meta")  # holds no numbers, so that whatever is made there by mistake fails
SHIPPED = sorted((Path(__file__).parents[2] / "examples" / "checkpoints").glob("*.safetensors"))
RETURNS = {"n_step": 3, "gamma": 0.9}
TRAININGS = [
    *({"algo": algo} for algo in ("mdlbi", "maddpg", "own-value", "fixed")),
    *({"algo": algo, "net": "mlp", **RETURNS} for algo in ("mdlbi", "maddpg")),
    {"algo": "own-value", **RETURNS},
]


def played(path, fresh):
    policy = fresh(load_policy(path))
    return evaluate(policy, policy.scenario, episodes=1, seed=5, slots=3, progress=False).episodes


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize("fresh", [lambda policy: policy, lambda policy: pickle.loads(pickle.dumps(policy))])
def test_a_policy_plays_the_same(path, fresh):
    usual = played(path, fresh)
    with META:
        assert np.array_equal(played(path, fresh), usual)


def test_a_policy_of_another_size_plays_the_same():
    policy = load_policy(SHIPPED[0].with_name("mdlbi-blocked-small-v0.safetensors"))
    larger = policy.scenario.replace(num_users=9)
    usual = evaluate(policy, larger, episodes=1, seed=5, slots=3, progress=False).episodes
    with META:
        assert np.array_equal(evaluate(policy, larger, episodes=1, seed=5, slots=3, progress=False).episodes, usual)


def trained(folder, **changes):
    """What two checkpoints hold: after some updates, and after a few more by a run that went on from there."""
    run, path = tiny_run(**changes), folder / "checkpoint.safetensors"
    for _ in range(60):
        advance(run)
    run.save(path)
    tensors, _ = read_tensors(path)
    again = tiny_run(**changes)
    again.load(path)
    for _ in range(2):
        advance(again)
    again.save(path)
    return tensors, read_tensors(path)[0]


@pytest.mark.parametrize("changes", TRAININGS, ids=lambda changes: "-".join(map(str, changes.values())))
def test_a_training_learns_the_same(changes, tmp_path):
    usual = trained(tmp_path, **changes)
    with META:
        found = trained(tmp_path, **changes)
    for expected, its in zip(usual, found, strict=True):
        assert expected.keys() == its.keys()
        assert all(torch.equal(expected[name], its[name]) for name in expected)
