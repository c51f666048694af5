"""The structured decoder with an unfolding in place of its sweeps, in the environment.

    python -m experiments.unfolded_decoder
    python -m experiments.unfolded_decoder --scalars runs/analytic/result.json --scenarios mdlbi-v0

Each base station bids what an IRS brings its own users (the local-gain rule); beams and phases are the environment's
structured decoder at several depths, alternating optimisation (AO), the layers of ``solvers.unfold`` untrained, and the
same layers with the scalars that ``experiments/analytic_gradient.py`` learned on random associations. All on the same
episodes, so that differences are paired.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from experiments import rawdata
from experiments.analytic_gradient import Solver, ao, cell_channels, sweeps, unfolding
from irs_marl_env import evaluate, solvers
from irs_marl_env.policies.cells import Cells
from irs_marl_env.policies.rules import RULES, Memory
from irs_marl_env.spaces.actions import StructuredActionCodec
from irs_marl_env.training.checkpoint import provenance


@dataclass
class Args:
    scalars: str = "results/analytic/result.json"  # of experiments/analytic_gradient.py
    network: str = "unfolding-3"  # which of its networks
    scenarios: tuple[str, ...] = ("mdlbi-small-v0", "mdlbi-blocked-small-v0")
    episodes: int = 100  # of the evaluation bank
    slots: int = 20  # of each
    seed: int = 10_000  # of the first episode
    out: str = "runs/unfolded"  # folder of result.json


class DecodedPolicy:
    """A structured policy that decodes its actions itself: its bids decide the owners, ``decode`` the rest.

    Args:
        decode: ``(named, H, G, h, power, noise power) -> w, phi`` for cells ``(E, M, ...)``; ``named`` are the blocks
            of :class:`irs_marl_env.spaces.actions.StructuredActionCodec`.
        actor: observations ``(E, M, D_o)`` to structured actions; ``None``: the local-gain rule, all else neutral.
        name: what tables call it.
    """

    def __init__(self, decode: Solver, actor: Callable[[np.ndarray], np.ndarray] | None = None, name: str = "") -> None:
        self.decode, self.actor, self.name = decode, actor, name

    def adapt(self, scenario: Any) -> Any:
        """The scenario with the action space this acts through: raw beams and phases.

        Raises:
            ValueError: the owners of a slot are not known from its bids.
        """
        if (scenario.association_delay, scenario.contention, scenario.reflection) != (0, "auction", "owned"):
            raise ValueError("decodes for the winners of an auction: association_delay=0, contention='auction' and "
                             "reflection='owned' are needed")  # fmt: skip
        return scenario.replace(action="raw", observation="large_scale", csi="all")

    def bind(self, env: Any, seed: int = 0) -> Callable[[np.ndarray], np.ndarray]:
        """A callable ``observations -> actions``."""
        s, codec, memory = env.scenario, StructuredActionCodec(env.scenario), Memory(())

        def act(observations: np.ndarray) -> np.ndarray:
            view = env.view()
            if self.actor is None:
                action = np.tile(codec.neutral, (*view.own_user.shape[:2], 1))
                action[..., codec.layout.slices["bids"]] = RULES["local-gain"](view, Cells(view), memory)
            else:
                action = self.actor(observations)
            named = codec.decode(action)
            cells = cell_channels(view, named["bids"].argmax(1))
            w, phi = self.decode(named, *cells, s.tx_power_w, s.noise_power_w)
            raw = {"w": w, "theta": np.angle(phi), "bids": named["bids"]}
            return env.action_codec.encode(raw).astype(np.float32)

        return act


def main(args: Args) -> dict[str, Any]:
    """Measure and report."""
    run = json.loads(Path(args.scalars).read_text(encoding="utf-8"))["runs"][args.network][0]
    layers = len(run["scalars"]["phases"])
    decoders = {f"sweeps-{n}": sweeps(n) for n in (2, 3, 5)} | {f"AO-{n}": ao(n) for n in (5, 30)}
    decoders |= {f"untrained-{layers}": unfolding(solvers.neutral_coefficients(layers))}
    decoders |= {f"unfolding-{layers}": unfolding(run["scalars"])}
    table: dict[str, Any] = {}
    for scenario in args.scenarios:
        results = {}
        for name, solve in decoders.items():
            policy = DecodedPolicy(lambda named, *cells, solve=solve: solve(*cells), name=name)
            results[name] = evaluate(policy, scenario, args.episodes, args.seed, slots=args.slots, progress=False)
        best = results[f"unfolding-{layers}"]
        table[scenario] = {}
        print(f"\n{scenario}\n{'decoder':14} {'bit/s/Hz':>18}   unfolding-{layers} minus it, paired")
        for name, result in results.items():
            gain = best.difference(result)
            table[scenario][name] = {
                "mean": result.mean,
                "standard_error": result.standard_error,
                "unfolding_minus_it": gain.mean,
                "its_standard_error": gain.standard_error,
            }
            print(f"{name:14} {result.mean:9.4f} +- {result.standard_error:.4f}   "
                  f"{gain.mean:+.4f} +- {gain.standard_error:.4f}", flush=True)  # fmt: skip
    report = {"config": asdict(args), "training_seed": run["seed"], "versions": provenance(), "table": table}
    Path(args.out).mkdir(parents=True, exist_ok=True)
    (Path(args.out) / "result.json").write_text(rawdata.dumps(report), encoding="utf-8", newline="\n")
    return report


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
