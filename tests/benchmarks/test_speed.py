"""The speed benchmarks run, compare like with like, and write where they should. No test here judges a time."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irs_marl_env import make_env

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BRIEF = ("--scenarios", "mdlbi-small-v0", "--repeats", "1", "--sample-s", "0.001")


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of benchmarks/ by name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(BENCHMARKS / script), *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("script", "arguments", "needs", "words"),
    [
        ("step.py", BRIEF, (), ["batch, numpy", "single, numpy", "random numbers", "sum", "commit"]),
        (
            "step.py",
            (*BRIEF, "--device", "cpu", "--actions", "raw", "--batches", "2"),
            ("torch",),
            ["torch on the device", "`mdlbi-small-v0`, raw | 2 |", "device cpu, beside", "commit"],
        ),
        ("peers.py", BRIEF, ("mpe2",), ["MPE2 simple_spread", "loops over elements", "batch of 64, numpy", "commit"]),
        (
            "memory.py",
            ("--batch", "4", "--batch-scenario", "mdlbi-small-v0"),
            (),
            ["MiB, 4 of", "channels", "peak", "commit"],
        ),
        (
            "learners.py",
            ("--repeats", "1", "--updates", "1", "--agilerl-python", "no-such-python"),
            ("torch", "tqdm", "safetensors", "matplotlib", "filelock"),
            ["examples/maddpg.py", "47,648", "CPU time per update and 16 steps", "commit"],
        ),
        (
            "update.py",
            ("--repeats", "1", "--side", "20"),
            ("torch", "tqdm", "safetensors", "matplotlib", "filelock"),
            ["an update", "products of matrices", "LayerNorm", "a step of Adam, 0.0 million weights", "commit"],
        ),
        (
            "freed.py",
            ("--repeats", "1", "--sample-s", "0", "--scenarios", "mdlbi-blocked-small-v0", "--algos", "own-value"),
            ("torch", "tqdm", "safetensors", "matplotlib", "filelock"),
            ["`mdlbi-blocked-small-v0`, own-value", "memory kept", "commit"],
        ),
        ("imports.py", ("--repeats", "1"), (), ["array_api_compat", "irs_marl_env", "commit"]),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(".py") else "",
)
def test_benchmark_runs(script: str, arguments: tuple[str, ...], needs: tuple[str, ...], words: list[str]) -> None:
    for module in ("tyro", *needs):
        pytest.importorskip(module)
    if script == "memory.py" and not Path("/proc/self/status").exists():
        pytest.skip("memory.py reads /proc")
    done = run(script, *arguments)
    assert done.returncode == 0, done.stderr
    for word in words:
        assert word in done.stdout
    assert "nan" not in done.stdout


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "compiled"])
def test_the_parts_explain_most_of_a_step(benchmark_module: Any, fast: bool) -> None:
    """Where parts were renamed, ``instrument`` of benchmarks/step.py has to follow."""
    pytest.importorskip("tyro")
    if fast:
        pytest.importorskip("numba")
    step = benchmark_module("step")
    parts, _ = step.time_parts("mdlbi-small-v0", fast, step.Args(repeats=1, sample_s=0.02))
    assert all(0 < seconds < 1 for seconds in parts.values())
    assert parts[step.REST] < 0.5 * sum(parts.values())


@pytest.mark.parametrize("elementwise", [True, False])
@pytest.mark.parametrize("setting", [{}, {"num_bs": 3, "num_irs": 5}, {"num_users": 1, "tx_power_dbm": 10.0}])
def test_the_loops_do_the_same_work(benchmark_module: Any, setting: dict[str, Any], elementwise: bool) -> None:
    loops = benchmark_module("loops")
    env = make_env("mdlbi-small-v0", fast=False, **setting)
    peer = loops.LoopEnv(env.scenario, elementwise)
    rate, entry = loops.difference(peer, env, slots=10)
    assert rate < 1e-5
    assert entry < 1e-4


def test_the_loops_draw_the_same_model(benchmark_module: Any) -> None:
    """Score of random actions and mean power of the observations, over independent episodes of both."""
    loops = benchmark_module("loops")
    env = make_env("mdlbi-small-v0", fast=False)
    peer = loops.LoopEnv(env.scenario, False)
    rng = np.random.default_rng(0)
    scores: dict[str, list[float]] = {"loops": [], "package": []}
    powers: dict[str, list[float]] = {"loops": [], "package": []}
    for episode in range(150):
        for name, e in (("loops", peer), ("package", env)):
            start = e.reset(seed=episode)
            start = start if name == "loops" else start[0]
            powers[name].append(np.mean([np.mean(np.square(x[32 : 32 + 256])) for x in start.values()]))
            actions = {a: rng.uniform(-1, 1, env.action_codec.size).astype(np.float32) for a in e.agents}
            scores[name].append(sum(e.step(actions)[1].values()))
    for seen in (scores, powers):
        a, b = (np.array(values) for values in seen.values())
        assert abs(a.mean() - b.mean()) < 4 * math.hypot(a.std(), b.std()) / math.sqrt(150)
        assert a.mean() > 4 * a.std() / math.sqrt(150)  # the comparison says something


def test_the_loops_refuse_what_they_do_not_know(benchmark_module: Any) -> None:
    loops = benchmark_module("loops")
    with pytest.raises(ValueError, match="contention='collision': the loops know 'auction' only"):
        loops.LoopEnv(make_env("mdlbi-small-v0", contention="collision").scenario, False)
    with pytest.raises(ValueError, match="equal size"):
        loops.LoopEnv(make_env("mdlbi-small-v0", num_elements=(2, 3)).scenario, False)


def test_times_are_interleaved_and_per_step(benchmark_module: Any) -> None:
    timing = benchmark_module("timing")
    order: list[str] = []

    def case(name: str, steps: int) -> Any:
        return timing.Case(lambda: (order.append(name), sum(range(20_000))), steps)

    times = timing.interleaved({"a": case("a", 1), "b": case("b", 10)}, repeats=3, sample_s=0.0)
    warm_up = len(order) - 6
    assert order[warm_up:] == ["a", "b"] * 3
    assert len(times["a"].seconds) == 3
    assert times["a"].ratio(times["a"]) == 1.0
    assert 2 < times["a"].ratio(times["b"]) < 50  # the same work, counted as ten steps
    assert times["a"].least <= times["a"].middle


def test_what_a_gpu_is_still_doing_belongs_to_the_sample(benchmark_module: Any) -> None:
    timing = benchmark_module("timing")
    now, asked = [0.0], [0]

    def run() -> None:
        asked[0] += 1

    def wait() -> None:
        now[0] += 2.0 * asked[0]  # two seconds for each call
        asked[0] = 0

    case = timing.Case(run, 4, wait)
    assert timing.sample(case, 3, lambda: now[0]) == 2.0 / 4
    assert timing.calls_within(case, 20.0, lambda: now[0]) == 10
    assert timing.interleaved({"gpu": case}, 2, 20.0, lambda: now[0])["gpu"].seconds == [0.5, 0.5]


def test_pages_are_written_between_markers(benchmark_module: Any, tmp_path: Path) -> None:
    timing = benchmark_module("timing")
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- step -->\nold\n<!-- /step -->\nafter\n", encoding="utf-8")
    timing.write_between(page, "step", "new\n")
    assert page.read_text(encoding="utf-8") == "before\n<!-- step -->\nnew\n<!-- /step -->\nafter\n"
    for broken in ("nothing", "<!-- step -->", "<!-- /step --> <!-- step -->", 2 * "<!-- step --><!-- /step -->"):
        page.write_text(broken, encoding="utf-8")
        with pytest.raises(ValueError, match="must hold <!-- step --> and <!-- /step --> once each"):
            timing.write_between(page, "step", "new")
        assert page.read_text(encoding="utf-8") == broken


def test_the_page_has_room_for_every_table(benchmark_module: Any) -> None:
    page = benchmark_module("timing").PAGE.read_text(encoding="utf-8")
    for name in ("step", "structured", "peers", "memory", "imports"):
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        assert page.count(begin) == page.count(end) == 1
        assert "| --- |" in page.split(begin)[1].split(end)[0]  # and is filled


def test_durations(benchmark_module: Any) -> None:
    duration = benchmark_module("timing").duration
    shown = [duration(s) for s in (1.234e-6, 9.996e-4, 1.5e-3, 0.25, 12.0)]
    assert shown == ["1.23 us", "1000 us", "1.5 ms", "250 ms", "12 s"]
