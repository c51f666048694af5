"""One PPO policy of Stable-Baselines3 shared by all base stations.

    pip install -e '.[sb3]'
    python examples/sb3_ppo.py                                       # about 1 minute on one core
    python examples/sb3_ppo.py --scenario mdlbi-small-v0 --seed 3 --total-timesteps 400000
    python examples/sb3_ppo.py --scenario my.json --set num_users=6       # any scenario, any of its fields

Every base station is a row of one vectorised environment and a sample for one policy (parameter sharing). Actions are
bids, focus weights and powers, observations large-scale gains; the reward is the mean over base stations. At the end
the trained policy is printed next to itself before training, to a random one and to a rule without learning (each
base station bids what an IRS brings its own users), all on the same draws.

The rows are those of ``Sb3VecEnv``. ``--supersuit`` makes them of PettingZoo environments with SuperSuit, the way that
works for any PettingZoo environment: the policy is the same, the training takes about twice as long.
"""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":  # the imports take seconds: until command() listens, a signal ends the script at once
    for stop in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(stop) != signal.SIG_IGN:
            signal.signal(stop, lambda number, _: os._exit(128 + number))
    from irs_marl_env.training.command import check_installed

    check_installed("sb3")

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import numpy as np
import supersuit
import torch
import tyro
from pettingzoo import ParallelEnv
from stable_baselines3 import PPO
from supersuit.vector.sb3_vector_wrapper import SB3VecEnvWrapper

from irs_marl_env import Result, Scenario, evaluate, make_env
from irs_marl_env.adapters.sb3 import Sb3Policy, Sb3VecEnv
from irs_marl_env.scenario_text import parse_assignments, scenario_to_train_in
from irs_marl_env.training.command import Failed, command
from irs_marl_env.training.limits import PPO_LIMITS, check_one_by_one, check_rollout

Policy = Callable[[np.ndarray], np.ndarray]
EVAL_SEED = 10_000  # of the first evaluation episode; training environments have small seeds


@dataclass
class Args:
    """Settings."""

    scenario: str = "mdlbi-blocked-small-v0"
    """an id of irs_marl_env.scenario_ids(), or a JSON file of a scenario"""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """a scenario field, FIELD=VALUE; may be repeated"""
    trusted: bool = False
    """import the modules of parts that --scenario or --set gives as module:name"""
    association_delay: int | None = None
    """1: the bids of a slot decide the owners of the next; give --gamma 0.9 with it. None: as the scenario has it"""
    seed: int = 1
    """of the network and the exploration; training environments have seed, seed + 1, ..."""
    total_timesteps: int = 160_000
    """samples of base stations: slots x environments x base stations"""
    num_envs: int = 16
    """copies of the environment"""
    gamma: float = 0.0
    """discount; 0 fits delay 0, where an action changes nothing but its own slot's rate"""
    gae_lambda: float = 0.95
    """of generalised advantage estimation"""
    n_steps: int = 64
    """slots per environment between updates"""
    batch_size: int = 256
    """samples per gradient step"""
    n_epochs: int = 10
    """passes over the samples of an update"""
    learning_rate: float = 3e-4
    """of Adam"""
    ent_coef: float = 0.0
    """weight of the entropy bonus"""
    log_std_init: float = -1.0
    """log of the exploration noise at the start; actions reach from -1 to 1"""
    eval_episodes: int = 50
    """episodes of the comparison, on draws of their own"""
    eval_slots: int = 20
    """slots measured in each, spread evenly over it"""
    supersuit: bool = False
    """make the rows with SuperSuit instead of Sb3VecEnv"""


class SeededVecEnv(SB3VecEnvWrapper):
    """SuperSuit's wrapper for Stable-Baselines3, with a ``seed`` that works.

    In SuperSuit 3.11 ``seed`` raises AttributeError, and the copies ``concat_vec_envs_v1`` makes of an environment that
    was reset before share its generator's state. Here the next ``reset`` hands copy i ``seed + i``, which starts
    streams of its own; the resets at the ends of episodes go on with them.
    """

    _seed: int | None = None

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Seed the next ``reset``; Stable-Baselines3 calls it with the algorithm's seed."""
        self._seed = seed
        return [seed] * self.num_envs

    def reset(self, **unused: Any) -> np.ndarray:
        """Begin an episode in every copy."""
        observations, self.reset_infos = self.venv.reset(seed=self._seed)
        self._seed = None
        return observations


