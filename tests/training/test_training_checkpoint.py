"""Files of a run: complete or not there at all, refused if they are something else."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from safetensors.torch import save_file  # noqa: E402
from tiny_training import tiny_args, tiny_run  # noqa: E402

from examples.maddpg import advance  # noqa: E402
from irs_marl_env import get_scenario  # noqa: E402
from irs_marl_env.training import checkpoint  # noqa: E402
from irs_marl_env.training.checkpoint import (  # noqa: E402
    ARGS,
    SCENARIO,
    folder_of,
    keep_settings,
    plain_state,
    read_tensors,
    restore_state,
    write_tensors,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def test_checkpoint_is_replaced_only_when_complete(tmp_path, monkeypatch):
    run = tiny_run()
    advance(run)
    run.save(tmp_path / "c.safetensors")
    before = (tmp_path / "c.safetensors").read_bytes()
    advance(run)

    def dies(partial, path):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "replace_file", dies)
    with pytest.raises(KeyboardInterrupt):
        run.save(tmp_path / "c.safetensors")
    assert (tmp_path / "c.safetensors").read_bytes() == before


def test_tensors_and_json_come_back_as_they_were(tmp_path):
    tensors = {"real": torch.arange(3.0), "complex": torch.tensor([1 + 2j]), "empty": torch.zeros(0, 2)}
    write_tensors(tmp_path / "t", tensors, {"a": [1, None]})
    again, plain = read_tensors(tmp_path / "t")
    assert plain == {"a": [1, None]}
    assert all(torch.equal(again[name], value) and again[name].dtype == value.dtype for name, value in tensors.items())


def test_generators_go_on():
    first, second = np.random.Generator(np.random.Philox(1)), np.random.Generator(np.random.Philox(2))
    first.standard_normal(5)
    restore_state(second, json.loads(json.dumps(plain_state(first))))
    assert np.array_equal(first.standard_normal(5), second.standard_normal(5))


def test_what_is_no_file_of_the_trainer_is_refused_by_name(tmp_path):
    (tmp_path / "text.safetensors").write_text("hello, this is nothing of the kind")
    save_file({"weight": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    for name in ("text", "foreign"):
        with pytest.raises(ValueError, match=rf"{name}.safetensors: not a checkpoint or policy of this trainer"):
            read_tensors(tmp_path / f"{name}.safetensors")
    with pytest.raises(FileNotFoundError, match=r"gone.safetensors: there is no such file"):
        read_tensors(tmp_path / "gone.safetensors")


def test_a_checkpoint_of_other_settings_is_refused_by_name(tmp_path):
    run = tiny_run()
    advance(run)
    run.save(tmp_path / "c.safetensors")
    with pytest.raises(ValueError, match=r"c.safetensors: no checkpoint of a run with these settings"):
        tiny_run(width=8).load(tmp_path / "c.safetensors")
    with pytest.raises(ValueError, match=r"c.safetensors: no checkpoint .*state of scenario"):
        tiny_run(set=("horizon=50",)).load(tmp_path / "c.safetensors")


def test_folders_are_named_kept_and_found_again(tmp_path):
    args, folder = folder_of(tiny_args(out=str(tmp_path)))
    assert folder.name.startswith("mdlbi-mdlbi-small-v0-s1-20")
    assert not folder.exists()  # a run whose settings are refused leaves nothing behind
    keep_settings(args, folder)
    assert folder_of(tiny_args(resume=str(folder))) == (args, folder)
    with pytest.raises(SystemExit, match=r"no args.json there"):
        folder_of(tiny_args(resume=str(tmp_path)))
    with pytest.raises(SystemExit, match="holds a run already"):
        folder_of(tiny_args(out=str(tmp_path), name=folder.name))


def test_a_run_keeps_a_copy_of_its_scenario_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(get_scenario("mdlbi-small-v0", num_users=3).to_json())
    args, folder = folder_of(tiny_args(out=str(tmp_path), scenario=str(path)))
    assert folder.name.startswith("mdlbi-mine-s1-")
    keep_settings(args, folder)
    path.unlink()
    again, _ = folder_of(tiny_args(resume=str(folder)))
    assert again.scenario == str(folder / SCENARIO)
    assert tiny_run(scenario=again.scenario).env.scenario.num_users == 3
    assert json.loads((folder / ARGS).read_text())["scenario"] == str(path)
