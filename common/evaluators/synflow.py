"""SynFlow: how much can flow through an untrained network from its input to its output (Tanaka et al. 2020)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from common.evaluators.passes import LAYERS, unchanged

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def synflow(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """log of the sum over the weights of convolutional and linear layers of |w dR/dw|; no image is looked at.

    R: the sum of the logits for an image of ones, all parameters replaced by their absolute values and normalisation
    layers left out. Tanaka, Kunin, Yamins & Ganguli, Pruning neural networks without any data by iteratively
    conserving synaptic flow, NeurIPS 2020, equation 1, added up as by Abdelfattah et al. (ICLR 2021). The logarithm
    changes no ranking; the sum passes the range of float32, so this runs in float64. One forward and one backward pass
    of one image.
    """
    hooks = [m.register_forward_hook(_leave_out) for m in network.modules() if isinstance(m, NORMS)]
    try:
        with unchanged(network):
            network.double()
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.abs_()
            weights = [module.weight for module in network.modules() if isinstance(module, LAYERS)]
            flow = network(torch.ones_like(x[:1], dtype=torch.float64)).sum()
            gradients = torch.autograd.grad(flow, weights, allow_unused=True)
            total = sum(
                float((w.detach() * g).abs().sum()) for w, g in zip(weights, gradients, strict=True) if g is not None
            )
    finally:
        for hook in hooks:
            hook.remove()
    return math.log(total) if total > 0 else -math.inf


def _leave_out(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    return inputs[0]
