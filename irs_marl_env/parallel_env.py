"""PettingZoo shell: a batch of one. No physics lives here."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from irs_marl_env import arrays, checks
from irs_marl_env.engine import snapshot
from irs_marl_env.engine.core import Core
from irs_marl_env.engine.state import Outcome, State
from irs_marl_env.engine.view import View
from irs_marl_env.scenario import Scenario, get_scenario
from irs_marl_env.scenario_text import title
from irs_marl_env.streams import Streams

RENDER_MODES = ("human", "rgb_array")


class MdlbiParallelEnv(ParallelEnv):
    """Base stations compete for intelligent reflecting surfaces to serve mobile users.

    ## Description
    M base stations (BSs) with Nb antennas each serve the users in their cell. L intelligent reflecting surfaces (IRSs)
    stand on the cell border; each can be controlled by one BS per slot. In every slot each BS bids for the IRSs and
    chooses its beamformers and the phase shifts of the IRSs it may win. Users walk, channels fade.
    The model is that of arXiv:2106.12883; docs/model.md lists each ambiguity of the paper and how it is read here.

    ## Agents
    ``bs_0 .. bs_{M-1}``, all acting in every slot.

    ## Action space
    ``Box(-1, 1, (D_a,), float32)`` per agent; finite values beyond the limits count as the limit.

    | ``action`` | blocks, in order | D_a |
    |---|---|---|
    | ``"raw"`` | w real (K, Nb), w imag (K, Nb), theta (N_1 .. N_L), bids (L) | 2 K Nb + sum N_l + L |
    | ``"structured"`` | bids (L), focus (L, K), powers (K), regulariser (1) | L + L K + K + 1 |

    With ``power_control`` structured actions end with one entry more, the share of Pmax that the BS takes.

    ``w = sqrt(Pmax) (re + j im)`` [sqrt(W)], then scaled down if the BS's total exceeds Pmax; ``theta = pi a`` [rad].
    The environment enforces every constraint. ``env.action_codec`` translates to named arrays and back.

    ## Observation space
    ``Box(float32, (D_o,))`` per agent, values clipped to its finite bounds.

    | ``observation`` | blocks, in order | D_o |
    |---|---|---|
    | ``"csi"`` | H re, H im, G re, G im, h re, h im, rho | 2 K Nb + 2 sum N_l Nb + 2 K sum N_l + (M-1) L |
    | ``"large_scale"`` | own users, direct gains, gains over each IRS, held IRSs, rho | 2 K + L K + L + (M-1) L |
    | ``"values"`` | the same, then first and last marginal rate of each IRS | 2 K + L K + 3 L + (M-1) L |

    CSI is divided by the amplitude gain of its link at half the area's width; ``env.observation_codec`` undoes it.

    ## Rewards
    ``"local"``: sum rate of the BS's own users in the slot [bit/s/Hz]; ``"team"``: its mean over BSs. There are four
    more, and rewards of one's own; docs/environment.md has the whole list, and the entries of every block above.

    ## Starting state
    Users drawn in the area (seeded), fading at its stationary distribution, IRS owners random (Alg. 1).

    ## Episode end
    Truncation after ``horizon`` slots, all agents at once; nothing terminates.

    ## Info
    ``infos[agent]`` is empty at reset; every step returns ``rates (K,)`` of own users and ``sum_rate`` [bit/s/Hz],
    ``owner (L,)`` in the slot (-1: none), ``power_w`` and ``cell (K,)``. The truncating step adds
    ``TimeLimit.truncated = True``, the flag Stable-Baselines3 bootstraps on. ``env.view()`` shows the present slot.

    ## Reset options
    ``positions (K, 2)``: initial user positions [m]. ``trace (slots, K, 2)``: with ``mobility="trace"``, the positions
    of the episode, or the path of an ``.npz`` or ``.npy`` file of them. ``episode``: with ``channels``, which recorded
    one to play. An unknown key brings a warning and changes nothing.

    ## Version history
    * v0: first release.

    Args:
        scenario: preset name or :class:`irs_marl_env.Scenario`.
        render_mode: ``None``, ``"human"`` (a window) or ``"rgb_array"``; drawing needs the extra ``render``.
        fast: use the compiled kernels (extra ``fast``); ``None``: where they are installed. Results agree within
            float32 rounding, not bit by bit.
        **overrides: scenario fields.

    Attributes:
        caption: a line above the picture, at first the scenario's name; may be assigned.

    Raises:
        ValueError: unknown scenario, field or render mode, or an impossible value.
    """

    def __init__(
        self,
        scenario: str | Scenario = "mdlbi-v0",
        *,
        render_mode: str | None = None,
        fast: bool | None = None,
        **overrides: Any,
    ) -> None:
        render_mode = checks.Choice(RENDER_MODES, optional=True)("render_mode", render_mode)
        self._core = Core(get_scenario(scenario, **overrides), fast=fast)
        self.render_mode = render_mode
        self.caption = title(scenario, overrides)
        name = scenario if isinstance(scenario, str) else "mdlbi-custom"
        self.metadata = {
            "name": name.replace("-", "_"),
            "render_modes": list(RENDER_MODES),
            "render_fps": 10,
            "is_parallelizable": True,
        }
        self.possible_agents = [f"bs_{m}" for m in range(self.scenario.num_bs)]
        self.agents: list[str] = []
        codec = self.observation_codec
        # one object per agent, the same at every call; the dicts are read by older wrappers
        self.observation_spaces = {a: spaces.Box(codec.low, codec.high) for a in self.possible_agents}
        shape = (self.action_codec.size,)
        self.action_spaces = {a: spaces.Box(-1.0, 1.0, shape, np.float32) for a in self.possible_agents}
        self.state_space = spaces.Box(self.state_encoder.low, self.state_encoder.high)
        self._streams: Streams | None = None
        self._state: State | None = None
        self._outcome: Outcome | None = None
        self._viewer: Any = None
        self._np_random: np.random.Generator | None = None

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

    @property
    def np_random(self) -> np.random.Generator:
        """A generator for wrappers that draw, SuperSuit's ``frame_skip_v0`` for one; ``reset(seed)`` begins it anew.

        The environment never draws from it, so whoever does changes no random number of an episode.
        """
        if self._np_random is None:
            self._np_random = np.random.default_rng()
        return self._np_random

    @property
    def max_cycles(self) -> int:
        """Slots of an episode, ``scenario.horizon``, under PettingZoo's name for it; may be assigned at any time.

        Raises:
            ValueError: no integer >= 1, or more slots than the trace in use has.
        """
        return self.scenario.horizon

    @max_cycles.setter
    def max_cycles(self, slots: int) -> None:  # pettingzoo's parallel_api_test assigns it
        core = self._core.with_horizon(slots)
        if self._state is not None:
            core.check_trace_length(self._state)
        self._core = core
        self.close()  # a picture says how long the episode is

    def observation_space(self, agent: str) -> spaces.Box:
        """The agent's observation space."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Box:
        """The agent's action space."""
        return self.action_spaces[agent]

    # --- episodes ----------------------------------------------------------------------------------------------

    @arrays.apart
    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Begin an episode.

        Args:
            seed: starts the random streams anew; ``None`` continues them (fresh entropy at the first reset).
            options: see "Reset options" above.

        Returns:
            Observations and infos by agent.

        Raises:
            ValueError: a seed that is not a non-negative integer, or impossible options; nothing has changed then.
        """
        seed = checks.check_seed(seed)
        positions = self._core.check_reset_options(options)
        streams = self._streams
        if streams is None or seed is not None:
            streams = self._core.streams(seed, 1)
        if seed is not None:
            self._np_random = np.random.default_rng(seed)
        self._state = self._core.reset(streams, positions)
        self._streams = streams
        self._outcome = None
        self.agents = list(self.possible_agents)
        observations = self._observations()
        if self.render_mode == "human":
            self.render()
        return observations, {agent: {} for agent in self.agents}

    @arrays.apart
    def step(
        self, actions: dict[str, Any]
    ) -> tuple[
        dict[str, np.ndarray],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """One slot.

        Args:
            actions: one finite array of the agent's action shape for every live agent, and no other.

        Returns:
            Observations, rewards, terminations (never), truncations (all at once) and infos by agent.

        Raises:
            ValueError: agents missing or unknown, wrong shape, not finite; the state is untouched then.
            RuntimeError: called before ``reset``.
        """
        if self._state is None or self._streams is None:
            raise RuntimeError("call reset() before step()")
        if not self.agents:
            return {}, {}, {}, {}, {}
        action = self._check_actions(actions)
        self._state, reward, self._outcome = self._core.step(self._state, action, self._streams)
        truncated = bool(self._state.slot[0] >= self.scenario.horizon)
        observations = self._observations()
        infos = self._infos(self._outcome)
        if truncated:
            for info in infos.values():
                info["TimeLimit.truncated"] = True
        agents = self.agents
        rewards = dict(zip(agents, reward[0].tolist(), strict=True))
        terminations = dict.fromkeys(agents, False)
        truncations = dict.fromkeys(agents, truncated)
        if truncated:
            self.agents = []
        if self.render_mode == "human":
            self.render()
        return observations, rewards, terminations, truncations, infos

    def _check_actions(self, actions: dict[str, Any]) -> np.ndarray:
        """Stack valid actions to ``(1, M, D_a)`` float32."""
        if not isinstance(actions, dict):
            raise ValueError(f"actions must be a dict by agent, not {type(actions).__name__}")
        if len(actions) != len(self.agents) or any(agent not in actions for agent in self.agents):
            missing = [agent for agent in self.agents if agent not in actions]
            unknown = [agent for agent in actions if agent not in self.agents]
            raise ValueError(f"actions must name exactly {self.agents}; missing {missing}, unknown {unknown}")
        shape = (self.action_codec.size,)
        action = np.empty((1, len(self.agents), *shape), np.float32)
        for m, agent in enumerate(self.agents):
            row = arrays.from_outside(f"actions[{agent!r}]", actions[agent])
            if row.shape != shape:
                raise ValueError(f"actions[{agent!r}] has shape {row.shape}: must be {shape}")
            if not arrays.is_real(row):
                raise ValueError(f"actions[{agent!r}] has dtype {row.dtype}: must be castable to float32")
            action[0, m] = row if row.dtype == np.float32 else arrays.as_float32(row, np)
        if not self._core.finite(action):
            m, i = np.argwhere(~np.isfinite(action[0]))[0]
            agent = self.agents[m]
            value = arrays.from_outside(agent, actions[agent])[i]
            raise ValueError(f"actions[{agent!r}][{i}]={value}: must be a finite number in [-1, 1]")
        return action

    def _observations(self) -> dict[str, np.ndarray]:
        assert self._state is not None
        return dict(zip(self.possible_agents, self._core.observe(self._state)[0], strict=True))

    def _infos(self, outcome: Outcome) -> dict[str, dict[str, Any]]:
        rates = outcome.rates[0] * outcome.own_user[0]
        sums, power = outcome.sum_rate[0].tolist(), outcome.power_w[0].tolist()
        return {
            agent: {
                "rates": rates[m],
                "sum_rate": sums[m],
                "owner": outcome.owner[0].copy(),
                "power_w": power[m],
                "cell": outcome.cell[0].copy(),
            }
            for m, agent in enumerate(self.possible_agents)
        }

    @arrays.apart
    def view(self) -> View:
        """What a policy that does not learn may read of the present slot, with E = 1; see :class:`View`.

        Raises:
            RuntimeError: called before ``reset``.
        """
        if self._state is None:
            raise RuntimeError("call reset() before view()")
        return self._core.view(self._state, None if self._outcome is None else self._outcome.rates)

    @arrays.apart
    def state(self) -> np.ndarray:
        """Global state ``(D_s,)`` float32 in ``state_space``: all CSI, positions, cells and ownership."""
        if self._state is None:
            raise RuntimeError("call reset() before state()")
        return self._core.global_state(self._state)[0]

    # --- state of an episode -------------------------------------------------------------------------------------

    @arrays.apart
    def get_state(self) -> dict[str, Any]:
        """Everything the future depends on, flat: arrays (copies) by name, and JSON-able values.

        With :meth:`set_state` of an environment of the same scenario, or of a batch of one, the episode goes on, bit
        for bit. What wrappers draw from ``np_random`` is theirs.

        Raises:
            RuntimeError: called before ``reset``, or after ``max_cycles`` was set to a slot that is over.
        """
        if self._state is None or self._streams is None:
            raise RuntimeError("call reset() before get_state()")
        if self.agents and self._state.slot[0] >= self.scenario.horizon:
            raise RuntimeError("max_cycles is not above the slots that are done: step once before get_state()")
        return snapshot.save(self._core, self._state, self._streams, np.array([self.scenario.horizon]))

    @arrays.apart
    def set_state(self, saved: dict[str, Any]) -> None:
        """Go on where :meth:`get_state` was called; instead of ``reset``.

        Raises:
            ValueError: a state of another scenario or of several environments, or one with entries that are missing,
                unknown or impossible; nothing has changed then.
        """
        self._state, self._streams, _ = snapshot.restore(self._core, saved, 1)
        self._outcome = None
        self.agents = list(self.possible_agents) if self._state.slot[0] < self.scenario.horizon else []

    # --- pictures ------------------------------------------------------------------------------------------------

    @arrays.apart
    def render(self) -> np.ndarray | None:
        """Map of BSs, IRSs, users, cells, ownership and rates.

        Returns:
            ``(height, width, 3)`` uint8 with ``render_mode="rgb_array"``; ``None`` otherwise.

        Raises:
            ImportError: matplotlib is missing; install ``irs-marl-env[render]``.
            RuntimeError: called before ``reset``.
        """
        if self.render_mode is None:
            import gymnasium

            gymnasium.logger.warn("render() does nothing without a render_mode")
            return None
        if self._state is None:
            raise RuntimeError("call reset() before render()")
        from irs_marl_env.render import Viewer

        if self._viewer is None:
            self._viewer = Viewer(self.scenario, self.render_mode)
        self._viewer.caption = self.caption
        return self._viewer.draw(self._state, self._outcome)

    def close(self) -> None:
        """Close the window, if any; the environment stays usable."""
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None

    def __getstate__(self) -> dict[str, Any]:
        # streams by where they stand: whoever loads this may have kernels or not
        streams = None if self._streams is None else self._streams.get_state()
        return {**self.__dict__, "_viewer": None, "_state": arrays.contiguous(self._state), "_streams": streams}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if state["_streams"] is not None:
            self._streams = self._core.streams(0, 1)
            self._streams.set_state(state["_streams"])
