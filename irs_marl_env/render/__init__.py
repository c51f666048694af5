"""A picture of one environment, drawn with matplotlib (extra ``render``), which is imported only when asked.

``viewer.py`` holds :class:`Viewer`; ``scene.py`` what one frame shows, as arrays; ``plan.py`` where things stand;
``site_map.py``, ``history.py`` and ``table.py`` draw the parts; ``window.py`` is the window of ``"human"``.
"""

from irs_marl_env.figure_style import BS_COLOURS, DPI, IDLE
from irs_marl_env.render.viewer import Viewer

__all__ = ["BS_COLOURS", "DPI", "IDLE", "Viewer"]
