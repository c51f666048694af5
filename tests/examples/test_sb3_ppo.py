"""examples/sb3_ppo.py: runs, is reproducible, seeds its copies, and its time limit is no end of the world."""

from __future__ import annotations

import math
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'sb3'")
stable_baselines3 = pytest.importorskip("stable_baselines3", reason="needs the extra 'sb3'")
PPO, TD3 = stable_baselines3.PPO, stable_baselines3.TD3
pytest.importorskip("supersuit", reason="needs the extra 'sb3'")
pytest.importorskip("tyro", reason="needs the extra 'sb3'")

from pettingzoo.utils import BaseParallelWrapper  # noqa: E402

from examples import sb3_ppo  # noqa: E402
from irs_marl_env import get_scenario, make_env  # noqa: E402
from irs_marl_env.training.command import Failed  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {"num_users": 2, "num_irs": 1, "num_elements": 2, "num_antennas": 2, "num_groups": 1}


def tiny(**overrides):
    plain = {"action": "structured", "observation": "large_scale", **TINY}
    return make_env("mdlbi-small-v0", **{**plain, **overrides})


def rollout(env, seed, steps=12):
    """Observations, rewards and ends of episodes under one fixed sequence of actions."""
    rng = np.random.default_rng(0)
    env.seed(seed)
    trajectory = [env.reset()]
    for _ in range(steps):
        observations, rewards, dones, _ = env.step(rng.uniform(-1, 1, (env.num_envs, *env.action_space.shape)))
        trajectory += [observations, rewards, dones]
    return [np.array(x) for x in trajectory]


def test_it_runs_and_prints(monkeypatch, capsys):
    options = {
        "total-timesteps": 64,
        "num-envs": 2,
        "n-steps": 16,
        "batch-size": 64,
        "eval-episodes": 2,
        "eval-slots": 2,
    }
    flags = [f"--{key}={value}" for key, value in options.items()]
    monkeypatch.setattr(sys, "argv", [sb3_ppo.__file__, *flags])
    sb3_ppo.main()
    printed = capsys.readouterr().out
    for line in ("random", "local-gain rule", "before training", "trained", "trained - random"):
        assert line in printed


def test_a_scenario_is_named_and_changed_like_everywhere(tmp_path, monkeypatch):
    path = tmp_path / "mine.json"
    path.write_text(
        get_scenario("mdlbi-small-v0", num_users=3, association_delay=1).to_json(), encoding="utf-8", newline="\n"
    )
    found = sb3_ppo.scenario_of(sb3_ppo.Args(scenario=str(path), set=("num_irs=1", "reward=local")))
    assert (found.num_users, found.num_irs, found.association_delay, found.reward) == (3, 1, 1, "local")
    assert (found.action, found.observation) == ("structured", "large_scale")
    assert sb3_ppo.scenario_of(sb3_ppo.Args(scenario=str(path), association_delay=0)).association_delay == 0
    assert sb3_ppo.scenario_of(sb3_ppo.Args()).association_delay == 0
    assert sb3_ppo.scenario_of(sb3_ppo.Args(association_delay=1)).association_delay == 1
    monkeypatch.setattr(sys, "argv", [sb3_ppo.__file__, "--set", "num_irss=1"])
    with pytest.raises(ValueError, match=r"num_irs"):
        sb3_ppo.main()


NOT_NUMBERS = (True, "1", [1], (1,), {}, 1j, math.nan, math.inf, -math.inf, -(10.0**30), 10**400)
NUMBERS = {f.name: f.default for f in fields(sb3_ppo.Args) if type(f.default) in (int, float)}
CANNOT_BE = {name: (None, -1, 0, 0.5, 2.0, 10**30) for name, default in NUMBERS.items() if type(default) is int}
CANNOT_BE |= {"seed": (None, -1, 0.5, 2**32), "association_delay": (-1, 2, 0.5, 10**30)}
CANNOT_BE |= {"gamma": (None, -1e-9, 1, 1.0), "gae_lambda": (None, -1e-9, 1 + 1e-9), "log_std_init": (None, -11, 6)}
CANNOT_BE |= dict.fromkeys(("learning_rate", "ent_coef"), (None, -1e-9, 101))


