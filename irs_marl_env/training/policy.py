"""Trained actors as a policy: for :func:`irs_marl_env.evaluate`, for one's own loop, and in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from irs_marl_env.checks import shown
from irs_marl_env.policies.cells import Cells
from irs_marl_env.policies.rules import RULES, Memory
from irs_marl_env.scenario import Scenario, from_plain
from irs_marl_env.training.checkpoint import under
from irs_marl_env.training.files import read_tensors, write_tensors
from irs_marl_env.training.folder import provenance
from irs_marl_env.training.networks import Actor, Sizes
from irs_marl_env.training.own_value import ValueBids
from irs_marl_env.training.settings import Args, restored_args, scenario_of
from irs_marl_env.vector_env import MdlbiVectorEnv


class FixedAssociation:
    """Bids of the control ``--algo fixed``: the best association of an episode's first slot, held to its end.

    Args:
        env: the environment that the actions are for.
        seed: of its first episode.

    Attributes:
        memory: what is held.
    """

    def __init__(self, env: Any, seed: int) -> None:
        self.env = env
        self.memory = Memory(range(seed, seed + getattr(env, "num_envs", 1)))
        self._bids = env.action_codec.layout.slices["bids"]

    def impose(self, action: np.ndarray) -> np.ndarray:
        """The action ``(E, M, D_a)`` with the bids overwritten."""
        view = self.env.view()
        action = action.copy()
        action[..., self._bids] = RULES["fixed"](view, Cells(view), self.memory)
        return action


class TrainedPolicy:
    """Trained actors, without exploration.

    Args:
        actor: the network.
        args: settings it was trained with.
        scenario: what it was trained in.
        name: what tables call it.
    """

    def __init__(self, actor: Actor | ValueBids, args: Args, scenario: Scenario, name: str = "trained") -> None:
        self.actor, self.args, self.scenario, self.name = actor, args, scenario, name

    @property
    def sizes(self) -> Sizes:
        """Sizes and layouts of the environments that :meth:`__call__` is for."""
        return self.actor.sizes

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Actions ``(E, M, D_a)`` for observations ``(E, M, D_o)`` float32 of :attr:`scenario`.

        Raises:
            ValueError: the observations have another shape, or the association is not the network's (``--algo
                fixed``), so that :meth:`bind` is needed.
        """
        if self.args.algo == "fixed":
            raise ValueError("the association of --algo fixed is no output of the network: use bind(env, seed)")
        return self._actions(self.actor, observations)

    def adapt(self, scenario: Scenario) -> Scenario:
        """A scenario with the actions and observations that the actors were trained with; all else as it is."""
        own = self.scenario
        fields = ("action", "observation", "rho", "observe_velocity", "power_control")
        return scenario.replace(**{name: getattr(own, name) for name in fields})

    def bind(self, env: Any, seed: int = 0) -> Callable[[Any], Any]:
        """The policy at work in an environment.

        The environment may be of another size than :attr:`scenario` as far as the networks allow: ``deepsets`` take
        any number of users and IRSs, and with ``share_actor`` any number of base stations.

        Args:
            env: ``MdlbiParallelEnv`` or ``MdlbiVectorEnv`` of an adapted scenario.
            seed: of its first episode.

        Returns:
            A callable ``observations -> actions``: dicts by agent for a ``ParallelEnv``, else arrays.

        Raises:
            ValueError: the environment has other actions or observations, or a size that the networks do not fit.
        """
        _check_kinds(f"policy {self.name!r}", self.scenario, env.scenario)
        sizes = Sizes.of(env)
        if sizes.observation.shapes.keys() | sizes.action.shapes.keys() != self._blocks():
            _check_blocks(f"policy {self.name!r}", self.scenario, env.scenario)
        fits = _shapes(sizes) == _shapes(self.sizes)
        actor = self.actor if fits else _actor(sizes, self.args, self.actor.state_dict(), f"policy {self.name!r}")
        fixed = FixedAssociation(env, seed) if self.args.algo == "fixed" else None

        def act(observations: np.ndarray) -> np.ndarray:
            action = self._actions(actor, observations)
            return action if fixed is None else fixed.impose(action)

        def act_by_agent(observations: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            actions = act(np.stack([observations[agent] for agent in env.possible_agents])[None])[0]
            return dict(zip(env.possible_agents, actions, strict=True))

        return act if hasattr(env, "num_envs") else act_by_agent

    def _blocks(self) -> set[str]:
        """Names of all that is observed and done."""
        return self.sizes.observation.shapes.keys() | self.sizes.action.shapes.keys()

    def _actions(self, actor: Actor | ValueBids, observations: np.ndarray) -> np.ndarray:
        shape = (actor.sizes.num_bs, actor.sizes.observation.size)
        if observations.shape[1:] != shape:
            raise ValueError(f"observations of shape {observations.shape}: must be (E, {shape[0]}, {shape[1]})")
        return actor.act(observations)

    # tensors travel to other processes as arrays: those of torch would need shared memory there

    def __getstate__(self) -> dict[str, Any]:
        weights = {name: value.detach().cpu().numpy() for name, value in self.actor.state_dict().items()}
        return {**self.__dict__, "actor": None, "sizes": self.sizes, "weights": weights}

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights = {name: torch.from_numpy(value) for name, value in state.pop("weights").items()}
        sizes = state.pop("sizes")
        self.__dict__.update(state)
        self.actor = _actor(sizes, self.args, weights, f"policy {self.name!r}")


def save_policy(policy: TrainedPolicy, path: Path) -> None:
    """Write the actors alone, with what is needed to rebuild them."""
    tensors = {f"nets.actor.{name}": value for name, value in policy.actor.state_dict().items()}
    scenario = json.loads(policy.scenario.to_json(portable=False))
    write_tensors(path, tensors, {"args": asdict(policy.args), "scenario": scenario, "versions": provenance()})


def load_policy(path: str | PathLike[str], trusted: bool = False, **fields: Any) -> TrainedPolicy:
    """The trained actors in a policy file or a checkpoint.

    Args:
        path: the file.
        trusted: import the modules of parts of one's own that the scenario of the training had.
        **fields: scenario fields in which :attr:`TrainedPolicy.scenario` shall differ from the scenario of the
            training, where the networks fit.

    Raises:
        ValueError: the file is not one of this trainer, a field is unknown or impossible, or the networks do not fit.
        OSError: the file cannot be read.
    """
    tensors, plain = read_tensors(Path(path))
    if "kind" in plain:
        raise ValueError(
            f"{path}: a policy of another trainer, {shown(plain['kind'])}: irs_marl_env.load_policy reads it"
        )
    if not isinstance(plain.get("args"), dict):
        raise ValueError(f"{path}: not a checkpoint or policy of this trainer (no settings in it)")
    averaged = plain["args"].get("eval_network") == "target" and bool(under("targets.actor.", tensors))
    weights = under("targets.actor." if averaged else "nets.actor.", tensors)
    if not weights:
        raise ValueError(f"{path}: not a checkpoint or policy of this trainer (no actor in it)")
    args = _settings(plain["args"], weights, path)
    stored = plain.get("scenario")  # missing in files of earlier versions
    try:
        scenario = scenario_of(args) if stored is None else Scenario.from_dict(stored, trusted)
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from None
    trained_in, scenario = scenario, scenario.replace(**from_plain(fields, trusted))
    _check_kinds(f"{path}: the policy", trained_in, scenario)
    _check_blocks(f"{path}: the policy", trained_in, scenario)
    sizes = Sizes.of(MdlbiVectorEnv(scenario, 1))
    return TrainedPolicy(_actor(sizes, args, weights, path), args, scenario, f"{args.algo}-s{args.seed}")


def _check_kinds(whose: str, own: Scenario, other: Scenario) -> None:
    """Refuse a scenario in which agents see or do something else than in their own.

    Raises:
        ValueError: names the field, and what is needed.
    """
    for field in ("action", "observation"):
        needed, found = getattr(own, field), getattr(other, field)
        if needed != found:
            raise ValueError(f"{whose} needs {field}={needed!r}, not {found!r}")


def _check_blocks(whose: str, own: Scenario, other: Scenario) -> None:
    """Refuse a scenario in which actions or observations have blocks that they have not in one's own.

    Raises:
        ValueError: names the field, and what is needed.
    """
    for field in ("observe_velocity", "power_control", "switching_slots"):
        needed, found = getattr(own, field), getattr(other, field)
        if bool(needed) != bool(found):
            least = "above 0" if needed and field == "switching_slots" else f"of {needed}"
            raise ValueError(f"{whose} needs {field} {least}, not {found}")


def _settings(values: dict[str, Any], weights: dict[str, torch.Tensor], path: Any) -> Args:
    """The settings in a file, if they are possible and those of the weights in it.

    Raises:
        ValueError: they are not, or there are weights that are no finite numbers; the message names the file.
    """
    for name, value in weights.items():
        if value.dtype != torch.float32 or not bool(torch.isfinite(value).all()):
            raise ValueError(f"{path}: the tensor {shown(name)} holds what is no finite float32 number")
    args = restored_args(values, path)
    # before networks of these sizes are made, which could be of any size
    largest = max((length for value in weights.values() for length in value.shape), default=0)
    for name, size, most in (("width", args.width, largest), ("depth", args.depth, len(weights))):
        if size > most and not (name == "width" and args.depth == 0):
            raise ValueError(f"{path}: {name}={shown(size)} is not that of the tensors in the file")
    return args


def _actor(sizes: Sizes, args: Args, weights: dict[str, torch.Tensor], source: Any) -> Actor | ValueBids:
    """An actor with given weights."""
    if args.net == "deepsets" and sizes.num_irs == 0:
        raise ValueError(f"{source}: the networks need an IRS, but num_irs=0")
    try:
        with torch.device("cpu"):  # whatever torch's default device is
            actor = (ValueBids if args.algo == "own-value" else Actor)(sizes, args, torch.Generator())
        actor.load_state_dict(weights)
    except (RuntimeError, ValueError, OverflowError, MemoryError) as error:
        raise ValueError(
            f"{source}: the networks do not fit num_bs={sizes.num_bs}, num_users={sizes.num_users}, "
            f"num_irs={sizes.num_irs} ({(str(error).splitlines() or [type(error).__name__])[-1].strip()[:200]})"
        ) from None
    return actor


def _shapes(sizes: Sizes) -> tuple[Any, ...]:
    return sizes.num_bs, sizes.num_users, sizes.num_irs, sizes.observation.shapes, sizes.action.shapes
