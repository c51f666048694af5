"""What BSs see of their users' ways: how far they came in the last slot, and where they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, make_env, make_vec_env

SIZES: dict[str, Any] = {"num_users": 5, "num_irs": 2, "num_antennas": 2, "num_elements": 3, "horizon": 6}
FASTEST = {"random_waypoint": 1.5, "group": 3.0, "gauss_markov": 3.0, "static": 3.0}  # times the nominal way of a slot


def batch(way: str, **options: Any) -> Any:
    scenario = Scenario(**{**SIZES, "observe_velocity": True, "observation": "large_scale", **options})
    if way == "torch":
        pytest.importorskip("torch")
        return make_vec_env(scenario, 2, backend="torch")
    if way == "compiled":
        pytest.importorskip("numba")
    return make_vec_env(scenario, 2, fast=way == "compiled")


@pytest.mark.parametrize("way", ["plain", "compiled", "torch"])
@pytest.mark.parametrize("observation", ["large_scale", "csi"])
@pytest.mark.parametrize("mobility", FASTEST)
def test_blocks_by_entry(way: str, observation: str, mobility: str) -> None:
    env = batch(way, mobility=mobility, observation=observation, slot_s=2.0, speed_mps=7.0, group_radius_m=9.0)
    observations, _ = env.reset(seed=0)
    last, largest, begun = np.array(env.view().position), 0.0, True
    action = env._xp.zeros((2, 2, env.action_size), dtype=env._xp.float32)
    for slot in range(9):  # over the end of an episode
        position, cell = np.array(env.view().position), env.view().cell
        named = {name: np.asarray(x) for name, x in env.observation_codec.decode(observations).items()}
        state = env.state_encoder.blocks(np.asarray(env.state()))
        way_m = np.zeros_like(position) if begun else position - last
        for e, m, k in np.ndindex(2, 2, 5):
            velocity = np.clip(way_m[e, k] / (FASTEST[mobility] * 14.0), -1, 1)
            place = [position[e, k, 0] / 40 - 1, position[e, k, 1] / 40 - 1]
            np.testing.assert_allclose(state["velocity"][e, k], velocity, atol=1e-6)
            mine = cell[e, k] == m
            np.testing.assert_allclose(named["velocity"][e, m, k], velocity * mine, atol=1e-6)
            np.testing.assert_allclose(named["position"][e, m, k], np.array(place) * mine, atol=1e-6)
        largest = max(largest, np.abs(named["velocity"]).max())
        observations, *_ = env.step(action)
        last, begun = position, slot == 5
    assert (largest > 0.2) == (mobility != "static")
    codec = env.observation_codec
    for name in ("velocity", "position"):
        assert (codec.low[codec.layout.slices[name]] == -1).all()
        assert (codec.high[codec.layout.slices[name]] == 1).all()
    assert (env.state_encoder.low[env.state_encoder.layout.slices["velocity"]] == -1).all()


def test_a_way_beyond_the_fastest_is_clipped() -> None:
    trace = np.full((3, 1, 2), 10.0)
    trace[1:, 0] = 70.0, 10.1
    env = make_env(num_users=1, num_irs=1, mobility="trace", trace=trace, horizon=2, observe_velocity=True,
                   observation="large_scale", speed_mps=0.0)  # fmt: skip
    env.reset(seed=0)
    observations = env.step({a: np.zeros(env.action_codec.size) for a in env.agents})[0]
    named = env.observation_codec.decode(observations["bs_1"])
    np.testing.assert_allclose(named["velocity"], [[1.0, 0.1]], atol=1e-6)  # with no speed at all, in metres
    assert env.observation_space("bs_1").contains(observations["bs_1"])
    assert env.state_space.contains(env.state())


def test_a_saved_state_has_the_way_and_an_impossible_one_is_refused() -> None:
    env, other = batch("plain"), batch("plain")
    env.reset(seed=0)
    env.step(np.zeros((2, 2, env.action_size), np.float32))
    saved = env.get_state()
    other.set_state(saved)
    np.testing.assert_array_equal(other.observe(), env.observe())
    saved["moved"][1, 2, 0] = 81.0
    with pytest.raises(ValueError, match=r"state\['moved'\]\[1, 2, 0\]=81.0: must be within \+-80 and \+-80 m"):
        other.set_state(saved)


def test_without_it_nothing_is_kept() -> None:
    env = make_env("mdlbi-small-v0", observation="large_scale", fast=False)
    env.reset(seed=0)
    assert "moved" not in env.get_state()
    assert not {"velocity", "position"} & set(env.observation_codec.layout.shapes)


@pytest.mark.parametrize("net", ["deepsets", "mlp"])
@pytest.mark.parametrize("central", [False, True])
def test_networks_of_the_trainer_take_what_is_seen(net: str, central: bool) -> None:
    """Each of the further entries of one's own user or of an IRS changes what an actor does and a critic says."""
    torch = pytest.importorskip("torch")
    from irs_marl_env.training.networks import Actor, Critic, Sizes
    from irs_marl_env.training.settings import Args

    env = batch("plain", action="structured", switching_slots=3)
    env.reset(seed=0)
    sizes, args = Sizes.of(env), Args(net=net)
    generator = torch.Generator().manual_seed(0)
    actor, critic = Actor(sizes, args, generator), Critic(sizes, central, args, generator)
    obs, state = (torch.as_tensor(np.array(x)) for x in (env.observe(), env.state()))
    obs = obs.transpose(0, 1).clone().requires_grad_()
    actor(obs)[0].square().sum().backward()
    view = (state if central else obs.detach()).clone().requires_grad_()
    critic(view, torch.zeros(2, 2, sizes.action.size)).sum().backward()
    mine = env.view().own_user.transpose(1, 0, 2)
    for name in ("velocity", "position"):
        for gradient, layout in (
            (obs.grad, sizes.observation),
            (view.grad, sizes.state if central else sizes.observation),
        ):
            used = layout.take(gradient, name).abs().sum(-1).numpy() > 0
            assert used[mine].all() if layout is sizes.observation else used.all()
    assert (sizes.observation.take(obs.grad, "switching") != 0).all()
