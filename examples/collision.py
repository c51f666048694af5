"""Base stations learn to share IRSs without an auction: claims that agree over time.

    python examples/collision.py                             # about 1 minute of a core, writes collision.safetensors
    python examples/collision.py --seed 3 --out mine.safetensors
    python examples/collision.py --eval mine.safetensors     # beside the rules, on the same draws

Under ``contention="collision"`` an IRS that two base stations (BSs) claim is lost to both in that slot, and one that
nobody claims is idle. What an IRS is worth to a BS only that BS knows, and nothing is sent: the one channel is rho,
who held which IRS in the last slot. But users walk slowly, so agreement may take some slots, and it has a memory:

- a claim is a message. Whoever held an IRS keeps it by claiming it, and gives it up by keeping off. Whoever claims
  what another holds spoils one slot and says "it is worth more to me now";
- whoever lost a user over the border of its cell knows where that user went in, and the BS that got it knows that the
  other knows.

So a BS remembers, for each IRS, its *standing* (who held it last, and what it did itself in the last slot), and of
each user when it came or left and how well the IRSs reached it then. All of this comes from its own observations.

Learning has three steps; none of them needs another BS's observations when the agents act.

1. **Explore.** Claims at random; observations, the sets of IRSs that each BS got, and the team's reward are recorded.
2. **Value.** A network Q(own path gains, own set of IRSs) learns from the team's reward alone, which is the mean of the
   BSs' own rates, what a BS's own rate will be with every set (a sum of values, one of each BS).
3. **Claim.** Where users walk does not depend on the claims, so a recorded walk can be played again with other claims.
   Under the rule of the contention the standings are a small Markov chain, whose every transition the actor's claim
   probabilities decide: the expected rate of a whole window is computed without sampling, and the actor climbs its
   exact gradient. An entropy bonus, which fades, keeps it from agreeing too early. At the end an IRS is claimed where
   a claim is likelier than not.

So the method knows the rule of the contention and that walks do not depend on claims, and learns values from rewards.
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

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from torch import nn
from torch.nn.functional import logsigmoid

from irs_marl_env import Result, Scenario, evaluate, load_policy, make_vec_env
from irs_marl_env.checks import Kind, Real, Whole, refusal, shown
from irs_marl_env.physics.association import assign
from irs_marl_env.scenario_text import parse_assignments, scenario_to_train_in
from irs_marl_env.training.claims import Actor, ClaimsPolicy, Values
from irs_marl_env.training.command import Failed, command
from irs_marl_env.training.policy_parts import WIDEST
from irs_marl_env.training.standings import Array, Named, Sightings, standing, view

LARGEST_GAME = 2**15  # standings of all IRSs times joint claims that the exact gradient may enumerate
RULES = ("structured-fixed", "head-count", "release", "structured-oracle")  # beside the trained agents
LIMITS: dict[str, Kind] = {
    "seed": Whole(0, 2**40),
    "episodes": Whole(1, 49_999),
    **dict.fromkeys(("value_updates", "updates", "batch", "window"), Whole(1, 10**9)),
    "width": Whole(1, WIDEST),
    **dict.fromkeys(("actor_lr", "value_lr"), Real(0, 10)),
    "entropy": Real(0, 1e3),
    "eval_episodes": Whole(1, 10**6),
    "eval_seed": Whole(0, 2**63 - 1),
    "eval_slots": Whole(1, 10**6),
}
TEAM = {"action": "structured", "observation": "large_scale", "reward": "team"}


@dataclass
class Args:
    """Settings."""

    scenario: str = "mdlbi-collision-v0"
    """an id of irs_marl_env.scenario_ids(), or a JSON file of a scenario"""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """a scenario field, FIELD=VALUE; may be repeated"""
    trusted: bool = False
    """import the modules of parts that --scenario or --set gives as module:name"""
    seed: int = 1
    """of the networks, the exploration and the training episodes"""
    episodes: int = 300
    """episodes of exploration, claims at random"""
    value_updates: int = 2_000
    """gradient steps of the values"""
    updates: int = 600
    """gradient steps of the claims"""
    batch: int = 32
    """windows in each step of the claims"""
    window: int = 20
    """slots of a window"""
    width: int = 32
    """neurons in each hidden layer of the actor; the values have half as many more"""
    actor_lr: float = 5e-3
    """step size of the claims, falling to zero"""
    value_lr: float = 2e-3
    """step size of the values, falling to zero"""
    entropy: float = 0.05
    """bit/s/Hz for each nat of a claim's entropy at the start; zero after 70 % of the updates"""
    out: Path = Path("collision.safetensors")
    """file of the trained policy"""
    eval: Path | None = None
    """evaluate this file instead of training"""
    eval_episodes: int = 100
    """episodes of the comparison"""
    eval_seed: int = 10_000
    """of the first of them"""
    eval_slots: int = 20
    """slots measured in each, spread evenly over it"""


