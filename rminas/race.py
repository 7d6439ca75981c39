"""Racing: candidates that will not be among the best are stopped long before their last update. Not in the paper.

The search only asks whether a candidate is positive. Over finished candidates the logarithm of the last loss is close
to linear in the logarithm of an early one, so what is seen after s updates predicts the last loss up to an error that
the finished candidates themselves show. A candidate is stopped when it would have to do `z` such errors better than
predicted to come out positive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.evaluators.base import NO_BOUNDS, Bounds
from common.search.base import Proposal, StoppingPolicy
from common.search.history import History
from rminas.forest import WARMUP, ForestSearch

MAX_EXPONENT = 700.0  # the exponential of more is no float: a bound that stops nobody
FRACTIONS = (0.04, 0.07, 0.14, 0.27, 0.4, 0.6, 0.8)  # of the steps: where candidates are judged


@dataclass(frozen=True)
class Race(StoppingPolicy):
    """Stops candidates of a search that will hardly come out positive.

    search: says what is positive. z: how sure that has to be, in standard errors. full: candidates that run to the end
    first, to learn from.
    """

    search: ForestSearch
    z: float
    full: int

    def bounds(self, history: History, proposal: Proposal) -> list[Bounds]:
        if not len(history):
            return super().bounds(history, proposal)
        judged = self.search.judge(history)
        if not judged.weighing.losses:  # what is evaluated is no loss
            return super().bounds(history, proposal)
        factors = judged.weighing.scores(np.ones(len(history)), history.archs)
        trajectories = [-e.outcome.trajectory * factor for e, factor in zip(history, factors, strict=True)]
        # In the warm-up there is no threshold yet.
        goal = math.log(-judged.threshold) if judged.threshold < 0 and proposal.phase != WARMUP else None
        found = loss_bounds(trajectories, self.z, self.full, goal, self.search.settings.quantile)
        if not found:
            return [NO_BOUNDS for _ in proposal.archs]
        by_step = {step: judged.weighing.values(-bound, proposal.archs) for step, bound in found.items()}
        return [{step: float(values[i]) for step, values in by_step.items()} for i in range(len(proposal.archs))]


def loss_bounds(
    trajectories: Sequence[np.ndarray], z: float, full: int, goal: float | None, quantile: float
) -> dict[int, float]:
    """Loss above which a candidate is stopped, by number of updates, from the losses of all candidates so far.

    Args: trajectories: losses after 0, 1, ... updates, or positive multiples of them. goal: logarithm of the loss that
        makes a positive; None while there is no threshold (the warm-up): then that of twice the `quantile` of the last
        losses so far, those of stopped candidates counting as high.
    Returns: nothing while fewer than half of `full` candidates have run to the end.
    """
    finished = _finished(trajectories)
    if len(finished) < max(full // 2, 3):
        return {}
    steps, logs = finished.shape[1] - 1, np.log(finished)
    if goal is None:
        rank = math.ceil(2 * quantile * len(trajectories))
        goal = float(np.sort(logs[:, -1])[min(rank, len(logs)) - 1])
    found: dict[int, float] = {}
    for step in sorted({max(1, round(fraction * steps)) for fraction in FRACTIONS}):
        if step >= steps:
            continue
        slope, offset = _line(logs[:, step], logs[:, -1])
        if slope > 0:  # else the early loss predicts nothing
            error = float(np.std(logs[:, -1] - (offset + slope * logs[:, step]), ddof=2))
            found[step] = math.exp(min((goal + z * error - offset) / slope, MAX_EXPONENT))
    return found


def predict_last_losses(trajectories: Sequence[np.ndarray]) -> np.ndarray:
    """(n,) logarithms of the last losses; those of stopped candidates as the finished ones' line predicts them.

    +inf where the last loss that is known has no logarithm.
    """
    logs = np.log(finished) if len(finished := _finished(trajectories)) else finished
    found = np.full(len(trajectories), np.inf)
    for index, losses in enumerate(trajectories):
        if not (np.isfinite(losses[-1]) and losses[-1] > 0):
            continue
        found[index] = math.log(losses[-1])
        step = len(losses) - 1
        if len(logs) > 2 and step < logs.shape[1] - 1:
            slope, offset = _line(logs[:, step], logs[:, -1])
            found[index] = offset + slope * found[index]
    return found


def _finished(trajectories: Sequence[np.ndarray]) -> np.ndarray:
    """(m, steps + 1) of those that ran to the end, which are the longest, and have logarithms."""
    whole = max((len(losses) for losses in trajectories), default=0)
    return np.array([t for t in trajectories if len(t) == whole > 0 and np.isfinite(t).all() and t.min() > 0])


def _line(early: np.ndarray, last: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the regression of `last` on `early`; a level one where all the early ones are the same."""
    slope = float(np.cov(early, last)[0, 1] / (np.var(early, ddof=1) or math.inf))
    return slope, float(last.mean() - slope * early.mean())
