"""A search as the settings want it: strategy, stopping policy and choice of the result put together, and summed up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from common.errors import InputError
from common.evaluators.base import Evaluator
from common.execution.base import Executor
from common.metrics import best_rows, kendall_tau, spearman
from common.search import (
    STRATEGIES,
    Candidates,
    Evaluation,
    History,
    StoppingPolicy,
    Strategy,
    make_strategy,
    run_search,
)
from common.search.limits import Limits
from common.search.pareto import ParetoSearch, describe_front
from common.search.screening import INITIAL, Screened, Screening, ScreeningSettings
from common.spaces.base import SearchSpace
from rminas.accuracy import AccuracyTable
from rminas.cheap import NO_WEIGHING, CheapScore
from rminas.config import Rminas
from rminas.elections import ELECTIONS, FinishedSearch, choose
from rminas.forest import FOREST, ForestSearch, ForestSettings, Judgement
from rminas.race import Race


@dataclass(frozen=True)
class SearchOutcome:
    """A finished search and what was chosen from it.

    gave_up: why it ended early; empty if it did not. screened: what its first stage has drawn and kept, where the
    strategy has one. choose_s: seconds of the choice. front: the trade-off that a search for one has found
    (`common.search.pareto.describe_front`); empty for others.
    """

    search: FinishedSearch
    found: Any
    gave_up: str = ""
    screened: Screened | None = None
    choose_s: float = 0.0
    front: dict[str, Any] = field(default_factory=dict)

    @property
    def history(self) -> History:
        return self.search.history


def search(
    settings: Rminas,
    space: SearchSpace,
    evaluator: Evaluator,
    seed: int,
    cheap: Evaluator | None = None,
    executor: Executor | None = None,
    past: Mapping[int, Evaluation] | None = None,
    on_evaluation: Callable[[Evaluation, History], object] = lambda evaluation, history: None,
    evaluate_finals: Callable[[Sequence[Any]], History] | None = None,
    limits: Limits | None = None,
) -> SearchOutcome:
    """Searches with one seed; see `common.search.run_search` for executor, past, on_evaluation and limits.

    Args: cheap: what `settings.size` is the weight of, or what a screening begins with; needed for these.
        evaluate_finals: evaluates the finalists, where `settings.finalists` asks for some.
    Raises: InputError when no architecture of the warm-up has a value, or `past` holds others than are proposed.
    """
    candidates = None if limits is None else limits.candidates(space)
    strategy = make_search(settings, space, seed, cheap, candidates)
    stopping = make_stopping(settings, strategy)
    forest = isinstance(strategy, ForestSearch)
    budget = settings.rf_warmup if forest and not settings.rf_succ else settings.max_evaluations
    done = run_search(strategy, evaluator, budget, executor, stopping, past, on_evaluation, limits)
    if not np.isfinite(done.history.values).any():
        raise InputError(f"{evaluator.name}: none of the {len(done.history)} evaluated cells has a finite value")
    judged = judge(strategy, done.history, settings.top)
    gave_up = done.ended
    if forest and not gave_up:
        found = int(judged.positive[settings.rf_warmup :].sum())
        if found < settings.rf_succ:
            gave_up = (
                f"{found} of {settings.rf_succ} positives after {len(done.history)} evaluations "
                "(RMINAS.MAX_EVALUATIONS)"
            )
    finished = FinishedSearch(space, seed, done.history, judged, settings.top, candidates=candidates)
    started = time.perf_counter()
    if settings.finalists and evaluate_finals is not None:
        best = best_rows(judged.scores, settings.finalists)
        finished = replace(finished, finals=evaluate_finals([done.history[int(place)].arch for place in best]))
    found = choose(settings.vote, finished)
    choose_s = time.perf_counter() - started - sum(e.evaluate_s for e in finished.finals)
    screened = strategy.screened if isinstance(strategy, Screening) else None
    front = {}
    if isinstance(strategy, ParetoSearch):
        front = describe_front(space, done.history.archs, done.history.values, strategy.settings.cost)
    return SearchOutcome(finished, found, gave_up, screened, choose_s, front)


def make_search(
    settings: Rminas,
    space: SearchSpace,
    seed: int,
    cheap: Evaluator | None = None,
    candidates: Candidates | None = None,
) -> Strategy:
    """The strategy of the settings; `cheap` as for `search`. candidates: what it may propose; None for all."""
    if settings.strategy == Screening.name:
        screened = ScreeningSettings(settings.rf_warmup, settings.round, candidates=settings.drawn, kept=settings.kept)
        return Screening(space, seed, screened, candidates, cheap=cheap)
    if settings.strategy != ForestSearch.name:
        return make_strategy(settings.strategy, space, seed, candidates)
    assert cheap is not None or not settings.size
    own = ForestSettings(
        warmup=settings.rf_warmup,
        quantile=settings.rf_thresrate,
        positives=settings.rf_succ,
        trees=settings.forest,
        candidates=settings.candidates,
        round=settings.round,
        first_round=settings.race_full if settings.race else 0,
        isomorphic_once=settings.isomorphic_once,
    )
    return ForestSearch(space, seed, own, candidates, None if cheap is None else CheapScore(cheap, settings.size))


def make_stopping(settings: Rminas, strategy: Strategy) -> StoppingPolicy:
    """The stopping policy of the settings; only the forest's search says what is worth finishing."""
    if not settings.race or not isinstance(strategy, ForestSearch):
        return StoppingPolicy()
    return Race(strategy, settings.race, settings.race_full)


