"""Ctrl-C, SIGTERM, a crash, two processes in one folder: what a trainer says, and that the curve is the same."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib", "filelock"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from tiny_training import tiny_run  # noqa: E402

from examples import maddpg  # noqa: E402
from examples.maddpg import train  # noqa: E402
from irs_marl_env.signals import Stopped, StopRequests  # noqa: E402
from irs_marl_env.training import session  # noqa: E402
from irs_marl_env.training.command import EXTRAS, check_installed, command  # noqa: E402
from irs_marl_env.training.files import read_tensors  # noqa: E402
from irs_marl_env.training.folder import CHECKPOINT, LOCK, PREVIOUS, RESULT, go_on, held  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
SCRIPT = Path(maddpg.__file__)
SETTINGS = {"updates": 12, "eval_every": 4, "checkpoint_every": 5, "critic_warmup": 2}
posix = pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")


# --- inside a process ------------------------------------------------------------------------------------------------


def test_requests_wait_as_long_as_they_may():
    before = signal.getsignal(signal.SIGINT)
    with StopRequests() as requests:
        with requests.later():
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(Stopped, match="stopped by SIGINT"):
                requests.check()
            with requests.never():
                signal.raise_signal(signal.SIGTERM)
            with pytest.raises(Stopped):
                signal.raise_signal(signal.SIGINT)  # somebody is in a hurry
        with requests.never():
            for _ in range(5):
                signal.raise_signal(signal.SIGINT)
        assert requests.request.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before
    with StopRequests(), pytest.raises(Stopped) as stopped:
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.exit_code == 143


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_ignored_signals_stay_ignored(name):
    number = getattr(signal, name, signal.SIGTERM)  # Windows has no SIGHUP
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with StopRequests() as requests:
            signal.raise_signal(number)
            assert signal.getsignal(number) == signal.SIG_IGN
        assert requests.request is None
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("moment", ["update", "evaluation", "saving", "last saving"])
def test_a_stopped_run_goes_on_as_if_never_stopped(moment, tmp_path, monkeypatch, capsys):
    """The signal comes in the middle of something; a second one comes while the checkpoint is written."""
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole, folder = tiny_run(**SETTINGS), tmp_path / "stopped"
    train(whole, tmp_path / "whole")
    run = tiny_run(**SETTINGS)
    places = {"update": (run.learner, "update", 7), "evaluation": (run.learner, "act", 4)}
    places |= {"saving": (run, "save", 5), "last saving": (run, "save", 12)}
    owner, method, when = places[moment]
    real, save = getattr(owner, method), run.save
    sent = []

    def interrupted(*arguments):
        if not sent and run.learner.updates == when:
            sent.append(signal.raise_signal(signal.SIGINT))
        return real(*arguments)

    def saves(path):
        if sent:
            signal.raise_signal(signal.SIGINT)
        save(path)

    if method == "save":
        monkeypatch.setattr(run, "save", interrupted)
    else:
        monkeypatch.setattr(owner, method, interrupted)
        monkeypatch.setattr(run, "save", saves)
    if moment == "evaluation":  # in the middle of an evaluation, whose policy acts through the actor
        monkeypatch.setattr(run, "evaluate", lambda real=run.evaluate: (interrupted_between(run, sent), real())[1])
    with pytest.raises(Stopped) as stopped:
        train(run, folder)
    done = run.learner.updates
    assert str(stopped.value) == f"stopped by SIGINT after update {done} of 12"
    assert read_tensors(folder / CHECKPOINT)[1]["updates"] == done
    assert not list(folder.glob("*.partial")) + list(folder.glob(".*.partial"))
    again = tiny_run(**SETTINGS)
    assert go_on(folder, again.load) == folder / CHECKPOINT
    train(again, folder)
    assert again.progress.curve == whole.progress.curve
    for a, b in zip(whole.learner.nets.parameters(), again.learner.nets.parameters(), strict=True):
        assert torch.equal(a, b)


def interrupted_between(run, sent):
    if run.learner.updates == 4 and len(sent) == 0:
        run.progress.window.clear()  # as an evaluation does when it is nearly done
        sent.append(None)
        signal.raise_signal(signal.SIGINT)


def test_a_full_disk_ends_the_training_with_the_old_checkpoint(tmp_path, monkeypatch):
    run = tiny_run(**SETTINGS)
    save = run.save

    def full(path):
        if run.learner.updates > 5:
            raise OSError(f"{path}: cannot be written (No space left on device)")
        save(path)

    monkeypatch.setattr(run, "save", full)
    with pytest.raises(OSError, match=r"cannot be written \(No space left"):
        train(run, tmp_path)
    assert read_tensors(tmp_path / CHECKPOINT)[1]["updates"] == 5


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("bad"), 2, "error: bad"),
        (FileNotFoundError("gone"), 2, "error: gone"),
        (ImportError("no x"), 2, "error: no x"),
        (MemoryError(), 2, "error: not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "error: not enough memory"),
        (session.Diverged("nan"), 1, "error: nan"),
        (KeyboardInterrupt(), 130, "stopped by SIGINT"),
        (Stopped(signal.SIGTERM), 143, "stopped by SIGTERM"),
    ],
)
def test_every_end_has_a_line_and_an_exit_code(error, code, said, capsys):
    def main():
        raise error

    handlers = {name: signal.getsignal(getattr(signal, name)) for name in ("SIGINT", "SIGTERM")}
    try:
        with pytest.raises(SystemExit) as ended:
            command(main)
    finally:
        for name, handler in handlers.items():
            signal.signal(getattr(signal, name), handler)
    assert ended.value.code == code
    assert capsys.readouterr().err.strip().startswith(said)


def test_without_a_folder_the_hint_is_the_command_itself(capsys):
    def main():
        raise Stopped(signal.SIGTERM)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(SystemExit):
            command(main)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert capsys.readouterr().err == "\nstopped by SIGTERM; nothing new was saved: give the same command again\n"


def test_a_script_says_what_is_not_installed(monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("torch", "tyro") else found(name))
    with pytest.raises(SystemExit) as ended:
        check_installed("train")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: needs torch, tyro: pip install 'irs-marl-env[train]'\n"
    text = (SCRIPT.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    for extra, names in EXTRAS.items():
        declared = text.partition(f"\n{extra} = [")[2].partition("]")[0].replace("-", "_")
        assert all(f'"{name}>=' in declared for name in names), extra


def test_an_error_of_the_program_itself_keeps_its_traceback():
    def main():
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        command(main)


# --- the folder ------------------------------------------------------------------------------------------------------


def test_a_folder_is_held_by_one_process(tmp_path):
    code = "import sys; from pathlib import Path; from irs_marl_env.training.folder import held\n"
    code += "with held(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()\n"
    root = str(Path(__file__).parents[2])
    pipe, environment = subprocess.PIPE, {**os.environ, "PYTHONPATH": root}
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=pipe, stdout=pipe, text=True, env=environment
    )
    assert other.stdout.readline() == "mine\n"
    with pytest.raises(ValueError, match="another process trains there"), held(tmp_path):
        pass
    other.kill()
    other.communicate()
    with held(tmp_path):  # whatever the dead process has left
        assert (tmp_path / LOCK).exists()
    (tmp_path / LOCK).write_text("12345", encoding="utf-8")
    with held(tmp_path):
        pass


# --- real processes --------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("script", ["maddpg.py", "sb3_ppo.py"])
def test_a_signal_during_the_imports_ends_a_script_without_a_traceback(script, number, code, tmp_path):
    for name in EXTRAS["train"] + EXTRAS["sb3"]:
        text = f"import os, time\nos.kill(os.getpid(), {int(number)})\ntime.sleep(60)\n"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), str(SCRIPT.parents[1])])
    command = [sys.executable, str(SCRIPT.with_name(script))]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@posix
@pytest.mark.parametrize("script", ["maddpg.py", "sb3_ppo.py"])
def test_a_script_that_was_started_deaf_stays_deaf(script, tmp_path):
    """As in the background of a shell script, where Ctrl-C is for somebody else."""
    for name in EXTRAS["train"] + EXTRAS["sb3"]:
        text = f"import os\nos.kill(os.getpid(), {int(signal.SIGINT)})\nprint('on', flush=True)\nos._exit(7)\n"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), str(SCRIPT.parents[1])])
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, str(SCRIPT.with_name(script))]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (7, "on\n", "")


def flags(out, name):
    sizes = "--scenario mdlbi-small-v0 --width 16 --num-envs 4 --batch 16 --buffer 2000 --critic-warmup 20"
    when = "--updates 400 --eval-every 50 --checkpoint-every 20 --eval-episodes 2 --eval-slots 3"
    how = "--no-baselines --no-tensorboard --no-progress --device cpu"
    return [*sizes.split(), *when.split(), *how.split(), "--out", str(out), "--name", name]


def start(*arguments):
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, str(SCRIPT), *arguments], stdout=pipe, stderr=pipe, text=True)


def wait_for_checkpoints(process, folder, number):
    """Until so many checkpoints were written while we looked."""
    seen, last, deadline = 0, None, time.monotonic() + 240
    while seen < number and process.poll() is None and time.monotonic() < deadline:
        path = folder / CHECKPOINT
        now = path.stat().st_mtime_ns if path.is_file() else None
        seen, last = seen + (now is not None and now != last), now
        time.sleep(0.005)
    assert seen == number, process.communicate()


@posix
def test_ctrl_c_sigterm_and_a_second_process_leave_the_curve_as_it_was(tmp_path):
    whole = maddpg.main(flags(tmp_path, "whole"))
    folder = tmp_path / "stopped"
    process = start(*flags(tmp_path, "stopped"))
    wait_for_checkpoints(process, folder, 2)
    second = start("--resume", str(folder))
    third = start(*flags(tmp_path, "stopped"))
    for other, message in ((second, "another process trains there"), (third, "holds a run already")):
        said = other.communicate(timeout=120)[1]
        assert other.returncode == 2
        assert message in said
        assert len(said.splitlines()) == 1
    if process.poll() is None:  # fast machines may be done
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=120)[1]
        assert process.returncode in (0, 130)
        assert "Traceback" not in said
    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        if (folder / RESULT).is_file():
            break
        process = start("--resume", str(folder))
        stamp = (folder / CHECKPOINT).stat().st_mtime_ns
        while (folder / CHECKPOINT).stat().st_mtime_ns == stamp and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(number)
        said = process.communicate(timeout=120)[1]
        assert process.returncode in (0, code)
        assert "Traceback" not in said
        if process.returncode > 0:
            assert "of 400; go on with: python" in said
            assert f"--resume {folder}" in said
    if not (folder / RESULT).is_file():
        maddpg.main(["--resume", str(folder)])
    stored = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    assert stored["curve"] == whole["curve"]
    assert (folder / PREVIOUS).is_file()
