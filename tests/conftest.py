"""What all tests share: one thread, no window, reproducible property tests."""

from __future__ import annotations

import os
import shutil
import signal
import sys

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
    parser.addoption("--torch-device", help="where the torch backend lives, cuda say, for tests that name no device")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--torch-device"):
        import torch_device

        torch_device.use(config.getoption("--torch-device"))


@pytest.fixture(autouse=True)
def torchs_own_generator():
    """What a test draws from torch's own generator is the same whichever tests ran before it in its process."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def one_thread():
    """Torch with one thread: numbers that repeat, and no waiting for other tests."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


BROWSER = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window; skipped where it is missing, a failure with ``IRS_MARL_BROWSER=required``."""
    try:
        from playwright.sync_api import sync_playwright

        reason = "" if chromium() else "there is no chromium on this machine"
    except ImportError:
        reason = "playwright is not installed"
    if reason:
        if os.environ.get("IRS_MARL_BROWSER") == "required":
            pytest.fail(f"IRS_MARL_BROWSER=required, but {reason}")
        pytest.skip(f"needs a browser: {reason}")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=list(BROWSER))
        yield started
        started.close()


def chromium() -> str | None:
    """The program, under one of the names it has."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)
