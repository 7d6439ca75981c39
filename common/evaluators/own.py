"""An evaluator made of a user's own function of the architecture alone (of its network: `training_free`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome


@dataclass(frozen=True)
class ArchScore(Evaluator):
    """What a function says of the architecture alone."""

    name: str
    score: Callable[[Any], float]

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        return Outcome(float(self.score(arch)))
