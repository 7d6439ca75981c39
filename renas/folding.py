"""The trained LeNet as plain matrix products, for scoring a whole space on the CPU.

Feature tensors are zero on and below the diagonal, because an edge i -> j has i < j. So the standardised tensor, and
the corner of every later feature map that cannot see an entry above the diagonal, are the same for all architectures:
computed once, they become biases. What remains of a convolution is, per output position and row of its window, one
product of a contiguous slice of the activations with a slice of the kernel, which BLAS runs at its full rate without
any unfolding. Standardisation and batch norm are folded into weights and biases. On NAS-Bench-101 that leaves two
thirds of the network's arithmetic, and the predictions are those of the network up to rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from renas.predictor import LeNet, Standardizer

JOINED_OUTPUTS = 4  # outputs of the first layer per product: more is more zeros, less is smaller products


class Product(NamedTuple):
    """One matrix product of a folded layer: `out[:, to] += inputs[:, of] @ weight`."""

    of: slice
    to: slice
    weight: Tensor


class FoldedLeNet:
    """A trained LeNet in evaluation mode as matrix products over raw feature tensors, in float32 on the CPU.

    Agrees with standardiser + network up to rounding for every tensor that is zero on and below the diagonal.
    """

    def __init__(self, network: LeNet, standardizer: Standardizer) -> None:
        channels, side, _ = standardizer.mean.shape
        conv1, norm1, _, conv2, norm2, _ = network.features
        dense = [layer for layer in network.head if isinstance(layer, nn.Linear)]
        scale = torch.from_numpy(standardizer.scale)
        zero = torch.from_numpy(-standardizer.mean / standardizer.scale)  # what an entry of 0 becomes
        varying = np.triu(np.ones((side, side), dtype=bool), 1)
        self.entries = np.flatnonzero(varying)  # positions of a V*V matrix that hold anything
        # Subtracted before the products: where all training cells share a cost of millions, which is centred but not
        # scaled, the products would round away everything else. `zero` makes up for what the mean loses as float32.
        centre = standardizer.mean.reshape(channels, -1)[:, self.entries]
        self.centre = torch.from_numpy(centre.T.astype(np.float32))  # (entries, channels)
        zero.flatten(1)[:, self.entries] += self.centre.T / scale.flatten(1)[:, self.entries]
        # Layers work in float64 here and are rounded to float32 once, at the end.
        with torch.no_grad():
            first = _fold(*_with_norm(conv1, norm1), varying, zero)
            inputs = scale.flatten(1)[:, self.entries].T.reshape(-1, 1)  # (entries * channels, 1), position by position
            first_products = [Product(p.of, p.to, (p.weight / inputs[p.of]).float()) for p in _joined(first.products)]
            still = first.constant.relu() * ~torch.from_numpy(first.varying)
            second = _fold(*_with_norm(conv2, norm2), first.varying, still)
            maps = dense[0].weight.double().view(dense[0].out_features, -1, side, side)
            live = torch.from_numpy(second.varying)
            weight = maps[:, :, live].transpose(1, 2).flatten(1)
            bias = dense[0].bias.double() + torch.einsum("ocij,cij->o", maps, second.constant.relu() * ~live)
            self.layers = [
                (first.bias.float(), first_products),
                (second.bias.float(), [Product(p.of, p.to, p.weight.float()) for p in second.products]),
            ]
            self.dense = [(weight.float(), bias.float())]
            self.dense += [(layer.weight.detach(), layer.bias.detach()) for layer in dense[1:]]
        self.shape = (channels, side, side)

    @property
    def flops(self) -> int:
        """Floating-point operations per architecture, 2 per multiply-accumulate."""
        weights = [product.weight for _, products in self.layers for product in products]
        return 2 * sum(weight.numel() for weight in (*weights, *(weight for weight, _ in self.dense)))

    def fits(self, tensors: np.ndarray) -> bool:
        """Whether raw tensors (n, C, V, V) are zero on and below the diagonal."""
        side = self.shape[-1]
        below, columns = np.tril_indices(side)
        return not tensors[..., below, columns].any()

    @torch.inference_mode()
    def __call__(self, tensors: np.ndarray) -> np.ndarray:
        """Scores (n,) float32 of raw tensors (n, C, V, V)."""
        n = len(tensors)
        flat = tensors.reshape(n, self.shape[0], -1)
        x = torch.from_numpy(np.ascontiguousarray(flat[:, :, self.entries].transpose(0, 2, 1), dtype=np.float32))
        x = x.sub_(self.centre).reshape(n, -1)
        for bias, products in self.layers:
            out = bias.expand(n, -1).contiguous()
            for of, to, weight in products:
                out[:, to].addmm_(x[:, of], weight)
            x = out.relu_()
        for weight, bias in self.dense[:-1]:
            x = F.linear(x, weight, bias).relu_()
        return F.linear(x, *self.dense[-1]).squeeze(1).numpy()


class Folded(NamedTuple):
    """A 3x3 convolution over a V x V map of which only some positions vary between architectures."""

    products: list[Product]  # from the input's varying positions to the output's, channels last
    bias: Tensor  # (varying outputs * C_out,): the convolution's bias and its output for the constant input
    varying: np.ndarray  # (V, V) bool: outputs that see a varying input
    constant: Tensor  # (C_out, V, V): the output for the constant input, which is the output where nothing varies


def _fold(weight: Tensor, bias: Tensor, varying: np.ndarray, constant: Tensor) -> Folded:
    """Splits a convolution (C_out, C_in, 3, 3), padding 1, into products over varying inputs and a constant rest.

    Args:
        varying: (V, V) bool, in every row without gaps.
        constant: (C_in, V, V), the part of the input that is the same for all; the products take what comes on top.
    """
    side = len(varying)
    width_out, width_in = weight.shape[:2]
    kernel = weight.permute(2, 3, 1, 0)  # (3, 3, C_in, C_out)
    place = {position: index for index, position in enumerate(zip(*np.nonzero(varying), strict=True))}
    seen = np.zeros_like(varying)
    products: list[Product] = []
    outputs = 0
    for i in range(side):
        for j in range(side):
            to = slice(outputs * width_out, (outputs + 1) * width_out)
            for r in range(max(i - 1, 0), min(i + 2, side)):
                columns = [c for c in range(max(j - 1, 0), min(j + 2, side)) if varying[r, c]]
                if columns:
                    first = place[r, columns[0]]
                    taps = kernel[r - i + 1, columns[0] - j + 1 : columns[-1] - j + 2]
                    of = slice(first * width_in, (first + len(columns)) * width_in)
                    products.append(Product(of, to, taps.reshape(-1, width_out)))
                    seen[i, j] = True
            outputs += seen[i, j]
    rest = F.conv2d(constant[None], weight, bias, padding=1)[0]
    return Folded(products, rest[:, torch.from_numpy(seen)].T.reshape(-1), seen, rest)


def _joined(products: list[Product]) -> list[Product]:
    """Fewer, larger products, each for JOINED_OUTPUTS neighbouring outputs and all inputs that they see.

    For the first layer, whose few channels would leave BLAS products of 57 x 38: the zeros this adds cost less.
    """
    groups: list[list[Product]] = []
    for product in products:
        if groups and len({p.to.start for p in groups[-1]} | {product.to.start}) <= JOINED_OUTPUTS:
            groups[-1].append(product)
        else:
            groups.append([product])
    joined = []
    for group in groups:
        of = slice(min(p.of.start for p in group), max(p.of.stop for p in group))
        to = slice(min(p.to.start for p in group), max(p.to.stop for p in group))
        weight = group[0].weight.new_zeros(of.stop - of.start, to.stop - to.start)
        for p in group:
            rows = slice(p.of.start - of.start, p.of.stop - of.start)
            weight[rows, p.to.start - to.start : p.to.stop - to.start] += p.weight
        joined.append(Product(of, to, weight))
    return joined


def _with_norm(conv: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias, float64, of a convolution followed by batch norm with its running statistics."""
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert conv.bias is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return conv.weight.double() * gain[:, None, None, None], (conv.bias.double() - norm.running_mean) * gain + norm.bias
