"""Traces in files: what is read, and that everything else is one error which names the file."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Scenario, make_env
from irs_marl_env.array_files import LARGEST_ARRAY, load_array, path_of
from irs_marl_env.cli import main

SLOTS = 3
POSITIONS = np.random.default_rng(0).uniform(0, 40, (SLOTS + 1, 2, 2))


def scenario(trace: Any = None) -> Scenario:
    return Scenario(num_users=2, num_irs=1, num_elements=2, horizon=SLOTS, mobility="trace", trace=trace)


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), **options)
    return file.getvalue()


def npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name + ".npy", content)
    return file.getvalue()


def header(shape: str, descr: str = "'<f8'") -> bytes:
    """An .npy header that claims something, with nothing behind it."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


# --- what is read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("suffix", ["npy", "npz", "NPZ", "dat"])
def test_a_trace_is_read_whatever_its_name_and_path_are(tmp_path: Path, kind: Any, suffix: str) -> None:
    path = tmp_path / f"walk.{suffix}"
    path.write_bytes(npy(POSITIONS) if suffix == "npy" else npz(positions=npy(POSITIONS)))
    for given in ({"trace": kind(path)}, {}):
        env = make_env(scenario(**given), fast=False)
        env.reset(seed=0, options=None if given else {"trace": kind(path)})
        np.testing.assert_allclose(env.view().position[0], POSITIONS[0])


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i8", ">u2", "g"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_type_of_real_numbers_is_read(tmp_path: Path, dtype: str, order: Any) -> None:
    path = tmp_path / "t.npy"
    array = np.asarray(POSITIONS.round(), dtype=dtype, order=order)
    path.write_bytes(npy(array))
    np.testing.assert_array_equal(load_array(str(path), "positions"), array)


def test_a_path_travels_in_json_with_forward_slashes_and_as_an_equal_scenario() -> None:
    class Elsewhere(os.PathLike):
        def __fspath__(self) -> str:
            return "some/walk.npy"

    given = [scenario(trace) for trace in (Path("some") / "walk.npy", Elsewhere(), "some/walk.npy")]
    assert {s.trace for s in given} == {"some/walk.npy"}
    assert len({s.to_json() for s in given}) == 1
    assert Scenario.from_json(given[0].to_json()) == given[2]
    assert path_of(b"bytes") is None


def test_the_repr_of_a_scenario_with_a_trace_is_short() -> None:
    assert "trace=<4 slots of 2 users>" in repr(scenario(POSITIONS))
    many = Scenario(num_irs=500, num_elements=(3,) * 500)
    assert len(repr(many)) < 1700


def test_more_slots_than_a_trace_file_has_are_refused_at_the_assignment(tmp_path: Path) -> None:
    path = tmp_path / "t.npy"
    path.write_bytes(npy(POSITIONS))
    env = make_env(scenario(path), fast=False)
    with pytest.raises(ValueError, match=r"t\.npy.*shape \(4, 2, 2\).*>=5"):
        env.max_cycles = SLOTS + 1
    assert env.max_cycles == SLOTS


# --- what is refused -----------------------------------------------------------------------------------------------


