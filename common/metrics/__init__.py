"""Ranking metrics, exact on any number of architectures, and comparisons of methods seed by seed."""

from common.metrics.paired import PairedComparison, compare_paired
from common.metrics.ranking import kendall_tau, mean_std, rank_of, spearman

__all__ = ["PairedComparison", "compare_paired", "kendall_tau", "mean_std", "rank_of", "spearman"]
