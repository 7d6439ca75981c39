"""Ranking metrics, exact on any number of architectures."""

from common.metrics.ranking import kendall_tau, mean_std, rank_of, spearman

__all__ = ["kendall_tau", "mean_std", "rank_of", "spearman"]
