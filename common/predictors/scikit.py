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
        on_step(1.0, np.nan)

    def predict(self, features: np.ndarray) -> np.ndarray:
        return by_blocks(self.predict_block, np.ascontiguousarray(features, dtype=np.float32), BLOCK)

    def predict_block(self, features: np.ndarray) -> np.ndarray:
        """Scores (m,) of a few features (m, D) float32, as the model gives them."""
        return self.model.predict(features)
