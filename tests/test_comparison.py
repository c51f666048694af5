"""Results beside one another: shards, comparisons, sweeps, their tables and pictures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irs_marl_env import Result, Scenario, Sweep, charts, compare, evaluate, get_scenario, layouts, sweep
from irs_marl_env.cli import main
from irs_marl_env.result import dump, load, read

SMALL = get_scenario("mdlbi-small-v0", horizon=10)
ARRAYS = ("rates", "user_rates", "cell", "power_w")


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return [evaluate(name, SMALL, episodes=6, slots=2) for name in ("random-rzf", "no-irs-mrt", "random")]


@pytest.fixture(scope="module")
def swept() -> Sweep:
    return sweep(["random-mrt", "no-irs-mrt"], SMALL, "tx_power_dbm", [20, 26], episodes=3, slots=2)


def part(result: Result, first: int, last: int) -> Result:
    """Episodes of a result as a shard."""
    arrays = {name: None if getattr(result, name) is None else getattr(result, name)[first:last] for name in ARRAYS}
    return dataclasses.replace(result, seed=result.seed + first, **arrays)


# --- shards ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["random-rzf", "upper-bound"])
def test_shards_are_the_whole_bit_for_bit(policy: str) -> None:
    whole = evaluate(policy, SMALL, episodes=35, slots=2, seed=7)
    shards = [evaluate(policy, SMALL, episodes=n, slots=2, seed=7 + start) for start, n in ((16, 16), (0, 16), (32, 3))]
    joined = Result.concat(shards)
    assert joined.to_json() == whole.to_json()
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


def test_one_shard_and_many(results: list[Result]) -> None:
    whole = results[0]
    assert Result.concat([whole]).to_json() == whole.to_json()
    assert Result.concat(part(whole, i, i + 1) for i in (3, 1, 0, 2, 5, 4)).to_json() == whole.to_json()


def test_shards_that_do_not_fit(results: list[Result]) -> None:
    whole = results[0]
    head, tail = part(whole, 0, 2), part(whole, 2, 6)
    for shard, message in (
        (part(whole, 3, 6), r"seeds 2 \.\. 2 are missing"),
        (part(whole, 1, 6), r"seeds 1 \.\. 1 stand twice"),
        (head, r"seeds 0 \.\. 1 stand twice"),
        (dataclasses.replace(tail, policy="other"), "policy 'random-rzf' and 'other'"),
        (dataclasses.replace(tail, every=2), "distance of slots 1 and 2"),
        (dataclasses.replace(tail, first=1), "first slot 0 and 1"),
        (dataclasses.replace(tail, rates=tail.rates[:, :1]), "number of slots 2 and 1"),
        (dataclasses.replace(tail, cell=None), "cell kept True and False"),
        (dataclasses.replace(tail, scenario=tail.scenario.replace(speed_mps=3.0)), r"speed_mps=1\.5 and 3\.0"),
        (dataclasses.replace(tail, scenario=tail.scenario.replace(reward="team")), "reward='local' and 'team'"),
    ):
        with pytest.raises(ValueError, match=message):
            Result.concat([head, shard])
    with pytest.raises(ValueError, match="at least one"):
        Result.concat([])
    with pytest.raises(TypeError, match="must be Result objects"):
        Result.concat([head, 3])  # type: ignore[list-item]


# --- compare --------------------------------------------------------------------------------------------------------


def test_a_comparison_is_of_means_and_paired_differences(results: list[Result]) -> None:
    found = compare(results, ["sum_rate", "min_rate"], baseline="no-irs-mrt")
    assert found.labels == ("random-rzf", "no-irs-mrt", "random")
    for i, metric in enumerate(("sum_rate", "min_rate")):
        assert [e.mean for e in found.estimates[i]] == [r.metric(metric).mean for r in results]
        assert found.differences[i][1] is None
        gap = found.differences[i][0]
        assert gap is not None
        assert gap.mean == pytest.approx(results[0].difference(results[1], metric=metric).mean)
    lines = found.table().splitlines()
    assert lines[0].split("  ")[0] == "policy"
    assert "min_rate [bit/s/Hz]" in lines[0]
    assert "minus no-irs-mrt" in lines[0]
    low, high = results[0].system.interval
    assert f"{results[0].mean:.3f} [{low:.3f}, {high:.3f}]" in lines[2]
    assert lines[-1] == "mean [95 % interval, Student's t over 6 episodes]"
    assert found.table(markdown=True).splitlines()[1] == "|---|---|---|---|---|"


def test_other_draws_are_not_paired(results: list[Result]) -> None:
    other = evaluate("random-mrt", SMALL, episodes=5, slots=2)
    loud = evaluate("random-wmmse", SMALL, episodes=6, slots=2, tx_power_dbm=30.0)
    found = compare([results[0], other, loud])
    assert found.differences[0] == (None, None, None)
    assert found.table().count("not paired") == 2
    assert compare([results[0], loud], across=True).differences[0][1] is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: compare([]), "at least one"),
        (lambda r: compare([r[0], r[0]]), "'random-rzf' stands twice; give a dict"),
        (lambda r: compare(r, "jian"), "did you mean 'jain'"),
        (lambda r: compare(r, []), "at least one"),
        (lambda r: compare(r, baseline="randon"), "did you mean 'random'"),
        (lambda r: compare(r, baseline=3), "baseline=3"),
        (lambda r: compare([evaluate("upper-bound", SMALL, 1, slots=1)], "jain"), "'upper-bound' does not have"),
        (lambda r: compare(r).plot("x.txt"), "must end in .png, .svg, .pdf"),
    ],
)
def test_comparisons_that_are_none(results: list[Result], change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change(results)
    with pytest.raises(TypeError, match="must be a Result"):
        compare({"a": 3})  # type: ignore[dict-item]


def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Figures that are saved from now on."""
    from matplotlib.figure import Figure

    found: list[Any] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (found.append(self), save(self, *a, **k))[1])
    return found


