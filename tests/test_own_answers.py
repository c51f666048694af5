"""What functions and objects of one's own return may be anything: it is taken as it is meant, or refused by name.

Each answer is tried in numpy and in torch; "other" is an array of the other of the two.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, make_env, make_vec_env
from irs_marl_env.arrays import namespace, to_numpy

SMALL = Scenario(num_users=3, num_irs=2, num_antennas=2, num_elements=4, horizon=6, group_radius_m=5.0)
WAYS = [
    pytest.param({"fast": False}, id="numpy"),
    pytest.param({"backend": "torch"}, id="torch", marks=pytest.mark.skipif(not find_spec("torch"), reason="no torch")),
]


def other(x: Any) -> Any:
    """The same as an array of the other kind."""
    if not isinstance(x, np.ndarray):
        return x.detach().numpy()
    torch = pytest.importorskip("torch")
    return torch.as_tensor(x.copy())


def real(x: Any) -> Any:
    return x.real if namespace(x).isdtype(x.dtype, "complex floating") else x


def integers(x: Any) -> Any:
    return namespace(x).astype(real(x), namespace(x).int64)


def scaled(factor: Any) -> Any:
    return lambda x: x * factor


ANSWERS: dict[str, Any] = {
    "nan": scaled(math.nan),
    "complex": scaled(1j),
    "other": other,
    "list": lambda x: x.tolist(),
    "none": lambda x: None,
    "flat": lambda x: x[..., 0],
    "truth": lambda x: real(x) > 0,
    "integers": integers,
    "too large": lambda x: namespace(x).astype(real(x), namespace(x).float64) * 0 + 1e300,
}


class Walk:
    """Users stand still, but for what becomes of their positions in the end."""

    def __init__(self, change: Any) -> None:
        self.change = change

    def start(self, constants: Any, streams: Any, position: Any) -> Any:
        return {"position": constants.origin + streams.uniform("layout", constants.scenario.num_users, 2) * 10.0}

    def advance(self, constants: Any, motion: Any, streams: Any) -> Any:
        return {"position": self.change(motion["position"])}


def sees(change: Any, low: Any = -9.0, high: Any = 9.0) -> Any:
    class Seen:
        def __init__(self, scenario: Scenario) -> None:
            self.size = scenario.num_irs
            self.low, self.high = np.full(self.size, low), np.full(self.size, high)

        def observe(self, known: Any) -> Any:
            return change(known.held)

    return Seen


def brings(change: Any) -> Any:
    def channels(gains: Any, memory: Any, motion: Any, streams: Any) -> Any:
        s, E = SMALL, len(gains.direct)
        shapes = {"direct": (s.num_bs, 3, 2), "bs_irs": (s.num_bs, 2, 4, 2), "irs_user": (2, 3, 4)}
        H, G, h = (1e-3 * streams.complex_normal(f"{link}_fading", *shape) for link, shape in shapes.items())
        assert len(H) == E
        return change(H), G, h

    return channels


PARTS: dict[str, Any] = {
    "reward": lambda change: lambda outcome, state: change(outcome.sum_rate),
    "cell_rule": lambda change: lambda links: change(links.distance_m.argmin(-2)),
    "contention": lambda change: lambda bids, tie_break: change(bids.argmin(-2)),
    "mobility": Walk,
    "observation": sees,
    "channel_model": brings,
}
# what is taken as it is; all other answers are refused
TAKEN = {
    ("reward", "truth"),
    ("reward", "integers"),
    ("cell_rule", "integers"),
    ("contention", "integers"),
    ("mobility", "integers"),
    ("observation", "truth"),
    ("observation", "integers"),
    ("observation", "too large"),  # clipped to its bounds
    ("channel_model", "complex"),
}


def played(scenario: Scenario, way: dict[str, Any]) -> list[np.ndarray]:
    vec = make_vec_env(scenario, 3, **way)
    seen = [vec.reset(seed=0)[0]]
    rng = np.random.default_rng(0)
    for _ in range(3):
        action = rng.uniform(-1, 1, (3, scenario.num_bs, vec.action_size)).astype(np.float32)
        seen += vec.step(action)[:2]
    return [to_numpy(x) for x in seen]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("way", WAYS)
def test_an_answer_is_taken_or_refused_by_name(way: dict[str, Any], part: str, answer: str) -> None:
    scenario = SMALL.replace(**{part: PARTS[part](ANSWERS[answer])})
    if (part, answer) in TAKEN:
        assert all(x.dtype == np.float32 and np.isfinite(x).all() for x in played(scenario, way))
        return
    with pytest.raises(ValueError, match=rf"^(the )?{part} .*(must be|not finite)"):
        played(scenario, way)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (math.nan, 1.0, r"^low of observation=.*: must be an array of shape \(2,\) of finite numbers"),
        (-1.0, math.inf, "^high of observation=.*: must be an array .* of finite numbers"),
        (-1e300, 1.0, "^low of observation=.* of finite numbers"),
        (1j, 1.0, "^low of observation=.* of finite numbers"),
        (1.0, -1.0, "^low of observation=.*: must be nowhere above high"),
    ],
)
def test_bounds_of_an_observation_are_checked(low: Any, high: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_vec_env(SMALL.replace(observation=sees(lambda x: x, low, high)), 1, fast=False)


@pytest.mark.parametrize("way", WAYS)
def test_positions_of_another_type_are_the_same_walk(way: dict[str, Any]) -> None:
    def narrow(x: Any) -> Any:
        return namespace(x).astype(x, namespace(x).float32)

    vec = make_vec_env(SMALL.replace(mobility=Walk(narrow)), 2, **way)
    vec.reset(seed=0)
    before = vec.view().position
    vec.step(np.zeros((2, 2, vec.action_size), np.float32))
    assert vec.view().position.dtype == np.float64
    np.testing.assert_allclose(vec.view().position, before, rtol=1e-6)


@pytest.mark.skipif(not find_spec("torch"), reason="no torch")
def test_channels_may_ask_for_gradients() -> None:
    """A part that learns: gradients reach the channels, and their check says nothing of it."""
    import torch

    factor = torch.ones((), requires_grad=True)
    learning = SMALL.replace(channel_model=brings(lambda H: H * factor), observation="large_scale")
    vec = make_vec_env(learning, 2, backend="torch")
    vec.reset(seed=0)
    action = torch.full((2, 2, vec.action_size), 0.3)
    vec.step(action)[1].sum().backward()
    assert factor.grad is not None
    assert 0.0 < abs(float(factor.grad)) < math.inf


def pays_nothing(outcome: Any, state: Any) -> Any:
    """A reward of a wrong shape."""
    return np.zeros(3)


def test_a_part_is_named_and_not_where_it_is_in_memory() -> None:
    env = make_env("mdlbi-small-v0", reward=pays_nothing, fast=False)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="the reward <function pays_nothing> returned"):
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})
