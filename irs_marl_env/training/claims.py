"""Agents that share IRSs by claims: networks of what IRSs are worth and of claims, as a policy, and in a file.

``examples/collision.py`` trains them; :func:`irs_marl_env.load_policy` reads their file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from irs_marl_env.scenario import Scenario
from irs_marl_env.training.checkpoint import under
from irs_marl_env.training.files import write_tensors
from irs_marl_env.training.folder import provenance
from irs_marl_env.training.policy_parts import parts
from irs_marl_env.training.standings import FEATURES, STANDINGS, Array, Named, Sightings, Standings

KIND = "claims"  # of a policy file, by which load_policy knows it


class Values(nn.Module):
    """Own rate of a BS with each set of IRSs, from its own path gains: a sum over users between two small networks."""

    def __init__(self, num_irs: int, width: int) -> None:
        super().__init__()
        width = 3 * width // 2
        self.each = nn.Sequential(nn.Linear(2 + num_irs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.all = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2**num_irs))

    def forward(self, named: Named) -> torch.Tensor:
        """``(..., 2^L)`` bit/s/Hz; in the number of a set, bit l is IRS l."""
        blocks = (named[name] for name in ("own_user", "direct_gain", "irs_gain"))
        own, direct, gain = (torch.as_tensor(block, device="cpu") for block in blocks)
        users = torch.cat([own[..., None], direct[..., None], gain.transpose(-1, -2)], -1)
        values: torch.Tensor = self.all((self.each(users) * own[..., None]).sum(-2))
        return values


class Actor(nn.Module):
    """Logit of a claim for one IRS, from its features and the view of it; the same for all IRSs and BSs."""

    def __init__(self, num_irs: int, width: int) -> None:
        super().__init__()
        self.seen, self.known = nn.Linear(FEATURES, width), nn.Linear(STANDINGS + 1, width, bias=False)
        hidden, last = nn.Linear(width, width), nn.Linear(width, 1)
        self.rest = nn.Sequential(nn.ReLU(), hidden, nn.ReLU(), last)
        views = np.arange(STANDINGS * num_irs)
        share = (views % num_irs) / max(1, num_irs - 1)  # of the other IRSs
        self.views = torch.from_numpy(np.column_stack([np.eye(STANDINGS)[views // num_irs], share]).astype(np.float32))
        with torch.no_grad():
            last.weight *= 0.1  # begin near one half

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits ``(..., L, 6 L)`` for every view, of features ``(..., L, F)``."""
        logits: torch.Tensor = self.rest(self.seen(features)[..., None, :] + self.known(self.views))[..., 0]
        return logits


