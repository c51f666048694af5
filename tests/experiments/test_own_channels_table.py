"""experiments/own_channels.py: the scenario of a file, and what counts as out of order."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from examples import deepmimo_channels
from experiments import own_channels as experiment

GOOD = {"random": 1.0, "no-irs-rzf": 2.0, "no-irs-wmmse": 3.0, "local-gain-ao": 4.0, "exhaustive-ao": 4.0}


def test_the_scenario_fits_the_file(tmp_path: Path) -> None:
    file = tmp_path / "file.npz"
    positions = np.zeros((7, 11, 5, 2))
    positions[6, 10, 4], positions[0, 3, 1] = (12.0, 3.0), (-5.0, 40.0)
    G = np.zeros((7, 1, 2, 3, 6, 4))
    np.savez(file, H=np.zeros((7, 11, 2, 5, 4)), G=G, h=np.zeros((7, 11, 3, 5, 6)), positions=positions)
    fields, episodes = experiment.settings(file)
    assert episodes == 7
    assert fields == {
        "num_bs": 2,
        "num_users": 5,
        "num_irs": 3,
        "num_antennas": 4,
        "num_elements": 6,
        "horizon": 10,  # 11 slots are 10 steps: the last one is observed only
        "area_bounds_m": (-6.0, -1.0, 13.0, 41.0),
        "noise_power_dbm": -87.0,
        "channels": str(file),
    }


def test_the_order() -> None:
    assert experiment.out_of_order(GOOD) == []
    assert experiment.out_of_order(GOOD | {"exhaustive-ao": 3.5}) == [
        "exhaustive-ao (3.500) is not above local-gain-ao (4.000)"
    ]


@pytest.mark.parametrize("policy", ["random", "no-irs-rzf", "no-irs-wmmse"])
def test_equal_is_out_of_order_before_the_last(policy: str) -> None:
    names = list(GOOD)
    equal = GOOD[names[names.index(policy) + 1]]
    assert len(experiment.out_of_order(GOOD | {policy: equal})) == 1


def test_policies_on_a_small_file_come_out_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The whole way: a folder in DeepMIMO's layout, a file, every policy over all of its slots."""
    deepmimo_channels.stand_in(tmp_path / "city")
    file = tmp_path / "file.npz"
    sizes = ["--elements", "8", "8", "--slots", "2", "--episodes", "2"]
    monkeypatch.setattr(sys, "argv", ["deepmimo_channels", str(tmp_path / "city"), "--out", str(file), *sizes])
    deepmimo_channels.main()
    monkeypatch.setattr(sys, "argv", ["own_channels", str(file)])
    results = experiment.run(file)
    monkeypatch.setattr(experiment, "run", lambda _: results)
    with pytest.raises(SystemExit) as stopped:
        experiment.main()
    printed = capsys.readouterr()
    assert (stopped.value.code, printed.err) == (0, "")
    rows = [line for line in printed.out.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(experiment.POLICIES)
    assert rows[3].endswith("|  |")  # no-irs-wmmse beside itself

    monkeypatch.setattr(experiment, "ORDER", ("exhaustive-ao", "no-irs-rzf"))
    with pytest.raises(SystemExit) as stopped:
        experiment.main()
    assert stopped.value.code == 1
    assert "no-irs-rzf (" in capsys.readouterr().err
