"""TorchRL's PettingZooWrapper over the ends of episodes."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import pytest

from irs_marl_env import make_env

torch = pytest.importorskip("torch")
with warnings.catch_warnings():  # of TorchRL about its own dependencies
    warnings.simplefilter("ignore")
    envs = pytest.importorskip("torchrl.envs")
    tensordict = pytest.importorskip("tensordict")

HORIZON = 5


def wrapped(**setting: Any) -> tuple[Any, list[Any]]:
    """The environment in TorchRL's wrapper, and a list that its infos will be put into."""
    env, seen = make_env("mdlbi-small-v0", fast=False, horizon=HORIZON, **setting), []
    plain_step = env.step

    def step(actions: Any) -> Any:
        result = plain_step(actions)
        seen.append(result[4])
        return result

    env.step = step  # type: ignore[method-assign]
    with warnings.catch_warnings():  # "PettingZoo in TorchRL is tested using version 1.24.3"
        warnings.simplefilter("ignore", UserWarning)
        return envs.PettingZooWrapper(env, use_mask=False, seed=3), seen


@pytest.mark.parametrize("action", ["raw", "structured"])
@pytest.mark.parametrize("observation", ["csi", "large_scale"])
def test_a_rollout_crosses_the_ends_of_episodes(action: str, observation: str) -> None:
    env, seen = wrapped(action=action, observation=observation)
    count = 2 * HORIZON + 2
    steps = env.rollout(count, break_when_any_done=False)
    ends = [t % HORIZON == HORIZON - 1 for t in range(count)]
    assert steps["next", "done"].flatten().tolist() == ends
    assert steps["next", "bs", "truncated"][..., 0].tolist() == [[end] * 2 for end in ends]
    assert not steps["next", "terminated"].any()
    for t, infos in enumerate(seen[-count:]):
        for m, info in enumerate(infos.values()):  # the metrics of each slot, of the last ones too
            assert info["sum_rate"] == pytest.approx(float(steps["next", "bs", "reward"][t, m, 0]))
            assert ("TimeLimit.truncated" in info) == ends[t]
        if t % HORIZON:
            assert torch.equal(steps["next", "bs", "observation"][t - 1], steps["bs", "observation"][t])
        elif t:  # a new episode, not the last observation of the old one
            assert not torch.equal(steps["next", "bs", "observation"][t - 1], steps["bs", "observation"][t])


def test_a_rollout_ends_with_the_episode() -> None:
    assert wrapped()[0].rollout(8).shape == (HORIZON,)


def test_the_specs_hold() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        envs.check_env_specs(wrapped(action="structured", observation="large_scale")[0])


@pytest.mark.parametrize("mode", ["plain", "no_grad", "compiled policy"])
def test_a_collector_crosses_the_ends_of_episodes(mode: str) -> None:
    collectors = pytest.importorskip("torchrl.collectors")
    collector = getattr(collectors, "Collector", None) or collectors.SyncDataCollector  # by its name in older versions
    env, _ = wrapped(action="structured", observation="large_scale")
    size = env.full_action_spec["bs", "action"].shape[-1]
    net = torch.nn.Sequential(torch.nn.LazyLinear(size), torch.nn.Tanh())
    policy = tensordict.nn.TensorDictModule(net, in_keys=[("bs", "observation")], out_keys=[("bs", "action")])
    policy(env.reset())
    options = {"compile_policy": {"backend": "eager"}} if mode == "compiled policy" else {}
    ends = []
    with warnings.catch_warnings(), torch.no_grad() if mode == "no_grad" else contextlib.nullcontext():
        warnings.simplefilter("ignore")  # of TorchRL about its own parts
        batches = collector(env, policy, frames_per_batch=2 * HORIZON + 1, total_frames=4 * HORIZON + 2, **options)
        for batch in batches:
            ends += batch["next", "done"].flatten().tolist()
            assert not batch["next", "terminated"].any()
            for key in (("bs", "observation"), ("next", "bs", "observation"), ("next", "bs", "reward")):
                assert torch.isfinite(batch[key]).all()
        batches.shutdown()
    assert ends == [t % HORIZON == HORIZON - 1 for t in range(4 * HORIZON + 2)]
