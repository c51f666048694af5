"""Batched shell: E environments in one step. No physics lives here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from irs_marl_env import arrays, checks
from irs_marl_env.arrays import apart, copy
from irs_marl_env.engine.core import Core
from irs_marl_env.engine.state import Outcome, State
from irs_marl_env.engine.view import View
from irs_marl_env.scenario import Scenario, get_scenario
from irs_marl_env.streams import Streams

Array = Any


class MdlbiVectorEnv:
    """E environments of one scenario; row i is the single environment seeded with ``seed + i``.

    All rows begin and, without ``stagger``, end their episodes together. The step that truncates a row resets it at
    once: its observations are those of the next episode, and ``infos["final_observation"]``, ``infos["final_state"]``
    hold the true last ones.

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
        **overrides: scenario fields.

    With ``backend="torch"`` a step fetches nothing from the device but whether the action is finite, and random numbers
    are made where the arrays live. Gradients flow from rewards and rates to an action that asks for them, never through
    the state to later slots.

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
        **overrides: Any,
    ) -> None:
        self.num_envs = checks.check_whole("num_envs", num_envs, 1)
        self.backend = backend
        self.autoreset, self.stagger = autoreset, stagger
        if stagger and not autoreset:
            raise ValueError("stagger=True needs autoreset=True: rows end at different steps")
        self._xp, self.device = arrays.backend(backend, device)
        self._core = Core(get_scenario(scenario, **overrides), self._xp, self.device, fast, read_only)
        self.action_codec = self._core.action_codec
        self.observation_codec = self._core.observation_codec
        self.state_encoder = self._core.state_encoder
        self.agents = [f"bs_{m}" for m in range(self.scenario.num_bs)]
        self.action_size = self.action_codec.size
        self.observation_size = self.observation_codec.size
        self.state_size = self.state_encoder.size
        self._streams: Streams | None = None
        self._state: State | None = None
        self._ends = np.zeros(0, np.int64)  # (E,) slot that ends the episode of each row
        self._trace: np.ndarray | None = None  # given with reset; autoreset begins it again

    @property
    def scenario(self) -> Scenario:
        """The scenario, completely."""
        return self._core.scenario

    @apart
    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Array]]:
        """Begin an episode in every environment.

        Args:
            seed: environment i is seeded with ``seed + i``; ``None`` continues the streams.
            options: as for the single environment; positions hold for all rows.

        Returns:
            Observations ``(E, M, D_o)``, and infos, which are empty.
        """
        seed = checks.check_seed(seed)
        positions = self._core.check_reset_options(options)
        streams = self._streams
        if streams is None or seed is not None:
            streams = self._fresh_streams(seed)
        self._state = self._core.reset(streams, positions)
        self._streams = streams
        self._trace = positions if self.scenario.mobility == "trace" else None
        horizon, rows = self.scenario.horizon, np.arange(self.num_envs)
        self._ends = horizon - rows * horizon // self.num_envs if self.stagger else np.full(self.num_envs, horizon)
        return self._core.observe(self._state), {}

    @apart
    def step(self, action: Array) -> tuple[Array, Array, Array, Array, dict[str, Array]]:
        """One slot in every environment.

        Args:
            action: ``(E, M, D_a)``, finite.

        Returns:
            observations ``(E, M, D_o)``, rewards ``(E, M)``, terminations and truncations ``(E, M)`` bool, infos:
            ``rates (E, K)``, ``cell (E, K)``, ``sum_rate (E, M)``, ``power_w (E, M)``, ``owner (E, L)`` and, in steps
            that truncate a row, ``final_observation (E, M, D_o)``, ``final_state (E, D_s)`` (of all rows, as they
            were before any reset) and ``TimeLimit.truncated (E,)``.

        Raises:
            ValueError: wrong shape or not finite; the state is untouched then.
            RuntimeError: before ``reset``, or past the end with ``autoreset=False``.
        """
        if self._state is None or self._streams is None:
            raise RuntimeError("call reset() before step()")
        if not self.autoreset and self._state.slot[0] >= self.scenario.horizon:
            raise RuntimeError("the episodes are over: call reset()")
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
            if self.autoreset:
                state = self._begin_again(state, np.flatnonzero(ended))
                observations = self._core.observe(state)
        self._state = state
        return observations, reward, self._flags(False), truncations, infos

    def _begin_again(self, state: State, rows: np.ndarray) -> State:
        """The state with new episodes in some rows."""
        assert self._streams is not None
        self._ends[rows] = self.scenario.horizon
        if len(rows) == self.num_envs:
            return self._core.reset(self._streams, self._trace)
        streams = self._streams.rows(rows)
        fresh = self._core.reset(streams, self._trace)
        self._streams.merge(rows, streams)
        return self._core.replace_rows(state, rows, fresh)

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
        saved: dict[str, Any] = {"scenario": self.scenario.digest, "streams": self._streams.get_state()}
        saved["ends"] = self._ends.copy()
        for field, value in self._state._asdict().items():
            for name, leaf in _leaves(field, value):
                saved[name] = copy(leaf)
        return saved

    @apart
    def set_state(self, saved: dict[str, Any]) -> None:
        """Go on where :meth:`get_state` was called; instead of ``reset``.

        Raises:
            ValueError: a state of another scenario or number of environments; nothing has changed then.
        """
        if saved.get("scenario") != self.scenario.digest:
            raise ValueError(
                f"state of scenario {saved.get('scenario')!r}: must be of this one, {self.scenario.digest!r}"
            )
        if len(saved["cell"]) != self.num_envs:
            raise ValueError(f"state of {len(saved['cell'])} environments: must be of {self.num_envs}")
        streams = self._fresh_streams(0)
        streams.set_state(saved["streams"])
        xp = self._xp
        leaves = {
            name: np.array(leaf) if name in _ON_HOST else xp.asarray(leaf, copy=True, device=self.device)
            for name, leaf in saved.items()
            if name not in ("scenario", "streams")
        }
        ends = leaves.pop("ends")
        fields: dict[str, Any] = {"scattered": {}}  # empty where no link has a memory
        for name, leaf in leaves.items():
            field, _, key = name.partition(".")
            if key:
                fields.setdefault(field, {})[key] = leaf
            else:
                fields[field] = leaf
        fields.setdefault("estimate", None)  # as where CSI has no errors
        self._state, self._streams, self._ends = State.from_fields(fields), streams, ends

    @apart
    def view(self) -> View:
        """What a policy that does not learn may read of the present slot; see :class:`View`.

        Raises:
            RuntimeError: called before ``reset``.
        """
        if self._state is None:
            raise RuntimeError("call reset() before view()")
        return self._core.view(self._state)

    @apart
    def observe(self) -> Array:
        """Observations ``(E, M, D_o)`` of the present slot; what :meth:`reset` or :meth:`step` returned last."""
        if self._state is None:
            raise RuntimeError("call reset() before observe()")
        return self._core.observe(self._state)

    def close(self) -> None:
        """Nothing to release; here because callers expect it."""

    def _fresh_streams(self, seed: int | None) -> Streams:
        return self._core.streams(seed, self.num_envs, self._bits_on_device)

    def _check_action(self, action: Array) -> Array:
        expected = (self.num_envs, self.scenario.num_bs, self.action_size)
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
            "rates": outcome.rates,
            "cell": copy(outcome.cell),
            "sum_rate": copy(outcome.sum_rate),
            "power_w": outcome.power_w,
            "owner": copy(outcome.owner),
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_xp": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._xp, _ = arrays.backend(self.backend, self.device)


_ON_HOST = ("ends", "slot", "motion.slot")  # numpy whatever the backend: nothing random enters


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Arrays in a field of a state, under dotted names."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        for key, leaf in value.items():
            yield f"{name}.{key}", leaf
    elif value is not None:
        yield name, value
