"""Bids with foresight, for IRSs that are idle for some slots when they change hands (``switching_slots``).

    python examples/foresight.py                                   # mdlbi-switching-v0, about two minutes of a core
    python examples/foresight.py --seed 2 --save foresight.safetensors
    python examples/foresight.py --load foresight.safetensors

Each base station (BS) bids by its own observation alone. Four things are learned, one after the other:

1. **Play**: random owners who keep an IRS for a while. What is kept: observations, own sets of IRSs, own rates.
2. **What a set is worth now**: Q(o, S), a regression of own rates. Users walk as they like, whoever holds an IRS; so Q
   says of every recorded slot what any other set would have brought.
3. **What an IRS is worth from now on**: the discounted sum of its marginal rates along the recorded walk, by the number
   of slots after which it serves, a regression on the own observation. The holder bids what it is worth from now on
   (or from the end of the idle slots), a rival what it is worth from ``switching_slots`` on. These bids work already.
4. **What it is worth in the auction**: the rule of the auction is known. With a softmax instead of a maximum the chance
   of each BS to hold an IRS in each slot follows from the bids along the walk, and the exact gradient of the system's
   expected rate improves the same network. This takes the recorded observations of all BSs; bidding never does.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from torch import nn

from irs_marl_env import Scenario, evaluate, load_policy, make_vec_env
from irs_marl_env.checks import refusal
from irs_marl_env.scenario_text import scenario_named
from irs_marl_env.training.foresight import Foresight, OwnNetwork

MOST_IRS = 4  # every set of IRSs is an output of the network


@dataclass
class Args:
    """Settings."""

    scenario: str = "mdlbi-switching-v0"
    """an id of irs_marl_env.scenario_ids(), or a JSON file"""
    seed: int = 1
    """of networks, play and training environments"""
    episodes: int = 1600
    """that are played"""
    keep: float = 0.92
    """chance that the random owner of an IRS stays what it was"""
    width: int = 64
    """of hidden layers"""
    rate_updates: int = 3000
    """of Q(o, S)"""
    worth_updates: int = 1500
    """of the bids as regressions"""
    auction_updates: int = 800
    """of the bids by the gradient through the auction"""
    batch: int = 256
    """slots per update of a regression"""
    walks: int = 32
    """episodes per update of the gradient through the auction"""
    discount: float = 0.9
    """of what an IRS is worth from now on"""
    sharpness: float = 20.0
    """of the softmax, per bit/s/Hz, when the gradient through the auction begins"""
    lr: float = 3e-3
    """learning rate of the regressions"""
    auction_lr: float = 2e-3
    """learning rate of the gradient through the auction"""
    eval_episodes: int = 100
    """evaluation episodes, 20 slots each"""
    eval_seed: int = 10_000
    """of the first of them"""
    save: str | None = None
    """file for the trained policy"""
    load: str | None = None
    """file of a trained policy to evaluate instead of training"""


# --- 1: play ---------------------------------------------------------------------------------------------------------


class Played(NamedTuple):
    """E episodes of T slots."""

    obs: torch.Tensor  # (E, T, M, D_o)
    owned: torch.Tensor  # (E, T, M) index of the set of IRSs that served each BS; bit l is IRS l
    rates: torch.Tensor  # (E, T, M) own rates, bit/s/Hz


def play(env: Any, episodes: int, keep: float, seed: int) -> Played:
    """Episodes with random owners, each of whom stays for another slot with the chance ``keep``."""
    s, E = env.scenario, env.num_envs
    generator, bids_at = np.random.default_rng(seed), env.action_codec.layout.slices["bids"]
    bits = 1 << np.arange(s.num_irs)
    played = []
    obs, _ = env.reset(seed=100_000 * (seed + 1))
    for _ in range(-(-episodes // E)):
        slots: list[tuple[np.ndarray, ...]] = []
        bids = generator.random((E, s.num_bs, s.num_irs), np.float32)
        for _ in range(s.horizon):
            fresh = generator.random(bids.shape, np.float32)
            bids = np.where(generator.random((E, 1, s.num_irs)) < keep, bids, fresh)
            action = np.tile(env.action_codec.neutral, (E, s.num_bs, 1))
            action[..., bids_at] = bids
            following, _, _, _, infos = env.step(action)
            owned = ((infos["owner"][:, None] == np.arange(s.num_bs)[:, None]) * bits).sum(-1)
            slots.append((obs, owned, infos["sum_rate"].astype(np.float32)))
            obs = following
        played.append([np.stack(arrays, 1) for arrays in zip(*slots, strict=True)])
    return Played(*(torch.from_numpy(np.concatenate(arrays)[:episodes]) for arrays in zip(*played, strict=True)))


# --- 2, 3: regressions -----------------------------------------------------------------------------------------------


def regress(network: nn.Module, obs: torch.Tensor, loss: Any, updates: int, args: Args) -> None:
    """Adam with a rate that falls to nearly nothing.

    Args:
        network: it learns.
        obs: ``(R, M, D_o)``.
        loss: of outputs ``(B, M, ...)`` and the rows ``(B,)`` that they belong to.
        updates: how many.
        args: settings.
    """
    optimiser = torch.optim.Adam(network.parameters())
    for update in range(updates):
        optimiser.param_groups[0]["lr"] = args.lr * (1 - 0.97 * update / updates)
        rows = torch.randint(len(obs), (args.batch,))
        optimiser.zero_grad()
        loss(network(obs[rows]), rows).backward()
        optimiser.step()


def learn_rates(env: Any, played: Played, args: Args) -> torch.Tensor:
    """What every set of IRSs would have brought to each BS in every slot that was played, ``(E, T, M, 2^L)``."""
    network = OwnNetwork(env, 2**env.scenario.num_irs, args.width)
    obs, owned, rates = (x.flatten(0, 1) for x in played)

    def loss(q: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return (q.gather(-1, owned[rows][..., None])[..., 0] - rates[rows]).square().mean()

    regress(network, obs, loss, args.rate_updates, args)
    with torch.inference_mode():
        return torch.stack([network(episode) for episode in played.obs]).clone()


def worth(values: torch.Tensor, num_irs: int, slots: int, discount: float) -> torch.Tensor:
    """What an IRS adds to a BS from h slots on, ``(E, T, M, L, slots + 1)`` for h = 0 .. slots [bit/s/Hz].

    ``(1 - g) sum_{i >= h} g^i m[t + i]`` to the end of the episode, m the mean of the first and the last marginal.
    """
    full = values.shape[-1] - 1
    first = torch.stack([values[..., 1 << irs] - values[..., 0] for irs in range(num_irs)], -1)
    last = torch.stack([values[..., full] - values[..., full - (1 << irs)] for irs in range(num_irs)], -1)
    marginal = (first + last) / 2
    T = marginal.shape[1]
    total = marginal.new_zeros(len(marginal), T + slots + 1, *marginal.shape[2:])
    for t in range(T - 1, -1, -1):
        total[:, t] = marginal[:, t] + discount * total[:, t + 1]
    return (1 - discount) * torch.stack([discount**h * total[:, h : h + T] for h in range(slots + 1)], -1)


def learn_worth(policy: Foresight, played: Played, values: torch.Tensor, args: Args) -> None:
    """Bids that are what an IRS is worth from now on."""
    target = worth(values, policy.scenario.num_irs, policy.slots, args.discount)
    before = max(1, played.obs.shape[1] - round(2 / (1 - args.discount)))  # later slots see too little of what follows
    obs, target = played.obs[:, :before].flatten(0, 1), target[:, :before].flatten(0, 1).flatten(-2)
    regress(policy.network, obs, lambda y, rows: (y - target[rows]).square().mean(), args.worth_updates, args)


# --- 4: the gradient through the auction -----------------------------------------------------------------------------


def expected_rate(bids: torch.Tensor, values: torch.Tensor, holder: torch.Tensor) -> torch.Tensor:
    """The system's expected rate in each slot if an IRS goes to a BS with a chance in proportion to exp(bid).

    Given the walk, one IRS does not know of another, so the chances of its states (holder, slots until it serves) are
    carried from slot to slot exactly.

    Args:
        bids: ``(E, T, M, L, n + 1)`` by the slots until the IRS would serve.
        values: ``(E, T, M, 2^L)`` rates of each set of IRSs to each BS.
        holder: ``(E, L)`` int64 in the first slot.

    Returns:
        ``(E, T)``.
    """
    E, T, M, L, _ = bids.shape
    n = bids.shape[-1] - 1
    of_holder, of_rival = bids[..., :n].transpose(2, 3), bids[..., n].transpose(2, 3)  # (E, T, L, M, n), (E, T, L, M)
    everyone = torch.where(torch.eye(M, dtype=torch.bool), of_holder.mT[..., None, :], of_rival[..., None, None, :])
    chances = everyone.softmax(-1)  # (E, T, L, n, M holder, M winner)
    state = bids.new_zeros(E, L, n, M)
    state[:, :, 0] = nn.functional.one_hot(holder, M).to(bids.dtype)
    serves = []
    for t in range(T):
        flow = state[..., None] * chances[:, t]  # (E, L, n, M holder, M winner)
        kept = flow.diagonal(dim1=-2, dim2=-1)  # (E, L, n, M)
        serves.append(kept[:, :, 0])
        won = flow.sum((2, 3)) - kept.sum(2)  # (E, L, M)
        sooner = torch.cat([kept[:, :, 1:], torch.zeros_like(kept[:, :, :1])], 2)
        state = sooner + torch.cat([kept[:, :, :1], torch.zeros_like(kept[:, :, 1:])], 2)
        state = state + torch.cat([torch.zeros_like(kept[:, :, 1:]), won[:, :, None]], 2)
    serving = torch.stack(serves, 1).mT  # (E, T, M, L)
    for irs in range(L - 1, -1, -1):  # the last bit of a set's index first
        without, with_it = values.chunk(2, -1)
        chance = serving[..., irs, None]
        values = (1 - chance) * without + chance * with_it
    return values[..., 0].sum(-1)


def learn_auction(policy: Foresight, played: Played, values: torch.Tensor, args: Args) -> None:
    """Bids that bring most in the auction along the walks that were played."""
    with torch.no_grad():
        last: Any = policy.network.cell[-1]
        last.weight *= args.sharpness
        last.bias *= args.sharpness
    optimiser = torch.optim.Adam(policy.network.parameters())
    for update in range(args.auction_updates):
        optimiser.param_groups[0]["lr"] = args.auction_lr * (1 - 0.97 * update / args.auction_updates)
        rows = torch.randint(len(values), (args.walks,))
        holder = torch.randint(policy.scenario.num_bs, (args.walks, policy.scenario.num_irs))
        rate = expected_rate(policy.bids(played.obs[rows]), values[rows], holder)
        optimiser.zero_grad()
        (-rate.mean()).backward()
        nn.utils.clip_grad_norm_(policy.network.parameters(), 1.0)
        optimiser.step()


# --- all of it -------------------------------------------------------------------------------------------------------


def scenario_of(name: str) -> Scenario:
    """The scenario with what the bids need.

    Raises:
        ValueError: a scenario without ``switching_slots``, with too many IRSs, or of another kind.
    """
    scenario = scenario_named(name, action="structured", observation="large_scale")
    if scenario.switching_slots < 1:
        raise refusal("switching_slots", scenario.switching_slots, "at least 1, or a bid has nothing to foresee")
    if scenario.association_delay == 1:
        raise refusal("association_delay", 1, "0: the bids of a slot decide its owners")
    if not 1 <= scenario.num_irs <= MOST_IRS:
        raise refusal("num_irs", scenario.num_irs, f"1 to {MOST_IRS}: every set of them is valued")
    return scenario


def train(args: Args, report: Any = print) -> Foresight:
    """A trained policy; ``report`` is told what each step took."""
    scenario, begun = scenario_of(args.scenario), time.process_time()
    torch.manual_seed(args.seed)

    def done(step: str) -> None:
        report(f"{time.process_time() - begun:6.1f} s: {step}")

    env = make_vec_env(scenario, num_envs=min(64, args.episodes))
    played = play(env, args.episodes, args.keep, args.seed)
    done(f"played {played.owned[..., 0].numel()} slots")
    values = learn_rates(env, played, args)
    done("learned what a set is worth now")
    policy = Foresight(env, args.width, f"foresight-s{args.seed}")
    learn_worth(policy, played, values, args)
    done("learned what an IRS is worth from now on")
    learn_auction(policy, played, values, args)
    done("learned what it is worth in the auction")
    policy.cpu_seconds = time.process_time() - begun
    return policy


def main(args: Args) -> None:
    """Train, and print a table on the same draws."""
    torch.set_num_threads(1)
    policy: Any = load_policy(args.load) if args.load else train(args)
    bank: dict[str, Any] = {"episodes": args.eval_episodes, "seed": args.eval_seed, "every": 5}
    results = [evaluate(name, policy.scenario, **bank) for name in ("structured-local-gain", "hysteresis", "planner")]
    trained = evaluate(policy, policy.scenario, **bank)
    for result in (*results, trained):
        gap = trained.difference(result)
        print(f"{result.policy:24} {result.mean:.3f} +- {result.standard_error:.3f}", end="  ")
        print(f"trained / this {trained.mean / result.mean:.4f} +- {gap.standard_error / result.mean:.4f}")
    if args.save:
        policy.save(Path(args.save))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
