"""What every network of the toolkit offers: logits, and the features that representation-based methods compare."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class TappedNetwork(nn.Module, ABC):
    """A network whose intermediate features can be read.

    Subclasses implement `forward_taps`; `forward` is then an ordinary classifier.
    """

    @abstractmethod
    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits (B, classes) and the tapped features, each (B, C, H, W), shallow to deep."""

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_taps(x)[0]
