"""The default combination of training-free scores: trainability, field of view, and how apart images are kept."""

from __future__ import annotations

import math

from common.evaluators.jacov import jacov
from common.evaluators.passes import GRADIENTS, Pass, reads
from common.evaluators.receptive_field import receptive_field
from common.evaluators.zico import zico

CHANCES = 2.0  # correlations of gradients up to so many times what chance makes of independent ones count as none
POWER = 3.0  # of ZiCo


@reads(GRADIENTS)
def combined(run: Pass) -> float:
    """3 log ZiCo + log min(receptive field, 2 side - 1) - log max(-jacov / B - 1, 2 chance).

    Ours. The terms keep their units instead of becoming ranks: what hardly differs in a space hardly counts there, what
    is as good as it can be counts no more, and a value does not depend on what it is compared with.

    - ZiCo, a sum over layers, grows with depth and with width. Below 1 it counts as 1.
    - A feature in one corner has seen the opposite corner of a square image when its field is 2 side - 1 pixels.
    - -jacov / B is 1 for images whose gradients are not correlated. B independent Gaussian gradients of D numbers are,
      by chance, and it is then 1 + B / (2 D) to first order (their eigenvalues have mean 1 and variance B / D:
      Marchenko & Pastur 1967).

    The terms, the power and the two limits were chosen on development samples of NAS-Bench-201, NAS-Bench-101 and
    DARTS, as docs/results/scores.md has it. A forward pass and a backward pass to the images, and both of either half
    of the batch to the weights, all in train mode. NaN where jacov is.
    """
    images, numbers, side = len(run.x), run.x[0].numel(), max(run.x.shape[2:], default=1)
    correlated = max(-jacov.read(run) / images - 1, CHANCES * images / (2 * numbers))
    field = max(min(receptive_field.read(run), 2 * side - 1), 1)
    return POWER * math.log(max(zico.read(run), 1)) + math.log(field) - math.log(correlated)
