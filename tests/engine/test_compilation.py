"""Where kernels cannot be compiled or kept, the environment works all the same; where they can, once is enough."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import combinations
import numpy as np
import pytest

from irs_marl_env import make_env, make_vec_env

pytest.importorskip("numba")
from irs_marl_env.engine import kernels

SMALLEST = (
    "import numpy as np\n"
    "from irs_marl_env.engine import kernels\n"
    "print(kernels.finite(np.zeros((1, 1, 1), np.float32)))\n"
)
EPISODE = (
    "from irs_marl_env import make_env\n"
    "env = make_env('mdlbi-small-v0')\n"
    "env.reset(seed=0)\n"
    "env.step({a: env.action_space(a).sample() for a in env.agents})\n"
    "print(env._core.fast)\n"
)


def run(script: str, *flags: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A script in a process of its own, which must end well."""
    result = subprocess.run(
        [sys.executable, *flags, "-c", script], env={**os.environ, **env}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result


def lines_about(word: str, result: subprocess.CompletedProcess[str]) -> int:
    return sum(word in line for line in result.stderr.splitlines())


@pytest.fixture
def broken_numba(tmp_path: Path) -> dict[str, str]:
    """A numba that is installed and refuses to be imported."""
    package = tmp_path / "broken" / "numba"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "raise ImportError('Numba needs NumPy 2.3 or less. Got NumPy 9.9.')\n", encoding="utf-8", newline="\n"
    )
    return {"PYTHONPATH": os.pathsep.join([str(package.parent), *filter(None, sys.path)])}


# --- no kernels -----------------------------------------------------------------------------------------------------


def test_a_numba_that_cannot_be_imported_is_worth_one_warning(broken_numba: dict[str, str]) -> None:
    result = run(2 * EPISODE, "-W", "always::UserWarning", **broken_numba)
    assert result.stdout.split() == ["False", "False"]
    assert lines_about("Got NumPy 9.9", result) == 1
    script = (
        "from irs_marl_env import make_env\n"
        "assert not make_env('mdlbi-small-v0', fast=False)._core.fast\n"  # numba is not asked for, so nothing is said
        "try: make_env('mdlbi-small-v0', fast=True)\n"
        "except ImportError as error: print(error)\n"
    )
    assert "Got NumPy 9.9" in run(script, **broken_numba).stdout


def test_what_an_uninstalled_numba_left_is_no_numba(tmp_path: Path) -> None:
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("", encoding="utf-8")
    result = run(EPISODE, PYTHONPATH=os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    assert result.stdout.split() == ["False"]
    assert lines_about("numba is installed but cannot be imported", result) == 1


def test_without_a_compiler_steps_are_plain() -> None:
    result = run(EPISODE, NUMBA_DISABLE_JIT="1")
    assert result.stdout.strip() == "False"
    assert result.stderr == ""
    script = "from irs_marl_env import make_env\ntry: make_env(fast=True)\nexcept ImportError as error: print(error)"
    assert "NUMBA_DISABLE_JIT" in run(script, NUMBA_DISABLE_JIT="1").stdout


@pytest.mark.parametrize("fast", ["yes", 1, 0.0])
def test_fast_is_a_flag(fast: Any) -> None:
    with pytest.raises(ValueError, match=r"fast=.*: must be True, False or None"):
        make_vec_env("mdlbi-small-v0", fast=fast)


# --- nowhere to keep them -------------------------------------------------------------------------------------------


def test_no_folder_for_the_machine_code_is_worth_one_line() -> None:
    result = run("import numba.core.caching as c\nc.CacheImpl._locator_classes = []\n" + SMALLEST)
    assert result.stdout.startswith("True")
    assert lines_about("NUMBA_CACHE_DIR", result) == 1


def test_a_full_disk_is_worth_one_line(tmp_path: Path) -> None:
    full = (
        "import numba.core.caching as c\n"
        "def full(*args): raise OSError(28, 'No space left on device')\n"
        "c.IndexDataCacheFile.save = full\n"
    )
    result = run(full + SMALLEST, NUMBA_CACHE_DIR=str(tmp_path))
    assert result.stdout.startswith("True")
    assert lines_about("No space left", result) == 1


@pytest.mark.parametrize("content", [b"", b"nonsense"], ids=["empty", "no pickle"])
@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc"])
def test_damaged_machine_code_is_compiled_again(kind: str, content: bytes, tmp_path: Path) -> None:
    whole = run(SMALLEST, NUMBA_CACHE_DIR=str(tmp_path))
    damaged = list(tmp_path.rglob(kind))
    assert damaged
    for path in damaged:
        path.write_bytes(content)
    again = run(SMALLEST, NUMBA_CACHE_DIR=str(tmp_path))
    assert again.stdout == whole.stdout
    assert lines_about("cannot be read", again) == 1
    assert run(SMALLEST, NUMBA_CACHE_DIR=str(tmp_path)).stderr == ""


# --- once is enough -------------------------------------------------------------------------------------------------


def test_whoever_compiles_says_so_once_and_two_may_do_so_together(tmp_path: Path) -> None:
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SMALLEST]
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    found = [process.communicate() for process in both]
    assert all(b"True" in out for out, _ in found)
    said = [err.count(b"compiling kernels") for _, err in found]
    assert max(said) == 1, found  # who comes late finds some or all kernels on the disk
    third = run(SMALLEST, NUMBA_CACHE_DIR=str(tmp_path))
    assert third.stdout.encode() == found[0][0]
    assert third.stderr == ""  # loaded
    other_sources = "from irs_marl_env.engine import compilation\ncompilation._sources = lambda: 'edited'\n"
    assert lines_about("compiling", run(other_sources + SMALLEST, NUMBA_CACHE_DIR=str(tmp_path))) == 1


