"""GraSP: how the weights of an untrained network share in the flow of its gradient (Wang et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.evaluators.passes import LAYERS


def grasp(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """-sum over the weights of convolutional and linear layers of w (H g)_w, g = dL/dw, H the Hessian of L.

    Wang, Zhang & Grosse, Picking Winning Tickets before Training by Preserving Gradient Flow, ICLR 2020, equation 8 at
    temperature 1, with the sign of Abdelfattah et al. (ICLR 2021). L is the cross-entropy of the batch. One forward
    and two backward passes, the second through the first: several times the price of `snip`.
    """
    weights = [module.weight for module in network.modules() if isinstance(module, LAYERS)]
    loss = F.cross_entropy(network(x), y)
    gradients = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
    products = [(g.detach() * g).sum() for g in gradients if g is not None]
    flow = torch.autograd.grad(torch.stack(products).sum(), weights, allow_unused=True)
    return -sum(float((w.detach() * f).sum()) for w, f in zip(weights, flow, strict=True) if f is not None)
