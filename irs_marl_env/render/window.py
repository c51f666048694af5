"""The window of ``render_mode="human"``."""

from __future__ import annotations

import logging
import time
from typing import Any

from irs_marl_env.figure_style import DPI

FPS = 10.0

_log = logging.getLogger(__name__)


class Window:
    """A pyplot window that keeps pace with :data:`FPS`; without a display it is an invisible figure."""

    def __init__(self) -> None:
        import matplotlib.pyplot as plt

        self._plt = plt
        self._figure: Any = None
        self._next = 0.0

    def open(self, size_in: tuple[float, float]) -> Any:
        """The figure to draw on, in its window."""
        from matplotlib.backend_bases import FigureManagerBase

        self._figure = self._plt.figure(figsize=size_in, dpi=DPI, facecolor="white")
        manager = self._figure.canvas.manager
        self._visible = type(manager).pyplot_show != FigureManagerBase.pyplot_show
        self._visible = self._visible or self._plt.get_backend().lower() in _interactive_backends()
        if self._visible:
            manager.set_window_title("irs-marl-env")
            self._figure.show()
        else:
            _log.warning("render_mode='human' needs a display (matplotlib chose %s)", self._plt.get_backend())
        return self._figure

    @property
    def gone(self) -> bool:
        """Whether the user has closed the window."""
        return not self._plt.fignum_exists(self._figure.number)

    def show(self) -> None:
        """Bring the figure up to date and wait for the next frame's time."""
        if not self._visible:
            self._figure.canvas.draw()
            return
        self._figure.canvas.draw_idle()
        pause = max(self._next - time.monotonic(), 1e-3)
        self._figure.canvas.start_event_loop(pause)
        self._next = time.monotonic() + 1.0 / FPS

    def close(self) -> None:
        """Close the window."""
        self._plt.close(self._figure)


def _interactive_backends() -> list[str]:
    from matplotlib.backends import BackendFilter, backend_registry

    return backend_registry.list_builtin(BackendFilter.INTERACTIVE)
