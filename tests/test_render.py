"""Pictures: PettingZoo's own test, shape, content, and that drawing changes nothing."""

from __future__ import annotations

import itertools
import pickle
import subprocess
import sys
import time
import warnings
from functools import partial

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib", reason="pictures need the extra 'render'")

with warnings.catch_warnings():  # PettingZoo 1.27 imports its own deprecated paths there
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import render_test

from irs_marl_env import layouts, make_env, make_vec_env, mdlbi_v0  # noqa: E402
from irs_marl_env.render import BS_COLOURS, Viewer  # noqa: E402

SIZES = {
    "one-of-each": {"num_bs": 1, "num_irs": 0, "num_users": 1, "num_groups": 1},
    "default": {},
    "idle": {"num_irs": 4, "contention": "collision"},
    "three-bs": {"num_bs": 3, "num_irs": 5, "num_elements": 4},
    "large": {"num_bs": 8, "num_irs": 32, "num_users": 128, "num_elements": 4},
    "more-bs-than-colours": {"num_bs": 10, "num_irs": 3, "num_elements": 4},
    "wide": {"area_width_m": 1000.0},
    "many": {"bs_positions_m": layouts.grid(8, 8, 50.0), "num_elements": 1, "num_antennas": 1},
    "facing": {"irs_positions_m": [(-9, 5, 3), (90, 60, 3)], "irs_facing": [(1, 1, 0), (0, 0, 1)]},
    "switching": {"switching_slots": 2, "association_delay": 1},
    "single": {"reflection": "single"},
    "short": {"horizon": 3, "slot_s": 0.25},
    "outside": {"bs_positions_m": [(-50, -20, 9)], "area_bounds_m": (0, 0, 30, 90)},
}


@pytest.fixture(autouse=True)
def _no_display(monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "backend", "agg")


def small(render_mode="rgb_array", **overrides):
    return make_env("mdlbi-small-v0", render_mode=render_mode, **overrides)


def random_actions(env, rng):
    return {a: rng.uniform(-1, 1, env.action_space(a).shape).astype(np.float32) for a in env.agents}


@pytest.mark.parametrize("scenario", ["mdlbi-v0", "mdlbi-large-v0"])
def test_pettingzoo_render_test(scenario):
    render_test(partial(mdlbi_v0.env, scenario=scenario))


@pytest.mark.parametrize("overrides", SIZES.values(), ids=SIZES.keys())
def test_frames_of_every_size_are_alike_in_shape_and_differ_as_users_move(overrides):
    env = small(**overrides)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    frames = [env.render()]
    for _ in range(3):
        env.step(random_actions(env, rng))
        frames.append(env.render())
    height, width, channels = frames[0].shape
    assert channels == 3
    assert height % 2 == width % 2 == 0  # video encoders want it so
    assert max(height, width) <= 1300
    for before, after in itertools.pairwise(frames):
        assert after.dtype == np.uint8
        assert after.shape == (height, width, 3)
        assert (before != after).any()


def test_moving_users_move_in_the_picture():
    """Static users without a step in between: the same picture; a user elsewhere: another one, in two places."""
    here, there = np.full((1, 2), 10.0), np.full((1, 2), 60.0)
    env = small(num_users=1, num_groups=1, num_irs=0, mobility="static")
    frames = []
    for positions in (here, here, there):
        env.reset(seed=0, options={"positions": positions})
        frames.append(env.render())
    assert (frames[0] == frames[1]).all()
    rows, columns = np.nonzero((frames[0] != frames[2]).any(-1))
    assert np.ptp(columns) > 200
    assert np.ptp(rows) > 200


def test_irs_takes_the_colour_of_its_owner():
    env = small(num_irs=1, num_users=1, num_groups=1, mobility="static", association_delay=0)
    env.reset(seed=0)
    counts = []
    for winner in (0, 1):
        actions = {a: np.zeros(env.action_space(a).shape, np.float32) for a in env.agents}
        actions[f"bs_{winner}"][env.action_codec.layout.slices["bids"]] = 1.0
        env.step(actions)
        frame = env.render()
        colours = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in BS_COLOURS[:2]]
        counts.append([int((frame == colour).all(-1).sum()) for colour in colours])
    assert counts[0][0] > counts[1][0] + 100
    assert counts[1][1] > counts[0][1] + 100


