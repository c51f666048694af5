"""Parts of one's own: a mobility model, a reward, a contention rule and an observation are handed over as objects."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, evaluate, make_env, make_vec_env
from irs_marl_env.arrays import namespace
from irs_marl_env.checks import reference_to
from irs_marl_env.physics.association import CONTENTION
from irs_marl_env.physics.channel import CHANNEL_MODELS
from irs_marl_env.physics.mobility import MOBILITY, Mobility
from irs_marl_env.physics.radio import INTERFERENCE, POWER
from irs_marl_env.rewards import REWARDS
from irs_marl_env.scenario import ScenarioError
from irs_marl_env.spaces.actions import ACTIONS
from irs_marl_env.spaces.observations import OBSERVATIONS, CsiObservationCodec

HERE = __name__
SMALL = {"num_users": 4, "num_irs": 2, "num_antennas": 2, "num_elements": 4, "horizon": 4, "group_radius_m": 5.0}


class East:
    """Users begin at uniform places and walk east, some metres a slot, until they stand at the border."""

    def __init__(self, step_m: float) -> None:
        self.step_m = step_m

    def start(self, constants: Any, streams: Any, position: Any) -> dict[str, Any]:
        if position is None:
            position = streams.uniform("layout", constants.scenario.num_users, 2) * constants.area
        return {"position": position}

    def advance(self, constants: Any, motion: dict[str, Any], streams: Any) -> dict[str, Any]:
        position, xp = motion["position"], namespace(motion["position"])
        x = xp.clip(position[..., :1] + self.step_m, None, constants.scenario.area_m[0])
        return {"position": xp.concat([x, position[..., 1:]], axis=-1)}


EAST = East(3.0)
EAST_OF_FUNCTIONS = Mobility(EAST.start, EAST.advance)


def worst_user(outcome: Any, state: Any) -> Any:
    """Each BS is paid the lowest rate of all users."""
    xp = namespace(outcome.rates)
    return xp.min(outcome.rates, axis=-1, keepdims=True) + 0 * outcome.sum_rate


def lowest_bid(bids: Any, tie_break: Any) -> Any:
    """The lowest bid wins."""
    return namespace(bids).argmin(bids, axis=-2)


class OwnersAlone:
    """Each BS sees which IRSs it holds, ten times as large as its bounds allow, and which users are its own."""

    def __init__(self, scenario: Scenario) -> None:
        self.size = scenario.num_irs + scenario.num_users
        self.low, self.high = np.zeros(self.size, np.float32), np.ones(self.size, np.float32)

    def observe(self, known: Any) -> Any:
        return namespace(known.held).concat([10.0 * known.held, known.own_user], axis=-1)


class Turning:
    """Every link is its gain, with a phase that turns by 0.1 in every slot from a drawn beginning on."""

    def __init__(self, scenario: Scenario) -> None:
        s = scenario
        self.axes = (s.num_antennas,), (s.max_elements, s.num_antennas), (s.max_elements,)
        self.sizes = s.num_bs, s.num_irs, s.num_users

    def start(self, streams: Any, motion: Any) -> dict[str, Any]:
        return {"turn": streams.complex_normal("direct_fading", 1)[:, 0]}

    def evolve(self, memory: Any, streams: Any, last: Any, motion: Any) -> dict[str, Any]:
        moved = namespace(motion["position"]).max(abs(motion["position"] - last["position"]))
        assert float(moved) < 20.0  # where users were and where they are, not the same twice, not another episode
        return {"turn": memory["turn"] * np.exp(0.1j)}

    def gains(self, usual: Any, memory: Any, motion: Any) -> Any:
        (M, L, K), x = self.sizes, motion["position"][..., 0]  # (E, K)
        full = namespace(x).broadcast_to
        direct = full(1e-6 * (1.0 + x[:, None] / 80.0), (len(x), M, K))
        return direct, full(1e-3 + 0 * x[:, :1, None], (len(x), M, L)), full(1e-3 + 0 * x[:, None], (len(x), L, K))

    def __call__(self, gains: Any, memory: Any, motion: Any, streams: Any) -> list[Any]:
        turn = memory["turn"] / abs(memory["turn"])
        links = []
        for gain, axes in zip(gains, self.axes, strict=True):
            link = turn.reshape(-1, *(1,) * (gain.ndim - 1)) * gain
            link = link.reshape(*gain.shape, *(1,) * len(axes))
            links.append(namespace(gain).broadcast_to(link, (*gain.shape, *axes)))
        return links


PARTS: dict[str, Any] = {
    "channel_model": Turning,
    "mobility": EAST,
    "reward": worst_user,
    "contention": lowest_bid,
    "observation": OwnersAlone,
}
WAYS = [
    pytest.param({"fast": False}, id="plain"),
    pytest.param({"fast": True}, id="kernels", marks=pytest.mark.skipif(not find_spec("numba"), reason="no numba")),
    pytest.param({"backend": "torch"}, id="torch", marks=pytest.mark.skipif(not find_spec("torch"), reason="no torch")),
]


@pytest.mark.parametrize("action", ["raw", "structured"])
@pytest.mark.parametrize("way", WAYS)
def test_all_parts_do_what_they_say(way: dict[str, Any], action: str) -> None:
    vec = make_vec_env(Scenario(**SMALL, **PARTS, action=action), 3, **way)
    observations, _ = vec.reset(seed=0)
    before, rng = vec.view().position, np.random.default_rng(0)
    last_turn = vec.view().channels.H[..., 0] / vec.view().gains.direct
    for _ in range(3):
        actions = rng.uniform(-1, 1, (3, 2, vec.action_size)).astype(np.float32)
        observations, rewards, _, _, infos = vec.step(actions)
        named = vec.action_codec.decode(actions)
        np.testing.assert_array_equal(np.asarray(infos["owner"]), named["bids"].argmin(1))
        lowest = np.asarray(infos["rates"]).min(-1, keepdims=True)
        np.testing.assert_array_equal(np.asarray(rewards), np.broadcast_to(lowest, (3, 2)))
        position = vec.view().position
        np.testing.assert_allclose(position[..., 0], np.minimum(before[..., 0] + 3.0, 80.0))
        np.testing.assert_array_equal(position[..., 1], before[..., 1])
        held = vec.view().owner[:, None] == np.arange(2)[:, None]
        np.testing.assert_array_equal(np.asarray(observations), np.concatenate([held, vec.view().own_user], -1))
        before = position
        x = position[:, None, :, 0]
        np.testing.assert_allclose(vec.view().gains.direct, np.broadcast_to(1e-6 * (1 + x / 80), (3, 2, 4)), rtol=1e-6)
        H, G, h = vec.view().channels
        np.testing.assert_allclose(abs(H), np.broadcast_to(vec.view().gains.direct[..., None], H.shape), rtol=1e-5)
        np.testing.assert_allclose(H[..., 0] / vec.view().gains.direct, last_turn * np.exp(0.1j), rtol=1e-5)
        np.testing.assert_allclose(abs(G), 1e-3, rtol=1e-5)
        np.testing.assert_allclose(abs(h), 1e-3, rtol=1e-5)
        last_turn = H[..., 0] / vec.view().gains.direct


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("fast", [False, None], ids=["plain", "as installed"])
def test_each_part_works_in_both_environments(part: str, fast: bool | None) -> None:
    """Row i is the single environment, across the end of an episode; all else is as with the default of the field."""
    scenario = Scenario(**SMALL, **{part: PARTS[part]})
    vec, single = make_vec_env(scenario, 2, fast=fast), make_env(scenario, fast=fast)
    observations, _ = vec.reset(seed=5)
    first, _ = single.reset(seed=6)
    rng = np.random.default_rng(1)
    for _ in range(6):
        np.testing.assert_allclose(observations[1], [first[a] for a in single.possible_agents], rtol=1e-5, atol=1e-6)
        action = rng.uniform(-1, 1, (2, 2, vec.action_size)).astype(np.float32)
        observations, rewards, *_ = vec.step(action)
        first, its, *_ = single.step(dict(zip(single.possible_agents, action[1], strict=True)))
        np.testing.assert_allclose(rewards[1], list(its.values()), rtol=1e-4, atol=1e-6)
        if not single.agents:
            first, _ = single.reset()
    state = vec.get_state()
    other = make_vec_env(scenario, 2, fast=fast)
    other.set_state(state)
    np.testing.assert_array_equal(other.step(action)[1], vec.step(action)[1])


def by_turns(links: Any) -> Any:
    """Users are served by turns, wherever they are."""
    xp, (num_envs, num_bs, num_users) = namespace(links.direct_gain), links.direct_gain.shape
    return xp.broadcast_to(xp.asarray(np.arange(num_users) % num_bs), (num_envs, num_users))


@pytest.mark.parametrize("part", [*PARTS, "cell_rule"])
def test_evaluate_with_processes_gives_the_same(part: str) -> None:
    scenario = Scenario(**{**SMALL, "action": "structured"}, **{part: PARTS.get(part, by_turns)})
    one, three = (evaluate("random", scenario, 33, slots=2, processes=n) for n in (1, 3))  # three batches
    np.testing.assert_array_equal(one.rates, three.rates)
    assert three.scenario == scenario


def test_a_mobility_model_of_functions() -> None:
    a, b = (make_env(Scenario(**SMALL, mobility=m)) for m in (EAST, EAST_OF_FUNCTIONS))
    for env in (a, b):
        env.reset(seed=0)
    np.testing.assert_array_equal(a.view().position, b.view().position)


# --- JSON and pickles --------------------------------------------------------------------------------------------


def test_json_names_the_object_and_needs_trust() -> None:
    scenario = Scenario(**SMALL, **PARTS)
    text = scenario.to_json()
    written = json.loads(text)
    assert written["mobility"] == f"{HERE}:EAST"
    assert written["reward"] == f"{HERE}:worst_user"
    assert written["observation"] == f"{HERE}:OwnersAlone"
    with pytest.raises(ScenarioError, match=r"would import a module.*trusted=True"):
        Scenario.from_json(text)
    assert Scenario.from_json(text, trusted=True) == scenario
    assert Scenario.from_json(text, trusted=True).digest == scenario.digest != Scenario(**SMALL).digest
    assert pickle.loads(pickle.dumps(scenario.replace(mobility="group"))).reward is worst_user


@pytest.mark.parametrize("reference", ["no_such_module:x", f"{HERE}:nothing", f"{HERE}:SMALL", "json:", f"{HERE}:"])
def test_a_reference_to_nothing_is_said_in_words(reference: str) -> None:
    text = json.dumps({"reward": reference})
    with pytest.raises(ScenarioError, match="reward"):
        Scenario.from_json(text, trusted=True)


def test_what_nobody_could_find_again_is_refused_where_it_matters() -> None:
    """A lambda plays, but goes into no JSON, no digest and no other process: never silently another result."""
    scenario = Scenario(**SMALL, reward=lambda outcome, state: outcome.sum_rate)
    env = make_env(scenario)
    env.reset(seed=0)
    env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    for ask in (scenario.to_json, lambda: scenario.digest):
        with pytest.raises(ScenarioError, match=r"reward: .*lambda.* define it at the top level of a module"):
            ask()
    with pytest.raises(ValueError, match=r"processes.*top level of a module"):
        evaluate("random", scenario, 17, slots=1, processes=2)
    assert math.isfinite(evaluate("random", scenario, 2, slots=1).mean)


def test_what_stands_in_the_script_that_runs_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    import __main__

    def reward(outcome: Any, state: Any) -> Any:
        return outcome.sum_rate

    reward.__module__, reward.__qualname__ = "__main__", "reward"
    monkeypatch.setattr(__main__, "reward", reward, raising=False)
    scenario = Scenario(**SMALL, reward=reward)
    with pytest.raises(ScenarioError, match="stands in the script that runs"):
        scenario.to_json()
    assert len(scenario.digest) == 16  # enough to tell it from others in this process and its children
    assert reference_to(reward, portable=False) == "__main__:reward"


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["mobility", "reward", "contention", "observation", "channel_model"])
@pytest.mark.parametrize("value", [3, None, object(), "nothing", ["group"]])
def test_other_things_are_refused_with_the_names(field: str, value: Any) -> None:
    with pytest.raises(ScenarioError, match=rf"^{field}=.*must be one of .*, or "):
        Scenario(**{field: value})


@pytest.mark.parametrize("field", ["sinr", "reflection", "power", "action"])
def test_readings_of_the_paper_are_names_alone(field: str) -> None:
    with pytest.raises(ScenarioError, match=rf"^{field}="):
        Scenario(**{field: worst_user})


def test_choices_are_those_of_the_dicts() -> None:
    """One list of names: whoever adds to a dict has added a choice."""
    dicts = {
        "mobility": MOBILITY,
        "reward": REWARDS,
        "contention": CONTENTION,
        "observation": OBSERVATIONS,
        "channel_model": CHANNEL_MODELS,
        "sinr": INTERFERENCE,
        "power": POWER,
        "action": ACTIONS,
    }
    for field, names in dicts.items():
        with pytest.raises(ScenarioError) as error:
            Scenario(**{field: "nothing"})
        assert all(repr(name) in str(error.value) for name in names)
        assert getattr(Scenario(), field) == next(iter(names))


def test_a_new_entry_of_a_dict_is_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REWARDS, "worst", worst_user)
    env = make_env(Scenario(**SMALL, reward="worst"))
    env.reset(seed=0)
    rewards = env.step({agent: env.action_space(agent).sample() for agent in env.agents})[1]
    assert rewards["bs_0"] == rewards["bs_1"]


def test_a_reward_of_the_wrong_shape_is_named() -> None:
    env = make_env(Scenario(**SMALL, reward=lambda outcome, state: outcome.rates))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"the reward .* returned \(1, 4\) of .*: must be an array of shape \(1, 2\)"):
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})


class Short(OwnersAlone):
    """An observation that forgets its users."""

    def observe(self, known: Any) -> Any:
        return known.held


def test_an_observation_of_the_wrong_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"Short.* returned \(1, 2, 2\) of .*: must be an array of shape \(1, 2, 6\)"):
        make_env(Scenario(**SMALL, observation=Short)).reset(seed=0)


def test_the_cost_of_bids_holds_for_any_reward() -> None:
    paid, free = (make_env(Scenario(**SMALL, reward=worst_user, bid_cost=cost)) for cost in (0.5, 0.0))
    action = {agent: np.ones(paid.action_codec.size, np.float32) for agent in paid.possible_agents}
    rewards = []
    for env in (paid, free):
        env.reset(seed=0)
        rewards.append(env.step(action)[1]["bs_0"])
    assert rewards[0] == pytest.approx(rewards[1] - 0.5 * 2)


class Parade(East):
    """The same walk as a class that needs nothing to be made."""

    def __init__(self) -> None:
        super().__init__(3.0)


def test_a_class_makes_its_mobility_model_and_has_a_name() -> None:
    scenario = Scenario(**SMALL, mobility=Parade)
    a, b = make_env(scenario), make_env(Scenario(**SMALL, mobility=EAST))
    for env in (a, b):
        env.reset(seed=0)
        env.step({agent: np.zeros(env.action_codec.size, np.float32) for agent in env.agents})
    np.testing.assert_array_equal(a.view().position, b.view().position)
    assert Scenario.from_json(scenario.to_json(), trusted=True) == scenario
    with pytest.raises(ScenarioError, match="an object made there needs a name, too"):
        Scenario(**SMALL, mobility=Parade()).to_json()


def test_a_script_may_import_its_parts_by_name(tmp_path: Path) -> None:
    """Then the object has a name in the script, too; its module's is the one that is written."""
    (tmp_path / "parts.py").write_text(
        "from test_own_parts import East\nWALK = East(2.0)\n", encoding="utf-8", newline="\n"
    )
    script = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(Path(__file__).parent)!r}]\n"
        "from parts import WALK\nfrom irs_marl_env import Scenario\n"
        "text = Scenario(mobility=WALK).to_json()\n"
        "assert Scenario.from_json(text, trusted=True).mobility is WALK\nprint('parts:WALK' in text)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


