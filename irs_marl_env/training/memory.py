"""Memory that a training frees stays with the process: having it anew costs more than the work that is done on it.

An update makes and frees tensors of some 10 to 200 MB. The allocator of glibc asks the system for each of them and
gives it back at once, and the system hands every page out empty, at the first touch.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h: names of what mallopt sets
# tensors of an update are smaller; those of a replay memory that is read from a checkpoint are larger, and wanted once
_NEVER, _LARGE, _DOCUMENTED = -1, 2**28, 2**25  # mallopt(3) allows 32 MiB; versions that allow more take it


def keep_freed_memory() -> bool:
    """Have the allocator keep what is freed, up to the peak of the process, until the process ends.

    Numbers do not change. It is for processes that do the same work again and again, so the trainer calls it, and
    nothing that is imported does. Whoever has set a ``MALLOC_...`` variable has decided already, and nothing happens
    then; nor with another allocator than glibc's, as on macOS and Windows.

    Returns:
        Whether memory is kept.

    Example:
        >>> from irs_marl_env.training.memory import keep_freed_memory
        >>> kept = keep_freed_memory()
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    large = mallopt(_MMAP_THRESHOLD, _LARGE) or mallopt(_MMAP_THRESHOLD, _DOCUMENTED)
    return bool(large and mallopt(_TRIM_THRESHOLD, _NEVER))