def test_rendering_does_not_change_the_trajectory():
    drawn, plain = small(), small(render_mode=None)
    rngs = np.random.default_rng(1), np.random.default_rng(1)
    drawn.reset(seed=3)
    plain.reset(seed=3)
    for _ in range(10):
        one, other = (env.step(random_actions(env, rng)) for env, rng in zip((drawn, plain), rngs, strict=True))
        drawn.render()
        assert one[1] == other[1]
        for agent in drawn.agents:
            np.testing.assert_array_equal(one[0][agent], other[0][agent])
            for key in one[4][agent]:
                np.testing.assert_array_equal(one[4][agent][key], other[4][agent][key])


def test_frames_are_fresh_arrays():
    env = small()
    env.reset(seed=0)
    first = env.render()
    kept = first.copy()
    env.step(random_actions(env, np.random.default_rng(0)))
    env.render()
    assert (first == kept).all()
    first[...] = 0
    assert env.render().any()


def test_frame_depends_on_the_state_and_not_on_an_earlier_episode():
    env = small()
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    for _ in range(5):
        env.step(random_actions(env, rng))
        env.render()
    env.reset(seed=7)
    again = env.render()
    other = small()
    other.reset(seed=7)
    assert (again == other.render()).all()


def test_close_and_go_on():
    env = small()
    env.reset(seed=0)
    first = env.render()
    env.close()
    env.close()
    env.step(random_actions(env, np.random.default_rng(0)))
    assert env.render().shape == first.shape
    env.reset(seed=0)
    assert (env.render() == first).all()


@pytest.mark.parametrize("mode", ["rgb_array", "human"])
def test_pickle_while_a_viewer_is_open(mode):
    env = small(render_mode=mode)
    env.reset(seed=0)
    env.render()
    twin = pickle.loads(pickle.dumps(env))
    actions = random_actions(env, np.random.default_rng(0))
    assert env.step(actions)[1] == twin.step(actions)[1]
    picture = twin.render()
    assert (picture is None) == (mode == "human")
    env.close()
    twin.close()


def test_window_is_closed_and_its_loss_survived():
    import matplotlib.pyplot as plt

    plt.close("all")  # what other tests left open
    env = small(render_mode="human")
    assert env.reset(seed=0) is not None
    assert len(plt.get_fignums()) == 1
    assert env.render() is None
    plt.close("all")  # as a user does
    env.step(random_actions(env, np.random.default_rng(0)))
    env.close()
    env.reset(seed=0)
    assert len(plt.get_fignums()) == 1
    env.close()
    assert not plt.get_fignums()


