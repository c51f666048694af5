"""Classical solvers for one cell: beamforming, phase shifts, both together, and a bound on them all.

A cell is ``H (..., K, Nb)`` BS-user, ``G (..., L, N, Nb)`` BS-IRS and ``h (..., L, K, N)`` IRS-user row
channels; users of other cells are zero rows in ``H`` and ``h``, IRSs the cell does not own are zero in ``h``.
"""

from irs_marl_env.solvers.alternating import alternating_optimization, refine
from irs_marl_env.solvers.beamforming import mrt, rzf, weighted_sum_rate, wmmse, wmmse_step
from irs_marl_env.solvers.bounds import upper_bound
from irs_marl_env.solvers.decoder import decode_structured
from irs_marl_env.solvers.phases import align_phases, parallel_sweep, sequential_sweep
from irs_marl_env.solvers.unfolding import neutral_coefficients, unfold

__all__ = [
    "align_phases",
    "alternating_optimization",
    "decode_structured",
    "mrt",
    "neutral_coefficients",
    "parallel_sweep",
    "refine",
    "rzf",
    "sequential_sweep",
    "unfold",
    "upper_bound",
    "weighted_sum_rate",
    "wmmse",
    "wmmse_step",
]
