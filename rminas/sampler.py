"""Which cell to evaluate next: random ones first, then what a random forest expects to be positive."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.spaces import SearchSpace
from rminas.draws import rng_for

QUANTILE_MARGIN = 1e-9  # published: the quantile itself is positive too
VAIN_DRAWS = 1000  # warm-up: draws in a row without an unseen cell after which the space counts as exhausted


@dataclass(frozen=True)
class SamplerSettings:
    """The published values for NAS-Bench-201."""

    warmup: int = 100
    quantile: float = 0.05
    trees: int = 30
    candidates: int = 1000


@dataclass(frozen=True)
class ForestSampler:
    """Proposes cells of a space; `identity` is equal for two cells of which only one is to be evaluated.

    What is proposed depends on the seed, the index of the evaluation and the evaluations before it, on nothing else.
    """

    space: SearchSpace
    settings: SamplerSettings
    seed: int
    identity: Callable[[Any], str]

    def warmup(self, index: int, seen: set[str]) -> Any | None:
        """A random unseen cell, or None when none turned up."""
        rng = rng_for(self.seed, "warmup", index)
        for _ in range(VAIN_DRAWS):
            if self.identity(arch := self.space.sample(rng)) not in seen:
                return arch
        return None

    def warmup_round(self, index: int, count: int, seen: set[str]) -> list[Any]:
        """`count` random cells, unseen and distinct, for the evaluations from `index` on; fewer when none turned up."""
        seen, found = set(seen), []
        for place in range(index, index + count):
            arch = self.warmup(place, seen)
            if arch is None:
                break
            found.append(arch)
            seen.add(self.identity(arch))
        return found

    def propose(self, index: int, count: int, seen: set[str], archs: Sequence[Any], positive: np.ndarray) -> list[Any]:
        """Up to `count` unseen ones of `candidates` random cells, distinct, that the forest expects to be positive.

        The first has the highest probability (published). Each further one is chosen by a random draw of the forest's
        trees, as many as it has, with replacement: cells that only some trees believe in get their turn, which keeps a
        round from being one idea many times (Thompson sampling by bootstrap). Ties go to the cell drawn first.

        Args: archs: the n cells evaluated so far. positive: (n,) bool.
        Returns: none when all the candidates have been seen.
        """
        from sklearn.ensemble import RandomForestClassifier

        rng = rng_for(self.seed, "candidates", index)
        drawn: dict[str, Any] = {}
        for _ in range(self.settings.candidates):
            arch = self.space.sample(rng)
            drawn.setdefault(self.identity(arch), arch)
        unseen = [arch for name, arch in drawn.items() if name not in seen]
        if positive.all() or not positive.any():  # nothing to choose by
            return unseen[:count]
        if not unseen:
            return []
        state = int(rng_for(self.seed, "forest", index).integers(2**31))
        forest = RandomForestClassifier(self.settings.trees, random_state=state)
        forest.fit(self._features(archs), positive)
        features = self._features(unseen)
        chosen = [int(np.argmax(forest.predict_proba(features)[:, 1]))]
        if count > 1:
            votes = np.stack([tree.predict_proba(features)[:, 1] for tree in forest.estimators_])
            picks = rng_for(self.seed, "trees", index)
            while len(chosen) < min(count, len(unseen)):
                belief = votes[picks.integers(len(votes), size=len(votes))].sum(0)
                belief[chosen] = -1
                chosen.append(int(np.argmax(belief)))
        return [unseen[which] for which in chosen]

    def _features(self, archs: Sequence[Any]) -> np.ndarray:
        return self.space.one_hot(self.space.to_codes(archs))


def freeze_threshold(losses: np.ndarray, quantile: float) -> float:
    """The loss below which a cell is positive: the quantile of the warm-up's (n,) losses, plus 1e-9.

    Where infinite losses reach down to the quantile, it is the largest finite loss; NaN when there is none.
    """
    finite = losses[np.isfinite(losses)]
    if not len(finite):
        return math.nan
    with np.errstate(invalid="ignore"):  # inf - inf, between two infinite neighbours
        value = float(np.quantile(losses, quantile))
    return (value if math.isfinite(value) else float(finite.max())) + QUANTILE_MARGIN
