"""The contract of predictors: shown some architectures with their values, they order all others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from common.encoding.base import FeatureSource
from common.errors import InputError

CHUNK = 16_384  # architectures whose features are in memory at once


@dataclass(frozen=True)
class NoSettings:
    """A predictor without hyper-parameters."""


class Predictor(ABC):
    """Learns to order architectures from features and values.

    A member implements `fit` and `predict` on arrays and says which encoding it takes; `common.predictors.Ranker`
    joins it with a space and an encoding, so that whole tables go in and architectures come out. What `fit` learns is
    in attributes that it sets; it may be called again and then starts anew.

    name: in its registry. encoding: the default one, names joined by "+" (`make_encoding`). Settings: a frozen
    dataclass of its hyper-parameters (fields made by `common.runs.config.key`); they become PREDICTOR.* settings on the
    command line.
    """

    name: ClassVar[str]
    encoding: ClassVar[str] = "one_hot+costs"
    Settings: ClassVar[type] = NoSettings
    device: str = "auto"  # of common.devices.DEVICES: where members that use torch compute
    groups: np.ndarray | None = None  # (D,) of the columns of flat features, set before `fit`: Encoding.groups

    def __init__(self, settings: Any = None) -> None:
        self.settings = settings if settings is not None else self.Settings()

    def check(self, shape: tuple[int, ...]) -> None:
        """Raises InputError for a shape of one architecture's features that it cannot learn from: by default all but
        flat ones, (D,)."""
        if len(shape) != 1:
            raise InputError(f"predictor {self.name!r} learns from flat features, such as one_hot+costs, not {shape}")

    @abstractmethod
    def fit(
        self,
        features: np.ndarray,
        values: np.ndarray,
        rng: np.random.Generator,
        on_step: Callable[[float, float], object] = lambda done, tau: None,
    ) -> None:
        """Learns from n >= 2 architectures.

        Args:
            features: (n, *shape) raw features. values: (n,) finite, higher is better.
            rng: decides everything that is drawn. on_step: may be told the share done in [0, 1], and Kendall's tau on
            the training architectures (NaN where it is not known).
        """

    @abstractmethod
    def predict(self, features: np.ndarray) -> np.ndarray:
        """(m,) scores of (m, *shape) raw features; higher is better, any scale."""

    def predict_with_std(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores (m,) and how unsure they are, standard deviations (m,) on the scores' scale; zeros where not known."""
        scores = self.predict(features)
        return scores, np.zeros(len(scores))

    def score(self, source: FeatureSource, on_scored: Callable[[int], object] = lambda count: None) -> np.ndarray:
        """Scores (N,) of everything in `source`, chunk by chunk; `on_scored` gets each finished chunk's size.

        Raises: InputError for a member whose `predict` gives anything but one score each.
        """
        scores = np.empty(len(source), dtype=np.float64)
        for start in range(0, len(source), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(source)))
            made = np.asarray(self.predict(source.rows(rows)))
            if made.shape != rows.shape:
                raise InputError(
                    f"predictor {self.name!r}: predict gives an array {made.shape} for {len(rows)} architectures, "
                    f"expected one score each, ({len(rows)},)"
                )
            scores[rows] = made
            on_scored(len(rows))
        return scores

    def details(self) -> dict[str, Any]:
        """What a record of a run should hold of the last fit (curves, the epoch that was kept), as JSON can."""
        return {}

    # A saved predictor must run no code when it is loaded, so its state is arrays. By default none are kept and `load`
    # fits again on the saved training data; members whose fitting is dear keep what they have learnt.

    def state(self) -> dict[str, np.ndarray] | None:
        """What has been learnt, as arrays without objects; None: to be fitted again from the training data."""
        return None

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes what `state` gave."""
        raise NotImplementedError(f"{type(self).__name__} has no state to restore")