class Astray(East):
    """Users leave the area, or are nowhere."""

    def __init__(self, position: Any) -> None:
        self.position = position

    def advance(self, constants: Any, motion: dict[str, Any], streams: Any) -> Any:
        return {"position": np.broadcast_to(self.position, np.shape(motion["position"]))} if self.position else {}


WRONG: list[tuple[str, Any, str]] = [
    ("mobility", Astray([90.0, 10.0]), r"outside the area: must be inside \[0, 80\] x \[0, 80\] m"),
    ("mobility", Astray([math.nan, 10.0]), "outside the area"),
    ("mobility", Astray(None), r"positions NoneType of no type: must be a dict with 'position' \(1, 4, 2\)"),
    ("contention", lambda bids, tie: bids.argmax(-2) + 7, r"owners that are none: must be in \[-1, 1\]"),
    ("contention", lambda bids, tie: bids.max(-2), r"must be integers of shape \(1, 3\)"),
    ("contention", lambda bids, tie: bids.argmax(-1), r"of int64: must be integers of shape \(1, 3\)"),
    ("reward", lambda outcome, state: outcome.sum_rate * math.nan, "not finite"),
]


@pytest.mark.parametrize(("field", "part", "message"), WRONG, ids=[f"{x[0]}-{i}" for i, x in enumerate(WRONG)])
def test_what_a_part_returns_is_checked(field: str, part: Any, message: str) -> None:
    env = make_env(Scenario(**{**SMALL, "num_irs": 3}, **{field: part}))  # L differs from M
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step({agent: np.full(env.action_codec.size, 0.1, np.float32) for agent in env.agents})


