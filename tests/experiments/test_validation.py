"""The page of validation: it is that of its raw data, and the package still gives those numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import rawdata, validation
from experiments.validation import CHECKS, Line, measured

STORED = json.loads((validation.RAW / "result.json").read_text(encoding="utf-8"))["checks"]


def test_the_page_is_that_of_the_raw_data(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert validation.PAGE.read_text(encoding="utf-8") == validation.page(STORED)
    validation.draw(STORED, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert set(STORED) == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_every_stored_line_agrees(name: str) -> None:
    assert STORED[name]
    for values in STORED[name]:
        assert Line(**values).agrees, values


@pytest.mark.parametrize("name", [name for name in CHECKS if name != "guo"])
def test_a_tenth_of_the_draws_gives_the_stored_numbers(name: str) -> None:
    """Within the errors of so few draws: three allowances, each of which is at least the error of all draws."""
    lines = CHECKS[name].measure(max(1, CHECKS[name].draws // 10))
    assert lines is not None
    assert len(lines) == len(STORED[name])
    for line, values in zip(lines, STORED[name], strict=True):
        stored = Line(**values)
        assert (line.label, line.published) == (stored.label, stored.published)
        assert line.ours == pytest.approx(stored.ours, abs=3.5 * max(stored.tolerance, line.tolerance / 3))


def test_missing_data_leave_what_was_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    few = {name: check._replace(draws=1) for name, check in CHECKS.items() if name in ("guo", "free-space")}
    monkeypatch.setattr(validation, "CHECKS", few)
    kept = measured(kept=STORED, guo=tmp_path / "none.npz")
    assert kept["guo"] == STORED["guo"]
    assert "guo" not in measured(guo=tmp_path / "none.npz")
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape) + 0j for name, shape in (("H", (2, 2, 3)), ("G", (2, 4, 3)))}
    arrays |= {"h": rng.standard_normal((2, 2, 4)) + 0j, "phi_init": np.ones((2, 4), complex)}
    numbers = {"weights": np.array([0.5, 0.5]), "wsr_without_irs": 1.0, "wsr_random_phase": 1.0}
    curves = {"wsr_ao_curve": np.ones(3), "wsr_alg2_curve": np.ones(3)}
    np.savez(tmp_path / "guo.npz", **arrays, **numbers, **curves)
    found = measured(guo=tmp_path / "guo.npz")["guo"]
    assert len(found) == 4
    assert found[2]["ours"] >= found[1]["ours"] > 0  # optimised phases, then those given
    assert rawdata.dumps({"checks": found})


def test_a_line_that_differs_is_counted() -> None:
    wrong = {**STORED, "free-space": [{**STORED["free-space"][0], "ours": -30.0}]}
    total = sum(map(len, wrong.values()))
    assert f"{total - 1} of {total} lines agree" in " ".join(validation.page(wrong).split())
    assert Line("", 1.0, 2.0, 0.0, at_least=True).agrees
    assert not Line("", 1.0, 0.9, 0.05, at_least=True).agrees
    assert not Line("", 1.0, 1.1, 0.05).agrees


def test_responses_of_sionna_notice_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "MASTS", validation.MASTS.replace(irs_positions_m=((40.0, 12.0, 5.0),)))
    (line,) = validation.array_responses(1) or []
    assert not line.agrees
