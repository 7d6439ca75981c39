"""Evaluators made of a user's own function: of an untrained network and a batch, or of the architecture alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome
from common.evaluators.context import Context, build_seeded
from common.spaces.base import SearchSpace

if TYPE_CHECKING:
    from torch import Tensor, nn

BATCH_SIZE = 32


@dataclass(frozen=True, eq=False)
class NetworkScore(Evaluator):
    """What a function says of the untrained network, in train mode, and a batch of random training images.

    Architectures whose input does not reach their output are not built: they are the worst, as those of NaN are.
    """

    name: str
    score: Callable[[nn.Module, Tensor, Tensor], float]
    space: SearchSpace
    seed: int
    x: Tensor
    y: Tensor

    @classmethod
    def make(cls, context: Context, name: str, score: Callable[[nn.Module, Tensor, Tensor], float]) -> NetworkScore:
        return cls(name, score, context.space, context.seed, *context.batch(BATCH_SIZE))

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        if not self.space.reaches_output(arch):
            return Outcome(-math.inf)
        network = build_seeded(self.space, arch, self.seed, self.x.device)
        value = float(self.score(network.train(), self.x, self.y))
        return Outcome(-math.inf if math.isnan(value) else value)


@dataclass(frozen=True)
class ArchScore(Evaluator):
    """What a function says of the architecture alone."""

    name: str
    score: Callable[[Any], float]

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        return Outcome(float(self.score(arch)))
