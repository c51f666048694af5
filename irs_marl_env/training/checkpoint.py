"""Files of a run: tensors and JSON that are complete or not there at all, and what is in a run's folder."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from irs_marl_env.scenario_text import names_a_file
from irs_marl_env.training.settings import Args, restored_args

# files in the folder of a run
CHECKPOINT = "checkpoint.safetensors"  # everything that decides how the run goes on
POLICY = "policy.safetensors"  # the trained actors
ARGS = "args.json"  # the settings
SCENARIO = "scenario.json"  # copy of the file that --scenario named, if it named one
RESULT = "result.json"
CURVE = "curve.png"


# --- one file --------------------------------------------------------------------------------------------------------


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], plain: dict[str, Any]) -> None:
    """Write a safetensors file with JSON in its header, complete or not at all, whenever the process dies."""
    real = {}
    for name, value in tensors.items():
        value = value.detach().cpu()
        if value.is_complex():
            name, value = f"{name}|complex", torch.view_as_real(value)
        real[name] = value.contiguous().clone()
    partial = path.with_name(f".{path.name}.partial")
    save_file(real, partial, metadata={"json": json.dumps(plain)})
    replace_file(partial, path)


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote.

    Raises:
        ValueError: the file is something else.
        OSError: the file cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    tensors = {}
    try:
        with safe_open(path, framework="pt") as file:
            plain = json.loads((file.metadata() or {})["json"])
            for name in file.keys():  # noqa: SIM118  (not a dict)
                value = file.get_tensor(name).clone()
                plain_name, _, kind = name.partition("|")
                tensors[plain_name] = torch.view_as_complex(value) if kind else value
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not a checkpoint or policy of this trainer ({error})") from None
    return tensors, plain


def write_json(path: Path, content: Any) -> None:
    """Write JSON, complete or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    replace_file(partial, path)


def replace_file(partial: Path, path: Path) -> None:
    """Move a finished file to its place once it is on the disk."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


# --- parts of a checkpoint -------------------------------------------------------------------------------------------


def plain_state(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a generator in JSON types."""
    state: Any = generator.bit_generator.state
    numbers = {k: v.tolist() for k, v in state["state"].items()}
    return {**state, "state": numbers, "buffer": state["buffer"].tolist()}


def restore_state(generator: np.random.Generator, state: dict[str, Any]) -> None:
    """Set a generator to a state from :func:`plain_state`."""
    numbers = {k: np.array(v, np.uint64) for k, v in state["state"].items()}
    generator.bit_generator.state = {**state, "state": numbers, "buffer": np.array(state["buffer"], np.uint64)}


def under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with a prefix, by the rest of their names."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def learner_tensors(learner: Any) -> dict[str, torch.Tensor]:
    """Networks, target networks and the moments of the optimisers, by name."""
    tensors = {f"nets.{k}": v for k, v in learner.nets.state_dict().items()}
    tensors |= {f"targets.{k}": v for k, v in learner.targets.state_dict().items()}
    for name, optimiser in learner.optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{name}.{index}.{k}": v for k, v in state.items()}
    return tensors


def restore_learner(learner: Any, tensors: dict[str, torch.Tensor]) -> None:
    """Set a learner of the same settings to tensors from :func:`learner_tensors`."""
    learner.nets.load_state_dict(under("nets.", tensors))
    learner.targets.load_state_dict(under("targets.", tensors))
    for name, optimiser in learner.optimisers.items():
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in under(f"optimiser.{name}.", tensors).items():
            index, _, entry = key.partition(".")
            state.setdefault(int(index), {})[entry] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


# --- the folder of a run ---------------------------------------------------------------------------------------------


def folder_of(args: Args) -> tuple[Args, Path]:
    """The settings and the folder of a new run or, with ``--resume``, of one that is there.

    Raises:
        SystemExit: there is a run in the folder of a new run, or none in that of a run to resume.
        ValueError: the settings of the run to resume are not those of this trainer.
    """
    if args.resume is not None:
        folder = Path(args.resume)
        if not (folder / ARGS).is_file():
            raise SystemExit(f"--resume {folder}: no {ARGS} there; must be the folder of a run")
        args = restored_args(json.loads((folder / ARGS).read_text()), folder / ARGS)
        return (replace(args, scenario=str(folder / SCENARIO)) if names_a_file(args.scenario) else args), folder
    stamp = time.strftime("%Y%m%d-%H%M%S")
    scenario = Path(args.scenario).stem if names_a_file(args.scenario) else args.scenario
    folder = Path(args.out) / (args.name or f"{args.algo}-{scenario}-s{args.seed}-{stamp}")
    if (folder / ARGS).is_file():
        raise SystemExit(f"{folder} holds a run already: --resume {folder}, or another --name")
    return args, folder


def keep_settings(args: Args, folder: Path) -> None:
    """Write the settings of a new run into its folder.

    A scenario file is copied beside them, so that the run can go on whatever becomes of the file.
    """
    if (folder / ARGS).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if names_a_file(args.scenario):
        shutil.copyfile(args.scenario, folder / SCENARIO)
    write_json(folder / ARGS, asdict(args))


def provenance() -> dict[str, Any]:
    """Versions of what decides the numbers, and the commit this ran on (``None`` outside a repository)."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = None
    packages: dict[str, str | None] = {}
    for name in ("irs-marl-env", "torch", "numpy", "gymnasium", "pettingzoo", "numba"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:  # numba: its kernels round otherwise, and trainings amplify that
            packages[name] = None
    return {"commit": commit, "python": platform.python_version(), **packages}
