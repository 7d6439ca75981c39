"""The method and the networks of the spaces written out plainly, for the fast paths to be compared with.

A plain forward pass takes nothing of a built network but its weights, one after the other; what is done with them is
read off the text of the architecture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.networks.base import TappedNetwork
from rminas.similarity import CENTRINGS, grams, unit

BETA, LR, MOMENTUM, WEIGHT_DECAY = 0.8, 0.1, 0.9, 5e-4
Outputs = tuple[Tensor, Sequence[Tensor]]  # logits and taps
Pairs = Sequence[tuple[str, int]]  # of a DARTS cell: operation and source


def plain_losses(
    network: TappedNetwork,
    x: Tensor,
    y: Tensor,
    teacher_taps: Sequence[Tensor],
    steps: int,
    forward: Callable[[Tensor], Outputs] | None = None,
    lr: float = LR,
    cosine: bool = False,
    clip: float = 0.0,
) -> list[float]:
    """The method as its description reads: every matrix written out, one parameter updated after the other."""
    count = len(x)
    centring = torch.eye(count, dtype=x.dtype) - torch.ones(count, count, dtype=x.dtype) / count
    velocity: dict[str, Tensor] = {}
    losses = []
    network.train()
    for step in range(steps + 1):
        logits, taps = (forward or network.forward_taps)(x)
        rmi = torch.zeros((), dtype=x.dtype)
        for ours, theirs in zip(taps, teacher_taps, strict=True):
            k, t = ours.reshape(count, -1), theirs.reshape(count, -1)
            k, t = centring @ (k @ k.T) @ centring, centring @ (t @ t.T) @ centring
            rmi = rmi + 1 - torch.sum(k * t) / (torch.sqrt(torch.sum(k * k)) * torch.sqrt(torch.sum(t * t)))
        cross_entropy = -torch.stack([F.log_softmax(logits[i], 0)[y[i]] for i in range(count)]).mean()
        loss = BETA * rmi + (1 - BETA) * cross_entropy
        losses.append(math.inf if torch.isnan(loss) else loss.item())
        if step == steps:
            break
        rate = lr * (1 + math.cos(math.pi * step / steps)) / 2 if cosine else lr
        named = dict(network.named_parameters())
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients if gradient is not None))
        shrink = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
        with torch.no_grad():
            for (name, weight), gradient in zip(named.items(), gradients, strict=True):
                if gradient is None:  # a parameter that the loss does not depend on has nothing to follow
                    continue
                gradient = gradient * shrink + WEIGHT_DECAY * weight
                velocity[name] = MOMENTUM * velocity[name] + gradient if name in velocity else gradient
                weight -= rate * velocity[name]
    return losses


# what networks are made of -------------------------------------------------------------------------------------------

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: x.clamp(min=0),
    "relu6": lambda x: x.clamp(0, 6),
    "hswish": lambda x: x * (x + 3).clamp(0, 6) / 6,
}
relu = ACTIVATIONS["relu"]
Weights = Iterator[Tensor]


def conv(x: Tensor, weight: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """A convolution without bias that keeps the side but for the stride; depthwise where the weight is."""
    padding = dilation * (weight.shape[-1] // 2)
    return F.conv2d(x, weight, None, stride, padding, dilation, x.shape[1] // weight.shape[1])


def norm(x: Tensor, scale: Tensor, offset: Tensor, eps: float = 1e-5) -> Tensor:
    """Batch norm on batch statistics."""
    centred = x - x.mean((0, 2, 3), keepdim=True)
    variance = (centred**2).mean((0, 2, 3), keepdim=True)
    return centred / torch.sqrt(variance + eps) * scale.view(1, -1, 1, 1) + offset.view(1, -1, 1, 1)


def conv_norm(x: Tensor, weights: Weights, stride: int = 1, dilation: int = 1, eps: float = 1e-5) -> Tensor:
    return norm(conv(x, next(weights), stride, dilation), next(weights), next(weights), eps)


def linear(x: Tensor, weights: Weights, bias: bool = True) -> Tensor:
    y = x @ next(weights).T
    return y + next(weights) if bias else y


# DARTS ---------------------------------------------------------------------------------------------------------------


def darts_op(name: str, x: Tensor, weights: Weights, stride: int) -> Tensor:
    if name == "none":
        return 0 * x[:, :, ::stride, ::stride]
    if name == "skip_connect":
        return x if stride == 1 else halved(x, weights)
    if name == "max_pool_3x3":
        return norm(F.max_pool2d(x, 3, stride, 1), next(weights), next(weights))
    if name == "avg_pool_3x3":
        return norm(F.avg_pool2d(x, 3, stride, 1, count_include_pad=False), next(weights), next(weights))
    for dilation, step in {"sep": ((1, stride), (1, 1)), "dil": ((2, stride),)}[name[:3]]:
        x = conv_norm(conv(relu(x), next(weights), step, dilation), weights)
    return x


def halved(x: Tensor, weights: Weights) -> Tensor:
    """Half of the channels from the even pixels, half from the odd ones."""
    x = relu(x)
    both = [conv(x, next(weights), 2), conv(x[:, :, 1:, 1:], next(weights), 2)]
    return norm(torch.cat(both, 1), next(weights), next(weights))


def darts_cell(
    built: nn.Module, pairs: Pairs, before: Tensor, last: Tensor, reduction: bool, after_reduction: bool
) -> Tensor:
    assert isinstance(built.preprocess, nn.ModuleList)
    assert isinstance(built.ops, nn.ModuleList)
    first, second = (module.parameters() for module in built.preprocess)
    taken = {source for name, source in pairs if name != "none"}
    nodes = [torch.zeros(()), torch.zeros(())]
    if 0 in taken:
        nodes[0] = halved(before, first) if after_reduction else conv_norm(relu(before), first)
    if 1 in taken:
        nodes[1] = conv_norm(relu(last), second)
    weights = built.ops.parameters()
    for node in range(4):
        into = [
            darts_op(name, nodes[source], weights, 2 if reduction and source < 2 else 1)
            for name, source in pairs[2 * node : 2 * node + 2]
        ]
        nodes.append(into[0] + into[1])
    assert not [*first, *second, *weights]
    return torch.cat(nodes[2:], 1)


def darts_forward(network: nn.Module, normal: Pairs, reduce: Pairs, imagenet_stem: bool, x: Tensor) -> Outputs:
    assert isinstance(network.stem, nn.Module)
    assert isinstance(network.stem_reduce, nn.Module)
    assert isinstance(network.cells, nn.ModuleList)
    assert isinstance(network.classifier, nn.Module)
    stem, count = network.stem.parameters(), len(network.cells)
    if imagenet_stem:
        before = conv_norm(relu(conv_norm(x, stem, 2)), stem, 2)
        last = conv_norm(relu(before), network.stem_reduce.parameters(), 2)
    else:
        before = last = conv_norm(x, stem)
    outputs, reductions = [], (count // 3, 2 * count // 3)
    for layer, cell in enumerate(network.cells):
        reduction = layer in reductions
        after_reduction = layer - 1 in reductions or (imagenet_stem and layer == 0)
        made = darts_cell(cell, reduce if reduction else normal, before, last, reduction, after_reduction)
        outputs.append(made)
        before, last = last, made
    logits = linear(last.mean((2, 3)), network.classifier.parameters())
    return logits, [outputs[count // 3 - 1], outputs[2 * count // 3 - 1], outputs[-1]]


# chains of MBConv blocks ---------------------------------------------------------------------------------------------


class Chain(NamedTuple):
    """What is fixed about a chain of blocks: of every stage stride, activation and squeeze-and-excitation.

    stem_stride, stem_block: of the 3x3 convolution, and whether a fixed block follows. act: of stem and head. mixes:
    whether the head has a second linear layer. taps: of the stages and, last, the head.
    """

    stages: Sequence[tuple[int, str, bool]]
    stem_stride: int
    stem_block: bool
    act: str
    eps: float
    mixes: bool
    taps: tuple[int, int, int]


CHAINS = {
    "macro": Chain([(2, "relu", False)] * 3, 1, False, "relu", 1e-5, False, (0, 1, 2)),
    "mobilenet": Chain(
        [(2, "relu", False), (2, "relu", True), (2, "hswish", False), (1, "hswish", True), (2, "hswish", True)],
        2, True, "hswish", 1e-5, True, (0, 2, 4),
    ),
    "proxyless": Chain([(s, "relu6", False) for s in (2, 2, 2, 1, 2, 1)], 2, True, "relu6", 1e-3, False, (1, 3, 6)),
}  # fmt: skip


def mbconv(x: Tensor, weights: Weights, stride: int, expands: bool, act: str, excites: bool, eps: float) -> Tensor:
    activation = ACTIVATIONS[act]
    y = activation(conv_norm(x, weights, eps=eps)) if expands else x
    y = activation(conv_norm(y, weights, stride, eps=eps))
    if excites:
        squeezed = relu(linear(y.mean((2, 3)), flat(weights)))
        y = y * ((linear(squeezed, flat(weights)) + 3).clamp(0, 6) / 6)[:, :, None, None]
    y = conv_norm(y, weights, eps=eps)
    return x + y if x.shape == y.shape else y


def flat(weights: Weights) -> Weights:
    """The next two with a 1x1 convolution's weight as a matrix."""
    return iter((next(weights).flatten(1), next(weights)))