@pytest.mark.parametrize("fast", [False, None])
def test_a_stream_that_is_none_is_named(fast: bool | None) -> None:
    vec = make_vec_env(Scenario(**SMALL), 1, fast=fast)
    vec.reset(seed=0)
    with pytest.raises(ValueError, match=r"no random stream 'mine': must be one of 'layout', 'mobility'"):
        vec._streams.uniform("mine", 2)


# --- what the environment keeps to itself -------------------------------------------------------------------------


class Half(CsiObservationCodec):
    """The CSI observation, halved: a subclass that no kernel may take for its parent."""

    def observe(self, known: Any) -> Any:
        return 0.5 * super().observe(known)


@pytest.mark.parametrize("fast", [False, None], ids=["plain", "as installed"])
def test_a_subclass_of_a_built_in_part_is_heard(fast: bool | None) -> None:
    half, whole = (make_vec_env(Scenario(**SMALL, observation=o), 2, fast=fast) for o in (Half, "csi"))
    np.testing.assert_allclose(half.reset(seed=0)[0], 0.5 * whole.reset(seed=0)[0], rtol=1e-6)


def test_a_built_in_part_goes_by_its_name() -> None:
    assert Scenario(reward=REWARDS["mixed"], team_weight=0.9) == Scenario(reward="mixed", team_weight=0.9)
    assert Scenario(observation=OBSERVATIONS["csi"], mobility=MOBILITY["static"]).mobility == "static"


