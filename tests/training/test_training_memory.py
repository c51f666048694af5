"""Memory that a training frees stays with the process."""

import os
import platform
import subprocess
import sys
from typing import NamedTuple

import pytest

# elsewhere nothing is promised
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is the allocator of glibc that is set")

SCRIPT = """
import resource, sys
from pathlib import Path

import numpy as np
from irs_marl_env.training.memory import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "keep" else False
faults = []
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
before = resident()
for _ in range(4):
    large = [np.ones(int(sys.argv[2]) // 8) for _ in range(2)]
    del large
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(kept, faults[-1] - faults[0], resident() - before)
"""


class Measured(NamedTuple):
    """Of a process that makes and frees two arrays, and does so three times more."""

    kept: bool
    faults: int  # pages that the system hands out in these three times
    resident: int  # bytes more than before that it has in the end


def measure(what: str, size: int = 80_000_000, **environment: str) -> Measured:
    """With arrays of so many bytes."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", SCRIPT, what, str(size)]
    done = subprocess.run(
        command, env=clean | environment, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    kept, count, resident = done.stdout.split()
    return Measured(kept == "True", int(count), int(resident))


def test_the_same_work_takes_no_new_pages():
    found = measure("keep")
    assert found.kept
    assert found.faults < 500
    assert found.resident > 100_000_000
    assert measure("give back").faults > 20 * max(found.faults, 1)


def test_arrays_as_large_as_a_replay_memory_go_back_to_the_system():
    found = measure("keep", size=400_000_000)
    assert found.kept
    assert found.resident < 100_000_000


def test_whoever_set_the_allocator_has_decided():
    assert not measure("keep", MALLOC_ARENA_MAX="2").kept
