"""Agents whose bids fit together: their network as a policy, and in a file.

``examples/joint_bids.py`` trains them; :func:`irs_marl_env.load_policy` reads their file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from irs_marl_env.scenario import Scenario
from irs_marl_env.training.files import write_tensors
from irs_marl_env.training.folder import provenance
from irs_marl_env.training.policy_parts import parts

Array = Any

KIND = "joint-bids"  # of a policy file, by which load_policy knows it
WIDTH, PLACE = 48, 8  # of layers; numbers learned of each BS and IRS
OF_IRS = 8  # numbers that follow from what own users gain over an IRS
SILENT = 30.0  # by how much a BS that is off bids less
LEAST = -6.0  # log10 of a gain that counts for nothing
VALUES, VALUE_UNIT = ("first_value", "last_value"), 5.0  # bit/s/Hz that networks take for 1


class Seen(NamedTuple):
    """What networks take of observations, ``(B, M, ...)``."""

    own: torch.Tensor  # (B, M, K) 0/1
    direct: torch.Tensor  # (B, M, K) log10 of the relative path gain
    over: torch.Tensor  # (B, M, K, L) the same over each IRS
    worth: torch.Tensor  # (B, M, L, 2) first and last marginal value; (B, M, L, 0) where they are not observed


def seen(observations: torch.Tensor, layout: Any, scenario: Scenario) -> Seen:
    """The blocks of observations ``(B, M, D_o)``; own users come first, and others are left out as far as possible."""
    s = scenario
    most = min(s.num_users, max(8, 2 * s.num_users // s.num_bs))
    own, direct = (observations[..., layout.slices[name]] for name in ("own_user", "direct_gain"))
    over = observations[..., layout.slices["irs_gain"]].unflatten(-1, (s.num_irs, s.num_users)).transpose(-1, -2)
    users = own.argsort(dim=-1, descending=True, stable=True)[..., :most]
    rows = users[..., None].expand(*users.shape, s.num_irs)
    blocks = [observations[..., layout.slices[name]] for name in VALUES if name in layout.slices]
    worth = torch.stack(blocks, -1) / VALUE_UNIT if blocks else over.new_empty((*own.shape[:2], s.num_irs, 0))
    return Seen(own.gather(-1, users), direct.gather(-1, users), over.gather(-2, rows), worth)


def mlp(fan_in: int, width: int, fan_out: int) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(fan_in, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, fan_out)
    )


class Actor(nn.Module):
    """Bids ``(B, M, L)`` of any size, and logits ``(B, M)`` of being on.

    A bid follows from what own users gain over an IRS, and from what is learned of the IRS and the BS (their place);
    whether a BS is on follows from what its cell is like. Bids may follow from that, too, if their gradient is exact or
    there is power control. (Else all bids of a BS rise together, and the biased gradient through critics ends with one
    BS that takes everything.)

    Args:
        num_bs: M.
        num_irs: L.
        values: marginal values are observed.
        of_cell: bids follow from what the cell is like.
        width: of the hidden layers.
    """

    def __init__(self, num_bs: int, num_irs: int, values: bool, of_cell: bool, width: int = WIDTH) -> None:
        super().__init__()
        self.place = nn.Parameter(0.5 * torch.randn(num_bs, num_irs, PLACE))
        self.base = nn.Parameter(0.3 * torch.randn(num_bs, num_irs))
        self.of_cell, worth = of_cell, 2 if values else 0
        self.user = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.cell = nn.Sequential(nn.Linear(2 * width + 4 + 2 * worth + num_bs, width), nn.ReLU())
        self.bid, self.power = mlp(OF_IRS + worth + PLACE + width * of_cell, width, 1), mlp(width, width, 1)
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
        each = self.user(torch.stack([s.direct, best[..., 0], over.mean(-1)], -1)) * own
        who = torch.eye(reach.shape[1], device=reach.device).expand(len(reach), -1, -1)
        pooled = [each.sum(2) / 5, each.amax(2), direct, count / 10, top, reach.mean(-1, keepdim=True)]
        cell = self.cell(torch.cat([*pooled, s.worth.mean(2), s.worth.amax(2), who], -1))
        of_irs = [reach, mean, most, near, reach - top, *(x.expand_as(reach) for x in (direct, count / 10, top))]
        place = self.place.expand(len(reach), *self.place.shape)
        parts = [torch.stack(of_irs, -1), s.worth, place]
        if self.of_cell:
            parts.append(cell[:, :, None].expand(-1, -1, reach.shape[-1], -1))
        bids = self.bid(torch.cat(parts, -1))[..., 0]
        return bids + self.base + reach, self.power(cell)[..., 0]


class JointBidsPolicy:
    """Trained actors, for ``evaluate`` and one's own loop; :meth:`save` writes them to a file.

    BS m's action follows from its own observation alone. A BS that is off radiates nothing and bids the least.

    Args:
        actor: the network.
        scenario: what it was trained in.
        name: what tables call it.
    """

    def __init__(self, actor: Actor, scenario: Scenario, name: str = "joint-bids") -> None:
        self.actor, self.scenario, self.name = actor, scenario, name

    def adapt(self, scenario: Scenario) -> Scenario:
        """A scenario with the actions and observations of the training; all else as it is."""
        return scenario.replace(action="structured", observation=self.scenario.observation)

    def bind(self, env: Any, seed: int = 0) -> Callable[[Any], Any]:
        """A callable ``observations -> actions``.

        Args:
            env: ``MdlbiParallelEnv`` or ``MdlbiVectorEnv`` of an adapted scenario.
            seed: unused, nothing is drawn.

        Raises:
            ValueError: the environment has other actions or observations, or other numbers of BSs or IRSs.
        """
        for field in ("action", "observation", "num_bs", "num_irs", "power_control"):
            needed, found = getattr(self.scenario, field), getattr(env.scenario, field)
            if needed != found:
                raise ValueError(f"policy {self.name!r} needs {field}={needed!r}, not {found!r}")
        layout, codec = env.observation_codec.layout, env.action_codec

        @torch.inference_mode()
        def act(observations: Array) -> Array:
            bids, logits = self.actor(seen(torch.from_numpy(observations), layout, env.scenario))
            return action(codec, bids, logits > 0)

        def act_by_agent(observations: dict[str, Array]) -> dict[str, Array]:
            actions = act(np.stack([observations[agent] for agent in env.possible_agents])[None])[0]
            return dict(zip(env.possible_agents, actions, strict=True))

        return act if hasattr(env, "num_envs") else act_by_agent

    def save(self, path: Path) -> None:
        """Write the network, with what is needed to rebuild it."""
        scenario = json.loads(self.scenario.to_json(portable=False))
        about = {"kind": KIND, "name": self.name, "width": _width(self.actor)}
        write_tensors(path, dict(self.actor.state_dict()), {**about, "scenario": scenario, "versions": provenance()})

    # tensors travel to other processes as arrays: those of torch would need shared memory there

    def __getstate__(self) -> dict[str, Any]:
        weights = {name: x.numpy() for name, x in self.actor.state_dict().items()}
        return {**self.__dict__, "actor": weights, "width": _width(self.actor)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights = {name: torch.from_numpy(x) for name, x in state.pop("actor").items()}
        width = state.pop("width")
        self.__dict__.update(state)
        self.actor = _actor(self.scenario, width, weights)


def action(codec: Any, bids: torch.Tensor, on: torch.Tensor) -> np.ndarray:
    """Actions ``(E, M, D_a)`` of bids ``(E, M, L)``; with power control a BS that is not ``on (E, M)`` is silent.

    Only the order of the bids for an IRS counts, so that they may be of any size.
    """
    found = np.tile(codec.neutral, (*bids.shape[:2], 1))
    if "total_power" in codec.layout.slices:
        bids = bids - SILENT * ~on[..., None]
        found[..., codec.layout.slices["total_power"]] = np.where(on.numpy(), 1.0, -1.0)[..., None]
    found[..., codec.layout.slices["bids"]] = (bids / (4 + bids.abs())).numpy()
    return found


def rebuilt(tensors: dict[str, torch.Tensor], about: dict[str, Any], trusted: bool = False, **fields: Any) -> Any:
    """The policy in what :meth:`JointBidsPolicy.save` wrote.

    Args:
        tensors: of the network.
        about: what stands beside them.
        trusted: import the modules of parts of one's own that the scenario of the training had.
        **fields: scenario fields in which :attr:`JointBidsPolicy.scenario` shall differ from that of the training.

    Raises:
        ValueError: something is missing or does not fit.
    """
    scenario, width, name = parts(tensors, about, trusted, fields)
    return JointBidsPolicy(_actor(scenario, width, tensors), scenario, name)


def _width(actor: Actor) -> int:
    first: Any = actor.user[0]
    return int(first.out_features)


def _actor(scenario: Scenario, width: int, weights: dict[str, torch.Tensor]) -> Actor:
    """An actor with given weights.

    Raises:
        ValueError: the weights are of other sizes.
    """
    values, bid = scenario.observation == "values", weights.get("bid.0.weight")
    of_cell = bid is not None and bid.shape[-1] > OF_IRS + 2 * values + PLACE
    with torch.device("cpu"):  # whatever torch's default device is
        made = Actor(scenario.num_bs, scenario.num_irs, values, of_cell, width)
    try:
        made.load_state_dict(weights)
    except RuntimeError as error:
        reason = (str(error).splitlines() or [""])[-1].strip()[:200]
        sizes = f"num_bs={scenario.num_bs}, num_irs={scenario.num_irs}, width={width}"
        raise ValueError(f"the network does not fit {sizes} ({reason})") from None
    return made
