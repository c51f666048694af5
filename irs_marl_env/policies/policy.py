"""Policies by name: an association rule and a way to choose beams and phases, acting through the action space."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from irs_marl_env.arrays import one_or_each
from irs_marl_env.checks import Real, near, plain_text, refusal, shown, warn
from irs_marl_env.engine.view import View
from irs_marl_env.physics import association, radio
from irs_marl_env.policies.cells import Cells
from irs_marl_env.policies.limits import neglected
from irs_marl_env.policies.planner import Planner
from irs_marl_env.policies.quiet import QuietPolicy
from irs_marl_env.policies.rate_rules import check_oracle
from irs_marl_env.policies.release import ReleasePolicy
from irs_marl_env.policies.rules import (
    CLAIMING_RULES,
    RULES,
    VALUE_RULES,
    Memory,
    bids_for,
    check_exhaustive,
    holders_favoured,
)
from irs_marl_env.policies.weights import WEIGHTS, proportional_fair, reweighted, user_rates
from irs_marl_env.scenario import Scenario
from irs_marl_env.solvers.beamforming import mrt, rzf, wmmse

Act = Callable[..., Any]

MARGIN_DB = 5.0  # of "hysteresis", tuned for four idle slots on mdlbi-switching-v0 (experiments/switching.py)
MOST_MARGIN_DB = 200.0  # from the least bid to the greatest

_SUFFIXES = {"proportional_fair": "-pf", "slot_proportional_fair": "-slot-pf"}  # of the names of policies with weights
BEAMFORMERS = {"mrt": mrt, "rzf": rzf, "wmmse": wmmse}


@dataclass(frozen=True)
class UniformPolicy:
    """Every entry of every action uniform in [-1, 1]."""

    name: str

    def neglects(self, scenario: Scenario) -> list[str]:
        """Nothing: it promises nothing."""
        return []

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
        weights: of the users in the sum rate that ``"ao"`` and ``"wmmse"`` maximise: ``None`` (all one),
            ``"proportional_fair"`` (fair over the episode,
            :func:`irs_marl_env.policies.weights.proportional_fair`), or ``"slot_proportional_fair"`` (fair in each
            slot, :func:`irs_marl_env.policies.weights.reweighted`).
        margin_db: what a BS adds to its bids of local gain for the IRSs that it holds [dB], at least 0: an IRS changes
            hands where its gain is greater by more than that. It pays where a change costs ``switching_slots``.
    """

    name: str
    rule: str
    transmission: str
    irs: bool = True
    weights: str | None = None
    margin_db: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "margin_db", Real(0, MOST_MARGIN_DB)("margin_db", self.margin_db))
        if self.margin_db and self.rule != "local-gain":
            allowed = f"0 with the rule {self.rule!r}, whose bids are no gains in dB"
            raise refusal("margin_db", self.margin_db, allowed)
        if self.weights is None:
            return
        if not isinstance(self.weights, str) or self.weights not in WEIGHTS:
            known = f"must be None or one of {', '.join(map(repr, WEIGHTS))}"
            raise ValueError(f"weights={shown(self.weights)}: {known}{near(self.weights, WEIGHTS)}")
        if self.transmission not in ("ao", "wmmse"):
            raise ValueError(
                f"policy {self.name!r} does not maximise a sum rate, so weights={self.weights!r} say nothing"
            )

    @property
    def remembers(self) -> bool:
        """Whether it has to act in every slot, also in those that are not measured."""
        return self.weights == "proportional_fair" or self.margin_db > 0

    def neglects(self, scenario: Scenario) -> list[str]:
        """What of a scenario the policy chooses without regard to, a sentence each; mostly nothing.

        :data:`irs_marl_env.policies.limits.LIMITS` is the list. ``evaluate`` warns of it.
        """
        return neglected(self.rule, self.transmission, scenario)

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
            unknown = scenario.association_delay == 1 or self.rule == "marginal-rate"  # which reads no more than it has
            if self.rule in VALUE_RULES and scenario.csi == "owned" and unknown:
                raise ValueError(f"policy {self.name!r} values every IRS by its CSI: csi='owned' must be 'all'")
        else:
            scenario = scenario.replace(action="raw", csi="all")
        scenario = scenario.replace(observation="large_scale")  # it reads no observations: the cheap ones
        if not self.irs:
            scenario = scenario.replace(num_irs=0, num_elements=scenario.max_elements)
        for rule, check in (("exhaustive", check_exhaustive), ("oracle", check_oracle)):
            if self.rule == rule:
                check(scenario)
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
        s = view.scenario
        weights = proportional_fair(view, memory.rates) if self.weights == "proportional_fair" else None
        cells = Cells(view, weights, self.weights == "slot_proportional_fair")
        bids = RULES[self.rule](view, cells, memory)
        if self.margin_db:
            bids = holders_favoured(bids, view.holder, self.margin_db)
        chosen = bids.argmax(1) if s.num_irs else np.zeros((len(view.cell), 0), int)
        if s.contention not in association.HIGHEST_BID_WINS:  # a bid > 0 would be a claim: only the winner may make it
            bids = bids if self.rule in CLAIMING_RULES else bids_for(chosen, s.num_bs)
        if not isinstance(s.contention, str) and self.rule != "none":
            self._compare_owners(view, memory, chosen)
        if self.transmission == "structured":
            action = np.tile(codec.neutral, (*bids.shape[:2], 1))
            action[..., codec.layout.slices["bids"]] = bids
            return action
        owner = view.owners(chosen)
        if not self.irs:
            owner = np.full_like(owner, -1)
        w, theta = (_optimised if self.transmission == "ao" else self._beamformed)(cells, owner, memory)
        return codec.encode({"w": w, "theta": theta, "bids": bids}).astype(np.float32)

    def _compare_owners(self, view: View, memory: Memory, chosen: np.ndarray) -> None:
        """Warn if a contention of somebody else gave IRSs to others than those the policy chose in the last slot."""
        follows = view.slot == memory.chosen_slot + 1
        if memory.chosen is not None and (view.holder != memory.chosen)[follows].any():
            rule = shown(view.scenario.contention)
            warn(
                f"policy {self.name!r} bids +1 for the BS that should hold an IRS and -1 for the others, but the "
                f"contention {rule} gave IRSs to others: its beams and phases are for owners that do not act"
            )
        memory.chosen, memory.chosen_slot = chosen, view.slot

    def _beamformed(self, cells: Cells, owner: np.ndarray, memory: Memory) -> tuple[np.ndarray, np.ndarray]:
        """Beams on the channel of random phases, the same ones whatever the beamformer and the rule."""
        view, s = cells.view, cells.view.scenario
        theta = np.float32(math.pi) * memory.uniform("phases", s.num_irs, s.max_elements)
        user_irs = association.user_irs(owner, view.cell, s.num_bs, s.reflection, cells.strength)
        reach = user_irs.swapaxes(-1, -2)[..., None]  # (E, M, L, K, 1)
        phi = radio.phase_shifts(theta, s.phase_bits, s.element_amplitude)[:, None]
        h_eff = radio.cell_channel(view.csi.H, view.csi.G, view.csi.h[:, None] * reach, phi)
        w = self._beams(h_eff * view.own_user[..., None], cells)
        return w, np.broadcast_to(theta[:, None], (len(theta), s.num_bs, *theta.shape[1:]))

    def _beams(self, channel: np.ndarray, cells: Cells) -> np.ndarray:
        """Beams ``(E, M, K, Nb)`` on effective channels of the same shape, zero for users of other cells."""
        view, s = cells.view, cells.view.scenario
        beamformer, weights = BEAMFORMERS[self.transmission], cells.weights
        power = one_or_each(s.tx_powers_w)
        if self.weights != "slot_proportional_fair":
            each = None if weights is None else weights[:, None]
            return beamformer(channel, power, s.noise_power_w, each)
        flat = channel.reshape(-1, *channel.shape[-2:])  # cells on one axis
        powers = np.tile(s.tx_powers_w, len(channel)) if isinstance(power, np.ndarray) else power

        def optimised(weights: np.ndarray | None) -> tuple[np.ndarray, ...]:
            w = beamformer(flat, powers, s.noise_power_w, weights)
            return user_rates(flat, w, s.noise_power_w), w

        own = view.own_user.reshape(len(flat), -1)
        return reweighted(optimised, own, s.fairness_offset)[1].reshape(channel.shape)


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


