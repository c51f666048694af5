"""Names for what kernels take: numba looks at the arrays themselves, these are for the reader.

They are all ``Any`` to the type checker: in a kernel an index may be signed or unsigned, a number numpy's or Python's.
"""

from __future__ import annotations

from typing import Any, TypeAlias

F32: TypeAlias = Any  # array of float32
F64: TypeAlias = Any  # array of float64
C64: TypeAlias = Any  # array of complex64
C128: TypeAlias = Any  # array of complex128
I64: TypeAlias = Any  # array of int64
U64: TypeAlias = Any  # array of uint64
Mask: TypeAlias = Any  # array of bool
Int: TypeAlias = Any  # an integer: a count or an index
Bits: TypeAlias = Any  # a uint64 of random bits, a key or a counter
Float: TypeAlias = Any  # a real number
