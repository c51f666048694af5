"""The examples to copy first run as they stand, and print what they promise."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from examples import own_parts, own_policy
from irs_marl_env import evaluate, make_vec_env


def test_quickstart(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(Path(__file__).parents[2] / "examples" / "quickstart.py"))
    printed = capsys.readouterr().out
    rates = {name: float(rate) for name, rate in re.findall(r"^(\S+) +([\d.]+) \+-", printed, re.M)}
    assert rates["random"] < rates["no-irs-wmmse"] < rates["local-gain-ao"] < rates["upper-bound"]
    assert rates["random"] < rates["neutral"] < rates["local-gain-ao"]


@pytest.mark.parametrize("policy", [own_policy.BidOwnGain(), own_policy.NearestUsers()], ids=lambda p: p.name)
def test_own_policies_beat_random_owners(policy: own_policy.BidOwnGain | own_policy.NearestUsers) -> None:
    """Each decides owners that bring more than random ones with the same decoder, over the same draws."""
    bank = {"episodes": 32, "slots": 5, "every": 20}
    mine, random = (evaluate(p, own_policy.SCENARIO, **bank) for p in (policy, "structured-random"))
    gain = mine.difference(random)
    assert gain.mean > 2 * gain.standard_error > 0


def test_the_nearest_users_win() -> None:
    """All users of BS 1 stand at IRS 0, those of BS 0 far from both IRSs."""
    vec = make_vec_env(own_policy.SCENARIO, 1)
    positions = [[1.0, 1.0], [2.0, 1.0], [41.0, 20.0], [42.0, 20.0]]
    observations, _ = vec.reset(seed=0, options={"positions": positions})
    np.testing.assert_array_equal(vec.view().cell, [[0, 0, 1, 1]])
    infos = vec.step(own_policy.NearestUsers().bind(vec, 0)(observations))[4]
    assert infos["owner"][0, 0] == 1


def test_own_policy_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    own_policy.main()
    lines = capsys.readouterr().out.splitlines()
    rates = [float(line.split()[1]) for line in lines]
    assert [line.split()[0] for line in lines][:3] == ["structured-fixed", "nearest-users", "best-user-gain"]
    assert rates[-1] == max(rates)


def test_own_parts_are_those_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "own-parts.md").read_text(encoding="utf-8")
    shown = re.search(r"^```python\n(.*?)^```$", page, re.M | re.S)
    assert shown is not None
    source = inspect.getsource(own_parts)
    for part in (own_parts.WalkEast, own_parts.worst_user, own_parts.modest, own_parts.OwnGains, own_parts.TwoRays):
        assert inspect.getsource(part) in source
        assert inspect.getsource(part) in shown[1]
    own_parts.main()
    assert float(capsys.readouterr().out.splitlines()[-1]) > 0


def test_the_modest_bid_wins() -> None:
    bids = np.array([[[0.5, -0.1, 0.0], [0.2, -0.2, 0.9]]])
    assert own_parts.modest(bids, None).tolist() == [[1, -1, 1]]