def judge(strategy: Strategy, history: History, top: int = 0) -> Judgement:
    """What the strategy makes of a history; of one that knows no positives, the values alone.

    Args: top: so many of the best that have a value are the positives of a screening.
    """
    if isinstance(strategy, ForestSearch):
        return strategy.judge(history)
    positive = np.zeros(len(history), dtype=bool)
    if isinstance(strategy, Screening):
        positive[best_rows(history.values, top)] = True
        positive &= np.isfinite(history.values)
    return Judgement(history.values, math.nan, positive, NO_WEIGHING)


def is_positive(strategy: Strategy, evaluation: Evaluation, history: History) -> bool | None:
    """Whether an evaluation of the round after `history` is positive; None before there is a threshold."""
    if evaluation.phase != FOREST:
        return None
    judged = judge(strategy, history)
    return bool(judged.weighing.scores(np.array([evaluation.value]), [evaluation.arch])[0] > judged.threshold)


def check_reachable(settings: Rminas, space: SearchSpace) -> None:
    """Raises InputError when the bounds of the search leave no room for its positives, or there is no such strategy."""
    if settings.strategy != ForestSearch.name:
        STRATEGIES.load(settings.strategy)  # not after the minutes that a teacher takes
        return
    needed = settings.rf_warmup + settings.rf_succ
    if needed > settings.max_evaluations:
        left = max(settings.max_evaluations - settings.rf_warmup, 0)
        raise InputError(
            f"RMINAS.RF_SUCC {settings.rf_succ} can never be reached: RF_WARMUP {settings.rf_warmup} leaves {left} of "
            f"MAX_EVALUATIONS {settings.max_evaluations}; raise it to {needed} at least"
        )
    if space.size is not None and needed > space.size:
        raise InputError(
            f"RMINAS.RF_SUCC {settings.rf_succ} can never be reached: RF_WARMUP and RF_SUCC ask for {needed} cells, "
            f"{space.title} has {space.size}"
        )


def expected_evaluations(settings: Rminas, done: int, positives: int) -> int:
    """How many there will be, by the rate of positives so far (after the warm-up, at least one counts as found)."""
    if settings.strategy != ForestSearch.name:
        return settings.max_evaluations
    tried = max(done - settings.rf_warmup, 0)
    missing = max(settings.rf_succ - positives, 0)
    more = math.ceil(missing * max(tried, 1) / max(positives, 1)) if tried else missing
    return min(settings.max_evaluations, max(done, settings.rf_warmup) + more)


