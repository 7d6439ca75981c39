"""RMI-NAS's search (Zheng et al., CVPR 2022): random architectures, then those that a forest expects to be the best.

The warm-up evaluates random architectures. A quantile of their scores is frozen as the threshold above which an
architecture is positive. From then on a random forest that tells positives from others, learnt anew each time, chooses
the next architecture out of random ones, until enough positives were found. Then the best positives vote (`elections`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from common.errors import InputError
from common.runs.config import at_least, between, key
from common.search.base import Proposal, Strategy
from common.search.candidates import Candidates
from common.search.history import History
from common.spaces.base import SearchSpace
from rminas.cheap import NO_WEIGHING, CheapScore, Weighing
from rminas.rng import rng_for

WARMUP, FOREST = "warmup", "forest"
QUANTILE_MARGIN = 1e-9  # published: the quantile itself is positive too
MAX_DRAWS = 1000  # draws in a row without a new architecture after which the space counts as exhausted


@dataclass(frozen=True)
class ForestSettings:
    """The defaults are the published values for NAS-Bench-201; the last three are not in the paper."""

    warmup: int = key(100, "random architectures before the forest chooses", at_least(2))
    quantile: float = key(0.05, "of the warm-up that is positive", between(0, 1))
    positives: int = key(100, "positives after the warm-up that end the search", at_least(0))
    trees: int = key(30, "trees of the forest", at_least(1))
    candidates: int = key(1000, "random architectures that the forest chooses from", at_least(1))
    round: int = key(1, "architectures proposed at once, to be evaluated side by side", at_least(1))
    first_round: int = key(
        0, "architectures of the warm-up's first round, by which a race judges the others; 0: all of it", at_least(0)
    )
    isomorphic_once: bool = key(False, "evaluate one architecture of each isomorphism class only")


@dataclass(frozen=True)
class Judgement:
    """What a search makes of its history.

    scores: (n,) what it goes by, higher is better: the values, or what a cheap score has made of them (weighing).
    threshold: the score above which an architecture is positive; NaN before there is any. positive: (n,) bool.
    """

    scores: np.ndarray
    threshold: float
    positive: np.ndarray
    weighing: Weighing


class ForestSearch(Strategy):
    """The strategy. A cheap score is a second opinion beside the values; without one, values are scores (published)."""

    name = "forest"
    Settings: ClassVar[type] = ForestSettings
    settings: ForestSettings

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        settings: ForestSettings | None = None,
        pool: Candidates | Sequence[Any] | None = None,
        cheap: CheapScore | None = None,
    ) -> None:
        super().__init__(space, seed, settings, pool)
        self.cheap = cheap

    def propose(self, history: History, room: int) -> Proposal:
        s = self.settings
        if len(history) < s.warmup:
            archs = self._random(history, min(self._warmup_round(history), room))
            return Proposal(archs, WARMUP, "" if archs else self._exhausted(history, 0))
        judged = self.judge(history)
        found = int(judged.positive[s.warmup :].sum())
        if found >= s.positives:
            return Proposal()
        archs = self.likely_positive(history, judged.positive, min(s.round, room))
        return Proposal(archs, FOREST, "" if archs else self._exhausted(history, found))

    def judge(self, history: History) -> Judgement:
        """Scores, threshold and positives of a history. Raises InputError where nothing in the warm-up has a value."""
        warmup = self.settings.warmup
        weighing = NO_WEIGHING
        if self.cheap is not None:  # learnt from random architectures that were neither chosen nor stopped by losses
            weighing = self.cheap.learn(history[: min(self.settings.first_round or warmup, warmup)])
        values = np.where(np.isnan(history.values), -np.inf, history.values)
        scores = weighing.scores(values, history.archs)
        threshold = freeze_threshold(scores[:warmup], self.settings.quantile)
        if math.isnan(threshold) and len(history) >= warmup:
            raise InputError(
                f"none of the {warmup} cells of the warm-up has a finite value: lower OPTIM.BASE_LR if losses diverge"
            )
        return Judgement(scores, threshold, scores > threshold, weighing)

    def _warmup_round(self, history: History) -> int:
        s = self.settings
        left = s.warmup - len(history)
        if not s.first_round:
            return left
        return min(left, max(s.round, s.first_round // 2) if len(history) else s.first_round)

    def _random(self, history: History, count: int) -> list[Any]:
        """`count` random architectures, new and distinct; fewer where none turned up."""
        identity, archs = self._identity, []
        seen = {identity(arch) for arch in history.archs}
        for index in range(len(history), len(history) + count):
            rng = rng_for(self.seed, "warmup", index)
            drawn = (self.candidates.sample(rng) for _ in range(MAX_DRAWS))
            arch = next((arch for arch in drawn if identity(arch) not in seen), None)
            if arch is None:
                break
            archs.append(arch)
            seen.add(identity(arch))
        return archs

    def likely_positive(self, history: History, positive: np.ndarray, count: int) -> list[Any]:
        """Up to `count` new ones of the random candidates, distinct, that the forest expects to be positive.

        The first has the highest probability (published). Each further one is chosen by a random draw of the forest's
        trees, as many as it has, with replacement: architectures that only some trees believe in get their turn, which
        keeps a round from being one idea many times (Thompson sampling by bootstrap). Ties go to what was drawn first.
        """
        from sklearn.ensemble import RandomForestClassifier

        index, identity = len(history), self._identity
        rng = rng_for(self.seed, "candidates", index)
        drawn: dict[str, Any] = {}
        for _ in range(self.settings.candidates):
            arch = self.candidates.sample(rng)
            drawn.setdefault(identity(arch), arch)
        seen = {identity(arch) for arch in history.archs}
        new = [arch for name, arch in drawn.items() if name not in seen]
        if not new or positive.all() or not positive.any():  # nothing to choose from or by
            return new[:count]
        state = int(rng_for(self.seed, "forest", index).integers(2**31))
        forest = RandomForestClassifier(self.settings.trees, random_state=state)
        forest.fit(self._features(history.archs), positive)
        features = self._features(new)
        chosen = [int(np.argmax(forest.predict_proba(features)[:, 1]))]
        if count > 1:
            votes = np.stack([tree.predict_proba(features)[:, 1] for tree in forest.estimators_])
            picks = rng_for(self.seed, "trees", index)
            while len(chosen) < min(count, len(new)):
                belief = votes[picks.integers(len(votes), size=len(votes))].sum(0)
                belief[chosen] = -1
                chosen.append(int(np.argmax(belief)))
        return [new[which] for which in chosen]

    def _features(self, archs: list[Any]) -> np.ndarray:
        return self.space.one_hot(self.space.to_codes(archs))

    @property
    def _identity(self) -> Callable[[Any], str]:
        """Equal for two architectures of which only one is to be evaluated."""
        return self.space.canonical_key if self.settings.isomorphic_once else self.space.format

    def _exhausted(self, history: History, found: int) -> str:
        return (
            f"{found} of {self.settings.positives} positives when no unevaluated cell turned up after {len(history)} "
            "evaluations"
        )


def freeze_threshold(scores: np.ndarray, quantile: float) -> float:
    """The score above which an architecture is positive: that of the best `quantile` of (n,), less a margin of 1e-9.

    Where scores of -inf reach up to the quantile, it is the lowest finite score; NaN when there is none.
    """
    losses = -scores  # as published: the quantile of losses, plus the margin
    finite = losses[np.isfinite(losses)]
    if not len(finite):
        return math.nan
    with np.errstate(invalid="ignore"):  # inf - inf, between two infinite neighbours
        value = float(np.quantile(losses, quantile))
    value = value if math.isfinite(value) else float(finite.max())
    return -max(value + QUANTILE_MARGIN, math.nextafter(value, math.inf))  # a margin that large numbers do not swallow