POLICIES: dict[str, UniformPolicy | ClassicalPolicy | QuietPolicy | ReleasePolicy | Planner] = {
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
        ClassicalPolicy("no-irs-wmmse-pf", "none", "wmmse", irs=False, weights="proportional_fair"),
        ClassicalPolicy("local-gain-ao-pf", "local-gain", "ao", weights="proportional_fair"),
        ClassicalPolicy("exhaustive-ao-pf", "exhaustive", "ao", weights="proportional_fair"),
        ClassicalPolicy("no-irs-wmmse-slot-pf", "none", "wmmse", irs=False, weights="slot_proportional_fair"),
        ClassicalPolicy("local-gain-ao-slot-pf", "local-gain", "ao", weights="slot_proportional_fair"),
        ClassicalPolicy("exhaustive-ao-slot-pf", "exhaustive", "ao", weights="slot_proportional_fair"),
        ClassicalPolicy("structured-fixed", "fixed", "structured"),
        ClassicalPolicy("structured-random", "random", "structured"),
        ClassicalPolicy("structured-local-gain", "local-gain", "structured"),
        ClassicalPolicy("structured-marginal", "marginal-rate", "structured"),
        ClassicalPolicy("structured-exhaustive", "exhaustive", "structured"),
        ClassicalPolicy("structured-oracle", "oracle", "structured"),
        ClassicalPolicy("head-count", "head-count", "structured"),
        QuietPolicy(),
        ReleasePolicy(),
        ClassicalPolicy("hysteresis", "local-gain", "structured", margin_db=MARGIN_DB),
        Planner("planner"),
        Planner("planner-clairvoyant", draws=None),
    )
}


