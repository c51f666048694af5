"""The leaderboard: what is trained once stays, what fails stops nothing, and figures are those of the files."""

import json

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs the extra 'test'")
pytest.importorskip("tyro", reason="needs the extra 'train'")
pytest.importorskip("matplotlib", reason="needs the extra 'render'")

from experiments import leaderboard
from irs_marl_env import evaluate

TASK = "mdlbi-blocked-small-v0"


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Two methods that learn nothing, one of which fails with seed 2, on two episodes."""
    calls = []

    def learn(task, seed, folder):
        calls.append((task, seed, folder.name))
        if seed == 2:
            raise RuntimeError("no luck")
        return "structured-local-gain" if seed == 1 else "structured-random", {"slots": 10 * seed, "cpu_seconds": 0.5}

    page, figure = tmp_path / "page.md", tmp_path / "figure.png"
    page.write_text(f"before\n{leaderboard.BEGIN}\nold\n{leaderboard.END}\nafter\n", encoding="utf-8")
    for name, value in {
        "BANK": {"episodes": 2, "seed": 3, "slots": 2},
        "METHODS": {"fake": leaderboard.Method(learn, "a fake")},
        "TASKS": {TASK: leaderboard.Task(("structured-local-gain", "random"), ("fake",))},
        "PAGE": page,
        "FIGURE": figure,
    }.items():
        monkeypatch.setattr(leaderboard, name, value)
    monkeypatch.setattr(leaderboard.draw, "__defaults__", (figure,))
    return calls, page, figure, tmp_path / "raw"


def run(raw, *flags):
    given = ["--tasks", TASK, "--methods", "fake", "--seeds", "1", "2", "3", "--raw", str(raw)]
    leaderboard.main([*given, "--runs", str(raw / "runs"), *flags])


def test_it_trains_what_is_missing_and_says_what_failed(small, capsys):
    calls, page, figure, raw = small
    with pytest.raises(SystemExit, match=f"1 trainings failed: {TASK}/fake-s2"):
        run(raw)
    assert [seed for _, seed, _ in calls] == [1, 2, 3]
    assert "fake-s2 failed: RuntimeError: no luck" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(raw)
    assert [seed for _, seed, _ in calls] == [1, 2, 3, 2]  # what is there is not done again
    assert figure.read_bytes()[:4] == b"\x89PNG"
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text


def test_its_figures_are_those_of_the_runs(small):
    _, page, _, raw = small
    with pytest.raises(SystemExit):
        run(raw)
    fields = {"action": "structured", "observation": "large_scale", "reward": "team"}
    rule, chance = (
        evaluate(name, TASK, 2, 3, 2, **fields).mean for name in ("structured-local-gain", "structured-random")
    )
    stored = json.loads((raw / TASK / "fake-s3.json").read_text(encoding="utf-8"))
    assert stored["mean"] == pytest.approx(chance)
    assert np.mean(stored["episodes"]) == pytest.approx(chance, abs=1e-4)
    board = leaderboard.Board(raw)
    assert board.shares(TASK, "fake") == pytest.approx([1.0, chance / rule])
    run(raw, "--tables")
    line = next(line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| **a fake**"))
    assert [cell.strip() for cell in line.split("|")[2::3]] == [f"{(rule + chance) / 2:.3f}", "20"]


@pytest.mark.parametrize("what", [("--tasks", "mdlbi-v9"), ("--methods", "luck")])
def test_unknown_names_are_refused(what):
    with pytest.raises(ValueError, match=rf"{what[0][2:]}='{what[1]}'"):
        leaderboard.main([*what])


def test_the_middle_half_of_all_trainings_counts():
    one = leaderboard.interquartile([np.array([0.0, 1.0, 2.0, 3.0, 100.0])])
    assert one.mean == 2.0
    assert one.low < 2.0 < one.high
    two = leaderboard.interquartile([np.array([1.0, 2.0]), np.array([3.0, 50.0])])
    assert (two.mean, two.trainings) == (2.5, 4)
    assert (two.low, two.high) == pytest.approx((2.0, 26.0))  # tasks are not mixed: each keeps two of its own
    assert str(leaderboard.interquartile([np.array([0.5])])) == "0.500"
    assert str(leaderboard.interquartile([np.array([0.5]), np.array([0.4, 0.6])])) == "0.500"
    assert str(leaderboard.interquartile([np.array([0.5, 0.5])])) == "0.500 [0.500, 0.500]"


@pytest.mark.parametrize(
    ("task", "method", "wanted"),
    [
        ("mdlbi-city-v0", "maddpg", {"algo": "maddpg", "updates": 4000, "buffer": 32_768, "batch": 16}),
        ("mdlbi-city-v0", "mdlbi", {"algo": "mdlbi", "buffer": 32_768, "batch": 128, "gamma": None}),
        ("mdlbi-collision-v0", "maddpg", {"batch": 128, "gamma": 0.9}),
        ("mdlbi-blocked-small-v0", "own-value", {"algo": "own-value", "n_step": 1, "gamma": None}),
        ("mdlbi-switching-v0", "own-value", {"algo": "own-value", "n_step": 8, "gamma": 0.9}),
    ],
)
def test_our_trainer_has_the_flags_of_the_task_and_the_method(task, method, wanted, monkeypatch, tmp_path):
    maddpg = pytest.importorskip("examples.maddpg", reason="needs torch")
    given = []

    def main(argv):
        given.append(argv)
        return {"config": {"updates": 1}, "curve": [{"steps": 2}], "cpu_seconds": 3.0}

    monkeypatch.setattr(maddpg, "main", main)
    monkeypatch.setattr(leaderboard, "load_policy", lambda path: path)
    folder = tmp_path / "run"
    _, budget = leaderboard.METHODS[method].learn(task, 7, folder)
    assert budget == {"updates": 1, "slots": 2, "cpu_seconds": 3.0}
    args = maddpg.parse(given.pop(), "")
    assert {name: getattr(args, name) for name in wanted} == wanted
    assert (args.scenario, args.seed, args.name, args.baselines) == (task, 7, "run", False)
    folder.mkdir()
    (folder / "args.json").write_text("{}", encoding="utf-8")
    leaderboard.METHODS[method].learn(task, 7, folder)
    assert given == [["--resume", str(folder)]]
