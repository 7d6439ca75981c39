"""ZiCo: how large gradients are beside how much they differ from batch to batch (Li et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.evaluators.passes import LAYERS

BATCHES = 2  # as published


def zico(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """sum over convolutional and linear layers of log(sum over the weights of E|g| / sqrt(Var g)), g = dL/dw.

    Li, Yang, Bhardwaj & Marculescu, ZiCo, ICLR 2023, equation 8; mean and variance are over two batches, here the
    halves of x, and the variance is that of g as in the published code (the equation has |g|). Weights whose gradients
    are the same in both count nothing. Two forward and backward passes of half the batch, in train mode.
    """
    weights = [module.weight for module in network.modules() if isinstance(module, LAYERS)]
    found = []
    for part_x, part_y in zip(x.chunk(BATCHES), y.chunk(BATCHES), strict=True):
        loss = F.cross_entropy(network(part_x), part_y)
        found.append(torch.autograd.grad(loss, weights, allow_unused=True))
    score = 0.0
    for layer in zip(*found, strict=True):
        if layer[0] is None:
            continue
        gradients = torch.stack(layer)
        deviation = gradients.std(0, correction=0)
        moving = deviation > 0
        if moving.any():
            score += float((gradients.abs().mean(0)[moving] / deviation[moving]).sum().log())
    return score
