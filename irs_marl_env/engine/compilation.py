"""Whether kernels can be compiled here, and the decorator that compiles them and keeps their machine code.

numba is imported where it is asked for, never with this module.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

Decorator = Callable[[Callable[..., Any]], Any]


@cache
def obstacle() -> str:
    """Why kernels cannot be used in this process; empty if they can.

    A numba that is there but cannot be imported (too old for this numpy, say) is worth a warning, which comes once: who
    installed it expects the kernels.
    """
    if importlib.util.find_spec("numba") is None:
        return "needs numba: pip install 'irs-marl-env[fast]'"
    try:
        # all that kernels need of it: an uninstalled numba may leave an empty folder, which can be imported
        from numba import config, njit, types  # noqa: F401  (asked for, not used)
        from numba.core.caching import FunctionCache  # noqa: F401  (the same)
        from numba.extending import intrinsic  # noqa: F401  (the same)
    except Exception as error:  # whatever a broken installation raises
        warnings.warn(
            f"numba is installed but cannot be imported, so steps run without compiled kernels: {error}", stacklevel=2
        )
        return f"needs numba, which cannot be imported: {error}"
    switched_off = getattr(config, "DISABLE_JIT", False)
    return "needs a compiler, which NUMBA_DISABLE_JIT switches off" if switched_off else ""


@cache
def _say(message: str) -> None:
    """Log a message once in a process; warnings are what Python shows by default."""
    logging.getLogger("irs_marl_env").warning(message)


@cache
def _sources() -> str:
    """Digest of the sources of all kernels, of which any may stand inside any other."""
    digest = hashlib.sha256()
    for path in sorted((Path(__file__).parent / "kernels").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def kernel(**options: Any) -> Decorator:
    """``numba.njit`` with the machine code kept on the disk, where a folder for it can be written.

    The folder is that of the module, or one of the user, or ``NUMBA_CACHE_DIR``; without any the kernels are compiled
    in every process. A kernel must always be given the same types (``compiled.for_kernel``): each new combination is
    compiled anew, and two processes that keep different ones at the same time may take one for the other.

    Args:
        **options: of ``numba.njit``, without ``cache``.
    """
    from numba import njit
    from numba.core.caching import FunctionCache

    class Cache(FunctionCache):
        """Numba's, which says when it has to compile, and survives a damaged file and a full or read-only disk.

        Numba looks at the file of a kernel alone to see whether its machine code is out of date.
        """

        def _index_key(self, *args: Any) -> Any:
            return *super()._index_key(*args), _sources()

        def load_overload(self, *args: Any) -> Any:
            found = None
            try:
                found = super().load_overload(*args)
            except Exception as error:  # pickle's, for a file that is not whole
                _say(f"compiled kernels in {self.cache_path} cannot be read and are compiled again: {error!r}")
                with contextlib.suppress(OSError):
                    self.flush()
            if found is None:
                _say(f"compiling kernels, which takes up to a minute; later processes load them from {self.cache_path}")
            return found

        def save_overload(self, *args: Any) -> None:
            try:
                super().save_overload(*args)
            except OSError as error:
                _say(f"compiled kernels cannot be kept in {self.cache_path}, so later processes compile again: {error}")

    def decorate(function: Callable[..., Any]) -> Any:
        compiled = njit(**options)(function)
        try:
            compiled._cache = Cache(function)  # as njit(cache=True) does with numba's own
        except RuntimeError:  # numba found no folder
            _say(
                "compiling kernels in every process, which takes up to a minute each time: no folder for them can be "
                "written; set NUMBA_CACHE_DIR to one that can"
            )
        return compiled

    return decorate
