"""ZiCo: how large gradients are beside how much they differ from batch to batch (Li et al. 2023)."""

from __future__ import annotations

import torch

from common.evaluators.passes import Pass, reads


@reads()
def zico(run: Pass) -> float:
    """sum over convolutional and linear layers of log(sum over the weights of E|g| / sqrt(Var g)), g = dL/dw.

    Li, Yang, Bhardwaj & Marculescu, ZiCo, ICLR 2023, equation 8; mean and variance are over two batches, here the
    halves of x, and the variance is that of g as in the published code (the equation has |g|). Weights whose gradients
    are the same in both count nothing. Two forward and backward passes of half the batch, in train mode.
    """
    score = 0.0
    for halves in run.half_gradients:
        gradients = torch.stack(halves)
        deviation = gradients.std(0, correction=0)
        moving = deviation > 0
        if moving.any():
            score += float((gradients.abs().mean(0)[moving] / deviation[moving]).sum().log())
    return score
