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


def normal_scores(values: np.ndarray) -> np.ndarray:
    """(n,) quantiles of the normal distribution at the ranks of values (n,), about -2.5 to 2.5 for 100; ties share one.

    Taken at (rank - 1/2) / n. As labels they make predictors of squared error care for order alone: one failed training
    weighs no more than its rank.
    """
    from scipy.stats import norm, rankdata

    return norm.ppf((rankdata(values) - 0.5) / len(values))


def mean_std(values: Iterable[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1) of the values that are not NaN; the deviation of one value is 0."""
    kept = np.array([v for v in values if not math.isnan(v)], dtype=np.float64)
    if not len(kept):
        return math.nan, math.nan
    return float(kept.mean()), float(kept.std(ddof=1)) if len(kept) > 1 else 0.0


# the best k --------------------------------------------------------------------------------------------------------


def best_rows(scores: np.ndarray, k: int) -> np.ndarray:
    """(min(k, n),) rows of the k highest of scores (n,), best first, equals in the order given; NaN comes last."""
    k = min(k, len(scores))
    scores = np.where(np.isnan(scores), -np.inf, scores)  # what a predictor gives whose training diverged
    # One partition to find the threshold, then a sort of the few rows that reach it: n is up to 423,624.
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k] if k else 0
    reaching = np.flatnonzero(scores >= threshold)
    return reaching[np.argsort(-scores[reaching], kind="stable")][:k]


def precision_at(k: int, scores: np.ndarray, truth: np.ndarray) -> float:
    """The share of the k architectures with the highest scores whose truth is among the k highest (P@k, GATES 2020).

    Where the k-th and the next best are equally good, either counts. truth: (n,), NaN is never good.
    """
    chosen = truth[best_rows(scores, k)]
    return float(np.mean(chosen >= np.nanmin(truth[best_rows(truth, k)])))


def best_rank_at(k: int, scores: np.ndarray, truth: np.ndarray) -> int:
    """N@k (GATES 2020): the rank of the best of the k architectures with the highest scores; 1 is the best of all."""
    return rank_of(float(np.nanmax(truth[best_rows(scores, k)])), truth)


def regret_at(k: int, scores: np.ndarray, truth: np.ndarray) -> float:
    """What the best of the k architectures with the highest scores lacks to the best of all, in units of `truth`."""
    return float(np.nanmax(truth) - np.nanmax(truth[best_rows(scores, k)]))


def bootstrap_interval(
    values: Iterable[float], level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean of independent values (runs with different seeds); NaN left out.

    Returns: its ends; twice the value where there is only one, NaN where there is none.
    """
    kept = np.array([value for value in values if not math.isnan(value)], dtype=np.float64)
    if not len(kept):
        return math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(len(kept), size=(draws, len(kept)))
    low, high = np.quantile(kept[drawn].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def tau_interval(
    scores: np.ndarray, truth: np.ndarray, level: float = 0.95, draws: int = 300, seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap interval of Kendall's tau over (n,) architectures; NaN where there is no tau.

    Another sample of architectures is what it tells of; what a score has drawn (weights, images) stays as it is.
    """
    count = len(scores)
    if math.isnan(kendall_tau(scores, truth)):
        return math.nan, math.nan
    rows = np.random.default_rng(seed).integers(count, size=(draws, count))
    low, high = np.nanquantile([kendall_tau(scores[r], truth[r]) for r in rows], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
