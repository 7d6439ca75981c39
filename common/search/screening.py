"""Screening: thousands of candidates by what costs nothing, hundreds by an evaluator, chosen by a predictor of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar

import numpy as np

from common.evaluators.base import Evaluator, Request
from common.evaluators.costs import CostEvaluator
from common.predictors.base import Predictor
from common.predictors.ranker import Ranker
from common.runs.config import SHARE, at_least, key
from common.search.active import PARENTS, ActiveSearch, ActiveSettings
from common.search.base import Proposal
from common.search.candidates import Candidates
from common.search.history import History
from common.seeds import rng_for
from common.spaces.base import SearchSpace

INITIAL = "initial"  # phase of the first evaluations
FREE = "flops"  # what the thousands are screened by, where nothing else is given


@dataclass(frozen=True)
class ScreeningSettings(ActiveSettings):
    """The defaults were chosen on NAS-Bench-201 (CIFAR-10): docs/results/screening.md."""

    initial: int = key(15, "architectures to begin with, of those that were kept", at_least(2))
    kappa: float = key(1.0, "as for `active`; scores have less noise than accuracies", at_least(0))
    candidates: int = key(4000, "random architectures that the free score sees", at_least(10))
    kept: float = key(0.25, "share of them that it leaves", SHARE)
    mutants: int = key(200, "mutants of the best so far beside them, each round", at_least(0))


@dataclass(frozen=True)
class Screened:
    """Architectures drawn at random, and those that the free score has kept, in random order."""

    drawn: list[Any]
    kept: list[Any]


class Screening(ActiveSearch):
    """Active search among what a free score leaves of thousands, and mutants of the best.

    A label-free search when the evaluator asks for no accuracy. The predictor learns the evaluator's value, so that one
    pass over a hundred finds what one over all would. Architectures whose input does not reach their output are
    screened last.
    """

    name = "screening"
    Settings: ClassVar[type] = ScreeningSettings
    settings: ScreeningSettings

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        settings: ScreeningSettings | None = None,
        pool: Candidates | Sequence[Any] | None = None,
        predictor: Ranker | type[Predictor] | str | None = None,
        encoding: str | None = None,
        cheap: Evaluator | None = None,
    ) -> None:
        """cheap: the free score, higher is better; FREE if None. The others as for `ActiveSearch`."""
        super().__init__(space, seed, settings, pool, predictor, encoding)
        self.cheap = cheap if cheap is not None else CostEvaluator(space, FREE)

    @cached_property
    def screened(self) -> Screened:
        """What the first stage has drawn and kept: of the seed and the settings alone."""
        s = self.settings
        drawn = self.candidates.random(s.candidates, rng_for(self.seed, "screening"))
        scores = np.full(len(drawn), -np.inf)
        for position, outcome in self.cheap.evaluate_together([Request(arch) for arch in drawn]):
            if self.space.reaches_output(drawn[position]) and not np.isnan(outcome.value):
                scores[position] = outcome.value
        count = max(min(len(drawn), 2), round(s.kept * len(drawn)))
        kept = np.sort(np.argsort(-scores, kind="stable")[:count])
        return Screened(drawn, [drawn[index] for index in kept])

    def propose(self, history: History, room: int) -> Proposal:
        missing = self.settings.initial - len(history)
        if missing <= 0:
            return super().propose(history, room)
        seen = self.candidates.keys(history.archs)
        unseen = (arch for arch in self.screened.kept if self.candidates.key(arch) not in seen)
        archs = list(islice(unseen, min(room, missing)))
        return Proposal(archs, INITIAL) if archs else self.random_round(history, min(room, missing), INITIAL)

    def _chosen(self, history: History, values: np.ndarray, known: np.ndarray, count: int) -> list[Any]:
        return self._best_of_space(history, values, known, count)

    def _candidates(self, history: History, values: np.ndarray) -> list[Any]:
        seen = self.candidates.keys(history.archs)
        found = [arch for arch in self.screened.kept if self.candidates.key(arch) not in seen]
        seen |= self.candidates.keys(found)
        rng = rng_for(self.seed, "mutants", len(history))
        parents = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")[:PARENTS]
        for _ in range(self.settings.mutants):
            mutant = self.candidates.mutant(history[int(rng.choice(parents))].arch, rng, seen)
            if mutant is None:
                break
            seen.add(self.candidates.key(mutant))
            found.append(mutant)
        return found