def spoil(arrays: Any) -> None:
    for array in arrays:
        if isinstance(array, np.ndarray):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0


def nosy_reward(outcome: Any, state: Any) -> Any:
    spoil([*outcome, *state.channels, state.owner, *state.motion.values()])
    return outcome.sum_rate


def nosy_contention(bids: Any, tie_break: Any) -> Any:
    spoil([bids])
    return bids.argmax(-2)


class Nosy(East):
    def advance(self, constants: Any, motion: dict[str, Any], streams: Any) -> dict[str, Any]:
        spoil(motion.values())
        return motion


class NosyObservation(OwnersAlone):
    def observe(self, known: Any) -> Any:
        spoil([*known.csi, known.position, known.bids, known.own_user])
        return super().observe(known)


def test_parts_cannot_write_into_what_they_are_shown() -> None:
    parts = {"reward": nosy_reward, "contention": nosy_contention, "mobility": Nosy(0.0)}
    env = make_env(Scenario(**SMALL, **parts, observation=NosyObservation))
    env.reset(seed=0)
    infos = env.step({agent: np.full(env.action_codec.size, 0.3, np.float32) for agent in env.agents})[4]
    assert infos["bs_0"]["sum_rate"] > 0


class EpisodeNumber(East):
    """Users stand at x = 1 m times the number of episodes begun, the same memory for all rows."""

    def __init__(self) -> None:
        self.begun = 0

    def start(self, constants: Any, streams: Any, position: Any) -> dict[str, Any]:
        self.begun += 1
        users = np.full((constants.scenario.num_users, 2), float(self.begun))
        return {"position": np.broadcast_to(users, (streams.num_envs, *users.shape))}

    def advance(self, constants: Any, motion: dict[str, Any], streams: Any) -> dict[str, Any]:
        return motion