# --- the game --------------------------------------------------------------------------------------------------------


class Game:
    """All that can happen between the BSs in a slot, by the environment's own rule.

    A state is, for each IRS, who held it last and who claimed it in the last slot: S of them. A joint claim is any set
    of IRSs for every BS: A of them. The last BS's claims run fastest.

    Attributes:
        claims: ``(A, M, L)`` bool.
        sets: ``(A, M)`` the set of IRSs that each BS gets; bit l is IRS l.
        following: ``(S, A)`` the next state.
        views: ``(M, S, L)`` what each BS sees of a state.

    Raises:
        ValueError: there are more than :data:`LARGEST_GAME` pairs of state and joint claim.
    """

    def __init__(self, num_bs: int, num_irs: int) -> None:
        M, L = num_bs, num_irs
        pairs = (M * (2**M - M + 1)) ** L * 2 ** (M * L)
        if pairs > LARGEST_GAME:
            allowed = f"such that states times joint claims are at most {LARGEST_GAME}, not {shown(pairs)}"
            raise refusal("num_bs, num_irs", (M, L), allowed)
        self.powers = 2 ** np.arange(M)
        made = np.array(list(product((False, True), repeat=M)))  # (2^M, M) claims for one IRS
        alone = made.sum(-1) == 1  # then it is the last holder's
        each = [(m, one) for m in range(M) for one, lone in zip(made, alone, strict=True) if one[m] or not lone]
        self.number = np.full((M, 2**M), -1)  # of a last holder and claims, for one IRS
        for i, (m, one) in enumerate(each):
            self.number[m, one @ self.powers] = i
        self.weights = len(each) ** np.arange(L)[::-1]

        joint = list(product(each, repeat=L))
        last = np.array([[one[0] for one in state] for state in joint]).reshape(len(joint), L)
        before = np.array([[one[1] for one in state] for state in joint]).reshape(len(joint), L, M).swapaxes(1, 2)
        self.claims = np.array(list(product((False, True), repeat=M * L))).reshape(-1, M, L)
        owner, bs = collision(self.claims), np.arange(M)[:, None]
        self.sets = ((owner[:, None] == bs) << np.arange(L)).sum(-1)
        self.following = self.states(np.where(owner >= 0, owner, last[:, None]), self.claims)

        held = collision(before)[:, None]  # (S, 1, L)
        stands = standing(held == bs, (held >= 0) & (held != bs), before, last[:, None] == bs)
        self.views = view(stands, held == bs).swapaxes(0, 1)

    def states(self, last: Array, claims: Array) -> Array:
        """Numbers of the states with last holders ``(..., L)`` after claims ``(..., M, L)``, which broadcast."""
        number: Array = self.number[last, self.powers @ claims] @ self.weights
        return number

    def held_by(self, owner: Array) -> Array:
        """Numbers ``(E,)`` of the states in which each IRS was held by its ``owner (E, L)``."""
        return self.states(owner, owner[:, None] == np.arange(len(self.powers))[:, None])


def collision(claims: Array) -> Array:
    """Owners ``(..., L)`` of claims ``(..., M, L)`` bool, -1 where there is none."""
    owner: Array = assign(np.where(claims, 1.0, -1.0), "collision", np.zeros_like)
    return owner


