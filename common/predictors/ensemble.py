"""Several predictors as one: their mean orders better than any of them, and where they disagree they are unsure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import InputError
from common.predictors.base import Predictor
from common.predictors.registry import PREDICTORS
from common.runs.config import key


@dataclass(frozen=True)
class EnsembleSettings:
    members: str = key("boosting,extra_trees*0.5,gp*1.5,svr*0.5",
        "names of predictors that see one encoding, separated by commas; a weight other than 1 follows *")  # fmt: skip


class Ensemble(Predictor):
    """The weighted mean of predictors that all learn normal scores, so that theirs are of one scale.

    The standard deviation: among the members, and within those that know one (on average, in squares).
    """

    name = "ensemble"
    encoding = "graph"
    Settings = EnsembleSettings

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        parts = [member.partition("*") for member in self.settings.members.split(",")]
        names = [name.strip() for name, _, _ in parts]
        try:
            weights = np.array([float(weight or 1) for _, _, weight in parts])
        except ValueError:
            weights = np.array([np.nan])
        if not (np.isfinite(weights).all() and (weights > 0).all()):
            raise InputError(f"predictor {self.name}: members {self.settings.members!r}: weights are numbers above 0")
        self.weights = weights / weights.sum()
        classes = [PREDICTORS.load(name) for name in names]
        for name, member in zip(names, classes, strict=True):
            if issubclass(member, Ensemble):
                raise InputError(f"predictor {self.name}: member {name!r} is an ensemble itself")
        self.members: list[Predictor] = [member() for member in classes]

    def fit(
        self,
        features: np.ndarray,
        values: np.ndarray,
        rng: np.random.Generator,
        on_step: Callable[[float, float], object] = lambda done, tau: None,
    ) -> None:
        for count, (member, own) in enumerate(zip(self.members, rng.spawn(len(self.members)), strict=True), start=1):
            member.groups = self.groups
            member.fit(features, values, own)
            on_step(count / len(self.members), np.nan)

    def predict(self, features: np.ndarray) -> np.ndarray:
        return self.weights @ np.stack([member.predict(features) for member in self.members])

    def predict_with_std(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        made = [member.predict_with_std(features) for member in self.members]
        scores = np.stack([mean for mean, _ in made])
        mean = self.weights @ scores
        variance = self.weights @ (scores - mean) ** 2
        known = [number for number, (_, std) in enumerate(made) if std.any()]
        if known:
            variance += np.average([made[number][1] ** 2 for number in known], axis=0, weights=self.weights[known])
        return mean, np.sqrt(variance)


class Auto(Ensemble):
    """The strongest predictor for tens to thousands of labels.

    Members and weights were chosen on the development tables of docs/results/predictors.md: most to the Gaussian
    process, which knows best with few labels, least to extra trees, which need many.
    """

    name = "auto"
