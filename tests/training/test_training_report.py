"""What a finished run says: its score, the baselines beside it, and what decides the numbers."""

import importlib.util
import re
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from tiny_training import tiny_args  # noqa: E402

from irs_marl_env.policies import POLICIES  # noqa: E402
from irs_marl_env.training import bank, checkpoint, folder, report  # noqa: E402  (after importorskip)
from irs_marl_env.training.settings import scenario_of  # noqa: E402


def test_the_bank_is_spread_over_an_episode():
    scenario = scenario_of(tiny_args())
    result = bank.on_bank("random", tiny_args(eval_slots=4, eval_episodes=3, eval_seed=9), scenario)
    assert (len(result.rates), result.rates.shape[1], result.every, result.seed) == (3, 4, 25, 9)
    short = bank.on_bank("random", tiny_args(eval_slots=40), scenario.replace(horizon=30))
    assert (short.rates.shape[1], short.every) == (30, 1)


@pytest.mark.parametrize(("slots", "measured"), [(4, 4), (40, 15)])
def test_measured_slots_are_as_far_apart_as_asked_for(slots, measured):
    """Of 100 slots, every seventh from the first: there are 15 of them."""
    scenario = scenario_of(tiny_args())
    result = bank.on_bank("random", tiny_args(eval_slots=slots, eval_apart=7, eval_episodes=3), scenario)
    assert (result.rates.shape[1], result.every) == (measured, 7)


def test_each_baseline_is_printed_when_it_is_done(capsys, monkeypatch):
    printed_before = []

    def bank(policy, args, scenario):
        printed_before.append(capsys.readouterr().out)
        return SimpleNamespace(mean=1.5)

    monkeypatch.setattr(report, "on_bank", bank)
    found = report.baselines(tiny_args(), scenario_of(tiny_args()))
    last = capsys.readouterr().out
    names = [re.fullmatch(r"baseline (\S+): 1.500 bit/s/Hz, 0.0 s\n", line)[1] for line in [*printed_before[1:], last]]
    assert names == list(found) == [
        *("random", "uniform-structured", "structured-fixed", "structured-random", "structured-local-gain"),
        "structured-marginal",
        *("fixed-ao", "local-gain-ao", "exhaustive-ao"),
    ]  # fmt: skip
    assert printed_before[0] == ""


def test_baselines_follow_the_actions_and_the_size(capsys, monkeypatch):
    monkeypatch.setattr(report, "on_bank", lambda policy, args, scenario: SimpleNamespace(mean=0.0))
    paper = tiny_args(preset="paper", net="mlp")
    assert list(report.baselines(paper, scenario_of(paper))) == ["random", "fixed-ao", "local-gain-ao", "exhaustive-ao"]
    large = tiny_args(set=("num_irs=12",))
    assert list(report.baselines(large, scenario_of(large)))[-1] == "greedy-ao"
    collision = tiny_args(set=("contention=collision",))
    names = list(report.baselines(collision, scenario_of(collision)))
    assert names[names.index("structured-local-gain") + 1 :][:2] == ["structured-marginal", "head-count"]
    owned = tiny_args(set=("csi=owned",))
    assert "structured-marginal" not in report.baselines(owned, scenario_of(owned))


def test_every_baseline_is_a_policy_and_is_explained():
    names = (
        *report.DECODED,
        *report.OWN_CSI,
        *report.CLAIMING,
        *report.OPTIMISED,
        report.SEARCH,
        report.LARGE_SEARCH,
        "random",
    )
    assert set(names) <= set(POLICIES)
    assert report.MEANING.keys() == {*names, "uniform-structured"}


def test_table_shows_ratios_to_the_baselines():
    trained, other, none = (SimpleNamespace(mean=m, standard_error=0.01) for m in (3.0, 2.0, 0.0))
    lines = report.table(trained, {"fixed-ao": other, "random": none}, "mdlbi").splitlines()
    assert [line.split()[:4] for line in lines[1:]] == [
        ["mdlbi", "3.000", "0.010", "1.000"],
        ["fixed-ao", "2.000", "0.010", "1.500"],
        ["random", "0.000", "0.010", "nan"],
    ]
    assert "association of the first slot" in lines[2]


def test_the_score_is_the_mean_of_the_last_three_evaluations():
    assert report.headline([{"score": score} for score in (9.0, 1.0, 2.0, 6.0)]) == pytest.approx(3.0)
    assert report.headline([{"score": 4.0}]) == 4.0


def test_versions_say_what_decides_the_numbers(monkeypatch):
    found = checkpoint.provenance()
    assert found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert (found["numba"] is not None) == (importlib.util.find_spec("numba") is not None)
    assert found.keys() == {"commit", "python", "irs-marl-env", "torch", "numpy", "gymnasium", "pettingzoo", "numba"}
    monkeypatch.setenv("PATH", "")  # no git
    assert checkpoint.provenance()["commit"] is None


def test_a_commit_is_dirty_where_code_differs_from_it_and_not_for_pages_and_results(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], cwd=tmp_path, check=True)

    for name in ("package/code.py", "docs/page.md", "results/raw.json"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("before", encoding="utf-8")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "all")
    monkeypatch.setattr(folder, "__file__", str(tmp_path / "package" / "code.py"))
    commit = folder.provenance()["commit"]
    assert re.fullmatch("[0-9a-f]{40}", commit)
    for name in ("docs/page.md", "results/raw.json"):
        (tmp_path / name).write_text("after", encoding="utf-8")
    assert folder.provenance()["commit"] == commit
    (tmp_path / "package" / "code.py").write_text("after", encoding="utf-8")
    assert folder.provenance()["commit"] == f"{commit}-dirty"
