"""Bids that fit together: actors of all base stations, trained with the auction computed and not learned.

    python examples/joint_bids.py --scenario mdlbi-interference-v0  # half a minute of a core
    python examples/joint_bids.py --scenario mdlbi-city-v0          # about a minute
    python examples/joint_bids.py --eval FILE.safetensors --scenario mdlbi-city-v0

An auction gives all of several like IRSs to whoever values the first one most, though the second one is worth less to
it than the first one is to its neighbour. Who bids high on which panel has to be agreed on beforehand, and that is what
the actors learn. They act on their own observations alone; in training they are taken together. The bids b_m(o_m) of
all base stations (BSs) decide all sets of IRSs by the auction, and where a BS has power control its logit decides
whether it is on. (The best powers are nearly always 0 or Pmax.) What that is worth to the team is known in one of two
ways:

- **All outcomes** (:class:`AllOutcomes`), where they are few, as in mdlbi-interference-v0: who is on, and who holds
  what, 18 of them. In slots met by chance the simulator says the rate of each. With noise on bids and logits the
  chance of each outcome is a formula, so the expected rate and its gradient are exact.
- **Critics** (:class:`Critics`), where they are many, as the 8^16 of mdlbi-city-v0. A critic Q_m(o_m, S_m) learns the
  own rate of a BS with a set of IRSs by regression on what happened. Sets are drawn by the auction with noise on bids;
  then some IRSs are given to each BS in turn, and the chance of each BS to win one follows sum_m Q_m. With interference
  between cells a critic takes what the others have, too.

So the auction, which is known, is computed and not learned, and the gradient of the actors has little variance. Slots
are taken one by one: nothing is learned of what comes later, but what a bid decides in the next slot
(``association_delay=1``, all outcomes).
"""

from __future__ import annotations

import argparse
import itertools
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from irs_marl_env import evaluate, get_scenario, load_policy, make_vec_env
from irs_marl_env.checks import refusal
from irs_marl_env.physics.association import HIGHEST_BID_WINS
from irs_marl_env.scenario import Scenario
from irs_marl_env.training.joint_bids import LEAST, SILENT, Actor, JointBidsPolicy, Seen, action, mlp, seen

WIDTH, RATE = 48, 10.0  # of a critic's layers; bit/s/Hz that a critic takes for 1
MOST_OUTCOMES = 64  # of a slot, that are tried one by one
TRIED = 4  # IRSs that an update of the actors gives to each BS in turn
RULES = ("structured-local-gain", "structured-marginal", "quiet-marginal")  # beside the trained agents


class Learner(ABC):
    """What both ways of learning have: a scenario, its environments and the actors.

    Args:
        scenario: with structured actions, observations of path gains (and of values), and the reward of the team.
        seed: of networks and environments.
        num_envs: stepped together.
        slots: steps of all of them.
        updates: of the actors.
        of_cell: bids follow from what the cell is like, too.

    Attributes:
        delays: values of ``association_delay`` that it can learn with.

    Raises:
        ValueError: in the scenario it is not the highest bid that holds an IRS, or that of too early a slot; or no bid
            decides anything in so few slots.
    """

    delays: tuple[int, ...] = (0,)

    def __init__(self, scenario: Scenario, seed: int, num_envs: int, slots: int, updates: int, of_cell: bool) -> None:
        torch.manual_seed(seed)
        s = self.scenario = scenario
        for field, allowed in (("contention", HIGHEST_BID_WINS), ("association_delay", self.delays)):
            if getattr(s, field) not in allowed:
                raise refusal(field, getattr(s, field), " or ".join(map(repr, allowed)))
        if min(slots, s.horizon) <= s.association_delay:
            field, value = ("slots", slots) if slots < s.horizon else ("horizon", s.horizon)
            raise refusal(field, value, f"more than association_delay={s.association_delay}")
        self.env = make_vec_env(s, num_envs)
        self.num_envs, self.slots, self.updates = num_envs, slots, updates
        self.layout = self.env.observation_codec.layout
        self.controls = "total_power" in self.env.action_codec.layout.slices
        self.actor = Actor(s.num_bs, s.num_irs, s.observation == "values", of_cell)
        self.random = np.random.default_rng(seed)
        self.obs, _ = self.env.reset(seed=100_000 * (seed + 1))
        self.used = 0  # slots of the simulator

    def seen(self, observations: np.ndarray) -> Seen:
        """What networks take of observations ``(E, M, D_o)``."""
        return seen(torch.from_numpy(observations), self.layout, self.scenario)

    def step(self, bids: torch.Tensor, on: torch.Tensor) -> dict[str, Any]:
        """A slot of all environments with these bids ``(E, M, L)`` of BSs that are ``on (E, M)``; its infos."""
        self.obs, _, _, _, infos = self.env.step(action(self.env.action_codec, bids, on))
        self.used += self.num_envs
        return infos

    @abstractmethod
    def train(self, show: bool = True) -> None:
        """Collect and learn."""


