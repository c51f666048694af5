"""Errors over trainings and episodes together, what could have been detected, and the tables that state them."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tyro")
pytest.importorskip("safetensors")

from experiments import errors, provenance, training
from experiments.figures import budgets


def drawn(trainings: int, episodes: int, spread: tuple[float, float, float], draws: int) -> np.ndarray:
    """Values ``(draws, trainings, episodes)`` of mean zero with parts of these standard deviations."""
    rng = np.random.default_rng(0)
    s, e, both = spread
    return (
        s * rng.standard_normal((draws, trainings, 1))
        + e * rng.standard_normal((draws, 1, episodes))
        + both * rng.standard_normal((draws, trainings, episodes))
    )


@pytest.mark.parametrize("spread", [(1.0, 3.0, 1.0), (1.0, 0.2, 1.0), (0.3, 5.0, 0.5)])
def test_the_error_is_that_of_new_trainings_and_new_episodes(spread: tuple[float, float, float]) -> None:
    """The mean of the estimated variance is the variance of the mean."""
    values = drawn(6, 30, spread, 400)
    variance = np.mean([errors.variance_of_mean(x)[0] for x in values])
    s, e, both = spread
    assert variance == pytest.approx(s**2 / 6 + e**2 / 30 + both**2 / 180, rel=0.15)


def test_by_hand() -> None:
    """Trainings 2 and 4, episodes 2 and 4, nothing beyond: (2 + 2) / 2 / 1 - 0, that is 1 + 1."""
    found, freedom = errors.two_level([[1.0, 3.0], [3.0, 5.0]])
    assert (found.mean, freedom) == (3.0, 2.0)
    assert found.standard_error == pytest.approx(2**0.5)
    assert found.high - found.mean == pytest.approx(4.3027 * 2**0.5, rel=1e-3)


def test_one_training_has_the_error_over_episodes() -> None:
    found, freedom = errors.two_level([[1.0, 2.0, 3.0, 4.0]])
    assert found.standard_error == pytest.approx((5 / 12) ** 0.5)
    assert freedom == pytest.approx(3)


def test_the_error_is_never_below_that_of_either() -> None:
    values = np.random.default_rng(1).standard_normal((3, 40))  # what is beyond both makes up all of it
    error = errors.two_level(values)[0].standard_error
    assert error >= values.mean(1).std(ddof=1) / 3**0.5
    assert error >= values.mean(0).std(ddof=1) / 40**0.5


def test_an_effect_of_the_detectable_size_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(2)
    effect = errors.detectable(1 / 10**0.5, 9)  # ten values of standard deviation one
    samples = rng.standard_normal((4000, 10)) + effect
    t = samples.mean(1) / (samples.std(1, ddof=1) / 10**0.5)
    assert np.mean(abs(t) > 2.262) == pytest.approx(0.8, abs=0.03)


def test_the_error_of_a_ratio_is_that_of_its_draws() -> None:
    rng = np.random.default_rng(3)
    below = 3 + 0.3 * rng.standard_normal((60, 50))
    above = 1.02 * below[:, None] + 0.05 * drawn(4, 50, (1.0, 0.0, 1.0), 60)
    found = [errors.ratio(a, b)[0] for a, b in zip(above, below, strict=True)]
    assert np.mean([x.mean for x in found]) == pytest.approx(1.02, abs=0.005)
    spread = np.std([x.mean for x in found], ddof=1)
    assert np.mean([x.standard_error for x in found]) == pytest.approx(spread, rel=0.25)
    assert found[0].standard_error < errors.two_level(above[0] - 1.02 * below.mean())[0].standard_error  # paired


def test_the_pages_are_those_of_the_raw_data() -> None:
    page = budgets.PAGE.read_text(encoding="utf-8")
    assert page == budgets.written(page, budgets.table())
    page = provenance.PAGE.read_text(encoding="utf-8")
    assert page == provenance.written(page, provenance.table(provenance.commits()))


def test_files_with_changes_are_listed(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    for name, commit in (("x", "1234-dirty"), ("y", "1234"), ("z", None)):
        text = json.dumps({"versions": {"commit": commit}, "cpu_seconds": 7.2})
        (tmp_path / "a" / f"{name}.json").write_text(text, encoding="utf-8")
    text = provenance.table(provenance.commits(tmp_path))
    assert "1 of the 2 files" in text
    assert "| `a/` | 1 | 7 | `x` |" in text


def test_hours_run_only_when_they_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    ran: list[tuple[str, int]] = []
    page = tmp_path / "page.md"
    page.write_text(f"{training.BEGIN}{training.END}", encoding="utf-8")
    monkeypatch.setattr(training, "PAGE", page)
    monkeypatch.setattr(training, "train", lambda name, seed, runs: ran.append((name, seed)))
    monkeypatch.setattr(training, "measure", lambda name: None)
    for words, expected in (
        ([], None),
        (["--only", "table1-long"], {("table1-long", 511), ("table1-long-frozen", 511)}),
    ):
        ran.clear()
        monkeypatch.setattr("sys.argv", ["training", *words])
        training.main()
        if expected is None:
            assert ("blocked-long-fresh", 603) in ran
            assert not [name for name, _ in ran if name.startswith("table1")]
        else:
            assert set(ran) == expected


def test_a_missing_policy_alone_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(training, "RAW", tmp_path)
    monkeypatch.setattr(training, "BANK", {"episodes": 2, "seed": 5, "slots": 2})
    monkeypatch.setattr(training, "BASELINES", {"x": (training.SMALL, {}, ("random",))})
    training.measure("x")
    first = (tmp_path / "baselines" / "x.json").read_text(encoding="utf-8")
    training.measure("x")
    monkeypatch.setattr(training, "BASELINES", {"x": (training.SMALL, {}, ("random", "random-mrt"))})
    monkeypatch.setattr(training, "evaluate", lambda policy, *a, e=training.evaluate, **o: e("random-mrt", *a, **o))
    training.measure("x")
    both = json.loads((tmp_path / "baselines" / "x.json").read_text(encoding="utf-8"))["policies"]
    assert list(both) == ["random", "random-mrt"]
    assert both["random"] == json.loads(first)["policies"]["random"]
    below, above = training.Baseline("x", "random"), training.Baseline("x", "random-mrt")
    assert training.Baseline("x", "random-rzf").missing()
    assert not above.missing()
    row = above.against("label", below, 1.0)
    assert row.startswith("| label | >= 1.00 | **")
    assert row.split("|")[5].strip() == "yes"
