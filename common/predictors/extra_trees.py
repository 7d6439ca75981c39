"""Extremely randomised trees (Geurts et al. 2006): a forest whose trees differ tells how unsure it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.predictors.scikit import ScikitPredictor
from common.runs.config import at_least, between, key


@dataclass(frozen=True)
class ExtraTreesSettings:
    """Hyper-parameters of scikit-learn's ExtraTreesRegressor."""

    trees: int = key(100, "number of trees", at_least(1))
    min_samples_leaf: int = key(1, "architectures that a leaf must hold", at_least(1))
    max_features: float = key(0.5, "share of the features that a split chooses from", between(0.001, 1))


class ExtraTrees(ScikitPredictor):
    """Extra trees on normal scores, over flat features; the standard deviation is the one among the trees."""

    name = "extra_trees"
    Settings = ExtraTreesSettings

    def build_model(self, random_state: int) -> Any:
        from sklearn.ensemble import ExtraTreesRegressor

        options = dict(vars(self.settings))
        trees = options.pop("trees")
        return ExtraTreesRegressor(n_estimators=trees, random_state=random_state, **options)

    def scorer(self) -> Callable[[np.ndarray], np.ndarray]:
        trees = [tree.tree_ for tree in self.model.estimators_]  # without the forest's preparations for every tree
        return lambda features: np.mean([tree.predict(features)[:, 0] for tree in trees], axis=0)

    def predict_with_std(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features = np.ascontiguousarray(features, dtype=np.float32)  # as the trees take them, converted once
        scores = np.stack([tree.predict(features) for tree in self.model.estimators_])
        return scores.mean(0), scores.std(0)