@pytest.mark.parametrize("name", CANNOT_BE)
def test_impossible_numbers_are_refused_by_name(name, monkeypatch):
    for maker in ("Sb3VecEnv", "share_parameters"):  # refused before anything is made
        monkeypatch.setattr(sb3_ppo, maker, None)
    for value in CANNOT_BE[name] + NOT_NUMBERS:
        with pytest.raises(ValueError, match=rf"^{name}=.*: must be an? (integer|finite number) in [\[(]"):
            sb3_ppo.train(replace(sb3_ppo.Args(), **{name: value}))


def test_every_setting_has_a_limit():
    assert NUMBERS.keys() <= CANNOT_BE.keys()
    for field in fields(sb3_ppo.Args):
        for value in (object(), b"", [], {}, "", 1.5j):
            with pytest.raises(ValueError, match=rf"^{field.name}="):
                sb3_ppo.train(replace(sb3_ppo.Args(), **{field.name: value}))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--learning-rate", "nan"], r"learning_rate=nan: must be a finite number in \[0, 10\]"),
        (["--batch-size", "1"], r"batch_size=1: must be an integer in \[2, 1000000\]"),
        (["--num-envs", "1000000"], r"num_envs=1000000: must be an integer in \[1, 10000\]"),
        (["--n-steps", "1000000000"], r"n_steps=1000000000, num_envs=16: would need at least .* TiB; must be at most"),
        (["--set", "num_bs=1", "--n-steps", "1", "--num-envs", "1"], "n_steps=1: must be at least 2 with num_envs=1"),
        (["--num-envs", "10000", "--set", "num_users=500"], "num_envs=10,000: a step would need up to .* [GT]iB"),
    ],
)
def test_impossible_flags_are_refused_by_name(flags, message, monkeypatch):
    monkeypatch.setattr(sys, "argv", [sb3_ppo.__file__, *flags])
    for maker in ("Sb3VecEnv", "share_parameters"):
        monkeypatch.setattr(sb3_ppo, maker, None)
    with pytest.raises(ValueError, match=message):
        sb3_ppo.main()


def test_a_training_that_diverges_says_so():
    options = {"total_timesteps": 1024, "num_envs": 2, "n_steps": 16, "eval_episodes": 1, "eval_slots": 1}
    with pytest.raises(Failed, match="diverged"):
        sb3_ppo.train(sb3_ppo.Args(**options, batch_size=16, learning_rate=10.0, ent_coef=100.0))


def test_same_seed_same_result():
    args = sb3_ppo.Args(total_timesteps=64, num_envs=2, n_steps=16, batch_size=32, eval_episodes=2, eval_slots=3)
    first, second = sb3_ppo.train(args), sb3_ppo.train(args)
    np.testing.assert_array_equal(first["trained"].rates, second["trained"].rates)
    args.seed = 2
    assert (sb3_ppo.train(args)["trained"].rates != first["trained"].rates).any()


def test_supersuit_trains_the_same_policy():
    """Two ways to the same rows: what is learned is the same, bit for bit."""
    args = sb3_ppo.Args(total_timesteps=64, num_envs=2, n_steps=16, batch_size=32, eval_episodes=2, eval_slots=3)
    args.set = ("horizon=5",)
    first, second = sb3_ppo.train(args), sb3_ppo.train(replace(args, supersuit=True))
    np.testing.assert_array_equal(first["trained"].rates, second["trained"].rates)
    assert (first["trained"].rates != first["before training"].rates).any()


def test_every_copy_has_its_own_seed():
    """Copy i is the environment seeded with ``seed + i``, though the wrapped one has a generator already."""
    env = tiny(horizon=5)
    env.reset(seed=77)
    vec = sb3_ppo.share_parameters(env, 3)
    vec.seed(10)
    observations = vec.reset().reshape(3, 2, -1)
    for i, rows in enumerate(observations):
        expected, _ = tiny(horizon=5).reset(seed=10 + i)
        np.testing.assert_array_equal(rows, np.stack(list(expected.values())))
    again = vec.reset().reshape(3, 2, -1)  # without a seed: the streams go on
    assert (again != observations).any(axis=(1, 2)).all()


