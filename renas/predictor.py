"""The predictor of ReNAS: a LeNet over feature tensors, and scoring any number of architectures with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from common.benchmarks.table import FeatureSource

SCORE_CHUNK = 2048  # architectures encoded at once
SCORE_BATCH = 256  # architectures per forward pass: their activations stay in the CPU's caches


class LeNet(nn.Module):
    """The demo's predictor: two 3x3 convolutions with batch norm, three dense layers; (n, C, V, V) -> (n,).

    The demo's first layer doubles 19 channels to 38; tensors of C channels get max(38, 2C), so that a type matrix
    alone (C = 1) is not throttled to two channels.
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
        return ((tensors - self.mean) / self.scale).astype(np.float32)


@dataclass(frozen=True)
class FittedPredictor:
    """A trained predictor with its standardisation: raw feature tensors in, scores out (higher is better)."""

    network: LeNet
    standardizer: Standardizer
    device: torch.device

    @torch.inference_mode()
    def predict(self, tensors: np.ndarray) -> np.ndarray:
        """Scores (n,) float32 of raw feature tensors (n, C, V, V)."""
        self.network.eval()
        inputs = torch.from_numpy(self.standardizer(tensors))
        parts = [self.network(part.to(self.device)) for part in inputs.split(SCORE_BATCH)]
        return torch.cat(parts).cpu().numpy() if parts else np.zeros(0, dtype=np.float32)

    def score(self, source: FeatureSource, on_scored: Callable[[int], object] = lambda count: None) -> np.ndarray:
        """Scores (N,) float32 of everything in `source`, encoded chunk by chunk; `on_scored` gets each chunk's size."""
        scores = np.empty(len(source), dtype=np.float32)
        for start in range(0, len(source), SCORE_CHUNK):
            chunk = np.arange(start, min(start + SCORE_CHUNK, len(source)))
            scores[chunk] = self.predict(source.rows(chunk))
            on_scored(len(chunk))
        return scores
