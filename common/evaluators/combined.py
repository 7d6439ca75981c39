"""The default combination of training-free scores: what is learnt, seen and told apart, and how steep the loss is."""

from __future__ import annotations

import math

import torch

from common.evaluators.jacov import jacov
from common.evaluators.passes import GRADIENTS, SIGNS, Pass, reads
from common.evaluators.receptive_field import mean_field
from common.evaluators.zico import zico

CHANCES = 2.0  # correlations of gradients up to so many times what chance makes of independent ones count as none
ZICO, SNIP = 3.0, -0.5  # powers of what is multiplied, but for those that are 1


@reads(SIGNS, GRADIENTS)
def combined(run: Pass) -> float:
    """3 log ZiCo + log field + log apartness + log det(K + 1) / B - 0.5 log SNIP.

    Ours. The terms keep their units instead of becoming ranks: what hardly differs in a space hardly counts there, what
    is as good as it can be counts no more, and a value does not depend on what it is compared with.

    - ZiCo (`zico`), a sum over layers, grows with depth and with width; below 1 it counts as 1.
    - The field is `mean_field`, up to the whole image: a feature in one corner has seen the opposite corner of a square
      image when its field is 2 side - 1 pixels.
    - Apartness is how little the images' gradients are correlated, `apartness`.
    - K is the matrix of `naswot`, and 1 added to its diagonal for networks without rectifiers, whose K is 0.
    - SNIP (`snip`) says how steep the loss is around the initial weights: it rises with depth as ZiCo does, and of two
      networks alike in all else the less steep one (shortcuts around a deep cell) is the better trained one. Its
      gradient is the mean of those of the halves of the batch, which ZiCo needs anyway.

    The terms, the powers and the limits were chosen on development samples of four spaces, as docs/results/scores.md
    has it. A forward pass and a backward pass to the images, and both of either half of the batch to the weights, all
    in train mode. NaN where jacov is, and where no weight has a gradient.
    """
    gradients = [torch.stack(halves).mean(0) for halves in run.half_gradients]
    steep = sum(float((weight * gradient).abs().sum()) for weight, gradient in zip(run.weights, gradients, strict=True))
    if not steep > 0:
        return math.nan
    images, side = len(run.x), max(run.x.shape[2:], default=1)
    kernel = run.sign_kernel + torch.eye(images, dtype=run.sign_kernel.dtype, device=run.sign_kernel.device)
    return (
        ZICO * math.log(max(zico.read(run), 1))
        + math.log(max(min(mean_field.read(run), 2 * side - 1), 1))
        + math.log(apartness(run))
        + float(torch.linalg.slogdet(kernel).logabsdet) / images
        + SNIP * math.log(steep)
    )


def apartness(run: Pass) -> float:
    """1 / max(-jacov / B - 1, 2 chance): the higher, the less the gradients at the B images of a batch are correlated.

    -jacov / B is 1 for images whose gradients are not correlated. B independent Gaussian gradients of D numbers are, by
    chance, and it is then 1 + B / (2 D) to first order (their eigenvalues have mean 1 and variance B / D: Marchenko &
    Pastur 1967); what is below twice that counts as none. NaN where jacov is.
    """
    images, numbers = len(run.x), run.x[0].numel()
    return 1 / max(-jacov.read(run) / images - 1, CHANCES * images / (2 * numbers))
