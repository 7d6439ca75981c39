"""Evolution on predicted scores: the predictor stands in for training, and no list of the space is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from common.metrics import best_rows
from common.spaces import SearchSpace
from renas.settings import EvolvedSettings

Arch = TypeVar("Arch")

MAX_STEPS = 8  # mutations from a parent to a mutant not scored before
STALLED = 0.1  # share of new mutants below which a round brings hardly anything


@dataclass(frozen=True)
class EvolutionResult:
    """Everything an evolution scored, best first, one architecture of each isomorphism class."""

    archs: list[Any]
    scores: np.ndarray
    best_after: list[float]  # best score after each round
    gave_up: bool  # stopped before the budget was spent, because nothing unseen turned up


def evolve(
    space: SearchSpace[Arch],
    score: Callable[[Sequence[Arch]], np.ndarray],
    settings: EvolvedSettings,
    rng: np.random.Generator,
    on_scored: Callable[[int], object] = lambda count: None,
    max_stalled_rounds: int = 3,
) -> EvolutionResult:
    """Evolves architectures towards high scores.

    Each round, as many parents as the population holds win tournaments, each gives one mutant not seen before (or none
    after MAX_STEPS mutations), the mutants are scored in one batch, and the best of parents and mutants survive.
    Survival of the best (not of the youngest, as in regularised evolution) fits scores without noise. Isomorphic
    architectures are scored once. It gives up when `max_stalled_rounds` rounds in a row bring hardly a new mutant.

    Args: score: from n architectures to (n,) scores, higher is better.
    """
    first = list(islice(space.distinct_samples(rng), min(settings.population, settings.budget)))
    archs, seen = [arch for _, arch in first], {key for key, _ in first}
    scores = np.asarray(score(archs))
    on_scored(len(archs))
    best_after = [float(scores.max())]
    alive = best_rows(scores, settings.population)
    stalled = 0
    while len(archs) < settings.budget and stalled < max_stalled_rounds:
        rivals = rng.integers(len(alive), size=(settings.population, settings.tournament))
        parents = alive[rivals.min(1)][: settings.budget - len(archs)]  # `alive` is sorted: the lowest place wins
        mutants: list[Arch] = []
        for parent in parents:
            mutant = archs[parent]
            for _ in range(MAX_STEPS):  # a mutant that was scored before is mutated once more
                mutant = space.mutate(mutant, rng)
                key = space.canonical_key(mutant)
                if key not in seen:
                    seen.add(key)
                    mutants.append(mutant)
                    break
        stalled = stalled + 1 if len(mutants) < len(parents) * STALLED else 0
        if not mutants:
            continue
        new = np.arange(len(archs), len(archs) + len(mutants))
        archs += mutants
        scores = np.concatenate([scores, score(mutants)])
        on_scored(len(mutants))
        pool = np.concatenate([alive, new])
        alive = pool[best_rows(scores[pool], settings.population)]
        best_after.append(float(scores[alive[0]]))
    order = best_rows(scores, len(scores))
    return EvolutionResult([archs[i] for i in order], scores[order], best_after, len(archs) < settings.budget)