class Harm:
    """Whoever unpickles this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


GOOD = npz(positions=npy(POSITIONS))
DAMAGED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "holds nothing"),
    "text": (b"x,y\n1,2\n", "neither an .npz nor an .npy"),
    "pickle": (pickle.dumps(POSITIONS), "neither an .npz nor an .npy"),
    "zip": (npz(), "must hold an array 'positions'"),
    "other name": (npz(position=npy(POSITIONS)), r"holds \['position'\]"),
    "begin": (b"\x93NUMPY", "header"),
    "version": (b"\x93NUMPY\x09\x00" + npy(POSITIONS)[8:], "version"),
    "nonsense header": (b"\x93NUMPY\x01\x00\x10\x00" + b"(((((((((((((((\n", "header"),
    "deep header": (header("(" * 3000 + ")" * 3000), "header"),
    "no text in zip": (npz(positions=b""), "header"),
    "truncated npz": (GOOD[: len(GOOD) // 2], "damaged or truncated"),
    "truncated npy": (npy(POSITIONS)[:-1], "truncated"),
    "too long": (npy(POSITIONS) + b"1", "more bytes"),
    "bomb": (header(f"({10**12}, 2, 2)"), "at most 1 GiB"),
    "bomb in zip": (npz(positions=header(f"({10**12}, 2, 2)")), "at most 1 GiB"),
    "huge": (header(f"({10**40}, 2, 2)"), "at most 1 GiB"),
    "claims": (header("(1000000, 2, 2)"), "truncated"),
    "negative": (header("(-4, 2, 2)"), "at most|truncated"),
    "complex": (npy(POSITIONS + 0j), "complex128"),
    "bool": (npy(POSITIONS > 1), "an array of bool"),
    "datetime": (npy(np.zeros((4, 2, 2), "datetime64[s]")), "datetime64"),
    "strings": (npy(np.full((4, 2, 2), "1")), "must be real numbers"),
    "structured": (npy(np.zeros((4, 2), [("x", float), ("y", float)])), "must be real numbers"),
    "objects": (npy(np.full((4, 2, 2), None), allow_pickle=True), "an array of object"),
    "flat": (npy(POSITIONS.reshape(-1)), r"shape \(16,\)"),
    "no axes": (npy(3.0), r"shape \(\)"),
    "users": (npy(POSITIONS[:, :1]), r"shape \(4, 1, 2\)"),
    "short": (npy(POSITIONS[:2]), r"shape \(2, 2, 2\)"),
    "nan": (npy(np.where(POSITIONS > 20, np.nan, POSITIONS)), r"nan"),
    "inf": (npy(np.full((4, 2, 2), np.inf)), r"inf"),
    "far": (npy(np.full((4, 2, 2), 1e300)), r"1e\+300"),
    "long double": (npy(np.full((4, 2, 2), np.finfo(np.longdouble).max)), r"inf|e\+"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_trace_is_one_error_that_names_the_file(tmp_path: Path, kind: str, capsys: Any) -> None:
    path = tmp_path / "walk.npz"
    content, message = DAMAGED[kind]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        make_env(scenario(path), fast=False)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 600
    with pytest.raises(ValueError, match=r"options\['trace'\]"):
        make_env(scenario(), fast=False).reset(options={"trace": path})
    fields = ("num_users=2", "num_irs=1", "num_elements=2", f"horizon={SLOTS}", "mobility=trace", f"trace={path}")
    options = [text for field in fields for text in ("--set", field)]
    assert main(["evaluate", "--policy", "random", *options]) == 2
    assert str(path) in capsys.readouterr().err


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("positions.npy", npy(POSITIONS))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("positions.npy", npy(POSITIONS))
    with pytest.raises(ValueError, match="holds 2 arrays 'positions'"):
        make_env(scenario(path))


def test_no_pickle_is_ever_loaded(tmp_path: Path) -> None:
    harmed = tmp_path / "harmed"
    array = np.full((4, 2, 2), None)
    array[0, 0, 0] = Harm(harmed)
    for content in (npy(array, allow_pickle=True), npz(positions=npy(array, allow_pickle=True)), pickle.dumps(array)):
        (tmp_path / "t.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"t\.npz"):
            make_env(scenario(tmp_path / "t.npz"))
    assert not harmed.exists()
    pickle.loads(pickle.dumps(Harm(harmed)))
    assert harmed.exists()  # it would have shown


def test_a_flipped_bit_is_noticed_by_the_checksum_of_the_archive(tmp_path: Path) -> None:
    path, content = tmp_path / "t.npz", bytearray(GOOD)
    content[len(content) // 3] ^= 16
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"t\.npz"):
        make_env(scenario(path))


@pytest.mark.parametrize("path", ["missing.npz", "", "\0", "\ud800.npz", "x" * 5000, "."])
def test_paths_without_a_file(path: str) -> None:
    with pytest.raises(ValueError, match="trace: ") as caught:
        make_env(scenario(path))
    assert len(str(caught.value)) < 600


def test_a_zip_that_unpacks_to_more_than_the_limit_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    slots = LARGEST_ARRAY // 32 + 1
    path = tmp_path / "t.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("positions.npy", header(f"({slots}, 2, 2)") + bytes(10**6))
    with pytest.raises(ValueError, match="at most 1 GiB"):
        make_env(scenario(path))


@pytest.mark.parametrize(
    "positions",
    [
        POSITIONS + 0j,
        POSITIONS > 1,
        POSITIONS.astype(str),
        POSITIONS.astype("datetime64[s]"),
        [[["1", "2"], ["3", "4"]]] * 4,
        [[[10**400, 1], [1, 1]]] * 4,
        [[[1.0, 2.0], [3.0]]] * 4,
        {"positions": 3},
        b"bytes",
        object(),
        np.full((4, 2, 2), None),
    ],
)
def test_arrays_of_something_else_than_numbers_are_refused(positions: Any) -> None:
    with pytest.raises(ValueError, match="trace="):
        scenario(positions)
    with pytest.raises(ValueError, match=r"options\['trace'\]="):
        make_env(scenario(), fast=False).reset(options={"trace": positions})
