"""The global state: everything the BSs know together, as one flat vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from irs_marl_env.arrays import constant, namespace
from irs_marl_env.physics.channel import Channels
from irs_marl_env.scenario import Scenario
from irs_marl_env.spaces.layout import CSI_LIMIT, GAIN_LIMIT, CsiScale, ElementAxis, Layout, Named
from irs_marl_env.spaces.optional_blocks import optional_shapes

Array = Any


class StateEncoder:
    """Everything the BSs know together, plus positions, cells and ownership.

    ``observation="csi"``: all channels as the BSs know them, scaled like the observations; else the log
    path gains of every user to every BS, direct and over each IRS. Then ``position`` as a share of the sides of
    the area, ``cell (M, K)`` and ``owner (M, L)`` one-hot: the BSs that hold the IRSs. Then, where
    observations have them, ``switching (L,)`` and the ``velocity (K, 2)`` of all users.
    """

    def __init__(self, scenario: Scenario, xp: Any = np, device: Any = None) -> None:
        s = scenario
        self._origin, self._area = (constant(x, None, xp, device) for x in (s.bounds_m[:2], s.area_m))
        M, K, L, total = s.num_bs, s.num_users, s.num_irs, sum(s.elements)
        blocks: dict[str, tuple[int, ...]] = {"direct_gain": (M, K), "irs_gain": (M, L, K)}
        if s.observation == "csi":
            shapes = {"H": (M, K, s.max_antennas), "G": (M, s.max_antennas, total), "h": (K, total)}
            blocks = {f"{name}_{part}": shape for name, shape in shapes.items() for part in ("real", "imag")}
        blocks |= {"position": (K, 2), "cell": (M, K), "owner": (M, L)}
        blocks |= {name: shape for name, shape in optional_shapes(s).items() if name not in blocks}
        self.layout = Layout(blocks)
        self.size = self.layout.size
        self._limit = CSI_LIMIT if s.observation == "csi" else GAIN_LIMIT
        self.scale = CsiScale(s)
        self._elements = ElementAxis(s)
        self.low, self.high = np.zeros(self.size, np.float32), np.ones(self.size, np.float32)
        channel_end = self.layout.slices["position"].start
        self.low[:channel_end], self.high[:channel_end] = -self._limit, self._limit
        if "velocity" in blocks:
            self.low[self.layout.slices["velocity"]] = -1.0

    def share(self, position: Array) -> Array:
        """Positions ``(..., 2)`` [m] as shares of the sides of the area."""
        return (position - self._origin) / self._area

    def encode(
        self, known: Named, position: Array, own_user: Array, held: Array, optional: Named | None = None
    ) -> Array:
        """Flat states ``(E, size)`` float32.

        Args:
            known: ``{"csi": Channels}``, or ``{"direct_gain": (E, M, K), "irs_gain": (E, M, L, K)}``, log gains.
            position: ``(E, K, 2)`` m.
            own_user: ``(E, M, K)`` 0/1.
            held: ``(E, M, L)`` 0/1.
            optional: ``switching (E, L)`` and ``velocity (E, K, 2)`` where the scenario has them.
        """
        xp = namespace(own_user)
        if "csi" in known:
            csi: Channels = known["csi"]
            flatten = self._elements.flatten
            scaled = {
                "H": csi.H / self.scale.direct,
                "G": flatten(xp.moveaxis(csi.G, -1, 2)) / self.scale.bs_irs,
                "h": flatten(xp.moveaxis(csi.h, 2, 1)) / self.scale.irs_user,
            }
            known = {}
            for name, x in scaled.items():
                known[f"{name}_real"], known[f"{name}_imag"] = xp.real(x), xp.imag(x)
        known = {name: xp.clip(x, -self._limit, self._limit) for name, x in known.items()}
        named = {**known, **(optional or {}), "position": self.share(position), "cell": own_user, "owner": held}
        lead = own_user.shape[0]
        parts = [xp.astype(xp.reshape(named[name], (lead, -1)), xp.float32) for name in self.layout.shapes]
        return xp.concat(parts, axis=-1)

    def blocks(self, flat: Array) -> Named:
        """Blocks of flat states ``(..., size)`` by name, scaled and clipped as they are."""
        return self.layout.split(flat)
