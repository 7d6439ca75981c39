"""The choice by smoothed scores: against noise, with finalists, and where there is nothing to smooth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.errors import InputError
from common.evaluators.base import Outcome
from common.predictors import make_predictor
from common.search import Evaluation, History
from common.spaces import make_space
from rminas.cheap import NO_WEIGHING
from rminas.elections import FinishedSearch, choose, smoothed
from rminas.forest import Judgement

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
    np.testing.assert_array_equal(smoothed(search), expected)
    assert choose("smoothed", search) == archs[int(np.argmax(expected))]


def test_finalists_are_chosen_by_both_scores() -> None:
    archs = SPACE.sample_distinct(40, np.random.default_rng(1))
    values = merit(archs)
    order = np.argsort(-smoothed(finished(archs, values)), kind="stable")
    chosen = [archs[place] for place in order[:4]]
    # Ranks by smoothed scores 4, 3, 2, 1; sums of log ranks: 4 x 1, 3 x 3, 2 x 4, 1 x 2.
    search = finished(archs, values, history(chosen, [1.0, 3.0, 4.0, 2.0]))
    assert choose("smoothed", search) == chosen[1]
    # What failed ranks last: 4 x 1, 3 x 2, 2 x 3, 1 x 4, of equals the first.
    search = finished(archs, values, history(chosen, [-np.inf, 1.0, 3.0, 4.0]))
    assert choose("smoothed", search) == chosen[1]


def test_one_value_is_not_smoothed() -> None:
    archs = SPACE.sample_distinct(3, np.random.default_rng(0))
    with pytest.raises(InputError, match="fewer than two architectures have a value"):
        choose("smoothed", finished(archs, [1.0, np.nan, -np.inf]))