def test_rows_that_begin_anew_get_the_new_motion() -> None:
    """Whatever memory a mobility model shares between rows."""
    vec = make_vec_env(Scenario(**SMALL, mobility=EpisodeNumber()), 2, stagger=True)  # rows end at slots 4 and 2
    vec.reset(seed=0)
    for _ in range(2):
        vec.step(np.zeros((2, 2, vec.action_size), np.float32))
    np.testing.assert_array_equal(vec.view().position[:, 0, 0], [1.0, 2.0])


def test_an_idle_irs_has_its_elements_at_phase_zero() -> None:
    """Under a contention of one's own too: what the bids ask of phases that nobody may set changes nothing."""
    rates = []
    for theta in (0.1, 0.9):
        env = make_env(Scenario(**SMALL, contention=nobody, reflection="all"))
        env.reset(seed=0)
        named = env.action_codec.decode(np.full(env.action_codec.size, 0.3, np.float32))
        named["theta"] = np.full_like(named["theta"], theta)
        action = env.action_codec.encode(named).astype(np.float32)
        rates.append(env.step(dict.fromkeys(env.agents, action))[4]["bs_0"]["sum_rate"])
    assert rates[0] == pytest.approx(rates[1], rel=1e-6)


def nobody(bids: Any, tie_break: Any) -> Any:
    """No IRS has an owner."""
    return bids.argmax(-2) * 0 - 1


