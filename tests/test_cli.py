"""The command line: what it prints, writes and refuses."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from irs_marl_env import Scenario, cli, evaluate
from irs_marl_env.cli import main
from irs_marl_env.result import load

SMALL = ("--scenario", "mdlbi-small-v0", "--episodes", "2", "--slots", "2")


def refused(capsys, *arguments):
    """Message of a command that fails with exit code 2."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    return captured.err


def test_evaluate_prints_a_table_and_writes_json(capsys, tmp_path):
    out = tmp_path / "result.json"
    arguments = ["evaluate", "--policy", "greedy-ao", "--policy", "random", *SMALL, "--set", "num_irs=1"]
    assert main([*arguments, "--seed", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    greedy, random = load(out.read_text(encoding="utf-8"))
    assert (greedy.policy, greedy.scenario.num_irs, greedy.seed) == ("greedy-ao", 1, 3)
    expected = evaluate("greedy-ao", "mdlbi-small-v0", episodes=2, slots=2, seed=3, num_irs=1)
    assert greedy.mean == expected.mean
    rows = {line.split()[0]: line for line in printed.splitlines() if line}
    assert f"{greedy.mean:.3f} +- {greedy.standard_error:.3f}" in rows["greedy-ao"]
    assert f"{random.difference(greedy).mean:+.3f} +- " in rows["random"]
    assert "2 episodes x 2 slots, seed 3" in printed
    assert main(["results", str(out)]) == 0
    assert rows["random"] in capsys.readouterr().out
    assert main(["evaluate", "--policy", "random", *SMALL, "--first", "3", "--every", "4"]) == 0
    assert "2 episodes x 2 slots, seed 0; slots 3, 7 .. 7" in capsys.readouterr().out


def test_own_policy(capsys, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\ndef act(o):\n    return np.zeros((*o.shape[:2], 66))\n", encoding="utf-8", newline="\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["evaluate", "--policy", "mine:act", *SMALL]) == 0
    assert "mine:act" in capsys.readouterr().out
    assert "has no policy 'other'" in refused(capsys, "evaluate", "--policy", "mine:other", *SMALL)


def test_scenarios(capsys):
    assert main(["scenarios"]) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert lines["mdlbi-v0"] == ["2", "10", "4", "8", "32", "800", "4772", "292"]
    assert main(["scenarios", "--scenario", "mdlbi-v0", "--set", "contention=collision", "--set", "doppler_hz=5"]) == 0
    scenario = Scenario.from_json(capsys.readouterr().out)
    assert scenario == Scenario(contention="collision", doppler_hz=5.0)


def test_scenario_from_a_file(capsys, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(
        json.dumps({"num_users": 2, "num_irs": 1, "num_elements": [4], "horizon": 3}), encoding="utf-8", newline="\n"
    )
    assert main(["evaluate", "--policy", "random", "--scenario", str(path), "--episodes", "2"]) == 0
    assert "2 episodes x 3 slots" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "--policy", "nope"), "policy 'nope' is not known; allowed: random"),
        (("evaluate", "--policy", "random", "--scenario", "nope"), "allowed: mdlbi-v0"),
        (("evaluate", "--policy", "random", "--scenario", "nope.json"), "nope.json"),
        (("evaluate", "--policy", "random", "--set", "num_irs"), "must be FIELD=VALUE"),
        (("evaluate", "--policy", "random", "--set", "num_irss=1"), "did you mean 'num_irs'"),
        (("evaluate", "--policy", "random", "--set", "num_irs=-1"), "num_irs=-1: must be an integer >= 0"),
        (("evaluate", "--policy", "random", "--slots", "0"), "slots=0"),
        (("evaluate", "--policy", "random", "--out", "/no/such/folder/x.json"), "no such folder"),
        (("evaluate", "--policy", "random", "--out", "."), "is a folder"),
        (("evaluate", "--policy", "no_such_module:act"), "no_such_module"),
        (("evaluate", "--policy", "exhaustive-ao", "--set", "num_irs=12"), "at most 1024"),
        (("results", "nope.json"), "nope.json"),
        (("scenarios", "--set", "num_irs=1"), "--set needs --scenario"),
        (("render", "--out", "film.avi"), "must end in .gif, .png, .mp4"),
        (("render", "--out", "/no/such/folder/x.gif"), "no such folder"),
        (("render", "--out", "film.gif", "--fps", "0"), "must be in [0.01, 50]"),
        (("render", "--out", "film.gif", "--policy", "nope"), "policy 'nope' is not known; allowed: random"),
        (("render", "--out", "film.gif", "--policy", "upper-bound"), "a bound does not act"),
        (("render", "--out", "film.gif", "--slots", "801"), "must be in [1, 800]"),
        (("render", "--out", "film.gif", "--policy", "random", "--policy", "planner"), "and planner: must be one"),
        (("evaluate", "--policy", "examples.own_policy.NearestUsers"), "(for commands MODULE:NAME, or FILE"),
        (("evaluate", "--policy", "random", "--scenario", "my_module:PLACE"), "(for commands FILE.json, as to_json"),
    ],
)
def test_bad_input_is_said_in_words(capsys, arguments, message):
    assert message in refused(capsys, *arguments)


