"""The default combination of training-free scores: size, units, field of view and how apart images are kept."""

from __future__ import annotations

import math

from common.evaluators.jacov import jacov
from common.evaluators.naswot import naswot
from common.evaluators.passes import GRADIENTS, SIGNS, Pass, reads
from common.evaluators.receptive_field import receptive_field

# Correlations of gradients up to so many times what chance makes of independent ones count as none.
CHANCES = 2.0


@reads(SIGNS, GRADIENTS)
def combined(run: Pass) -> float:
    """log parameters + naswot / B + log min(receptive field, 2 side - 1) - log max(-jacov / B - 1, 2 chance).

    Ours. Each term is a logarithm (naswot / B is that of the number of rectifier units, less what images agree in), and
    none has a weight. The terms keep their units instead of becoming ranks: what hardly differs in a space hardly
    counts there, what is as good as it can be counts no more, and a value does not depend on what it is compared with.

    - A feature in one corner has seen the opposite corner of a square image when its field is 2 side - 1 pixels.
    - -jacov / B is 1 for images whose gradients are not correlated. B independent Gaussian gradients of D numbers are,
      by chance, and it is then 1 + B / (2 D) to first order (their eigenvalues have mean 1 and variance B / D:
      Marchenko & Pastur 1967).

    The terms and the two limits were chosen on development samples of NAS-Bench-201, NAS-Bench-101 and DARTS, as
    docs/results/scores.md has it. One forward pass in train mode, one backward pass to the images. NaN where jacov is.
    """
    images, numbers, side = len(run.x), run.x[0].numel(), max(run.x.shape[2:], default=1)
    chance = images / (2 * numbers)
    correlated = max(-jacov.read(run) / images - 1, CHANCES * chance)
    field = max(min(receptive_field.read(run), 2 * side - 1), 1)
    return math.log(run.parameters) + naswot.read(run) / images + math.log(field) - math.log(correlated)
