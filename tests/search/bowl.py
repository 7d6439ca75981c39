"""A search problem that costs nothing: a smooth function of the code with an uneven part on top."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome
from common.predictors import Predictor
from common.search import Strategy, make_strategy
from common.search.active import ActiveSettings
from common.search.pareto import ParetoSettings
from common.search.screening import ScreeningSettings
from common.seeds import rng_for
from common.spaces import SearchSpace


@dataclass(frozen=True)
class Bowl(Evaluator):
    """Minus the distance of the live code from a hidden one, and a little noise that an architecture always has."""

    space: SearchSpace
    name = "bowl"

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        code = self.space.live_codes(self.space.to_codes([arch]))[0]
        hidden = rng_for(0, "hidden").integers(self.space.choices, size=len(code))
        noise = rng_for(0, "noise", *code.tolist()).normal()
        return Outcome(float(-np.sum(code != hidden) + 0.1 * noise))


class BayesianRidge(Predictor):
    """Linear regression with a posterior: a predictor with an uncertainty that costs nothing."""

    name = "ridge"
    encoding = "one_hot"

    def fit(
        self,
        features: np.ndarray,
        values: np.ndarray,
        rng: np.random.Generator,
        on_step: Callable[[float, float], object] = lambda done, tau: None,
    ) -> None:
        x, self.offset = self._with_one(features), values.mean()
        self.covariance = np.linalg.inv(x.T @ x + np.eye(x.shape[1]))
        self.weights = self.covariance @ x.T @ (values - self.offset)

    def predict(self, features: np.ndarray) -> np.ndarray:
        return self._with_one(features) @ self.weights + self.offset

    def predict_with_std(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = self._with_one(features)
        return self.predict(features), np.sqrt(np.einsum("ij,jk,ik->i", x, self.covariance, x))

    @staticmethod
    def _with_one(features: np.ndarray) -> np.ndarray:
        return np.column_stack([features, np.ones(len(features))]).astype(np.float64)


def quick_strategy(name: str, space: SearchSpace, seed: int, **parts: Any) -> Strategy:
    """The strategy called `name`; one that takes a predictor with the quick one."""
    quick = {
        "active": ActiveSettings(candidates=100),
        "pareto": ParetoSettings(candidates=100),
        "screening": ScreeningSettings(candidates=100, mutants=20),
    }
    if name in quick:
        parts = {"predictor": BayesianRidge, "settings": quick[name], **parts}
    return make_strategy(name, space, seed, **parts)
