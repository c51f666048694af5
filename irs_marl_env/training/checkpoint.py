"""What is in a checkpoint, and whether it is that of a run: settings, tensors, counters, generators."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from irs_marl_env.checks import Real, Whole, refusal
from irs_marl_env.scenario_text import names_a_file
from irs_marl_env.training.files import read_tensors as read_tensors
from irs_marl_env.training.files import write_json as write_json
from irs_marl_env.training.files import write_tensors as write_tensors
from irs_marl_env.training.folder import ARGS as ARGS
from irs_marl_env.training.folder import CHECKPOINT as CHECKPOINT
from irs_marl_env.training.folder import POLICY as POLICY
from irs_marl_env.training.folder import RESULT as RESULT
from irs_marl_env.training.folder import provenance as provenance
from irs_marl_env.training.settings import Args, restored_args

# (files.py and folder.py were parts of this module, and who imported them from here still may)

Tensors = dict[str, torch.Tensor]

# settings that say where, how loudly or how often something happens, and not what the numbers are
FREE = {"threads", "device", "out", "name", "checkpoint_every", "resume", "eval", "trusted"}
FREE |= {"baselines", "tensorboard", "wandb", "progress"}


# --- parts -----------------------------------------------------------------------------------------------------------


def plain_state(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a generator in JSON types."""
    state: Any = generator.bit_generator.state
    numbers = {k: v.tolist() for k, v in state["state"].items()}
    return {**state, "state": numbers, "buffer": state["buffer"].tolist()}


def restore_state(generator: np.random.Generator, state: dict[str, Any]) -> None:
    """Set a generator to a state from :func:`plain_state`."""
    numbers = {k: np.array(v, np.uint64) for k, v in state["state"].items()}
    generator.bit_generator.state = {**state, "state": numbers, "buffer": np.array(state["buffer"], np.uint64)}


def under(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors whose names begin with a prefix, by the rest of their names."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def learner_tensors(learner: Any) -> Tensors:
    """Networks, target networks and the moments of the optimisers, by name."""
    tensors = {f"nets.{k}": v for k, v in learner.nets.state_dict().items()}
    tensors |= {f"targets.{k}": v for k, v in learner.targets.state_dict().items()}
    for name, optimiser in learner.optimisers.items():
        tensors |= _moments(name, optimiser)
    return tensors


def _moments(name: str, optimiser: Any) -> Tensors:
    states = optimiser.state_dict()["state"].items()
    return {f"optimiser.{name}.{index}.{k}": v for index, state in states for k, v in state.items()}


def restore_learner(learner: Any, tensors: Tensors) -> None:
    """Set a learner of the same settings to tensors from :func:`learner_tensors`."""
    learner.nets.load_state_dict(under("nets.", tensors))
    learner.targets.load_state_dict(under("targets.", tensors))
    for name, optimiser in learner.optimisers.items():
        state: dict[int, Tensors] = {}
        for key, value in under(f"optimiser.{name}.", tensors).items():
            index, _, entry = key.partition(".")
            state.setdefault(int(index), {})[entry] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


# --- whose it is -----------------------------------------------------------------------------------------------------


def differences(args: Args, scenario: dict[str, Any], plain: dict[str, Any], source: Any) -> list[str]:
    """In which settings and scenario fields a checkpoint's run differs from this one, each with both values.

    Args:
        args: settings of this run.
        scenario: of this run, in JSON types.
        plain: of the checkpoint.
        source: where it was found.

    Raises:
        ValueError: the settings in it are none.
    """
    there = asdict(restored_args(plain["args"], source))
    here = asdict(args)
    if names_a_file(args.scenario) and names_a_file(there["scenario"]):
        there["scenario"] = here["scenario"]  # the file may have moved; what is in it is compared below
    found = [(name, there[name], here[name]) for name in here if name not in FREE and there[name] != here[name]]
    stored = plain.get("scenario")  # missing in files of earlier versions
    if stored is not None and not found:
        names = sorted(stored.keys() | scenario.keys())
        found = [(k, stored.get(k), scenario.get(k)) for k in names if stored.get(k) != scenario.get(k)]
    return [f"{name}={mine!r} here, {its!r} there" for name, its, mine in found]


# --- whether it is whole ---------------------------------------------------------------------------------------------


def check_tensors(tensors: Tensors, wanted: Tensors) -> None:
    """Refuse tensors that are not those a run has.

    Args:
        tensors: what was read.
        wanted: tensors with the names, shapes and types they must have.

    Raises:
        ValueError: names the tensor that is missing, unknown, of another shape or type, or not finite.
    """
    for name in wanted.keys() - tensors.keys():
        raise ValueError(f"tensor {name} is missing")
    for name in tensors.keys() - wanted.keys():
        raise ValueError(f"tensor {name} does not belong to this run")
    for name, value in tensors.items():
        model = wanted[name]
        if (value.shape, value.dtype) != (model.shape, model.dtype):
            raise ValueError(f"tensor {name} is {_kind(value)}, must be {_kind(model)}")
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"tensor {name} holds values that are not finite")


