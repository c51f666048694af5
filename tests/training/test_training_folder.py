"""The folder of a run: its name, its settings, its lock, and which checkpoint a run goes on from."""

import json

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
for needed in ("tyro", "safetensors", "tqdm", "matplotlib", "filelock"):
    pytest.importorskip(needed, reason="needs the extra 'train'")
from tiny_training import tiny_args, tiny_run  # noqa: E402

from irs_marl_env import get_scenario, load_policy  # noqa: E402
from irs_marl_env.training.folder import (  # noqa: E402
    ARGS,
    CHECKPOINT,
    POLICY,
    PREVIOUS,
    RESULT,
    SCENARIO,
    folder_of,
    opened,
)

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


@pytest.mark.parametrize("left", [CHECKPOINT, PREVIOUS, RESULT, POLICY])
def test_a_new_run_does_not_begin_among_the_files_of_another(left, tmp_path):
    """Its first checkpoint would be the other one's last."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / left).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"run holds {left} of a run without its args.json: another --name"):
        folder_of(tiny_args(out=str(tmp_path), name="run"))
    with pytest.raises(ValueError, match=left), opened(folder, tiny_args(), new=True):
        pass
    assert not (folder / ARGS).exists()


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    """A shell leaves it as it is in --out=~/runs."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    args, folder = folder_of(tiny_args(out="~/my runs", name="ü"))
    assert folder == tmp_path / "my runs" / "ü"
    with opened(folder, args, new=True):
        pass
    assert folder_of(tiny_args(resume="~/my runs/ü/"))[1] == folder
    assert folder_of(tiny_args(out="~nobody-of-that-name", name="x"))[1].parts[0] == "~nobody-of-that-name"


def test_a_folder_is_no_policy(tmp_path):
    with pytest.raises(OSError, match="is a folder, must be a file"):
        load_policy(str(tmp_path))


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
