"""Processes that do jobs: the same results, one message when something is wrong, and nobody left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from irs_marl_env import evaluate, workers

SIZES = {"num_users": 2, "num_irs": 1, "num_elements": 2, "num_antennas": 2, "num_groups": 1, "horizon": 5}
POLICIES = """
import os, time
import numpy as np
from pathlib import Path

def _zeros(o):
    return np.zeros((*o.shape[:2], 11), np.float32)

def slow(o):
    Path(os.environ["MARKS"], str(os.getpid())).touch()
    time.sleep(120)

def leaves(o):
    os._exit(3)

def breaks(o):
    raise ValueError("this policy breaks")

def zeros(o):
    return _zeros(o)
"""
posix = pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")


@pytest.fixture
def surroundings(tmp_path):
    """Where the policies of this file can be imported, and leave marks."""
    (tmp_path / "strange_policies.py").write_text(POLICIES, encoding="utf-8")
    (tmp_path / "marks").mkdir()
    here = os.pathsep.join([str(Path(__file__).parents[1]), str(tmp_path)])
    return {**os.environ, "PYTHONPATH": here, "MARKS": str(tmp_path / "marks")}


def call(policy, **more):
    return f"evaluate({policy}, 'mdlbi-small-v0', episodes=40, processes=2, **{SIZES!r}, **{more!r})"


def run(code, surroundings, *arguments, text=None):
    command = [sys.executable, *arguments]
    return subprocess.run(command, input=text or code, env=surroundings, capture_output=True, text=True, timeout=120)


# --- results and messages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stdin", "-c"])
def test_what_is_typed_in_may_use_processes(way, surroundings):
    code = (
        "from irs_marl_env import evaluate; import strange_policies\n"
        f"a = {call('strange_policies.zeros')}\n"
        f"b = {call('strange_policies.zeros').replace('processes=2', 'processes=1')}\n"
        "print((a.rates == b.rates).all(), __name__)\n"
    )
    done = run(code, surroundings, *(["-c", code] if way == "-c" else []))
    assert (done.stdout, done.stderr, done.returncode) == ("True __main__\n", "", 0)


@pytest.mark.parametrize("way", ["stdin", "-c"])
def test_a_policy_that_was_typed_in_is_refused_before_anything_starts(way, surroundings):
    code = (
        f"from irs_marl_env import evaluate\ndef mine(o): pass\ntry: {call('mine')}\nexcept ValueError as e: print(e)\n"
    )
    done = run(code, surroundings, *(["-c", code] if way == "-c" else []))
    assert "the policy cannot be handed to other processes (mine was typed in" in done.stdout
    assert "at the top level of a module" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("policy", "kind", "said"),
    [
        ("leaves", "ChildProcessError", "a worker process died: the policy ended it"),
        ("breaks", "ValueError", "breaks' failed: ValueError: this policy breaks (strange_policies.py, line "),
    ],
)
def test_a_policy_that_ends_or_breaks_a_worker_gives_one_message(policy, kind, said, surroundings):
    code = (
        "from irs_marl_env import evaluate; import strange_policies\n"
        f"try: {call('strange_policies.' + policy)}\nexcept Exception as e: print(type(e).__name__, e)\n"
    )
    done = run(code, surroundings)
    assert done.stdout.startswith(f"{kind} ")
    assert said in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    command = ["-m", "irs_marl_env", "evaluate", "--policy", f"strange_policies:{policy}", "--episodes", "40"]
    command += ["--processes", "2", "--scenario", "mdlbi-small-v0"]
    done = run("", surroundings, *command)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_a_script_without_a_guard_gives_one_message(tmp_path, surroundings):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from irs_marl_env import evaluate\nimport strange_policies\n" + call("strange_policies.zeros"),
        encoding="utf-8",
    )
    done = run("", surroundings, str(script))
    assert done.stderr.count("Traceback") == 1  # that of the call itself
    assert done.stderr.splitlines()[-1].startswith("ChildProcessError: a worker process died")


def test_a_job_that_another_process_cannot_find_does_not_end_the_worker():
    with pytest.raises(ValueError, match=r"another process cannot find a part of the job .*no_such_module"):
        workers._unpacked(len, b"cno_such_module\nthing\n.")


class Heavy:
    """Tells how often it travelled."""

    def __init__(self) -> None:
        self.packed = 0

    def __reduce__(self):
        self.packed += 1
        return Heavy, ()


def test_what_all_jobs_share_travels_once():
    heavy = Heavy()
    jobs = [(heavy, i) for i in range(5)]
    result = workers.run_all(_second, jobs, 2, lambda job: None, shared=heavy)
    assert result == [(True, i) for i in range(5)]
    assert heavy.packed == 1


def _second(job):
    return isinstance(job[0], Heavy), job[1]


def test_no_more_processes_than_jobs(monkeypatch):
    started = []

    class Spy(workers.ProcessPoolExecutor):
        def __init__(self, count, **settings):
            started.append(count)
            super().__init__(count, **settings)

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Spy)
    result = evaluate("random", "mdlbi-small-v0", 17, slots=1, processes=1024, **SIZES)
    assert started == [2]
    assert np.isfinite(result.rates).all()


# --- the end ---------------------------------------------------------------------------------------------------------


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"


@posix
@pytest.mark.parametrize(
    ("number", "whom", "code"),
    [
        pytest.param(signal.SIGINT, "group", 130, id="Ctrl-C on a terminal"),
        pytest.param(signal.SIGINT, "parent", 130, id="SIGINT"),
        pytest.param(signal.SIGTERM, "parent", 143, id="SIGTERM"),
        pytest.param(getattr(signal, "SIGKILL", 9), "parent", -9, id="SIGKILL"),
    ],
)
def test_workers_end_with_the_command(number, whom, code, surroundings):
    command = [sys.executable, "-m", "irs_marl_env", "evaluate", "--policy", "strange_policies:slow"]
    command += ["--scenario", "mdlbi-small-v0", "--episodes", "40", "--processes", "2"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=surroundings, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    marks, deadline = Path(surroundings["MARKS"]), time.monotonic() + 90
    while len(list(marks.iterdir())) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    pids = [int(mark.name) for mark in marks.iterdir()]
    assert len(pids) == 2
    assert all(map(alive, pids))
    begun = time.monotonic()
    (os.killpg if whom == "group" else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=30)
    while any(map(alive, pids)) and time.monotonic() < begun + 5:
        time.sleep(0.05)
    assert not any(map(alive, pids))
    assert process.returncode == code
    if number != getattr(signal, "SIGKILL", 9):
        assert said == "interrupted\n"
    assert not re.search("Traceback", said)
