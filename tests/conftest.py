"""What all tests share: one thread, no window, reproducible property tests."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy is imported
    os.environ[_name] = "1"
os.environ["MPLBACKEND"] = "Agg"

import pytest
from hypothesis import settings

settings.register_profile("suite", derandomize=True, max_examples=50, deadline=None, database=None, print_blob=False)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-readings",
        action="store_true",
        help="run the full product of the readings of the paper (about an hour), not only all pairs of options",
    )
