"""Steady: what `combined` sees, less where the loss of an untrained network is steep."""

from __future__ import annotations

import math

from common.evaluators.combined import combined
from common.evaluators.passes import GRADIENTS, Pass, reads

SHARE = 0.5  # of the logarithm of the gradient's norm


@reads(GRADIENTS)
def steady(run: Pass) -> float:
    """`combined` - 1/2 log(sum over convolutional and linear layers of || dL/dW ||_2), L the batch's cross-entropy.

    Ours. Of two networks of the same size and depth, the one with the smaller gradient before training is the better
    trained one: gradients that grow from layer to layer (deep cells without shortcuts) hinder it, and a path around the
    cell keeps them apart from that. The gradient is the mean of those that ZiCo has made of the batch's halves, so that
    nothing is computed for it. The share was chosen on the development samples of NAS-Bench-201, NAS-Bench-101 and
    DARTS (docs/results/scores.md lists them; shares of .25 to .75 do about the same) and on NAS-Bench-201's largest
    cells. NaN where `combined` is, and where the gradient is 0.
    """
    norm = sum(float((first + second).norm()) / 2 for first, second in run.half_gradients)
    return combined.read(run) - SHARE * math.log(norm) if norm > 0 else math.nan
