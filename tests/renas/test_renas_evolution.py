"""Searching with scores: the top of a list, and evolution without one."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from common.benchmarks.nasbench101 import enumeration
from common.metrics import best_rows
from common.spaces import SPACES, SearchSpace, make_space
from common.spaces.nasbench201 import CONV3, SKIP, Cell201, NasBench201
from renas.evolution import evolve
from renas.settings import EvolvedSettings
from renas.topk import distinct_rows


@cache
def key_of(cell: Cell201) -> str:
    return NasBench201().canonical_key(cell)


class Remembering(NasBench201):
    """NAS-Bench-201 that works out each canonical key once, for speed: `mutate` asks for dozens of them."""

    def canonical_key(self, arch: Cell201) -> str:
        return key_of(arch)


NB201 = Remembering()


# lists -------------------------------------------------------------------------------------------------------------


def test_the_highest_come_first_and_ties_go_to_the_lower_row():
    scores = np.array([3.0, 5.0, 1.0, 5.0, 3.0, 4.0])
    assert best_rows(scores, 1).tolist() == [1]
    assert best_rows(scores, 2).tolist() == [1, 3]
    assert best_rows(scores, 4).tolist() == [1, 3, 5, 0]
    assert best_rows(scores, 6).tolist() == [1, 3, 5, 0, 4, 2]
    assert best_rows(np.zeros(5), 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 1, 7, 100, 101, 5000])
def test_top_rows_are_those_of_a_full_sort(count: int):
    scores = np.random.default_rng(count).integers(0, 30, 100).astype(np.float32)
    expected = sorted(range(100), key=lambda row: (-scores[row], row))[:count]
    assert best_rows(scores, count).tolist() == expected


def test_no_scores_have_no_top():
    assert best_rows(np.array([]), 3).tolist() == []


def test_a_score_that_is_no_number_comes_last():
    scores = np.array([np.nan, 2.0, np.nan, -np.inf, 7.0])
    assert best_rows(scores, 2).tolist() == [4, 1]
    assert sorted(best_rows(scores, 5).tolist()) == [0, 1, 2, 3, 4]
    assert best_rows(scores, 5).tolist()[:2] == [4, 1]
    assert best_rows(np.full(4, np.nan), 2).tolist() == [0, 1]


def test_distinct_rows_skip_the_unusable_the_known_and_isomorphic_twins():
    keys = "abcadbeff"  # of rows 0 to 8
    usable = np.array([1, 1, 0, 1, 1, 1, 1, 1, 1], dtype=bool)
    rows = np.array([3, 0, 2, 1, 5, 8, 7, 6, 4])
    assert distinct_rows(rows, 10, usable, keys.__getitem__) == [3, 1, 8, 6, 4]
    assert distinct_rows(rows, 2, usable, keys.__getitem__) == [3, 1]
    assert distinct_rows(rows, 10, usable, keys.__getitem__, known=[0, 6]) == [1, 8, 4]
    assert distinct_rows(rows, 0, usable, keys.__getitem__) == []
    assert all(type(row) is int for row in distinct_rows(rows, 3, usable, keys.__getitem__))


def test_distinct_rows_look_no_further_than_they_must():
    looked: list[int] = []

    def key_of(row: int) -> int:
        looked.append(row)
        return row

    assert distinct_rows(itertools.count(), 3, np.ones(10, dtype=bool), key_of) == [0, 1, 2]
    assert looked == [0, 1, 2]


# evolution ---------------------------------------------------------------------------------------------------------


class Counting:
    """A score that keeps account of what it was asked."""

    def __init__(self, score: Callable[[Any], float]) -> None:
        self.one = score
        self.batches: list[list[Any]] = []

    def __call__(self, archs: Sequence[Any]) -> np.ndarray:
        self.batches.append(list(archs))
        return np.array([self.one(arch) for arch in archs], dtype=np.float32)

    @property
    def archs(self) -> list[Any]:
        return [arch for batch in self.batches for arch in batch]


def scrambled(space: SearchSpace) -> Callable[[Any], float]:
    """A score without any order in it, the same for isomorphic architectures."""
    return lambda arch: int(hashlib.md5(space.canonical_key(arch).encode()).hexdigest()[:8], 16) / 2**32


def closeness(target: Cell201) -> Callable[[Cell201], float]:
    return lambda cell: -sum(a != b for a, b in zip(cell.ops, target.ops, strict=True))


class Tiny(Remembering):
    """The 64 cells of skips and 3x3 convolutions."""

    def sample(self, rng: np.random.Generator) -> Cell201:
        return Cell201(tuple(rng.choice([SKIP, CONV3], size=6).tolist()))

    def mutate(self, arch: Cell201, rng: np.random.Generator) -> Cell201:
        near = [cell for cell in self.neighbours(arch) if set(cell.ops) <= {SKIP, CONV3}]
        return near[int(rng.integers(len(near)))]

    def classes(self) -> set[str]:
        return {self.canonical_key(Cell201(ops)) for ops in itertools.product((SKIP, CONV3), repeat=6)}


@pytest.mark.parametrize("ops", [(3, 3, 3, 3, 3, 3), (2, 4, 3, 0, 4, 2), (4, 2, 3, 2, 3, 4)])
def test_evolution_finds_the_best_of_nasbench201(ops: tuple[int, ...]):
    """400 of 15,625 cells scored: by chance the one best would be among them once in 39 times."""
    score = Counting(closeness(Cell201(ops)))
    found = evolve(NB201, score, EvolvedSettings(40, 5, 400), np.random.default_rng(0))
    assert found.scores[0] == found.best_after[-1] == 0
    assert NB201.canonical_key(found.archs[0]) == NB201.canonical_key(Cell201(ops))
    assert found.best_after[0] < 0


@pytest.mark.parametrize("name", sorted(SPACES))
def test_evolution_works_on_every_space_without_a_list_of_it(name: str, monkeypatch: pytest.MonkeyPatch):
    for owner, lister in (
        (type(make_space(name)), "all_codes"),
        (enumeration, "enumerate_codes"),
        (enumeration, "load_or_enumerate"),
    ):
        if hasattr(owner, lister):
            monkeypatch.setattr(owner, lister, pytest.fail)
    space = make_space(name)
    score = Counting(lambda arch: float(space.total_costs(space.to_codes([arch]))[0][0]))
    found = evolve(space, score, EvolvedSettings(15, 4, 120), np.random.default_rng(0))
    by_chance = score(space.sample_distinct(120, np.random.default_rng(1)))
    assert len(found.archs) == 120
    assert found.scores[0] > by_chance.max()
    assert not found.gave_up


@pytest.mark.parametrize(("population", "budget"), [(20, 100), (20, 101), (20, 20), (50, 7), (2, 30)])
def test_the_budget_is_spent_and_not_exceeded(population: int, budget: int):
    score, counted = Counting(scrambled(NB201)), list[int]()
    found = evolve(
        NB201, score, EvolvedSettings(population, 3, budget), np.random.default_rng(0), on_scored=counted.append
    )
    assert len(score.archs) == len(found.archs) == len(found.scores) == budget
    assert counted == [len(batch) for batch in score.batches]
    assert max(counted) <= population
    assert len(found.best_after) == len(score.batches)
    assert not found.gave_up


def test_isomorphic_cells_are_scored_once():
    score = Counting(scrambled(NB201))
    evolve(NB201, score, EvolvedSettings(30, 5, 900), np.random.default_rng(0))
    keys = [NB201.canonical_key(cell) for cell in score.archs]
    assert len(set(keys)) == len(keys) == 900


def test_the_result_holds_everything_scored_best_first():
    score = Counting(scrambled(NB201))
    found = evolve(NB201, score, EvolvedSettings(20, 5, 200), np.random.default_rng(0))
    assert set(found.archs) == set(score.archs)
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_array_equal(score(found.archs), found.scores)
    assert found.best_after == sorted(found.best_after)
    assert found.best_after[-1] == found.scores[0]
    assert found.best_after[0] == max(map(np.float32, map(scrambled(NB201), score.batches[0])))


def test_the_first_population_is_drawn_and_the_next_are_mostly_mutants_of_it():
    score = Counting(scrambled(NB201))
    evolve(NB201, score, EvolvedSettings(10, 4, 40), np.random.default_rng(0))
    first, second = score.batches[:2]
    assert first == NB201.sample_distinct(10, np.random.default_rng(0))
    near = {NB201.canonical_key(neighbour) for cell in first for neighbour in NB201.neighbours(cell)}
    by_chance = NB201.sample_distinct(100, np.random.default_rng(1))
    assert np.mean([NB201.canonical_key(cell) in near for cell in by_chance]) < 0.5
    assert np.mean([NB201.canonical_key(cell) in near for cell in second]) > 0.6


class Watched(Remembering):
    """Keeps the cells that were chosen as parents: what is mutated, but not on from a mutant just made."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "parents", [])
        object.__setattr__(self, "last", None)

    def mutate(self, arch: Cell201, rng: np.random.Generator) -> Cell201:
        if arch is not self.last:
            self.parents.append(arch)
        object.__setattr__(self, "last", super().mutate(arch, rng))
        return self.last


