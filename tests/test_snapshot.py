"""States that are saved, damaged, restored; pickles and copies, in the middle of an episode."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from irs_marl_env import make_env, make_vec_env

SMALL: dict[str, Any] = {"scenario": "mdlbi-small-v0", "fast": False, "action": "structured", "horizon": 7}
BACKENDS = ["numpy", "torch"]
TRACE = np.random.default_rng(0).uniform(0, 80, (9, 4, 2))
CASES: list[dict[str, Any]] = [
    {},
    {"mobility": "trace"},
    {"mobility": "gauss_markov", "fading": "ar1", "bs_irs_fading": "episode", "csi_error_variance": 0.1},
    {"association_delay": 1, "csi": "owned", "rho": "bids", "contention": "collision", "mobility": "random_waypoint"},
]


def make(kind: str, **settings: Any) -> Any:
    """A single environment, or a batch of three of a backend."""
    if kind == "single":
        return make_env(**{**SMALL, **settings})
    if kind == "torch":
        pytest.importorskip("torch")
    return make_vec_env(num_envs=3, backend=kind, **{**SMALL, **settings})


def begin(env: Any, steps: int = 3) -> Any:
    env.reset(seed=1, options={"trace": TRACE} if env.scenario.mobility == "trace" else None)
    for slot in range(steps):
        play(env, slot)
    return env


def play(env: Any, slot: int) -> Any:
    """One step with the action of a slot; a single environment that is over begins anew."""
    rng = np.random.default_rng(slot)
    if hasattr(env, "num_envs"):
        return env.step(rng.uniform(-1, 1, (env.num_envs, 2, env.action_size)).astype(np.float32))
    if not env.agents:
        return env.reset(options={"trace": TRACE} if env.scenario.mobility == "trace" else None)
    return env.step({agent: rng.uniform(-1, 1, env.action_codec.size) for agent in env.agents})


def same(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (tuple, list)):
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def go_on_alike(a: Any, b: Any, steps: int = 16) -> None:
    """Over two ends of episodes."""
    for slot in range(3, 3 + steps):
        same(play(a, slot), play(b, slot))
        same(a.state(), b.state())


# --- what is saved is all that the future depends on ------------------------------------------------------------------


@pytest.mark.parametrize("settings", CASES)
@pytest.mark.parametrize("kind", ["single", *BACKENDS])
def test_a_restored_environment_goes_on_bit_for_bit(kind: str, settings: dict[str, Any]) -> None:
    env, other = begin(make(kind, **settings)), make(kind, **settings)
    other.set_state(env.get_state())
    go_on_alike(env, other)


@pytest.mark.parametrize("kind", ["single", "numpy"])
def test_a_state_goes_through_files(kind: str) -> None:
    """Arrays through npz, the rest through JSON."""
    env, other = begin(make(kind, mobility="trace")), make(kind, mobility="trace")
    saved, file = env.get_state(), io.BytesIO()
    np.savez(file, **{k: v for k, v in saved.items() if k not in ("scenario", "streams")})
    text = json.dumps({k: saved[k] for k in ("scenario", "streams")})
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        other.set_state({**arrays, **json.loads(text)})
    go_on_alike(env, other)


def test_states_go_from_one_backend_to_the_other() -> None:
    torch = pytest.importorskip("torch")
    env, other = begin(make("numpy", mobility="trace")), make("torch", mobility="trace")
    other.set_state(env.get_state())
    assert isinstance(other.observe(), torch.Tensor)
    for slot in range(3, 12):
        for a, b in zip(play(env, slot)[:4], play(other, slot)[:4], strict=True):
            np.testing.assert_allclose(np.asarray(b), a, rtol=1e-3, atol=1e-4)
    env.set_state(other.get_state())
    assert isinstance(env.observe(), np.ndarray)
    same(env.get_state(), {k: np.asarray(v) if hasattr(v, "shape") else v for k, v in other.get_state().items()})


def test_single_environment_and_batch_of_one_exchange_states() -> None:
    env, vec = begin(make("single")), make_vec_env(num_envs=1, **SMALL)
    vec.set_state(env.get_state())
    for slot in range(3, 6):
        rng = np.random.default_rng(slot)
        rewards = vec.step(rng.uniform(-1, 1, (1, 2, vec.action_size)))[1]
        np.testing.assert_allclose(rewards[0], list(play(env, slot)[1].values()), rtol=1e-5)
    other = make("single")
    other.set_state(vec.get_state())
    assert other.view().slot.tolist() == [6]


def test_an_episode_that_is_over_is_restored_as_one() -> None:
    env, other = begin(make("single"), steps=7), make("single")
    assert env.agents == []
    other.set_state(env.get_state())
    assert other.agents == []
    assert other.step({}) == ({}, {}, {}, {}, {})
    same(other.reset(), env.reset())
    vec = begin(make("numpy", autoreset=False), steps=7)
    with pytest.raises(ValueError, match=r"state\['slot'\]\[0\]=7: must be before the end of the row's episode"):
        make("numpy").set_state(vec.get_state())  # which would have begun the next one


def test_before_a_reset_there_is_nothing_to_save() -> None:
    for kind in ("single", "numpy"):
        with pytest.raises(RuntimeError, match="call reset"):
            make(kind).get_state()
    env = begin(make("single"))
    env.max_cycles = 3
    with pytest.raises(RuntimeError, match="step once before"):
        env.get_state()


def test_writing_into_a_saved_state_changes_nothing() -> None:
    env, twin = begin(make("single")), begin(make("single"))
    saved = env.get_state()
    other = make("single")
    other.set_state(saved)
    for leaf in saved.values():
        if isinstance(leaf, np.ndarray):
            leaf[...] = 0
    go_on_alike(env, twin, steps=4)
    same(other.get_state(), begin(make("single")).get_state())


def test_arrays_in_another_order_of_memory_are_taken() -> None:
    env, other = begin(make("numpy")), make("numpy")
    saved = {k: np.asfortranarray(v) if isinstance(v, np.ndarray) else v for k, v in env.get_state().items()}
    other.set_state(saved)
    assert all(x.flags.c_contiguous for x in other.get_state().values() if isinstance(x, np.ndarray))
    go_on_alike(env, other)


# --- what is damaged is refused ---------------------------------------------------------------------------------------


def put(name: str, index: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def damage(saved: dict[str, Any]) -> None:
        saved[name][index] = value

    damage.__name__ = f"{name}-{value}"
    return damage


def replace(name: str, change: Callable[[Any], Any], label: str) -> Callable[[dict[str, Any]], None]:
    def damage(saved: dict[str, Any]) -> None:
        saved[name] = change(saved[name])

    damage.__name__ = f"{name}-{label}"
    return damage


def stream(change: Callable[[Any], Any], label: str) -> Callable[[dict[str, Any]], None]:
    def damage(saved: dict[str, Any]) -> None:
        saved["streams"] = copy.deepcopy(saved["streams"])
        change(saved["streams"])

    damage.__name__ = f"streams-{label}"
    return damage


NAMES = [
    "slot", "ends", "cell", "own_user", "owner", "bids", "motion.point", "motion.position", "motion.travel",
    "gains.direct", "gains.bs_irs", "gains.irs_user", "channels.H", "channels.G", "channels.h",
]  # fmt: skip
ZERO = (0, 0)
DAMAGES: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    *((lambda saved, n=n: saved.pop(n), rf"lacks \['{n}'\]") for n in NAMES),
    *((replace(n, lambda x: x[..., None], "shape"), rf"state\['{n}'\]='.* array of shape") for n in NAMES),
    *((replace(n, lambda x: x.astype(object), "object"), rf"state\['{n}'\]='object array") for n in NAMES),
    *((replace(n, lambda x: x.astype("U9"), "text"), rf"state\['{n}'\]='<U9 array") for n in NAMES),
    *((replace(n, lambda x: x.tolist(), "list"), rf"state\['{n}'\]='list'") for n in NAMES),
    *((replace(n, lambda x: x.astype(np.complex128), "c16"), rf"state\['{n}'\]='complex128") for n in NAMES),
    *((put(n, ..., np.nan), rf"state\['{n}'\]\[0.*\]=.*nan.*: must be finite") for n in NAMES[5:]),
    *((put(n, ..., -np.inf), rf"state\['{n}'\]\[0.*\]=.*inf.*: must be finite") for n in NAMES[5:]),
    (lambda saved: saved.update(colour=1), r"unknown \['colour'\]"),
    (lambda saved: saved.pop("streams"), r"lacks \['streams'\]"),
    (lambda saved: saved.pop("scenario"), "state of scenario None"),
    (lambda saved: saved.update({"scattered.direct": saved["channels.H"]}), r"unknown \['scattered.direct'\]"),
    (replace("bids", lambda x: x.astype(np.float64), "f8"), r"state\['bids'\]=.*: must be an array of float32, shape"),
    (replace("slot", lambda x: x.astype(np.uint64), "u8"), r"state\['slot'\]='uint64.*: must be an array of int64"),
    (replace("slot", lambda x: None, "none"), r"state\['slot'\]='NoneType'"),
    (put("owner", ZERO, 2), r"state\['owner'\]\[0, 0\]=2: must be in \[-1, 1\]"),
    (put("owner", ZERO, -2), r"state\['owner'\]\[0, 0\]=-2: must be in \[-1, 1\]"),
    (put("cell", ZERO, 2), r"state\['cell'\]\[0, 0\]=2: must be in \[0, 1\]"),
    (put("cell", ZERO, -1), r"state\['cell'\]\[0, 0\]=-1: must be in \[0, 1\]"),
    (put("slot", 0, -1), r"state\['slot'\]\[0\]=-1: must be in \[0, 7\]"),
    (put("slot", 0, 8), r"state\['slot'\]\[0\]=8: must be in \[0, 7\]"),
    (put("ends", 0, 0), r"state\['ends'\]\[0\]=0: must be in \[1, 7\]"),
    (put("ends", 0, 8), r"state\['ends'\]\[0\]=8: must be in \[1, 7\]"),
    (put("ends", 0, 2), r"state\['slot'\]\[0\]=3: must be before the end"),
    (put("bids", (0, 0, 0), 1.5), r"state\['bids'\]\[0, 0, 0\]=1.5: must be in \[-1, 1\]"),
    (put("motion.position", (0, 0, 0), 80.1), r"state\['motion.position'\]\[0, 0, 0\]=80.1: must be inside"),
    (put("motion.position", (0, 0, 1), -0.1), r"state\['motion.position'\]\[0, 0, 1\]=-0.1: must be inside"),
    (put("motion.travel", ZERO, -1.0), r"state\['motion.travel'\]\[0, 0\]=-1.0: must be in \[0, 2.25"),
    (put("gains.direct", (0, 1, 0), -1e-3), r"state\['gains.direct'\]\[0, 1, 0\]=-0.001.*: must be in \[0, "),
    (put("gains.irs_user", (0, 1, 0), -1.0), r"state\['gains.irs_user'\]\[0, 1, 0\]=-1.0: must be in \[0, "),
    (put("own_user", (0, 0, 0), 0.5), r"state\['own_user'\]\[0, 0, 0\]=0.5: must be 1 where"),
    (replace("own_user", lambda x: 1 - x, "turned"), r"state\['own_user'\]\[0, 0, 0\]=.*: must be 1 where"),
    (stream(lambda s: s.pop("mobility"), "cause"), "streams state must hold layout, mobility"),
    (stream(lambda s: s.update(colour=[]), "colour"), "streams state must hold layout, mobility"),
    (stream(lambda s: s["mobility"].append({}), "rows"), "streams state must hold layout, mobility"),
    (stream(lambda s: s["mobility"][0].pop("words"), "words"), r"streams\['mobility'\]\[0\]=.*: must be"),
    (stream(lambda s: s["mobility"][0].update(words=-1), "minus"), r"streams\['mobility'\]\[0\]\['words'\]=-1"),
    (stream(lambda s: s["mobility"][0].update(words=2**64), "big"), r"\['words'\]=18446744073709551616: must be"),
    (stream(lambda s: s["mobility"][0].update(words=1.5), "half"), r"\['words'\]=1.5: must be an integer"),
    (stream(lambda s: s["association"][0].update(key=[1]), "key"), r"streams\['association'\]\[0\]\['key'\]=\[1\]"),
    (stream(lambda s: s["association"][0].update(key=[1, "2"]), "str"), r"\['association'\]\[0\]\['key'\]='2'"),
    (lambda saved: saved.update(streams=[1]), "streams state must hold layout"),
    (lambda saved: saved.update(streams=None), "streams state must hold layout"),
]


# each in one of the two environments, in turns: both hand their states to the same function
@pytest.mark.parametrize(
    ("kind", "damage", "message"), [(("single", "numpy")[i % 2], *damage) for i, damage in enumerate(DAMAGES)]
)
def test_what_is_damaged_is_refused_and_changes_nothing(kind: str, damage: Any, message: str) -> None:
    env, twin = begin(make(kind)), begin(make(kind))
    saved = env.get_state()
    damage(saved)
    with pytest.raises(ValueError, match=message):
        env.set_state(saved)
    go_on_alike(env, twin, steps=2)
    same(env.get_state(), twin.get_state())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            replace("motion.trace", lambda x: x[:, :7], "short"),
            r"state\['motion.trace'\].*: must be an array of float64, shape",
        ),
        (put("motion.trace", (0, 3, 1, 0), 81.0), r"state\['motion.trace'\]\[0, 3, 1, 0\]=81.0: must be inside"),
        (put("motion.trace", (0, 3, 1, 0), np.nan), r"state\['motion.trace'\]\[0, 3, 1, 0\]=nan: must be finite"),
        (put("motion.slot", 0, 2), r"state\['motion.slot'\]\[0\]=2: must be as state\['slot'\]"),
    ],
)
def test_a_damaged_trace_is_refused(damage: Any, message: str) -> None:
    env, twin = begin(make("numpy", mobility="trace")), begin(make("numpy", mobility="trace"))
    saved = env.get_state()
    damage(saved)
    with pytest.raises(ValueError, match=message):
        env.set_state(saved)
    go_on_alike(env, twin)


@pytest.mark.parametrize("nothing", [None, [], "state", 3])
def test_other_things_are_no_states(nothing: Any) -> None:
    with pytest.raises(ValueError, match=r"state=.*: must be a dict as get_state returned it"):
        make("single").set_state(nothing)
    with pytest.raises(ValueError, match="state of scenario None"):
        make("single").set_state({})


def test_sizes_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match="state of 3 environments: must be of 1"):
        make("single").set_state(begin(make("numpy")).get_state())


# --- pickles and copies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("kind", ["single", *BACKENDS])
def test_a_copy_goes_on_and_holds_together(kind: str, clone: Callable[[Any], Any]) -> None:
    env = begin(make(kind, mobility="trace"))
    twin = clone(env)
    for name in ("action_codec", "observation_codec", "state_encoder"):
        assert getattr(twin, name) is getattr(twin._core, name)
    go_on_alike(env, twin)
    twin = clone(env)
    play(twin, 5)  # moves the copy alone
    go_on_alike(env, clone(env))


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("kind", ["single", *BACKENDS])
def test_what_is_the_same_in_all_rows_is_copied_in_its_order(kind: str, clone: Callable[[Any], Any]) -> None:
    """With one user and one IRS a copy of frozen fading had its rows as the innermost axis, and observing failed."""
    frozen = {"fading": "frozen", "bs_irs_fading": "frozen", "layout": "frozen"}
    env = begin(make(kind, num_users=1, num_irs=1, mobility="static", **frozen))
    go_on_alike(env, clone(env))


def test_kernels_travel_in_a_pickle_too() -> None:
    pytest.importorskip("numba")
    env = begin(make("numpy", fast=None))
    go_on_alike(env, pickle.loads(pickle.dumps(env)))


def test_codecs_follow_the_core_when_it_changes() -> None:
    env = make("single")
    env.max_cycles = 4
    assert env.action_codec is env._core.action_codec
    assert env.observation_codec is env._core.observation_codec


def test_a_pickle_made_with_kernels_loads_where_numba_is_missing(tmp_path: Any) -> None:
    pytest.importorskip("numba")
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("raise ImportError('no numba here')", encoding="utf-8")
    for kind in ("single", "numpy"):
        env = begin(make(kind, fast=None))
        (tmp_path / kind).write_bytes(pickle.dumps(env))
        code = (
            "import pickle, sys, warnings; warnings.simplefilter('ignore'); "
            f"env = pickle.load(open({str(tmp_path / kind)!r}, 'rb')); "
            "print(env._core.fast, env.view().slot.tolist()); "
            "import numpy as np; n = env.action_codec.size; zero = np.zeros(n); "
            "env.step({a: zero for a in env.agents} if hasattr(env, 'possible_agents') else np.zeros((3, 2, n))); "
            "print(env.view().slot.tolist())"
        )
        paths = os.pathsep.join([str(tmp_path), *sys.path])
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
        )
        rows = env.view().slot.tolist()
        assert done.stdout.split("\n")[:2] == [f"False {rows}", str([slot + 1 for slot in rows])], done.stderr


@pytest.mark.parametrize("kind", ["single", "numpy"])
def test_a_restored_environment_does_not_draw_the_last_slot_of_another_episode(kind: str) -> None:
    pytest.importorskip("matplotlib")
    saved = begin(make(kind)).get_state()
    used, fresh = begin(make(kind, render_mode="rgb_array"), steps=5), make(kind, render_mode="rgb_array")
    for env in (used, fresh):
        env.set_state(saved)
    same(used.render(), fresh.render())
