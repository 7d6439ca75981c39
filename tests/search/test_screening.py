"""Screening: what the free score leaves, what the predictor then chooses of it, and what each stage has cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from bowl import BayesianRidge, Bowl

from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome
from common.evaluators.costs import CostEvaluator
from common.predictors import make_predictor
from common.search import Evaluation, History, run_search
from common.search.screening import INITIAL, Screening, ScreeningSettings
from common.spaces import make_space

SPACE = make_space("nasbench201")
SETTINGS = ScreeningSettings(initial=10, batch=5, candidates=400, kept=0.1, mutants=30)


def screening(settings: ScreeningSettings = SETTINGS, seed: int = 0, **parts: Any) -> Screening:
    return Screening(SPACE, seed, settings, **{"predictor": BayesianRidge, **parts})


class Skips(Evaluator):
    """Counts skip connections; knows nothing of architectures without any."""

    name = "skips"

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        count = SPACE.format(arch).count("skip")
        return Outcome(float(count) if count else np.nan)


def flops(archs: Any) -> np.ndarray:
    return SPACE.total_costs(SPACE.to_codes(archs))[0]


def test_the_free_score_keeps_its_best_share_of_what_reaches_the_output() -> None:
    search = screening()
    drawn, kept = search.screened.drawn, search.screened.kept
    assert len(drawn) == len({SPACE.canonical_key(arch) for arch in drawn}) == 400
    assert len(kept) == 40
    assert all(SPACE.reaches_output(arch) for arch in kept)
    rest = [arch for arch in drawn if arch not in kept and SPACE.reaches_output(arch)]
    assert flops(kept).min() >= flops(rest).max()
    assert [arch for arch in drawn if arch in kept] == kept  # in random order still: the first are no worse than others
    counted = [Skips().evaluate(arch).value for arch in screening(cheap=Skips()).screened.kept]
    assert min(counted) >= 2


def test_first_some_of_what_was_kept_then_the_predictors_best_among_it_and_mutants() -> None:
    search = screening(replace(SETTINGS, kappa=0.0))
    kept = search.screened.kept
    first = search.propose(History(), 100)
    assert (first.archs, first.phase) == (kept[:10], INITIAL)
    bowl = Bowl(SPACE)
    history = run_search(search, bowl, 10).history
    proposed = search.propose(history, 100)
    assert proposed.phase == "screening"
    candidates = search._candidates(history, history.values)
    assert candidates[:30] == kept[10:]
    assert len(candidates) == 60  # and the mutants, none twice
    assert len({SPACE.canonical_key(arch) for arch in [*candidates, *history.archs]}) == 70
    model = make_predictor(BayesianRidge).fit(archs=history.archs, values=history.values, space=SPACE)
    order = np.argsort(-model.predict(candidates), kind="stable")
    assert proposed.archs == [candidates[place] for place in order[:5]]


def test_no_room_is_left_unused_when_all_that_was_kept_is_evaluated() -> None:
    settings = replace(SETTINGS, candidates=40, kept=0.1, mutants=3)
    history = run_search(screening(settings), Bowl(SPACE), 30).history
    assert len(history) == 30


def test_it_finds_more_than_the_free_score_or_luck_where_the_evaluator_says_other_things() -> None:
    """The bowl's best is no large network: the free score alone would choose badly."""
    bowl = Bowl(SPACE)
    found, free, lucky = [], [], []
    for seed in range(5):
        search = screening(replace(SETTINGS, kept=0.5), seed)
        found.append(max(run_search(search, bowl, 50).history.values))
        drawn = search.screened.drawn
        free.append(bowl.evaluate(drawn[int(np.argmax(flops(drawn)))]).value)
        lucky.append(max(bowl.evaluate(arch).value for arch in drawn[:50]))
    assert np.mean(found) > np.mean(lucky) > np.mean(free)


def test_only_the_history_decides() -> None:
    bowl, search = Bowl(SPACE), screening(seed=3)
    history = run_search(search, bowl, 25).history
    again = History([Evaluation(e.index, e.phase, e.arch, e.outcome) for e in history])
    assert screening(seed=3).propose(again, 5).archs == search.propose(history, 5).archs
    assert screening(seed=4).screened.drawn != search.screened.drawn
    assert screening(cheap=CostEvaluator(SPACE, "params")).screened.drawn == screening().screened.drawn