class OddMobility:
    """Users who stand still, in arrays that a kernel would be compiled anew for."""

    def start(self, constants: Any, streams: Any, position: Any) -> dict[str, Any]:
        users = constants.scenario.num_users
        return {"position": np.broadcast_to(np.full((users, 2), 10.0), (streams.num_envs, users, 2))}

    def advance(self, constants: Any, motion: dict[str, Any], streams: Any) -> dict[str, Any]:
        return {"position": np.asfortranarray(motion["position"])}


def unusual(action: np.ndarray) -> list[Any]:
    """The same action in arrays of other kinds."""
    locked, strided = action.copy(), np.zeros((*action.shape, 2), np.float32)
    locked.flags.writeable = False
    strided[..., 0] = action
    unaligned = np.zeros(action.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(action.shape)
    unaligned[...] = action
    kinds = [locked, strided[..., 0], unaligned, np.asfortranarray(action), action.astype(">f4"), action.tolist()]
    return [*kinds, action.astype(np.float64), np.ma.array(action), np.broadcast_to(action[:1], action.shape)]


def test_a_kernel_is_compiled_for_one_kind_of_arrays() -> None:
    """Whatever the options, and whatever arrays come from outside."""
    rng = np.random.default_rng(0)
    scenarios = [combinations.scenario(choice, horizon=3) for choice in combinations.pairwise()]
    own = [{"mobility": OddMobility(), "action": action} for action in ("raw", "structured")]
    for given, options in [*((s, {}) for s in scenarios), *(("mdlbi-small-v0", o) for o in own)]:
        for num_envs in (1, 3):
            env = make_vec_env(given, num_envs, stagger=num_envs > 1, fast=True, **options)
            env.reset(seed=0)
            if env.scenario.mobility != "trace":
                positions = np.full((env.scenario.num_users, 2), 10.0)
                positions.flags.writeable = False
                env.reset(options={"positions": positions})
            action = rng.uniform(-1, 1, (num_envs, env.scenario.num_bs, env.action_size)).astype(np.float32)
            first = env.step(action)[1]
            env.reset(seed=0)
            for same in unusual(action) if given is scenarios[0] else [action] * 4:
                env.step(same)
            assert np.isfinite(first).all()
            if options.get("action") == "structured":  # a kernel that no step needs with these options
                env.view().set_rates(np.ones((1, env.scenario.num_irs), bool))
    numbers = {name: len(getattr(kernels, name).signatures) for name in kernels.__all__}
    assert numbers == dict.fromkeys(kernels.__all__, 1)


def test_other_kinds_of_arrays_are_the_same_action() -> None:
    env = make_vec_env("mdlbi-small-v0", 3, fast=True)
    action = np.random.default_rng(0).uniform(-1, 1, (3, 2, env.action_size)).astype(np.float32)
    env.reset(seed=0)
    rewards = env.step(action)[1]
    for same in unusual(action)[:-1]:
        env.reset(seed=0)
        np.testing.assert_array_equal(env.step(same)[1], rewards)


# --- pickles travel -------------------------------------------------------------------------------------------------

GO_ON = (
    "import pickle, sys, numpy as np\n"
    "for path in sys.argv[1:]:\n"
    "    env = pickle.loads(open(path, 'rb').read())\n"
    "    assert not env._core.fast\n"
    "    single = hasattr(env, 'possible_agents')\n"
    "    act = {a: np.full(66, .3, 'f4') for a in env.agents} if single else np.full((3, 2, 66), .3, 'f4')\n"
    "    for _ in range(3):\n"
    "        rewards = env.step(act)[1]\n"
    "    np.save(path + '.npy', np.array(list(rewards.values()) if single else rewards))\n"
)


def test_a_pickle_goes_on_where_there_are_no_kernels(tmp_path: Path, broken_numba: dict[str, str]) -> None:
    single, batch = make_env("mdlbi-small-v0"), make_vec_env("mdlbi-small-v0", 3)
    paths = []
    for name, env in (("single", single), ("batch", batch)):
        env.reset(seed=4)
        act: Any = np.full((3, 2, 66), 0.3, np.float32)
        if env is single:
            act = dict.fromkeys(single.agents, act[0, 0])
        env.step(act)
        paths.append(tmp_path / name)
        paths[-1].write_bytes(pickle.dumps(env))
        for _ in range(3):
            rewards = env.step(act)[1]
        expected = np.array(list(rewards.values()) if env is single else rewards)
        np.save(tmp_path / f"{name}.expected.npy", expected)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GO_ON, *map(str, paths)], env={**os.environ, **broken_numba}, check=True
    )
    for path in paths:
        found, expected = np.load(f"{path}.npy"), np.load(f"{path}.expected.npy")
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_pickle_goes_on_bit_by_bit_where_there_are() -> None:
    env = make_vec_env("mdlbi-small-v0", 3)
    env.reset(seed=4)
    action = np.full((3, 2, 66), 0.3, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copied = pickle.loads(pickle.dumps(env))
    assert copied._core.fast
    for _ in range(3):
        np.testing.assert_array_equal(env.step(action)[0], copied.step(action)[0])
