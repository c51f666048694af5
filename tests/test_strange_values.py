"""Values that are almost what is asked for: other kinds of numbers, texts, tensors, devices, and names that collide."""

from __future__ import annotations

import enum
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irs_marl_env import evaluate, make_env, make_vec_env
from irs_marl_env.array_files import load_array
from irs_marl_env.cli import main
from irs_marl_env.json_text import parse
from irs_marl_env.result import Result
from irs_marl_env.scenario import Scenario, ScenarioError, get_scenario
from irs_marl_env.scenario_text import scenario_named
from irs_marl_env.solvers import mrt

SMALL: dict[str, Any] = {"scenario": "mdlbi-small-v0", "fast": False, "horizon": 4}


class Unfriendly(str):
    """A text that cannot be compared, hashed or shown."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


class Words(str, enum.Enum):
    RAW = "raw"
    SMALL = "mdlbi-small-v0"
    RANDOM = "random"


# --- numbers and texts ----------------------------------------------------------------------------------------------


def test_a_negative_zero_is_zero() -> None:
    minus, plus = (Scenario(blockage_db=zero, bid_cost=zero) for zero in (-0.0, 0.0))
    assert minus == plus
    assert minus.digest == plus.digest
    walks = [np.full((801, 10, 2), zero) for zero in (-0.0, 0.0)]
    assert len({Scenario(mobility="trace", trace=walk).digest for walk in walks}) == 1


@pytest.mark.parametrize("value", [Unfriendly("raw"), Words.RAW, np.str_("raw")])
def test_a_kind_of_text_is_kept_as_a_plain_one(value: Any) -> None:
    scenario = Scenario(action=value)
    assert type(scenario.action) is str
    assert scenario == Scenario(action="raw")
    names = {"policy": Words.RANDOM, "scenario": Unfriendly("mdlbi-small-v0"), "interface": np.str_("arrays")}
    assert evaluate(**names, episodes=1, slots=1).policy == "random"
    assert get_scenario(Words.SMALL) == get_scenario("mdlbi-small-v0")


def test_a_bool_of_torch_is_no_number() -> None:
    torch = pytest.importorskip("torch")
    for field in ("num_users", "tx_power_dbm", "phase_bits"):
        with pytest.raises(ScenarioError, match=f"{field}=.*must be"):
            Scenario(**{field: torch.tensor(True)})


@pytest.mark.parametrize("seed", [np.uint8(250), np.int64(2**63 - 1), np.array(3)])
def test_integers_of_numpy_count_on_and_are_written(seed: Any) -> None:
    result = evaluate("random", "mdlbi-small-v0", np.uint8(20), seed, np.int64(1), np.int64(2), np.int8(1))
    assert Result.from_json(result.to_json()).seed == int(seed)
    assert result.first == 1
    last = evaluate("random", "mdlbi-small-v0", 1, int(seed) + 19, 1, 2, 1)
    assert result.rates[-1] == pytest.approx(last.rates[0])


@pytest.mark.parametrize("name", [3, b"x", "\ud800", ["x"]])
def test_a_name_that_cannot_be_written_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match=r"name=.*: must be a text"):
        evaluate("random", "mdlbi-small-v0", 1, slots=1, name=name)


def test_an_integer_that_python_does_not_write_down_is_no_seed() -> None:
    for refused in (lambda: Scenario(frozen_seed=10**5000), lambda: evaluate("random", seed=10**5000)):
        with pytest.raises(ValueError, match=r"seed=<an integer of about 5001 digits>: must be .* \[0, 2\^10000\)"):
            refused()


@pytest.mark.parametrize("name", ["autoreset", "stagger", "read_only"])
@pytest.mark.parametrize("value", [1, 0.5, "no", None, np.ones(2)])
def test_a_flag_is_true_or_false(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}=.*: must be True or False"):
        make_vec_env(**SMALL, **{name: value})


@pytest.mark.parametrize("value", [np.ones(2), Unfriendly("gif"), 10**5000, "gif"], ids=range(4))
def test_modes_and_backends_are_refused_in_words(value: Any) -> None:
    for make, name in ((make_env, "render_mode"), (make_vec_env, "render_mode"), (make_vec_env, "backend")):
        with pytest.raises(ValueError, match=f"{name}=.*: must be one of"):
            make(**SMALL, **{name: value})


# --- tensors and devices --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["bogus", "", "meta", "cuda:99", "cpu:x", -1, 1.5])
def test_a_device_that_this_machine_does_not_have(device: Any) -> None:
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"device=.*: must be None or a torch device of this machine"):
        make_vec_env(**SMALL, backend="torch", device=device)


@pytest.mark.parametrize("kind", ["gradients", "bfloat16", "sparse", "meta"])
def test_tensors_that_numpy_cannot_take_are_refused_by_name(kind: str) -> None:
    torch = pytest.importorskip("torch")
    kinds = {
        "gradients": lambda x: x.requires_grad_(),
        "bfloat16": lambda x: x.bfloat16(),
        "sparse": lambda x: x.to_sparse(),
        "meta": lambda x: x.to("meta"),
    }
    vec, env = make_vec_env(**SMALL), make_env(**SMALL)
    vec.reset(seed=0), env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action is a torch.* tensor of shape .*must be an array of numbers"):
        vec.step(kinds[kind](torch.ones(1, 2, vec.action_size)))
    action = kinds[kind](torch.ones(vec.action_size))
    with pytest.raises(
        ValueError, match=r"actions\['bs_0'\] is a torch.* tensor of shape .*must be an array of numbers"
    ):
        env.step({"bs_0": action, "bs_1": action})
    if kind in ("sparse", "meta"):
        on_torch = make_vec_env(**SMALL, backend="torch")
        on_torch.reset(seed=0)
        with pytest.raises(ValueError, match="must be a dense one that holds numbers"):
            on_torch.step(kinds[kind](torch.ones(1, 2, vec.action_size)))


def test_arrays_of_any_layout_are_actions_of_the_torch_backend() -> None:
    pytest.importorskip("torch")
    env, other = (make_vec_env(**SMALL, num_envs=2, backend="torch") for _ in range(2))
    action = np.random.default_rng(0).uniform(-1, 1, (2, 2, env.action_size)).astype(np.float32)
    read_only = action.copy()
    read_only.flags.writeable = False
    for layout in (action[::-1, ::-1, ::-1], action.astype(">f4"), read_only):
        env.reset(seed=0), other.reset(seed=0)
        assert (env.step(layout)[1] == other.step(np.array(layout, np.float32))[1]).all()


# --- saved states ---------------------------------------------------------------------------------------------------


class Shaped:
    """Looks like an array, and is none."""

    shape, dtype = 2, "float32"


@pytest.mark.parametrize("value", [np.int64(3), np.True_, Shaped()])
@pytest.mark.parametrize("name", ["slot", "cell", "motion.position", "channels.H"])
def test_leaves_that_are_no_arrays_are_refused_by_name(name: str, value: Any) -> None:
    env = make_vec_env(**SMALL)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=rf"state\['{name}'\]=.*: must be an array"):
        env.set_state({**env.get_state(), name: value})
    with pytest.raises(ValueError, match=r"options\['reset_mask'\]=.*: must be a bool array"):
        env.reset(options={"reset_mask": value})


@pytest.mark.parametrize("digest", [np.array(["a", "b"]), Unfriendly("x"), None])
def test_a_digest_that_is_none(digest: Any) -> None:
    env = make_vec_env(**SMALL)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"state of scenario .*: must be of this one"):
        env.set_state({**env.get_state(), "scenario": digest})


@pytest.mark.parametrize("mobility", ["group", "random_waypoint", "gauss_markov"])
def test_finite_values_that_no_episode_has_are_refused(mobility: str) -> None:
    fading = {"fading": "ar1", "bs_irs_fading": "ar1", "csi_error_variance": 0.1}
    env = make_vec_env(**SMALL, mobility=mobility, **fading)
    env.reset(seed=0)
    good, checked = env.get_state(), 0
    for name, leaf in good.items():
        if getattr(leaf, "dtype", None) in (np.float32, np.float64, np.complex64):
            bad = leaf.copy()
            bad.flat[0] = 1e30
            with pytest.raises(ValueError, match=rf"state\['{name}'\]\[0, 0.*must be"):
                env.set_state({**good, name: bad})
            checked += 1
    assert checked >= 14
    env.set_state(good)


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_key_twice_among_many_is_found_at_once() -> None:
    text = "{" + ",".join(f'"{i}":1' for i in range(60_000)) + ',"z":1,"z":2}'
    begin = time.perf_counter()
    with pytest.raises(ValueError, match="the key 'z' stands twice"):
        parse(text)
    assert time.perf_counter() - begin < 2.0  # 20 s where every name was compared with every other


def test_small_numbers_are_counted_as_what_they_become(tmp_path: Path) -> None:
    shape = (2**30 // 2, 1)  # half a GiB in the file, 4 GiB as float64
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with (tmp_path / "small.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ValueError, match="must be at most 1 GiB as float64"):
        load_array(str(tmp_path / "small.npy"), "positions")


@pytest.mark.parametrize("name", ["mean", "standard_error", "per_bs"])
@pytest.mark.parametrize("stored", [10**400, [1, [2]], [[1], [1, 2]], {}, "1", True])
def test_a_summary_that_is_none(name: str, stored: Any) -> None:
    values = {"policy": "p", "scenario": {}, "seed": 0, "rates": [[[1.0, 2.0]], [[2.0, 3.0]]], name: stored}
    with pytest.raises(ValueError, match=f"{name}=.*: must be that of the rates"):
        Result.from_json(json.dumps(values))


def test_a_rate_that_overflows_a_sum_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rates\[0, 0, 0\]=1e\+308: must be a finite number in"):
        Result.from_dict({"policy": "p", "scenario": {}, "seed": 0, "rates": [[[1e308, 1e308]]]})


def test_a_difference_is_between_results() -> None:
    result = evaluate("random", "mdlbi-small-v0", 1, slots=1)
    with pytest.raises(TypeError, match="other=None: must be a Result"):
        result.difference(None)  # type: ignore[arg-type]


# --- the command line -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["text", "trusted", "scenario", "self"])
def test_a_field_may_have_any_name_and_is_refused_as_unknown(name: str, capsys: Any) -> None:
    assert main(["scenarios", "--scenario", "mdlbi-small-v0", "--set", f"{name}=1"]) == 2
    assert f"'{name}' is not a scenario field" in capsys.readouterr().err
    with pytest.raises(ScenarioError, match="is not a scenario field"):
        scenario_named("mdlbi-small-v0", **{name: 1})


def test_a_part_whose_module_cannot_be_imported(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    (tmp_path / "raises_at_import.py").write_text("1 / 0", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for reference in ("raises_at_import:x", ".x:y", ":y"):
        command = ["scenarios", "--scenario", "mdlbi-small-v0", "--trusted", "--set", f"contention={reference}"]
        assert main(command) == 2
        assert f"contention: '{reference}' cannot be imported" in capsys.readouterr().err


def test_policies_that_cannot_be_made_or_called(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    text = "class Raises:\n    def __init__(self):\n        raise RuntimeError('no')\n"
    (tmp_path / "policies_of_mine.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for policy, message in (
        ("policies_of_mine:Raises", "cannot be made without arguments (RuntimeError: no)"),
        ("builtins:KeyError", "must be callable, or have bind(env, seed)"),
    ):
        assert main(["evaluate", "--scenario", "mdlbi-small-v0", "--policy", policy]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_names_the_file(capsys: Any) -> None:
    small = ["--scenario", "mdlbi-small-v0", "--set", "horizon=2", "--episodes", "1"]
    assert main(["evaluate", "--policy", "random", *small, "--out", "/dev/full"]) == 2
    assert "/dev/full" in capsys.readouterr().err


def test_names_that_are_none_of_files(capsys: Any) -> None:
    for name in ("\0.json", "\ud800.json"):
        assert main(["scenarios", "--scenario", name]) == 2
        assert "no name of a file" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--fps", "--interface", "--episodes"])
def test_long_texts_are_not_repeated(flag: str, capsys: Any) -> None:
    command = ["render", "--out", "x.gif"] if flag == "--fps" else ["evaluate", "--policy", "random"]
    with pytest.raises(SystemExit, match="2"):
        main([*command, flag, "x" * 5000])
    assert len(capsys.readouterr().err.split("error:")[1]) < 400


def test_a_gif_holds_no_frame_for_a_day(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["render", "--out", "x.gif", "--fps", "0.00001"]) == 2
    assert "--fps 1e-05: must be in [0.01, 50]" in capsys.readouterr().err


# --- solvers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [2.0, [1.0, 1.0], "x", np.float32(1.0), np.array(["a", "b"]), np.array(1.0)])
def test_weights_of_users_are_an_array(weights: Any) -> None:
    with pytest.raises(ValueError, match=r"weights=.*: must be None or an array of shape \(..., K\) with K=2"):
        mrt(np.ones((2, 3), np.complex64), 1.0, 1.0, weights)
