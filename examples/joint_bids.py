"""Bids that fit together: actors of all base stations, trained through critics of what sets of IRSs are worth.

    python examples/joint_bids.py --scenario mdlbi-city-v0           # a minute or two of one core
    python examples/joint_bids.py --scenario mdlbi-interference-v0   # with the power of each BS
    python examples/joint_bids.py --eval FILE.pt --scenario mdlbi-city-v0

An auction gives all of several like IRSs to whoever values the first one most, though the second one is worth less to
it than the first one is to its neighbour. Who bids high on which panel has to be agreed on beforehand, and that is what
the actors learn. They act on their own observations alone; in training they are taken together:

1. A critic Q_m(o_m, S_m) learns the own rate of base station (BS) m with a set S_m of IRSs by regression on what
   happened. With interference between cells it also takes the powers, and what the other BSs see and hold.
2. The bids b_m(o_m) of all BSs decide all sets by the auction, S = auction(b_1, ..., b_M). The actors follow the
   gradient of sum_m Q_m through it: each IRS goes to the highest of the bids with Gumbel noise, and the gradient is
   that of the softmax over the BSs (straight-through, Jang et al. 2017). Where a BS has power control, it learns
   when to be on, by what the critics say of both; one that is silent bids for nothing. (The best powers are nearly
   always 0 or Pmax.)

So the auction, which is known, is computed and not learned, and the gradient of the actors has little variance.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from irs_marl_env import evaluate, get_scenario, make_vec_env
from irs_marl_env.policies import POLICIES

WIDTH, PLACE, RATE = 48, 8, 10.0  # of layers; of what is learned of each IRS; bit/s/Hz that a critic takes for 1
SILENT = 30.0  # by how much a BS that is off bids less
LEAST = -6.0  # log10 of a gain that counts for nothing


class Seen(NamedTuple):
    """What networks take of observations, ``(B, M, ...)``."""

    own: torch.Tensor  # (B, M, K) 0/1
    direct: torch.Tensor  # (B, M, K) log10 of the relative path gain
    over: torch.Tensor  # (B, M, K, L) the same over each IRS


def seen(obs: torch.Tensor, layout: Any, num_users: int, num_irs: int, most: int) -> Seen:
    """The blocks of large-scale observations ``(B, M, D_o)``; own users first, and no more than ``most`` of them."""
    own, direct = (obs[..., layout.slices[name]] for name in ("own_user", "direct_gain"))
    over = obs[..., layout.slices["irs_gain"]].unflatten(-1, (num_irs, num_users)).transpose(-1, -2)
    users = own.argsort(dim=-1, descending=True, stable=True)[..., :most]
    rows = users[..., None].expand(*users.shape, num_irs)
    return Seen(own.gather(-1, users), direct.gather(-1, users), over.gather(-2, rows))


def mlp(fan_in: int, fan_out: int) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(fan_in, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, fan_out)
    )


class Critic(nn.Module):
    """Own rates ``(B, M)`` with sets ``(B, M, L)`` and shares of power ``(B, M)``; one network for all BSs.

    A user counts by its direct gain and by the sums of gains and of amplitudes, and the largest gain, over the set.
    """

    def __init__(self, meet: bool) -> None:
        super().__init__()
        self.meet = meet  # whether cells interfere
        self.user = nn.Sequential(nn.Linear(5, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.head = mlp((2 * WIDTH + 4) * (2 if meet else 1), 1)

    def forward(self, s: Seen, sets: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        gain = 10.0 ** s.over.clamp(min=LEAST) * sets[..., None, :]  # (B, M, K, L)
        root = 10.0 ** (s.over.clamp(min=LEAST) / 2) * sets[..., None, :]
        number = sets.sum(-1, keepdim=True)
        logs = [torch.log10(x + 1e-2) for x in (gain.sum(-1), root.sum(-1), gain.amax(-1))]
        users = torch.stack([s.direct, *logs, (number / 4).expand_as(s.direct)], -1)
        each = self.user(users) * s.own[..., None]
        power = [share[..., None], torch.log10(share[..., None] + 1e-2)]
        mine = torch.cat([each.sum(2) / 5, each.amax(2), number / 4, s.own.sum(-1, keepdim=True) / 10, *power], -1)
        if self.meet:
            rest = (mine.sum(1, keepdim=True) - mine) / max(1, mine.shape[1] - 1)
            mine = torch.cat([mine, rest], -1)
        return self.head(mine)[..., 0] * RATE


class Actor(nn.Module):
    """Bids ``(B, M, L)`` of any size, and logits ``(B, M)`` of being on.

    A bid follows from what own users gain over an IRS, and from what is learned of the IRS and the BS (their place).
    """

    def __init__(self, num_bs: int, num_irs: int) -> None:
        super().__init__()
        self.place = nn.Parameter(0.5 * torch.randn(num_bs, num_irs, PLACE))
        self.base = nn.Parameter(0.3 * torch.randn(num_bs, num_irs))
        self.bid, self.power = mlp(8 + PLACE, 1), mlp(4 + num_bs, 1)
        last: Any = self.power[-1]
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, 2.5)  # begin with nearly all on: else one of two stays silent for ever

    def forward(self, s: Seen) -> tuple[torch.Tensor, torch.Tensor]:
        own, count = s.own[..., None], s.own.sum(-1, keepdim=True)
        over = s.over.clamp(min=LEAST)
        best = over.amax(-1, keepdim=True)
        reach = torch.log10((10.0**over * own).sum(2) + 1e-2)  # (B, M, L), what the local-gain rule bids
        mean = (over * own).sum(2) / count.clamp(min=1)
        most = (over * own + LEAST * (1 - own)).amax(2)
        near = (10.0 ** (over - best) * own).sum(2) / 5
        direct = (s.direct * s.own).sum(-1, keepdim=True) / count.clamp(min=1)
        top = reach.amax(-1, keepdim=True)
        of_irs = [reach, mean, most, near, reach - top, *(x.expand_as(reach) for x in (direct, count / 10, top))]
        place = self.place.expand(len(reach), *self.place.shape)
        bids = self.bid(torch.cat([torch.stack(of_irs, -1), place], -1))[..., 0] + self.base + reach
        who = torch.eye(reach.shape[1]).expand(len(reach), -1, -1)
        of_cell = torch.cat([direct, count / 10, top, reach.mean(-1, keepdim=True), who], -1)
        return bids, self.power(of_cell)[..., 0]


def auction(bids: torch.Tensor, temperature: float) -> torch.Tensor:
    """Sets ``(B, M, L)`` 0/1 that bids win with Gumbel noise, with the gradient of a softmax over the BSs."""
    noise = -torch.log(-torch.log(torch.rand_like(bids).clamp(1e-6, 1 - 1e-6)))
    soft = (bids / temperature + noise).softmax(1)
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(1, keepdim=True), 1.0)
    return hard + soft - soft.detach()


class JointBids:
    """Actors and critic, their environment and what was seen.

    Args:
        scenario: id or scenario with structured actions and large-scale observations.
        seed: of networks and environments.
        num_envs: stepped together.
        slots: steps of all of them.
        updates: of the actors; the critic has as many before and with them.
    """

    def __init__(self, scenario: Any, seed: int, num_envs: int = 32, slots: int = 80, updates: int = 1500) -> None:
        torch.manual_seed(seed)
        self.scenario = get_scenario(scenario, action="structured", observation="large_scale", reward="team")
        s = self.scenario
        self.env = make_vec_env(s, num_envs)
        self.layout, self.acts = self.env.observation_codec.layout, self.env.action_codec.layout
        self.most = min(s.num_users, max(8, 2 * s.num_users // s.num_bs))
        self.controls = "total_power" in self.acts.slices
        self.critic, self.actor = Critic(s.inter_cell_interference), Actor(s.num_bs, s.num_irs)
        self.slots, self.updates = slots, updates
        self.random = np.random.default_rng(seed)
        self.memory: list[tuple[torch.Tensor, ...]] = []
        self.obs, _ = self.env.reset(seed=100_000 * (seed + 1))
        self.cpu_seconds = 0.0

    def seen(self, obs: np.ndarray) -> Seen:
        """What networks take of observations ``(E, M, D_o)``."""
        s = self.scenario
        return seen(torch.from_numpy(obs), self.layout, s.num_users, s.num_irs, self.most)

    def action(self, bids: torch.Tensor, share: torch.Tensor) -> np.ndarray:
        """Actions ``(E, M, D_a)``; only the order of the bids for an IRS counts."""
        action = np.zeros((*bids.shape[:2], self.acts.size), np.float32)
        action[..., self.acts.slices["bids"]] = (bids / (4 + bids.abs())).numpy()
        if self.controls:
            action[..., self.acts.slices["total_power"]] = 2 * share.numpy()[..., None] - 1
        return action

    @torch.inference_mode()
    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """The policy: actions ``(E, M, D_a)`` without exploration."""
        bids, logits = self.actor(self.seen(observations))
        on = (logits > 0).float() if self.controls else torch.ones_like(logits)
        return self.action(bids - SILENT * (1 - on[..., None]), on)

    @torch.inference_mode()
    def collect(self, slots: int, explore: float) -> None:
        """Steps of the environments with noise on bids, and some BSs silent at random."""
        for _ in range(slots):
            s = self.seen(self.obs)
            bids, logits = self.actor(s)
            scale = explore * torch.from_numpy(self.random.choice([0.3, 1.0, 3.0], (len(bids), 1, 1))).float()
            bids = bids + scale * torch.from_numpy(self.random.standard_normal(bids.shape)).float()
            share = torch.ones_like(logits)
            if self.controls:
                drawn = torch.from_numpy(self.random.random(share.shape)) < 0.3
                share = torch.where(drawn, 0.0, (logits > 0).float())
                bids = bids - SILENT * (1 - share[..., None])
            self.obs, _, _, _, infos = self.env.step(self.action(bids, share))
            stations = np.arange(self.scenario.num_bs)[:, None]
            won = torch.from_numpy((infos["owner"][:, None] == stations).astype(np.float32))
            self.memory += list(zip(*s, won, share, torch.from_numpy(infos["sum_rate"]).float(), strict=True))

    def batch(self, size: int) -> tuple[Seen, torch.Tensor, torch.Tensor, torch.Tensor]:
        """A sample of what was seen: observations, sets, shares and own rates."""
        rows = self.random.integers(len(self.memory), size=size)
        own, direct, over, won, share, rate = (
            torch.stack(column) for column in zip(*(self.memory[row] for row in rows), strict=True)
        )
        return Seen(own, direct, over), won, share, rate

    def value(self, s: Seen, bids: torch.Tensor, on: torch.Tensor, warmth: float) -> torch.Tensor:
        """Team values ``(B,)`` of bids where some BSs are on."""
        return self.critic(s, auction(bids - SILENT * (1 - on[..., None]), warmth), on).sum(1)

    @torch.no_grad()
    def worth_of_on(self, s: Seen, bids: torch.Tensor, on: torch.Tensor, warmth: float) -> torch.Tensor:
        """How much more the team has ``(B, M)`` if a BS is on than if it is off, the others as they are."""
        worth = []
        for bs in range(on.shape[1]):
            yes, no = on.clone(), on.clone()
            yes[:, bs], no[:, bs] = 1.0, 0.0
            worth.append(self.value(s, bids, yes, warmth) - self.value(s, bids, no, warmth))
        return torch.stack(worth, 1)

    def train(self, show: bool = True) -> None:
        """Random sets, critic; then critic, actors and a slot now and then in turns."""
        begun = time.process_time()
        critic = torch.optim.Adam(self.critic.parameters(), 3e-3)
        actor = torch.optim.Adam(self.actor.parameters(), 3e-3)
        first, num_bs = self.slots // 2, self.scenario.num_bs
        self.collect(first, explore=1.0)
        for update in range(2 * self.updates):
            done = update / (2 * self.updates)
            for group in (*critic.param_groups, *actor.param_groups):
                group["lr"] = 3e-3 * (1 - 0.95 * done)
            s, won, share, rate = self.batch(max(64, 256 // num_bs))
            loss = (self.critic(s, won, share) - rate).square().mean()
            critic.zero_grad()
            loss.backward()
            critic.step()
            if update < self.updates // 2:
                continue
            if update % max(1, 3 * self.updates // (2 * (self.slots - first))) == 0:
                self.collect(1, explore=0.5)
            s = Seen(*(x[: 192 // num_bs] for x in s))
            bids, logits = self.actor(s)
            warmth = 1.0 - 0.85 * done
            chance = torch.sigmoid(logits)
            on = torch.bernoulli(chance.detach()) if self.controls else torch.ones_like(logits)
            value = self.value(s, bids, on, warmth)
            if self.controls:  # the chance to be on goes up where being on is worth more than being off
                value = value + (chance * self.worth_of_on(s, bids.detach(), on, warmth)).sum(1)
            value = value.mean()
            actor.zero_grad()
            (-value).backward()
            actor.step()
            if show and update % 500 == 0:
                print(f"update {update}: critic loss {loss.item():.3f}, value {value.item():.3f}", flush=True)
        self.cpu_seconds = time.process_time() - begun


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="mdlbi-city-v0")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--num-envs", type=int, default=32)
    parser.add_argument("--slots", type=int, default=80, help="of each environment")
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--eval-seed", type=int, default=20_000)
    parser.add_argument("--eval-episodes", type=int, default=100)
    parser.add_argument("--save", type=Path, help="write the networks' weights here")
    parser.add_argument("--eval", type=Path, help="weights to evaluate instead of training")
    args = parser.parse_args()
    torch.set_num_threads(1)
    learner = JointBids(args.scenario, args.seed, args.num_envs, args.slots, args.updates)
    if args.eval:
        learner.actor.load_state_dict(torch.load(args.eval, weights_only=True))
    else:
        learner.train()
        print(f"{learner.cpu_seconds:.0f} s of a core, {args.num_envs * args.slots} slots")
    if args.save:
        torch.save(learner.actor.state_dict(), args.save)
    bank = {"episodes": args.eval_episodes, "seed": args.eval_seed, "slots": 20, "every": 5, "progress": False}
    learned = evaluate(learner, learner.scenario, name="joint bids", **bank)
    print(f"joint bids {learned.mean:.3f} ± {learned.standard_error:.3f} bit/s/Hz")
    for rule in ("structured-local-gain", "structured-marginal"):
        if rule in POLICIES:
            result = evaluate(rule, args.scenario, **bank)
            print(f"{rule} {result.mean:.3f} ± {result.standard_error:.3f}, ratio {learned.mean / result.mean:.4f}")


if __name__ == "__main__":
    main()
