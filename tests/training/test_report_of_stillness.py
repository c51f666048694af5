"""What a finished run says of the channels it was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tyro")
pytest.importorskip("safetensors")
pytest.importorskip("matplotlib")

from examples.maddpg import main
from irs_marl_env import Scenario
from irs_marl_env.training.report import never_changes

pytestmark = pytest.mark.usefixtures("one_thread")
STILL = {"fading": "frozen", "bs_irs_fading": "frozen", "mobility": "static", "layout": "frozen"}
TINY = ["--no-tensorboard", "--no-baselines", "--no-progress", "--updates", "2", "--width", "4", "--batch", "2"]
TINY += ["--eval-episodes", "1", "--eval-slots", "1", "--preset", "paper", "--scenario", "mdlbi-small-v0"]


@pytest.mark.parametrize(
    ("fields", "never"),
    [
        ({}, True),
        ({"fading": "ar1"}, False),
        ({"bs_irs_fading": "episode"}, False),
        ({"bs_irs_fading": "episode", "num_irs": 0}, True),
        ({"mobility": "group"}, False),
        ({"layout": "episode"}, False),
        ({"csi_error_variance": 0.2}, True),  # what is seen changes, what is best does not
    ],
)
def test_what_moves_or_fades_is_not_one_frozen_channel(fields: dict, never: bool) -> None:
    assert never_changes(Scenario(**{**STILL, **fields})) is never


def test_channels_of_ones_own_count_as_changing() -> None:
    shapes = {"H": (30, 2, 3, 4), "G": (1, 2, 1, 5, 4), "h": (30, 1, 3, 5)}
    channels = {name: np.full(shape, 1e-4 + 0j, np.complex64) for name, shape in shapes.items()}
    sizes = {"num_users": 3, "num_antennas": 4, "num_irs": 1, "num_elements": 5, "horizon": 20}
    assert not never_changes(Scenario(channels=channels, **sizes))


@pytest.mark.parametrize(("flags", "said"), [([], True), (["--set", "fading=ar1", "--set", "mobility=group"], False)])
def test_the_report_says_so_by_the_scenario(
    flags: list[str], said: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*TINY, *flags, "--out", str(tmp_path), "--name", "run"])
    assert ("one frozen channel" in capsys.readouterr().out) is said
