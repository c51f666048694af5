"""What a classical policy may look at: the joint CSI, cells and owners of a slot, read from an environment."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from irs_marl_env.channel import Channels
from irs_marl_env.scenario import Scenario

Array = Any


class View(NamedTuple):
    """One slot of E environments as numpy arrays; read only.

    It joins what the BSs know, ``csi`` (with its errors, whatever the scenario's CSI scope), so that a policy that
    reads it is a yardstick with perfect exchange between the BSs unless it restricts itself to its own cell.
    """

    scenario: Scenario
    slot: np.ndarray  # (E,) slots done in the episode
    cell: np.ndarray  # (E, K) serving BS of each user
    own_user: np.ndarray  # (E, M, K) bool
    owner: np.ndarray  # (E, L) BS that holds each IRS, -1 for none; with association_delay=1 it acts in this slot
    csi: Channels  # H (E, M, K, Nb), G (E, M, L, N, Nb), h (E, L, K, N)
    irs_gain: np.ndarray  # (E, M, L, K) path gain BS-IRS-user, linear power

    @classmethod
    def of(cls, env: Any) -> View:
        """The present slot of an ``MdlbiParallelEnv`` (E = 1) or ``MdlbiVectorEnv``.

        Raises:
            RuntimeError: the environment was not reset yet.
        """
        core, state = env._core, env._state
        if state is None:
            raise RuntimeError("call reset() on the environment before its policy acts")
        cell = _numpy(state.cell)
        stations = np.arange(core.scenario.num_bs)[:, None]
        amplitude = _numpy(state.gains.bs_irs)[..., None] * _numpy(state.gains.irs_user)[:, None]
        csi = Channels(*(_numpy(link) for link in state.csi))
        own_user = cell[:, None] == stations
        return cls(
            core.scenario, state.slot, cell, own_user, _numpy(state.owner), csi, amplitude.astype(np.float64) ** 2
        )


def _numpy(x: Array) -> np.ndarray:
    return x if isinstance(x, np.ndarray) else x.detach().cpu().numpy()
