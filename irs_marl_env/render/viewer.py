"""The picture: built once; a frame moves what has changed onto a kept background."""

from __future__ import annotations

from typing import Any

import numpy as np

from irs_marl_env.checks import check_text
from irs_marl_env.engine.state import Outcome, State
from irs_marl_env.figure_style import BS_COLOURS, DPI, IDLE, STYLE, words
from irs_marl_env.render.history import History
from irs_marl_env.render.plan import plan
from irs_marl_env.render.scene import scene_of
from irs_marl_env.render.site_map import SiteMap
from irs_marl_env.render.table import Table
from irs_marl_env.render.window import Window
from irs_marl_env.scenario import Scenario

_CHARACTERS = 11.0  # of the caption in an inch


class Viewer:
    """Draws states of one environment.

    The map shows the users where they are now, coloured by cell, with a marker whose area grows with the rate of the
    last slot (hollow before the first one); the IRSs in the colour of the BS that owned them in that slot, with a line
    to it, thin lines to the users whom they served, fainter where the way is weaker, and a bar for the bid of each BS.
    Beside it stand the sum rates and the owners of the last slots, as far as they were drawn.

    Args:
        scenario: what is drawn.
        render_mode: ``"rgb_array"``: pictures, without a window and without pyplot; ``"human"``: a window.

    Attributes:
        caption: a line above the map, such as the names of policy and scenario.

    Raises:
        ImportError: matplotlib is missing; install ``irs-marl-env[render]``.
    """

    def __init__(self, scenario: Scenario, render_mode: str) -> None:
        try:
            import matplotlib
        except ImportError as error:
            raise ImportError("rendering needs matplotlib: pip install 'irs-marl-env[render]'") from error
        self._scenario = scenario
        self._window = Window() if render_mode == "human" else None
        self._plan = plan(scenario)
        self._last_slot = -1
        self._before: State | None = None  # the state that was drawn last
        self._background: Any = None  # the picture without what moves
        self._settled: Any = None  # the same with what changes now and then
        with matplotlib.rc_context(STYLE):
            self._build()

    def _build(self) -> None:
        size, scenario = self._plan.size_in, self._scenario
        if self._window is None:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure

            self._figure = Figure(figsize=size, dpi=DPI, facecolor="white")
            FigureCanvasAgg(self._figure)
        else:
            self._figure = self._window.open(size)
        colours = _rgb([BS_COLOURS[m % len(BS_COLOURS)] for m in range(scenario.num_bs)])
        irs_colours = np.concatenate([colours, _rgb([IDLE])])  # owner -1 takes the last
        self._map = SiteMap(self._axes(self._plan.map_in, framed=True), scenario, self._plan, colours, irs_colours)
        owners = None if self._plan.owners_in is None else self._axes(self._plan.owners_in)
        self._history = History(self._axes(self._plan.rates_in), owners, scenario, colours, irs_colours)
        self._table = Table(self._axes(self._plan.table_in), scenario, colours, self._plan.table_in[3])
        left, bottom, _, height = self._plan.map_in
        place = left / size[0], (bottom + height + 0.16) / size[1]
        self._caption = self._figure.text(*place, "", fontsize=9.5, va="bottom")
        self._map.legend(self._figure)
        moving = [*self._map.moving, *self._history.moving, *self._table.moving]
        self._moving = sorted(moving, key=lambda artist: artist.get_zorder())
        for artist in (*self._moving, *self._table.calm):
            artist.set_animated(self._window is None)  # animated: left out of the background

    def _axes(self, box: tuple[float, float, float, float], framed: bool = False) -> Any:
        """Axes at ``(left, bottom, width, height)`` in inches."""
        width, height = self._plan.size_in
        axes = self._figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
        for side in ("top", "right"):
            axes.spines[side].set_visible(framed)
        return axes

    @property
    def caption(self) -> str:
        """A line above the map."""
        return self._caption.get_text()

    @caption.setter
    def caption(self, text: str) -> None:
        wide = self._plan.table_in[0] if self._plan.table_in[0] > 3 else self._plan.size_in[0]  # what stands beside it
        most = int(_CHARACTERS * (wide - self._plan.map_in[0]))
        text = " ".join(check_text("caption", text).split())
        text = words(text if len(text) <= most else f"{text[: most - 1]}…")
        if text != self.caption:
            self._caption.set_text(text)
            self._background = None

    def draw(self, state: State, outcome: Outcome | None) -> np.ndarray | None:
        """One frame.

        Args:
            state: of a batch of one; not changed.
            outcome: of the slot before it, ``None`` after a reset.

        Returns:
            ``(height, width, 3)`` uint8 with ``"rgb_array"``, a fresh array; ``None`` with ``"human"``.
        """
        if self._window is not None and self._window.gone:
            return None  # the user closed it: go on without
        slot = int(state.slot[0])
        before = self._before if slot == self._last_slot + 1 else None
        if slot == self._last_slot and self._before is not state:
            before = None
        scene = scene_of(self._scenario, self._plan, state, outcome, before)
        self._follow(scene)
        self._before = state
        self._map.update(scene)
        if self._history.update(slot):
            self._background = None
        if self._table.update(scene):
            self._settled = None
        if self._window is not None:
            self._window.show()
            return None
        return self._picture()

    def _follow(self, scene: Any) -> None:
        if scene.slot == self._last_slot:
            return
        if scene.slot < self._last_slot and self._history.forget():  # a new episode
            self._background = None
        if scene.slot != self._last_slot + 1:  # users were not followed in between
            self._map.forget()
        self._last_slot = scene.slot
        self._map.follow(scene)
        self._history.follow(scene)

    def _picture(self) -> np.ndarray:
        canvas: Any = self._figure.canvas
        if self._background is None:
            canvas.draw()
            self._background, self._settled = canvas.copy_from_bbox(self._figure.bbox), None
        if self._settled is None:
            canvas.restore_region(self._background)
            for artist in self._table.calm:
                self._figure.draw_artist(artist)
            self._settled = canvas.copy_from_bbox(self._figure.bbox)
        canvas.restore_region(self._settled)
        for artist in self._moving:
            self._figure.draw_artist(artist)
        return np.array(np.asarray(canvas.buffer_rgba())[..., :3])

    def close(self) -> None:
        """Close the window, if any, and let go of what was drawn."""
        self._background = self._settled = self._before = None
        # its parts refer to each other: without this they hold megabytes until Python looks for such rings
        self._figure.clear()
        if self._window is not None:
            self._window.close()


def _rgb(colours: list[str]) -> np.ndarray:
    """Hexadecimal colours as ``(n, 3)`` in [0, 1]."""
    return np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