def test_bars_are_what_was_measured(results: list[Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    figures = drawn(monkeypatch)
    found = compare([*results, evaluate("random-mrt", SMALL, 5, slots=2)], ["sum_rate", "jain"])
    found.plot(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 5000
    axes = figures[0].axes
    assert [axis.get_xlabel() for axis in axes[::2]] == ["sum_rate [bit/s/Hz]", "jain"]
    assert [bar.get_width() for bar in axes[0].patches] == [e.mean for e in found.estimates[0]]
    assert [t.get_text() for t in axes[0].get_yticklabels()] == list(found.labels)
    ends = axes[0].collections[0].get_segments()  # the error bars
    np.testing.assert_allclose(ends[0][:, 0], results[0].system.interval)
    assert [text.get_text() for text in axes[1].texts] == ["not paired"]


# --- sweep ----------------------------------------------------------------------------------------------------------


def test_a_sweep_is_an_evaluation_for_each_value(swept: Sweep) -> None:
    assert (swept.field, swept.values) == ("tx_power_dbm", (20.0, 26.0))
    alone = evaluate("random-mrt", SMALL, episodes=3, slots=2, tx_power_dbm=26)
    np.testing.assert_array_equal(swept.results["random-mrt"][1].user_rates, alone.user_rates)
    assert swept.estimates("jain")["random-mrt"][1].mean == alone.metric("jain").mean
    lines = swept.table().splitlines()
    assert lines[0].split() == ["tx_power_dbm", "[dBm]", "random-mrt", "no-irs-mrt"]
    assert lines[3].split()[:2] == ["26.0", f"{alone.mean:.3f}"]
    assert lines[-1] == "sum_rate [bit/s/Hz]: mean [95 % interval, Student's t over 3 episodes]"
    assert swept.table("jain").splitlines()[-1].startswith("jain: mean")
    assert [r.policy for r in swept.at(20)] == ["random-mrt", "no-irs-mrt"]
    assert compare(swept.at(20)).differences[0][1] is not None
    with pytest.raises(ValueError, match="value=21"):
        swept.at(21)


def still(observations: np.ndarray) -> np.ndarray:
    return np.zeros((*observations.shape[:2], 66))


def test_policies_of_ones_own_and_other_arguments() -> None:
    found = sweep(
        {"a": still, "b": "random"}, "mdlbi-small-v0", "noise_power_dbm", [-80], horizon=3, episodes=2, seed=4
    )
    assert list(found.results) == ["a", "b"]
    result = found.results["a"][0]
    assert (result.policy, result.seed, result.scenario.horizon, result.rates.shape) == ("a", 4, 3, (2, 3, 2))
    assert list(sweep(still, SMALL, "speed_mps", [1.0], episodes=1, slots=1).results) == ["still"]


def test_a_sweep_is_written_and_read(swept: Sweep, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(dump(swept), encoding="utf-8")
    again = Sweep.read(path)
    assert again.to_json() == swept.to_json()
    assert again.table() == swept.table()
    assert len(read(path)) == 4  # as results, too
    assert load(swept.to_json(users=False))[0].user_rates is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("sweep"), 'no object "sweep"'),
        (lambda v: v["sweep"].update(field="tx_power"), "field='tx_power': must be a field .*'tx_power_dbm'"),
        (lambda v: v["sweep"].update(values=[]), r"values=\[\]: must be a list"),
        (lambda v: v["sweep"].update(values=[20, 26, 30]), "4 results: must be 2 policies times 3 values"),
        (lambda v: v["sweep"].update(policies=["random-mrt", "random-mrt"]), "must be different texts"),
        (lambda v: v["sweep"].update(policies=["random-mrt", [3]]), "must be different texts"),
        (
            lambda v: v["sweep"].update(policies=["no-irs-mrt", "random-mrt"]),
            "result of 'random-mrt' where 'no-irs-mrt'",
        ),
        (lambda v: v["sweep"].update(metric="x"), "metric='x'"),
        (lambda v: v["results"].pop(), "3 results"),
        (lambda v: v["results"][1].pop("cell"), r"results\[1\]: .*cell missing"),
    ],
)
def test_damaged_sweeps_are_one_message(swept: Sweep, tmp_path: Path, change: Any, message: str) -> None:
    values = json.loads(swept.to_json())
    change(values)
    path = tmp_path / "s.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"s\.json: .*{message}"):
        Sweep.read(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("random", SMALL, "tx_powr_dbm", [1]), "did you mean 'tx_power_dbm'"),
        (("random", SMALL, 3, [1]), "field=3"),
        (("random", SMALL, "num_irs", []), "at least one"),
        (("random", SMALL, "num_irs", [1, 1]), "num_irs=1 stands twice"),
        (("random", SMALL, "num_irs", [-1]), "num_irs=-1"),
        (([], SMALL, "num_irs", [1]), "at least one"),
        ((["random", "random"], SMALL, "num_irs", [1]), "'random' stands twice"),
        ((["random", "randon"], SMALL, "num_irs", [1]), "did you mean 'random'"),
        ((["random", "exhaustive-ao"], SMALL, "num_irs", [1, 12]), "exhaustive-ao at num_irs=12: .*at most 1024"),
    ],
)
def test_sweeps_are_refused_before_they_begin(arguments: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irs_marl_env.comparison.evaluate", lambda *a, **k: pytest.fail("it began"))
    with pytest.raises(ValueError, match=message):
        sweep(*arguments, episodes=1)


def refuses(scenario: Scenario) -> Any:
    """An observation that cannot be made."""
    raise ValueError("no such view")


class Picky:
    """A policy that takes two users."""

    name = "picky"

    def bind(self, env: Any, seed: int) -> Any:
        if env.scenario.num_users != 2:
            raise ValueError("must be two users")
        return lambda observations: np.zeros((env.num_envs, env.scenario.num_bs, env.action_size), np.float32)


LATE: dict[str, tuple[Any, dict[str, Any], str]] = {
    "slots": (("random", SMALL, "horizon", [6, 5, 1]), {"slots": 2}, r"random at horizon=1: slots=2: .*\[1, 1\]"),
    "a bound": (("upper-bound", SMALL, "sinr", ["physical", "paper"]), {}, "upper-bound at sinr='paper': .*physical"),
    "no file": (("random", SMALL, "channels", [None, "no.npz"]), {}, r"channels='no\.npz': .*no such file"),
    "no trace": (("random", SMALL, "mobility", ["static", "trace"]), {}, "random at mobility='trace': .*needs pos"),
    "a part": (("random", SMALL, "observation", ["csi", refuses]), {}, "at observation=.*: no such view"),
    "another's policy": ((Picky(), SMALL, "num_users", [2, 3]), {}, "picky at num_users=3: must be two users"),
    "processes": (
        ("random", SMALL, "reward", ["local", lambda *x: 0]),
        {"processes": 2},
        "at reward=.*: processes: the",
    ),
    "a field": (("random", SMALL, "num_users", [2, 3]), {"num_usres": 3}, "'num_usres' is not a scenario field"),
}


@pytest.mark.parametrize("kind", LATE)
def test_what_a_late_value_cannot_do_is_said_before_the_first(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for hours to be told that the last file is missing."""
    monkeypatch.setattr("irs_marl_env.comparison.evaluate", lambda *a, **k: pytest.fail("it began"))
    arguments, options, message = LATE[kind]
    with pytest.raises(ValueError, match=message):
        sweep(*arguments, **{"episodes": 17, **options})


def test_a_field_is_either_swept_or_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irs_marl_env.comparison.evaluate", lambda *a, **k: pytest.fail("it began"))
    with pytest.raises(ValueError, match="is swept, and given as 3 too"):
        sweep("random", SMALL, "num_irs", [1], num_irs=3)
    with pytest.raises(ValueError, match="'jain' needs user_rates, which 'upper-bound' does not have"):
        sweep("upper-bound", SMALL, "num_irs", [1], metric="jain")


def test_lines_are_what_was_measured(swept: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    figures = drawn(monkeypatch)
    swept.plot(tmp_path / "x.svg", "jain")
    axis = figures[0].axes[0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("tx_power_dbm [dBm]", "jain")
    assert [t.get_text() for t in axis.get_xticklabels()] == ["20", "26"]
    line = axis.containers[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(orig=False), [e.mean for e in swept.estimates("jain")["random-mrt"]])
    np.testing.assert_allclose(line.get_xdata(orig=False), [20, 26], atol=0.1)
    bar = axis.containers[0].lines[2][0].get_segments()[1]
    np.testing.assert_allclose(bar[:, 1], swept.results["random-mrt"][1].metric("jain").interval)
    low, high = axis.get_ylim()
    assert low < bar[0, 1] < bar[1, 1] < high  # a picture that shows them


def test_values_that_are_no_numbers_stand_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    figures = drawn(monkeypatch)
    names = ["auction", "collision"]
    sweep("random-mrt", SMALL, "contention", names, episodes=2, slots=1).plot(tmp_path / "x.png")
    axis = figures[0].axes[0]
    assert [t.get_text() for t in axis.get_xticklabels()] == names
    assert axis.containers[0].lines[0].get_linestyle() == "None"
    many = sweep("random-mrt", SMALL, "num_elements", [1, 4, 64], episodes=1, slots=1)
    many.plot(tmp_path / "y.png")  # a single episode has no interval
    assert figures[1].axes[0].get_xscale() == "log"


def test_positions_that_differ_in_number_are_called_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a number of IRSs one sweeps with their positions, where there are some."""
    pytest.importorskip("matplotlib")
    figures = drawn(monkeypatch)
    irs = layouts.midpoints(layouts.hexagonal(1, 100.0))
    found = sweep("random", SMALL, "irs_positions_m", [irs[:1], irs[:3], irs[:4]], episodes=1, slots=1)
    found.plot(tmp_path / "sweep.png")
    names = ["1 row", "3 rows", "4 rows"]
    assert [t.get_text() for t in figures[0].axes[0].get_xticklabels()] == names
    assert [line.split("  ")[0] for line in found.table().splitlines()[2:5]] == names


def test_long_values_and_names_are_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions of many sites fill neither a table nor a picture; pytest fails on the warning of a full one."""
    pytest.importorskip("matplotlib")
    figures = drawn(monkeypatch)
    places = [layouts.hexagonal(1, 100.0), layouts.hexagonal(1, 150.0), None]
    found = sweep({"random": "random", "x" * 300: "no-irs-mrt"}, SMALL, "bs_positions_m", places, episodes=1, slots=1)
    found.plot(tmp_path / "sweep.png")
    compare({"x" * 300: found.results["random"][0], "several\nlines": found.results["random"][1]}).plot(
        tmp_path / "bars.png"
    )
    ticks = [t.get_text() for t in figures[0].axes[0].get_xticklabels()]
    assert ticks == ["[[0.0, 0.0, 25.0],... #1", "[[0.0, 0.0, 25.0],... #2", "None"]
    assert [t.get_text()[-6:] for t in figures[1].axes[0].get_yticklabels()] == ["... #1", " lines"]
    assert [len(line.split("  ")[0]) for line in found.table().splitlines()[2:5]] == [40, 40, 4]
    many = compare({"several\nlines": found.results["random"][0]}).table(markdown=True).splitlines()
    assert many[2].startswith("| several lines |")


def test_names_are_drawn_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    r"""Dollars mean mathematics to matplotlib, which fails at ``$\no$``, and an underscore hides a label."""
    pytest.importorskip("matplotlib")
    figures = drawn(monkeypatch)
    names = {r"a$\no$": "random-mrt", "_mine": "no-irs-mrt"}
    found = sweep(names, SMALL, "contention", ["auction", "collision"], episodes=1, slots=1)
    found.plot(tmp_path / "sweep.svg")
    assert [text.get_text().strip() for text in figures[0].legends[0].get_texts()] == [r"a\$\no\$", "_mine"]
    compare({name: found.results[name][0] for name in names}).plot(tmp_path / "bars.png")
    assert [text.get_text().strip() for text in figures[1].axes[0].get_yticklabels()] == [r"a\$\no\$", "_mine"]


def test_pictures_name_the_extra(results: list[Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pictures need matplotlib: pip install 'irs-marl-env\[render\]'"):
        compare(results).plot("x.png")


@pytest.mark.parametrize(
    ("field", "label"),
    [("tx_power_dbm", "tx_power_dbm [dBm]"), ("num_irs", "num_irs"), ("speed_mps", "speed_mps [m/s]"), ("rho", "rho")],
)
def test_units_of_fields(field: str, label: str) -> None:
    assert charts.with_unit(field) == label


# --- on the command line ---------------------------------------------------------------------------------------------

RUN = ["--scenario", "mdlbi-small-v0", "--episodes", "2", "--slots", "2"]


def test_evaluate_has_columns_of_metrics(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    policies = ["--policy", "random-rzf", "--policy", "upper-bound"]
    command = ["evaluate", *policies, *RUN, "--metric", "min_rate,jain", "--metric", "test_comparison:best"]
    assert main([*command, "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-5:] == ["min_rate", "[bit/s/Hz]", "jain", "best", "[bit/s/Hz]"]
    kept, bound = read(out)
    assert f"{kept.metric('jain').mean:.3f} +- {kept.metric('jain').standard_error:.3f}" in lines[2]
    assert bound.user_rates is None
    assert main([*command, "--json", str(out), "--no-users"]) == 0
    assert read(out)[0].user_rates is None
    assert main(["results", str(out), "--metric", "sum_rate"]) == 0
    header = capsys.readouterr().out.splitlines()[-5]
    assert header.split() == ["policy", "bit/s/Hz", "per", "BS", "minus", "random-rzf"]  # not a second time


def best(result: Result) -> Any:
    """The highest rate of a slot."""
    return result.user_rates.max(-1) if result.user_rates is not None else np.zeros(len(result.rates))


best.unit = "bit/s/Hz"  # type: ignore[attr-defined]


def test_sweep_and_compare_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    data, picture = tmp_path / "s.json", tmp_path / "s.png"
    command = ["sweep", "--policy", "random-mrt", "--policy", "no-irs-mrt", *RUN, "--field", "tx_power_dbm"]
    files = ["--json", str(data), "--out", str(picture)]
    assert main([*command, "--values", "20, 26", "--metric", "sum_rate", "--metric", "jain", *files]) == 0
    printed = capsys.readouterr().out
    assert printed.count("tx_power_dbm [dBm]") == 2
    assert picture.stat().st_size > 5000
    assert Sweep.read(data).table() in printed
    assert main(["compare", str(data), "--baseline", "no-irs-mrt tx_power_dbm=26.0", "--out", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert "minus no-irs-mrt tx_power_dbm=26.0" in printed
    assert printed.count("not paired") == 2
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    for path, seed in ((one, "0"), (two, "2")):
        assert main(["evaluate", "--policy", "random-mrt", *RUN, "--seed", seed, "--out", str(path)]) == 0
    capsys.readouterr()
    assert main(["compare", str(one), str(two), str(two), "--markdown"]) == 0
    rows = [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()[2:5]]
    assert rows == ["| random-mrt (one)", "| random-mrt (two) 1", "| random-mrt (two) 2"]
    lists = ["--field", "num_elements", "--values", "[[16, 8], [8, 16]]"]
    assert main(["sweep", "--policy", "random", *RUN, *lists]) == 0
    assert "[8, 16]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--values", "1", "--metric", "jian"], "metric='jian': must be one of"),
        (["--values", "1", "--metric", "no_such_module:x"], "--metric 'no_such_module:x'"),
        (["--values", "1,1"], "num_irs=1 stands twice"),
        (["--values", "1,,2"], "num_irs=''"),
        (["--values", "[1"], "--values '[1': must be a JSON list"),
        (["--values", "1", "--field", "num_iris"], "did you mean 'num_irs'"),
        (["--values", "1", "--out", "x.txt"], "--out 'x.txt': must end in .png"),
        (["--values", "1", "--out", "/missing/x.png"], "no such folder"),
        (["--values", "1", "--json", "/missing/x.json"], "--json /missing/x.json: no such folder"),
        (["--values", "a:b", "--field", "reward"], "--trusted on the command line"),
        (["--values", "1", "--policy", "upper-bound", "--metric", "sum_rate,jain"], "'upper-bound' does not have"),
    ],
)
def test_studies_that_are_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    pytest.importorskip("matplotlib")
    assert main(["sweep", "--policy", "random", *RUN, "--field", "num_irs", *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""


def test_compare_refuses_what_files_lack(capsys: pytest.CaptureFixture[str], tmp_path: Path, results: Any) -> None:
    path = tmp_path / "old.json"
    path.write_text(dump(results, users=False), encoding="utf-8")
    assert main(["compare", str(path), "--metric", "min_rate"]) == 2
    assert "'min_rate' needs user_rates, which 'random-rzf' does not have" in capsys.readouterr().err
    assert main(["compare", str(path), "--baseline", "randon"]) == 2
    assert "did you mean 'random'" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "none.json")]) == 2


def test_a_console_and_a_notebook_show_a_line_or_a_table(results: list[Result], swept: Sweep) -> None:
    mean, error = f"{results[0].mean:.3f}", f"{results[0].standard_error:.3f}"
    assert repr(results[0]) == f"<Result random-rzf: {mean} +- {error} bit/s/Hz, 6 episodes x 2 slots>"
    for study in (compare(results), swept):
        assert repr(study) == str(study) == study.table()
        assert study._repr_markdown_() == study.table(markdown=True) != repr(study)
