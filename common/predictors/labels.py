"""How values enter predictors that learn by squared error: as ranks, so that one failed training weighs no more."""

from __future__ import annotations

import numpy as np


def normal_scores(values: np.ndarray) -> np.ndarray:
    """(n,) quantiles of the normal distribution at the ranks of values (n,), about -2.5 to 2.5 for 100; ties share one.

    Blom-type scores at (rank - 1/2) / n.
    """
    from scipy.stats import norm, rankdata

    return norm.ppf((rankdata(values) - 0.5) / len(values))
