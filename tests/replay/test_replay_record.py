"""What a record keeps of an episode, and which records may stand side by side."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from irs_marl_env import get_scenario, replay
from irs_marl_env.episodes import play
from irs_marl_env.progress import Bar
from irs_marl_env.replay.record import check_same_draws

SMALL = get_scenario("mdlbi-small-v0", horizon=8)


def test_a_record_is_the_episode():
    """Slot by slot what the environment said, with positions and cells from before users moved on."""
    policy, scenario = "structured-local-gain", SMALL.replace(contention="collision")
    kept = replay.record(policy, scenario, slots=6, seed=4)
    assert kept.slots == 6
    for t, played in enumerate(list(play(policy, scenario, seed=4, slots=6))[1:]):
        for name in ("rates", "sum_rate", "power_w", "cell", "owner"):
            np.testing.assert_array_equal(getattr(kept, name)[t], played.infos[name][0])
        np.testing.assert_array_equal(kept.position[t], played.view.position[0])
        np.testing.assert_array_equal(kept.shares[t], played.view.shares_if(played.infos["owner"], played.action)[0])
        np.testing.assert_array_equal(kept.bids[t], np.clip(played.action[0, :, :2], -1, 1))  # structured: bids first
        first = kept.bids[t] > 0
        np.testing.assert_array_equal(kept.owner[t], np.where(first.sum(0) == 1, first.argmax(0), -1))


def test_a_policy_without_irss_meets_the_same_users():
    with_irss, without = (replay.record(p, SMALL, seed=2) for p in ("structured-random", "no-irs-mrt"))
    np.testing.assert_array_equal(with_irss.position, without.position)
    assert without.owner.shape == (8, 0)
    check_same_draws([with_irss, without])


@pytest.mark.parametrize("delay", [0, 1])
def test_holders_wait_where_a_change_takes_slots(delay):
    """An IRS that changes hands is idle for two slots, and held meanwhile by the BS that gets it."""

    def in_turns(observations):
        in_turns.slot += 1
        action = np.zeros((1, 2, 15), np.float32)
        action[:, in_turns.slot // 4 % 2, :2] = 0.5
        return action

    in_turns.slot = -1
    scenario = SMALL.replace(action="structured", switching_slots=2, association_delay=delay, initial_owner="none")
    kept = replay.record(in_turns, scenario)
    holder, owner = kept.holder[:, 0].tolist(), kept.owner[:, 0].tolist()
    if delay:  # nobody holds it before the first bids count
        assert holder == [-1, 0, 0, 0, 0, 1, 1, 1]
        assert owner == [-1, -1, -1, 0, 0, -1, -1, 1]
    else:
        assert holder == [0, 0, 0, 0, 1, 1, 1, 1]
        assert owner == [-1, -1, 0, 0, -1, -1, 1, 1]


def test_names_and_titles():
    assert replay.record("random", "mdlbi-small-v0", slots=1).title == "mdlbi-small-v0"
    kept = replay.record("random", SMALL, slots=1, name="mine", title="theirs")
    assert (kept.policy, kept.title, kept.seed) == ("mine", "theirs", 0)
    assert replay.record("random", SMALL, slots=1).title == "own scenario"


def test_slots_by_default():
    assert replay.planned_slots(SMALL, None) == 8
    assert replay.planned_slots(get_scenario("mdlbi-v0"), None) == replay.USUAL_SLOTS
    assert replay.planned_slots(get_scenario("mdlbi-v0"), 800) == 800
    large = get_scenario("mdlbi-large-v0", horizon=10**6)
    assert replay.planned_slots(large, replay.MOST_SLOTS) == replay.MOST_SLOTS
    huge = get_scenario(
        "mdlbi-v0", num_users=20_000, num_irs=100, num_elements=1, num_antennas=1, observation="large_scale"
    )
    with pytest.raises(ValueError, match=r"slots=800: must be an integer in \[1, \d\d\]"):
        replay.planned_slots(huge, 800)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": "upper-bound"}, "a bound does not act"),
        ({"slots": 9}, r"slots=9: must be an integer in \[1, 8\]"),
        ({"slots": 0}, "slots=0"),
        ({"slots": 2.5}, "slots=2.5"),
        ({"seed": -1}, "seed=-1"),
        ({"name": "\ud800"}, "name="),
        ({"title": 3}, "title=3"),
        ({"interface": "x"}, "interface='x'"),
    ],
)
def test_what_cannot_be_recorded(arguments, message):
    with pytest.raises(ValueError, match=message):
        replay.record(**{"policy": "random", "scenario": SMALL, **arguments})


def test_records_that_do_not_pair_are_refused():
    one = replay.record("random", SMALL, slots=3)
    for other, message in (
        (replay.record("random", SMALL, slots=2), "do not pair: slots 3 and 2"),
        (replay.record("random", SMALL, slots=3, seed=1), "do not pair: seed 0 and 1"),
        (
            replay.record("random", SMALL.replace(blockage_db=1.0), slots=3),
            "different scenarios: blockage_db=20.0 and 1.0",
        ),
        (replace(one, position=one.position + 1), "did not meet the same users"),
        (replace(one, cell=1 - one.cell), "did not meet the same users"),
    ):
        with pytest.raises(ValueError, match=message):
            check_same_draws([one, other])
    for count in (0, 3):
        with pytest.raises(ValueError, match=f"{count} policies: must be one, or 2 side by side"):
            check_same_draws([one] * count)
    with pytest.raises(TypeError, match="records hold 7"):
        check_same_draws([one, 7])


def test_importing_the_package_does_not_load_replays():
    code = "import sys, irs_marl_env, irs_marl_env.cli; print('irs_marl_env.replay' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"


def test_a_bar_while_an_episode_is_recorded_where_it_is_wanted(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    replay.record("random", "mdlbi-small-v0", slots=3, progress=False)
    assert capfd.readouterr() == ("", "")
    replay.record("random", "mdlbi-small-v0", slots=3, progress=True)
    assert "/3" in capfd.readouterr().err


def test_the_bar_counts_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    wrong: Any = "yes"
    monkeypatch.setattr(Bar, "__enter__", lambda bar: counted.append)
    replay.record("random", "mdlbi-small-v0", slots=3)
    assert sum(counted) == 3
    with pytest.raises(ValueError, match="progress='yes'"):
        replay.record("random", "mdlbi-small-v0", slots=3, progress=wrong)