def _kind(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def check_learner(learner: Any, args: Args, updates: int, tensors: Tensors) -> None:
    """Refuse tensors that are not those of a learner after so many updates.

    Raises:
        ValueError: names the tensor.
    """
    wanted = {name: v for name, v in learner_tensors(learner).items() if not name.startswith("optimiser.")}
    for name, optimiser in learner.optimisers.items():
        waits = args.critic_warmup if name == "actor" and args.algo != "own-value" else 0
        steps = max(0, updates - waits)
        if steps:
            wanted |= _moments(name, _stepped(optimiser))
        for key, value in under(f"optimiser.{name}.", tensors).items():
            entry = key.partition(".")[2]
            if entry == "step" and value.numel() == 1 and value.item() != steps:
                raise refusal(f"tensor optimiser.{name}.{key}", value.item(), f"{steps} after {updates} updates")
            if entry == "exp_avg_sq" and bool((value < 0).any()):
                raise ValueError(f"tensor optimiser.{name}.{key} holds squares below 0")
    check_tensors({k: v for k, v in tensors.items() if k.startswith(("nets.", "targets.", "optimiser."))}, wanted)


def _stepped(optimiser: Any) -> Any:
    """A copy of an optimiser that has done a step, and so has all its moments."""
    other = copy.deepcopy(optimiser)
    for group in other.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    other.step()
    return other


def check_keys(name: str, found: Any, wanted: set[str]) -> None:
    """Refuse an object of other entries.

    Raises:
        ValueError: names the entry.
    """
    if not isinstance(found, dict):
        raise ValueError(f"{name} is a {type(found).__name__}, must be an object")
    for key in wanted - found.keys():
        raise ValueError(f"{name}: {key} is missing")
    for key in found.keys() - wanted:
        raise ValueError(f"{name}: {key} does not belong there")


def check_counters(plain: dict[str, Any], args: Args, transitions: Callable[[int], int] = int) -> None:
    """Refuse counters that no run with these settings can have.

    Args:
        plain: of the checkpoint.
        args: settings.
        transitions: how many of them so many steps give.

    Raises:
        ValueError: names the counter, its value and what is allowed.
    """
    updates = Whole(0, args.updates)("updates", plain["updates"])
    progress = plain["progress"]
    check_keys("progress", progress, {"steps", "curve", "window", "seconds", "cpu_seconds"})
    steps = Whole(0)("progress.steps", progress["steps"])
    if steps % args.num_envs:
        raise refusal("progress.steps", steps, f"a multiple of num_envs={args.num_envs}")
    rows = transitions(steps)
    held = [min(rows, args.buffer), rows % args.buffer]
    if plain["replay"] != held:
        raise refusal("replay", plain["replay"], f"{held} after {steps} steps with buffer={args.buffer}")
    for name in ("seconds", "cpu_seconds"):
        Real(0, 1e12)(f"progress.{name}", progress[name])
    _check_each("progress.curve", progress["curve"], list, lambda name, point: _check_point(name, point, updates))
    _check_each("progress.window", progress["window"], dict, _check_sum)


def _check_each(name: str, found: Any, kind: Any, check: Callable[[str, Any], None]) -> None:
    if type(found) is not kind:
        raise ValueError(f"{name} is a {type(found).__name__}, must be a {kind.__name__}")
    keys: Any = found if kind is dict else range(len(found))
    for key in keys:
        check(f"{name}[{key!r}]", found[key])


def _check_point(name: str, point: Any, updates: int) -> None:
    if not isinstance(point, dict) or not {"update", "score", "standard_error"} <= point.keys():
        raise refusal(name, point, "a point of a curve, with update, score and standard_error")
    Whole(0, updates)(f"{name}.update", point["update"])
    Real(0, 1e9)(f"{name}.score", point["score"])


def _check_sum(name: str, found: Any) -> None:
    if not isinstance(found, list) or len(found) != 2:
        raise refusal(name, found, "a sum and a count")
    Real(-1e300, 1e300)(f"{name} (sum)", found[0])
    Whole(1)(f"{name} (count)", found[1])


def check_generator(name: str, state: Any, own: np.random.Generator) -> None:
    """Refuse a state that a generator with this key cannot have.

    Raises:
        ValueError: names the entry.
    """
    model = plain_state(own)
    check_keys(name, state, set(model))
    check_keys(f"{name}.state", state["state"], set(model["state"]))
    for key, wanted in (("bit_generator", model["bit_generator"]),):
        if state[key] != wanted:
            raise refusal(f"{name}.{key}", state[key], repr(wanted))
    if state["state"]["key"] != model["state"]["key"]:
        raise refusal(
            f"{name}.state.key", state["state"]["key"], f"{model['state']['key']}, which follows from the seed"
        )
    for key, values, count in (("state.counter", state["state"]["counter"], 4), ("buffer", state["buffer"], 4)):
        if not isinstance(values, list) or len(values) != count:
            raise refusal(f"{name}.{key}", values, f"{count} integers")
        for value in values:
            Whole(0, 2**64 - 1)(f"{name}.{key}", value)
    Whole(0, 4)(f"{name}.buffer_pos", state["buffer_pos"])
    Whole(0, 1)(f"{name}.has_uint32", state["has_uint32"])
    Whole(0, 2**32 - 1)(f"{name}.uinteger", state["uinteger"])
