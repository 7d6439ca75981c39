"""Regularised evolution (Real et al., AAAI 2019): the youngest survive, not the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from common.runs.config import at_least, key
from common.search.base import EXHAUSTED, Proposal, Strategy
from common.search.history import Evaluation, History
from common.seeds import rng_for


@dataclass(frozen=True)
class EvolutionSettings:
    """The defaults find most within 150 evaluations of NAS-Bench-201 (CIFAR-10) and NAS-Bench-Macro.

    NATS-Bench has 10 and 3; Real et al. have 100 and 25, for 20,000 evaluations.
    """

    population: int = key(20, "architectures alive at a time", at_least(2))
    tournament: int = key(5, "architectures among which the best becomes the parent", at_least(1))
    batch: int = key(1, "children proposed at once, to be evaluated side by side", at_least(1))


class Evolution(Strategy):
    """Regularised evolution: the best of a random few has a child, the oldest dies.

    The population is the last `population` evaluations. A child that is isomorphic to an architecture evaluated before
    would bring nothing: its parent is mutated again (`Candidates.mutant`).
    """

    name = "evolution"
    Settings: ClassVar[type] = EvolutionSettings
    settings: EvolutionSettings

    def propose(self, history: History, room: int) -> Proposal:
        missing = self.settings.population - len(history)
        if missing > 0:
            return self.random_round(history, min(room, missing), "initial")
        seen = self.candidates.keys(history.archs)
        children: list[Any] = []
        for place in range(len(history), len(history) + min(room, self.settings.batch)):
            rng = rng_for(self.seed, "evolution", place)
            parent = self.parent(history, rng)
            child = self.candidates.mutant(parent.arch, rng, seen)
            if child is None:
                break
            seen.add(self.candidates.key(child))
            children.append(child)
        return Proposal(children, "evolution", ended="" if children else EXHAUSTED)

    def parent(self, history: History, rng: np.random.Generator) -> Evaluation:
        """The best of `tournament` draws, with replacement, from the youngest `population` evaluations."""
        population = history[-self.settings.population :]
        drawn = History(tuple(population[int(i)] for i in rng.integers(len(population), size=self.settings.tournament)))
        return drawn[int(np.argmax(np.nan_to_num(drawn.values, nan=-np.inf)))]