def chain_forward(network: nn.Module, chain: Chain, stages: Sequence[Sequence[str]], x: Tensor) -> Outputs:
    """Args: stages: of every layer "identity", "-" for none, or "k5e3" for kernel 5 and expansion 3."""
    weights, eps = network.parameters(), chain.eps
    activation = ACTIVATIONS[chain.act]
    x = activation(conv_norm(x, weights, chain.stem_stride, eps=eps))
    if chain.stem_block:
        x = mbconv(x, weights, 1, False, "relu" if chain.act == "hswish" else chain.act, False, eps)
    outputs = []
    for (stride, act, excites), layers in zip(chain.stages, stages, strict=True):
        for place, layer in enumerate(layers):
            if layer in ("-", "identity"):
                x = conv_norm(x, weights, stride, eps=eps) if layer == "identity" and place == 0 else x
            else:
                x = mbconv(x, weights, 1 if place else stride, layer[-1] != "1", act, excites, eps)
        outputs.append(x)
    x = activation(conv_norm(x, weights, eps=eps))
    outputs.append(x)
    x = x.mean((2, 3))
    if chain.mixes:
        x = activation(linear(x, weights, bias=False))
    logits = linear(x, weights)
    assert next(weights, None) is None
    return logits, [outputs[place] for place in chain.taps]


def linear_cka(x: Tensor, y: Tensor, hsic: str = "biased") -> Tensor:
    """Linear CKA of two feature batches, a scalar; in [0, 1] when biased, at most 1 when unbiased.

    CKA = <K, L> / (||K|| ||L||) with K, L the centred Gram matrices (Kornblith et al. 2019). NaN when either side's
    features are the same for all images.

    Args: x: (B, ...) and y: (B, ...), the same B images in the same order. hsic: a key of CENTRINGS.
    Raises: ValueError if the numbers of images differ.
    """
    if len(x) != len(y):
        raise ValueError(f"{len(x)} images on one side, {len(y)} on the other")
    centre = CENTRINGS[hsic]
    return (unit(centre(grams([x]))) * unit(centre(grams([y])))).sum()