def expected_rates(game: Game, logits: torch.Tensor, values: torch.Tensor, begin: torch.Tensor) -> torch.Tensor:
    """Mean over everything that claims may do of the system's rate in each slot, ``(B, T)`` bit/s/Hz.

    ``d_(t+1)(s') = sum_(s, a: next(s, a) = s') d_t(s) prod_m p_m(a_m | s)``: exact, and differentiable.

    Args:
        game: the rules.
        logits: ``(B, T, M, L, 6 L)`` of claims, for every view.
        values: ``(B, T, M, 2^L)`` own rate with each set.
        begin: ``(B,)`` state before the first slot.
    """
    B, T, M, L, _ = logits.shape
    S, A = game.following.shape
    index = torch.from_numpy(game.views).expand(B, T, M, S, L)
    own = logits.transpose(-1, -2).gather(-2, index)[..., None, :]  # (B, T, M, S, 1, L)
    sets = torch.from_numpy(game.claims[: 2**L, -1])  # (C, L): the last BS's claims run through all sets
    chance = torch.where(sets, logsigmoid(own), logsigmoid(-own)).sum(-1).exp()  # (B, T, M, S, C)
    joint = chance[:, :, 0]
    for m in range(1, M):
        joint = (joint[..., None] * chance[:, :, m, :, None]).flatten(-2)  # (B, T, S, A)
    got = torch.from_numpy(game.sets).T.expand(B, T, M, A)
    rate = values.gather(-1, got).sum(2)  # (B, T, A)
    following = torch.from_numpy(game.following).flatten()
    state = nn.functional.one_hot(begin, S).to(joint.dtype)  # (B, S) probabilities
    rates = []
    for t in range(T):
        paths = state[:, :, None] * joint[:, t]
        rates.append((paths.sum(1) * rate[:, t]).sum(-1))
        state = torch.zeros_like(state).index_add(1, following, paths.flatten(1))
    return torch.stack(rates, 1)


# --- learning --------------------------------------------------------------------------------------------------------


@dataclass
class Walks:
    """What exploration recorded.

    Attributes:
        named: observations by name, ``(E, T, M, ...)``.
        sets: ``(E, T, M)`` the set of IRSs that each BS got.
        reward: ``(E, T)`` of the team, bit/s/Hz.
    """

    named: Named
    sets: Array
    reward: Array


def explore(scenario: Scenario, args: Args) -> Walks:
    """Whole episodes in which every BS claims every IRS with probability one half."""
    first = 100_000 * args.seed + 50_000  # every seed has training episodes of its own, away from evaluation's
    env = make_vec_env(scenario, args.episodes, autoreset=False)
    observations, _ = env.reset(seed=first)
    rng = np.random.default_rng(args.seed)
    bids = env.action_codec.layout.slices["bids"]
    action = np.tile(env.action_codec.neutral, (args.episodes, scenario.num_bs, 1))
    seen, sets, rewards = [], [], []
    for _ in range(scenario.horizon):
        seen.append(observations)
        action[..., bids] = rng.choice([-1.0, 1.0], (args.episodes, scenario.num_bs, scenario.num_irs))
        observations, reward, _, _, infos = env.step(action)
        held = infos["owner"][:, None] == np.arange(scenario.num_bs)[:, None]
        sets.append((held << np.arange(scenario.num_irs)).sum(-1))
        rewards.append(reward[:, 0])
    return Walks(env.observation_codec.decode(np.stack(seen, 1)), np.stack(sets, 1), np.stack(rewards, 1))


def learn_values(walks: Walks, args: Args) -> Values:
    """Fit the mean over BSs of Q(own gains, own set) to the team's reward."""
    values = Values(walks.named["held"].shape[-1], args.width)
    names = ("own_user", "direct_gain", "irs_gain")
    inputs = {name: torch.from_numpy(walks.named[name]).flatten(0, 1) for name in names}
    sets, reward = torch.from_numpy(walks.sets).flatten(0, 1), torch.from_numpy(walks.reward).flatten().float()
    optimiser = torch.optim.Adam(values.parameters(), args.value_lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, args.value_updates)
    for _ in range(args.value_updates):
        rows = torch.randint(len(reward), (512,))
        q = values({name: x[rows] for name, x in inputs.items()})  # (B, M, 2^L)
        loss = (q.gather(-1, sets[rows, :, None])[..., 0].mean(-1) - reward[rows]).square().mean()
        _descend(loss, optimiser, schedule)
    return values


def features_along(walks: Walks, values: Array) -> Array:
    """Features ``(E, T, M, L, F)`` of recorded episodes with values ``(E, T, M, 2^L)``."""
    sightings, E = Sightings(), len(values)
    slots = [
        sightings.features({name: x[:, t] for name, x in walks.named.items()}, values[:, t], np.full(E, t == 0))
        for t in range(values.shape[1])
    ]
    return np.stack(slots, 1)


