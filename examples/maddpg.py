"""Base stations learn to compete for intelligent reflecting surfaces: MDLBI, MADDPG, DDPG and a fixed association.

    python examples/maddpg.py --quick                        # about 3 minutes on 2 cores
    python examples/maddpg.py --algo maddpg --scenario mdlbi-small-v0 --set num_irs=1 --set fading=ar1
    python examples/maddpg.py --preset paper --stabilised    # raw beams and phases on one frozen channel
    python examples/maddpg.py --resume runs/NAME             # go on as if never stopped
    python examples/maddpg.py --eval examples/checkpoints/mdlbi-blocked-small-v0.safetensors

``--algo mdlbi`` is the paper's multi-agent DDPG: an actor and a local critic Q(o_m, a_m) per base station (BS), where
o_m holds rho, the other BSs' last association. ``ddpg`` is the same without rho, ``maddpg`` has central critics on the
global state and all actions, ``fixed`` learns all but the association, which is the best one of the first slot, held.
``own-value`` computes bids from a critic of own sets of IRSs, and learns nothing else (training/own_value.py).

``--preset structured`` (default) acts through bids, focus weights and powers on large-scale observations, with a team
reward, and learns in minutes. ``--preset paper`` is Table I of arXiv:2106.12883 on raw beams, phases and CSI: measured,
it learns only where the channel is one frozen realisation, so that is what it trains on, and its figures say no more.

The file holds the algorithm (class ``Learner``) and the loop (``train``); settings, networks, replay memory,
checkpoints and reports are imported from ``irs_marl_env.training``.
"""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":  # the imports take seconds: until command() listens, a signal ends the script at once
    for stop in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(stop) != signal.SIG_IGN:
            signal.signal(stop, lambda number, _: os._exit(128 + number))
    from irs_marl_env.training.command import check_installed

    check_installed("train")

from pathlib import Path
from typing import Any

import numpy as np
import torch

from irs_marl_env.training.bank import on_bank
from irs_marl_env.training.command import command
from irs_marl_env.training.folder import POLICY, folder_of, go_on, opened
from irs_marl_env.training.learner import GradientLearner
from irs_marl_env.training.loop import Run, training_device, training_env
from irs_marl_env.training.memory import keep_freed_memory
from irs_marl_env.training.networks import Actor, Critic, Sizes
from irs_marl_env.training.own_value import OwnValueLearner
from irs_marl_env.training.policy import load_policy, save_policy
from irs_marl_env.training.report import baselines, report, table
from irs_marl_env.training.session import Session
from irs_marl_env.training.settings import Args, discount, parse, parse_assignments

Batch = dict[str, torch.Tensor]


# --- the algorithm ---------------------------------------------------------------------------------------------------


