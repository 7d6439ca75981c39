"""Active search with a predictor: fit it to what was evaluated, evaluate what it finds promising or unsure, again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from common.errors import InputError
from common.predictors.base import CHUNK, Predictor
from common.predictors.ranker import Ranker, make_predictor
from common.runs.config import at_least, key, one_of
from common.search.base import EXHAUSTED, Proposal, Strategy
from common.search.candidates import Candidates, Pool
from common.search.history import History
from common.seeds import rng_for
from common.spaces.base import SearchSpace

PREDICTOR = "gp"
PARENTS = 10  # of the candidates in a space that is not listed: the best architectures evaluated
LIMIT = 2**30  # bytes of a pool's features up to which they are kept


@dataclass(frozen=True)
class ActiveSettings:
    """The defaults were chosen on the development problems of docs/results/search.md."""

    initial: int = key(20, "random architectures to begin with", at_least(2))
    batch: int = key(5, "architectures evaluated before the predictor is fitted again", at_least(1))
    acquisition: str = key("ucb", "ucb, ei or thompson: what the predictor's mean and deviation are worth together",
        one_of("ucb", "ei", "thompson"))  # fmt: skip
    kappa: float = key(1.0, "weight of the deviation: its mean over a batch (ucb), or of every draw (thompson)",
        at_least(0))  # fmt: skip
    candidates: int = key(2000, "mutants and random draws to choose from, where there is no pool", at_least(10))


@dataclass(frozen=True)
class Scores:
    """Of m candidates: mean and std (m,) by the predictor, and best: its highest mean among the evaluated ones.

    trained: (n,) its means of the evaluated ones whose values are known, in their order.
    """

    mean: np.ndarray
    std: np.ndarray
    best: float
    trained: np.ndarray = field(default_factory=lambda: np.empty(0))


class ActiveSearch(Strategy):
    """Evaluates random architectures first, then in rounds those that are worth most to a predictor of all before.

    Candidates are all members of a pool; in a whole space, mutants of the best architectures so far and as many random
    ones. An architecture that failed counts as the worst so far; one whose value is not known is not learnt from.
    """

    name = "active"
    Settings: ClassVar[type] = ActiveSettings
    settings: ActiveSettings

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        settings: ActiveSettings | None = None,
        pool: Candidates | Sequence[Any] | None = None,
        predictor: Ranker | type[Predictor] | str | None = None,
        encoding: str | None = None,
    ) -> None:
        """predictor, encoding: a ranker as `make_predictor` makes it, or what it takes; see PREDICTOR for the default.

        Raises: InputError for an unknown name, or an encoding that the space does not have.
        """
        super().__init__(space, seed, settings, pool)
        made = predictor if isinstance(predictor, Ranker) else make_predictor(predictor or PREDICTOR, encoding)
        self.predictor, self.encoding = made.predictor, made.encoding
        self.encoding.check(space)
        self.groups = self.encoding.groups(space)

    def propose(self, history: History, room: int) -> Proposal:
        missing = self.settings.initial - len(history)
        if missing > 0:
            return self.random_round(history, min(room, missing), "initial")
        count = min(room, self.settings.batch)
        values = learnable_values(history.values)
        known = np.flatnonzero(~np.isnan(values))
        if len(known) < 2:  # nothing to compare: more at random
            return self.random_round(history, count, self.name)
        chosen = self._chosen(history, values, known, count)
        return Proposal(chosen, self.name, ended="" if chosen else EXHAUSTED)

    def _chosen(self, history: History, values: np.ndarray, known: np.ndarray, count: int) -> list[Any]:
        if isinstance(self.candidates, Pool):
            return self._best_of_pool(self.candidates, history, values, known, count)
        return self._best_of_space(history, values, known, count)

    def _best_of_pool(
        self, pool: Pool, history: History, values: np.ndarray, known: np.ndarray, count: int
    ) -> list[Any]:
        left = np.flatnonzero(pool.unseen(pool.keys(history.archs)))
        if not len(left):
            return []
        features = pool.features(self.encoding, LIMIT)
        inside = [pool.index(history[int(place)].arch) for place in known]
        if any(index is None for index in inside):
            raise InputError("the history holds an architecture that the pool lacks")
        rows = np.array(inside, dtype=np.int64)
        scores = self._scores(features(rows), values[known], features, left, len(history))
        chosen = self.choose_from(pool.codes[left], scores, count, history)
        return [pool.arch(int(left[place])) for place in chosen]

    def _best_of_space(self, history: History, values: np.ndarray, known: np.ndarray, count: int) -> list[Any]:
        candidates = self._candidates(history, values)
        if not candidates:
            return []
        codes = self.space.to_codes(candidates)
        trained = self.space.to_codes([history[int(place)].arch for place in known])
        scores = self._scores(
            self.encoding.encode(self.space, trained),
            values[known],
            lambda rows: self.encoding.encode(self.space, codes[rows]),
            np.arange(len(candidates)),
            len(history),
        )
        return [candidates[place] for place in self.choose_from(codes, scores, count, history)]

    def _candidates(self, history: History, values: np.ndarray) -> list[Any]:
        """Unseen mutants of the best architectures, a few mutations away or one, and as many random ones."""
        rng = rng_for(self.seed, "candidates", len(history))
        seen = self.candidates.keys(history.archs)
        parents = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")[:PARENTS]
        found: list[Any] = []
        for _ in range(self.settings.candidates // 2):
            mutant = history[int(rng.choice(parents))].arch
            for _ in range(int(rng.integers(1, 4))):
                mutant = self.space.mutate(mutant, rng)
            mutant_key = self.candidates.key(mutant)
            if mutant_key not in seen:
                seen.add(mutant_key)
                found.append(mutant)
        found = self.candidates.within(found)
        return found + self.candidates.random(self.settings.candidates - len(found), rng, seen)

    def _scores(
        self,
        trained: np.ndarray,
        values: np.ndarray,
        features: Callable[[np.ndarray], np.ndarray],
        rows: np.ndarray,
        place: int,
    ) -> Scores:
        """Fits the predictor to features (n, ...) and values (n,), and scores `rows` (m,) of all features."""
        self.predictor.groups = self.groups
        self.predictor.fit(trained, values, rng_for(self.seed, "predictor", place))
        chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
        made = [self.predictor.predict_with_std(features(chunk)) for chunk in chunks]
        mean, std = (np.concatenate([part[i] for part in made]).astype(np.float64) for i in (0, 1))
        known = self.predictor.predict(trained)
        return Scores(mean, std, float(np.max(known)), known)

    def choose_from(self, codes: np.ndarray, scores: Scores, count: int, history: History) -> list[int]:
        """The `count` of m candidates (m, code_length) that are evaluated next."""
        return self.choose(scores, count, len(history))

    def choose(self, scores: Scores, count: int, place: int) -> list[int]:
        """The `count` candidates of highest acquisition, each once.

        ucb: mean + k * std, every one of a batch with a k of its own from the exponential distribution of mean `kappa`
        (Hutter, Hoos and Leyton-Brown, LION 2012): some of a batch are safe, some daring. thompson: a draw from
        N(mean, (kappa * std)^2). ei: the expected improvement over `scores.best`.
        """
        rng = rng_for(self.seed, "acquisition", place)
        mean, std, kappa = np.nan_to_num(scores.mean, nan=-np.inf), scores.std, self.settings.kappa
        if self.settings.acquisition == "ucb":
            worth = (mean + weight * std for weight in kappa * rng.exponential(size=count))
        elif self.settings.acquisition == "thompson":
            worth = (mean + kappa * std * rng.standard_normal(len(mean)) for _ in range(count))
        else:
            improvement = expected_improvement(mean, std, scores.best)
            worth = (improvement for _ in range(count))
        chosen: list[int] = []
        open_ = np.ones(len(mean), dtype=bool)
        for values in worth:
            if not open_.any():
                break
            best = int(np.argmax(np.where(open_, values, -np.inf)))
            if not open_[best]:  # all that is left has no score
                best = int(np.argmax(open_))
            open_[best] = False
            chosen.append(best)
        return chosen


def learnable_values(values: np.ndarray) -> np.ndarray:
    """(n,) values with failures, -inf, at the lowest finite value; NaN, for what is not known, stays."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.full(len(values), np.nan)
    return np.where(np.isneginf(values), finite.min(), values)


def expected_improvement(mean: np.ndarray, std: np.ndarray, best: float) -> np.ndarray:
    """(m,) E[max(x - best, 0)] for x ~ N(mean, std^2); without deviation, as far as the mean is above or below."""
    from scipy.stats import norm

    gain = mean - best
    sure = std <= 0
    z = gain / np.where(sure, 1.0, std)
    return np.where(sure, gain, gain * norm.cdf(z) + std * norm.pdf(z))
