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
    members: str = key("boosting,extra_trees,gp", "names of predictors that see one encoding, separated by commas")


class Ensemble(Predictor):
    """The mean of predictors that all learn normal scores, so that theirs are of one scale.

    The standard deviation: among the members, and within those that know one (on average, in squares).
    """

    name = "ensemble"
    encoding = "graph"
    Settings = EnsembleSettings

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        names = [name.strip() for name in self.settings.members.split(",")]
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
            member.fit(features, values, own)
            on_step(count / len(self.members), np.nan)

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.mean([member.predict(features) for member in self.members], axis=0)

    def predict_with_std(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        made = [member.predict_with_std(features) for member in self.members]
        scores = np.stack([mean for mean, _ in made])
        within = [std**2 for _, std in made if std.any()]
        return scores.mean(0), np.sqrt(scores.var(0) + (np.mean(within, axis=0) if within else 0.0))


class Auto(Ensemble):
    """The strongest predictor for the labels at hand.

    That is the mean of all three members whatever the number of labels: on the development tables (NAS-Bench-201 on
    CIFAR-10 with 78, 156 and 469, NAS-Bench-Macro with 66 and 656) no member alone was better by more than the noise.
    With thousands of labels that was not tried there.
    """

    name = "auto"
