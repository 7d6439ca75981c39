"""The default combination of training-free scores: trainability, field of view, and how apart images are kept."""

from __future__ import annotations

import math

import torch

from common.evaluators.jacov import jacov
from common.evaluators.passes import GRADIENTS, Pass, reads
from common.evaluators.receptive_field import receptive_field
from common.evaluators.zico import zico

CHANCES = 2.0  # correlations of gradients up to so many times what chance makes of independent ones count as none
POWER = 2.0  # of ZiCo
STEEPNESS = 0.5  # the power of the gradients' norm that is divided by


@reads(GRADIENTS)
def combined(run: Pass) -> float:
    """2 log ZiCo + log min(receptive field, 2 side - 1) - log max(-jacov / B - 1, 2 chance) - log(gradient norm) / 2.

    Ours. The terms keep their units instead of becoming ranks: what hardly differs in a space hardly counts there, what
    is as good as it can be counts no more, and a value does not depend on what it is compared with.

    - ZiCo, a sum over layers, grows with depth and with width. Below 1 it counts as 1.
    - A feature in one corner has seen the opposite corner of a square image when its field is 2 side - 1 pixels.
    - -jacov / B is 1 for images whose gradients are not correlated. B independent Gaussian gradients of D numbers are,
      by chance, and it is then 1 + B / (2 D) to first order (their eigenvalues have mean 1 and variance B / D:
      Marchenko & Pastur 1967).
    - The gradient norm (`grad_norm`, of the mean of the gradients of the halves of the batch, which ZiCo needs
      anyway) says how steep the loss is around the initial weights: it rises with depth as ZiCo does, and of two
      networks that are alike in all else the less steep one trains better.

    The terms, the powers and the two limits were chosen on development samples, as docs/results/scores.md has it. A
    forward pass and a backward pass to the images, and both of either half of the batch to the weights, all in train
    mode. NaN where jacov is, and where no weight has a gradient.
    """
    images, numbers, side = len(run.x), run.x[0].numel(), max(run.x.shape[2:], default=1)
    correlated = max(-jacov.read(run) / images - 1, CHANCES * images / (2 * numbers))
    field = max(min(receptive_field.read(run), 2 * side - 1), 1)
    steep = sum(float(torch.stack(halves).mean(0).norm()) for halves in run.half_gradients)
    if not steep > 0:
        return math.nan
    learning = POWER * math.log(max(zico.read(run), 1)) - STEEPNESS * math.log(steep)
    return learning + math.log(field) - math.log(correlated)
