"""examples/transfer.py: one actor for systems of any size, trained on several at once."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "tqdm", "safetensors", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import maddpg  # noqa: E402
import transfer  # noqa: E402

TINY = {"num_antennas": 2, "num_elements": 2}
SYSTEMS = ({**TINY, "num_users": 3}, {**TINY, "num_bs": 3, "num_users": 5, "num_irs": 3})


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _run(system):
    settings = replace(
        maddpg.Args(), share_actor=True, num_envs=4, batch=8, buffer=64, width=8, critic_warmup=0, updates=20
    )
    return maddpg.Run(replace(settings, scenario=transfer.BASE, set=transfer.as_flags(system)))


def _weights(learner):
    return [p.detach().clone() for p in learner.nets["actor"].parameters()]


def test_tied_actors_are_one_actor_whoever_trains_it():
    first, other = (_run(system) for system in SYSTEMS)
    transfer.tie(first.learner, other.learner)
    before, critic = _weights(first.learner), [p.detach().clone() for p in first.learner.nets["critic"].parameters()]
    other.advance()
    after = _weights(first.learner)
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    actors = (run.learner.nets["actor"].parameters() for run in (first, other))
    assert all(mine is its for mine, its in zip(*actors, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(critic, first.learner.nets["critic"].parameters(), strict=True))
    assert other.learner.nets["actor"].trunk.pool == 3  # the mean over users still is that of a cell
    assert first.learner.nets["actor"].trunk.pool == 2


def test_a_mix_trains_one_actor_on_all_its_systems(monkeypatch):
    monkeypatch.setitem(transfer.MIXES, "tiny", SYSTEMS)
    advanced = []
    advance = maddpg.Run.advance
    monkeypatch.setattr(maddpg.Run, "advance", lambda run: (advanced.append(run.env.scenario.num_bs), advance(run)))
    learner = transfer.train("tiny", 1, transfer.Args(updates=4))
    assert advanced == [2, 3, 2, 3]
    assert learner.args.share_actor


def test_only_bids_leaves_the_decoder_neutral():
    learner = _run(SYSTEMS[0]).learner
    obs = np.random.default_rng(0).uniform(0, 1, (2, 2, learner.sizes.observation.size)).astype(np.float32)
    full, bids = learner.act(obs), transfer.OnlyBids(learner)(obs)
    assert np.array_equal(bids[..., :2], full[..., :2])
    assert np.all(bids[..., 2:] == 0)
    assert np.any(full[..., 2:] != 0)


def test_trained_small_applied_large_and_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(transfer.MIXES, "small", (SYSTEMS[0],))
    monkeypatch.setattr(transfer, "SYSTEMS", {"small": SYSTEMS[0], "large": SYSTEMS[1]})
    args = transfer.Args((3,), ("small",), 3, ("small", "large"), 2, 1, repeats=1, batch=2, out=str(tmp_path))
    result = transfer.main(args)
    policies = result["systems"]["large"]["policies"]
    assert policies["greedy-ao"]["share_of_greedy_ao"] == 1
    assert 0 < policies["small-seed3"]["share_of_greedy_ao"] < 1.2
    gain = policies["small-seed3"]["mean"] - policies["structured-auction"]["mean"]
    assert policies["small-seed3"]["minus_auction"][0] == pytest.approx(gain, abs=1e-5)
    assert all(ms > 0 for ms in result["systems"]["large"]["ms_per_slot"].values())
    assert json.loads((tmp_path / "result.json").read_text())["systems"].keys() == {"small", "large"}
    assert "small-seed3, bids alone" in capsys.readouterr().out
    learner, scenario = maddpg.load_policy(tmp_path / "small-seed3.safetensors", transfer.as_flags(SYSTEMS[1]))
    assert (scenario.num_bs, scenario.num_users) == (3, 5)
    trained, _ = maddpg.load_policy(tmp_path / "small-seed3.safetensors", transfer.as_flags(SYSTEMS[0]))
    assert all(torch.equal(a, b) for a, b in zip(_weights(learner), _weights(trained), strict=True))
