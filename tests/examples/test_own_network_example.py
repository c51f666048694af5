"""The example of a network of one's own: it trains, and prints a table beside the baselines."""

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="needs the extra 'sb3'")

from examples import own_network
from irs_marl_env import make_vec_env


def test_it_prints_a_table(capsys):
    own_network.main(steps=1024, episodes=2)
    table = capsys.readouterr().out
    for name in ("random", "structured-local-gain", "before training", "PPO"):
        assert name in table
    assert "sum_rate [bit/s/Hz]" in table
    assert "jain" in table


def test_users_drive_on_the_ring():
    vec = make_vec_env(own_network.NETWORK, 3, fast=False)
    vec.reset(seed=0)
    before = vec.view().position
    vec.step(np.zeros((3, 3, vec.action_size), np.float32))
    after = vec.view().position
    np.testing.assert_allclose(np.linalg.norm(after - (60, 35), axis=-1), 40.0)
    way = np.linalg.norm(after - before, axis=-1)
    assert 3.9 < way.min() < way.max() < 12.0  # chords of arcs from 4 to 12 m


def test_the_reward_is_the_mean_of_the_roots():
    vec = make_vec_env(own_network.NETWORK, 2, fast=False)
    vec.reset(seed=0)
    rewards, *_, infos = vec.step(np.zeros((2, 3, vec.action_size), np.float32))[1:]
    np.testing.assert_allclose(rewards, np.sqrt(infos["rates"]).mean(-1)[:, None].repeat(3, 1), rtol=1e-6)
