"""What every network of the toolkit offers: logits, and the features that representation-based methods compare."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

from torch import Tensor, nn

MODES = ("eval", "train")


class TappedNetwork(nn.Module, ABC):
    """A network whose intermediate features can be read.

    Subclasses implement `forward_taps`; `forward` is then an ordinary classifier.
    """

    @abstractmethod
    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits (B, classes) and the tapped features, each (B, C, H, W), shallow to deep."""

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_taps(x)[0]


def in_mode(network: nn.Module, mode: str) -> nn.Module:
    """The network in the mode "eval", or for "train" a copy in train mode: batch norm on the statistics of the batch.

    A copy, because in train mode every forward pass also moves the running statistics.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; choose from {', '.join(MODES)}")
    return network.eval() if mode == "eval" else copy.deepcopy(network).train()
