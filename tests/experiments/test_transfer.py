"""experiments/transfer.py: one actor for systems of any size, trained on several at once."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "tqdm", "safetensors", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")

from examples.maddpg import advance, prepare  # noqa: E402
from experiments import transfer  # noqa: E402
from irs_marl_env import load_policy  # noqa: E402
from irs_marl_env.training.settings import Args  # noqa: E402

TINY = {"num_antennas": 2, "num_elements": 2}
SYSTEMS = ({**TINY, "num_users": 3}, {**TINY, "num_bs": 3, "num_users": 5, "num_irs": 3})


pytestmark = pytest.mark.usefixtures("one_thread")


def _run(system):
    settings = Args(share_actor=True, num_envs=4, batch=8, buffer=64, width=8, critic_warmup=0, updates=20)
    return prepare(replace(settings, scenario=transfer.BASE, set=transfer.as_flags(system)))


def _weights(net):
    return [p.detach().clone() for p in net.parameters()]


def test_tied_actors_are_one_actor_whoever_trains_it():
    first, other = (_run(system) for system in SYSTEMS)
    transfer.tie(first.learner, other.learner)
    before, critic = (_weights(first.learner.nets[name]) for name in ("actor", "critic"))
    advance(other)
    after = _weights(first.learner.nets["actor"])
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    actors = (run.learner.nets["actor"].parameters() for run in (first, other))
    assert all(mine is its for mine, its in zip(*actors, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(critic, first.learner.nets["critic"].parameters(), strict=True))
    assert other.learner.nets["actor"].trunk.pool == 3  # the mean over users still is that of a cell
    assert first.learner.nets["actor"].trunk.pool == 2


def test_a_mix_trains_one_actor_on_all_its_systems(monkeypatch):
    monkeypatch.setitem(transfer.MIXES, "tiny", SYSTEMS)
    advanced = []
    monkeypatch.setattr(transfer, "advance", lambda run: (advanced.append(run.env.scenario.num_bs), advance(run)))
    policy = transfer.train("tiny", 1, transfer.Args(updates=4))
    assert advanced == [2, 3, 2, 3]
    assert policy.args.share_actor
    assert policy.scenario.num_bs == 2


def test_only_bids_leaves_the_decoder_neutral():
    policy = _run(SYSTEMS[0]).policy()
    obs = np.random.default_rng(0).uniform(0, 1, (2, 2, policy.sizes.observation.size)).astype(np.float32)
    full, bids = policy(obs), transfer.OnlyBids(policy)(obs)
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
    gain = policies["small-seed3"]["mean"] - policies["structured-local-gain"]["mean"]
    assert policies["small-seed3"]["minus_local_gain"][0] == pytest.approx(gain, abs=1e-5)
    assert all(ms > 0 for ms in result["systems"]["large"]["ms_per_slot"].values())
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["systems"].keys() == {"small", "large"}
    assert "small-seed3, bids alone" in capsys.readouterr().out
    large, small = (load_policy(tmp_path / "small-seed3.safetensors", **system) for system in SYSTEMS[::-1])
    assert (large.scenario.num_bs, large.scenario.num_users) == (3, 5)
    assert all(torch.equal(a, b) for a, b in zip(_weights(large.actor), _weights(small.actor), strict=True))
