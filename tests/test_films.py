"""Frames as files: GIF, MP4 and PNG, on the command line and by themselves."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need the extra 'render'")
image = pytest.importorskip("PIL.Image")

from irs_marl_env import films, get_scenario, output_files  # noqa: E402  (after importorskip)
from irs_marl_env.cli import main  # noqa: E402

SMALL = ("--scenario", "mdlbi-small-v0", "--set=action=structured", "--policy", "examples.own_policy:NearestUsers")


def squares(count):
    """Frames with a square that moves."""
    for i in range(count):
        frame = np.full((64, 96, 3), 250, np.uint8)
        frame[20:40, 10 + i : 30 + i] = (0, 114, 178)
        yield frame


def decoded(path):
    """What a film is, and its frames, by decoding it again."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    command = [ffmpeg, "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    about = done.stderr.decode("utf-8", "replace")
    width, height = map(int, re.search(r"Video: h264.* yuv420p.* (\d+)x(\d+)", about).groups())  # what browsers play
    return about, np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def test_an_mp4_holds_the_frames(tmp_path):
    assert films.write_mp4(tmp_path / "x.mp4", squares(7), 5.0) == 7
    about, found = decoded(tmp_path / "x.mp4")
    assert " 5 fps" in about
    assert len(found) == 7
    for wanted, frame in zip(squares(7), found, strict=True):
        assert np.abs(wanted.astype(int) - frame).mean() < 4
    head = (tmp_path / "x.mp4").read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")  # it plays before it is loaded


def test_a_gif_holds_the_frames(tmp_path):
    assert films.write_gif(tmp_path / "x.gif", squares(50), 4.0) == 50
    with image.open(tmp_path / "x.gif") as film:
        assert (film.n_frames, film.info["duration"], film.info["loop"]) == (50, 250, 0)
        for i, wanted in enumerate(squares(50)):
            film.seek(i)
            assert np.abs(wanted.astype(int) - np.asarray(film.convert("RGB"))).mean() < 2


def test_a_png_holds_the_last_frame(tmp_path):
    assert films.write_png(tmp_path / "x.png", squares(5), 1.0) == 1
    np.testing.assert_array_equal(np.asarray(image.open(tmp_path / "x.png")), list(squares(5))[-1])


@pytest.mark.parametrize("ending", films.WRITERS)
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, ending):
    if ending == ".mp4":
        pytest.importorskip("imageio_ffmpeg")

    def broken():
        yield from squares(40)
        raise ValueError("the policy fails")

    path = tmp_path / f"x{ending}"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(ValueError, match="the policy fails"):
        films.WRITERS[ending](path, broken(), 5.0)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("count", [1, 400])
def test_an_mp4_that_could_not_be_finished_is_an_error(tmp_path, monkeypatch, count):
    """On a full disk ffmpeg ends with a code and some words, before all frames are written or after."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: sys.executable)  # which knows no option -y
    path = tmp_path / "x.mp4"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(OSError, match=r"ffmpeg failed \(.*-y"):
        films.write_mp4(path, squares(count), 5.0)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", films.WRITERS)
def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path, ending):
    if ending == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / ("x" * (255 - len(ending)) + ending)
    films.WRITERS[ending](path, squares(2), 5.0)
    assert list(tmp_path.iterdir()) == [path]


def test_two_that_write_one_file_do_not_meet(tmp_path):
    """The one that ends last wins; neither moves what the other has half done."""
    path = tmp_path / "x.png"
    with output_files.replacing(path) as first:
        first.write_text("first", encoding="utf-8")
        with output_files.replacing(path) as second:
            second.write_text("second", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "second"
    assert path.read_text(encoding="utf-8") == "first"


@pytest.mark.parametrize("command", ["render", "replay"])
def test_a_folder_without_the_right_to_write_is_refused_before_the_work(capsys, tmp_path, monkeypatch, command):
    """Even where the file is there and may be written: it is written anew beside its place."""
    out = tmp_path / ("x.png" if command == "render" else "x.html")
    out.write_text("old", encoding="utf-8")
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    monkeypatch.setattr("irs_marl_env.episodes.play", None)
    assert main([command, "--policy", "random", "--out", str(out)]) == 2
    assert "cannot be written here" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize(("module", "ending"), [("PIL", ".gif"), ("PIL", ".png"), ("imageio_ffmpeg", ".mp4")])
def test_a_missing_library_is_an_error_that_names_the_extra(monkeypatch, tmp_path, module, ending):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'irs-marl-env\[render\]'"):
        films.WRITERS[ending](tmp_path / f"x{ending}", squares(2), 5.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("ending", "said"), [(".gif", "4 frames"), (".png", "slot 3"), (".mp4", "4 frames")])
def test_on_the_command_line(capsys, tmp_path, ending, said):
    if ending == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    out = tmp_path / f"episode{ending.upper()}"
    assert main(["render", *SMALL, "--slots", "3", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: {said} of examples.own_policy:NearestUsers\n"
    assert list(tmp_path.iterdir()) == [out]
    if ending == ".mp4":
        assert len(decoded(out)[1]) == 4


def test_the_png_is_what_the_environment_draws(tmp_path):
    from examples.own_policy import NearestUsers
    from irs_marl_env.episodes import play

    out = tmp_path / "x.png"
    assert main(["render", *SMALL, "--seed", "5", "--slots", "3", "--out", str(out)]) == 0
    scenario = get_scenario("mdlbi-small-v0", action="structured")
    for played in play(NearestUsers(), scenario, 5, 3, render_mode="rgb_array"):
        played.env.caption = "examples.own_policy:NearestUsers on mdlbi-small-v0 with action='structured'"
        last = played.env.render(0)
    np.testing.assert_array_equal(np.asarray(image.open(out)), last)


def test_a_short_episode_is_drawn_as_a_whole(capsys, tmp_path):
    out = tmp_path / "x.png"
    assert main(["render", *SMALL, "--set=horizon=2", "--out", str(out)]) == 0
    assert "slot 2 of" in capsys.readouterr().out


def test_other_endings_are_refused(capsys, tmp_path):
    assert main(["render", "--out", str(tmp_path / "x.avi")]) == 2
    assert "x.avi': must end in .gif, .png, .mp4" in capsys.readouterr().err.replace("\\\\", "\\")
