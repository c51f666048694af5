"""Where an update of the trainer goes: its arithmetic alone, repeated without autograd and without Python's side of it.

    python benchmarks/update.py
    python benchmarks/update.py --write    # also puts the table into docs/performance.md

An update is watched once, and each of its calls of a torch kernel is kept with its arguments. Then whole updates and
the kept calls of each kind are timed in turns. What an update costs beyond its kept calls is autograd, views and
Python; no rewriting of those makes it cheaper than the calls of which it consists. A second table has a step of Adam
for a network of millions of weights, by the trainer's own and by torch's.
"""

from __future__ import annotations

import os

# before numpy is imported
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from timing import PAGE, Case, cell, interleaved, machine, table, write_between
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from learners import settings as of_learners

from examples.maddpg import advance, prepare
from irs_marl_env.training.flat import Flat, FlatAdam
from irs_marl_env.training.settings import Args as Settings
from irs_marl_env.training.settings import parse

KINDS = {
    "products of matrices": ("bmm", "baddbmm", "mm", "addmm"),
    "LayerNorm, ReLU, tanh and their gradients": (
        "native_layer_norm",
        "native_layer_norm_backward",
        "relu_",
        "threshold_backward",
        "tanh",
        "tanh_backward",
    ),
}


@dataclass
class Args:
    """Settings of the benchmark."""

    repeats: int = 25
    """samples of each"""
    side: int = 2000
    """of the square of weights that Adam steps for"""
    write: bool = False
    """put the tables into docs/performance.md"""


class Calls(TorchDispatchMode):
    """The calls of kernels that are made while it is entered; views compute nothing and are left out.

    Attributes:
        kept: kernel, positional and named arguments of each call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.kept.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))

    def again(self, names: tuple[str, ...] | None = None) -> Callable[[], None]:
        """Make the kept calls once more, those of kernels with these names or all."""
        chosen = [call for call in self.kept if names is None or call[0].overloadpacket.__name__ in names]

        def repeat() -> None:
            with torch.inference_mode():
                for func, args, kwargs in chosen:
                    func(*args, **kwargs)

        return repeat


def works(settings: Settings) -> tuple[dict[str, Case], int]:
    """An update, its kept calls and those of each kind, to be timed; and how many calls there are."""
    settings.critic_warmup = 0  # actors learn from the first update
    run, watched = prepare(settings), prepare(settings)  # calls that are made again spoil the weights they write to
    while run.learner.updates < 10:
        advance(run)
        advance(watched)
    batch = run.sample()
    with Calls() as calls:
        watched.learner.update(batch)
    cases = {"an update": Case(lambda: run.learner.update(batch)), "its calls of kernels": Case(calls.again())}
    return cases | {f"of them {kind}": Case(calls.again(names)) for kind, names in KINDS.items()}, len(calls.kept)


def adams(side: int, square: float | None) -> dict[str, Case]:
    """A step of the trainer's Adam and of torch's, to be timed.

    Args:
        side: of the square of weights.
        square: mean square of the gradients so far, which now are zero; ``None``: gradients as they are.
    """
    ours, theirs = (torch.nn.Linear(side, side, bias=False) for _ in range(2))
    flat, usual = FlatAdam(Flat(ours), 1e-3), torch.optim.Adam(theirs.parameters(), 1e-3)
    gradient = torch.randn(side, side, generator=torch.Generator().manual_seed(0)) if square is None else 0.0
    theirs.weight.grad = torch.zeros(side, side)
    for weight, step in ((ours.weight, flat.step), (theirs.weight, usual.step)):
        assert weight.grad is not None
        weight.grad.copy_(torch.as_tensor(gradient))
        step()
    if square is not None:
        saved = usual.state_dict()
        saved["state"][0]["exp_avg_sq"].fill_(square)
        usual.load_state_dict(saved)
        flat.load_state_dict(saved)
    return {"the trainer's": Case(flat.step), "`torch.optim.Adam`": Case(usual.step)}


def adam_table(args: Args) -> str:
    """Whose Adam down, what gradients were across."""
    columns = [interleaved(adams(args.side, square), args.repeats, sample_s=0.1) for square in (None, 1e-39)]
    names = list(columns[0])
    rows = [[name, *(cell(times[name], times["`torch.optim.Adam`"]) for times in columns)] for name in names]
    millions = f"{args.side**2 / 1e6:.1f} million weights"
    return table([f"a step of Adam, {millions}", "gradients", "gradients that have become zero"], rows)


def main(args: Args) -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    stamp, columns, heads = machine(), [], []
    for head, settings in (
        ("`--quick`", parse(["--quick", "--device=cpu"], "update")),
        ("networks of `benchmarks/learners.py`", of_learners()),
    ):
        cases, number = works(settings)
        heads.append(f"{head}, {number} calls")
        columns.append(interleaved(cases, args.repeats, sample_s=0.1))
    names = list(columns[0])
    rows = [[name, *(cell(times[name], times["an update"]) for times in columns)] for name in names]
    text = table(["", *heads], rows)
    text += "\nLeast / median (ratio to the update in the same run). " + stamp
    adam = adam_table(args) + "\nLeast / median (ratio to torch's in the same run). " + stamp
    print(text + "\n" + adam)
    if args.write:
        write_between(PAGE, "update", text)
        write_between(PAGE, "adam", adam)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
