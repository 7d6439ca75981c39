"""Is one method better than another, when both were run with the same seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.metrics.ranking import bootstrap_interval


@dataclass(frozen=True)
class PairedComparison:
    """Of n pairs: the mean difference, a bootstrap interval of it, and the sign test.

    low, high: the percentile interval of the mean difference at `level`. better, worse: pairs with a difference above
    and below 0. p_value: of the two-sided sign test over these (ties left out); 1 where all are tied.
    """

    n: int
    mean: float
    low: float
    high: float
    level: float
    better: int
    worse: int
    p_value: float


def compare_paired(first: np.ndarray, second: np.ndarray, level: float = 0.95, seed: int = 0) -> PairedComparison:
    """Compares (n,) values of one method with those (n,) of another, pair by pair; the difference is first - second.

    Raises: ValueError unless both hold the same number of finite values, at least one.
    """
    from scipy.stats import binomtest

    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"need as many values of both, at least one, got shapes {first.shape} and {second.shape}")
    if not np.isfinite([first, second]).all():
        raise ValueError("values that are not finite cannot be compared")
    difference = first - second
    low, high = bootstrap_interval(difference, level, seed=seed)
    better, worse = int((difference > 0).sum()), int((difference < 0).sum())
    p_value = float(binomtest(better, better + worse).pvalue) if better + worse else 1.0
    return PairedComparison(len(difference), float(difference.mean()), low, high, level, better, worse, p_value)
