"""The contract of evaluators: an architecture in, a value out that says how good it is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

# Number of updates -> value below which an evaluation is stopped there (racing). Empty: it runs to its end.
Bounds = Mapping[int, float]
NO_BOUNDS: Bounds = {}


class Request(NamedTuple):
    """One architecture to be evaluated, and where its evaluation may be stopped."""

    arch: Any
    bounds: Bounds = NO_BOUNDS


@dataclass(frozen=True)
class Outcome:
    """What an evaluation found.

    value: higher is better; -inf for an architecture that cannot be trained or diverged, NaN where it is not known (a
    table that lacks it). trajectory: (t,) float64, the values on the way where there are such (by number of updates),
    the last one being `value`. stopped: ended by a bound before its end; `value` is then -inf.
    failed: why there is no value, where an executor has given the evaluation up; empty otherwise.
    """

    value: float
    trajectory: np.ndarray = field(default_factory=lambda: np.zeros(0))
    stopped: bool = False
    failed: str = ""

    @property
    def usable(self) -> bool:
        return math.isfinite(self.value)


class Evaluator(ABC):
    """Says how good an architecture is: a look-up, a count, one pass over a batch, a short training.

    An evaluator is a value: the same architecture gets the same outcome whenever, wherever and beside whatever it is
    evaluated. It can be pickled, because executors send it to other processes.
    """

    name: str  # in records, tables and plots

    @abstractmethod
    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        """The outcome of one architecture. Evaluators without a trajectory ignore the bounds."""

    def evaluate_together(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Positions and outcomes of several, as they finish; overridden where together is faster than one by one."""
        for position, (arch, bounds) in enumerate(requests):
            yield position, self.evaluate(arch, bounds)
