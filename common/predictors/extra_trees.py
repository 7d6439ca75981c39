"""Extremely randomised trees (Geurts et al. 2006): a forest whose trees differ tells how unsure it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.metrics import normal_scores
from common.predictors.base import Predictor
from common.runs.config import at_least, between, key


@dataclass(frozen=True)
class ExtraTreesSettings:
    """Hyper-parameters of scikit-learn's ExtraTreesRegressor."""

    trees: int = key(100, "number of trees", at_least(1))
    min_samples_leaf: int = key(1, "architectures that a leaf must hold", at_least(1))
    max_features: float = key(0.5, "share of the features that a split chooses from", between(0.001, 1))


class ExtraTrees(Predictor):
    """Extra trees on normal scores, over flat features; the standard deviation is the one among the trees."""

    name = "extra_trees"
    encoding = "graph"
    Settings = ExtraTreesSettings

    def fit(
        self,
        features: np.ndarray,
        values: np.ndarray,
        rng: np.random.Generator,
        on_step: Callable[[float, float], object] = lambda done, tau: None,
    ) -> None:
        from sklearn.ensemble import ExtraTreesRegressor

        options = dict(vars(self.settings))
        trees = options.pop("trees")
        self.model = ExtraTreesRegressor(n_estimators=trees, random_state=int(rng.integers(2**32)), **options)
        self.model.fit(features, normal_scores(values))
        on_step(1.0, np.nan)

    def predict(self, features: np.ndarray) -> np.ndarray:
        return self.model.predict(features)

    def predict_with_std(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features = np.ascontiguousarray(features, dtype=np.float32)  # as the trees take them, converted once
        scores = np.stack([tree.predict(features) for tree in self.model.estimators_])
        return scores.mean(0), scores.std(0)
