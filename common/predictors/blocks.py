"""Scores of many architectures block by block, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from common.execution.processes import usable_cores

BLOCK = 512  # architectures scored at once by what compares them with those learnt from


def by_blocks(score: Callable[[np.ndarray], np.ndarray], features: np.ndarray, block: int = BLOCK) -> np.ndarray:
    """Scores (m,) of features (m, D): what a block needs stays in a core's cache, and the cores share the blocks.

    A score must not depend on what else is in its block. Matrix products have one thread each meanwhile; with
    OMP_NUM_THREADS set there are that many threads instead of one a core.
    """
    starts = range(0, max(len(features), 1), block)
    parts = (features[start : start + block] for start in starts)
    threads = min(_threads(), len(starts))
    if threads == 1:
        return np.concatenate([*map(score, parts)])
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        return np.concatenate([*pool.map(score, parts)])


def _threads() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else usable_cores()
