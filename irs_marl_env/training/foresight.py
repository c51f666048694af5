"""The policy of ``examples/foresight.py``: bids of own observations, where IRSs are idle when they change hands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from irs_marl_env.checks import Real
from irs_marl_env.scenario import Scenario
from irs_marl_env.training.files import write_tensors
from irs_marl_env.training.folder import provenance
from irs_marl_env.training.policy_parts import parts
from irs_marl_env.vector_env import MdlbiVectorEnv

KIND = "foresight"  # what a file says it holds
FIELDS = ("position", "velocity", "direct_gain", "irs_gain")  # of a user in an observation, where they are there


class OwnNetwork(nn.Module):
    """Own observations ``(..., M, D_o)`` to ``(..., M, outputs)``: a sum over own users, the same weights for all BSs.

    Args:
        env: whose observations.
        outputs: how many.
        width: of hidden layers.
    """

    def __init__(self, env: Any, outputs: int, width: int) -> None:
        super().__init__()
        self.slices, s = env.observation_codec.layout.slices, env.scenario
        self.sizes = s.num_bs, s.num_users, s.num_irs
        self.names = [name for name in FIELDS if name in self.slices]
        per_user = {"position": 2, "velocity": 2, "direct_gain": 1, "irs_gain": s.num_irs}
        features = sum(per_user[name] for name in self.names) + s.num_bs
        self.user = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.cell = nn.Sequential(
            *(nn.Linear(width + 1 + s.num_bs, width), nn.LayerNorm(width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)),
        )

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        M, K, L = self.sizes
        lead = obs.shape[:-1]
        own = obs[..., self.slices["own_user"]]
        of_users = []
        for name in self.names:
            block = obs[..., self.slices[name]]
            per_user = block.reshape(*lead, L, K).mT if name == "irs_gain" else block.reshape(*lead, K, -1)
            of_users.append(per_user)
        which = torch.eye(M, device=obs.device).expand(*lead, M)
        of_users.append(which[..., None, :].expand(*lead, K, M))
        total = (self.user(torch.cat(of_users, -1)) * own[..., None]).sum(-2) * (M / K)
        return self.cell(torch.cat([total, own.sum(-1, keepdim=True) / K, which], -1))


class Foresight(nn.Module):
    """The bids, as a policy: observations ``(E, M, D_o)`` to actions ``(E, M, D_a)``.

    The network has n + 1 outputs for each IRS, n = ``switching_slots``: what the holder bids while 0 .. n - 1 slots are
    left until the IRS serves it, and what a rival bids.
    """

    cpu_seconds = 0.0  # of its training

    def __init__(self, env: Any, width: int, name: str = KIND) -> None:
        super().__init__()
        self.width, self.name = width, name
        self.scenario, self.slots = env.scenario, env.scenario.switching_slots
        self.slices, self.action = env.observation_codec.layout.slices, env.action_codec
        self.network = OwnNetwork(env, env.scenario.num_irs * (self.slots + 1), width)

    def bids(self, obs: torch.Tensor) -> torch.Tensor:
        """Bids ``(..., M, L, n + 1)`` by the slots until the IRS would serve."""
        return self.network(obs).unflatten(-1, (self.scenario.num_irs, self.slots + 1))

    def __call__(self, observations: Any) -> Any:
        with torch.inference_mode():
            obs = torch.from_numpy(np.ascontiguousarray(observations))
            held = obs[..., self.slices["held"]] > 0
            left = (obs[..., self.slices["switching"]] * self.slots).round().long()
            until = torch.where(held, left.clamp(max=self.slots - 1), self.slots)
            bids = self.bids(obs).gather(-1, until[..., None])[..., 0]
            actions = np.tile(self.action.neutral, (*bids.shape[:2], 1))
            actions[..., self.action.layout.slices["bids"]] = bids / (1 + bids.abs())
        return actions

    def adapt(self, scenario: Scenario) -> Scenario:
        """A scenario with the actions and observations of the training; all else as it is."""
        seen = {name: getattr(self.scenario, name) for name in ("action", "observation", "observe_velocity", "rho")}
        return scenario.replace(**seen)

    def save(self, path: Path) -> None:
        """Write the network, with what is needed to rebuild it; ``load_policy`` reads it."""
        about = {"kind": KIND, "name": self.name, "width": self.width, "cpu_seconds": self.cpu_seconds}
        scenario = json.loads(self.scenario.to_json(portable=False))
        write_tensors(path, dict(self.state_dict()), {**about, "scenario": scenario, "versions": provenance()})


def rebuilt(tensors: dict[str, torch.Tensor], about: dict[str, Any], trusted: bool = False, **fields: Any) -> Foresight:
    """The policy in what :meth:`Foresight.save` wrote; arguments and errors as of ``claims.rebuilt``."""
    scenario, width, name = parts(tensors, about, trusted, fields)
    largest = max((length for value in tensors.values() for length in value.shape), default=0)
    if scenario.num_irs * (scenario.switching_slots + 1) > largest:  # before one is made that no memory might hold
        fields_of_size = f"num_irs={scenario.num_irs}, switching_slots={scenario.switching_slots}"
        raise ValueError(f"the network does not fit {fields_of_size}: no tensor has so many rows")
    with torch.device("cpu"):  # whatever torch's default device is
        policy = Foresight(MdlbiVectorEnv(scenario, 1), width, name)
    policy.cpu_seconds = Real(0, 1e12)("cpu_seconds", about.get("cpu_seconds"))
    try:
        policy.load_state_dict(tensors)
    except RuntimeError as error:
        reason = (str(error).splitlines() or [""])[-1].strip()[:200]
        raise ValueError(f"the network does not fit the scenario and width={width} ({reason})") from None
    return policy