def test_results_refuses_other_files(capsys, tmp_path):
    for name, text in (("text", "hello"), ("other", '{"a": 1}'), ("list", "[1]"), ("inner", '{"results": [{}]}')):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        assert str(path) in refused(capsys, "results", str(path))


@pytest.mark.parametrize(
    "arguments", [[], ["frobnicate"], ["evaluate"], ["evaluate", "--policy", "random", "--slots", "x"]]
)
def test_usage_errors_exit_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_interrupted(capsys, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("irs_marl_env.cli.evaluate", interrupt)
    assert main(["evaluate", "--policy", "random"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_render_writes_an_animation(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    out = tmp_path / "episode.gif"
    assert main(["render", "--scenario", "mdlbi-small-v0", "--slots", "3", "--out", str(out)]) == 0
    with image.open(out) as film:
        assert film.n_frames == 4
        assert film.info["duration"] == 200
    assert "4 frames of local-gain-ao" in capsys.readouterr().out


def test_render_takes_a_policy_of_ones_own(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    out = tmp_path / "episode.gif"
    arguments = [
        "--scenario",
        "mdlbi-small-v0",
        "--set=horizon=3",
        "--set=action=structured",
        "--slots",
        "3",
        "--out",
        str(out),
    ]
    assert main(["render", *arguments, "--policy", "examples.own_policy:NearestUsers"]) == 0
    with image.open(out) as film:
        assert film.n_frames == 4  # the last one is the end of the episode, not the beginning of the next
    assert "of examples.own_policy:NearestUsers" in capsys.readouterr().out


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "irs_marl_env", "scenarios"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "mdlbi-large-v0" in done.stdout
    bad = subprocess.run([sys.executable, "-m", "irs_marl_env", "results", "nope"], capture_output=True, text=True)
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_the_imports_ends_it_without_a_traceback(number, code, tmp_path):
    stop = f"import os, time\nos.kill(os.getpid(), {int(number)})\ntime.sleep(60)\n"
    for name in ("numpy", "gymnasium", "pettingzoo"):
        (tmp_path / f"{name}.py").write_text(stop, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    command = [sys.executable, "-m", "irs_marl_env", "scenarios"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_importing_the_package_elsewhere_leaves_signals_alone():
    code = "import signal, irs_marl_env; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_a_stop_that_something_else_has_caught_is_not_forgotten(monkeypatch, capsys):
    def scenarios(args):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(cli, "_scenarios", scenarios)
    assert cli.main(["scenarios"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_policies_and_parts_of_ones_own(capsys):
    own = ("--set", "action=structured", "--set", "reward=test_own_parts:worst_user")
    policies = ("--policy", "examples.own_policy:NearestUsers", "--policy", "test_cli:zeros")
    assert main(["evaluate", *policies, *SMALL, *own, "--trusted"]) == 0
    printed = capsys.readouterr().out
    assert "examples.own_policy:NearestUsers" in printed
    assert "test_cli:zeros" in printed
    assert "--trusted on the command line" in refused(capsys, "evaluate", *policies, *SMALL, *own)
    assert "cannot be made without arguments" in refused(capsys, "evaluate", "--policy", "test_cli:Needy", *SMALL)


def test_trained_agents_in_a_file_are_a_policy(capsys):
    pytest.importorskip("safetensors", reason="needs the extra 'train'")
    path = "examples/checkpoints/mdlbi-blocked-small-v0.safetensors"
    arguments = ["--policy", path, "--policy", "structured-random", "--scenario", "mdlbi-blocked-small-v0"]
    bank = ["--episodes", "20", "--slots", "3", "--every", "20"]
    assert main(["evaluate", *arguments, "--set", "action=structured", *bank]) == 0
    rows = {line.split()[0]: float(line.split()[1]) for line in capsys.readouterr().out.splitlines()[2:4]}
    assert rows[path] > rows["structured-random"]
    missing = refused(capsys, "evaluate", "--policy", "nothing.safetensors", *SMALL)
    assert "nothing.safetensors" in missing


def zeros(observations):
    """A policy that does nothing, for structured actions of ``mdlbi-small-v0``."""
    return np.zeros((*observations.shape[:2], 2 + 8 + 4 + 1), np.float32)


class Needy:
    """A policy that cannot be made without an argument."""

    def __init__(self, something):
        self.something = something

    def bind(self, env, seed):
        """Never called."""


# --- what is wrong is one message and exit code 2 --------------------------------------------------------------------

MODULE = """
import numpy as np

class Needs:
    def __init__(self, x): pass
    def __call__(self, observations): pass

def by_agent(observations):
    return {agent: np.zeros(66) for agent in observations.keys()}
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    for name, text in (("cli_fine", MODULE), ("cli_syntax", "x = ("), ("cli_raises", "raise RuntimeError('boom')")):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    (tmp_path / "folder.safetensors").mkdir()
    yield
    for name in ("cli_fine", "cli_syntax", "cli_raises"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("cli_syntax:x", "--policy cli_syntax:x: its module raised SyntaxError: '(' was never closed"),
        ("cli_raises:x", "--policy cli_raises:x: its module raised RuntimeError: boom"),
        ("cli_missing:x", "--policy cli_missing:x: No module named 'cli_missing'"),
        ("cli_fine:nothing", "module 'cli_fine' has no policy 'nothing'"),
        ("cli_fine:Needs", "the class cannot be made without arguments"),
        ("cli_fine:by_agent", "works with dicts by agent"),
        ("cli_fine:", "must be a policy's name, MODULE:NAME"),
        (":x", "must be a policy's name, MODULE:NAME"),
        (".cli_fine:x", "must be a policy's name, MODULE:NAME"),
        ("cli_fine.py", "must be a policy's name, MODULE:NAME"),
        ("cli_fine.py:by_agent", "must be a policy's name, MODULE:NAME"),
        ("randon", "did you mean 'random'?"),
        ("x" * 5000, "is not known"),
    ],
)
def test_policies_that_are_none(modules, capsys, policy, message):
    assert main(["evaluate", *SMALL, "--episodes", "1", "--slots", "1", "--policy", policy]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert len(printed) < 1000


@pytest.mark.parametrize("name", ["half", "folder", "missing"])
def test_policy_files_that_are_none(modules, capsys, name):
    pytest.importorskip("safetensors")
    pytest.importorskip("tyro")
    assert main(["evaluate", *SMALL, "--policy", f"{name}.safetensors"]) == 2
    assert f"error: {name}.safetensors: " in capsys.readouterr().err


def test_the_interface_of_ones_own_policy(modules, capsys):
    options = ["evaluate", *SMALL, "--episodes", "1", "--slots", "1", "--policy", "cli_fine:by_agent"]
    assert main([*options, "--interface", "dicts"]) == 0
    assert "cli_fine:by_agent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--episodes", "0"], "episodes=0: must be an integer >= 1"),
        (["--episodes", "1" + "0" * 12], "their rates would need 145.52 TiB"),
        (["--slots", "101"], "slots=101: must be an integer in [1, 100]"),
        (["--every", "1" + "0" * 12], "every=1000000000000: must be an integer in [1, 100]"),
        (["--first", "-1"], "first=-1"),
        (["--seed", "-1"], "seed=-1: must be an integer in [0, 2^10000)"),
        (["--processes", "1" + "0" * 9], "processes=1000000000: must be an integer in [1, 1024]"),
        (["--set", "num_users=1" + "0" * 9], "TiB; must be at most 4 GiB"),
        (["--set", "num_users=1" + "0" * 5000], "num_users=inf: must be an integer"),
        (["--set", "area_width_m=5e-324"], "area_width_m=5e-324"),
        (["--set", "num_iris=3"], "did you mean 'num_irs'"),
        (["--set", "num_irs"], "--set 'num_irs': must be FIELD=VALUE"),
        (["--scenario", "mdlbi-small-v"], "did you mean 'mdlbi-small-v0'"),
        (["--out", "/missing/folder/x.json"], "no such folder"),
        (["--out", "/"], "is a folder"),
    ],
)
def test_flags_out_of_range(capsys, arguments, message):
    assert main(["evaluate", "--policy", "random", *SMALL, *arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.startswith("error: ")
    assert len(printed) < 1500


@pytest.mark.parametrize("text", ["x", "1.5", "1" * 5000, ""])
def test_integers_that_are_none(capsys, text):
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", "--policy", "random", "--episodes", text])
    assert caught.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith("must be an integer")


def test_a_place_without_the_right_to_write(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *given: False)
    assert main(["evaluate", "--policy", "random", *SMALL, "--out", str(tmp_path / "x.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.gif", "--slots", "1" + "0" * 11], "must be in [1, 100]"),
        (["--out", "x.gif", "--fps", "nan"], "--fps nan: must be in [0.01, 50]"),
        (["--out", "x.gif", "--policy", "randon"], "did you mean 'random'?"),
        (["--out", "x.gif", "--seed", "-1"], "seed=-1"),
        (["--out", "/missing/x.gif"], "no such folder"),
        (["--out", "x.jpg"], "must end in .gif, .png, .mp4"),
    ],
)
def test_pictures_that_cannot_be_drawn(capsys, tmp_path, monkeypatch, arguments, message):
    pytest.importorskip("PIL")
    monkeypatch.chdir(tmp_path)
    assert main(["render", "--scenario", "mdlbi-small-v0", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_memory_that_is_not_there(capsys, monkeypatch):
    def full(*given, **options):
        raise MemoryError

    monkeypatch.setattr("irs_marl_env.cli.evaluate", full)
    assert main(["evaluate", "--policy", "random", *SMALL]) == 2
    assert "not enough memory" in capsys.readouterr().err
