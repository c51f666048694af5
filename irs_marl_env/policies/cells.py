"""Beams and phases of many cells at once: each a BS of some environment with some set of IRSs."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from irs_marl_env.arrays import one_or_each
from irs_marl_env.engine.view import View
from irs_marl_env.physics import radio
from irs_marl_env.physics.channel import element_energy
from irs_marl_env.policies.weights import reweighted, user_rates
from irs_marl_env.scenario import Scenario
from irs_marl_env.solvers.alternating import alternating_optimization
from irs_marl_env.solvers.beamforming import weighted_sum_rate, wmmse

ITERATIONS = 30  # of the alternating optimisation in every "-ao" policy
CROWDED_ITERATIONS = 80  # of the same where a cell has more users than antennas on average, which takes longer
BATCH_NUMBERS = 2**17  # complex numbers of channels in one call of the solver; many more fall out of the cache


def iterations_of(scenario: Scenario) -> int:
    """How many iterations the alternating optimisation of "-ao" policies gets in a scenario.

    With these the mean sum rate is at least .998 of that after 400 iterations in ``mdlbi-small-v0``,
    ``mdlbi-blocked-small-v0`` and ``mdlbi-k30-v0`` (``python -m experiments.iterations``).

    Example:
        >>> [iterations_of(Scenario(num_users=k, num_antennas=8, num_bs=2)) for k in (10, 16, 17, 30)]
        [30, 30, 80, 80]
    """
    crowded = scenario.num_users > sum(scenario.antennas)
    return CROWDED_ITERATIONS if crowded else ITERATIONS


class Solution(NamedTuple):
    """Answers for B cells."""

    value: (
        np.ndarray
    )  # (B,) what is maximised: the sum rate, weighted or not, without inter-cell interference, bit/s/Hz
    w: np.ndarray  # (B, K, Nb) sqrt(W), zero for users of other cells
    phi: np.ndarray  # (B, L, N), one for IRSs outside the set


class Cells:
    """The cells of one slot.

    Args:
        view: the slot.
        weights: ``(E, K)`` of the users in the sum rate; ``None`` is one.
        utility: maximise ``sum_k log2(c + rate_k)`` of the slot instead, c the scenario's ``fairness_offset``.
    """

    def __init__(self, view: View, weights: np.ndarray | None = None, utility: bool = False) -> None:
        self.view, self.weights, self._utility = view, weights, utility
        self._counts = counts = view.own_user.sum(-1)  # (E, M)
        self._kept = max(1, int(counts.max()))
        # own users first, so that a cell is a small dense problem
        self._users = np.argsort(~view.own_user, axis=-1, kind="stable")[..., : self._kept]
        self._present = np.arange(self._kept) < counts[..., None]  # (E, M, K')

    def solve(self, rows: np.ndarray, bs: np.ndarray, sets: np.ndarray) -> Solution:
        """Alternating optimisation for each cell.

        Args:
            rows: ``(B,)`` environment of each cell.
            bs: ``(B,)`` its BS.
            sets: ``(B, L)`` bool, the IRSs it owns.
        """
        s = self.view.scenario
        size = sets.sum(-1)
        by_users = np.argsort(self._counts[rows, bs], kind="stable")  # like with like: the solver pads to the largest
        value = np.zeros(len(rows), np.float32)
        w = np.zeros((len(rows), s.num_users, s.max_antennas), np.complex64)
        phi = np.ones((len(rows), s.num_irs, s.max_elements), np.complex64)
        for count in np.unique(size):  # cells with as many IRSs have arrays of one shape
            alike = by_users[size[by_users] == count]
            numbers = (self._kept + count * s.max_elements) * (self._kept + s.max_antennas)
            for part in np.array_split(alike, -(-len(alike) * numbers // BATCH_NUMBERS)):
                value[part], w[part], phi[part] = self._solve_alike(rows[part], bs[part], sets[part], int(count))
        return Solution(value, w, phi)

    def values(self, rows: np.ndarray, bs: np.ndarray, sets: np.ndarray) -> np.ndarray:
        """The ``value`` of :meth:`solve`."""
        return self.solve(rows, bs, sets).value

    def _solve_alike(self, rows: np.ndarray, bs: np.ndarray, sets: np.ndarray, count: int) -> Solution:
        s, csi = self.view.scenario, self.view.csi
        irs = np.nonzero(sets)[1].reshape(len(rows), count)
        users, present = self._users[rows, bs], self._present[rows, bs]
        at = rows[:, None]
        H = csi.H[at, bs[:, None], users] * present[..., None]
        G = csi.G[at, bs[:, None], irs]
        h = csi.h[at[..., None], irs[:, :, None], users[:, None]] * present[:, None, :, None]
        if s.reflection == "single" and count:
            strength = self.strength[at[..., None], bs[:, None, None], users[:, None], irs[:, :, None]]
            h = h * (np.arange(count)[:, None] == strength.argmax(1)[:, None])[..., None]
        power, noise, iterations = one_or_each(s.tx_powers_w), s.noise_power_w, iterations_of(s)
        if isinstance(power, np.ndarray):
            power = power[bs]

        def optimised(weights: np.ndarray | None) -> tuple[np.ndarray, ...]:
            beams, shifts, history = alternating_optimization(H, G, h, power, noise, weights, iterations=iterations)
            value, lossy = history[..., -1], s.element_amplitude is not None
            if not lossy and not self._utility:
                return value, beams, shifts
            real = radio.phase_shifts(np.angle(shifts), s.phase_bits, s.element_amplitude) if lossy else shifts
            channel = radio.cell_channel(H, G, h, real)
            if lossy:  # the phases stay; beams and worth are those of the lossy elements
                beams = wmmse(channel, power, noise, weights, iterations=iterations, w_init=beams)
                value = weighted_sum_rate(channel, beams, noise, weights)
            return user_rates(channel, beams, noise) if self._utility else value, beams, shifts

        if self._utility:
            value, beams, shifts = reweighted(optimised, present, s.fairness_offset)
        else:
            value, beams, shifts = optimised(None if self.weights is None else self.weights[at, users])
        w = np.zeros((len(rows), s.num_users, s.max_antennas), np.complex64)
        np.put_along_axis(w, users[..., None], beams * present[..., None], axis=1)
        phi = np.ones((len(rows), s.num_irs, s.max_elements), np.complex64)
        phi[np.arange(len(rows))[:, None], irs] = shifts
        return Solution(value, w, phi)

    @cached_property
    def strength(self) -> np.ndarray:
        """``(E, M, K, L)``, what ranks the IRSs for ``reflection="single"``."""
        return element_energy(self.view.csi.G, self.view.csi.h)
