"""ReNAS's search as a strategy: a random sample is evaluated, a predictor learns from it, its best are evaluated."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from common.benchmarks.table import BenchmarkTable
from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome
from common.predictors import Ranker
from common.search import History, Proposal, Strategy
from common.seeds import named_rngs
from renas.evolution import evolve
from renas.settings import EvolvedSettings

SAMPLED, PROPOSED = "sample", "predictor"  # phases

OnStep = Callable[[str, float, float], object]  # stage, the share of it that is done, training tau or NaN


@dataclass(frozen=True)
class RowEvaluator(Evaluator):
    """Looks up a column of a table whose rows are the architectures: (N,) values, NaN where nothing was measured."""

    values: np.ndarray
    name = "table"

    def evaluate(self, arch: int, bounds: Bounds = NO_BOUNDS) -> Outcome:
        return Outcome(float(self.values[arch]))


class PredictorTopK(Strategy):
    """The published algorithm over the rows of a table.

    Architectures are rows here, so that prepared feature tensors, of which nobody knows the architecture, will do. The
    first round is a random sample of the rows that have a label. Then the predictor is trained on them and scores all
    rows, and the second round are the `count` that it likes best.

    Attributes, once the second round was proposed: scores: (N,) of all rows. seconds: spent on "train", "score" and
    "search". notes: for the record.
    """

    name = "topk"

    def __init__(
        self,
        table: BenchmarkTable,
        seed: int,
        ranker: Ranker,
        n_train: int,
        count: int,
        labelled: np.ndarray,
        usable: np.ndarray,
        repeats: bool = False,
        on_step: OnStep = lambda stage, done, tau: None,
    ) -> None:
        """
        Args:
            labelled, usable: (N,) bool, rows that may be trained on, and those that may be proposed.
            repeats: the best as they come, isomorphic rows and those of the sample among them, as in the demo; else
                each isomorphism class once and nothing that was evaluated before.
        """
        self.table, self.seed, self.ranker = table, seed, ranker
        self.n_train, self.count, self.repeats = n_train, count, repeats
        self.labelled, self.usable, self.on_step = labelled, usable, on_step
        self.rngs = named_rngs(seed, "sample", "train", "search")  # "train" is the ranker's
        self.source = ranker.encoding.source(table)
        self.seconds: dict[str, float] = {}
        self.notes: dict[str, Any] = {}

    def propose(self, history: History, room: int) -> Proposal:
        if not history:
            return Proposal(self.sample(), SAMPLED)
        if any(evaluation.phase == PROPOSED for evaluation in history):
            return Proposal()
        self.train(history)
        with self._timed("score"):
            scored = _Shares("score", len(self.source), self.on_step)
            self.scores = self.ranker.score(self.source, self._where, scored)
        with self._timed("search"):
            return Proposal(self.best(history.archs), PROPOSED)

    def sample(self) -> list[int]:
        """The training rows, in random order."""
        labelled = np.flatnonzero(self.labelled)
        return self.rngs["sample"].choice(labelled, size=self.n_train, replace=False).tolist()

    def train(self, history: History) -> None:
        """Fits the predictor to all that was evaluated, in the table's order."""
        order = np.argsort(history.archs)
        rows, labels = np.array(history.archs)[order], history.values[order]
        with self._timed("train"):
            self.ranker.space = self.table.space
            self.ranker.fit_rows(
                self.source, rows, labels, self.seed, self._where, lambda done, tau: self.on_step("train", done, tau)
            )

    def best(self, evaluated: list[int]) -> list[int]:
        """The `count` best-scored rows, best first; fewer where there are no more."""
        if self.repeats:
            return list(islice((row for row in self.ranked() if self.usable[row]), self.count))
        return distinct_rows(self.ranked(), self.count, self.usable, self.table.key, known=evaluated)

    def ranked(self) -> Iterable[int]:
        """Rows, best first."""
        return np.argsort(-self.scores, kind="stable").tolist()

    @property
    def _where(self) -> str:
        return self.table.source.path or self.table.source.title

    def _timed(self, stage: str) -> _Timed:
        return _Timed(self.seconds, stage)


class PredictorEvolution(PredictorTopK):
    """The same, but what the predictor likes best is what evolution on its scores has found.

    `scores` still are those of all rows, for the record: the evolution does not look at them.
    """

    name = "ea"

    def __init__(self, settings: EvolvedSettings, *args: Any, **options: Any) -> None:
        """settings: of the evolution; all else as of PredictorTopK."""
        super().__init__(*args, **options)
        self.settings = settings

    def ranked(self) -> Iterator[int]:
        space = self.table.space
        assert space is not None  # checked when the experiment was made
        evolved = evolve(
            space,
            lambda archs: self.ranker.predictor.predict(self.ranker.encoding.encode(space, space.to_codes(archs))),
            self.settings,
            self.rngs["search"],
            _Shares("search", self.settings.budget, self.on_step),
        )
        self.notes = {
            "predictor_calls": len(evolved.archs),
            "best_score_after_round": evolved.best_after,
            "gave_up": evolved.gave_up,
        }
        return (row for arch in evolved.archs if (row := self.table.index_of(arch)) is not None)


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


class _Shares:
    """Counts of what is done, told as shares of a stage."""

    def __init__(self, stage: str, total: int, on_step: OnStep) -> None:
        self.stage, self.total, self.on_step, self.done = stage, total, on_step, 0

    def __call__(self, count: int) -> None:
        self.done += count
        self.on_step(self.stage, self.done / self.total, math.nan)


class _Timed:
    """Adds the seconds that a block takes to one entry of `seconds`."""

    def __init__(self, seconds: dict[str, float], stage: str) -> None:
        self.seconds, self.stage = seconds, stage

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + time.perf_counter() - self.started
