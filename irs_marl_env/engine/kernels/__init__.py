"""Compiled versions (numba, extra ``fast``) of the few hot primitives, equal to the plain ones within stated error.

Imported only where numba is installed and wanted. Each kernel names the plain function whose formula it repeats; the
tests hold the two together. One thread each; what a row gets does not depend on the number of environments.

Helpers whose sums may be reordered or fused (``fastmath``), and all that call them, are ``forceinline``: a process that
compiles may otherwise run one optimised copy of a helper and a process that loads from the disk another, which round
differently, and a run that is resumed would not be the run that was stopped.
"""

from irs_marl_env.engine.kernels.mobility import large_scale, owned_gains, walk
from irs_marl_env.engine.kernels.observation import write_csi
from irs_marl_env.engine.kernels.radio import auction, finite, owned_channel, raw_slot
from irs_marl_env.engine.kernels.random_numbers import random_bits, scaled_normals
from irs_marl_env.engine.kernels.structured import set_rates, structured_slot

__all__ = [
    "auction",
    "finite",
    "large_scale",
    "owned_channel",
    "owned_gains",
    "random_bits",
    "raw_slot",
    "scaled_normals",
    "set_rates",
    "structured_slot",
    "walk",
    "write_csi",
]