def summarize_seed(outcome: SearchOutcome, accuracies: AccuracyTable) -> dict[str, Any]:
    """What a search found, for the run's summary; accuracies in percent, times in seconds."""
    search, history = outcome.search, outcome.history
    judged = search.judged
    accuracy, values = accuracies.accuracies(history.archs), history.values
    known, usable = ~np.isnan(accuracy), np.isfinite(values)
    ranked = np.where(usable, values, -np.finfo(np.float64).max)
    updates = [len(e.outcome.trajectory) - 1 for e in history if len(e.outcome.trajectory) and _started(e)]
    best = int(np.argmax(ranked))
    return {
        "seed": search.seed,
        "found": accuracies.look_up(outcome.found),
        "chosen_by": {rule: accuracies.look_up(arch) for rule, arch in _choices(search).items()},
        "best_value": {**accuracies.look_up(history[best].arch), "value": float(values[best])},
        "evaluations": len(history),
        "without_training": sum(not _started(e) for e in history),
        "stopped": sum(e.outcome.stopped for e in history),
        "updates": sum(updates),
        "positives": sum(bool(p) for e, p in zip(history, judged.positive, strict=True) if e.phase == FOREST),
        "voters": len(search.voters),
        "gave_up": outcome.gave_up,
        "threshold": judged.threshold,
        "search_s": float(sum(e.evaluate_s + e.propose_s for e in [*history, *search.finals])) + outcome.choose_s,
        "propose_s": float(sum(e.propose_s for e in history)),
        "kendall_tau": kendall_tau(ranked[known], accuracy[known]),
        "spearman": spearman(ranked[known], accuracy[known]),
        "kendall_tau_trained": kendall_tau(ranked[known & usable], accuracy[known & usable]),
        # Of what the search went by: the same as above where a cheap score has no weight.
        "kendall_tau_scores": kendall_tau(judged.scores[known & usable], accuracy[known & usable]),
        "cheap_slope": judged.weighing.slope,
        "stages": summarize_stages(outcome, accuracies),
        "front": outcome.front,
    }


def summarize_stages(outcome: SearchOutcome, accuracies: AccuracyTable) -> list[dict[str, Any]]:
    """Of a screening, stage by stage: candidates in and out, seconds, and what it has cost in accuracy.

    best_in, best_out: the highest accuracies among them, percent, as far as the table knows them; lost: the difference,
    which mutants of the best make negative now and then. All that is lost adds up to the regret of what was found.
    """
    if outcome.screened is None:
        return []
    drawn, kept = outcome.screened.drawn, outcome.screened.kept
    history, finals = outcome.history, outcome.search.finals
    first = [evaluation for evaluation in history if evaluation.phase == INITIAL]
    screen_s = sum(evaluation.propose_s for evaluation in first)
    propose_s = sum(evaluation.propose_s for evaluation in history) - screen_s
    stages: list[tuple[str, list[Any], float]] = [
        ("drawn at random", drawn, 0.0),
        ("kept by the free score", kept, screen_s),
        ("chosen by the predictor", history.archs, propose_s),
        ("evaluated", history.archs, sum(evaluation.evaluate_s for evaluation in history)),
    ]
    if len(finals):
        stages.append(("finalists", finals.archs, sum(evaluation.evaluate_s for evaluation in finals)))
    stages.append(("the choice", [outcome.found], outcome.choose_s))
    whole = sum(seconds for *_, seconds in stages) or 1.0
    before, count_before, rows = accuracies.best, outcome.search.space.size, []
    for name, archs, seconds in stages:
        best = float(np.nanmax(accuracies.accuracies(archs), initial=-np.inf)) if accuracies else math.nan
        best = best if math.isfinite(best) else math.nan
        rows.append(
            {"stage": name, "in": count_before, "out": len(archs), "seconds": seconds, "share": seconds / whole,
             "best_in": before, "best_out": best, "lost": before - best}
        )  # fmt: skip
        before, count_before = best, len(archs)
    return rows


def _started(evaluation: Evaluation) -> bool:
    """Whether it had a value to begin with: an architecture whose input does not reach its output has none."""
    trajectory = evaluation.outcome.trajectory
    return bool(np.isfinite(trajectory[0])) if len(trajectory) else evaluation.outcome.usable


def _choices(search: FinishedSearch) -> dict[str, Any]:
    """What every rule that can be used on this search would have chosen."""
    found = {}
    for rule in ELECTIONS:
        try:
            found[rule] = choose(rule, search)
        except InputError:  # no votes, nothing to learn from
            continue
    return found
