"""Zen: how much a network of random weights makes of a small change of its input (Lin et al. 2021)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from common.evaluators.passes import LAYERS, unchanged

STEP = 0.01  # the size of the change beside the input
INPUTS = 16  # as published; the mean over them hardly varies


def zen(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """log E ||f(v) - f(v + 0.01 u)||_1 + sum over batch norms of log s: of random weights and inputs, no images.

    f: the features before the pooling; all weights, v and u are drawn from N(0, 1) (torch's global generator), biases
    are 0; the mean is over 16 inputs of x's shape (or as many as x has); s^2: mean over the channels of the variance
    that a batch norm divides by for the input v + 0.01 u.
    Lin et al., Zen-NAS, ICCV 2021, section 4 and algorithm 1, for networks without shortcuts; like the code of
    NAS-Bench-Suite-Zero we take any network as it is. Two forward passes, in train mode.
    """
    features = _Features()
    variances: dict[nn.Module, Tensor] = {}

    def note_variance(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        variances[module] = inputs[0].transpose(0, 1).flatten(1).var(1, correction=0)

    hooks = [module.register_forward_hook(features.note) for module in network.modules() if module is not network]
    hooks += [
        module.register_forward_pre_hook(note_variance)
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    try:
        with unchanged(network), torch.no_grad():
            _draw_weights(network)
            v, u = torch.randn_like(x[:INPUTS]), torch.randn_like(x[:INPUTS])
            network(v)
            before = features.last
            network(v + STEP * u)
            change = (features.last - before).abs().flatten(1).sum(1).mean()
            scale = sum(0.5 * float(variance.mean().log()) for variance in variances.values())
            return float(change.log()) + scale
    finally:
        for hook in hooks:
            hook.remove()


class _Features:
    """Keeps the last output of any module that has more than one position: what a classifier pools.

    Attributes: last: (B, C, H, W), or, of a network that has no such output, the last (B, ...) of a module.
    """

    def __init__(self) -> None:
        self.last, self._positions = torch.zeros(0), 0

    def note(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        positions = output[0, 0].numel() if output.dim() > 2 else 1
        if positions > 1 or self._positions <= 1:
            self.last, self._positions = output, positions


def _draw_weights(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, LAYERS):
            nn.init.normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
