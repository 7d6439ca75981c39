"""Searching with a trained predictor in place of training: take the top of a list, or evolve without a list."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from common.spaces import SearchSpace

Arch = TypeVar("Arch")

MAX_STEPS = 8  # mutations from a parent to a mutant not scored before
VAIN = 0.1  # share of new mutants below which a round counts as vain


def top_rows(scores: np.ndarray, count: int) -> np.ndarray:
    """Rows of the `count` highest of (N,) scores, best first; ties go to the lower row, NaN comes last."""
    count = min(count, len(scores))
    scores = np.where(np.isnan(scores), -np.inf, scores)  # what a predictor gives whose training diverged
    # One partition to find the threshold, then a sort of the few rows that reach it: N is up to 423,624.
    threshold = np.partition(scores, len(scores) - count)[len(scores) - count] if count else 0
    reaching = np.flatnonzero(scores >= threshold)
    return reaching[np.argsort(-scores[reaching], kind="stable")][:count]


def distinct_rows(
    rows: Iterable[int], count: int, usable: np.ndarray, key_of: Callable[[int], Hashable], known: Iterable[int] = ()
) -> list[int]:
    """The first `count` of `rows` that are `usable` ((N,) bool), each isomorphism class once, none of a `known` row."""
    seen = {key_of(row) for row in known}
    found: list[int] = []
    for row in rows:
        if len(found) == count:
            break
        if usable[row] and (key := key_of(row)) not in seen:
            seen.add(key)
            found.append(int(row))
    return found


@dataclass(frozen=True)
class EvolutionSettings:
    """Population size, tournament size, and the number of architectures the predictor may score."""

    population: int = 100
    tournament: int = 10
    budget: int = 10_000


@dataclass(frozen=True)
class Evolved:
    """Everything an evolutionary search scored, best first, one architecture of each isomorphism class."""

    archs: list[Any]
    scores: np.ndarray
    best_after: list[float]  # best score after each round
    gave_up: bool  # stopped before the budget was spent, because nothing unseen turned up


def evolve(
    space: SearchSpace[Arch],
    score: Callable[[Sequence[Arch]], np.ndarray],
    settings: EvolutionSettings,
    rng: np.random.Generator,
    on_scored: Callable[[int], object] = lambda count: None,
    max_vain_rounds: int = 3,
) -> Evolved:
    """Evolution on predicted scores; needs no list of the space.

    Each round, as many parents as the population holds win tournaments, each gives one mutant not seen before (or none
    after MAX_STEPS mutations), the mutants are scored in one batch, and the best of parents and mutants survive.
    Survival of the best (not of the youngest, as in regularised evolution) fits scores without noise. Isomorphic
    architectures are scored once. It gives up when `max_vain_rounds` rounds in a row bring hardly a new mutant.

    Args: score: from n architectures to (n,) scores, higher is better.
    """
    first = list(islice(space.distinct_samples(rng), min(settings.population, settings.budget)))
    archs, seen = [arch for _, arch in first], {key for key, _ in first}
    scores = np.asarray(score(archs))
    on_scored(len(archs))
    best_after = [float(scores.max())]
    alive = top_rows(scores, settings.population)
    vain = 0
    while len(archs) < settings.budget and vain < max_vain_rounds:
        rivals = rng.integers(len(alive), size=(settings.population, settings.tournament))
        parents = alive[rivals.min(1)][: settings.budget - len(archs)]  # `alive` is sorted: the lowest place wins
        mutants: list[Arch] = []
        for parent in parents:
            mutant = archs[parent]
            for _ in range(MAX_STEPS):  # a mutant that was scored before is mutated on, away from the trodden
                mutant = space.mutate(mutant, rng)
                key = space.canonical_key(mutant)
                if key not in seen:
                    seen.add(key)
                    mutants.append(mutant)
                    break
        vain = vain + 1 if len(mutants) < len(parents) * VAIN else 0
        if not mutants:
            continue
        new = np.arange(len(archs), len(archs) + len(mutants))
        archs += mutants
        scores = np.concatenate([scores, score(mutants)])
        on_scored(len(mutants))
        pool = np.concatenate([alive, new])
        alive = pool[top_rows(scores[pool], settings.population)]
        best_after.append(float(scores[alive[0]]))
    order = top_rows(scores, len(scores))
    return Evolved([archs[i] for i in order], scores[order], best_after, gave_up=len(archs) < settings.budget)