# --- references ---------------------------------------------------------------------------------------------------


def test_a_copy_has_the_very_same_objects() -> None:
    scenario = Scenario(**SMALL, mobility=EAST)
    env = make_env(scenario)
    env.reset(seed=0)
    twin = pickle.loads(pickle.dumps(env))
    assert twin.scenario == scenario
    assert twin.scenario.mobility is EAST
    assert twin.scenario.digest == scenario.digest


def test_a_loop_variable_of_the_script_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import __main__

    for step in (1.0, 2.0):
        monkeypatch.setattr(__main__, "walk", East(step), raising=False)
        with pytest.raises(ScenarioError, match="no name by which it could be found again"):
            _ = Scenario(**SMALL, mobility=__main__.walk).digest  # type: ignore[attr-defined]


def two_links(gains: Any, memory: Any, motion: Any, streams: Any) -> Any:
    return gains.direct[..., None] * np.ones(2), gains.bs_irs


class Model:
    """A channel model whose answers are given, and else what the shapes want."""

    def __init__(self, scenario: Scenario, **answers: Any) -> None:
        self.shapes = (1, 2, 4, 2), (1, 2, 3, 4, 2), (1, 3, 4, 4)
        self.answers = answers

    def __call__(self, gains: Any, memory: Any, motion: Any, streams: Any) -> Any:
        return self.answers.get("channels", [np.ones(shape, np.complex64) for shape in self.shapes])

    def gains(self, usual: Any, memory: Any, motion: Any) -> Any:
        return self.answers.get("gains", [np.ones(shape) for shape in ((1, 2, 4), (1, 2, 3), (1, 3, 4))])

    def start(self, streams: Any, motion: Any) -> Any:
        return self.answers.get("start", {})


