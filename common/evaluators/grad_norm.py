"""Gradient norm: how strongly the loss of an untrained network pulls at its weights (Abdelfattah et al. 2021)."""

from __future__ import annotations

from common.evaluators.passes import GRADIENTS, Pass, reads


@reads(GRADIENTS)
def grad_norm(run: Pass) -> float:
    """sum over convolutional and linear layers of || dL/dW ||_2, L the cross-entropy of the batch.

    Abdelfattah, Mehrotra, Dudziak & Lane, Zero-Cost Proxies for Lightweight NAS, ICLR 2021, section 3.2. One forward
    and one backward pass, in train mode.
    """
    return sum(float(gradient.norm()) for gradient in run.weight_gradients)
