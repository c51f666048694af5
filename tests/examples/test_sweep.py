"""examples/sweep.py and experiments/same_runs.py: what is trained, what goes on, and what comes of it."""

from __future__ import annotations

import json
import math
import re
import shutil

import numpy as np
import pytest

for needed in ("torch", "tyro", "safetensors", "tqdm", "matplotlib", "filelock"):
    pytest.importorskip(needed, reason="needs the extra 'train'")

from examples import maddpg, sweep  # noqa: E402
from experiments.same_runs import differences  # noqa: E402
from irs_marl_env.signals import Stopped  # noqa: E402
from irs_marl_env.training.command import Failed  # noqa: E402
from irs_marl_env.training.files import read_tensors, write_tensors  # noqa: E402
from irs_marl_env.training.folder import ARGS, CHECKPOINT, RESULT, held  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

FLAGS = "--width 8 --num-envs 2 --batch 4 --buffer 60 --critic-warmup 2 --eval-episodes 2 --eval-slots 2"
FLAGS = [*FLAGS.split(), "--updates", "12", "--eval-every", "6", "--set", "horizon=8"]
TINY = ["--algos", "mdlbi", "ddpg", "--scenarios", "mdlbi-small-v0", "--seeds", "1", "2", "--checkpoint-every", "4"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a sweep of four runs; nobody changes it."""
    folder = tmp_path_factory.mktemp("sweep") / "whole"
    sweep.main([*TINY, "--out", str(folder), "--one-by-one", "--", *FLAGS])
    return folder


def scores(folder):
    found = {}
    for path in folder.glob(f"*/{RESULT}"):
        result = json.loads(path.read_text(encoding="utf-8"))
        found[result["config"]["algo"], result["seeds"]["training"]] = result["final"]["score"]
    return found


def test_the_table_holds_means_and_intervals_over_the_seeds(done):
    its = scores(done)
    assert set(its) == {("mdlbi", 1), ("mdlbi", 2), ("ddpg", 1), ("ddpg", 2)}
    lines = (done / sweep.TABLE).read_text(encoding="utf-8").splitlines()
    assert [line.split(" | ")[1] for line in lines[2:]] == ["mdlbi", "ddpg", sweep.RULE]
    for algo, line in zip(("mdlbi", "ddpg"), lines[2:], strict=False):
        one, two = its[algo, 1], its[algo, 2]
        half = 12.706205 * abs(one - two) / 2  # Student's t with one degree of freedom; the error of two is |a - b| / 2
        mean = (one + two) / 2
        seeds, score = line.split(" | ")[2:4]
        assert seeds == "1 2"
        assert [float(x) for x in re.findall(r"-?[\d.]+", score)] == pytest.approx(
            [mean, mean - half, mean + half], abs=1e-3
        )
    assert (done / sweep.FIGURE).read_bytes().startswith(b"\x89PNG")


def test_a_finished_sweep_is_collected_and_not_run_again(done, monkeypatch, capsys):
    monkeypatch.setattr(maddpg, "main", lambda argv: pytest.fail(f"runs {argv}"))
    before = (done / sweep.TABLE).read_text(encoding="utf-8")
    sweep.main(["--resume", str(done), "--one-by-one"])
    assert "4 runs, 4 of them finished" in capsys.readouterr().out
    assert (done / sweep.TABLE).read_text(encoding="utf-8") == before


def test_a_sweep_that_is_stopped_goes_on_to_the_same_runs(done, tmp_path, monkeypatch, capsys):
    """It ends in the middle of its second run, after a checkpoint."""
    folder, whole, calls = tmp_path / "again", maddpg.advance, []

    def advance(run):
        calls.append(run)
        if len(calls) == 12 + 7:
            raise Stopped
        whole(run)

    monkeypatch.setattr(maddpg, "advance", advance)
    with pytest.raises(Stopped) as stopped:
        sweep.main([*TINY, "--out", str(folder), "--one-by-one", "--", *FLAGS])
    assert stopped.value.folder == folder
    assert len(scores(folder)) == 1
    sweep.main(["--resume", str(folder), "--one-by-one"])
    said = capsys.readouterr().out
    assert "4 runs, 1 of them finished" in said
    assert "going on after update 4" in said
    assert said.count(" went on, ") == 1
    assert differences(done, folder) == []


def test_what_differs_is_found(done, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(done, other)
    assert differences(done, other) == []
    folder = other / "mdlbi-mdlbi-small-v0-s1"
    tensors, plain = read_tensors(folder / CHECKPOINT)
    name = next(name for name in tensors if name.startswith("nets."))
    tensors[name].view(-1)[0] += 1e-3
    plain["progress"]["steps"] += 2
    plain["progress"]["seconds"] += 1
    write_tensors(folder / CHECKPOINT, tensors, plain)
    result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    result["curve"][0]["score"] += 1e-9
    (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")
    (other / "ddpg-mdlbi-small-v0-s2" / RESULT).unlink()
    assert differences(done, other) == [
        "ddpg-mdlbi-small-v0-s2: in one of the folders alone",
        f"{folder.name}: curve of {RESULT}",
        f"{folder.name}: tensor {name} of {CHECKPOINT}",
        f"{folder.name}: progress of {CHECKPOINT}",
    ]
    with pytest.raises(ValueError, match="no finished runs"):
        differences(tmp_path / "nothing", done)


def test_a_run_that_fails_leaves_the_others_their_chance(tmp_path, monkeypatch, capsys):
    whole = maddpg.main

    def main(argv):
        if "--seed=1" in argv:
            raise RuntimeError("training stopped: the critic loss is nan")
        return whole(argv)

    monkeypatch.setattr(maddpg, "main", main)
    few = ["--algos", "mdlbi", *TINY[3:]]
    with pytest.raises(Failed, match="1 of 2 runs did not come to their end: mdlbi-mdlbi-small-v0-s1"):
        sweep.main([*few, "--out", str(tmp_path / "it"), "--one-by-one", "--", *FLAGS])
    assert "failed: training stopped" in capsys.readouterr().out
    table = (tmp_path / "it" / sweep.TABLE).read_text(encoding="utf-8")
    assert "| mdlbi | 2 | " in table
    assert "[?, ?]" in table  # one seed has no interval


def test_one_process_at_a_time_trains_in_a_folder(tmp_path):
    with held(tmp_path), pytest.raises(ValueError, match="another process trains there"):
        sweep.train(tmp_path, [], patience=0)


def test_points_of_a_curve_are_those_that_all_seeds_have():
    results = [
        {"curve": [{"update": u, "score": s + u} for u in updates]} for s, updates in ((1, (0, 5, 10)), (3, (0, 10)))
    ]
    (first, at_first), (last, at_last) = sweep.curves(results)
    assert (first, at_first.mean, last, at_last.mean) == (0, 2.0, 10, 12.0)
    assert math.isclose(at_first.half_width, 12.706205)
    np.testing.assert_array_equal(at_last.episodes, [11, 13])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--", "--seed", "3"], "--seed: is the sweep's to choose"),
        (["--", "--checkpoint_every=3"], "--checkpoint-every: is the sweep's to choose"),
        (["--seeds", "1", "1"], "run mdlbi-mdlbi-small-v0-s1 stands twice"),
        (["--scenarios", "mdlbi-nowhere-v0"], "mdlbi-nowhere-v0"),
        (["--", "--batch", "0"], "batch"),
        (["--", "--set", "num_irs=-1"], "num_irs"),
        (["--retries", "-1"], "retries=-1"),
        (["--checkpoint-every", "0"], "checkpoint_every=0"),
        (["--resume", "nowhere"], "no sweep.json there"),
        (["--resume", "nowhere", "--", "--quick"], "has no effect beside --resume"),
    ],
)
def test_impossible_sweeps_are_refused_before_anything_is_written(argv, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = ["--algos", "mdlbi", "--scenarios", "mdlbi-small-v0", "--one-by-one"]
    with pytest.raises(ValueError, match=message):
        sweep.main([*first, *argv])
    assert not list(tmp_path.iterdir())


def test_a_sweep_is_not_begun_twice(done):
    with pytest.raises(ValueError, match="holds a sweep already"):
        sweep.main([*TINY, "--out", str(done), "--one-by-one"])


def test_settings_of_another_version_are_refused(done, tmp_path):
    values = json.loads((done / sweep.SETTINGS).read_text(encoding="utf-8"))
    (tmp_path / sweep.SETTINGS).write_text(json.dumps({**values, "colour": 1}), encoding="utf-8")
    with pytest.raises(ValueError, match="colour"):
        sweep.main(["--resume", str(tmp_path)])
    assert (done / "mdlbi-mdlbi-small-v0-s1" / ARGS).is_file()
