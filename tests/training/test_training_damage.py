"""Checkpoints that are damaged or another run's: refused in words, and a run goes on from the one before."""

import json
import random
import shutil

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib", "filelock"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from tiny_training import tiny_run  # noqa: E402

from examples.maddpg import advance, train  # noqa: E402
from irs_marl_env import load_policy  # noqa: E402
from irs_marl_env.training import files  # noqa: E402
from irs_marl_env.training import folder as folder_module  # noqa: E402
from irs_marl_env.training.files import Damaged, read_json, read_tensors, write_json, write_tensors  # noqa: E402
from irs_marl_env.training.folder import CHECKPOINT, DAMAGED, PREVIOUS, go_on, keep_checkpoint  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = {"updates": 12, "eval_every": 4, "checkpoint_every": 3, "critic_warmup": 2, "buffer": 40}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint after 6 updates, the buffer being full."""
    path = tmp_path_factory.mktemp("saved") / CHECKPOINT
    run = tiny_run(**SETTINGS)
    for _ in range(6):
        advance(run)
    run.progress.curve.append(run.evaluate())
    advance(run)
    run.save(path)
    return path


def state_of(run):
    """All numbers of a run."""
    parts = [*run.learner.nets.parameters(), *run.learner.targets.parameters(), *run.replay.arrays.values()]
    plain = run.progress, run.learner.updates, run.replay.size, run.replay.next, run.generators["noise"].bit_generator
    return [p.detach().clone() for p in parts], [str(getattr(x, "state", x)) for x in plain], run.env.state().copy()


def assert_same(a, b):
    assert all(torch.equal(x, y) for x, y in zip(a[0], b[0], strict=True))
    assert a[1] == b[1]
    assert (a[2] == b[2]).all()


# --- the file --------------------------------------------------------------------------------------------------------


def test_flipped_bits_are_noticed_wherever_they_are(saved, tmp_path):
    whole, path = saved.read_bytes(), tmp_path / "flipped.safetensors"
    header = 8 + int.from_bytes(whole[:8], "little")
    chance = random.Random(0)
    places = [*range(10), *(chance.randrange(header) for _ in range(150))]
    places += [chance.randrange(header, len(whole)) for _ in range(50)]
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"flipped.safetensors: (damaged|not a checkpoint|a later version)"):
            read_tensors(path)


def test_truncated_and_foreign_files_are_refused_by_name(saved, tmp_path):
    whole, path = saved.read_bytes(), tmp_path / "short.safetensors"
    contents = [whole[: len(whole) * i // 20] for i in range(20)]
    contents += [whole + b"\0", b"\0" * 100, b"\xff" * 8, b"PK\x03\x04", b"{}", "π".encode(), whole[8:]]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(Damaged, match=r"short.safetensors: not a checkpoint or policy of this trainer"):
            read_tensors(path)
        with pytest.raises(Damaged, match=r"short.safetensors: not a checkpoint or policy of this trainer"):
            load_policy(path)


def rewritten(source, target, change):
    """A file with other tensors and metadata, as somebody with the library could write it."""
    with safe_open(source, framework="pt") as file:
        tensors, about = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    change(tensors, about)
    save_file(tensors, target, metadata=about)


def test_a_file_of_a_later_format_is_refused_in_words(saved, tmp_path):
    path = tmp_path / "later.safetensors"
    rewritten(saved, path, lambda tensors, about: about.update(format="3"))
    with pytest.raises(
        ValueError, match=r"later.safetensors: a later version of the trainer wrote it \(format 3"
    ) as no:
        read_tensors(path)
    assert not isinstance(no.value, Damaged)  # no reason to fall back
    for about in ({"format": "x"}, {"format": "1"}, {"format": ""}, {"more": "1"}):
        rewritten(saved, path, lambda tensors, old, about=about: old.update(about))
        with pytest.raises(Damaged, match=r"later.safetensors: not a checkpoint"):
            read_tensors(path)


def test_a_file_without_a_digest_is_one_of_an_earlier_version(saved, tmp_path):
    path = tmp_path / "earlier.safetensors"
    rewritten(saved, path, lambda tensors, about: [about.pop(name) for name in ("format", "sha256")])
    first, second = tiny_run(**SETTINGS), tiny_run(**SETTINGS)
    first.load(saved)
    second.load(path)
    assert_same(state_of(first), state_of(second))


def test_json_of_a_hostile_header_is_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    for text in ("[" * 100_000, "[]", "3", "{", '{"a": 1e999999'):
        save_file({"x": torch.zeros(1)}, path, metadata={"json": text})
        with pytest.raises(Damaged, match=r"c.safetensors: not a checkpoint"):
            read_tensors(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\xfa", b"[" * 100_000, b"null", b'"x"'])
def test_settings_that_are_no_json_object_are_refused_by_name(content, tmp_path):
    (tmp_path / "args.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"args.json: (not JSON|holds a \w+, must be a JSON object)"):
        read_json(tmp_path / "args.json")


@pytest.mark.parametrize("write", [lambda path: write_json(path, {}), lambda path: write_tensors(path, {}, {})])
def test_what_cannot_be_written_is_said_with_its_name_and_leaves_nothing(write, tmp_path, monkeypatch):
    blocked = tmp_path / "folder"
    blocked.mkdir()
    (blocked / "inside").touch()
    with pytest.raises(OSError, match=r"folder: cannot be written"):
        write(blocked)  # a folder stands there
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"x: cannot be written"):
        write(tmp_path / "file" / "x")

    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "x").write_text("before", encoding="utf-8")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=r"x: cannot be written \(No space left on device\)"):
        write(tmp_path / "x")
    assert (tmp_path / "x").read_text(encoding="utf-8") == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder", "x"]


def test_files_are_flushed_where_reading_alone_is_not_enough(tmp_path, monkeypatch):
    """As on Windows, where a descriptor that is open for reading cannot be flushed."""
    fcntl = pytest.importorskip("fcntl", reason="emulates Windows elsewhere")
    real, flushed = files.os.fsync, []

    def windows(descriptor):
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & 3 == files.os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        flushed.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", windows)
    write_json(tmp_path / "a.json", {"a": 1})
    write_tensors(tmp_path / "b", {"x": torch.zeros(2)}, {})
    assert read_json(tmp_path / "a.json") == {"a": 1}
    assert len(flushed) == 2


# --- what is in it ---------------------------------------------------------------------------------------------------


def change(*keys, to):
    """Set an entry of the plain part."""

    def apply(tensors, plain):
        for key in keys[:-1]:
            plain = plain[key]
        plain[keys[-1]] = to(plain[keys[-1]]) if callable(to) else to

    return apply


def tensor(name, to):
    """Replace a tensor; ``None`` takes it away."""

    def apply(tensors, plain):
        value = to(tensors[name]) if name in tensors and callable(to) else to
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value

    return apply


def with_entry(value, place):
    def apply(old):
        new = old.clone()
        new.view(-1)[place] = value
        return new

    return apply


WEIGHT = "nets.actor.heads.bids.weight"
MOMENT, SQUARE, STEP = (f"optimiser.critic.0.{entry}" for entry in ("exp_avg", "exp_avg_sq", "step"))
CASES = {
    "missing": (tensor(WEIGHT, None), f"tensor {WEIGHT} is missing"),
    "missing target": (tensor(f"targets.{WEIGHT[5:]}", None), "tensor targets.actor.* is missing"),
    "extra": (tensor("nets.actor.more", torch.zeros(1)), "tensor nets.actor.more does not belong to this run"),
    "stranger": (tensor("more", torch.zeros(1)), "tensor more does not belong to this run"),
    "shape": (tensor(WEIGHT, lambda x: x[:1]), rf"tensor {WEIGHT} is \(1, .* float32, must be \(2, "),
    "dtype": (tensor(WEIGHT, lambda x: x.double()), f"tensor {WEIGHT} is .*float64, must be .*float32"),
    "nan": (tensor(WEIGHT, with_entry(float("nan"), 0)), f"tensor {WEIGHT} holds values that are not finite"),
    "moment missing": (tensor(MOMENT, None), f"tensor {MOMENT} is missing"),
    "moment inf": (tensor(MOMENT, with_entry(float("inf"), 1)), f"tensor {MOMENT} holds values that are not finite"),
    "square": (tensor(SQUARE, with_entry(-1.0, 0)), f"tensor {SQUARE} holds squares below 0"),
    "step": (tensor(STEP, torch.tensor(99.0)), f"tensor {STEP}=99.0: must be 7 after 7 updates"),
    "replay nan": (tensor("replay.obs", with_entry(float("nan"), 3)), "tensor replay.obs holds values that are not"),
    "replay rows": (tensor("replay.reward", lambda x: x[1:]), "tensor replay.reward is"),
    "replay missing": (tensor("replay.action", None), "tensor replay.action is missing"),
    "env missing": (tensor("env.cell", None), "tensor env.cell is missing"),
    "env dtype": (tensor("env.cell", lambda x: x.float()), "tensor env.cell is"),
    "env nan": (tensor("env.motion.position", with_entry(float("nan"), 0)), "tensor env.motion.position holds"),
    "updates": (change("updates", to=13), r"updates=13: must be an integer in \[0, 12\]"),
    "updates below": (change("updates", to=-1), r"updates=-1: must be an integer in \[0, 12\]"),
    "updates bool": (change("updates", to=True), "updates=True"),
    "updates text": (change("updates", to="7"), "updates='7'"),
    "updates other": (change("updates", to=6), r"must be \d after 6 updates"),
    "replay next": (change("replay", to=[40, 40]), r"replay=\[40, 40\]: must be \[40, "),
    "replay size": (change("replay", to=[10**12, 0]), "replay="),
    "replay kind": (change("replay", to=None), "replay=None"),
    "steps": (change("progress", "steps", to=-4), "progress.steps=-4"),
    "steps odd": (change("progress", "steps", to=41), "progress.steps=41: must be a multiple of num_envs=4"),
    "seconds": (change("progress", "seconds", to=float("nan")), "progress.seconds=nan"),
    "curve": (change("progress", "curve", to={}), "progress.curve is a dict"),
    "point": (change("progress", "curve", to=[1]), r"progress.curve\[0\]=1"),
    "point after": (change("progress", "curve", 0, "update", to=8), r"progress.curve\[0\].update=8"),
    "score": (change("progress", "curve", 0, "score", to=float("inf")), r"progress.curve\[0\].score=inf"),
    "window": (change("progress", "window", to={"a": [1]}), r"progress.window\['a'\]"),
    "progress": (change("progress", to={}), "progress: .* is missing"),
    "generator": (change("generators", to={}), "generators: .* is missing"),
    "generator key": (change("generators", "noise", "state", "key", 0, to=5), "which follows from the seed"),
    "generator kind": (change("generators", "noise", "bit_generator", to="PCG64"), "noise.bit_generator='PCG64'"),
    "counter": (change("generators", "replay", "state", "counter", to=[1]), r"replay.state.counter=\[1\]: must be 4"),
    "counter below": (change("generators", "replay", "state", "counter", 0, to=-1), "replay.state.counter=-1"),
    "buffer position": (
        change("generators", "noise", "buffer_pos", to=9),
        r"noise.buffer_pos=9: must be an integer in",
    ),
    "streams": (change("env", "streams", to={}), "stream"),
    "env key": (change("env", to={}), "env: .* is missing"),
    "args": (change("args", to=[]), "args is a list"),
    "plain": (lambda tensors, plain: plain.pop("progress"), "checkpoint: progress is missing"),
    "plain more": (lambda tensors, plain: plain.update(more=1), "checkpoint: more does not belong there"),
}


@pytest.mark.parametrize("case", CASES)
def test_impossible_contents_are_named_and_change_nothing(case, saved, tmp_path):
    """The digest is right here: somebody wrote it so."""
    apply, message = CASES[case]
    tensors, plain = read_tensors(saved)
    apply(tensors, plain)
    write_tensors(tmp_path / CHECKPOINT, tensors, plain)
    run = tiny_run(**SETTINGS)
    advance(run)
    before = state_of(run)
    with pytest.raises(Damaged, match=rf"{CHECKPOINT}: damaged \(.*{message}"):
        run.load(tmp_path / CHECKPOINT)
    assert_same(before, state_of(run))


# --- whose it is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 2}, r"a checkpoint of another run \(seed=2 here, 1 there\)"),
        ({"algo": "ddpg"}, r"algo='ddpg' here, 'mdlbi' there"),
        ({"width": 8, "tau": 0.5}, r"width=8 here, 16 there; tau=0.5 here, 0.005 there"),
        ({"set": ("horizon=50",)}, r"set=\('horizon=50',\) here, \(\) there"),
        ({"updates": 24}, r"updates=24 here, 12 there"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused_with_both_values(settings, message, saved):
    run = tiny_run(**{**SETTINGS, **settings})
    before = state_of(run)
    with pytest.raises(ValueError, match=rf"{CHECKPOINT}: a checkpoint of another run .*{message[-20:]}") as refused:
        run.load(saved)
    assert not isinstance(refused.value, Damaged)  # no reason to fall back
    assert_same(before, state_of(run))


def test_another_scenario_behind_the_same_settings_is_refused_by_its_field(saved, tmp_path):
    tensors, plain = read_tensors(saved)
    plain["scenario"]["horizon"] = 77
    write_tensors(tmp_path / CHECKPOINT, tensors, plain)
    with pytest.raises(ValueError, match=r"another run \(horizon=100 here, 77 there\)"):
        tiny_run(**SETTINGS).load(tmp_path / CHECKPOINT)


def test_settings_that_do_not_enter_the_numbers_may_change(saved):
    run = tiny_run(**SETTINGS, threads=2, baselines=True, name="moved", out="elsewhere")
    run.load(saved)
    assert run.learner.updates == 7


# --- two of them -----------------------------------------------------------------------------------------------------


def halfway(folder):
    """A run that was killed after 8 updates of 12, with checkpoints of updates 3 and 6, and its undisturbed twin."""
    whole, run = tiny_run(**SETTINGS), tiny_run(**SETTINGS)
    train(whole, folder / "whole")
    run.progress.curve.append(run.evaluate())
    for updates in range(1, 9):
        advance(run)
        if updates % 4 == 0:
            run.progress.curve.append(run.evaluate())
        if updates % 3 == 0:
            keep_checkpoint(folder, run.save)
    return whole


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "foreign", "missing"])
def test_the_checkpoint_before_takes_over_and_the_curve_is_the_same(harm, tmp_path, capsys):
    (tmp_path / "whole").mkdir()
    whole, newest = halfway(tmp_path), tmp_path / CHECKPOINT
    assert [read_tensors(tmp_path / name)[1]["updates"] for name in (PREVIOUS, CHECKPOINT)] == [3, 6]
    data = newest.read_bytes()
    if harm == "missing":
        newest.unlink()
    else:
        harmed = {"flip": data[:-9] + bytes([data[-9] ^ 4]) + data[-8:], "truncate": data[:999], "empty": b""}
        newest.write_bytes(harmed.get(harm, b"something else"))
    again = tiny_run(**SETTINGS)
    assert go_on(tmp_path, again.load) == tmp_path / PREVIOUS
    said = capsys.readouterr().out
    assert CHECKPOINT in said
    assert PREVIOUS in said
    assert (tmp_path / DAMAGED).is_file() == (harm != "missing")
    assert again.learner.updates == 3
    train(again, tmp_path)
    assert again.progress.curve == whole.progress.curve
    assert [read_tensors(tmp_path / name)[1]["updates"] for name in (PREVIOUS, CHECKPOINT)] == [9, 12]


@pytest.mark.parametrize("links", [True, False])
def test_two_checkpoints_are_kept_with_and_without_links(links, tmp_path, monkeypatch):
    def save(number):
        def write(path):
            assert (tmp_path / CHECKPOINT).is_file() == (number > 1)
            path.write_text(str(number), encoding="utf-8")

        return write

    if not links:
        monkeypatch.setattr(folder_module.os, "link", no_links, raising=False)
    for number in (1, 2, 3):
        keep_checkpoint(tmp_path, save(number))
    found = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert found == {CHECKPOINT: "3", PREVIOUS: "2"}


def no_links(*_):
    raise OSError(95, "Operation not supported")


def test_without_a_good_checkpoint_the_files_are_named(saved, tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"")
    run = tiny_run(**SETTINGS)
    with pytest.raises(ValueError, match=rf"{CHECKPOINT}: not a checkpoint .*no checkpoint before it"):
        go_on(tmp_path, run.load)
    (tmp_path / PREVIOUS).write_bytes(b"also")
    with pytest.raises(ValueError, match=rf"{CHECKPOINT}: not a checkpoint .*{PREVIOUS}: not a checkpoint"):
        go_on(tmp_path, run.load)
    shutil.copy(saved, tmp_path / PREVIOUS)
    other = tiny_run(**SETTINGS, seed=9)
    with pytest.raises(ValueError, match=rf"{PREVIOUS}: a checkpoint of another run"):
        go_on(tmp_path, other.load)
    assert go_on(tmp_path / "nothing", run.load) is None


def test_a_policy_file_with_impossible_weights_is_refused(saved, tmp_path):
    tensors, plain = read_tensors(saved)
    path = tmp_path / "p.safetensors"
    for value in (torch.full_like(tensors[WEIGHT], float("nan")), tensors[WEIGHT].double()):
        write_tensors(path, {**tensors, WEIGHT: value}, plain)
        with pytest.raises(ValueError, match=r"p.safetensors: the tensor 'heads.bids.weight' holds what is no"):
            load_policy(path)
    write_tensors(path, tensors, {**plain, "args": {**plain["args"], "width": 10**9}})
    with pytest.raises(ValueError, match=r"p.safetensors: width=1000000000"):
        load_policy(path)
    write_tensors(path, tensors, json.loads('{"args": 3}'))
    with pytest.raises(ValueError, match=r"p.safetensors: not a checkpoint or policy"):
        load_policy(path)
