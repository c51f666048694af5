"""Saving and restoring the batched environment in the middle of an episode."""

from __future__ import annotations

import numpy as np
import pytest

from irs_marl_env import make_vec_env

CASES = [
    {},
    {"fading": "ar1", "bs_irs_fading": "episode", "mobility": "random_waypoint"},
    {"csi_error_variance": 0.1, "fading": "frozen", "layout": "frozen", "mobility": "static"},
    {"mobility": "gauss_markov", "association_delay": 1, "rho": "bids", "contention": "collision"},
]


def _run(env, actions):
    return [env.step(action) for action in actions]


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_restored_environment_continues_identically(options, backend):
    if backend == "torch":
        pytest.importorskip("torch")
    make = lambda: make_vec_env("mdlbi-small-v0", 3, backend=backend, horizon=10, **options)  # noqa: E731
    env = make()
    actions = np.random.default_rng(0).uniform(-1, 1, (14, 3, 2, env.action_size)).astype(np.float32)
    env.reset(seed=5)
    _run(env, actions[:4])
    saved, observed = env.get_state(), env.observe()
    expected = _run(env, actions[4:])  # over the end of the episode
    other = make()
    other.set_state(saved)
    assert np.array_equal(np.asarray(other.observe()), np.asarray(observed))
    for mine, its in zip(_run(other, actions[4:]), expected, strict=True):
        for a, b in zip(mine[:4], its[:4], strict=True):
            assert np.array_equal(np.asarray(a), np.asarray(b))
        for infos, its_infos in ((mine[4], its[4]), (mine[4].pop("final_info", {}), its[4].pop("final_info", {}))):
            assert set(infos) == set(its_infos)
            for key in its_infos:
                assert np.array_equal(np.asarray(infos[key]), np.asarray(its_infos[key]))


def test_state_of_another_scenario_or_size_is_refused():
    env = make_vec_env("mdlbi-small-v0", 2)
    with pytest.raises(RuntimeError, match="reset"):
        env.get_state()
    env.reset(seed=0)
    saved = env.get_state()
    with pytest.raises(ValueError, match="scenario"):
        make_vec_env("mdlbi-small-v0", 2, horizon=7).set_state(saved)
    with pytest.raises(ValueError, match="2 environments"):
        make_vec_env("mdlbi-small-v0", 3).set_state(saved)
