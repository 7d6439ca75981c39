"""Plain: the first-order change of the loss when all weights of an untrained network are left out."""

from __future__ import annotations

from common.evaluators.passes import GRADIENTS, Pass, reads


@reads(GRADIENTS)
def plain(run: Pass) -> float:
    """sum over the weights of convolutional and linear layers of w dL/dw, L the cross-entropy of the batch.

    SNIP without the absolute value, a baseline of NAS-Bench-Suite-Zero: in front of a batch norm a layer adds nothing,
    since the scale of its weights changes no output. One forward and one backward pass, in train mode.
    """
    return sum(float((w * g).sum()) for w, g in zip(run.weights, run.weight_gradients, strict=True))
