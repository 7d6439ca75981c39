"""How well scores order architectures. All exact: no subsampling, O(n log n)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np


def kendall_tau(scores: np.ndarray, truth: np.ndarray) -> float:
    """Kendall's tau-b of two (n,) arrays, in [-1, 1]; NaN when either is constant or n < 2."""
    from scipy.stats import kendalltau

    return float(kendalltau(scores, truth).statistic) if len(scores) > 1 else math.nan


def spearman(scores: np.ndarray, truth: np.ndarray) -> float:
    """Spearman's rank correlation of two (n,) arrays, in [-1, 1]; NaN when either is constant or n < 2."""
    from scipy.stats import rankdata

    if len(scores) < 2:
        return math.nan
    a, b = (rankdata(values) - (len(values) + 1) / 2 for values in (scores, truth))
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm else math.nan


def rank_of(value: float, truth: np.ndarray) -> int:
    """1 + the number of entries strictly better (larger) than `value`; NaN entries do not count."""
    return 1 + int(np.sum(truth > value))


def mean_std(values: Iterable[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1) of the values that are not NaN; the deviation of one value is 0."""
    kept = np.array([v for v in values if not math.isnan(v)], dtype=np.float64)
    if not len(kept):
        return math.nan, math.nan
    return float(kept.mean()), float(kept.std(ddof=1)) if len(kept) > 1 else 0.0