def learn_claims(walks: Walks, values: Values, args: Args) -> Actor:
    """Climb the exact gradient of the expected rate over windows of recorded walks."""
    with torch.no_grad():
        q = values(walks.named)
    E, T, M, _ = q.shape
    L = walks.named["held"].shape[-1]
    game, actor = Game(M, L), Actor(L, args.width)
    features = torch.from_numpy(features_along(walks, q.numpy()))
    optimiser = torch.optim.Adam(actor.parameters(), args.actor_lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, args.updates)
    window = min(args.window, T)
    for update in range(args.updates):
        row = torch.randint(E, (args.batch, 1))
        slots = torch.randint(T - window + 1, (args.batch, 1)) + torch.arange(window)
        begin = torch.from_numpy(game.held_by(torch.randint(M, (args.batch, L)).numpy()))
        logits = actor(features[row, slots])
        rate = expected_rates(game, logits, q[row, slots], begin).mean()
        chance = logits.sigmoid()
        entropy = -(chance * logsigmoid(logits) + (1 - chance) * logsigmoid(-logits)).mean()
        bonus = args.entropy * max(0.0, 1.0 - update / (0.7 * args.updates))
        _descend(-rate - bonus * entropy, optimiser, schedule)
    return actor


def _descend(loss: torch.Tensor, optimiser: Any, schedule: Any) -> None:
    if not torch.isfinite(loss):
        raise Failed("the training diverged, its loss is no longer finite: a smaller --actor-lr or --value-lr?")
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 1.0)
    optimiser.step()
    schedule.step()


def train(args: Args) -> ClaimsPolicy:
    """The three steps; the same seed gives the same policy.

    Raises:
        ValueError: an impossible setting, or a scenario to which the method does not apply.
        Failed: a loss is not finite.
    """
    check_settings(args)
    scenario = scenario_to_train_in(args.scenario, args.trusted, TEAM, parse_assignments(args.set))
    check_applies(scenario)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        walks = explore(scenario, args)
        values = learn_values(walks, args)
        actor = learn_claims(walks, values, args)
    return ClaimsPolicy(values, actor, scenario, args.width, f"claims-s{args.seed}")


def check_settings(args: Args) -> None:
    """Refuse impossible settings, before anything is done.

    Raises:
        ValueError: names the setting, its value and what is allowed.
    """
    for name, kind in LIMITS.items():
        kind(name, getattr(args, name))
    out = args.out.expanduser()
    if args.eval is None and (out.is_dir() or not out.parent.is_dir()):
        raise refusal("out", str(args.out), "a file in a folder that exists")


def check_applies(scenario: Scenario) -> None:
    """Refuse a scenario in which the standings or a BS's own rate follow other rules.

    Raises:
        ValueError: names the field, its value and what it must be.
    """
    needed = {
        "contention": "collision",
        "association_delay": 0,
        "switching_slots": 0,
        "rho": "owner",
        "reward": "team",
        "action": "structured",
        "observation": "large_scale",
        "inter_cell_interference": False,
    }
    for name, value in needed.items():
        if getattr(scenario, name) != value:
            raise refusal(name, getattr(scenario, name), f"{value!r} for claims that agree over time")
    if scenario.num_irs == 0:
        raise refusal("num_irs", 0, "at least 1: there is nothing to claim")
    if scenario.reflection == "all":
        raise refusal("reflection", "all", "another one: a BS's rate must depend on its own IRSs alone")
    Game(scenario.num_bs, scenario.num_irs)


# --- the comparison --------------------------------------------------------------------------------------------------


def compare(policy: Any, args: Args) -> dict[str, Result]:
    """The policy beside rules and the auction, on the same draws; by the name of the line."""
    scenario = policy.scenario
    every, slots = max(1, scenario.horizon // args.eval_slots), min(args.eval_slots, scenario.horizon)

    def on_bank(chosen: Any, task: Scenario) -> Result:
        return evaluate(chosen, task, args.eval_episodes, args.eval_seed, slots, every, progress=False)

    rules = {name: on_bank(name, scenario) for name in RULES}
    auction = on_bank("structured-local-gain", scenario.replace(contention="auction"))
    return {policy.name: on_bank(policy, scenario), **rules, "auction (structured-local-gain)": auction}


def main() -> None:
    """Command line."""
    args = tyro.cli(Args, description=__doc__)
    check_settings(args)
    torch.set_num_threads(1)  # small networks: more threads only wait for one another
    if args.eval is not None:
        policy = load_policy(args.eval.expanduser(), args.trusted)
    else:
        trained = policy = train(args)
        trained.save(args.out.expanduser())
        print(f"wrote {args.out}")
    results = compare(policy, args)
    auction = list(results.values())[-1]
    print(f"{args.eval_episodes} episodes x {args.eval_slots} slots, system bit/s/Hz, and its share of the auction's")
    for name, result in results.items():
        print(f"  {name:<32} {result.mean:6.3f} +- {result.standard_error:.3f}  {result.mean / auction.mean:6.3f}")


if __name__ == "__main__":
    command(main)
