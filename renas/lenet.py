"""The network of ReNAS and the standardisation in front of it: the released demo's LeNet over feature tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn


class LeNet(nn.Module):
    """The demo's predictor: two 3x3 convolutions with batch norm, three dense layers; (n, C, V, V) -> (n,).

    The demo's first layer doubles 19 channels to 38; tensors of C channels get max(38, 2C), so that a type matrix
    alone (C = 1) is not throttled to two channels.

    May be edited or replaced (`LeNetPredictor.network`) as one likes: the fast path of `renas.fast` steps aside for
    anything that does not compute exactly this.
    """

    def __init__(self, channels: int, vertices: int) -> None:
        super().__init__()
        width = max(38, 2 * channels)
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 128, 3, padding=1),
            nn.BatchNorm2d(128),
            nn.ReLU(),
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(128 * vertices**2, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x)).squeeze(1)


@dataclass(frozen=True)
class Standardizer:
    """Mean and scale of every tensor entry over the training architectures, as scikit-learn's StandardScaler has them.

    An entry that is constant over the training architectures is only centred.
    """

    mean: np.ndarray  # (C, V, V) float64
    scale: np.ndarray

    @classmethod
    def fit(cls, tensors: np.ndarray) -> Standardizer:
        wide = tensors.astype(np.float64)
        constant = wide.max(0) == wide.min(0)
        return cls(np.where(constant, wide[0], wide.mean(0)), np.where(constant, 1.0, wide.std(0)))

    def __call__(self, tensors: np.ndarray) -> np.ndarray:
        """(n, C, V, V) float32, computed in float64."""
        with np.errstate(over="ignore"):  # an infinite feature gives a score that is not finite, which is noticed
            return ((tensors - self.mean) / self.scale).astype(np.float32)