class Learner(GradientLearner):
    """Actors, critics, their targets and optimisers; one update of all. The agents are stacked: tensors (M, B, ...).

    Args:
        sizes: of the environment.
        args: settings.
        gamma: discount.
        device: of the networks.
    """

    def __init__(self, sizes: Sizes, args: Args, gamma: float, device: Any = "cpu") -> None:
        self.sizes, self.central = sizes, args.algo == "maddpg"
        self.ahead = gamma > 0 and args.bootstrap  # whether targets hold a value of what follows
        following = ("next_obs",) + ("next_state",) * self.central + ("discount",) * (args.n_step > 1)
        self.remembers += ("state",) * self.central + following * self.ahead
        generator = torch.Generator().manual_seed(args.seed)
        self.actor = Actor(sizes, args, generator).to(device)
        self.critic = Critic(sizes, self.central, args, generator).to(device)
        self.alike = not self.central and self.actor.stack == self.critic.stack  # they take the same of observations
        nets = {"actor": self.actor, "critic": self.critic}
        super().__init__(nets, {"actor": args.actor_lr, "critic": args.critic_lr}, args, gamma, device)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions ``(E, M, D_a)`` for observations ``(E, M, D_o)``, without exploration."""
        return self.actor.act(observations)

    def update(self, batch: Batch) -> dict[str, float]:
        """One step of the critics, then of the actors (after the warm-up), then of the targets.

        Args:
            batch: ``obs (B, M, D_o)``, ``action (B, M, D_a)``, ``reward (B, M)``; for central critics also ``state
                (B, D_s)``; where targets look ahead also ``next_obs`` and ``next_state``. Episodes end by time alone,
                so that the target of every transition does then.

        Returns:
            Losses and the mean Q.

        Raises:
            Diverged: a loss is not finite; its networks are as they were.
        """
        obs, action = batch["obs"].transpose(0, 1), batch["action"].transpose(0, 1)
        own_look = self.actor.look(obs)  # what networks take of it is the same for all actions and weights
        look = own_look if self.alike else self.critic.look(batch["state"] if self.central else obs)
        losses = {}

        # critics: the square of Q(o, a) - target, over the batch; the agents' losses are summed
        q = self.critic(look, action)
        critic_loss = (q - self.target(batch)).square().mean(1).sum()
        losses["critic_loss"], q_mean = self.descend("critic", critic_loss, q.mean())
        losses["q"] = q_mean / self.args.reward_scale

        # actors: up the gradient of Q(o, mu(o)), with a penalty on outputs that would saturate tanh
        if self.updates >= self.args.critic_warmup:
            own, raw = self.actor(own_look)
            value = self.critic(look, own, replayed=action)
            squares = raw.square().mean((1, 2))
            actor_loss = (self.args.pretanh_penalty * squares - value.mean(1)).sum()
            losses["actor_loss"], losses["pretanh"] = self.descend("actor", actor_loss, squares.mean())

        self.follow()
        self.updates += 1
        return losses

    def target(self, batch: Batch) -> torch.Tensor:
        """``scale * r + gamma * Q'(o', mu'(o'))``, ``(M, B)``; r may be the return of several slots."""
        reward = self.args.reward_scale * batch["reward"].transpose(0, 1)
        if not self.ahead:
            return reward
        with torch.no_grad():
            following = batch["next_obs"].transpose(0, 1)
            action, _ = self.targets["actor"](following)
            value = self.targets["critic"](batch["next_state"] if self.central else following, action)
            return reward + batch.get("discount", self.gamma) * value


# --- the loop --------------------------------------------------------------------------------------------------------


def prepare(args: Args, env: Any = None) -> Run:
    """A run before its first update, in the environments that the settings name or in given ones.

    Raises:
        ValueError: a setting is impossible.
    """
    env = training_env(args, env)
    gamma = discount(args, env.scenario.association_delay)
    learner: Any = OwnValueLearner if args.algo == "own-value" else Learner
    with torch.device("cpu"):  # where networks begin, whatever torch's default device is
        return Run(args, env, learner(Sizes.of(env), args, gamma, training_device(args)))


def advance(run: Run) -> None:
    """Collect transitions, sample a batch, update: the number of updates grows by one."""
    run.collect()
    batch = run.sample()
    losses = run.learner.update(batch)
    run.progress.note(**losses)


def train(run: Run, folder: Path) -> None:
    """Train to the end; on the way evaluations, logs and checkpoints, each when it is due.

    Raises:
        Diverged: a loss is not finite; the message names the last good checkpoint.
        Stopped: Ctrl-C or SIGTERM; a checkpoint is written.
    """
    with Session(run, folder) as session:
        session.evaluate_and_save()
        while run.learner.updates < run.args.updates:
            advance(run)
            session.show_progress()
            session.evaluate_and_save()


def evaluate_file(args: Args) -> None:
    """``--eval``: a trained policy next to the baselines."""
    policy = load_policy(os.path.expanduser(str(args.eval)), args.trusted, **parse_assignments(args.set))
    trained = on_bank(policy, args, policy.scenario)
    print(table(trained, baselines(args, policy.scenario) if args.baselines else {}, policy.args.algo))


def main(argv: list[str] | None = None) -> dict[str, Any] | None:
    """The command line; what it returns is the content of result.json."""
    args = parse(argv, __doc__)
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    if args.eval is not None:
        evaluate_file(args)
        return None
    new = args.resume is None
    args, folder = folder_of(args)
    torch.set_num_threads(args.threads)
    run = prepare(args)
    with opened(folder, args, new):
        if go_on(folder, run.load):
            print(f"going on after update {run.learner.updates}")
        train(run, folder)
        save_policy(run.policy(), folder / POLICY)  # before the baselines, which take a while
        return report(run, folder)


if __name__ == "__main__":
    command(main)
