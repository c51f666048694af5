"""The folder of a run: its name, its settings, its lock, and which checkpoint a run goes on from."""

import json

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib", "filelock"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from tiny_training import tiny_args, tiny_run  # noqa: E402

from irs_marl_env import get_scenario  # noqa: E402
from irs_marl_env.training.folder import ARGS, SCENARIO, folder_of, opened  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def test_folders_are_named_kept_and_found_again(tmp_path):
    args, folder = folder_of(tiny_args(out=str(tmp_path)))
    assert folder.name.startswith("mdlbi-mdlbi-small-v0-s1-20")
    assert not folder.exists()  # a run whose settings are refused leaves nothing behind
    with opened(folder, args, new=True):
        pass
    assert folder_of(tiny_args(resume=str(folder))) == (args, folder)
    with pytest.raises(ValueError, match=r"no args.json there"):
        folder_of(tiny_args(resume=str(tmp_path)))
    with pytest.raises(ValueError, match="holds a run already"):
        folder_of(tiny_args(out=str(tmp_path), name=folder.name))


def test_a_run_keeps_a_copy_of_its_scenario_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(get_scenario("mdlbi-small-v0", num_users=3).to_json(), encoding="utf-8")
    args, folder = folder_of(tiny_args(out=str(tmp_path), scenario=str(path)))
    assert folder.name.startswith("mdlbi-mine-s1-")
    with opened(folder, args, new=True):
        pass
    path.unlink()
    again, _ = folder_of(tiny_args(resume=str(folder)))
    assert again.scenario == str(folder / SCENARIO)
    assert tiny_run(scenario=again.scenario).env.scenario.num_users == 3
    assert json.loads((folder / ARGS).read_text(encoding="utf-8"))["scenario"] == str(path)
