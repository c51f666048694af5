"""Memory that a training frees stays with the process."""

import os
import platform
import subprocess
import sys

import pytest

# elsewhere nothing is promised
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is the allocator of glibc that is set")

SCRIPT = """
import resource, sys
import numpy as np
from irs_marl_env.training.memory import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "keep" else False
faults = []
for _ in range(4):
    large = [np.ones(5_000_000) for _ in range(4)]  # 40 MB each: 10,000 pages
    del large
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(kept, faults[-1] - faults[0])
"""


def faults(what: str, **environment: str) -> tuple[str, int]:
    """Whether memory is kept, and how many pages the system hands out while the same work is done three times more."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", SCRIPT, what]
    done = subprocess.run(
        command, env=clean | environment, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    kept, count = done.stdout.split()
    return kept, int(count)


def test_the_same_work_takes_no_new_pages():
    kept, count = faults("keep")
    assert kept == "True"
    assert count < 500
    assert faults("give back")[1] > 20 * max(count, 1)


def test_whoever_set_the_allocator_has_decided():
    assert faults("keep", MALLOC_ARENA_MAX="2")[0] == "False"