def with_weights(policy: str | ClassicalPolicy, weights: str | None) -> ClassicalPolicy:
    """The same policy with other weights of the users in the sum rate it maximises.

    ``with_weights("greedy-ao", "proportional_fair")`` is called ``"greedy-ao-pf"``. Policies of alternating
    optimisation and WMMSE have weights; rules that value IRSs value them by the weighted sum rate, too.

    Args:
        policy: a name of :data:`POLICIES`, or one of its policies.
        weights: ``None`` (all one), ``"proportional_fair"`` (fair over an episode) or ``"slot_proportional_fair"``
            (fair in each slot), as for :class:`ClassicalPolicy`.

    Raises:
        ValueError: an unknown name or kind of weights, or a policy that maximises no sum rate.
    """
    found: Any = policy
    if isinstance(policy, str):
        name = plain_text(policy)
        if name not in POLICIES:
            known = f"must be one of {', '.join(POLICIES)}"
            raise ValueError(f"policy={shown(name)}: {known}{near(name, POLICIES)}")
        found = POLICIES[name]
    if not isinstance(found, ClassicalPolicy):
        allowed = "one of alternating optimisation or WMMSE, which have weights"
        raise ValueError(f"policy={shown(policy)}: must be {allowed}")
    plain = found.name.removesuffix(_SUFFIXES.get(found.weights or "", ""))
    weighted = replace(found, name=plain, weights=weights)  # which checks the weights
    return replace(weighted, name=plain + _SUFFIXES.get(weights or "", ""))


def with_margin(margin_db: float) -> ClassicalPolicy:
    """``hysteresis`` with another margin [dB], called ``"hysteresis-7dB"`` where it is 7; 0 is the plain auction.

    Example:
        >>> with_margin(7.0).name
        'hysteresis-7dB'

    Raises:
        ValueError: a margin out of range.
    """
    favoured = replace(ClassicalPolicy("hysteresis", "local-gain", "structured"), margin_db=margin_db)
    return replace(favoured, name=f"hysteresis-{favoured.margin_db:g}dB")