def share_parameters(env: ParallelEnv, num_envs: int) -> SeededVecEnv:
    """``num_envs`` copies of a PettingZoo environment, one row per copy and agent.

    Time limits come out right because the environment's truncating step sets ``infos[agent]["TimeLimit.truncated"]``:
    SuperSuit merges termination and truncation into one flag, and without that entry Stable-Baselines3 would learn
    that the world ends with the episode.
    """
    rows = supersuit.pettingzoo_env_to_vec_env_v1(env)
    return SeededVecEnv(supersuit.concat_vec_envs_v1(rows, num_envs, num_cpus=0, base_class="gymnasium"))


def score(policy: str | Policy, args: Args, scenario: Scenario) -> Result:
    """System sum rate on the bank of evaluation episodes."""
    every = max(1, scenario.horizon // args.eval_slots)
    slots = min(args.eval_slots, scenario.horizon)
    return evaluate(policy, scenario, args.eval_episodes, EVAL_SEED, slots, every)


def scenario_of(args: Args) -> Scenario:
    """The scenario to train in.

    Actions are structured, observations large-scale and the reward is the team's, unless ``--set`` says otherwise, or
    the scenario is a file with a reward or an observation that is not the default.
    """
    fields: dict[str, Any] = {"action": "structured", "observation": "large_scale", "reward": "team"}
    if args.association_delay is not None:
        fields["association_delay"] = args.association_delay
    return scenario_to_train_in(args.scenario, args.trusted, fields, parse_assignments(args.set))


def model_of(args: Args, scenario: Scenario) -> PPO:
    """PPO before its training, in environments of a scenario."""
    env = share_parameters(make_env(scenario), args.num_envs) if args.supersuit else Sb3VecEnv(scenario, args.num_envs)
    return PPO(
        "MlpPolicy",
        env,
        seed=args.seed,
        gamma=args.gamma,
        gae_lambda=args.gae_lambda,
        n_steps=args.n_steps,
        batch_size=args.batch_size,
        n_epochs=args.n_epochs,
        learning_rate=args.learning_rate,
        ent_coef=args.ent_coef,
        policy_kwargs={"log_std_init": args.log_std_init},
        device="cpu",
    )


def learn(
    scenario: Scenario, seed: int, gamma: float, total_timesteps: int = Args.total_timesteps
) -> tuple[Policy, int]:
    """Train without a comparison; the policy, and how many slots of one environment it took."""
    torch.set_num_threads(1)
    model = model_of(Args(seed=seed, gamma=gamma), scenario)
    model.learn(total_timesteps)
    return Sb3Policy(model), model.num_timesteps // scenario.num_bs


def train(args: Args) -> dict[str, Result]:
    """Train, and compare with the beginning and with chance.

    Raises:
        ValueError: a setting is impossible.
        Failed: a weight is no longer finite.
    """
    torch.set_num_threads(1)  # small networks: more threads only wait for one another
    check_one_by_one(args, get_type_hints(Args, include_extras=True), PPO_LIMITS)
    scenario = scenario_of(args)
    check_rollout(args, scenario)
    model = model_of(args, scenario)
    results = {
        "random": score("random", args, scenario),
        "local-gain rule": score("structured-local-gain", args, scenario),
        "before training": score(Sb3Policy(model), args, scenario),
    }
    try:
        model.learn(args.total_timesteps)
        results["trained"] = score(Sb3Policy(model), args, scenario)
    except ValueError:  # torch's distributions refuse what is not finite
        if all(bool(torch.isfinite(p).all()) for p in model.policy.parameters()):
            raise
        raise Failed("the training diverged, its weights are no longer finite: a smaller --learning-rate?") from None
    assert model.env is not None
    model.env.close()
    return results


def main() -> None:
    """Command line."""
    args = tyro.cli(Args, description=__doc__)
    results = train(args)
    print(f"{args.scenario}, {args.eval_episodes} episodes x {args.eval_slots} slots, system bit/s/Hz")
    for name, result in results.items():
        print(f"  {name:<16} {result.mean:6.3f} +- {result.standard_error:.3f}")
    gain = results["trained"].difference(results["random"])
    print(f"  {'trained - random':<16} {gain.mean:6.3f} +- {gain.standard_error:.3f} (paired)")


if __name__ == "__main__":
    command(main)  # errors and Ctrl-C in words; nothing is written that they could damage