def test_rollouts_repeat_with_the_seed():
    vec = sb3_ppo.share_parameters(tiny(horizon=5), 2)
    first, other, again = (rollout(vec, seed) for seed in (3, 4, 3))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_flag_and_last_observation_arrive():
    vec = sb3_ppo.share_parameters(tiny(horizon=3), 2)
    vec.seed(0)
    vec.reset()
    actions = np.zeros((vec.num_envs, *vec.action_space.shape), np.float32)
    for slot in (1, 2, 3, 4):
        observations, _, dones, infos = vec.step(actions)
        assert dones.all() == dones.any() == (slot == 3)
        for row, info in enumerate(infos):
            assert info.get("TimeLimit.truncated", False) == (slot == 3)
            if slot == 3:
                assert (info["terminal_observation"] != observations[row]).any()


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("action", ["raw", "structured"])
def test_a_replay_memory_sees_time_limits_alone(horizon, action):
    """Off-policy algorithms too: every end in the memory is one of time, and what is learned is finite."""
    env = sb3_ppo.share_parameters(tiny(horizon=horizon, action=action), 2)
    options = {"learning_starts": 8, "batch_size": 8, "buffer_size": 200, "policy_kwargs": {"net_arch": [8]}}
    model = TD3("MlpPolicy", env, seed=0, device="cpu", **options)
    model.learn(80)
    memory, count = model.replay_buffer, model.replay_buffer.size()
    ends = [(t + 1) % horizon == 0 for t in range(count)]
    assert count == 20
    for found in (memory.dones, memory.timeouts):
        assert found[:count].astype(bool).tolist() == [[end] * env.num_envs for end in ends]
    for values in (memory.observations[:count], memory.next_observations[:count], memory.rewards[:count]):
        assert np.isfinite(values).all()
    assert all(bool(torch.isfinite(p).all()) for p in model.policy.parameters())


class Probe(BaseParallelWrapper):
    """Reward 1 in every slot, with or without the flag of truncation in the infos."""

    def __init__(self, env, flag):
        super().__init__(env)
        self._flag = flag

    def step(self, actions):
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        if not self._flag:
            for info in infos.values():
                info.pop("TimeLimit.truncated", None)
        return observations, dict.fromkeys(rewards, 1.0), terminations, truncations, infos


@pytest.mark.parametrize(("flag", "value", "tolerance"), [(True, 10.0, 0.3), (False, 2.7, 0.4)])
def test_value_of_a_constant_reward_with_a_time_limit(flag, value, tolerance):
    """A reward of 1 for ever is worth 1 / (1 - 0.9) = 10; an episode of 5 slots is only a window on it.

    Without ``TimeLimit.truncated`` the end of the window is learned as the end of the world: the mean over the window
    of (1 - 0.9^n) / 0.1 for n = 5 .. 1 slots to go is 2.63, and PPO's finite lambda ends a little above.
    """
    env = sb3_ppo.share_parameters(Probe(tiny(horizon=5), flag), 8)
    model = PPO(
        "MlpPolicy",
        env,
        seed=0,
        gamma=0.9,
        n_steps=20,
        batch_size=80,
        n_epochs=10,
        learning_rate=2e-3,
        policy_kwargs={"net_arch": [32]},
        device="cpu",
    )
    model.learn(40 * 20 * env.num_envs)
    values = []
    observations = env.reset()
    for _ in range(20):
        with torch.no_grad():
            values.append(model.policy.predict_values(torch.as_tensor(observations)).mean().item())
        observations, *_ = env.step(model.predict(observations)[0])
    print(f"flag={flag}: {np.mean(values):.2f}")  # shown by pytest -s
    assert np.mean(values) == pytest.approx(value, abs=tolerance)
