"""Evaluators made of others: what the parts say is computed together, then joined."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome


class Composite(Evaluator):
    """Joins what its parts say of an architecture. Its parts share passes with each other and with what is beside it.

    parts: at least one; composites themselves, if need be.
    """

    parts: tuple[Evaluator, ...]

    @abstractmethod
    def join(self, outcomes: Sequence[Outcome]) -> Outcome:
        """One outcome from those of the parts, in their order."""

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        from common.evaluators.training_free import evaluate_each

        return evaluate_each([self], arch)[0]


@dataclass(frozen=True)
class Several(Composite):
    """Several evaluators at once, for whoever wants all their values: the trajectory holds them in the parts' order."""

    parts: tuple[Evaluator, ...]

    @property
    def name(self) -> str:  # type: ignore[override]
        return ",".join(part.name for part in self.parts)

    def join(self, outcomes: Sequence[Outcome]) -> Outcome:
        return Outcome(outcomes[0].value, np.array([outcome.value for outcome in outcomes]))


def leaves(evaluator: Evaluator) -> Iterator[Evaluator]:
    """The evaluators that look at an architecture themselves: this one, or its parts' leaves."""
    if isinstance(evaluator, Composite):
        for part in evaluator.parts:
            yield from leaves(part)
    else:
        yield evaluator
