"""Gradient-boosted trees: the page to copy for a regressor of scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.predictors.scikit import ScikitPredictor
from common.predictors.trees import DEEPEST, SmallTrees
from common.runs.config import above, at_least, between, key


@dataclass(frozen=True)
class BoostingSettings:
    """Hyper-parameters of scikit-learn's GradientBoostingRegressor, several of which are averaged."""

    learning_rate: float = key(0.05, "step of each tree", above(0))
    models: int = key(4, "models that are averaged, each with draws of its own", at_least(1))
    max_iter: int = key(300, "number of trees of a model", at_least(1))
    max_depth: int = key(4, "splits from a tree's root to a leaf", at_least(1))
    min_samples_leaf: int = key(3, "architectures that a leaf must hold", at_least(1))
    subsample: float = key(0.7, "share of the architectures that a tree sees", between(0.01, 1))
    max_features: float = key(0.3, "share of the features that a split chooses from", between(0.001, 1))


class Boosting(ScikitPredictor):
    """Gradient boosting on normal scores, over flat features: the best single member from some 150 labels on."""

    name = "boosting"
    Settings = BoostingSettings

    def build_model(self, random_state: int) -> Any:
        from sklearn.ensemble import BaggingRegressor, GradientBoostingRegressor

        options = dict(vars(self.settings))
        models, trees = options.pop("models"), options.pop("max_iter")
        model = GradientBoostingRegressor(n_estimators=trees, **options)
        return BaggingRegressor(model, n_estimators=models, bootstrap=False, random_state=random_state)

    def scorer(self) -> Callable[[np.ndarray], np.ndarray]:
        models = self.model.estimators_
        small = self.settings.max_depth <= DEEPEST
        score = [SmallTrees(one).predict if small else one.predict for one in models]
        return lambda features: np.mean([each(features) for each in score], axis=0)
