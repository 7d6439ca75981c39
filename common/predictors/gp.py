"""A Gaussian process: the best single member for few labels, and one that knows where it has seen nothing like it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.metrics import normal_scores
from common.predictors.base import Predictor
from common.runs.config import at_least, key

CLIP = 4.0  # standard deviations: a feature that one training architecture in a hundred has would outweigh all others
START = np.array([0.0, 0.0, -1.0, -2.0])  # logarithms of scale, height, slope and noise: where the search begins ...
PRIOR_STD = 5.0  # ... and how far (in logarithms) it may well go: few labels leave some of them undecided
JITTER = 1e-8


@dataclass(frozen=True)
class GaussianProcessSettings:
    points: int = key(5000, "architectures learnt from at most, a random sample of more", at_least(2))
    tuned_on: int = key(1000, "architectures that the kernel is chosen on at most", at_least(2))


class GaussianProcess(Predictor):
    """On normal scores, over flat features that are standardised; the standard deviation is the posterior's.

    k(x, x') = height * matern_3/2(|x - x'| / scale) + slope * <x, x'>, and noise on the labels. The four are the
    maximum of the marginal likelihood times a wide log-normal prior (Rasmussen & Williams 2006, equations 2.25-26, 4.17
    and 5.8-9).
    """

    name = "gp"
    encoding = "graph"
    Settings = GaussianProcessSettings

    def fit(
        self,
        features: np.ndarray,
        values: np.ndarray,
        rng: np.random.Generator,
        on_step: Callable[[float, float], object] = lambda done, tau: None,
    ) -> None:
        targets = normal_scores(values)
        if len(features) > self.settings.points:
            rows = np.sort(rng.choice(len(features), self.settings.points, replace=False))
            features, targets = features[rows], targets[rows]
        features = features.astype(np.float64)
        self.mean = features.mean(0)
        spread = features.std(0)
        self.weight = np.where(spread > 1e-9 * (1 + np.abs(self.mean)), 1 / np.maximum(spread, 1e-300), 0.0)
        norm = np.sqrt(np.mean((self._clipped(features) ** 2).sum(1)))
        self.norm = np.array(norm if norm > 0 else 1.0)
        self.points = self._scaled(features)
        some = slice(None)
        if len(self.points) > self.settings.tuned_on:
            some = rng.choice(len(self.points), self.settings.tuned_on, replace=False)
        self.theta = _most_likely(self.points[some], targets[some])
        self._solve(targets)
        on_step(1.0, np.nan)

    def _solve(self, targets: np.ndarray) -> None:
        from scipy.linalg import cho_solve, cholesky

        covariance = _kernel(self.theta, self.points, self.points)
        covariance[np.diag_indices(len(covariance))] += np.exp(self.theta[3]) + JITTER
        self.factor = cholesky(covariance, lower=True)
        self.coefficients = cho_solve((self.factor, True), targets)

    def predict(self, features: np.ndarray) -> np.ndarray:
        return self._covariance(self._scaled(features)) @ self.coefficients

    def predict_with_std(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from scipy.linalg import solve_triangular

        points = self._scaled(features)
        covariance = self._covariance(points)
        known = (solve_triangular(self.factor, covariance.T, lower=True) ** 2).sum(0)
        _, height, slope, _ = np.exp(self.theta)
        prior = height + slope * (points**2).sum(1)
        return covariance @ self.coefficients, np.sqrt(np.maximum(prior - known, 0))

    def _covariance(self, points: np.ndarray) -> np.ndarray:
        """(m, n) float64 with the training points, computed in float32: half the time of ranking a space."""
        single = _kernel(self.theta.astype(np.float32), points.astype(np.float32), self.points.astype(np.float32))
        return single.astype(np.float64)

    def _clipped(self, features: np.ndarray) -> np.ndarray:
        return np.clip((features - self.mean) * self.weight, -CLIP, CLIP)

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        """(n, D) standardised, of mean squared length 1 over the training architectures."""
        return self._clipped(features) / self.norm

    def state(self) -> dict[str, np.ndarray]:
        names = ("mean", "weight", "norm", "points", "theta", "factor", "coefficients")
        return {name: getattr(self, name) for name in names}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        count, width = state["points"].shape
        shapes = {
            "mean": (width,), "weight": (width,), "norm": (), "points": (count, width), "theta": START.shape,
            "factor": (count, count), "coefficients": (count,),
        }  # fmt: skip
        for name, shape in shapes.items():
            if state[name].shape != shape or not np.isfinite(state[name]).all():
                raise ValueError(f"{name} of shape {state[name].shape} instead of {shape}, or not finite")
            setattr(self, name, state[name])


def _squared_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.maximum((left**2).sum(1)[:, None] + (right**2).sum(1) - 2 * left @ right.T, 0)


def _kernel(theta: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(n, m) covariances without noise. theta: logarithms of scale, height, slope and noise."""
    scale, height, slope, _ = np.exp(theta)
    distance = np.sqrt(3 * _squared_distances(left, right)) / scale
    return height * (1 + distance) * np.exp(-distance) + slope * (left @ right.T)


def _most_likely(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """theta (4,) of the highest posterior density."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve
    from scipy.optimize import minimize

    squared = 3 * _squared_distances(points, points)
    linear = points @ points.T
    identity = np.eye(len(points))

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        """The negative logarithm of the density up to a constant, and its gradient."""
        scale, height, slope, noise = np.exp(theta)
        distance = np.sqrt(squared) / scale
        decay = height * np.exp(-distance)
        parts = (distance**2 * decay, (1 + distance) * decay, slope * linear, noise * identity)  # by theta
        off = (theta - START) / PRIOR_STD
        try:
            factor = cho_factor(parts[1] + parts[2] + parts[3] + JITTER * identity, lower=True)
        except LinAlgError:  # the search stepped to where the matrix is singular: turn back
            return 1e10, off / PRIOR_STD
        solved = cho_solve(factor, targets)
        value = 0.5 * targets @ solved + np.log(np.diag(factor[0])).sum() + 0.5 * off @ off
        inner = cho_solve(factor, identity) - np.outer(solved, solved)
        return value, np.array([0.5 * np.sum(inner * part) for part in parts]) + off / PRIOR_STD

    bounds = [(start - 8, start + 8) for start in START]
    return minimize(loss, START, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40}).x
