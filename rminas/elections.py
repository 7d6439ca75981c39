"""How the result of a search is chosen from its history, by name. A new way is one function and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import InputError
from common.evaluators.combination import combine
from common.registry import Registry
from common.search.active import PREDICTOR
from common.search.candidates import Candidates
from common.search.history import History
from common.spaces.base import SearchSpace
from rminas.forest import Judgement
from rminas.model import LossModel
from rminas.race import predict_last_losses
from rminas.rng import rng_for
from rminas.vote import vote_greedy, vote_index, vote_sum

# Name -> function from a FinishedSearch to an architecture.
ELECTIONS = Registry(
    "way to choose the result",
    {
        "sum": "rminas.elections:choose_by_sum",
        "greedy": "rminas.elections:choose_by_greedy",
        "index": "rminas.elections:choose_by_index",
        "model": "rminas.elections:choose_by_model",
        "best": "rminas.elections:choose_best",
        "smoothed": "rminas.elections:choose_by_smoothed",
    },
)


@dataclass(frozen=True)
class FinishedSearch:
    """What the result is chosen from.

    top: positives that vote at most. finals: evaluations of the finalists by another evaluator; empty without any.
    candidates: what may be chosen; None: all.
    """

    space: SearchSpace
    seed: int
    history: History
    judged: Judgement
    top: int = 50
    finals: History = field(default_factory=History)
    candidates: Candidates | None = None

    @property
    def voters(self) -> list[int]:
        """Indices of the positives that vote, highest score first; of finalists, if there are any, by both scores."""
        if len(self.finals):
            return self.best_finalists[: self.top]
        order = np.argsort(-self.judged.scores, kind="stable")
        return [int(i) for i in order if self.judged.positive[i]][: self.top]

    @property
    def best_finalists(self) -> list[int]:
        """Indices of the finalists by the sum of the log ranks of the scores and of what the other evaluator says."""
        places = {arch: place for place, arch in enumerate(self.history.archs)}
        indices = [places[arch] for arch in self.finals.archs]
        values = np.nan_to_num(self.finals.values, nan=-np.inf)
        both = combine(np.array([self.judged.scores[indices], values]))
        return [indices[place] for place in np.argsort(-both, kind="stable")]


def choose(rule: str, search: FinishedSearch) -> Any:
    """The architecture that a member of ELECTIONS, or the user's own, chooses.

    Raises: InputError when the rule is not known or cannot be used on this search.
    """
    return ELECTIONS.make(rule, search)


def choose_by_sum(search: FinishedSearch) -> Any:
    """Every position's most frequent choice among the voters (published)."""
    return _choose_by_votes(search, vote_sum)


def choose_by_greedy(search: FinishedSearch) -> Any:
    """Position by position, the most frequent successor (published for NAS-Bench-201)."""
    return _choose_by_votes(search, vote_greedy)


def choose_by_index(search: FinishedSearch) -> Any:
    """The archive's rule for DARTS."""
    return _choose_by_votes(search, vote_index)


def _choose_by_votes(search: FinishedSearch, votes: Callable[[np.ndarray, int], np.ndarray]) -> Any:
    space, history = search.space, search.history
    if not search.voters:
        raise InputError("no architecture was positive, so that none can vote: RMINAS.VOTE best chooses without votes")
    voters = [history[i].arch for i in search.voters]
    codes = space.to_codes(voters)
    counts = votes(codes, space.choices)
    arch = space.most_voted(counts)
    if space.reaches_output(arch) and (search.candidates is None or search.candidates.within([arch])):
        return arch
    # The most frequent choices need not make a network together (NAS-Bench-101), nor one within the limits: then the
    # voter that has most of them.
    return voters[int(counts[np.arange(codes.shape[1]), codes].sum(1).argmax())]


def choose_by_model(search: FinishedSearch) -> Any:
    """The least loss, weighed as the search does, that a model of all evaluations predicts.

    Those that diverged count as the worst; stopped ones as their last known loss predicts. Values that are no losses
    are modelled as they are.
    """
    history, weighing = search.history, search.judged.weighing
    losses = np.array([-evaluation.value for evaluation in history])
    if (losses[np.isfinite(losses)] > 0).all():
        trajectories = [-e.outcome.trajectory if len(e.outcome.trajectory) else np.array([-e.value]) for e in history]
        trained = [i for i, trajectory in enumerate(trajectories) if np.isfinite(trajectory[0])]
        losses = predict_last_losses([trajectories[i] for i in trained])
    else:
        trained = [i for i in range(len(history)) if np.isfinite(losses[i])]
        losses = losses[trained]
    if not np.isfinite(losses).any():
        raise InputError("no architecture has a value to learn a model from")
    archs = [history[i].arch for i in trained]
    model = LossModel.fit(search.space, archs, np.where(np.isfinite(losses), losses, losses[np.isfinite(losses)].max()))
    return model.least(archs, rng_for(search.seed, "model"), weighing.penalties, search.candidates)


def choose_best(search: FinishedSearch) -> Any:
    """The evaluated architecture of the highest score, the earliest of equals; of finalists, by both scores."""
    if len(search.finals):
        return search.history[search.best_finalists[0]].arch
    return search.history[int(np.argmax(search.judged.scores))].arch


def choose_by_smoothed(search: FinishedSearch) -> Any:
    """The evaluated architecture that a Gaussian process on graph features has for the best, learnt from all scores.

    Those without a finite score count as the worst. Raises: InputError when fewer than two have one, or the space has
    no graph features.
    """
    from common.predictors import make_predictor

    archs, scores = search.history.archs, search.judged.scores
    finite = np.isfinite(scores)
    if finite.sum() < 2:
        raise InputError("fewer than two architectures have a value: there is nothing to smooth")
    scores = np.where(finite, scores, scores[finite].min())
    model = make_predictor(PREDICTOR).fit(archs=archs, values=scores, space=search.space)
    return archs[int(np.argmax(model.predict(archs)))]