def test_pictures_leave_pyplot_and_the_settings_alone():
    code = (
        "import sys, matplotlib\n"
        "from irs_marl_env import make_env\n"
        "matplotlib.rcParams['font.size'] = 31\n"
        "before = dict(matplotlib.rcParams)\n"
        "env = make_env('mdlbi-small-v0', render_mode='rgb_array')\n"
        "env.reset(seed=0); env.render(); env.close()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert before == dict(matplotlib.rcParams)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_missing_matplotlib_is_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    env = small()
    env.reset(seed=0)
    with pytest.raises(ImportError, match=r"pip install 'irs-marl-env\[render\]'"):
        env.render()


def test_a_frame_is_cheap():
    """Artists are moved, not drawn anew: the full picture costs several times as much."""
    env = small()
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    viewer = Viewer(env.scenario, "rgb_array")

    def cost(fresh):
        if fresh:
            viewer._background = None
        start = time.process_time()
        viewer.draw(env._state, env._outcome)
        return time.process_time() - start

    kept, rebuilt = [], []
    for _ in range(8):
        env.step(random_actions(env, rng))
        rebuilt.append(cost(True))
        kept.append(cost(False))
    assert min(kept) < 0.7 * min(rebuilt)
    assert min(kept) < 0.06


# --- what is shown --------------------------------------------------------------------------------------------------


def drawn(slots, seed=0, **overrides):
    """An environment after some slots, with the viewer that drew each of them."""
    env = small(**overrides)
    env.reset(seed=seed)
    env.render()
    rng = np.random.default_rng(seed)
    for _ in range(slots):
        env.step(random_actions(env, rng))
        env.render()
    return env, env._viewer


def rates_shown(viewer):
    return [row[-1].get_text() for row in viewer._table._entries]


def test_before_the_first_slot_there_are_no_rates_bids_and_links():
    env, viewer = drawn(0)
    site_map = viewer._map
    assert rates_shown(viewer) == ["–"] * 3
    np.testing.assert_array_equal(site_map._users.get_facecolors()[:, :3], 1.0)  # hollow
    assert len(set(site_map._users.get_sizes())) == 1
    assert not site_map._bids.get_segments()
    assert not site_map._serving.get_segments()
    assert all(len(curve.get_xdata()) == 0 for curve in viewer._history._curves)
    env.step(random_actions(env, np.random.default_rng(0)))
    env.render()
    assert rates_shown(viewer) == [f"{r:.2f}" for r in (*env._outcome.sum_rate[0], env._outcome.sum_rate.sum())]
    assert (site_map._users.get_facecolors()[:, :3] < 1.0).any(-1).all()
    assert len(site_map._bids.get_segments()) == 4  # two BSs bid for each of two IRSs
    env.reset()
    env.render()
    assert rates_shown(viewer) == ["–"] * 3


def test_bars_of_bids_rise_from_minus_one_to_one():
    env, viewer = drawn(0, num_irs=1)
    bids = env.action_codec.layout.slices["bids"]
    actions = {a: np.zeros(env.action_space(a).shape, np.float32) for a in env.agents}
    actions["bs_0"][bids], actions["bs_1"][bids] = -1.0, 0.5
    env.step(actions)
    env.render()
    rises = [float(np.ptp(bar[:, 1])) for bar in viewer._map._bids.get_segments()]
    np.testing.assert_allclose(rises, [0.0, 0.75 * viewer._map._bid_rise], atol=1e-9)


@pytest.mark.parametrize("overrides", [{"contention": "collision"}, {"reflection": "single"}, {"switching_slots": 3}])
def test_an_irs_is_linked_to_users_of_its_owner_alone(overrides):
    env, viewer = drawn(12, num_users=6, num_irs=3, mobility="static", **overrides)
    outcome, shown = env._outcome, viewer._map._serving.get_segments()
    position = env._state.motion["position"][0]
    linked = set()
    for start, end in shown:
        irs = int(np.abs(viewer._map._irs - start).sum(-1).argmin())
        user = int(np.abs(position - end).sum(-1).argmin())
        assert outcome.owner[0][irs] == outcome.cell[0][user]
        linked.add((irs, user))
    assert len(linked) == len(shown)
    if "reflection" in overrides:  # one IRS for each user whose BS owns any
        served = [k for k in range(6) if (outcome.owner[0] == outcome.cell[0][k]).any()]
        assert sorted(user for _, user in linked) == served


def test_an_irs_that_changes_hands_has_the_edge_of_its_next_owner():
    env, viewer = drawn(0, num_irs=1, switching_slots=3)
    before = int(env._state.holder[0, 0])
    actions = {a: np.zeros(env.action_space(a).shape, np.float32) for a in env.agents}
    actions[f"bs_{1 - before}"][env.action_codec.layout.slices["bids"]] = 1.0
    env.step(actions)
    env.render()
    marks = viewer._map._irs_marks
    np.testing.assert_allclose(marks.get_facecolors()[0, :3], 0xE6 / 255)
    np.testing.assert_allclose(marks.get_edgecolors()[0, :3], viewer._map._colours[1 - before])
    for _ in range(3):
        env.step(actions)
        env.render()
    np.testing.assert_allclose(marks.get_facecolors()[0, :3], viewer._map._colours[1 - before])


def test_every_irs_has_its_number():
    _, viewer = drawn(1, num_irs=12, num_elements=2)
    assert len(viewer._map._numbers.get_paths()) == 12
    *_, owners = viewer._figure.axes[:2]
    assert [label.get_text() for label in owners.get_yticklabels()] == ["0", "2", "4", "6", "8", "10"]


def test_an_irs_on_the_edge_of_the_area_is_whole():
    walls = [(0, 30, 5), (60, 30, 5), (30, 0, 5), (30, 60, 5), (30, 30, 5)]
    places = {"bs_positions_m": [(10, 10, 9), (50, 50, 9)], "area_bounds_m": (0, 0, 60, 60), "irs_positions_m": walls}
    env, viewer = drawn(0, fast=False, num_users=1, num_groups=1, num_elements=2, **places)
    frame, site_map = env.render(), viewer._map
    half = np.sqrt(site_map._irs_marks.get_sizes()[0]) / 2 * viewer._figure.dpi / 72  # pixels
    for across, up in site_map._ax.transData.transform(site_map._irs):
        for side in ((half, 0), (-half, 0), (0, half), (0, -half)):
            column, row = round(across + side[0]), round(len(frame) - up - side[1])
            assert frame[row - 1 : row + 2, column - 1 : column + 2].max(-1).min() < 100  # its black edge


def test_the_axes_of_rates_and_time_do_not_jump():
    env, viewer = drawn(0, horizon=200, num_users=2, num_irs=1, num_elements=2, num_antennas=2)
    rng, tops, firsts = np.random.default_rng(0), [], []
    for slot in range(1, 71):
        env.step(random_actions(env, rng))
        if slot == 30:  # a great rate, and small ones before and after it
            env._outcome = env._outcome._replace(sum_rate=np.full((1, 2), 17.0, np.float32))
        env.render()
        tops.append(viewer._history._rates_ax.get_ylim()[1])
        ticks = viewer._history._ticks.get_offsets()[::2, 0]
        firsts.append(viewer._history._labelled[0] - ticks[0])  # the slot at the left end
    assert tops == sorted(tops)
    assert set(tops) == {5.0, 20.0}
    assert firsts == [max(0, slot - 60) for slot in range(1, 71)]
    env.reset()
    env.render()
    assert viewer._history._rates_ax.get_ylim()[1] == 5.0


def test_time_is_in_slots_and_seconds():
    _, viewer = drawn(2, horizon=100, slot_s=0.25)
    assert viewer._table._title.get_text() == "slot 2 of 100   0.5 s"
    assert viewer._history._labelled == [0, 20, 40, 60, 80, 100]
    assert len(viewer._history._ticks.get_paths()) == 12  # two rows


def test_rows_of_irs_have_the_colours_of_their_owners():
    env, viewer = drawn(5, num_irs=3, contention="collision", horizon=10)
    pixels = viewer._history._pixels
    assert pixels.shape == (3, 10, 3)
    np.testing.assert_array_equal(pixels[:, 4], viewer._history._irs_colours[env._outcome.owner[0]])
    assert (pixels[:, 5:] == 255).all()  # slots to come


def test_a_caption_names_the_scenario_until_somebody_says_more():
    env = make_env("mdlbi-small-v0", render_mode="rgb_array", num_irs=1)
    env.reset(seed=0)
    first = env.render()
    assert env._viewer.caption == "mdlbi-small-v0 with num_irs=1"
    env.caption = "my policy on " + "a scenario with a long name, " * 9
    second = env.render()
    rows, _ = np.nonzero((first != second).any(-1))
    assert rows.max() < 50  # above the map
    assert len(env._viewer.caption) < 70
    env.caption = ""
    assert (env.render()[:40, :500] == 255).all()


def test_users_without_recorded_positions_stand_apart():
    rng = np.random.default_rng(0)
    H = rng.normal(size=(4, 2, 5, 2)) * 1e-5 + 0j
    env = make_env(
        num_bs=2, num_users=5, num_irs=0, num_antennas=2, horizon=3, channels={"H": H}, render_mode="rgb_array"
    )
    env.reset(seed=0)
    env.render()
    places = env._viewer._map._users.get_offsets()
    assert len({tuple(place) for place in places.tolist()}) == 5
    assert env._viewer._map._note.get_text() == "no positions are recorded: users stand in order"
    assert drawn(0)[1]._map._note.get_text() == ""


@pytest.mark.parametrize("overrides", SIZES.values(), ids=SIZES.keys())
def test_the_legend_stands_apart_from_the_axis_of_time(overrides):
    _, viewer = drawn(0, **overrides)
    figure, plan = viewer._figure, viewer._plan
    (legend,) = figure.legends
    box = legend.get_window_extent()
    left, bottom, width, _ = plan.owners_in or plan.rates_in
    dpi = figure.dpi
    words = (dpi * (left - 0.55), dpi * (bottom - 0.4), dpi * (left + width), dpi * bottom)  # slots and seconds
    apart = box.x1 < words[0] or box.y1 < words[1] or box.y0 > words[3]
    assert apart
    assert box.x1 < figure.bbox.x1
    assert box.y0 > 0


# --- rows of a batch ------------------------------------------------------------------------------------------------


def test_one_row_of_a_batch():
    vec = make_vec_env("mdlbi-small-v0", 3, render_mode="rgb_array", fast=False)
    vec.reset(seed=0)
    vec.step(np.zeros((3, 2, vec.action_size), np.float32))
    alone = vec.render(1)
    assert alone.dtype == np.uint8
    assert alone.shape[-1] == 3
    assert list(vec._viewers) == [1]  # the others are not drawn
    everything = vec.render()
    assert isinstance(everything, tuple)
    assert len(everything) == 3
    assert (everything[1] == alone).all()
    assert (vec.render(np.int64(1)) == alone).all()
    assert (vec.render(2) != alone).any()


@pytest.mark.parametrize("row", [3, -1, 1.5, "1", True])
def test_a_row_that_is_none(row):
    vec = make_vec_env("mdlbi-small-v0", 3, render_mode="rgb_array", fast=False)
    vec.reset(seed=0)
    with pytest.raises(ValueError, match=r"^row=.*: must be an integer in \[0, 2\]$"):
        vec.render(row)


@pytest.mark.parametrize(
    "caption", [r"a$\nothing$b", "$", "_name", "tab\tand\nlines", "\u202eturned\0", "x" * 10_000, ""]
)
def test_a_caption_is_shown_as_it_is(caption):
    """Dollars mean mathematics to matplotlib; marks that turn the reading direction have no shape in its fonts."""
    env = make_vec_env("mdlbi-small-v0", 1, render_mode="rgb_array", fast=False, num_irs=0)
    env.reset(seed=0)
    env.caption = ""
    empty = env.render(0)
    env.caption = caption
    assert (env.render(0) != empty).any() == bool(caption)


@pytest.mark.parametrize("caption", [None, 3, "\udcff"])
def test_a_caption_that_is_no_text_is_refused(caption):
    env = make_vec_env("mdlbi-small-v0", 1, render_mode="rgb_array", fast=False, num_irs=0)
    env.reset(seed=0)
    env.caption = caption
    with pytest.raises(ValueError, match=r"caption=.* must be a text"):
        env.render(0)


@pytest.mark.parametrize(
    "sites", [[(-1e5, -1e5, 10), (1e5, 1e5, 10)], [(0, 0, 10), (1e5, 0, 10)], [(0, 0, 10), (0, 3e5, 10)], None]
)
@pytest.mark.parametrize("slot_s", [1e-9, 86400.0])
def test_numbers_of_the_axes_stand_within_the_picture(sites, slot_s):
    """Far places in km and long episodes in hours or days: otherwise their digits have no room."""
    env = make_vec_env("mdlbi-small-v0", 1, render_mode="rgb_array", fast=False, bs_positions_m=sites, slot_s=slot_s)
    env.reset(seed=0)
    env.render(0)
    viewer = env._viewers[0]
    box, renderer = viewer._figure.bbox, viewer._figure.canvas.get_renderer()
    ax = viewer._map._ax
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    across = [text for text in ax.get_xticklabels() if left <= text.get_position()[0] <= right]
    up = [text for text in ax.get_yticklabels() if bottom <= text.get_position()[1] <= top]
    assert len(across) > 2
    for text in (*across, *up, ax.xaxis.label, ax.yaxis.label):
        found = text.get_window_extent(renderer)
        assert found.x0 >= 0, text
        assert found.x1 <= box.x1, text
    assert ax.get_xlabel() == ("x [m]" if sites is None else f"{viewer._plan.axes[0]} [km]")
    if sites is not None:
        assert max(len(text.get_text()) for text in ax.get_xticklabels()) <= 5
    ticks = viewer._history._ticks
    places = ticks.get_offset_transform().transform(ticks.get_offsets())
    for path, place in zip(ticks.get_paths(), places, strict=True):
        assert place[0] + path.get_extents().x1 * viewer._figure.dpi / 72 <= box.x1
