"""Fixtures that all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # pytest -n: each worker is one thread, or they would fight for the cores
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data (NAS_DATA_DIR, else ../shared/data); a test that asks for it skips where it is absent."""
    folder = Path(os.environ.get("NAS_DATA_DIR") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no data folder at {folder}; set NAS_DATA_DIR")
    return folder


@pytest.fixture(autouse=True)
def own_modules_are_forgotten() -> Iterator[None]:
    """Modules that a test has named by file (`mine.py:SPACE`) are not there in the next, which may have its own."""
    before, known = sys.path.copy(), {*sys.modules}
    yield
    added = {*sys.path} - {*before}
    sys.path[:] = before
    for name in {*sys.modules} - known:
        file = getattr(sys.modules[name], "__file__", None)
        if file and str(Path(file).parent) in added:
            del sys.modules[name]


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from more, and the order of sums, so every digit, stays the same."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
