"""Racing: candidates that will not be among the best are stopped long before their last update.

The sampler only asks whether a candidate is positive. Over finished candidates the logarithm of the last loss is close
to linear in the logarithm of an early one, so what is seen after s updates foretells the last loss up to an error that
the finished candidates themselves show. A candidate is stopped when it would have to do `z` such errors better than
foretold to come out positive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.training.population import Bounds

MAX_EXPONENT = 700.0  # the exponential of more is no float: a bound that stops nobody
FRACTIONS = (0.04, 0.07, 0.14, 0.27, 0.4, 0.6, 0.8)  # of the steps: where candidates are judged


@dataclass(frozen=True)
class Race:
    """When a candidate is stopped.

    z: how sure that has to be, in standard errors; 0: nobody is stopped. full: candidates that run to the end first.
    """

    z: float
    full: int

    def bounds(self, trajectories: Sequence[np.ndarray], goal: float | None, quantile: float, steps: int) -> Bounds:
        """Loss above which a candidate is stopped, by number of updates, from all trajectories (or multiples) so far.

        Args: goal: logarithm of the loss that makes a positive; None while there is no threshold (the warm-up): then
            twice the `quantile` of the last losses so far, those of stopped candidates counting as high.
        """
        finished = _finished(trajectories, steps)
        if not self.z or len(finished) < self.full // 2:
            return {}
        logs = np.log(finished)
        if goal is None:
            rank = math.ceil(2 * quantile * len(trajectories))
            goal = float(np.sort(logs[:, -1])[min(rank, len(logs)) - 1])
        found: dict[int, float] = {}
        for step in sorted({max(1, round(fraction * steps)) for fraction in FRACTIONS}):
            if step >= steps:
                continue
            slope, offset = _line(logs[:, step], logs[:, -1])
            if slope > 0:  # else the early loss foretells nothing
                error = float(np.std(logs[:, -1] - (offset + slope * logs[:, step]), ddof=2))
                found[step] = math.exp(min((goal + self.z * error - offset) / slope, MAX_EXPONENT))
        return found


def foretell(trajectories: Sequence[np.ndarray], steps: int) -> np.ndarray:
    """(n,) logarithms of the last losses; those of stopped candidates as the finished ones' line foretells them."""
    logs = np.log(finished) if len(finished := _finished(trajectories, steps)) else finished
    found = np.full(len(trajectories), np.inf)
    for index, losses in enumerate(trajectories):
        if not (np.isfinite(losses[-1]) and losses[-1] > 0):
            continue
        found[index] = math.log(losses[-1])
        step = len(losses) - 1
        if step < steps and len(logs) > 2:
            slope, offset = _line(logs[:, step], logs[:, -1])
            found[index] = offset + slope * found[index]
    return found


def _finished(trajectories: Sequence[np.ndarray], steps: int) -> np.ndarray:
    """(m, steps + 1) of those that ran to the end and have logarithms."""
    return np.array([t for t in trajectories if len(t) == steps + 1 and np.isfinite(t).all() and t.min() > 0])


def _line(early: np.ndarray, last: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the regression of `last` on `early`; a level one where all the early ones are the same."""
    slope = float(np.cov(early, last)[0, 1] / (np.var(early, ddof=1) or math.inf))
    return slope, float(last.mean() - slope * early.mean())
