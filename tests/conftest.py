"""What all tests share: one thread, no window, reproducible property tests."""

from __future__ import annotations

import os
import signal

# before numpy is imported
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", MPLBACKEND="Agg")

import pytest
from hypothesis import Phase, settings

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # a shell starts what runs in its background so, and all that is started from there; tests send the signal
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("suite", derandomize=True, max_examples=100, deadline=None, database=None, print_blob=False)
# of tests/mutation.py, for which a failure is enough: the smallest one would take minutes to find
settings.register_profile("mutation", settings.get_profile("suite"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-readings",
        action="store_true",
        help="run the full product of the readings of the paper (about an hour), not only all pairs of options",
    )


@pytest.fixture
def one_thread():
    """Torch with one thread: numbers that repeat, and no waiting for other tests."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
