"""Steady: trainability, field of view and how apart images are kept, less where the loss is steep."""

from __future__ import annotations

import math

from common.evaluators.combined import apartness
from common.evaluators.passes import GRADIENTS, Pass, reads
from common.evaluators.receptive_field import receptive_field
from common.evaluators.zico import zico

POWER = 3.0  # of ZiCo
SHARE = 0.5  # of the logarithm of the gradient's norm


@reads(GRADIENTS)
def steady(run: Pass) -> float:
    """3 log ZiCo + log min(receptive field, 2 side - 1) + log apartness - 1/2 log G, of few terms of `combined`.

    G = sum over convolutional and linear layers of || dL/dW ||_2, L the batch's cross-entropy; apartness: see there.

    Ours. Of two networks of the same size and depth, the one with the smaller gradient before training is the better
    trained one: gradients that grow from layer to layer (deep cells without shortcuts) hinder it, and a path around the
    cell keeps them apart from that. The gradient is the mean of those that ZiCo has made of the batch's halves, so that
    nothing is computed for it. The share was chosen on the development samples of NAS-Bench-201, NAS-Bench-101 and
    DARTS (docs/results/scores.md lists them; shares of .25 to .75 do about the same) and on NAS-Bench-201's largest
    cells. NaN where jacov is, and where the gradient is 0.
    """
    norm = sum(float((first + second).norm()) / 2 for first, second in run.half_gradients)
    if not norm > 0:
        return math.nan
    field = max(min(receptive_field.read(run), 2 * max(run.x.shape[2:], default=1) - 1), 1)
    learning = POWER * math.log(max(zico.read(run), 1)) - SHARE * math.log(norm)
    return learning + math.log(field) + math.log(apartness(run))
