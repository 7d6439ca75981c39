"""Gradient-boosted trees: the page to copy for a predictor of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.metrics import normal_scores
from common.predictors.base import Predictor
from common.runs.config import above, at_least, between, key


@dataclass(frozen=True)
class BoostingSettings:
    """Hyper-parameters of scikit-learn's GradientBoostingRegressor."""

    learning_rate: float = key(0.05, "step of each tree", above(0))
    max_iter: int = key(300, "number of trees", at_least(1))
    max_depth: int = key(4, "splits from a tree's root to a leaf", at_least(1))
    min_samples_leaf: int = key(3, "architectures that a leaf must hold", at_least(1))
    subsample: float = key(0.7, "share of the architectures that a tree sees", between(0.01, 1))
    max_features: float = key(0.3, "share of the features that a split chooses from", between(0.001, 1))


class Boosting(Predictor):
    """Gradient boosting on normal scores, over flat features: the best single member from some 150 labels on."""

    name = "boosting"
    encoding = "graph"
    Settings = BoostingSettings

    def fit(
        self,
        features: np.ndarray,
        values: np.ndarray,
        rng: np.random.Generator,
        on_step: Callable[[float, float], object] = lambda done, tau: None,
    ) -> None:
        from sklearn.ensemble import GradientBoostingRegressor

        options = dict(vars(self.settings))
        trees = options.pop("max_iter")
        self.model = GradientBoostingRegressor(n_estimators=trees, random_state=int(rng.integers(2**32)), **options)
        self.model.fit(features, normal_scores(values))
        on_step(1.0, np.nan)

    def predict(self, features: np.ndarray) -> np.ndarray:
        return self.model.predict(features)
