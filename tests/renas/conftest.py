"""Small benchmark tables for the tests of ReNAS, and one thread for torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.benchmarks.table import BenchmarkTable, Column, Source
from common.spaces import make_space


@pytest.fixture(scope="session", autouse=True)
def _one_thread(one_thread: None) -> None:
    """See `one_thread`."""


@pytest.fixture(scope="session")
def make_table() -> Callable[..., BenchmarkTable]:
    """make_table(cifar10_valid_12=values, ...): a NAS-Bench-201 table of distinct random cells with these columns."""

    def make(seed: int = 0, **columns: Any) -> BenchmarkTable:
        space = make_space("nasbench201")
        count = len(next(iter(columns.values())))
        codes = space.to_codes(space.sample_distinct(count, np.random.default_rng(seed)))
        made = {}
        for name, values in columns.items():
            dataset, split, epochs = (*name.rsplit("_", 2), "", "")[:3]
            known = split in ("train", "valid", "test")
            made[name] = Column(
                name,
                np.array(values, dtype=np.float64),
                "%" if known else "",
                dataset if known else "",
                split if known else "",
                int(epochs) if known else 0,
            )
        return BenchmarkTable(Source("made", "a made table", "made.csv"), made, space, codes)

    return make
