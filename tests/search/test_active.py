"""The predictor-guided search: what it learns from, what it proposes, and that it finds more than luck does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bowl import BayesianRidge, Bowl

from common.errors import InputError
from common.evaluators.base import Outcome
from common.predictors import make_predictor
from common.search import Evaluation, History, Pool, make_strategy, run_search
from common.search.active import ActiveSearch, ActiveSettings, Scores, expected_improvement, learnable_values
from common.spaces import make_space

MACRO = make_space("macro")


def active(settings: ActiveSettings | None = None, seed: int = 0, **parts: Any) -> ActiveSearch:
    return ActiveSearch(MACRO, seed, settings or ActiveSettings(), **{"predictor": BayesianRidge, **parts})


def test_without_exploration_a_round_is_the_predictors_best_of_what_is_left() -> None:
    pool = Pool(MACRO, MACRO.sample_distinct(300, np.random.default_rng(0)))
    search = active(ActiveSettings(initial=20, batch=10, kappa=0), pool=pool)
    history = run_search(search, Bowl(MACRO), 20).history
    ranker = make_predictor(BayesianRidge).fit(archs=history.archs, values=history.values, space=MACRO)
    rest = [pool.arch(i) for i in range(len(pool)) if pool.arch(i) not in history.archs]
    best = [rest[i] for i in np.argsort(-ranker.predict(rest), kind="stable")[:10]]
    assert list(search.propose(history, 100).archs) == best


def test_each_of_a_batch_has_an_exploration_of_its_own() -> None:
    """Candidate 0 has the best mean, candidate 1 the largest deviation, the others neither."""
    scores = Scores(np.array([1.0, 0.0, 0.5, 0.4, 0.3]), np.array([0.1, 5.0, 0.1, 0.1, 0.1]), 1.0)
    firsts = [active(ActiveSettings(kappa=0.5), seed=seed).choose(scores, 1, 0)[0] for seed in range(200)]
    # 0 wins where k < (1 - 0) / (5 - 0.1), which an exponential of mean 0.5 is below with probability 0.335.
    assert set(firsts) == {0, 1}
    assert firsts.count(0) / 200 == pytest.approx(1 - math.exp(-1 / 4.9 / 0.5), abs=0.1)
    assert set(active(ActiveSettings(kappa=0.5)).choose(scores, 2, 0)) == {0, 1}
    assert active(ActiveSettings(kappa=0)).choose(scores, 3, 0) == [0, 2, 3]


def test_expected_improvement_by_its_definition() -> None:
    mean, std = np.array([0.0, 1.0, -2.0, 1.5]), np.array([1.0, 0.5, 3.0, 0.0])
    draws = np.random.default_rng(0).normal(size=(400_000, 1)) * std + mean
    expected = np.maximum(draws - 0.7, 0).mean(0)
    np.testing.assert_allclose(expected_improvement(mean, std, 0.7), expected, atol=0.01)
    chosen = active(ActiveSettings(acquisition="ei")).choose(Scores(mean, std, 0.7), 4, 0)
    assert chosen == np.argsort(-expected).tolist()


def test_thompson_draws_choose_in_proportion_to_the_chance_of_being_best() -> None:
    scores = Scores(np.array([0.0, 0.5]), np.array([1.0, 1.0]), 0.5)
    settings = ActiveSettings(acquisition="thompson", kappa=1)
    wins = np.mean([active(settings, seed=seed).choose(scores, 1, 0)[0] for seed in range(1000)])
    assert wins == pytest.approx(0.638, abs=0.05)  # Phi(0.5 / sqrt(2))


def test_failures_are_learnt_as_the_worst_and_unknown_values_not_at_all() -> None:
    values = learnable_values(np.array([3.0, -np.inf, np.nan, 1.0]))
    np.testing.assert_array_equal(values, [3.0, 1.0, np.nan, 1.0])
    assert np.isnan(learnable_values(np.array([-np.inf, np.nan]))).all()


def test_scores_that_are_not_numbers_are_chosen_last() -> None:
    scores = Scores(np.array([np.nan, 1.0, np.nan, 2.0]), np.zeros(4), 0.0)
    assert active().choose(scores, 4, 0) == [3, 1, 0, 2]


def test_it_finds_the_best_of_a_pool_with_a_twentieth_of_the_evaluations() -> None:
    pool = Pool(MACRO, MACRO.sample_distinct(1500, np.random.default_rng(1)))
    best = max(Bowl(MACRO).evaluate(pool.arch(i)).value for i in range(len(pool)))
    found = [run_search(active(seed=seed, pool=pool), Bowl(MACRO), 75).history.best.value for seed in range(5)]
    assert found == [best] * 5


def test_in_a_whole_space_candidates_are_unseen_and_half_of_them_near_the_best() -> None:
    search = active(ActiveSettings(candidates=200))
    history = run_search(search, Bowl(MACRO), 30).history
    made = search._candidates(history, history.values)
    keys = [MACRO.canonical_key(arch) for arch in made]
    assert len(keys) == len(set(keys)) == 200
    assert not set(keys) & {MACRO.canonical_key(arch) for arch in history.archs}
    best = MACRO.to_codes([history[int(i)].arch for i in np.argsort(-history.values, kind="stable")[:10]])
    distances = (MACRO.to_codes(made)[:, None] != best[None]).sum(2).min(1)
    assert (distances[:80] <= 3).all()


def test_the_default_predictor_and_one_by_name_or_import_path_take_part() -> None:
    pool = MACRO.sample_distinct(60, np.random.default_rng(0))
    bowl = Path(__file__).with_name("bowl.py")
    for predictor in (None, "boosting", f"{bowl}:BayesianRidge", make_predictor("boosting", max_iter=20)):
        search = make_strategy("active", MACRO, 0, pool=pool, predictor=predictor)
        assert len(run_search(search, Bowl(MACRO), 30).history) == 30
    with pytest.raises(InputError, match="unknown predictor 'oracle'"):
        make_strategy("active", MACRO, 0, predictor="oracle")


def test_a_history_from_outside_the_pool_is_refused() -> None:
    pool = MACRO.sample_distinct(30, np.random.default_rng(0))
    foreign = MACRO.sample_distinct(60, np.random.default_rng(1))
    history = History(tuple(Evaluation(i, "initial", arch, Outcome(float(i))) for i, arch in enumerate(foreign)))
    with pytest.raises(InputError, match="pool lacks"):
        active(pool=pool).propose(history, 5)
