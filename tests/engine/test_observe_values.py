"""``observation="values"``: the large scale, and marginal rates of the IRSs behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, make_env, make_vec_env

SIZES: dict[str, Any] = {"num_users": 4, "num_irs": 3, "num_antennas": 3, "num_elements": 5, "horizon": 4}


def stepped(scenario: Scenario, **options: Any) -> tuple[Any, list[Any]]:
    """An environment, and its observations over a whole episode and into the next one."""
    env = make_vec_env(scenario, 3, **options)
    seen, rng = [env.reset(seed=1)[0]], np.random.default_rng(0)
    for _ in range(5):
        action = rng.uniform(-1, 1, (3, scenario.num_bs, env.action_size)).astype(np.float32)
        seen.append(env.step(action)[0])
    return env, seen


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"csi": "owned", "action": "structured", "association_delay": 1},
        {"csi_error_variance": 0.3, "reflection": "single"},
        {"observe_velocity": True, "switching_slots": 2},
        {"num_bs": 3, "phase_bits": 2, "contention": "collision"},
    ],
    ids=str,
)
def test_blocks_behind_those_of_the_large_scale(fields: dict[str, Any]) -> None:
    large = Scenario(**SIZES, **fields, observation="large_scale")
    (_, usual), (env, seen) = stepped(large), stepped(large.replace(observation="values"))
    layout = env.observation_codec.layout
    names = [*make_env(large).observation_codec.layout.shapes]
    at = names.index("rho") + 1
    assert [*layout.shapes] == [*names[:at], "first_value", "last_value", *names[at:]]
    for without, flat in zip(usual, seen, strict=True):
        named = env.observation_codec.decode(flat)
        rest = [named[name].reshape(*flat.shape[:2], -1) for name in names]
        np.testing.assert_array_equal(np.concatenate(rest, -1), without)
        np.testing.assert_array_equal(env.observation_codec.encode(named), flat)
        assert flat.dtype == np.float32
    values = env.view().marginal_rates
    for name, marginal in zip(("first_value", "last_value"), values, strict=True):
        assert abs(marginal).max() > 0.1
        np.testing.assert_array_equal(named[name], marginal)


def test_values_are_clipped_to_the_box() -> None:
    s = Scenario(**SIZES, observation="values", noise_power_dbm=-210.0, blockage_db=300.0)
    env = make_env(s)
    observations, _ = env.reset(seed=0)
    values = env.observation_codec.decode(np.stack(list(observations.values())))["first_value"]
    assert values.max() == 20.0
    for agent, flat in observations.items():
        assert env.observation_space(agent).contains(flat)
    assert env.state_space.contains(env.state())
    first = env.observation_codec.layout.slices["first_value"]
    assert (env.observation_space("bs_0").low[first] == -20).all()


def test_with_and_without_kernels_and_on_torch() -> None:
    s = Scenario(**SIZES, observation="values", csi="owned", action="structured")
    plain = stepped(s, fast=False)[1]
    np.testing.assert_allclose(stepped(s)[1], plain, rtol=1e-3, atol=1e-3)
    pytest.importorskip("torch")
    tensors = [x.numpy() for x in stepped(s, backend="torch")[1]]
    np.testing.assert_allclose(tensors, plain, rtol=1e-3, atol=1e-3)


def test_networks_see_the_values_of_each_irs() -> None:
    pytest.importorskip("torch")
    from irs_marl_env.training.networks import Sizes

    env = make_vec_env(Scenario(**SIZES, observation="values", action="structured"), 2, fast=False)
    sizes, layout = Sizes.of(env), env.observation_codec.layout
    pairs = sizes.own_pairs().numpy()
    assert pairs.shape == (4, 3, 8)  # (K, L, features)
    for row, name in zip(np.moveaxis(pairs, -1, 0)[6:], ("first_value", "last_value"), strict=True):
        np.testing.assert_array_equal(row, np.tile(np.arange(layout.size)[layout.slices[name]], (4, 1)))
