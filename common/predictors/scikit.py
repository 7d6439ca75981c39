"""What predictors made of a scikit-learn regressor share: normal scores in, the model's predictions out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from common.metrics import normal_scores
from common.predictors.base import Predictor
from common.predictors.blocks import by_blocks

BLOCK = 2048  # architectures that go through all trees before the next do


class ScikitPredictor(Predictor):
    """A regressor over flat features that learns the normal scores of the values."""

    encoding = "graph"
    model: Any
    _score: Callable[[np.ndarray], np.ndarray] | None = None  # `scorer`'s, made when the model is first asked

    @abstractmethod
    def build_model(self, random_state: int) -> Any:
        """The regressor of these settings, not yet fitted."""

    def fit(
        self,
        features: np.ndarray,
        values: np.ndarray,
        rng: np.random.Generator,
        on_step: Callable[[float, float], object] = lambda done, tau: None,
    ) -> None:
        self.model = self.build_model(int(rng.integers(2**32)))
        self.model.fit(features, normal_scores(values))
        self._score = None
        on_step(1.0, np.nan)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """NaN for features that are not finite in float32."""
        with np.errstate(over="ignore"):
            features = np.ascontiguousarray(features, dtype=np.float32)
        known = np.isfinite(features).all(axis=1)
        scores = np.full(len(features), np.nan)
        self._score = self._score or self.scorer()
        scores[known] = by_blocks(self._score, features if known.all() else features[known], BLOCK)
        return scores

    def scorer(self) -> Callable[[np.ndarray], np.ndarray]:
        """What gives the scores (m,) of features (m, D), float32 and finite, as the model does."""
        return self.model.predict

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_score": None}  # a function that other processes make for themselves
