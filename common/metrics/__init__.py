"""Ranking metrics, exact on any number of architectures, and comparisons of methods seed by seed."""

from common.metrics.paired import PairedComparison, compare_paired
from common.metrics.pareto import hypervolume, pareto_front
from common.metrics.ranking import (
    best_rank_at,
    best_rows,
    bootstrap_interval,
    kendall_tau,
    mean_std,
    normal_scores,
    precision_at,
    rank_of,
    regret_at,
    spearman,
    tau_interval,
)
from common.metrics.summary import number, summarize_series, with_spread

__all__ = [
    "PairedComparison",
    "best_rank_at",
    "best_rows",
    "bootstrap_interval",
    "compare_paired",
    "hypervolume",
    "kendall_tau",
    "mean_std",
    "normal_scores",
    "number",
    "pareto_front",
    "precision_at",
    "rank_of",
    "regret_at",
    "spearman",
    "summarize_series",
    "tau_interval",
    "with_spread",
]
