"""Ranking metrics: by hand, against slow definitions, against scipy, and exact at the size of NAS-Bench-101."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from common.metrics import (
    best_rank_at,
    best_rows,
    bootstrap_interval,
    kendall_tau,
    mean_std,
    precision_at,
    rank_of,
    regret_at,
    spearman,
    tau_interval,
)

NASBENCH101_SIZE = 423_624


def slow_tau_b(a: np.ndarray, b: np.ndarray) -> float:
    """(concordant - discordant) / sqrt(pairs untied in a * pairs untied in b), over all pairs."""
    i, j = np.triu_indices(len(a), 1)
    x, y = np.sign(a[i] - a[j]), np.sign(b[i] - b[j])
    return float((x * y).sum() / math.sqrt(float((x != 0).sum()) * float((y != 0).sum())))


def slow_spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of average ranks, each found by counting."""
    ranks = [np.array([(v > value).sum() + ((v == value).sum() - 1) / 2 for value in v]) for v in (-a, -b)]
    return float(np.corrcoef(*ranks)[0, 1])


def with_ties(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = rng.integers(0, count // 4, count).astype(float)
    return a, np.round(0.5 * a + rng.normal(0, count / 12, count), 0)


def test_kendall_tau_by_hand():
    assert kendall_tau(np.array([1.0, 2, 3]), np.array([10.0, 20, 30])) == pytest.approx(1)
    assert kendall_tau(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)
    assert kendall_tau(np.array([1.0, 2]), np.array([5.0, 4])) == pytest.approx(-1)
    # pairs: (1,2) agree, (1,3) agree, (2,3) disagree
    assert kendall_tau(np.array([1.0, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(1 / 3)
    # 5 pairs untied in the first, 6 in the second; 4 agree, 1 disagrees
    assert kendall_tau(np.array([1.0, 1, 2, 3]), np.array([1.0, 2, 4, 3])) == pytest.approx(3 / math.sqrt(5 * 6))


def test_spearman_by_hand():
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([1.0, 4, 9, 16])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([2.0, 1, 4, 3])) == pytest.approx(1 - 6 * 4 / (4 * 15))
    # ranks 1.5 1.5 3 against 1 2 3: covariance 1.5, variances 1.5 and 2
    assert spearman(np.array([7.0, 7, 9]), np.array([1.0, 2, 3])) == pytest.approx(1.5 / math.sqrt(1.5 * 2))


@pytest.mark.parametrize("seed", range(5))
def test_both_are_their_slow_definitions_and_scipys_on_data_with_ties(seed: int):
    a, b = with_ties(60, seed)
    assert len(np.unique(a)) < 60 > len(np.unique(b))
    assert kendall_tau(a, b) == pytest.approx(slow_tau_b(a, b), abs=1e-12)
    assert kendall_tau(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-12)
    assert spearman(a, b) == pytest.approx(slow_spearman(a, b), abs=1e-12)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


@pytest.mark.parametrize("metric", [kendall_tau, spearman])
def test_only_the_order_counts(metric):
    a, b = with_ties(50, 1)
    assert metric(a, b) == pytest.approx(metric(b, a), abs=1e-12)
    assert metric(np.exp(a / 5), 3 * b + 1) == pytest.approx(metric(a, b), abs=1e-12)
    assert metric(-a, b) == pytest.approx(-metric(a, b), abs=1e-12)
    order = np.random.default_rng(0).permutation(50)
    assert metric(a[order], b[order]) == pytest.approx(metric(a, b), abs=1e-12)
    assert metric(a.astype(np.float32), b) == pytest.approx(metric(a, b), abs=1e-12)


@pytest.mark.parametrize("metric", [kendall_tau, spearman])
def test_what_has_no_order_is_nan(metric):
    assert math.isnan(metric(np.array([]), np.array([])))
    assert math.isnan(metric(np.array([1.0]), np.array([2.0])))
    assert math.isnan(metric(np.ones(5), np.arange(5.0)))
    assert math.isnan(metric(np.arange(5.0), np.ones(5)))


@pytest.mark.parametrize(("metric", "slow"), [(kendall_tau, slow_tau_b), (spearman, slow_spearman)])
def test_exact_on_the_whole_of_nasbench101(metric, slow):
    """929 copies of 456 architectures: every untied pair occurs 929^2 times, so the measure is that of one copy."""
    a, b = with_ties(456, 2)
    copies = NASBENCH101_SIZE // 456
    order = np.random.default_rng(3).permutation(NASBENCH101_SIZE)
    whole_a, whole_b = np.tile(a, copies)[order], np.tile(b, copies)[order]
    assert len(whole_a) == NASBENCH101_SIZE
    assert 0.2 < slow(a, b) < 0.9
    assert metric(whole_a, whole_b) == pytest.approx(slow(a, b), abs=1e-9)


def test_three_swapped_pairs_among_423624_architectures_show():
    a = np.arange(float(NASBENCH101_SIZE))
    b = a.copy()
    b[[1000, 1001, 5, 6, 400_000, 400_001]] = b[[1001, 1000, 6, 5, 400_001, 400_000]]
    pairs = NASBENCH101_SIZE * (NASBENCH101_SIZE - 1) // 2
    assert 1 - kendall_tau(a, b) == pytest.approx(2 * 3 / pairs, rel=1e-4)


def test_rank_counts_the_strictly_better_and_no_nan():
    truth = np.array([90.0, np.nan, 95.0, 93.0, 93.0])
    assert [rank_of(value, truth) for value in (95.0, 93.0, 90.0, 10.0)] == [1, 2, 4, 5]
    assert isinstance(rank_of(93.0, truth), int)


def test_mean_and_sample_deviation_leave_nan_out():
    assert mean_std([1.0, 2.0, 3.0]) == pytest.approx((2, 1))
    assert mean_std([1.0, math.nan, 3.0]) == pytest.approx((2, math.sqrt(2)))
    assert mean_std([94.0]) == (94.0, 0.0)
    assert mean_std([math.nan, 5.0]) == (5.0, 0.0)
    assert mean_std(iter([1.0, 3.0]))[0] == 2
    assert all(map(math.isnan, mean_std([])))
    assert all(map(math.isnan, mean_std([math.nan])))


# the best k --------------------------------------------------------------------------------------------------------

SCORES = np.array([0.9, 0.1, 0.8, 0.9, 0.5])
TRUTH = np.array([91.0, 94.0, 93.0, 90.0, np.nan])


def test_the_best_k_by_hand():
    """By score: rows 0 and 3 (equal, in this order), 2, 4, 1. Of these the truth is 91, 90, 93, not known, 94."""
    assert best_rows(SCORES, 3).tolist() == [0, 3, 2]
    assert best_rows(SCORES, 9).tolist() == [0, 3, 2, 4, 1]
    assert best_rows(np.array([np.nan, 1.0, 2.0]), 3).tolist() == [2, 1, 0]
    assert [precision_at(k, SCORES, TRUTH) for k in (1, 2, 3, 5)] == pytest.approx([0, 0, 2 / 3, 4 / 5])
    assert [best_rank_at(k, SCORES, TRUTH) for k in (1, 2, 3, 5)] == [3, 3, 2, 1]
    assert [regret_at(k, SCORES, TRUTH) for k in (1, 2, 3, 5)] == [3, 3, 1, 0]


def test_precision_does_not_depend_on_which_of_equals_are_called_best():
    truth = np.array([3.0, 2.0, 2.0, 2.0])
    for scores in np.eye(4) + 0.1 * np.arange(4):
        assert precision_at(2, scores, truth) == 1.0


def test_the_bootstrap_interval_holds_the_mean_as_often_as_it_says():
    """Of 200 samples of 20 standard normal values; and it is as wide as the normal approximation."""
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(200, 20))
    ends = np.array([bootstrap_interval(sample, 0.9, draws=1000) for sample in samples])
    held = np.mean((ends[:, 0] < 0) & (ends[:, 1] > 0))
    assert 0.8 < held < 0.95
    assert np.mean(ends[:, 1] - ends[:, 0]) == pytest.approx(2 * 1.645 / math.sqrt(20), rel=0.1)


def test_the_bootstrap_interval_of_little():
    assert bootstrap_interval([2.0]) == (2.0, 2.0)
    assert bootstrap_interval([2.0, math.nan]) == (2.0, 2.0)
    assert all(map(math.isnan, bootstrap_interval([math.nan])))
    assert bootstrap_interval([1.0, 2.0, 4.0]) == bootstrap_interval(iter([1.0, 2.0, 4.0]))


def test_the_interval_of_tau_covers_it_and_narrows_with_more_architectures():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    scores = truth + rng.normal(size=400)
    wide, narrow = (np.diff(tau_interval(scores[:n], truth[:n]))[0] for n in (40, 400))
    low, high = tau_interval(scores, truth)
    assert low < kendall_tau(scores, truth) < high
    assert wide == pytest.approx(narrow * math.sqrt(10), rel=0.4)
    assert tau_interval(scores, truth, level=0.5)[0] > low
    assert tau_interval(truth, truth) == pytest.approx((1.0, 1.0))
    assert np.isnan(tau_interval(truth[:1], truth[:1])).all()
    assert np.isnan(tau_interval(np.ones_like(truth), truth)).all()