ONES = [np.ones(shape, complex) for shape in ((1, 2, 4, 2), (1, 2, 3, 4, 2), (1, 3, 4, 4))]
WRONG_CHANNELS: list[tuple[Any, str]] = [
    (two_links, r"two_links.* returned channels 'tuple': must be three arrays H \(1, 2, 4, 2\), G "),
    ({"channels": None}, "channels 'NoneType': must be three arrays"),
    ({"channels": [ONES[0][:, :1], *ONES[1:]]}, r"H of shape \(1, 1, 4, 2\): must be H \(1, 2, 4, 2\)"),
    ({"channels": [*ONES[:2], ONES[2] * math.nan]}, "h with entries that are not finite"),
    ({"channels": [*ONES[:2], ONES[2] * 1e300]}, "h with entries that are not finite"),
    ({"channels": [ONES[0] * 1e30, *ONES[1:]]}, "strongest signal could be .* dB above the noise: must be at most 180"),
    ({"channels": [ONES[0], np.ones(ONES[1].shape, int), ONES[2]]}, "G of int64: must be complex numbers"),
    ({"channels": [ONES[0].tolist(), *ONES[1:]]}, "H of shape list"),
    ({"gains": [np.ones((1, 2, 4)), np.ones((1, 3, 2)), np.ones((1, 3, 4))]}, r"bs_irs of shape \(1, 3, 2\)"),
    ({"gains": [-np.ones((1, 2, 4)), np.ones((1, 2, 3)), np.ones((1, 3, 4))]}, "gains below 0"),
    ({"start": {"a": np.ones(2)}}, r"returned {'a': \(2,\)} from start: must be a dict of arrays by name"),
    ({"start": [1]}, r"returned \[1\] from start: must be a dict"),
]


@pytest.mark.parametrize(("answers", "message"), WRONG_CHANNELS, ids=map(str, range(len(WRONG_CHANNELS))))
def test_what_a_channel_model_returns_is_checked(answers: Any, message: str) -> None:
    model = answers if callable(answers) else Model(Scenario(), **answers)
    env = make_env(Scenario(**{**SMALL, "num_irs": 3}, channel_model=model))
    with pytest.raises(ValueError, match=rf"^channel_model .*{message}"):
        env.reset(seed=0)
    assert not env.agents


def test_a_channel_model_that_cannot_be_made_is_named() -> None:
    class Impossible:
        def __init__(self) -> None: ...

    for part in (Impossible, OwnersAlone):
        with pytest.raises(ValueError, match=r"channel_model=.*must be a class that is made with the scenario"):
            make_env(Scenario(**SMALL, channel_model=part))


class Far(Turning):
    """The same with a second BS that is three times as strong."""

    def gains(self, usual: Any, memory: Any, motion: Any) -> Any:
        direct, *others = super().gains(usual, memory, motion)
        return direct * np.array([[[1.0], [3.0]]]), *others


def test_shadowing_and_cell_rules_go_with_a_channel_model() -> None:
    """The scenario's shadowing multiplies the gains that a model is shown, and a rule sees the gains of the model."""

    def shown(gains: Any, memory: Any, motion: Any, streams: Any) -> Any:
        return [
            gains.direct[..., None] * np.ones(2),
            gains.bs_irs[..., None, None] * np.ones((4, 2)),
            gains.irs_user[..., None] * np.ones(4),
        ]

    shadowed = {"shadowing_std_db": 8.0, "mobility": "static", "fading": "ar1", "shadowing_distance_m": 1e-3}
    scenario = Scenario(**{**SMALL, **shadowed}, channel_model=shown)
    own, usual = (make_env(s, fast=False) for s in (scenario, scenario.replace(channel_model="rician")))
    for env in (own, usual):
        env.reset(seed=4)
    for a, b in zip(own.view().gains, usual.view().gains, strict=True):
        np.testing.assert_array_equal(a, b)
    before = own.view().gains.direct
    own.step({agent: np.zeros(own.action_codec.size, np.float32) for agent in own.agents})
    np.testing.assert_array_equal(own.view().gains.direct, before)  # nobody went anywhere
    np.testing.assert_allclose(own.view().channels.H[..., 0], before, rtol=1e-6)

    walk = {**SMALL, "shadowing_std_db": 8.0, "cell_rule": "strongest"}
    vec = make_vec_env(Scenario(**walk, channel_model=Far), 2)
    vec.reset(seed=0)
    vec.step(np.zeros((2, 2, vec.action_size), np.float32))
    assert set(vec.get_state()) >= {"scattered.shadowing", "scattered.turn"}
    assert (vec.view().cell == 1).all()


