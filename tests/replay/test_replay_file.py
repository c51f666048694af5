"""The HTML file: numbers within their precision, texts that stay texts, its size, and that it is whole or not there."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from irs_marl_env import get_scenario, replay
from irs_marl_env.cli import main
from irs_marl_env.replay.file import page
from irs_marl_env.replay.pack import packed, unpacked

SMALL = get_scenario("mdlbi-small-v0", horizon=8)
HOSTILE = "</script><b>x</b>&amp;\u2028{{numbers}}"


class Parts(HTMLParser):
    """Elements of a page, and the text in each that has an id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: dict[str, str] = {}
        self._id: str | None = None
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._id = dict(attrs).get("id", tag)

    def handle_endtag(self, tag: str) -> None:
        self._id = None

    def handle_data(self, data: str) -> None:
        if self._id:
            self.texts[self._id] = self.texts.get(self._id, "") + data


@pytest.fixture(scope="module")
def pair():
    return [replay.record(p, SMALL, seed=1) for p in ("structured-local-gain", "structured-random")]


def test_numbers_come_back_within_their_precision(pair):
    """What the file says the step is, is the precision: half of it at most is lost."""
    parts = Parts(page(pair))
    content, block = json.loads(parts.texts["content"]), base64.b64decode(parts.texts["numbers"])
    x_min, y_min, x_max, y_max = content["box"]
    assert (x_min, y_min, x_max, y_max) == (0, 0, 80, 80)
    position = unpacked(block, content["position"]) + np.array([x_min, y_min])
    assert abs(position - pair[0].position).max() <= 80 / 65535 / 2 + 1e-9
    assert (unpacked(block, content["cell"]) == pair[0].cell).all()
    for panel, record in zip(content["panels"], pair, strict=True):
        assert panel["policy"] == record.policy
        for key, kept, step in (
            ("rates", record.rates, 0.001),
            ("bids", record.bids, 1 / 32767),
            ("shares", np.clip(record.shares, -1.27, 1.27), 0.01),
        ):
            assert panel[key]["step"] == step
            assert abs(unpacked(block, panel[key]) - kept).max() <= step / 2 + 1e-6, key
        np.testing.assert_allclose(unpacked(block, panel["sumRate"]), record.sum_rate, rtol=1e-6)
        np.testing.assert_allclose(unpacked(block, panel["power"]), record.power_w, rtol=1e-6)
        for key in ("owner", "holder"):
            assert (unpacked(block, panel[key]) == getattr(record, key)).all()


def test_high_rates_and_many_bss_have_room(pair):
    """Rates beyond 65 bit/s/Hz, owners beyond 127, and an area far away from the origin."""
    one = pair[0]
    sites = tuple((float(10_000 + 10 * m), 5_000.0, 10.0) for m in range(300))
    scenario = SMALL.replace(bs_positions_m=sites, irs_positions_m=((10_500.0, 5_000.0, 5.0),) * 2, mobility="static")
    odd = replace(
        one,
        scenario=scenario,
        rates=one.rates + 100,
        cell=one.cell + 298,
        owner=one.owner + 298,
        position=one.position / 10 + np.array([10_000, 4_995]),
        bids=np.zeros((8, 300, 2)),
        sum_rate=np.ones((8, 300)),
        power_w=np.ones((8, 300)),
    )
    content, block = packed([odd])
    panel = content["panels"][0]
    assert abs(unpacked(block, panel["rates"]) - odd.rates).max() <= panel["rates"]["step"] / 2 + 1e-9
    assert panel["rates"]["step"] == pytest.approx(odd.rates.max() / 65535)
    assert (unpacked(block, panel["owner"]) == odd.owner).all()
    assert (unpacked(block, content["cell"]) == odd.cell).all()
    found = unpacked(block, content["position"]) + np.array(content["box"][:2])
    assert abs(found - odd.position).max() <= 3100 / 65535


