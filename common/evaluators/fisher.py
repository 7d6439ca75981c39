"""Fisher: how much the loss of an untrained network would change without its channels (Turner et al. 2020)."""

from __future__ import annotations

from common.evaluators.passes import GRADIENTS, Pass, reads


@reads(GRADIENTS)
def fisher(run: Pass) -> float:
    """sum over layers l and channels c of n_l / 2 * mean over images of (sum over pixels of a dL/da)^2.

    a: the output of a convolutional or linear layer; n_l: the number of weights behind one of its channels.
    Theis, Korshunova, Tejani & Huszar (2018), equation 11; as a score of architectures by Turner et al., BlockSwap,
    ICLR 2020; weighted by n_l as in the code of Abdelfattah et al. (ICLR 2021), where every weight gets its channel's
    value. L is the batch's mean cross-entropy. One forward and one backward pass, in train mode.
    """
    total = 0.0
    for weight, calls in zip(run.weights, run.outputs, strict=True):
        for output, gradient in calls:
            product = output * gradient
            by_channel = product.flatten(2).sum(2) if product.dim() > 2 else product
            total += float(by_channel.square().mean(0).sum()) / 2 * weight[0].numel()
    return total
