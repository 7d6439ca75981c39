"""An evaluator of made losses, and a look at searches, for tests that train nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome, Request
from common.execution.base import Executor
from rminas.search import SearchOutcome


@dataclass(frozen=True)
class MadeLosses(Evaluator):
    """`losses_of` an architecture are the losses after 0, 1, ... updates; bounds stop it as they would a training."""

    losses_of: Callable[[Any], np.ndarray]
    name = "made"

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        values = -self.losses_of(arch)
        stop = next((step for step in sorted(bounds) if values[step] < bounds[step]), None)
        if stop is None or np.isinf(values[0]):
            return Outcome(float(values[-1]), values)
        return Outcome(-np.inf, values[: stop + 1], stopped=True)


class Backwards(Executor):
    """Evaluates the last request first."""

    name = "backwards"

    def run(self, evaluator: Evaluator, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        for position in reversed(range(len(requests))):
            yield position, evaluator.evaluate(*requests[position])


def losses(outcome: SearchOutcome) -> np.ndarray:
    """(n,) last losses of a search, +inf for those that were stopped."""
    return -outcome.history.values


def same(a: SearchOutcome, b: SearchOutcome) -> bool:
    """Whether two searches made the same evaluations, by their losses, and the same of them."""
    return (
        [(e.index, e.phase, e.arch, *e.outcome.trajectory) for e in a.history]
        == [(e.index, e.phase, e.arch, *e.outcome.trajectory) for e in b.history]
        and (a.search.judged.threshold, a.search.voters, a.found, a.gave_up)
        == (b.search.judged.threshold, b.search.voters, b.found, b.gave_up)
        and a.search.judged.positive.tolist() == b.search.judged.positive.tolist()
    )
