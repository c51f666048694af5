"""Batched shell: E environments in one step. No physics lives here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irs_marl_env import arrays, checks, sizes
from irs_marl_env.arrays import apart, copy
from irs_marl_env.engine import snapshot
from irs_marl_env.engine.core import Core
from irs_marl_env.engine.state import Outcome, State
from irs_marl_env.engine.view import View
from irs_marl_env.scenario import Scenario, get_scenario
from irs_marl_env.scenario_text import title
from irs_marl_env.streams import Streams
from irs_marl_env.vector_language import VectorLanguage, check_reset_mask, final_infos

Array = Any


class MdlbiVectorEnv(VectorLanguage):
    """E environments of one scenario; row i is the single environment seeded with ``seed + i``.

    All rows begin and, without ``stagger``, end their episodes together. The step that truncates a row resets it at
    once: its observations are those of the next episode, and ``infos["final_observation"]``, ``infos["final_state"]``
    hold the true last ones.

    It has what Gymnasium's vector environments have: spaces of a row, ``single_observation_space (M, D_o)`` and
    ``single_action_space (M, D_a)``, and of the batch; ``metadata["autoreset_mode"]``; ``final_obs`` and
    ``final_info``; lists of seeds; ``reset(options={"reset_mask": ...})``. It is no ``gymnasium.vector.VectorEnv``,
    whose rewards and flags are ``(E,)``: a row here is M agents, and rewards and flags are ``(E, M)``.

    Args:
        scenario: preset name or scenario.
        num_envs: E.
        backend: ``"numpy"``, or ``"torch"`` (extra ``train``).
        device: torch device; ``None`` is the CPU.
        autoreset: ``False``: stepping on after the truncating step is an error until ``reset``.
        stagger: spread the ends of episodes: the first episode of row i is cut short at slot
            ``horizon - i * horizon // num_envs``, all later ones are whole. A learner then never sees a whole batch at
            the same slot.
        fast: use the compiled kernels (extra ``fast``); ``None``: where they are installed. Results agree within
            float32 rounding, not bit by bit.
        read_only: hand out observations of numpy as read-only arrays. The memory of large ones is used again once
            nobody refers to it; if nobody can have written into it, the kernels write only what changed. Arrays that
            are kept stay as they are either way.
        render_mode: ``None``, or ``"rgb_array"``: :meth:`render` draws every row, or one (extra ``render``).
        **overrides: scenario fields.

    With ``backend="torch"`` a step fetches nothing from the device but whether the action is finite, and random numbers
    are made where the arrays live. Gradients flow from rewards and rates to an action that asks for them, never through
    the state to later slots.

    Attributes:
        caption: a line above the picture, at first the scenario's name; may be assigned.

    Raises:
        ValueError: unknown scenario, field or backend, or an impossible value.
    """

    _bits_on_device: bool | None = None  # None: on any torch device but the CPU

    def __init__(
        self,
        scenario: str | Scenario = "mdlbi-v0",
        num_envs: int = 1,
        *,
        backend: str = "numpy",
        device: Any = None,
        autoreset: bool = True,
        stagger: bool = False,
        fast: bool | None = None,
        read_only: bool = False,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        render_mode = checks.Choice(("rgb_array",), optional=True)("render_mode", render_mode)
        self.num_envs = checks.check_whole("num_envs", num_envs, 1)
        self.backend = backend = checks.Choice(arrays.BACKENDS)("backend", backend)
        self.autoreset, self.stagger, read_only = (
            checks.Flag()(name, value)
            for name, value in (("autoreset", autoreset), ("stagger", stagger), ("read_only", read_only))
        )
        if stagger and not autoreset:
            raise ValueError("stagger=True needs autoreset=True: rows end at different steps")
        self._xp, self.device = arrays.backend(backend, device)
        described = get_scenario(scenario, **overrides)
        sizes.check_batch(described, self.num_envs, self.device)
        self._core = Core(described, self._xp, self.device, fast, read_only)
        self.render_mode = render_mode
        self.caption = title(scenario, overrides)
        self.agents = [f"bs_{m}" for m in range(self.scenario.num_bs)]
        self.action_size = self.action_codec.size
        self.observation_size = self.observation_codec.size
        self.state_size = self.state_encoder.size
        self._streams: Streams | None = None
        self._state: State | None = None
        self._ends = np.zeros(0, np.int64)  # (E,) slot that ends the episode of each row
        self._outcome: Outcome | None = None  # of the last slot, kept for pictures alone
        self._rates: Array | None = None  # (E, K) of the last slot
        self._viewers: dict[int, Any] = {}

    @property
    def scenario(self) -> Scenario:
        """The scenario, completely."""
        return self._core.scenario

    @property
    def action_codec(self) -> Any:
        """Flat actions as named arrays, and back."""
        return self._core.action_codec

    @property
    def observation_codec(self) -> Any:
        """Flat observations as named arrays."""
        return self._core.observation_codec

    @property
    def state_encoder(self) -> Any:
        """Global states as named arrays."""
        return self._core.state_encoder

    @apart
    def reset(
        self, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """Begin an episode in every environment, or in some.

        Args:
            seed: environment i is seeded with ``seed + i``, or with ``seed[i]`` of a list; ``None`` continues the
                streams, of all or of a row.
            options: as for the single environment; positions hold for all rows that begin. ``reset_mask (E,)`` bool
                names the rows that begin, a whole episode each; the others go on as if nothing had happened.

        Returns:
            Observations ``(E, M, D_o)``, and infos, which are empty.

        Raises:
            ValueError: an impossible seed or option; nothing has changed then.
            RuntimeError: a mask that leaves rows out before the first ``reset``.
        """
        seeds = checks.check_seeds(seed, self.num_envs)
        positions = self._core.check_reset_options(options, ("reset_mask",))
        rows = check_reset_mask(options, self.num_envs)
        if self._state is None and rows is not None and len(rows) < self.num_envs:
            raise RuntimeError("call reset() for all rows before options['reset_mask'] names some")
        streams = self._seeded(seeds)
        if self._state is None or self._streams is None or rows is None:
            self._state = self._core.reset(streams, positions)
            self._streams, self._outcome, self._rates = streams, None, None
            horizon, everyone = self.scenario.horizon, np.arange(self.num_envs)
            self._ends = horizon - everyone * horizon // self.num_envs * self.stagger
        else:
            some = streams.rows(rows)
            along = self._core.trace if positions is None else positions
            self._state = self._core.begin_again(self._state, rows, some, along)
            self._streams.put(rows, some)
            self._ends[rows] = self.scenario.horizon
        return self._core.observe(self._state), {}

    def _seeded(self, seeds: int | Sequence[int | None] | None) -> Streams:
        """Streams to begin with: those that exist, or new ones where there is a seed."""
        streams = self._streams
        if streams is None or isinstance(seeds, int):
            return self._fresh_streams(seeds)
        if seeds is None:
            return streams
        fresh = self._fresh_streams(seeds)
        kept = np.array([i for i, seed in enumerate(seeds) if seed is None], np.int64)
        fresh.put(kept, streams.rows(kept))
        return fresh

    @apart
    def step(self, action: Array) -> tuple[Array, Array, Array, Array, dict[str, Array]]:
        """One slot in every environment.

        Args:
            action: ``(E, M, D_a)``, finite.

        Returns:
            observations ``(E, M, D_o)``, rewards ``(E, M)``, terminations and truncations ``(E, M)`` bool, infos:
            ``rates (E, K)``, ``cell (E, K)``, ``sum_rate (E, M)``, ``power_w (E, M)``, ``owner (E, L)`` and, in steps
            that truncate a row, ``final_observation (E, M, D_o)``, ``final_state (E, D_s)`` (of all rows, as they
            were before any reset) and ``TimeLimit.truncated (E,)``. Such steps say the same in Gymnasium's words:
            ``final_obs``, and ``final_info`` with the metrics by name, hold where the masks ``_final_obs (E,)``,
            ``_final_info (E,)`` and, inside ``final_info``, ``_rates (E,)`` and so on are true.

        Raises:
            ValueError: wrong shape or not finite; the state is untouched then.
            RuntimeError: before ``reset``, or past the end with ``autoreset=False``.
        """
        if self._state is None or self._streams is None:
            raise RuntimeError("call reset() before step()")
        if not self.autoreset:
            self._refuse_after_the_end(self._state.slot >= self._ends)
        action = self._check_action(action)
        state, reward, outcome = self._core.step(self._state, action, self._streams)
        infos = self._infos(outcome)
        observations = self._core.observe(state)
        ended = state.slot >= self._ends
        truncations = self._flags(False)
        if ended.any():
            truncations = truncations | self._xp.asarray(ended[:, None], device=self.device)
            infos["final_observation"] = copy(observations)
            infos["final_state"] = self._core.global_state(state)
            infos["TimeLimit.truncated"] = copy(truncations[:, 0])
            infos.update(final_infos(infos, truncations[:, 0]))
            if self.autoreset:
                state = self._begin_again(state, np.flatnonzero(ended))
                observations = self._core.observe(state)
        self._state, self._outcome, self._rates = state, outcome if self.render_mode else None, outcome.rates
        return observations, reward, self._flags(False), truncations, infos

    def _refuse_after_the_end(self, over: np.ndarray) -> None:
        if over.all():
            raise RuntimeError("the episodes are over: call reset()")
        if over.any():
            rows = np.flatnonzero(over).tolist()
            raise RuntimeError(f"the episodes of rows {rows} are over: call reset() with options['reset_mask']")

    def _begin_again(self, state: State, rows: np.ndarray) -> State:
        """The state with new episodes in some rows."""
        assert self._streams is not None
        self._ends[rows] = self.scenario.horizon
        if len(rows) == self.num_envs:
            return self._core.begin_again(state, rows, self._streams)
        streams = self._streams.rows(rows)
        state = self._core.begin_again(state, rows, streams)
        self._streams.merge(rows, streams)
        return state

    @apart
    def state(self) -> Array:
        """Global states ``(E, D_s)`` float32."""
        if self._state is None:
            raise RuntimeError("call reset() before state()")
        return self._core.global_state(self._state)

    @apart
    def get_state(self) -> dict[str, Any]:
        """Everything the future depends on, flat: arrays (copies) by name, and JSON-able values.

        With :meth:`set_state` of an environment of the same scenario and size the episodes go on, bit for bit.
        """
        if self._state is None or self._streams is None:
            raise RuntimeError("call reset() before get_state()")
        return snapshot.save(self._core, self._state, self._streams, self._ends)

    @apart
    def set_state(self, saved: dict[str, Any]) -> None:
        """Go on where :meth:`get_state` was called, with either backend; instead of ``reset``.

        Raises:
            ValueError: a state of another scenario or number of environments, or one with entries that are missing,
                unknown or impossible; nothing has changed then.
        """
        may_be_over = not self.autoreset
        restored = snapshot.restore(self._core, saved, self.num_envs, self._bits_on_device, may_be_over)
        self._state, self._streams, self._ends = restored
        self._outcome = self._rates = None

    @apart
    def view(self) -> View:
        """What a policy that does not learn may read of the present slot; see :class:`View`.

        Raises:
            RuntimeError: called before ``reset``.
        """
        if self._state is None:
            raise RuntimeError("call reset() before view()")
        return self._core.view(self._state, self._rates)

    @apart
    def observe(self) -> Array:
        """Observations ``(E, M, D_o)`` of the present slot; what :meth:`reset` or :meth:`step` returned last."""
        if self._state is None:
            raise RuntimeError("call reset() before observe()")
        return self._core.observe(self._state)

    def _fresh_streams(self, seed: int | Sequence[int | None] | None) -> Streams:
        return self._core.streams(seed, self.num_envs, self._bits_on_device)

    def _check_action(self, action: Array) -> Array:
        expected = (self.num_envs, self.scenario.num_bs, self.action_size)
        if not hasattr(action, "requires_grad"):
            action = arrays.from_outside("action", action)
        if not arrays.is_real(action):
            raise ValueError(f"action has dtype {action.dtype}: must be castable to float32")
        if self.backend == "numpy":
            action = arrays.from_outside("action", action)
        action = arrays.as_float32(action, self._xp, self.device)
        if tuple(action.shape) != expected:
            raise ValueError(f"action has shape {tuple(action.shape)}: must be {expected}")
        if not self._core.finite(action):
            raise ValueError("action has entries that are not finite: must be numbers in [-1, 1]")
        return action

    def _flags(self, value: bool) -> Array:
        shape = (self.num_envs, self.scenario.num_bs)
        return self._xp.full(shape, value, dtype=self._xp.bool, device=self.device)

    def _infos(self, outcome: Outcome) -> dict[str, Array]:
        # whoever writes into an info must reach neither the state nor the rewards
        return {
            "rates": copy(outcome.rates),
            "cell": copy(outcome.cell),
            "sum_rate": copy(outcome.sum_rate),
            "power_w": outcome.power_w,
            "owner": copy(outcome.owner),
        }

    def __getstate__(self) -> dict[str, Any]:
        # streams by where they stand: whoever loads this may have kernels or not
        streams = None if self._streams is None else self._streams.get_state()
        own = {"_state": arrays.contiguous(self._state), "_ends": self._ends.copy(), "_streams": streams}
        return {**self.__dict__, "_xp": None, "_viewers": {}, **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._xp, _ = arrays.backend(self.backend, self.device)
        if state["_streams"] is not None:
            self._streams = self._fresh_streams(0)
            self._streams.set_state(state["_streams"])
