"""Files of a run: complete or not there at all, refused if they are something else."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from safetensors.torch import save_file  # noqa: E402
from tiny_training import tiny_run  # noqa: E402

from examples.maddpg import advance  # noqa: E402
from irs_marl_env.training import files  # noqa: E402
from irs_marl_env.training.checkpoint import plain_state, restore_state  # noqa: E402
from irs_marl_env.training.files import read_tensors, write_tensors  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def test_checkpoint_is_replaced_only_when_complete(tmp_path, monkeypatch):
    run = tiny_run()
    advance(run)
    run.save(tmp_path / "c.safetensors")
    before = (tmp_path / "c.safetensors").read_bytes()
    advance(run)

    def dies(partial, path):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "replace_file", dies)
    with pytest.raises(KeyboardInterrupt):
        run.save(tmp_path / "c.safetensors")
    assert (tmp_path / "c.safetensors").read_bytes() == before


def test_tensors_and_json_come_back_as_they_were(tmp_path):
    tensors = {"real": torch.arange(3.0), "complex": torch.tensor([1 + 2j]), "empty": torch.zeros(0, 2)}
    write_tensors(tmp_path / "t", tensors, {"a": [1, None]})
    again, plain = read_tensors(tmp_path / "t")
    assert plain == {"a": [1, None]}
    assert all(torch.equal(again[name], value) and again[name].dtype == value.dtype for name, value in tensors.items())


def test_tensors_that_share_their_memory_come_back_each_for_itself(tmp_path):
    whole = torch.arange(6.0)
    write_tensors(tmp_path / "t", {"first": whole[:2], "rest": whole[2:], "same": whole}, {})
    again, _ = read_tensors(tmp_path / "t")
    assert [value.tolist() for value in again.values()] == [[0, 1], [2, 3, 4, 5], [0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize("algo", ["mdlbi", "maddpg"])
@pytest.mark.parametrize("settings", [{"gamma": 0.0}, {"gamma": 0.7, "n_step": 3, "bootstrap": False}])
def test_a_checkpoint_of_a_version_that_remembered_what_follows_goes_on(tmp_path, algo, settings):
    whole, again = tiny_run(algo=algo, **settings), tiny_run(algo=algo, **settings)
    advance(whole)
    whole.save(tmp_path / "c.safetensors")
    tensors, plain = read_tensors(tmp_path / "c.safetensors")
    for name in ("next_obs", "next_state"):
        tensors[f"replay.{name}"] = torch.zeros(whole.replay.size, *whole.shapes()[name])
        for index in range(len(whole.returns.waiting)):
            tensors[f"waiting.{index}.{name}"] = torch.zeros(len(whole.obs), *whole.shapes()[name])
    write_tensors(tmp_path / "old.safetensors", tensors, plain)
    again.load(tmp_path / "old.safetensors")
    for run in (whole, again):
        advance(run)
    for a, b in zip(whole.learner.nets.parameters(), again.learner.nets.parameters(), strict=True):
        assert torch.equal(a, b)
    write_tensors(tmp_path / "other.safetensors", {**tensors, "replay.later": torch.zeros(1)}, plain)
    with pytest.raises(ValueError, match=r"tensor replay\.later does not belong to this run"):
        again.load(tmp_path / "other.safetensors")


def test_generators_go_on():
    first, second = np.random.Generator(np.random.Philox(1)), np.random.Generator(np.random.Philox(2))
    first.standard_normal(5)
    restore_state(second, json.loads(json.dumps(plain_state(first))))
    assert np.array_equal(first.standard_normal(5), second.standard_normal(5))


def test_what_is_no_file_of_the_trainer_is_refused_by_name(tmp_path):
    (tmp_path / "text.safetensors").write_text("hello, this is nothing of the kind", encoding="utf-8")
    save_file({"weight": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    for name in ("text", "foreign"):
        with pytest.raises(ValueError, match=rf"{name}.safetensors: not a checkpoint or policy of this trainer"):
            read_tensors(tmp_path / f"{name}.safetensors")
    with pytest.raises(FileNotFoundError, match=r"gone.safetensors: there is no such file"):
        read_tensors(tmp_path / "gone.safetensors")
