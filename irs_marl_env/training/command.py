"""A trainer as a command: what it says when something is wrong or somebody stops it, and with which exit code.

Exit codes: 0 done, 1 the training diverged, 2 impossible input, a file that cannot be read or written, or a missing
optional package; 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import importlib.util
import shlex
import signal
import sys
from collections.abc import Callable
from typing import Any

from irs_marl_env.signals import Stopped, StopRequests

EXTRAS = {  # what a script with this optional extra imports before or, worse, after its work
    "train": ("torch", "tyro", "tqdm", "matplotlib", "safetensors", "filelock"),
    "sb3": ("torch", "stable_baselines3", "supersuit", "tyro"),
}


class Failed(RuntimeError):
    """The work itself went wrong, although the input was fine."""


def check_installed(extra: str) -> None:
    """Say which packages a script lacks before it imports them.

    Args:
        extra: of :data:`EXTRAS`.

    Raises:
        SystemExit: some are not installed.
    """
    missing = [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if missing:
        print(f"error: needs {', '.join(missing)}: pip install 'irs-marl-env[{extra}]'", file=sys.stderr)
        sys.exit(2)


def command(main: Callable[[], Any]) -> None:
    """Run the main function of a script, which ends with it.

    Raises:
        SystemExit: with the exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that lacks a letter shall not end a training
    sys.exit(_exit_code(main))


def _exit_code(main: Callable[[], Any]) -> int:
    try:
        with StopRequests():
            main()
    except KeyboardInterrupt as error:
        for name in ("SIGINT", "SIGTERM"):
            signal.signal(getattr(signal, name), signal.SIG_IGN)  # it is ending already
        stopped = error if isinstance(error, Stopped) else Stopped()
        print(f"\n{stopped}{_how_to_go_on(stopped.folder)}", file=sys.stderr)
        return stopped.exit_code
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if "memory" not in f"{type(error).__name__} {error}".lower():
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        print(f"error: not enough memory for these settings ({reason})", file=sys.stderr)
        return 2
    return 0


def _how_to_go_on(folder: Any) -> str:
    if folder is None:
        return "; nothing new was saved: give the same command again"
    return f"; go on with: python {shlex.quote(sys.argv[0])} --resume {shlex.quote(str(folder))}"
