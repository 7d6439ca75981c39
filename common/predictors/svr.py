"""Support vector regression (Smola & Schölkopf 2004): smooth as a Gaussian process, and deaf to small errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.metrics import normal_scores
from common.predictors.base import Predictor
from common.predictors.blocks import by_blocks
from common.predictors.gp import CLIP
from common.runs.config import above, at_least, key


@dataclass(frozen=True)
class SvrSettings:
    """Hyper-parameters of scikit-learn's SVR."""

    c: float = key(1.0, "what an error costs beside roughness", above(0))
    epsilon: float = key(0.1, "error, in standard deviations of the values, that costs nothing", at_least(0))
    reach: float = key(3.0, "squared distance by which the kernel falls to 1/e, in mean squared lengths", above(0))


class Svr(Predictor):
    """On normal scores, over flat features that are standardised, with the kernel exp(-|x - x'|^2 / (reach * <|x|^2>)).

    Unlike the Gaussian process it tunes nothing, which is its strength as a member of an ensemble with few labels.
    """

    name = "svr"
    encoding = "graph"
    Settings = SvrSettings

    def fit(
        self,
        features: np.ndarray,
        values: np.ndarray,
        rng: np.random.Generator,
        on_step: Callable[[float, float], object] = lambda done, tau: None,
    ) -> None:
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVR

        self.scaler = StandardScaler().fit(features)
        points = self._scaled(features)
        length = (points**2).sum(1).mean()
        gamma = 1 / (self.settings.reach * length) if length > 0 else 1.0
        self.model = SVR(C=self.settings.c, epsilon=self.settings.epsilon, gamma=gamma)
        self.model.fit(points, normal_scores(values))
        self.vectors = self.model.support_vectors_.astype(np.float32)
        on_step(1.0, np.nan)

    def predict(self, features: np.ndarray) -> np.ndarray:
        return by_blocks(self._predict, features)

    def _predict(self, features: np.ndarray) -> np.ndarray:
        """As the model does, by matrix products: several times faster."""
        points = self._scaled(features).astype(np.float32)
        squares = (points**2).sum(1)[:, None] + (self.vectors**2).sum(1) - 2 * points @ self.vectors.T
        return np.exp(-self.model.gamma * squares).astype(np.float64) @ self.model.dual_coef_[0] + self.model.intercept_

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        return np.clip(self.scaler.transform(features), -CLIP, CLIP)
