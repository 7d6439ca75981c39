"""Local search (White, Nolen and Savani, UAI 2021): always on to a better neighbour, and from nowhere again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from common.runs.config import at_least, key
from common.search.base import Proposal, Strategy
from common.search.history import History
from common.seeds import rng_for

RESTART = "restart"  # phase of a random architecture from which the search starts again


@dataclass(frozen=True)
class LocalSearchSettings:
    """The defaults find most within 150 evaluations of NAS-Bench-201 (CIFAR-10) and NAS-Bench-Macro."""

    initial: int = key(20, "random architectures, the best of which is where the search starts", at_least(1))
    batch: int = key(1, "neighbours evaluated before moving to the best of them; 0: all", at_least(0))


class LocalSearch(Strategy):
    """Goes from an architecture to a neighbour that is better, until there is none; then starts from a random one.

    With `batch` 1 it moves as soon as a neighbour is better, trying them in random order; with 0 it evaluates the whole
    neighbourhood first, as the basic algorithm of the paper does. Neighbours that were evaluated before, on this way or
    an earlier one, are not evaluated again: they are known to be no better, or have been visited.
    """

    name = "local"
    Settings: ClassVar[type] = LocalSearchSettings
    settings: LocalSearchSettings

    def propose(self, history: History, room: int) -> Proposal:
        missing = self.settings.initial - len(history)
        if missing > 0:
            return self.random_round(history, min(room, missing), "initial")
        seen = self.candidates.keys(history.archs)
        starts = [evaluation.index for evaluation in history if evaluation.phase == RESTART]
        since = history[starts[-1] if starts else 0 :]
        # Every move was to the best since the start, and every better one was moved to.
        current = since[int(np.argmax(np.nan_to_num(since.values, nan=-np.inf)))]
        around = [arch for arch in self.candidates.neighbours(current.arch) if self.candidates.key(arch) not in seen]
        if not around:
            return self.random_round(history, 1, RESTART)
        order = rng_for(self.seed, "local", len(history)).permutation(len(around))
        count = min(room, self.settings.batch or len(around))
        return Proposal([around[int(i)] for i in order[:count]], "neighbour")