def test_texts_stay_texts(pair):
    """Names that look like HTML, like JSON or like our own placeholders add no element and end no script."""
    plain, hostile = (Parts(page([replace(r, policy=n, title=n) for r in pair])) for n in ("name", HOSTILE))
    assert hostile.tags == plain.tags
    content = json.loads(hostile.texts["content"])
    assert [panel["policy"] for panel in content["panels"]] == [HOSTILE, HOSTILE]
    assert content["title"] == HOSTILE
    assert hostile.texts["title"].startswith(HOSTILE)
    assert "b" not in plain.tags
    assert "<" not in re.findall(r'id="content">(.*)', page([replace(pair[0], policy="a <b")]))[0].removesuffix(
        "</script>"
    )


def test_the_page_asks_the_network_for_nothing(pair):
    parts = Parts(page(pair))
    assert not {"link", "img", "iframe", "object", "base", "form"} & set(parts.tags)
    assert not [value for name, value in parts.attributes if name in ("src", "href", "action", "style", "onclick")]
    assert any("default-src 'none'" in (value or "") for _, value in parts.attributes)
    assert not re.search(r"https?://|\bfetch\(|XMLHttpRequest|innerHTML|\bimport\b|\beval\(", page(pair))


def test_seeds_of_numpy_and_large_ones():
    for seed in (np.int64(3), 2**60):
        content, _ = packed([replay.record("random", SMALL, slots=1, seed=seed)])
        assert str(json.loads(json.dumps(content))["seed"]) == str(seed)


def test_the_same_records_make_the_same_file(pair, monkeypatch):
    now = page(pair)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert page(pair) == now


def test_800_slots_of_two_policies_are_below_3_mb():
    """Even if nothing repeats: random numbers of full width, which do not pack."""
    scenario, rng = get_scenario("mdlbi-v0"), np.random.default_rng(0)
    S, M, K, L = 800, 2, 10, 4
    position, cell = rng.uniform(0, 80, (S, K, 2)), rng.integers(0, M, (S, K))
    records = [
        replay.Record(
            policy=name,
            scenario=scenario,
            title="mdlbi-v0",
            seed=0,
            position=position,
            cell=cell,
            rates=rng.uniform(0, 20, (S, K)),
            sum_rate=rng.uniform(0, 100, (S, M)),
            power_w=rng.uniform(0, 1, (S, M)),
            bids=rng.uniform(-1, 1, (S, M, L)),
            owner=rng.integers(-1, M, (S, L)),
            holder=rng.integers(-1, M, (S, L)),
            shares=rng.uniform(-1, 1, (S, L, K)),
        )
        for name in "ab"
    ]
    assert len(page(records).encode()) < 500_000


