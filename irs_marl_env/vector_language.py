"""What Gymnasium's vector environments have beside ``reset`` and ``step``: spaces, metadata, final infos, pictures."""

from __future__ import annotations

from functools import cached_property
from typing import Any, overload

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from irs_marl_env import arrays, checks
from irs_marl_env.arrays import copy
from irs_marl_env.engine.core import Core
from irs_marl_env.engine.state import Outcome, State

Array = Any


class VectorLanguage:
    """The part of Gymnasium's vector language that does not depend on where an episode stands.

    One row is one system, so what Gymnasium calls a single environment has all M base stations: its spaces are
    ``(M, D)``, and rewards and flags are ``(E, M)``. The spaces are made when they are asked for.
    """

    num_envs: int
    autoreset: bool
    render_mode: str | None
    spec = None  # of no Gymnasium registry
    _core: Core
    _state: State | None
    _outcome: Outcome | None
    caption: str
    _viewers: dict[int, Any]

    @cached_property
    def single_observation_space(self) -> spaces.Box:
        """``Box (M, D_o)``: observations of all base stations of one row."""
        codec = self._core.observation_codec
        low, high = (np.tile(bound, (self._core.scenario.num_bs, 1)) for bound in (codec.low, codec.high))
        return spaces.Box(low, high)

    @cached_property
    def single_action_space(self) -> spaces.Box:
        """``Box (M, D_a)``: actions of all base stations of one row."""
        return spaces.Box(-1.0, 1.0, (self._core.scenario.num_bs, self._core.action_codec.size), np.float32)

    @cached_property
    def observation_space(self) -> spaces.Space:
        """``Box (E, M, D_o)``."""
        return batch_space(self.single_observation_space, self.num_envs)

    @cached_property
    def action_space(self) -> spaces.Space:
        """``Box (E, M, D_a)``."""
        return batch_space(self.single_action_space, self.num_envs)

    @property
    def metadata(self) -> dict[str, Any]:
        """Modes of rendering, and ``"autoreset_mode"``."""
        mode = AutoresetMode.SAME_STEP if self.autoreset else AutoresetMode.DISABLED
        return {"render_modes": ["rgb_array"], "render_fps": 10, "autoreset_mode": mode}

    @property
    def unwrapped(self) -> VectorLanguage:
        """The environment itself."""
        return self

    @overload
    def render(self) -> tuple[np.ndarray, ...] | None: ...

    @overload
    def render(self, row: int) -> np.ndarray | None: ...

    def render(self, row: int | None = None) -> tuple[np.ndarray, ...] | np.ndarray | None:
        """A picture of every row, or of one, ``(height, width, 3)`` uint8; ``None`` without a ``render_mode``.

        Args:
            row: which one; ``None``: all, as a tuple, as in Gymnasium's vector environments. A row that is drawn in
                every slot shows its last slots; one that is drawn now and then shows those that were drawn.

        Raises:
            ImportError: matplotlib is missing; install ``irs-marl-env[render]``.
            RuntimeError: called before ``reset``.
            ValueError: there is no such row.
        """
        if row is not None:
            row = checks.check_whole("row", row, 0, self.num_envs - 1)
        if self.render_mode is None:
            gymnasium.logger.warn("render() does nothing without a render_mode")
            return None
        if self._state is None:
            raise RuntimeError("call reset() before render()")
        return tuple(map(self._picture, range(self.num_envs))) if row is None else self._picture(row)

    def _picture(self, row: int) -> np.ndarray:
        from irs_marl_env.render import Viewer

        if row not in self._viewers:
            self._viewers[row] = Viewer(self._core.scenario, "rgb_array")
        viewer = self._viewers[row]
        viewer.caption = self.caption
        assert self._state is not None
        begins = self._outcome is None or self._state.slot[row] == 0
        outcome = None if begins else arrays.row_on_host(self._outcome, row)
        return viewer.draw(arrays.row_on_host(self._state, row), outcome)

    def close(self) -> None:
        """Forget the pictures; the environment stays usable."""
        for viewer in self._viewers.values():
            viewer.close()
        self._viewers = {}


def final_infos(infos: dict[str, Array], ended: Array) -> dict[str, Any]:
    """``final_obs`` and ``final_info``, with the masks that say for which rows they hold.

    Args:
        infos: of a step in which rows end; arrays by name, ``"final_observation"`` among them.
        ended: ``(E,)`` bool.
    """
    final = {}
    for name, value in infos.items():
        if not name.startswith("final_"):
            final[name], final[f"_{name}"] = copy(value), copy(ended)
    last = {"final_obs": copy(infos["final_observation"]), "final_info": final}
    return last | {"_final_obs": copy(ended), "_final_info": copy(ended)}


def check_reset_mask(options: dict[str, Any] | None, num_envs: int) -> np.ndarray | None:
    """The rows ``(n,)`` that ``options["reset_mask"]`` names; ``None`` without a mask.

    Raises:
        ValueError: no array of E bools, or none of them is True.
    """
    if options is None or options.get("reset_mask") is None:
        return None
    mask = options["reset_mask"]
    array = arrays.on_host_or_none(mask)
    if array is None or array.shape != (num_envs,) or array.dtype != np.bool_ or not array.any():
        shown = mask if array is None else f"{array.dtype} array of shape {array.shape}"
        if array is not None and array.dtype == np.bool_ and array.shape == (num_envs,):
            shown = array.tolist()
        allowed = f"a bool array of shape ({num_envs},) with at least one True"
        raise checks.refusal("options['reset_mask']", shown, allowed)
    return np.flatnonzero(array)
