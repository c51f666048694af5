"""``TorchRLEnv`` is the batched environment bit by bit, in the keys of ``PettingZooWrapper``, with a time limit."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'torchrl'")
with warnings.catch_warnings():  # of TorchRL about its own dependencies
    warnings.simplefilter("ignore")
    envs = pytest.importorskip("torchrl.envs", reason="needs the extra 'torchrl'")
    import torchrl.collectors
    from tensordict.nn import TensorDictModule
    from torchrl.objectives.value import GAE

    from irs_marl_env.adapters.discrete import BidLevels
    from irs_marl_env.adapters.torchrl import TorchRLEnv

from irs_marl_env import make_env, make_vec_env  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*auto_register_policy_transforms.*:FutureWarning")  # what 0.15 will do
HORIZON, ENVS = 5, 3
NAME = "mdlbi-small-v0"
SETTINGS = {
    "raw": {},
    "structured": {"action": "structured", "observation": "large_scale", "reward": "team"},
    "stagger": {"action": "structured", "stagger": True},
}
Collector = getattr(torchrl.collectors, "Collector", None) or torchrl.collectors.SyncDataCollector


def make(**setting: Any) -> TorchRLEnv:
    return TorchRLEnv(NAME, ENVS, fast=False, horizon=HORIZON, **setting)


def equal(tensor: Any, array: Any) -> None:
    np.testing.assert_array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_a_rollout_is_the_batch_over_two_ends(setting: dict[str, Any]) -> None:
    env, count = make(seed=4, return_state=True, metrics=True, **setting), 2 * HORIZON + 2
    steps = env.rollout(count, break_when_any_done=False)
    batch = make_vec_env(NAME, ENVS, fast=False, horizon=HORIZON, **setting)
    before, _ = batch.reset(seed=4)
    ends = 0
    for t in range(count):
        now, after = steps[:, t], steps["next"][:, t]
        equal(now["bs", "observation"], before)
        equal(now["state"], batch.state())
        assert not now["done"].any()
        before, rewards, _, truncations, infos = batch.step(now["bs", "action"].numpy())
        equal(after["bs", "reward"][..., 0], rewards)
        equal(after["bs", "observation"], infos.get("final_observation", before))
        equal(after["state"], infos.get("final_state", batch.state()))
        for name, expected in (("done", truncations), ("truncated", truncations), ("terminated", 0 * truncations)):
            equal(after["bs", name][..., 0], expected)
            equal(after[name], expected[:, :1])
        info = after["bs", "info"]
        equal(info["sum_rate"][..., 0], infos["sum_rate"])
        equal(info["power_w"][..., 0], infos["power_w"])
        for m in range(2):
            equal(info["owner"][:, m], infos["owner"])
            equal(info["cell"][:, m], infos["cell"])
            equal(info["rates"][:, m], infos["rates"] * (infos["cell"] == m))
        ends += int(truncations[:, 0].sum())
    assert ends >= 2 * ENVS - setting.get("stagger", False)


def test_the_keys_and_shapes_are_those_of_the_wrapper() -> None:
    setting = SETTINGS["structured"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        single = make_env(NAME, fast=False, horizon=HORIZON, **setting)
        wrapper = envs.PettingZooWrapper(single, use_mask=False, return_state=True)
    env = make(return_state=True, **setting)
    one, many = wrapper.rollout(2), env.rollout(2)
    keys = set(one.keys(True, True))
    assert keys == set(many.keys(True, True))
    for key in keys:
        assert (ENVS, *one[key].shape) == many[key].shape, key
        assert one[key].dtype == many[key].dtype, key
    for name in ("group_map", "reward_key", "action_key", "done_keys", "reset_keys"):
        assert getattr(env, name) == getattr(wrapper, name)
    for name in ("full_observation_spec", "full_action_spec", "full_reward_spec", "full_done_spec"):
        unbatched = getattr(env, f"{name}_unbatched")
        for key, spec in getattr(wrapper, name).items(True, True):
            assert unbatched[key].shape == spec.shape
            assert unbatched[key].dtype == spec.dtype
            if name != "full_done_spec":
                assert torch.equal(unbatched[key].space.high, spec.space.high)


@pytest.mark.parametrize(
    "setting",
    [*SETTINGS.values(), {"metrics": True, "return_state": True}, {"action": "structured", "levels": 3}],
)
def test_the_specs_hold(setting: dict[str, Any]) -> None:
    envs.check_env_specs(make(**setting))
    env = make(**setting)
    assert (env.rand_action()["bs", "action"] != env.rand_action(env.reset())["bs", "action"]).any()


def test_seeds() -> None:
    env = make()
    env.set_seed(7)
    first = env.reset()["bs", "observation"]
    assert (env.reset()["bs", "observation"] != first).any()  # a seed holds for one reset
    env.set_seed(7)
    assert torch.equal(env.reset()["bs", "observation"], first)
    env.rollout(HORIZON)
    env.set_seed(7)  # rows that wait at their next episode begin with the seed too
    assert torch.equal(env.reset()["bs", "observation"], first)
    equal(first, make_vec_env(NAME, ENVS, fast=False).reset(seed=7)[0])
    assert torch.equal(make(seed=7).reset()["bs", "observation"], first)
    with pytest.raises(ValueError, match="seed=-1: must be"):
        env.set_seed(-1)


def test_some_rows_begin_again_in_the_middle() -> None:
    env = make(seed=1)
    batch = make_vec_env(NAME, ENVS, fast=False, horizon=HORIZON)
    batch.reset(seed=1)
    steps = env.rollout(2)
    for t in range(2):
        batch.step(steps["bs", "action"][:, t].numpy())
    last = steps["next"][:, -1]
    mask = torch.tensor([[False], [True], [False]])
    begun = env.reset(last.select(("bs", "observation")).set("_reset", mask))
    equal(begun["bs", "observation"], batch.reset(options={"reset_mask": mask[:, 0].numpy()})[0])
    assert torch.equal(begun["bs", "observation"][0], last["bs", "observation"][0])


def test_an_episode_that_is_over_must_be_reset() -> None:
    env = make(stagger=True)
    last = env.rollout(HORIZON)[:, -1]
    with pytest.raises(RuntimeError, match=r"rows \[2\] are over: call reset"):
        env.step(env.rand_action(last["next"].clone()))
    env.step(env.rand_action(env.reset()))
    with pytest.raises(ValueError, match="must be true for all, since they step together"):
        env.step(env.rand_action(env.reset()).set("_step", torch.tensor([True, False, True])))


def test_what_is_handed_out_is_not_used_again() -> None:
    env, untouched = make(seed=2), make(seed=2)
    ours, theirs = env.reset(), untouched.reset()
    action = env.rand_action(ours.clone())["bs", "action"].clamp(-0.5, 0.5)
    for _ in range(2 * HORIZON):
        ours["bs", "action"], theirs["bs", "action"] = action.clone(), action.clone()
        (seen, ours), (expected, theirs) = env.step_and_maybe_reset(ours), untouched.step_and_maybe_reset(theirs)
        assert torch.equal(seen["next", "bs", "observation"], expected["next", "bs", "observation"])
        assert torch.equal(ours["done"], theirs["done"])
        for tensor in (*seen.values(True, True), *ours.values(True, True)):
            tensor.fill_(1)
        ours["done"].fill_(False)
        ours["bs", "done"].fill_(False)


@pytest.mark.parametrize(("num_irs", "levels", "shape"), [(2, 3, (ENVS, 2)), (7, 4, (ENVS, 2, 7))])
def test_bids_in_levels(num_irs: int, levels: int, shape: tuple[int, ...]) -> None:
    setting = {"action": "structured", "num_irs": num_irs}
    env = make(seed=0, levels=levels, **setting)
    steps = env.rollout(HORIZON)
    chosen = steps["bs", "action"]
    assert chosen[:, 0].shape == shape
    assert chosen.min() == 0
    batch = make_vec_env(NAME, ENVS, fast=False, horizon=HORIZON, **setting)
    batch.reset(seed=0)
    for t in range(HORIZON):
        _, rewards, *_ = batch.step(BidLevels(batch.scenario, levels).actions(chosen[:, t].numpy()))
        equal(steps["next", "bs", "reward"][:, t, :, 0], rewards)


def test_pictures() -> None:
    pytest.importorskip("matplotlib")
    env = make(render_mode="rgb_array")
    env.reset()
    picture = env.render()
    assert picture is not None
    assert picture.shape[2] == 3


@pytest.mark.parametrize("stagger", [False, True])
def test_a_collector_crosses_the_ends_of_episodes(stagger: bool) -> None:
    env = make(seed=3, stagger=stagger, **SETTINGS["structured"])
    net = torch.nn.Sequential(torch.nn.LazyLinear(env.batch.action_size), torch.nn.Tanh())
    policy = TensorDictModule(net, in_keys=[("bs", "observation")], out_keys=[("bs", "action")])
    policy(env.reset())
    frames = (2 * HORIZON + 2) * ENVS
    collector = Collector(env, policy, frames_per_batch=frames, total_frames=frames, no_cuda_sync=True)
    data = next(iter(collector))
    collector.shutdown()
    ends = data["next", "done"][..., 0]
    first = HORIZON - torch.arange(ENVS) * HORIZON // ENVS * stagger  # slots of the first episodes
    t = torch.arange(1, ends.shape[1] + 1)
    assert torch.equal(ends, (t >= first[:, None]) & ((t - first[:, None]) % HORIZON == 0))
    assert not data["next", "terminated"].any()
    ended, went_on = ends[:, :-1], ~ends[:, :-1]
    after, before = data["next", "bs", "observation"][:, :-1], data["bs", "observation"][:, 1:]
    assert torch.equal(after[went_on], before[went_on])
    assert (after[ended] != before[ended]).flatten(1).any(1).all()  # a new episode, not the last observation


def one(outcome: Any, state: Any) -> Any:
    """A reward of 1."""
    return outcome.sum_rate * 0 + 1


@pytest.mark.parametrize("stagger", [False, True])
def test_value_of_a_constant_reward_with_a_time_limit(stagger: bool) -> None:
    """Reward 1, discount .9: the value is 10 if the end of an episode is no end of the world, 2.7 if it is."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    setting = {**SETTINGS["structured"], "reward": one, "num_elements": 2, "num_antennas": 1, "sweeps": 0}
    env = make(seed=0, stagger=stagger, **setting)
    size = env.full_observation_spec["bs", "observation"].shape[-1]
    net = torch.nn.Sequential(torch.nn.Linear(size, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    critic = TensorDictModule(net, in_keys=[("bs", "observation")], out_keys=[("bs", "state_value")])
    estimator = GAE(gamma=0.9, lmbda=0.9, value_network=critic)
    group = {name: ("bs", name) for name in ("reward", "done", "terminated", "value_target", "advantage")}
    estimator.set_keys(value=("bs", "state_value"), **group)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    collector = Collector(env, None, frames_per_batch=20 * ENVS, total_frames=40 * 20 * ENVS, no_cuda_sync=True)
    for data in collector:
        with torch.no_grad():
            estimator(data)
        for _ in range(10):
            loss = (net(data["bs", "observation"]) - data["bs", "value_target"]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    collector.shutdown()
    assert net(data["bs", "observation"]).mean().item() == pytest.approx(10.0, abs=0.3)
