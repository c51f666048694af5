"""The tables of docs/environment.md say what the environment does."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from irs_marl_env import make_env, make_vec_env, mdlbi_v0, scenario_ids
from irs_marl_env.rewards import REWARDS
from irs_marl_env.scenario_help import fields_of

PAGE = (Path(__file__).parents[2] / "docs" / "environment.md").read_text(encoding="utf-8")
SYMBOLS = {"M": 2, "K": 4, "L": 2, "Nb": 4, "S": 32, "E": 3}
OPTIONAL = {"switching_slots": 4, "observe_velocity": True}


def section(title):
    """The text between a heading and the next one."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(title, number=0):
    """The rows of a table of a section, without its two head lines."""
    tables = re.findall(r"(?:^\|.*\n)+", section(title) + "\n", re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in tables[number].splitlines()[2:]]


def shape(text):
    return tuple(eval(text, {}, SYMBOLS))


def entries(text):
    first, _, last = text.partition(" to ")
    return slice(int(first), int(last or first) + 1)


def small(**fields):
    return make_env("mdlbi-small-v0", fast=False, **fields)


def formula(title, name):
    """The value of the formula of a size in a section, and the number that follows "here"."""
    said = re.search(rf"{name} = ([^,]*?),\s+here\s+(\d+)", section(title))
    product = re.sub(r"(?<=[\w)]) +(?=[\w(])", " * ", " ".join(said[1].split()))
    return eval(product, {}, SYMBOLS), int(said[2])


def check_layout(rows, layout, low, high):
    """Rows of index, block, shape and, with bounds, range."""
    for row in rows:
        if not row[1]:
            continue
        name = row[1].strip("`")
        assert entries(row[0]) == layout.slices[name], name
        assert shape(row[2]) == layout.shapes[name], name
        if low is not None:
            here = layout.slices[name]
            assert row[3] == f"[{low[here].min():g}, {high[here].max():g}]", name


@pytest.mark.parametrize(("action", "more"), [("raw", {}), ("structured", {"power_control": True})])
def test_actions(action, more):
    codec, rows = small(action=action, **more).action_codec, table(f"Action space: {action}")
    check_layout(rows, codec.layout, None, None)
    assert [row[1].strip("`") for row in rows] == list(codec.layout.shapes)
    size = small(action=action).action_codec.size
    assert formula(f"Action space: {action}", "D_a") == (size, size)


@pytest.mark.parametrize("observation", ["csi", "large_scale", "values"])
def test_observations(observation):
    codec, rows = small(observation=observation).observation_codec, table(f"Observation space: {observation}")
    check_layout(rows, codec.layout, codec.low, codec.high)
    named = [row[1].strip("`") for row in rows if row[1]]
    assert named == list(codec.layout.shapes)[-len(named) :]
    assert entries(rows[-1][0]).stop == codec.size
    assert formula(f"Observation space: {observation}", "D_o") == (codec.size, codec.size)


def test_more_blocks():
    codec = small(observation="large_scale", **OPTIONAL).observation_codec
    rows = table("More blocks")
    check_layout(rows, codec.layout, codec.low, codec.high)
    assert [row[1].strip("`") for row in rows] == list(codec.layout.shapes)[-3:]


def test_state():
    encoder = small().state_encoder
    check_layout(table("State"), encoder.layout, encoder.low, encoder.high)
    sizes = [small(observation=name).state_encoder.size for name in ("csi", "large_scale", "values")]
    assert f"here {sizes[0]} entries" in section("State")
    assert f"{sizes[1]} with the other two" in section("State")
    assert sizes[1] == sizes[2]


def test_rewards_are_all_there():
    assert [row[0].strip('`"') for row in table("Rewards")] == list(REWARDS)


def test_infos():
    env, vec = small(horizon=1), make_vec_env("mdlbi-small-v0", 3, fast=False, horizon=1)
    env.reset(seed=0)
    vec.reset(seed=0)
    single = env.step({agent: env.action_space(agent).sample() for agent in env.agents})[4]["bs_0"]
    batch = vec.step(np.zeros((3, 2, 66), np.float32))[4]
    shown = {key: row for row in table("Infos") for key in re.findall(r"`([\w.]+)`", row[0])}
    assert {key for key, row in shown.items() if row[1]} == set(single)
    assert {key for key, row in shown.items() if row[2]} == {key for key in batch if not key.startswith("_")}
    sizes = {**SYMBOLS, "D_o": vec.observation_size, "D_s": vec.state_size}
    for info, column in ((single, 1), (batch, 2)):
        for key, value in info.items():
            if not key.startswith("_"):
                assert shown[key][column] == told(value, shown[key][column], sizes), key


def told(value, text, sizes):
    """How the table writes an array of this shape and type, if the shape that it shows is the right one."""
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    written = text.rpartition(" ")[0]
    return f"{written} {value.dtype}" if eval(written, {}, sizes) == value.shape else f"{value.shape} {value.dtype}"


def test_arguments():
    """Names and defaults; the second table has what only the batched environment takes."""
    single, batched = (dict(inspect.signature(make).parameters) for make in (make_env, make_vec_env))
    here = {row[0].strip("`"): row[1].strip("`") for row in table("Arguments")}
    more = {row[0].strip("`"): row[1].strip("`") for row in table("Arguments", 1)}
    assert set(here) == set(single)
    assert set(here) | set(more) == set(batched)
    for name, default in (here | more).items():
        if name != "overrides":
            assert default == repr(batched[name].default)


def test_reset_options_are_known():
    options = [row[0].strip("`") for row in table("Starting state")]
    with pytest.warns(UserWarning, match="unknown") as warned:
        small().reset(options={"nonsense": 1})
    known = set(re.findall(r"'(\w+)'", str(warned[0].message).split("there are")[1].split(";")[0]))
    assert known == {"positions", "trace"} <= set(options)
    assert set(options) - known == {"episode", "reset_mask"}


def test_ids():
    assert [row[0].strip("`") for row in table("Version history")] == list(scenario_ids())
    for name, *numbers in table("Version history"):
        env = make_env(name.strip("`"), fast=False)
        s = env.scenario
        sizes = [s.num_bs, s.num_users, s.num_irs, s.num_antennas, s.num_elements, f"{s.blockage_db:g} dB", s.horizon]
        sizes += [env.observation_codec.size, env.action_codec.size, env.state_encoder.size]
        assert numbers == [str(size) for size in sizes], name


def test_fields_that_the_page_names_exist():
    known = {row.name for row in fields_of(type(small().scenario))}
    named = set(re.findall(r'`(\w+)="?[\w.]+"?`', PAGE)) - {"seed", "render_mode"}
    assert named - known == set()
    assert len(named) > 5


def test_ways_in():
    head = PAGE.split("## Description")[0]
    for call in ("mdlbi_v0.parallel_env()", "mdlbi_v0.env()"):
        assert call in head
        assert eval(call, {"mdlbi_v0": mdlbi_v0}).possible_agents == ["bs_0", "bs_1"]