class ClaimsPolicy:
    """Trained agents, for ``evaluate`` and one's own loop; :meth:`save` writes them to a file.

    Args:
        values: the network of own rates.
        actor: the network of claims.
        scenario: what they were trained in.
        width: of the networks: neurons in each hidden layer of the actor, two thirds of those of the values.
        name: what tables call it.
    """

    remembers = True  # evaluate lets it act in every slot

    def __init__(self, values: Values, actor: Actor, scenario: Scenario, width: int, name: str = "claims") -> None:
        self.values, self.actor, self.scenario, self.width, self.name = values, actor, scenario, width, name

    def adapt(self, scenario: Scenario) -> Scenario:
        """A scenario with the actions and observations of the training; all else as it is."""
        return scenario.replace(action="structured", observation="large_scale", rho="owner")

    def bind(self, env: Any, seed: int = 0) -> Callable[[Any], Any]:
        """A callable ``observations -> actions`` with a memory of its own; it must act in every slot.

        Where an episode begins (``env.view().slot`` is 0) the memory begins anew. Base station m's actions follow from
        its own observations alone.

        Args:
            env: ``MdlbiParallelEnv`` or ``MdlbiVectorEnv`` of an adapted scenario.
            seed: unused, nothing is drawn.

        Raises:
            ValueError: the environment has other actions or observations, or another number of IRSs.
        """
        for field in ("action", "observation", "rho", "num_irs"):
            needed, found = getattr(self.scenario, field), getattr(env.scenario, field)
            if needed != found:
                raise ValueError(f"policy {self.name!r} needs {field}={needed!r}, not {found!r}")
        standings, sightings = Standings(), Sightings()
        bids = env.action_codec.layout.slices["bids"]

        def act(observations: Array) -> Array:
            named = env.observation_codec.decode(np.asarray(observations))
            begins = env.view().slot == 0
            views = standings.see(named, begins)
            with torch.no_grad():
                features = sightings.features(named, self.values(named).numpy(), begins)
                logits = self.actor(torch.from_numpy(features)).numpy()
            standings.claimed = np.take_along_axis(logits, views[..., None], -1)[..., 0] > 0
            action = np.tile(env.action_codec.neutral, (*observations.shape[:2], 1))
            action[..., bids] = np.where(standings.claimed, 1.0, -1.0)
            return action

        def act_by_agent(observations: dict[str, Array]) -> dict[str, Array]:
            actions = act(np.stack([observations[agent] for agent in env.possible_agents])[None])[0]
            return dict(zip(env.possible_agents, actions, strict=True))

        return act if hasattr(env, "num_envs") else act_by_agent

    def save(self, path: Path) -> None:
        """Write the networks, with what is needed to rebuild them."""
        nets = {"values": self.values, "actor": self.actor}
        tensors = {f"{net}.{name}": value for net, made in nets.items() for name, value in made.state_dict().items()}
        scenario = json.loads(self.scenario.to_json(portable=False))
        about = {"kind": KIND, "name": self.name, "width": self.width}
        write_tensors(path, tensors, {**about, "scenario": scenario, "versions": provenance()})

    # tensors travel to other processes as arrays: those of torch would need shared memory there

    def __getstate__(self) -> dict[str, Any]:
        weights = [{name: x.numpy() for name, x in net.state_dict().items()} for net in (self.values, self.actor)]
        return {**self.__dict__, "values": weights[0], "actor": weights[1]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights = [{name: torch.from_numpy(x) for name, x in state.pop(net).items()} for net in ("values", "actor")]
        self.__dict__.update(state)
        self.values, self.actor = networks(self.scenario.num_irs, self.width, *weights)


def networks(num_irs: int, width: int, values: Named, actor: Named) -> tuple[Values, Actor]:
    """Both networks with given weights.

    Raises:
        ValueError: the weights are of other sizes.
    """
    with torch.device("cpu"):  # whatever torch's default device is
        made = Values(num_irs, width), Actor(num_irs, width)
    try:
        for network, weights in zip(made, (values, actor), strict=True):
            network.load_state_dict(weights)
    except RuntimeError as error:
        reason = (str(error).splitlines() or [""])[-1].strip()[:200]
        raise ValueError(f"the networks do not fit num_irs={num_irs}, width={width} ({reason})") from None
    return made


def rebuilt(tensors: dict[str, torch.Tensor], about: Named, trusted: bool = False, **fields: Any) -> ClaimsPolicy:
    """The policy in what :meth:`ClaimsPolicy.save` wrote.

    Args:
        tensors: of the networks.
        about: what stands beside them.
        trusted: import the modules of parts of one's own that the scenario of the training had.
        **fields: scenario fields in which :attr:`ClaimsPolicy.scenario` shall differ from that of the training.

    Raises:
        ValueError: something is missing or does not fit.
    """
    scenario, width, name = parts(tensors, about, trusted, fields)
    largest = max((length for value in tensors.values() for length in value.shape), default=0)
    if scenario.num_irs >= largest.bit_length():  # before networks of 2^L outputs are made, which no memory might hold
        raise ValueError(f"the networks do not fit num_irs={scenario.num_irs}: no tensor has 2^num_irs rows")
    nets = networks(scenario.num_irs, width, under("values.", tensors), under("actor.", tensors))
    return ClaimsPolicy(*nets, scenario, width, name)
