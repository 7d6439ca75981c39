"""jacov: how little the input gradients of the images of a batch are correlated (Mellor et al. 2020)."""

from __future__ import annotations

import math

import torch

from common.evaluators.passes import GRADIENTS, Pass, reads

EPSILON = 1e-5


@reads(GRADIENTS)
def jacov(run: Pass) -> float:
    """-sum_i (log(v_i + k) + 1 / (v_i + k)), v the eigenvalues of the images' correlation matrix, k = 1e-5.

    Mellor et al., Neural Architecture Search without Training, first version (arXiv 2006.04647v1), section 3: the
    correlations are those of the rows of the Jacobian, each the gradient of the sum of the logits with respect to one
    image. At most -B, for gradients that are not correlated. One forward pass in train mode as published, one backward
    pass to the images. NaN when an image has the same gradient at every pixel.
    """
    correlations = torch.corrcoef(run.image_gradients.double())
    if correlations.dim() < 2 or not correlations.isfinite().all():  # of a lone image it is a number
        return math.nan
    values = torch.linalg.eigvalsh(correlations) + EPSILON
    return -float((values.log() + 1 / values).sum())
