"""Policies by name: an association rule and a way to choose beams and phases, acting through the action space."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from irs_marl_env.arrays import one_or_each
from irs_marl_env.engine.view import View
from irs_marl_env.physics import association, radio
from irs_marl_env.policies.cells import Cells
from irs_marl_env.policies.rules import RULES, VALUE_RULES, Memory, bids_for, check_exhaustive
from irs_marl_env.scenario import Scenario
from irs_marl_env.solvers.beamforming import mrt, rzf, wmmse

Act = Callable[..., Any]

BEAMFORMERS = {"mrt": mrt, "rzf": rzf, "wmmse": wmmse}


@dataclass(frozen=True)
class UniformPolicy:
    """Every entry of every action uniform in [-1, 1]."""

    name: str

    def adapt(self, scenario: Scenario) -> Scenario:
        """The scenario as it is."""
        return scenario

    def bind(self, env: Any, seed: int = 0) -> Act:
        """A callable ``observations -> actions``; see :meth:`ClassicalPolicy.bind`."""
        memory = _memory(env, seed)
        shape = (env.scenario.num_bs, env.action_codec.size)
        return lambda observations=None: _shaped(env, memory.uniform("actions", *shape))


@dataclass(frozen=True)
class ClassicalPolicy:
    """An association rule and a way to transmit.

    A policy acts through the environment's own action space, so the environment's projections, auction and delay
    apply to it as to anyone. With ``association_delay=1`` its bids decide the owners of the next slot, while its
    beams and phases are those for the owners that act in this one.

    Attributes:
        name: what tables call it.
        rule: key of :data:`irs_marl_env.policies.rules.RULES`.
        transmission: ``"ao"``: alternating optimisation; ``"mrt"``, ``"rzf"``, ``"wmmse"``: those beams on the
            channel that random phases make; ``"structured"``: neutral focus weights, powers and regulariser, beams
            and phases left to the environment's decoder (``action="structured"``).
        irs: ``False``: there are no IRSs.
    """

    name: str
    rule: str
    transmission: str
    irs: bool = True

    def adapt(self, scenario: Scenario) -> Scenario:
        """The scenario this policy is evaluated on: same physics and draws, the action space it needs.

        Without IRSs they are taken out of the scenario: in an auction every IRS has an owner and scatters, while
        the random streams of users and direct links do not depend on the number of IRSs. A policy that computes
        beams itself knows all CSI, whatever the scope of the scenario.

        Raises:
            ValueError: the search would be too large, or CSI that the rule needs does not exist.
        """
        if self.transmission == "structured":
            scenario = scenario.replace(action="structured")
            if self.rule in VALUE_RULES and scenario.csi == "owned" and scenario.association_delay == 1:
                raise ValueError(f"policy {self.name!r} values every IRS by its CSI: csi='owned' must be 'all'")
        else:
            scenario = scenario.replace(action="raw", csi="all")
        scenario = scenario.replace(observation="large_scale")  # it reads no observations: the cheap ones
        if not self.irs:
            scenario = scenario.replace(num_irs=0, num_elements=scenario.max_elements)
        if self.rule == "exhaustive":
            check_exhaustive(scenario)
        return scenario

    def bind(self, env: Any, seed: int = 0) -> Act:
        """The policy at work in an environment.

        Args:
            env: ``MdlbiParallelEnv`` or ``MdlbiVectorEnv`` of an adapted scenario.
            seed: of its own draws; row i of a batch uses ``seed + i``.

        Returns:
            A callable ``observations -> actions``: a dict by agent for a ``ParallelEnv``, else ``(E, M, D_a)``. It
            reads the slot from ``env`` (``env.view()``), so the observations themselves may be left out.

        Raises:
            ValueError: the environment's action space is of the other kind, or the search would be too large.
        """
        scenario = env.scenario
        needed = self.adapt(scenario)
        if needed.action != scenario.action:
            raise ValueError(f"policy {self.name!r} needs action={needed.action!r}, not {scenario.action!r}")
        memory = _memory(env, seed)
        return lambda observations=None: _shaped(env, self._act(env.view(), memory, env.action_codec))

    def _act(self, view: View, memory: Memory, codec: Any) -> np.ndarray:
        s, cells = view.scenario, Cells(view)
        bids = RULES[self.rule](view, cells, memory)
        chosen = bids.argmax(1) if s.num_irs else np.zeros((len(view.cell), 0), int)
        if s.contention != "auction":  # a bid > 0 would be a claim: only the winner may make it
            bids = bids if self.rule == "none" else bids_for(chosen, s.num_bs)
        if self.transmission == "structured":
            action = np.zeros((*bids.shape[:2], codec.size), np.float32)
            action[..., codec.layout.slices["bids"]] = bids
            return action
        owner = chosen if s.association_delay == 0 else view.owner
        if not self.irs:
            owner = np.full_like(owner, -1)
        w, theta = (_optimised if self.transmission == "ao" else self._beamformed)(cells, owner, memory)
        return codec.encode({"w": w, "theta": theta, "bids": bids}).astype(np.float32)

    def _beamformed(self, cells: Cells, owner: np.ndarray, memory: Memory) -> tuple[np.ndarray, np.ndarray]:
        """Beams on the channel of random phases, the same ones whatever the beamformer and the rule."""
        view, s = cells.view, cells.view.scenario
        theta = np.float32(math.pi) * memory.uniform("phases", s.num_irs, s.max_elements)
        user_irs = association.user_irs(owner, view.cell, s.num_bs, s.reflection, cells.strength)
        reach = user_irs.swapaxes(-1, -2)[..., None]  # (E, M, L, K, 1)
        phi = radio.phase_shifts(theta, s.phase_bits, s.element_amplitude)[:, None]
        h_eff = radio.cell_channel(view.csi.H, view.csi.G, view.csi.h[:, None] * reach, phi)
        power = one_or_each(s.tx_powers_w)
        w = BEAMFORMERS[self.transmission](h_eff * view.own_user[..., None], power, s.noise_power_w)
        return w, np.broadcast_to(theta[:, None], (len(theta), s.num_bs, *theta.shape[1:]))


def _optimised(cells: Cells, owner: np.ndarray, memory: Memory) -> tuple[np.ndarray, np.ndarray]:
    """Beams ``(E, M, K, Nb)`` and phases ``(E, M, L, N)`` by alternating optimisation for given owners."""
    E, M = cells.view.own_user.shape[:2]
    rows, bs = (axis.reshape(-1) for axis in np.indices((E, M)))
    _, w, phi = cells.solve(rows, bs, owner[rows] == bs[:, None])
    return w.reshape(E, M, *w.shape[1:]), np.angle(phi).reshape(E, M, *phi.shape[1:])


def _memory(env: Any, seed: int) -> Memory:
    return Memory(range(seed, seed + getattr(env, "num_envs", 1)))


def _shaped(env: Any, actions: np.ndarray) -> Any:
    """Actions ``(E, M, D_a)`` in the form the environment takes."""
    if hasattr(env, "num_envs"):
        return actions
    return {agent: actions[0, m] for m, agent in enumerate(env.possible_agents)}


POLICIES: dict[str, UniformPolicy | ClassicalPolicy] = {
    policy.name: policy
    for policy in (
        UniformPolicy("random"),
        ClassicalPolicy("no-irs-mrt", "none", "mrt", irs=False),
        ClassicalPolicy("no-irs-rzf", "none", "rzf", irs=False),
        ClassicalPolicy("no-irs-wmmse", "none", "wmmse", irs=False),
        ClassicalPolicy("random-mrt", "random", "mrt"),
        ClassicalPolicy("random-rzf", "random", "rzf"),
        ClassicalPolicy("random-wmmse", "random", "wmmse"),
        ClassicalPolicy("random-ao", "random", "ao"),
        ClassicalPolicy("fixed-ao", "fixed", "ao"),
        ClassicalPolicy("local-gain-ao", "local-gain", "ao"),
        ClassicalPolicy("marginal-ao", "marginal", "ao"),
        ClassicalPolicy("greedy-ao", "greedy", "ao"),
        ClassicalPolicy("exhaustive-ao", "exhaustive", "ao"),
        ClassicalPolicy("structured-fixed", "fixed", "structured"),
        ClassicalPolicy("structured-random", "random", "structured"),
        ClassicalPolicy("structured-local-gain", "local-gain", "structured"),
        ClassicalPolicy("structured-exhaustive", "exhaustive", "structured"),
    )
}
