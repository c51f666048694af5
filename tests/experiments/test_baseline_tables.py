"""The pages of results are made from raw data alone, by code that agrees with the environment."""

import json

import numpy as np
import pytest

from experiments import baseline_figures, baseline_readings, baseline_runs, baselines, prototype, rawdata, training
from irs_marl_env import evaluate, make_vec_env
from irs_marl_env.policies import POLICIES

RESULTS = baseline_runs.ROOT / "results"


@pytest.fixture
def no_runs(monkeypatch, tmp_path):
    """Whatever is not kept already is an error, and figures go elsewhere."""

    def refuse(*args, **options):
        raise AssertionError("raw data are missing")

    for module in (baseline_runs, baseline_readings, training):
        monkeypatch.setattr(module, "evaluate", refuse, raising=False)
    monkeypatch.setattr(baseline_figures, "IMAGES", tmp_path)


def test_tables_are_those_of_the_raw_data(no_runs):
    pytest.importorskip("matplotlib")
    assert baselines.PAGE.read_text(encoding="utf-8") == baselines.page(baseline_runs.Runs())


def test_comparison_is_that_of_the_raw_data(no_runs):
    assert prototype.PAGE.read_text(encoding="utf-8") == prototype.page(baseline_runs.Runs())


def test_training_tables_are_those_of_the_raw_data(no_runs):
    page = training.PAGE.read_text(encoding="utf-8")
    assert page == training.written(page, training.tables())


def test_raw_files_have_the_layout_of_the_writer():
    paths = sorted(RESULTS.rglob("*.json"))
    assert len(paths) > 200
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert text == rawdata.dumps(json.loads(text)), path


def test_kept_results_are_not_run_again(monkeypatch, tmp_path):
    monkeypatch.setattr(baseline_runs, "RAW", tmp_path)
    calls = []

    def counted(*args, **options):
        calls.append(args)
        return evaluate(*args, **options)

    monkeypatch.setattr(baseline_runs, "evaluate", counted)
    options = {"scenario": "mdlbi-small-v0", "episodes": 2, "slots": 2}
    first = baseline_runs.Runs().get("x", ["random", "random-mrt"], **options)
    again = baseline_runs.Runs().get("x", ["random", "random-mrt"], **options)
    assert len(calls) == 2
    np.testing.assert_array_equal(first["random-mrt"].rates, again["random-mrt"].rates)
    mixed = baseline_runs.Runs(again=["random-mrt", "other"]).get("x", ["random", "random-mrt"], **options)
    assert [policy for policy, *_ in calls] == ["random", "random-mrt", "random-mrt"]
    assert list(mixed) == ["random", "random-mrt"]
    np.testing.assert_array_equal(first["random"].rates, mixed["random"].rates)
    baseline_runs.Runs(again=["other"]).get("x", ["random"], **options)
    assert len(calls) == 3
    baseline_runs.Runs(again=True).get("x", ["random"], **options)
    assert len(calls) == 4


@pytest.mark.filterwarnings("ignore:policy .* neglects")
def test_readings_score_as_the_environment_does(monkeypatch):
    monkeypatch.setattr(baseline_readings, "EPISODES", 4)
    scored = {result.policy: result for result in baseline_readings._score_beams()}
    for mode in ("physical", "reflected", "paper"):
        for beams in ("no-irs-mrt", "local-gain-ao"):
            expected = evaluate(beams, "mdlbi-v0", episodes=4, slots=1, sinr=mode)
            np.testing.assert_allclose(scored[f"{beams} / {mode}"].rates, expected.rates, rtol=1e-3, atol=1e-4)
    # nine equal terms instead of one hurt, beams that add up to zero meet none of them
    plain, literal = (scored[f"random-wmmse / paper{end}"].mean for end in (", without the factor K - 1", ""))
    assert plain > literal
    exploit = [scored[f"{baseline_readings.SUM_ZERO} / paper{end}"].mean for end in (", without the factor K - 1", "")]
    assert exploit[0] == pytest.approx(exploit[1], rel=1e-4)
    assert exploit[0] > literal


def test_plain_bound_is_above_the_bound_and_stale_owners_below_the_best(monkeypatch):
    monkeypatch.setattr(prototype, "SLOTS", 6)
    extra = {result.policy: result for result in prototype._extra(num_users=6, num_irs=2)}
    options = {"episodes": 6, "slots": 1, "num_users": 6, "num_irs": 2}
    bound, best = (evaluate(name, "mdlbi-v0", **options).episodes for name in ("upper-bound", "exhaustive-ao"))
    plain, stale = extra[prototype.OWN_CHANNEL].episodes, extra[prototype.STALE].episodes
    assert (plain >= bound * (1 - 1e-6)).all()
    assert (plain > bound * 1.02).any()
    assert (stale <= best * (1 + 1e-3)).all()
    assert (stale < best * 0.99).any()


def test_sum_zero_beams_add_up_to_zero_at_full_power():
    policy = POLICIES["random-wmmse"]
    env = make_vec_env(policy.adapt(baseline_readings.get_scenario("mdlbi-small-v0")), 5)
    env.reset(seed=0)
    view = env.view()
    w = baseline_readings._sum_zero(view, env.action_codec.decode(policy.bind(env)())["w"])
    several = view.own_user.sum(-1) > 1
    np.testing.assert_allclose(w.sum(-2), 0, atol=1e-6)
    np.testing.assert_allclose((abs(w) ** 2).sum((-2, -1))[several], view.scenario.tx_power_w, rtol=1e-4)
