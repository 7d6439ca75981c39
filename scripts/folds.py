"""What a predictor says of architectures whose own values it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np

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