def test_the_winners_of_larger_tournaments_are_better():
    def parents(tournament: int) -> list[float]:
        space = Watched()
        evolve(space, Counting(scrambled(NB201)), EvolvedSettings(50, tournament, 100), np.random.default_rng(0))
        return [scrambled(NB201)(parent) for parent in space.parents[:50]]

    means = [float(np.mean(parents(tournament))) for tournament in (1, 3, 30)]
    best = max(map(scrambled(NB201), NB201.sample_distinct(50, np.random.default_rng(0))))
    assert means[0] == pytest.approx(0.5, abs=0.15)
    assert means[0] + 0.1 < means[1] < means[2] <= best
    assert means[2] > 0.9


def test_only_the_best_of_parents_and_mutants_survive():
    """With a score that no mutant improves on, the parents stay those of the first population."""
    first = NB201.sample_distinct(10, np.random.default_rng(0))
    space = Watched()
    evolve(space, lambda cells: np.array([cell in first for cell in cells], dtype=float),
           EvolvedSettings(10, 3, 60), np.random.default_rng(0))  # fmt: skip
    assert len(space.parents) >= 50
    assert set(space.parents) <= set(first)


def test_evolution_follows_its_generator():
    def run(seed: int) -> tuple[list[Cell201], list[float]]:
        found = evolve(NB201, Counting(scrambled(NB201)), EvolvedSettings(20, 5, 100), np.random.default_rng(seed))
        return found.archs, found.scores.tolist()

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_an_exhausted_space_ends_the_search():
    classes = Tiny().classes()
    score = Counting(lambda cell: -abs(sum(cell.ops) - 13.5))
    found = evolve(Tiny(), score, EvolvedSettings(8, 3, 10_000), np.random.default_rng(0))
    assert found.gave_up
    assert 8 < len(found.archs) <= len(classes) < 64
    assert len({Tiny().canonical_key(cell) for cell in found.archs}) == len(found.archs)


def test_a_population_larger_than_the_space_takes_what_there_is():
    classes = Tiny().classes()
    found = evolve(Tiny(), Counting(scrambled(NB201)), EvolvedSettings(60, 3, 1000), np.random.default_rng(0))
    assert {Tiny().canonical_key(cell) for cell in found.archs} == classes
    assert found.gave_up


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_scores_that_are_no_numbers_do_not_stop_the_search(share: float):
    """A predictor whose training diverged gives NaN."""
    score = Counting(lambda cell: float("nan") if scrambled(NB201)(cell) < share else 1.0)
    found = evolve(NB201, score, EvolvedSettings(10, 3, 50), np.random.default_rng(0))
    assert len(found.archs) == 50
    numbers = int(np.isfinite(found.scores).sum())
    assert np.isfinite(found.scores[:numbers]).all()
    assert (numbers > 5) == (share < 1)
