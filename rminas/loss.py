"""What a candidate is trained on: similarity to the teacher's representations, and a little cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rminas.similarity import CENTRINGS, grams, unit


@dataclass(frozen=True)
class RmiLoss:
    """beta * sum over stages of (1 - CKA(candidate, teacher)) + (1 - beta) * cross-entropy; lower is better.

    The teacher enters as one centred Gram matrix a stage, of norm 1 and made once. Since it is centred, the inner
    product with it needs no centring of the candidate's; that one's norm does.
    """

    targets: Tensor  # (S, B, B)
    labels: Tensor  # (B,) int64
    beta: float
    hsic: str

    @classmethod
    def of(cls, teacher_taps: Sequence[Tensor], labels: Tensor, beta: float = 0.8, hsic: str = "biased") -> RmiLoss:
        """From the teacher's taps, each (B, ...), and the labels (B,) of the same images; hsic: a key of CENTRINGS."""
        return cls(unit(CENTRINGS[hsic](grams([tap.detach() for tap in teacher_taps]))), labels, beta, hsic)

    def __call__(self, logits: Tensor, taps: Sequence[Tensor]) -> Tensor:
        """The loss, a scalar, of logits (B, classes) and S taps (B, ...)."""
        return self._loss(_wide(logits), grams([_wide(tap) for tap in taps]))

    def each(self, logits: Tensor, taps: Sequence[Tensor]) -> Tensor:
        """The losses (K,) of K candidates: logits (K, B, classes), S taps (K, B, features)."""
        taps = [_wide(tap) for tap in taps]
        return self._loss(_wide(logits), torch.stack([tap @ tap.mT for tap in taps], 1))

    def _loss(self, logits: Tensor, own: Tensor) -> Tensor:
        """Of logits (..., B, classes) and Gram matrices (..., S, B, B)."""
        cka = (unit(CENTRINGS[self.hsic](own)) * self.targets).sum((-2, -1))
        cross_entropy = -logits.log_softmax(-1).gather(-1, self.labels.expand(logits.shape[:-1]).unsqueeze(-1))
        return self.beta * (1 - cka).sum(-1) + (1 - self.beta) * cross_entropy.mean((-2, -1))


def _wide(x: Tensor) -> Tensor:
    """At least float32: similarities close to 1 need the digits."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
