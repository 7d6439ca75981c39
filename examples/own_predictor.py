"""A predictor of one's own: the mean of the nearest training architectures, the nearer the weightier.

python -m renas --predictor examples/own_predictor.py:Nearest PREDICTOR.K 10
python examples/own_predictor.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.predictors import Predictor
from common.runs.config import at_least, key


@dataclass(frozen=True)
class NearestSettings:
    k: int = key(5, "training architectures that are looked at", at_least(1))


class Nearest(Predictor):
    """Sees what `encoding` names: the one-hot code and the costs, scaled to the spread of the training data."""

    name = "nearest"
    encoding = "one_hot+costs"
    Settings = NearestSettings

    def fit(
        self,
        features: np.ndarray,
        values: np.ndarray,
        rng: np.random.Generator,
        on_step: Callable[[float, float], object] = lambda done, tau: None,
    ) -> None:
        self.scale = features.std(0) + 1e-9
        self.features, self.values = features / self.scale, values

    def predict(self, features: np.ndarray) -> np.ndarray:
        scaled = features / self.scale
        squares = (scaled**2).sum(1)[:, None] - 2 * scaled @ self.features.T + (self.features**2).sum(1)
        nearest = np.argsort(squares, axis=1)[:, : self.settings.k]
        weights = 1 / (np.take_along_axis(squares, nearest, 1).clip(0) + 0.1)
        return (weights * self.values[nearest]).sum(1) / weights.sum(1)


def main() -> None:
    from common.benchmarks import load_benchmark
    from common.metrics import kendall_tau
    from common.predictors import make_predictor

    table = load_benchmark()  # the one that pip installs: 15,625 trained cells
    for name in ("boosting", "examples/own_predictor.py:Nearest"):
        scores = make_predictor(name).fit(table.sample(424, seed=0)).predict(table)
        print(f"{name}: Kendall tau {kendall_tau(scores, table.values()):.3f}")


if __name__ == "__main__":
    main()
