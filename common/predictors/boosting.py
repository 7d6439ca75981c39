"""Gradient-boosted trees: the page to copy for a predictor of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.predictors.base import Predictor
from common.runs.config import above, at_least, key


@dataclass(frozen=True)
class BoostingSettings:
    """Hyper-parameters of scikit-learn's HistGradientBoostingRegressor, by its names."""

    learning_rate: float = key(0.05, "step of each tree", above(0))
    max_iter: int = key(300, "number of trees", at_least(1))
    max_leaf_nodes: int = key(15, "leaves a tree may have", at_least(2))
    min_samples_leaf: int = key(5, "architectures that a leaf must hold", at_least(1))
    l2_regularization: float = key(0.0, "L2 penalty on the values of the leaves", at_least(0))


class Boosting(Predictor):
    """scikit-learn's histogram gradient boosting on standardised values, over flat features."""

    name = "boosting"
    encoding = "one_hot+costs"
    Settings = BoostingSettings

    def fit(
        self,
        features: np.ndarray,
        values: np.ndarray,
        rng: np.random.Generator,
        on_step: Callable[[float, float], object] = lambda done, tau: None,
    ) -> None:
        from sklearn.ensemble import HistGradientBoostingRegressor

        options = vars(self.settings) | {"early_stopping": False, "random_state": int(rng.integers(2**32))}
        self.model = HistGradientBoostingRegressor(**options)
        self.model.fit(features, (values - values.mean()) / (values.std() or 1.0))
        on_step(1.0, np.nan)

    def predict(self, features: np.ndarray) -> np.ndarray:
        return self.model.predict(features)
