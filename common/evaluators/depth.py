"""Depth: how many convolutions that look at neighbouring pixels an image passes, one after the other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def depth(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """The number of convolutions with more than one tap on the longest path from the input to the logits.

    Not from a paper: of the graph alone, whatever the weights, and found for any network in what autograd records of
    one image's forward pass. Grouped, depthwise and dilated convolutions count like others; 1x1 convolutions, linear
    layers and poolings do not. 0 for a network whose logits do not depend on its input.
    """
    image = x[:1].detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = network.eval()(image)
    longest: dict[Any, int] = {}  # node of the graph -> convolutions between the input and it, itself included
    for node in _inputs_first(logits.grad_fn):
        if getattr(node, "variable", None) is image:
            longest[node] = 0
        before = [longest[source] for source, _ in node.next_functions if source in longest]
        if before:
            longest[node] = max(before) + _is_spatial_convolution(node)
    return float(longest.get(logits.grad_fn, 0))


def _is_spatial_convolution(node: Any) -> bool:
    if not node.name().startswith("ConvolutionBackward"):
        return False
    return bool(node._saved_weight[0, 0].numel() > 1)


def _inputs_first(root: Any) -> list[Any]:
    """The nodes of an autograd graph, each after those it reads from; without recursion, for networks are deep."""
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node is not None and node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((source, False) for source, _ in node.next_functions)
    return order
