"""A Gaussian process: the best single member for few labels, and one that knows where it has seen nothing like it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from common.metrics import normal_scores
from common.predictors.base import Predictor
from common.predictors.blocks import by_blocks
from common.runs.config import at_least, key

CLIP = 4.0  # standard deviations: a feature that one training architecture in a hundred has would outweigh all others
START = np.array([0.0, -1.0, -2.0])  # logarithms of height, slope and noise: where the search begins ...
PRIOR_STD = 5.0  # ... and how far (in logarithms) it may well go: few labels leave some of them undecided
SCALE_STD = 1.0  # the same of the scales, of which there are many; they begin at 0
JITTER = 1e-8


@dataclass(frozen=True)
class GaussianProcessSettings:
    points: int = key(5000, "architectures learnt from at most, a random sample of more", at_least(2))
    tuned_on: int = key(500, "architectures that the kernel is chosen on at most", at_least(2))


class GaussianProcess(Predictor):
    """On normal scores, over flat features that are standardised; the standard deviation is the posterior's.

    k(x, x') = height * matern_3/2(r) + slope * <x, x'> with r^2 = sum_g |x_g - x'_g|^2 / scale_g^2 over the groups of
    features (`groups`; one where they are not known), which all weigh the same in x, and noise on the labels. Scales,
    height, slope and noise are the maximum of the marginal likelihood times a wide log-normal prior (Rasmussen &
    Williams 2006, equations 2.25-26, 4.17 and 5.8-9).
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
        groups = self.groups if self.groups is not None else np.zeros(len(self.mean), dtype=np.int64)
        numbers = np.unique(groups[self.weight > 0])  # groups that are constant tell nothing
        # (D,) the places of the columns' groups among these; constant columns, always 0, stand in any.
        self.kinds = np.minimum(np.searchsorted(numbers, groups), max(len(numbers) - 1, 0))
        squares = np.bincount(self.kinds, np.mean(self._clipped(features) ** 2, axis=0), max(len(numbers), 1))
        norms = np.sqrt(np.where(squares > 0, squares * len(squares), 1.0))
        self.norm = norms[self.kinds]
        self.points = self._scaled(features)
        some = slice(None)
        if len(self.points) > self.settings.tuned_on:
            some = rng.choice(len(self.points), self.settings.tuned_on, replace=False)
        with threadpool_limits(1):  # threads would wait for each other longer than such small matrices take
            self.theta = _most_likely(self.points[some], self.kinds, targets[some])
        self._solve(targets)
        on_step(1.0, np.nan)

    def _solve(self, targets: np.ndarray) -> None:
        from scipy.linalg import cho_solve, cholesky

        covariance = _kernel(self.theta, self.kinds, self.points, self.points)
        covariance[np.diag_indices(len(covariance))] += np.exp(self.theta[-1]) + JITTER
        self.factor = cholesky(covariance, lower=True)
        self.coefficients = cho_solve((self.factor, True), targets)

    def predict(self, features: np.ndarray) -> np.ndarray:
        return by_blocks(lambda part: self._covariance(self._scaled(part)) @ self.coefficients, features)

    def predict_with_std(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from scipy.linalg import solve_triangular

        points = self._scaled(features)
        covariance = self._covariance(points)
        known = (solve_triangular(self.factor, covariance.T, lower=True) ** 2).sum(0)
        height, slope, _ = np.exp(self.theta[-3:])
        prior = height + slope * (points**2).sum(1)
        return covariance @ self.coefficients, np.sqrt(np.maximum(prior - known, 0))

    def _covariance(self, points: np.ndarray) -> np.ndarray:
        """(m, n) float64 with the training points, computed in float32: half the time of ranking a space."""
        theta, left, right = (array.astype(np.float32) for array in (self.theta, points, self.points))
        single = _kernel(theta, self.kinds, left, right)
        return single.astype(np.float64)

    def _clipped(self, features: np.ndarray) -> np.ndarray:
        return np.clip((features - self.mean) * self.weight, -CLIP, CLIP)

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        """(n, D) standardised, of mean squared length 1 over the training architectures."""
        return self._clipped(features) / self.norm

    def state(self) -> dict[str, np.ndarray]:
        names = ("mean", "weight", "norm", "kinds", "points", "theta", "factor", "coefficients")
        return {name: getattr(self, name) for name in names}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        count, width = state["points"].shape
        shapes = {
            "mean": (width,), "weight": (width,), "norm": (width,), "kinds": (width,), "points": (count, width),
            "theta": (int(state["kinds"].max(initial=0)) + 1 + len(START),), "factor": (count, count),
            "coefficients": (count,),
        }  # fmt: skip
        for name, shape in shapes.items():
            if state[name].shape != shape or not np.isfinite(state[name]).all():
                raise ValueError(f"{name} of shape {state[name].shape} instead of {shape}, or not finite")
            setattr(self, name, state[name])


def _squared_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.maximum((left**2).sum(1)[:, None] + (right**2).sum(1) - 2 * left @ right.T, 0)


def _kernel(theta: np.ndarray, kinds: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(n, m) covariances without noise.

    theta: logarithms of the groups' scales, of height, slope and noise. kinds: (D,) the groups of the columns.
    """
    scales = np.exp(theta[kinds])
    height, slope, _ = np.exp(theta[-3:])
    distance = np.sqrt(3 * _squared_distances(left / scales, right / scales))
    return height * (1 + distance) * np.exp(-distance) + slope * (left @ right.T)


def _most_likely(points: np.ndarray, kinds: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """theta (G + 3,) of the highest posterior density, of the columns' groups kinds (D,)."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve
    from scipy.optimize import minimize

    parts = [points[:, kinds == kind] for kind in range(kinds.max(initial=0) + 1)]
    squared = np.stack([3 * _squared_distances(part, part) for part in parts]).reshape(len(parts), -1)
    start = np.concatenate([np.zeros(len(squared)), START])
    prior_std = np.repeat([SCALE_STD, PRIOR_STD], [len(squared), len(START)])
    linear = points @ points.T
    identity = np.eye(len(points))

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        """The negative logarithm of the density up to a constant, and its gradient."""
        height, slope, noise = np.exp(theta[-3:])
        closeness = np.exp(-2 * theta[:-3])
        distance = np.sqrt(closeness @ squared).reshape(linear.shape)
        decay = height * np.exp(-distance)
        common = ((1 + distance) * decay, slope * linear, noise * identity)
        off = (theta - start) / prior_std
        try:
            factor = cho_factor(common[0] + common[1] + common[2] + JITTER * identity, lower=True)
        except LinAlgError:  # the search stepped to where the matrix is singular: turn back
            return 1e10, off / prior_std
        solved = cho_solve(factor, targets)
        value = 0.5 * targets @ solved + np.log(np.diag(factor[0])).sum() + 0.5 * off @ off
        inner = cho_solve(factor, identity) - np.outer(solved, solved)
        by_scale = closeness * (squared @ (inner * decay).ravel())
        slopes = np.concatenate([by_scale, [np.vdot(inner, part) for part in common]])
        return value, 0.5 * slopes + off / prior_std

    bounds = [(begin - 8, begin + 8) for begin in start]
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40}).x
