"""What a screening ends with: who votes, finalists by two scores, the choice by smoothed scores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.errors import InputError
from common.evaluators.base import Outcome
from common.predictors import make_predictor
from common.search import Evaluation, History
from common.search.screening import Screening
from common.spaces import make_space
from rminas.cheap import NO_WEIGHING
from rminas.elections import FinishedSearch, choose
from rminas.forest import Judgement
from rminas.search import judge

SPACE = make_space("nasbench201")


def history(archs: list[Any], values: Any) -> History:
    return History(
        tuple(Evaluation(i, "", a, Outcome(float(v))) for i, (a, v) in enumerate(zip(archs, values, strict=True)))
    )


def finished(archs: list[Any], values: Any, finals: History | None = None) -> FinishedSearch:
    made = history(archs, values)
    judged = Judgement(made.values, np.nan, np.zeros(len(made), dtype=bool), NO_WEIGHING)
    return FinishedSearch(SPACE, 0, made, judged, finals=finals or History())


def merit(archs: list[Any]) -> np.ndarray:
    """How many convolutions there are, of the operations that are alive."""
    return (SPACE.live_codes(SPACE.to_codes(archs)) == 3).sum(1).astype(float)


def test_it_is_the_best_of_the_evaluated_by_a_predictor_of_all_scores() -> None:
    rng = np.random.default_rng(0)
    archs = SPACE.sample_distinct(60, rng)
    values = merit(archs) + rng.normal(size=60)
    values[3], values[7] = -np.inf, np.nan  # a failure counts as the worst of the others, so does what is not known
    search = finished(archs, values)
    labels = np.where(np.isfinite(values), values, np.nanmin(values[np.isfinite(values)]))
    expected = make_predictor("gp").fit(archs=archs, values=labels, space=SPACE).predict(archs)
    assert choose("smoothed", search) == archs[int(np.argmax(expected))]


def test_finalists_vote_in_the_order_of_both_scores() -> None:
    archs = SPACE.sample_distinct(8, np.random.default_rng(1))
    scores = [5.0, 8.0, 1.0, 7.0, 6.0, 2.0, 3.0, 4.0]
    chosen = [archs[place] for place in (1, 3, 4, 0)]  # by scores, best first
    # Ranks by scores 4, 3, 2, 1; sums of log ranks: 4 x 1, 3 x 3, 2 x 4, 1 x 2.
    search = finished(archs, scores, history(chosen, [1.0, 3.0, 4.0, 2.0]))
    assert search.voters == [3, 4, 1, 0]
    assert choose("best", search) == archs[3]
    assert choose("sum", replace(search, top=1)) == archs[3]
    # What failed ranks last: 4 x 1, 3 x 2, 2 x 3, 1 x 4; what is not known too.
    for failed in (-np.inf, np.nan):
        search = finished(archs, scores, history(chosen, [failed, 1.0, 3.0, 4.0]))
        assert search.voters == [3, 4, 1, 0]


def test_the_best_of_a_screening_are_its_positives() -> None:
    archs = SPACE.sample_distinct(6, np.random.default_rng(1))
    made = history(archs, [1.0, np.nan, 5.0, -np.inf, 3.0, 4.0])
    assert judge(Screening(SPACE, 0), made, 3).positive.tolist() == [False, False, True, False, True, True]
    assert judge(Screening(SPACE, 0), made, 9).positive.tolist() == [True, False, True, False, True, True]


def test_one_value_is_not_smoothed() -> None:
    archs = SPACE.sample_distinct(3, np.random.default_rng(0))
    with pytest.raises(InputError, match="fewer than two architectures have a value"):
        choose("smoothed", finished(archs, [1.0, np.nan, -np.inf]))
