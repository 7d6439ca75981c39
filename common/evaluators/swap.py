"""SWAP: how many different ways an untrained network's rectifiers sort a batch (Peng et al. 2024)."""

from __future__ import annotations

from common.evaluators.passes import PATTERNS, Pass, reads


@reads(PATTERNS)
def swap(run: Pass) -> float:
    """The number of distinct sample-wise activation patterns: the columns of the (B, units) matrix of 0 and 1.

    Peng, Song, Fayek, Ciesielski & Chang, SWAP-NAS: Sample-Wise Activation Patterns for Ultra-fast NAS, ICLR 2024,
    definitions 3.2 and 3.3; without the regularisation by the number of parameters, whose two constants are the
    user's to set. One forward pass, in train mode as published. With a large batch nearly all units differ, and the
    score counts them.
    """
    return float(run.patterns.unique().numel())
