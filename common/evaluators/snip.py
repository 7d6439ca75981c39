"""SNIP: how much the loss of an untrained network would change without its weights (Lee et al. 2019)."""

from __future__ import annotations

from common.evaluators.passes import GRADIENTS, Pass, reads


@reads(GRADIENTS)
def snip(run: Pass) -> float:
    """sum over the weights of convolutional and linear layers of |w dL/dw|, L the cross-entropy of the batch.

    Lee, Ajanthan & Torr, SNIP: Single-shot Network Pruning based on Connection Sensitivity, ICLR 2019, equation 5,
    added up over the network as by Abdelfattah et al. (ICLR 2021). One forward and one backward pass, in train mode.
    """
    return sum(float((w * g).abs().sum()) for w, g in zip(run.weights, run.weight_gradients, strict=True))
