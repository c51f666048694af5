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

from irs_marl_env import layouts, make_env, mdlbi_v0  # noqa: E402
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