# --- all outcomes ----------------------------------------------------------------------------------------------------


def outcomes(num_bs: int, num_irs: int, controls: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Who may be on ``(M,)`` bool, and the owners ``(C, L)`` that are possible then; all off is left out (rate 0)."""
    every = [np.array(on) for on in itertools.product([False, True], repeat=num_bs) if any(on)]
    patterns = every if controls else every[-1:]
    return [(on, np.array(list(itertools.product(np.nonzero(on)[0], repeat=num_irs)))) for on in patterns]


class AllOutcomes(Learner):
    """Learning from the rates of all outcomes in the slots that are met; with ``association_delay=1`` in the slot after
    the bids, which is the one that they decide.

    Args:
        apart: slots of an episode between two in which all outcomes are tried.
    """

    delays = 0, 1

    def __init__(
        self, scenario: Scenario, seed: int, num_envs: int = 128, slots: int = 100, updates: int = 1000, apart: int = 4
    ) -> None:
        super().__init__(scenario, seed, num_envs, slots, updates, of_cell=True)
        self.apart = apart
        self.outcomes = outcomes(scenario.num_bs, scenario.num_irs, self.controls)

    def rates(self) -> torch.Tensor:
        """The team's rates ``(E, C)`` [bit/s/Hz] in this slot with all outcomes, pattern by pattern."""
        view, codec, found = self.env.view(), self.env.action_codec, []
        for on, owners in self.outcomes:
            share = torch.from_numpy(np.tile(on, (self.num_envs, 1)))
            acts = action(codec, torch.zeros(*share.shape, self.scenario.num_irs), share)
            found += [view.rates_if(np.tile(owner, (self.num_envs, 1)), acts).sum(-1) for owner in owners]
        self.used += self.num_envs * len(found)
        return torch.from_numpy(np.stack(found, 1))

    def expected(self, bids: torch.Tensor, chance: torch.Tensor, rates: torch.Tensor, warmth: float) -> torch.Tensor:
        """Expected rates ``(B,)`` of the team.

        Of the BSs that are on each IRS goes to BS m with the chance of the softmax of bids / warmth.

        Args:
            bids: ``(B, M, L)``.
            chance: ``(B, M)`` of being on.
            rates: ``(B, C)`` of all outcomes.
            warmth: of the softmax.
        """
        total, column = torch.zeros(len(bids)), 0
        for on, owners in self.outcomes:
            mask = torch.from_numpy(on)
            log = (bids / warmth).masked_fill(~mask[:, None], -torch.inf).log_softmax(1)  # (B, M, L)
            every = log[:, torch.from_numpy(owners), torch.arange(owners.shape[1])].sum(-1).exp()  # (B, C)
            of_pattern = torch.where(mask, chance, 1 - chance).prod(1)
            total = total + of_pattern * (every * rates[:, column : column + len(owners)]).sum(1)
            column += len(owners)
        return total

    def tables(self) -> tuple[Seen, torch.Tensor]:
        """Slots in which all are on: what was seen, and the rates ``(B, C)`` of all that bids could have decided."""
        looks, rates, before = [], [], None
        for slot in range(self.slots):
            look = self.seen(self.obs.copy()) if slot % self.apart == 0 else None
            if slot % self.scenario.horizon == 0:  # episodes begin together
                before = None
            decided = before if self.scenario.association_delay else look
            if decided is not None:
                looks.append(decided)
                rates.append(self.rates())
            before = look
            self.step(torch.zeros(*self.obs.shape[:2], self.scenario.num_irs), torch.ones(self.obs.shape[:2]) > 0)
        return Seen(*(torch.cat(blocks) for blocks in zip(*looks, strict=True))), torch.cat(rates)

    def train(self, show: bool = True) -> None:
        """Slots, then updates on what was seen in them."""
        s, tables = self.tables()
        optimiser = torch.optim.AdamW(self.actor.parameters(), 3e-3, weight_decay=1e-3)
        for update in range(self.updates):
            done = update / self.updates
            for group in optimiser.param_groups:
                group["lr"] = 3e-3 * (1 - 0.97 * done)
            rows = torch.from_numpy(self.random.integers(len(tables), size=256))
            bids, logits = self.actor(Seen(*(block[rows] for block in s)))
            chance = torch.sigmoid(logits) if self.controls else torch.ones_like(logits)
            value = self.expected(bids, chance, tables[rows], 1.0 - 0.8 * done).mean()
            # some doubt at first: else a BS that is silent early stays so
            doubt = torch.distributions.Bernoulli(logits=logits).entropy().mean()
            optimiser.zero_grad()
            (-value - 0.1 * (1 - done) * doubt).backward()
            optimiser.step()
            if show and update % 200 == 0:
                print(f"update {update}: expected rate {value.item():.3f}", flush=True)


# --- critics ---------------------------------------------------------------------------------------------------------


class Critic(nn.Module):
    """Own rates ``(B, M)`` with sets ``(B, M, L)`` and shares of power ``(B, M)``; one network for all BSs.

    A user counts by its direct gain and by the sums of gains and of amplitudes, and the largest gain, over the set.
    """

    def __init__(self, meet: bool) -> None:
        super().__init__()
        self.meet = meet  # whether cells interfere
        self.user = nn.Sequential(nn.Linear(5, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.head = mlp((2 * WIDTH + 4) * (2 if meet else 1), WIDTH, 1)

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


def auction(bids: torch.Tensor, temperature: float) -> torch.Tensor:
    """Sets ``(B, M, L)`` 0/1 that bids win with Gumbel noise: with the chances of a softmax over the BSs."""
    noise = -torch.log(-torch.log(torch.rand_like(bids).clamp(1e-6, 1 - 1e-6)))
    return torch.zeros_like(bids).scatter_(1, (bids / temperature + noise).argmax(1, keepdim=True), 1.0)


class Critics(Learner):
    """Learning through critics of own sets; there are twice as many updates of the critic, the first ones alone."""

    def __init__(self, scenario: Scenario, seed: int, num_envs: int = 32, slots: int = 60, updates: int = 800) -> None:
        super().__init__(scenario, seed, num_envs, slots, updates, of_cell=scenario.power_control)
        self.critic = Critic(scenario.inter_cell_interference)
        self.memory: list[tuple[torch.Tensor, ...]] = []

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
            infos = self.step(bids, share > 0)
            stations = np.arange(self.scenario.num_bs)[:, None]
            won = torch.from_numpy((infos["owner"][:, None] == stations).astype(np.float32))
            self.memory += list(zip(*s, won, share, torch.from_numpy(infos["sum_rate"]).float(), strict=True))

    def batch(self, size: int) -> tuple[Seen, torch.Tensor, torch.Tensor, torch.Tensor]:
        """A sample of what was seen: observations, sets, shares and own rates."""
        rows = self.random.integers(len(self.memory), size=size)
        *blocks, won, share, rate = (
            torch.stack(column) for column in zip(*(self.memory[row] for row in rows), strict=True)
        )
        return Seen(*blocks), won, share, rate

    @torch.no_grad()
    def value(self, s: Seen, bids: torch.Tensor, on: torch.Tensor, warmth: float) -> torch.Tensor:
        """Team values ``(B,)`` of bids where some BSs are on."""
        return self.critic(s, auction(bids - SILENT * (1 - on[..., None]), warmth), on).sum(1)

    @torch.no_grad()
    def worth_of_irs(self, s: Seen, sets: torch.Tensor, on: torch.Tensor, irs: int) -> torch.Tensor:
        """What the team has ``(B, M)`` if each BS in turn holds an IRS, the others as in ``sets (B, M, L)``."""
        without = sets.clone()
        without[..., irs] = 0.0
        if self.critic.meet:
            worth = []
            for bs in range(sets.shape[1]):
                given = without.clone()
                given[:, bs, irs] = 1.0
                worth.append(self.critic(s, given, on).sum(1))
            return torch.stack(worth, 1)
        given = without.clone()
        given[..., irs] = 1.0
        before = self.critic(s, without, on)
        return self.critic(s, given, on) - before + before.sum(1, keepdim=True)

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
            masked = bids - SILENT * (1 - on[..., None])
            sets = auction(masked.detach(), warmth)
            value = torch.zeros(len(bids))
            for irs in self.random.choice(self.scenario.num_irs, min(TRIED, self.scenario.num_irs), replace=False):
                chances = (masked[..., irs] / warmth).softmax(1)
                value = value + (chances * self.worth_of_irs(s, sets, on, irs)).sum(1) / TRIED
            if self.controls:  # the chance to be on goes up where being on is worth more than being off
                value = value + (chance * self.worth_of_on(s, bids.detach(), on, warmth)).sum(1)
            value = value.mean()
            actor.zero_grad()
            (-value).backward()
            actor.step()
            if show and update % 500 == 0:
                print(f"update {update}: critic loss {loss.item():.3f}, value {value.item():.3f}", flush=True)


# --- the command line ------------------------------------------------------------------------------------------------


def learner(scenario: Scenario, seed: int, **settings: int) -> Learner:
    """The way of learning that suits a scenario: all outcomes if they are few, else critics."""
    controls = 2 if scenario.power_control else 1
    few = (controls * scenario.num_bs) ** scenario.num_irs <= 16 * MOST_OUTCOMES  # so that counting them ends
    if few:
        every = outcomes(scenario.num_bs, scenario.num_irs, scenario.power_control)
        few = sum(len(owners) for _, owners in every) <= MOST_OUTCOMES
    return (AllOutcomes if few else Critics)(scenario, seed, **settings)


def learn(
    scenario: str | Scenario, seed: int, gamma: float = 0.0, show: bool = False, **settings: int
) -> tuple[JointBidsPolicy, int]:
    """Train in a scenario.

    Args:
        scenario: id or scenario; it is trained with structured actions, with observations of path gains unless those of
            the scenario are ``"values"``, and with the reward of the team.
        seed: of networks and environments.
        gamma: unused: slots are taken one by one.
        show: print how it goes.
        **settings: ``num_envs``, ``slots`` and ``updates``, where they are not as usual.

    Returns:
        The policy, and how many slots the simulator computed.
    """
    s = get_scenario(scenario, action="structured", reward="team")
    s = s if s.observation == "values" else s.replace(observation="large_scale")
    trained = learner(s, seed, **settings)
    trained.train(show)
    return JointBidsPolicy(trained.actor, s, f"joint-bids-s{seed}"), trained.used


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="mdlbi-interference-v0")
    parser.add_argument("--observation", choices=("large_scale", "values"), default="large_scale")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--num-envs", type=int, help="stepped together")
    parser.add_argument("--slots", type=int, help="of each environment")
    parser.add_argument("--updates", type=int, help="of the actors")
    parser.add_argument("--eval-seed", type=int, default=20_000)
    parser.add_argument("--eval-episodes", type=int, default=100)
    parser.add_argument("--eval-slots", type=int, default=20, help="5 apart, of each episode")
    parser.add_argument("--save", type=Path, help="write the policy here")
    parser.add_argument("--eval", type=Path, help="a policy to evaluate instead of training one")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.eval:
        policy: Any = load_policy(args.eval)
    else:
        given = {name: getattr(args, name) for name in ("num_envs", "slots", "updates")}
        settings = {name: value for name, value in given.items() if value is not None}
        begun = time.process_time()
        scenario = get_scenario(args.scenario, observation=args.observation)
        policy, slots = learn(scenario, args.seed, show=True, **settings)
        print(f"{time.process_time() - begun:.0f} s of a core, {slots:,} slots")
    if args.save:
        policy.save(args.save)
    bank = {"episodes": args.eval_episodes, "seed": args.eval_seed, "slots": args.eval_slots, "every": 5}
    learned = evaluate(policy, args.scenario, progress=False, **bank)
    print(f"{policy.name} {learned.mean:.3f} ± {learned.standard_error:.3f} bit/s/Hz")
    for rule in RULES:
        result = evaluate(rule, args.scenario, progress=False, **bank)
        print(f"{rule} {result.mean:.3f} ± {result.standard_error:.3f}, ratio {learned.mean / result.mean:.4f}")


if __name__ == "__main__":
    main()
