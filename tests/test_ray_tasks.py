"""Episodes of an evaluation and runs of a sweep as tasks of Ray: the same numbers, and errors that arrive."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from irs_marl_env import Result, comparison, evaluate, sweep

ROOT = Path(__file__).parents[1]


def test_processes_are_not_chosen_beside_ray() -> None:
    with pytest.raises(ValueError, match="processes=2: must be 1 with ray=True"):
        evaluate("random", "mdlbi-small-v0", 2, slots=1, processes=2, ray=True)


def test_ray_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"irs-marl-env\[ray\]"):
        evaluate("random", "mdlbi-small-v0", 2, slots=1, ray=True)


def test_a_sweep_hands_ray_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def evaluated(*args: object, ray: bool = False, **options: object) -> Result:
        asked.append(ray)
        return evaluate(*args, **options)

    monkeypatch.setattr(comparison, "evaluate", evaluated)
    sweep("random", "mdlbi-small-v0", "tx_power_dbm", [10.0, 20.0], episodes=2, slots=1, ray=True)
    assert asked == [True, True]


SCRIPT = """
import sys
import numpy as np
from irs_marl_env import evaluate, get_scenario

class Remembers:  # of a script, not of a module
    remembers = True
    def bind(self, env, seed):
        shape = (env.num_envs, env.scenario.num_bs, env.action_size)
        rng, total = np.random.default_rng(seed), np.zeros(shape, np.float32)
        def act(observations):
            total[...] = 0.9 * total + rng.normal(size=shape)
            return np.tanh(total)
        return act

def same(policy, scenario, episodes=35, **fields):
    results = [evaluate(policy, scenario, episodes, slots=2, every=3, ray=ray, **fields) for ray in (False, True)]
    assert results[0].to_json() == results[1].to_json()
    return results[0].mean

if __name__ == "__main__":
    import ray
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    same("local-gain-ao", "mdlbi-small-v0")
    same(Remembers(), "mdlbi-small-v0", action="structured")
    same(lambda observations: np.full((len(observations), 2, 66), observations.mean(), np.float32), "mdlbi-small-v0")
    # channels of one's own: a file of them travels with the scenario
    same("local-gain-ao", "mdlbi-small-v0", 20, channels=sys.argv[1], horizon=20)
    def wrong(observations):
        return observations
    try:
        evaluate(wrong, "mdlbi-small-v0", 17, slots=1, ray=True)
    except ValueError as error:
        assert "returned actions of shape" in str(error), error
    else:
        raise SystemExit("nothing was refused")
    assert ray.is_initialized()  # a connection of one's own stays
    ray.shutdown()
    from examples import sweep
    few = ["--algos", "mdlbi", "--scenarios", "mdlbi-small-v0", "--seeds", "1"]
    sweep.main(["--out", sys.argv[2], *few, "--", *sys.argv[3:]])
    assert not ray.is_initialized()
    print("all the same")
"""


def test_everything_over_ray_is_what_it_is_without(tmp_path: Path) -> None:
    """In a process of its own: Ray is started once, and its files go where they are removed."""
    for needed in ("ray", "torch", "tyro", "safetensors", "tqdm", "matplotlib", "filelock"):
        pytest.importorskip(needed, reason="needs the extras 'ray' and 'train'")
    shapes = {"H": (21, 2, 4, 4), "G": (1, 2, 2, 16, 4), "h": (21, 2, 4, 16)}
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", **{n: 1e-5 * rng.normal(size=(*s, 2)) @ [1, 1j] for n, s in shapes.items()})
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    flags = "--width 8 --num-envs 2 --batch 4 --buffer 60 --critic-warmup 2 --eval-episodes 2 --eval-slots 2"
    arguments = [str(tmp_path / "own.npz"), str(tmp_path / "sweep"), *flags.split(), "--updates", "6"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as short:  # sockets have short names
        there = {"RAY_TMPDIR": short, "RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": "local", "HOME": short}
        environment = {**os.environ, **there, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
        command = [sys.executable, str(tmp_path / "script.py"), *arguments]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.endswith("all the same\n"), ran.stdout