def test_a_file_is_whole_or_not_there(pair, tmp_path, monkeypatch):
    path = tmp_path / "replay.html"
    size = replay.write(pair, path)
    assert path.stat().st_size == size
    before = path.read_bytes()

    def full(*paths):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            replay.write(pair[0], path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["replay.html"]
    replay.write(pair[0], path)
    assert path.read_bytes() != before
    longest = tmp_path / ("x" * 250 + ".html")  # as long as a name may be
    replay.write(pair[0], longest)
    assert longest.stat().st_size > 0


@pytest.mark.parametrize(
    ("name", "message"), [("a.gif", "must end in .html"), ("no/a.html", "no such folder"), ("d.html", "is a folder")]
)
def test_places_that_cannot_be_written(pair, tmp_path, name, message):
    (tmp_path / "d.html").mkdir()
    with pytest.raises(ValueError, match=message):
        replay.write(pair, tmp_path / name)


def test_recorded_channels_without_positions_have_no_map():
    rng = np.random.default_rng(0)

    def some(*shape):
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * 1e-4

    channels = {"H": some(9, 2, 4, 4), "G": some(1, 2, 2, 16, 4), "h": some(9, 2, 4, 16)}
    for more, there in (({}, False), ({"positions": rng.uniform(0, 80, (9, 4, 2))}, True)):
        record = replay.record("structured-random", SMALL.replace(channels={**channels, **more}))
        content, _ = packed([record])
        assert (content["map"], content["shaded"], content["recorded"]) == (there, False, True)


# --- the command ------------------------------------------------------------------------------------------------


def refused(capsys, *arguments):
    assert main(["replay", "--scenario", "mdlbi-small-v0", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "random", "--out", "x.gif"], "--out 'x.gif': must end in .html"),
        (["--policy", "random", "--out", "no/x.html"], "no such folder"),
        (["--policy", "upper-bound", "--out", "x.html"], "--policy upper-bound: a bound does not act"),
        (["--policy", "randon", "--out", "x.html"], "did you mean 'random'"),
        (["--policy", "random", "--out", "x.html", "--slots", "101"], "--slots=101: must be an integer in [1, 100]"),
        (["--policy", "random", "--out", "x.html", "--slots", "0"], "--slots=0: must be"),
        (["--policy", "random", "--out", "x.html", "--seed", "-1"], "seed=-1"),
        (["--policy=random"] * 3 + ["--out", "x.html"], "3 policies: must be one, or 2 side by side"),
        (
            ["--policy", "random", "--policy", "test_replay_file:OtherPower", "--out", "x.html"],
            "play different scenarios: tx_power_dbm=26.0 and 20.0",
        ),
    ],
)
def test_what_the_command_refuses(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    assert message in refused(capsys, *arguments)
    assert not list(tmp_path.iterdir())


class OtherPower:
    """A policy that plays with less power than the others."""

    def adapt(self, scenario):
        return scenario.replace(tx_power_dbm=20.0)

    def bind(self, env, seed=0):
        return lambda observations: np.zeros((1, 2, env.action_size), np.float32)


def test_the_command_writes_policies_of_all_kinds(capsys, tmp_path):
    out = tmp_path / "replay.html"
    arguments = ["--scenario", "mdlbi-small-v0", "--set=action=structured", "--set=horizon=5", "--out", str(out)]
    policies = ["examples.own_policy:NearestUsers", "structured-random"]
    assert main(["replay", *arguments, *(f"--policy={name}" for name in policies), "--seed", "3"]) == 0
    content = json.loads(Parts(out.read_text(encoding="utf-8")).texts["content"])
    assert [panel["policy"] for panel in content["panels"]] == policies
    assert (content["slots"], content["seed"]) == (5, 3)
    assert content["title"] == "mdlbi-small-v0 with action='structured', horizon=5"
    assert f"5 slots of {policies[0]} and {policies[1]}" in capsys.readouterr().out


def test_the_command_reads_policy_files(tmp_path):
    pytest.importorskip("safetensors")
    pytest.importorskip("torch")
    file = Path(__file__).parents[2] / "examples" / "checkpoints" / "mdlbi-blocked-small-v0.safetensors"
    out = tmp_path / "replay.html"
    arguments = ["replay", "--policy", str(file), "--scenario", "mdlbi-blocked-small-v0", "--slots", "2"]
    assert main([*arguments, "--out", str(out)]) == 0
    assert json.loads(Parts(out.read_text(encoding="utf-8")).texts["content"])["panels"][0]["policy"] == file.name


def test_the_wheel_holds_the_page(tmp_path):
    """The page's parts are no Python, so they have to be named in pyproject.toml."""
    pytest.importorskip("setuptools", reason="builds with setuptools")
    root, source = Path(__file__).parents[2], tmp_path / "source"
    (source / "irs_marl_env").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(root / name, source / name)
    (source / "irs_marl_env" / "__init__.py").touch()
    shutil.copytree(root / "irs_marl_env" / "replay", source / "irs_marl_env" / "replay")
    code = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        packed_names = {Path(name).name for name in wheel.namelist()}
    there = {path.name for path in (root / "irs_marl_env" / "replay").iterdir() if path.is_file()}
    assert there - packed_names == set()
    assert "player.html" in there
