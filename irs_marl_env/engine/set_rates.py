"""What a set of IRSs is worth to a BS: the rate of its own users that it would expect with them.

The BS decodes as the environment does (neutral structured entries, the scenario's ``sweeps``) from the CSI that it has
itself, and believes that CSI: v_m(S) is the sum rate of the users of BS m if S were its IRSs and no other cell
interfered. Nothing of another BS enters.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irs_marl_env.arrays import constant, constant_like, namespace, one_or_each
from irs_marl_env.checks import refusal
from irs_marl_env.engine.state import State
from irs_marl_env.physics import association, radio
from irs_marl_env.physics.channel import element_energy
from irs_marl_env.scenario import Scenario
from irs_marl_env.solvers.decoder import decode_structured

Array = Any


def marginal_sets(num_irs: int) -> np.ndarray:
    """The sets ``(C, L)`` bool whose values :func:`marginals` needs, each once.

    None, each IRS alone, all but each, all. C = 2 L + 2 for L > 2, 4 for two IRSs, 2 for one and 1 without any.
    """
    return _each_once(num_irs)[0]


def marginals(value: Array, num_irs: int) -> tuple[Array, Array]:
    """First and last marginal values ``(..., L)``: ``v({l}) - v({})`` and ``v(all) - v(all but l)``.

    Args:
        value: ``(..., C)``, v of each of the sets of :func:`marginal_sets`.
        num_irs: L.
    """
    at = _each_once(num_irs)[1]
    none, one, all_but_one, every = at[0], at[1 : 1 + num_irs], at[1 + num_irs : -1], at[-1]
    first = value[..., one] - value[..., none, None]
    return first, value[..., every, None] - value[..., all_but_one]


def _each_once(num_irs: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct sets, and where {}, {l}, all but l and all of them stand among them."""
    one = np.eye(num_irs, dtype=bool)
    sets = np.concatenate([np.zeros((1, num_irs), bool), one, ~one, np.ones((1, num_irs), bool)])
    index: dict[bytes, int] = {}
    at = [index.setdefault(row.tobytes(), len(index)) for row in sets]
    return sets[[at.index(i) for i in range(len(index))]], np.array(at)


class SetRates:
    """Own rates of sets of IRSs in a state.

    Args:
        scenario: the scenario, whatever its ``action``.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.marginal_sets = marginal_sets(scenario.num_irs)

    def marginal_rates(self, state: State) -> tuple[Array, Array]:
        """What each IRS adds to the rate of each BS as its first and as its last one [bit/s/Hz].

        Returns:
            first ``(E, M, L)``, ``v({l}) - v({})``, and last ``(E, M, L)``, ``v(all) - v(all but l)``, float32.
        """
        return marginals(self.set_rates(state, self.marginal_sets), self.scenario.num_irs)

    def set_rates(self, state: State, sets: np.ndarray) -> Array:
        """v_m of each of some sets of IRSs, for every BS of every environment.

        With ``reflection="single"`` the strongest IRS of the set serves a user; with ``"all"`` what foreign IRSs
        scatter is left out. With ``csi="owned"`` a BS knows the CSI of the IRSs that it holds, and an IRS without CSI
        counts for nothing.

        Args:
            state: as it is before the slot.
            sets: ``(C, L)`` bool.

        Returns:
            ``(E, M, C)`` float32, bit/s/Hz.

        Raises:
            ValueError: sets of another shape or type.
        """
        s = self.scenario
        if not isinstance(sets, np.ndarray) or sets.dtype != bool or sets.ndim != 2 or sets.shape[1] != s.num_irs:
            raise refusal("sets", sets, f"an array of bool of shape (C, num_irs={s.num_irs})")
        return self._values(state, sets)

    def _values(self, state: State, sets: np.ndarray) -> Array:
        xp = namespace(state.own_user)
        if not len(sets):
            return state.own_user[..., :0] * 0
        strength = element_energy(state.csi.G, state.csi.h) if self.scenario.reflection == "single" else None
        return xp.stack([self._value(state, one, strength) for one in sets], axis=-1)

    def _value(self, state: State, members: np.ndarray, strength: Array | None) -> Array:
        """v_m ``(E, M)`` of one set ``(L,)``: a slot as in :mod:`irs_marl_env.engine.slot`, as every BS imagines it."""
        s, xp, own_user = self.scenario, namespace(state.own_user), state.own_user
        usable = self._served_over(state, members, strength)
        H, G, h = state.csi
        H = H * own_user[..., None]
        h = h[:, None] * xp.matrix_transpose(usable)[..., None]  # (E, M, L, K, N)
        power, lossy = one_or_each(s.tx_powers_w), s.element_amplitude is not None
        link = power, s.noise_power_w, s.sweeps
        w, phi = decode_structured(self._neutral(own_user), H, G, h, *link, self._coefficients if lossy else None)
        limit = power if isinstance(power, float) else constant_like(power, own_user)
        w = radio.project_power(w * own_user[..., None], limit, s.power)
        phi = self._coefficients(xp.atan2(phi.imag, phi.real))
        own = [radio.served(x, state.cell) for x in (radio.cell_channel(H, G, h, phi), H)]
        rates = radio.rates(radio.sinr(own[0], w, state.cell, s.noise_power_w, mode=s.sinr, h_direct=own[1]))
        return xp.vecdot(rates[:, None, :], own_user)

    def _served_over(self, state: State, members: np.ndarray, strength: Array | None) -> Array:
        """``(E, M, K, L)`` float32, 1 where BS m serves user k over IRS l if the members of a set are its IRSs."""
        xp, own_user = namespace(state.own_user), state.own_user
        own = own_user[..., None] > 0
        device = getattr(own_user, "device", None)
        mine = own & constant(members, bool, xp, None if xp is np else device)
        rule = "single" if self.scenario.reflection == "single" else "owned"
        usable = xp.astype(association.REFLECTION[rule](own, mine, strength), xp.float32)
        if self.scenario.csi == "owned":
            usable = usable * association.held(state.holder, self.scenario.num_bs)[:, :, None, :]
        return usable

    def _neutral(self, own_user: Array) -> dict[str, Array]:
        """What structured entries of zero stand for."""
        focus = namespace(own_user).ones_like(own_user)
        shape = (*own_user.shape[:2], self.scenario.num_irs, own_user.shape[2])
        return {"focus": namespace(own_user).broadcast_to(focus[:, :, None], shape), "powers": focus} | {
            "regularizer": focus[..., 0]
        }

    def _coefficients(self, theta: Array) -> Array:
        return radio.phase_shifts(theta, self.scenario.phase_bits, self.scenario.element_amplitude)
