"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data (NAS_DATA_DIR, else ../shared/data); a test that asks for it skips where it is absent."""
    folder = Path(os.environ.get("NAS_DATA_DIR") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no data folder at {folder}; set NAS_DATA_DIR")
    return folder


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from more, and the order of sums, so every digit, stays the same."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
