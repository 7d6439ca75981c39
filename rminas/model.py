"""A model of the loss over a space, learnt from what was evaluated, and the architecture of the least predicted loss.

The published vote looks at the best positives only and at every position by itself. All evaluated candidates, bad ones
and stopped ones too, say more: a ridge regression of the logarithm of their losses on the choices and on all pairs of
choices, in its kernel form. What is chosen need not have been evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.search.candidates import Candidates, WholeSpace
from common.spaces import SearchSpace

PENALTY = 3.0
PAIR = 0.5  # weight of a pair of choices as a feature, beside 1 of a choice
DRAWS = 5_000  # random architectures from the best of which the walk to the least predicted loss sets out
STARTS, MAX_MOVES = 5, 100


@dataclass(frozen=True)
class LossModel:
    """Predicts the logarithm of an architecture's last loss, or whatever else is the lower the better."""

    space: SearchSpace
    features: np.ndarray  # (n, D) of the evaluated ones, 0 or 1
    weights: np.ndarray  # (n,)
    means: np.ndarray  # (n,) of the kernel between each of them and all
    offset: float

    @classmethod
    def fit(cls, space: SearchSpace, archs: Sequence[Any], losses: np.ndarray) -> LossModel:
        """From n >= 2 architectures and their finite (n,) log losses."""
        features = _features(space, archs)
        kernel = _kernel(features, features)
        means = kernel.mean(0)
        centred = kernel - means - means[:, None] + means.mean()
        offset = float(losses.mean())
        weights = np.linalg.solve(centred + PENALTY * np.eye(len(kernel)), losses - offset)
        return cls(space, features, weights, means, offset)

    def predict(self, archs: Sequence[Any]) -> np.ndarray:
        """(m,) predicted log losses."""
        kernel = _kernel(_features(self.space, archs), self.features)
        centred = kernel - kernel.mean(1, keepdims=True) - self.means + self.means.mean()
        return self.offset + centred @ self.weights

    def least(
        self,
        evaluated: Sequence[Any],
        rng: np.random.Generator,
        penalties: Callable[[Sequence[Any]], np.ndarray] = lambda archs: np.zeros(len(archs)),
        candidates: Candidates | None = None,
    ) -> Any:
        """The architecture of the least predicted log loss, with what `penalties` (n,) add to it, that a walk finds.

        It sets out from the best of the evaluated ones and of DRAWS random ones, and moves while that is better.
        Args: candidates: what it may walk among; by default the whole space.
        """
        among = candidates or WholeSpace(self.space)

        def judge(archs: Sequence[Any]) -> np.ndarray:
            return self.predict(archs) + penalties(archs)

        drawn = [*evaluated, *(among.sample(rng) for _ in range(DRAWS))]
        drawn = [arch for arch in drawn if self.space.reaches_output(arch)]
        predicted = judge(drawn)
        ends: list[tuple[float, Any]] = []
        for start in np.argsort(predicted, kind="stable")[:STARTS]:
            best, arch = float(predicted[start]), drawn[start]
            for _ in range(MAX_MOVES):
                near = [other for other in among.neighbours(arch) if self.space.reaches_output(other)]
                if not near or (losses := judge(near)).min() >= best:
                    break
                best, arch = float(losses.min()), near[int(losses.argmin())]
            ends.append((best, arch))
        return min(ends, key=lambda end: end[0])[1]


def _features(space: SearchSpace, archs: Sequence[Any]) -> np.ndarray:
    """What is dead does not count: architectures that compute the same have the same."""
    return space.one_hot(space.live_codes(space.to_codes(archs))).astype(np.float64)


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner products of 0/1 features with all their pairs: shared ones, and pairs of shared ones."""
    shared = a @ b.T
    return shared + PAIR**2 * shared * (shared - 1) / 2
