"""What a predictor says of architectures whose own values it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.benchmarks.table import BenchmarkTable
from common.metrics import kendall_tau
from common.predictors import make_predictor
from common.seeds import rng_for
from common.spaces import SearchSpace


def out_of_fold(space: SearchSpace[Any], codes: np.ndarray, values: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(N,) scores of codes (N, code_length) by a Gaussian process that has learnt the values (N,) of the other folds.

    fold: (N,) the numbers of their folds, from 0.
    """
    ranker = make_predictor("gp")
    predictor, encoding = ranker.predictor, ranker.encoding
    features = encoding.encode(space, codes)
    predictor.groups = encoding.groups(space)
    scores = np.empty(len(codes))
    for number in range(int(fold.max()) + 1):
        own = fold == number
        predictor.fit(features[~own], values[~own], rng_for(number, "predictor"))
        scores[own] = predictor.predict(features[own])
    return scores


def place(found: Sequence[str], table: BenchmarkTable, folds: int = 5, column: str = "") -> dict[str, Any]:
    """Where a predictor that learnt a table's architectures places others among these.

    Args:
        found: the others, as text of the table's space.
        column: what it learns; the table's only one if not said.
    Returns: better_than: the share of the table's architectures that are predicted to be worse, each having been left
        out for that; kendall_tau: of these predictions and the values; predicted: of the others, by the straight line
        that best leads from these predictions to the values.
    """
    space = table.space
    assert space is not None
    values = table.column(column or next(iter(table.columns)))
    archs, truth = [table.arch(row) for row in range(len(table))], values.values
    others = out_of_fold(space, space.to_codes(archs), truth, np.arange(len(archs)) % folds)
    ranker = make_predictor("gp").fit(archs=archs, values=truth, space=space)
    scores = ranker.predict([space.parse(text) for text in found])
    slope, offset = np.polyfit(others, truth, 1)
    return {
        "table": table.source.title,
        "column": values.name,
        "architectures": len(archs),
        "predictor": "gp",
        "kendall_tau": kendall_tau(others, truth),
        "predicted": [float(offset + slope * score) for score in scores],
        "better_than": [float((others < score).mean()) for score in scores],
    }