def test_elements_that_an_irs_lacks_stay_zero() -> None:
    scenario = Scenario(**{**SMALL, "num_elements": (4, 2)}, channel_model=Turning)
    env = make_env(scenario)
    env.reset(seed=0)
    _, G, h = env.view().channels
    assert not G[:, :, 1, 2:].any()
    assert not h[:, 1, :, 2:].any()
    assert G[:, :, 1, :2].all()
    assert h[:, 1, :, :2].all()


def test_two_objects_of_a_class_have_names_of_their_own() -> None:
    digests = {Scenario(**SMALL, mobility=m).digest for m in (EAST, EAST_OF_FUNCTIONS, FAR_EAST, Parade)}
    assert len(digests) == 4
    assert Scenario(**SMALL, mobility=FAR_EAST).to_dict()["mobility"] == f"{HERE}:FAR_EAST"


FAR_EAST = East(9.0)


class HalfAModel:
    """It can start and cannot go on."""

    def start(self, constants: Any, streams: Any, position: Any) -> Any:
        """Never called."""


def test_an_object_needs_all_methods() -> None:
    with pytest.raises(ScenarioError, match="an object with start, advance"):
        Scenario(mobility=HalfAModel())


def test_a_name_with_a_colon_is_a_reference_in_open_fields_alone() -> None:
    with pytest.raises(ScenarioError, match=r"^sinr='json:loads': must be one of"):
        Scenario.from_json('{"sinr": "json:loads"}', trusted=True)


@pytest.mark.parametrize("trusted", ["no", "yes", 1, None])
def test_trust_is_true_or_false(trusted: Any) -> None:
    with pytest.raises(ScenarioError, match=r"^trusted=.*: must be True or False$"):
        Scenario.from_json('{"reward": "os:getcwd"}', trusted=trusted)


def test_results_with_parts_are_read_with_trust() -> None:
    result = evaluate("random", Scenario(**SMALL, reward=worst_user), 2, slots=1)
    with pytest.raises(ScenarioError, match="trusted"):
        type(result).from_json(result.to_json())
    assert type(result).from_json(result.to_json(), trusted=True).scenario == result.scenario


@pytest.mark.parametrize("way", WAYS)
def test_kinds_of_numbers_are_the_environments(way: dict[str, Any]) -> None:
    """Rewards and observations are float32 whatever a part computes in."""
    vec = make_vec_env(Scenario(**SMALL, reward=in_double, observation=InDouble), 2, **way)
    observations, _ = vec.reset(seed=0)
    rewards = vec.step(np.full((2, 2, vec.action_size), 0.2, np.float32))[1]
    assert str(observations.dtype).endswith("float32")
    assert str(rewards.dtype).endswith("float32")


def in_double(outcome: Any, state: Any) -> Any:
    xp = namespace(outcome.sum_rate)
    return xp.astype(outcome.sum_rate, xp.float64)


class InDouble(OwnersAlone):
    def observe(self, known: Any) -> Any:
        xp = namespace(known.held)
        return xp.astype(super().observe(known), xp.float64)


def test_a_model_is_given_the_usual_gains() -> None:
    class Halved:
        def gains(self, usual: Any, memory: Any, motion: Any) -> Any:
            return [0.5 * gain for gain in usual]

        def __init__(self, scenario: Scenario) -> None:
            self.shapes = (2, 4, 8), (2, 2, 32, 8), (2, 4, 32)

        def __call__(self, gains: Any, memory: Any, motion: Any, streams: Any) -> Any:
            return [np.ones((streams.num_envs, *shape), np.complex64) for shape in self.shapes]

    views = []
    for model in ("rician", Halved):
        env = make_env(num_users=4, num_irs=2, channel_model=model, fast=False)
        env.reset(seed=0)
        views.append(env.view().gains)
    for half, whole in zip(views[1], views[0], strict=True):
        np.testing.assert_allclose(half, 0.5 * whole)
