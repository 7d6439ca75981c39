"""Several evaluators as one, without labels: sums of the logarithms of their ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from common.errors import InputError
from common.evaluators.base import Evaluator, Outcome
from common.evaluators.composite import Composite
from common.evaluators.context import Context
from common.metrics import kendall_tau
from common.seeds import rng_for
from common.spaces.base import SearchSpace

WEIGHTS = ("equal", "agreement")
REFERENCE = 40  # random architectures that ranks are counted among


def log_ranks(values: np.ndarray) -> np.ndarray:
    """(n,) log(rank / n) of (n,) values, the lowest having rank 1 and equals the mean of theirs.

    A sum of them is high for what is bad in nothing: to be among the worst costs more than to be the best gains (as in
    AZ-NAS, Lee & Ham, CVPR 2024, equation 12). -inf ranks lowest; NaN stays NaN and the others are ranked without it.
    """
    from scipy.stats import rankdata

    return np.log(rankdata(values, nan_policy="omit") / max(1, np.sum(~np.isnan(values))))


def agreement_weights(values: np.ndarray) -> np.ndarray:
    """(k,) weights of k scores by how far they agree with the others, 0 or more, of mean 1; 1 each where none agrees.

    A score's weight is its mean Kendall tau with the other scores, and 0 where that is below 0: no accuracy is needed
    to see that a score goes its own way in a space. Args: values: (k, n) of n architectures, with finite numbers.
    """
    count = len(values)
    taus = np.array([[kendall_tau(a, b) for a in values] for b in values])
    agreement = np.nan_to_num(taus)  # a score that is the same for all agrees with none
    np.fill_diagonal(agreement, 0)
    weights = np.maximum(agreement.sum(0), 0)
    return weights * count / weights.sum() if weights.any() else np.ones(count)


def combine(values: np.ndarray, weights: str = "equal") -> np.ndarray:
    """(n,) weighted sums of the log ranks of k scores, values (k, n); NaN where one is.

    Args: weights: "equal", or "agreement" (`agreement_weights`). Raises: InputError for another word.
    """
    ranks = np.stack([log_ranks(score) for score in values])
    return np.asarray(_weights(ranks[:, ~np.isnan(ranks).any(0)], weights) @ ranks)


def _weights(values: np.ndarray, how: str) -> np.ndarray:
    if how not in WEIGHTS:
        raise InputError(f"unknown weights {how!r} of a combination; choose from {', '.join(WEIGHTS)}")
    return agreement_weights(values) if how == "agreement" else np.ones(len(values))


@dataclass(frozen=True, eq=False)
class Combination(Composite):
    """The sum of the log ranks that several evaluators give an architecture among a fixed random sample.

    The sample depends on the space and the seed alone, so that the value does not depend on the company. A rank is made
    continuous, and has no end at either side, by a logistic curve around each value of the sample: log(mean of 1 / (1 +
    exp((r - s) / h))) over the sample's values r, h being a quarter of the distance of their quartiles. So two
    architectures that are both better than all of the sample are told apart.

    The sample is evaluated when it is first needed, or before this is sent to another process. An architecture that
    one evaluator finds unusable is -inf, and NaN where one does not know it.
    """

    space: SearchSpace[Any]
    seed: int
    parts: tuple[Evaluator, ...]
    weights: str = "equal"
    size: int = REFERENCE

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise InputError(f"unknown weights {self.weights!r} of a combination; choose from {', '.join(WEIGHTS)}")

    @classmethod
    def make(cls, context: Context, name: str, parts: Sequence[Evaluator]) -> Combination:
        """With the settings `weights` and `size` of `name`, where the context has them."""
        return cls(context.space, context.seed, tuple(parts), **context.settings.get(name, {}))

    @property
    def name(self) -> str:  # type: ignore[override]
        return "+".join(part.name for part in self.parts)

    def join(self, outcomes: Sequence[Outcome]) -> Outcome:
        values = [outcome.value for outcome in outcomes]
        if -math.inf in values or any(map(math.isnan, values)):
            return Outcome(-math.inf if -math.inf in values else math.nan)
        sample, weights = self._sample
        ranks = [_smooth_log_rank(value, among) for value, among in zip(values, sample, strict=True)]
        return Outcome(float(np.dot(weights, ranks)))

    @cached_property
    def _sample(self) -> tuple[np.ndarray, np.ndarray]:
        """(k, n) values of the sample, of architectures that all evaluators find usable, and the (k,) weights."""
        from common.evaluators.training_free import evaluate_each

        drawn = self.space.distinct_samples(rng_for(self.seed, "reference"))
        archs = islice((arch for _, arch in drawn if self.space.reaches_output(arch)), self.size)
        rows = [[outcome.value for outcome in evaluate_each(self.parts, arch)] for arch in archs]
        values = np.array(rows, dtype=np.float64).reshape(-1, len(self.parts)).T
        values = values[:, np.isfinite(values).all(0)]
        if not values.shape[1]:
            raise InputError(f"{self.name}: no architecture of a random sample has a value by each of these evaluators")
        return values, _weights(values, self.weights)

    def __getstate__(self) -> dict[str, Any]:
        self._sample  # noqa: B018 (computed once here rather than in every process)
        return self.__dict__


def _smooth_log_rank(value: float, among: np.ndarray) -> float:
    """At most 0, rising with the value; 0 where all of the sample have one and the same."""
    low, high = np.quantile(among, (0.25, 0.75))
    width = (high - low) / 4 or (among.max() - among.min()) / 4  # the latter for a few far ones beside many equals
    if not width:
        return 0.0
    distance = (value - among) / width
    below = np.mean(0.5 * (1 - np.tanh(distance / 2)))  # the share of the sample that is better
    if below < 0.5:
        return float(np.log1p(-below))
    return float(np.logaddexp.reduce(-np.logaddexp(0, -distance)) - math.log(len(among)))
