"""The trained LeNet as plain matrix products, for scoring a whole space on the CPU.

Positions of the feature tensor, and of every later map, that are the same for all architectures are computed once and
become biases; what remains of the convolutions are products of contiguous slices (`renas.convolution`). Standardisation
and batch norm are folded into weights and biases. On NAS-Bench-101 that leaves two thirds of the network's arithmetic,
and the predictions are those of the network up to rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from renas.convolution import Convolution
from renas.predictor import LeNet, Standardizer


class Line(NamedTuple):
    """A line of a folded map: its bias, and the products `line[:, to] += inputs[:, of] @ weight` that make the rest."""

    place: slice  # in the map
    bias: Tensor
    products: list[tuple[slice, slice, Tensor]]  # of, to, weight


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
            weight1, bias1 = _with_norm(conv1, norm1)
            weight2, bias2 = _with_norm(conv2, norm2)
            first = Convolution(varying, channels, len(weight1))
            second = Convolution(first.outputs, len(weight1), len(weight2))
            inputs = scale.flatten(1)[:, self.entries].T.reshape(-1)  # (entries * channels,), position by position
            rest = F.conv2d(zero[None], weight1, bias1, padding=1)[0]
            self.first = _lines(first, first.stack(weight1), _by_position(rest, first.order[:, ::-1]), inputs)
            still = rest.relu() * ~torch.from_numpy(first.outputs.T)
            rest = _by_position(F.conv2d(still[None], weight2, bias2, padding=1)[0], second.order)
            self.second = _lines(second, second.stack(weight2.transpose(2, 3)), rest)
            maps = dense[0].weight.double().view(dense[0].out_features, -1, side, side)
            weight = torch.stack([_by_position(its, second.order) for its in maps])
            bias = dense[0].bias.double() + weight[:, second.size :] @ rest[second.size :].relu()
            self.dense = [(weight[:, : second.size].float(), bias.float())]
            self.dense += [(layer.weight.detach(), layer.bias.detach()) for layer in dense[1:]]
        self.width = first.size
        self.shape = (channels, side, side)

    @property
    def flops(self) -> int:
        """Floating-point operations per architecture, 2 per multiply-accumulate."""
        weights = [weight for line in (*self.first, *self.second) for *_, weight in line.products]
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
        features = torch.empty(n, self.width)
        for line in self.first:
            _make(line, x, features[:, line.place])
        weight, bias = self.dense[0]
        hidden = bias.repeat(n, 1)
        space = torch.empty(n, max(len(line.bias) for line in self.second))
        for line in self.second:  # a line of this map stays in the cache until the dense layer has taken it
            hidden.addmm_(_make(line, features, space[:, : len(line.bias)]), weight[:, line.place].T)
        hidden.relu_()
        for weight, bias in self.dense[1:-1]:
            hidden = F.linear(hidden, weight, bias).relu_()
        return F.linear(hidden, *self.dense[-1]).squeeze(1).numpy()


def _make(line: Line, x: Tensor, out: Tensor) -> Tensor:
    out.copy_(line.bias)
    for of, to, weight in line.products:
        out[:, to].addmm_(x[:, of], weight)
    return out.relu_()


def _lines(convolution: Convolution, kernel: Tensor, rest: Tensor, scale: Tensor | None = None) -> list[Line]:
    """Args: rest: the output for a constant input alone. scale: what the inputs are yet to be divided by."""
    return [
        Line(
            place,
            rest[place].float(),
            [
                (
                    p.of,
                    slice(p.to.start - place.start, p.to.stop - place.start),
                    (kernel[p.rows, p.columns] / (1 if scale is None else scale[p.of])).float().T,
                )
                for p in products
            ],
        )
        for place, products in convolution.lines
    ]


def _by_position(maps: Tensor, order: np.ndarray) -> Tensor:
    """(positions * C,) of maps (C, V, V), positions (row, column) in this order."""
    rows, columns = torch.from_numpy(order.copy()).T
    return maps[:, rows, columns].T.flatten()


def _with_norm(conv: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias, float64, of a convolution followed by batch norm with its running statistics."""
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert conv.bias is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return conv.weight.double() * gain[:, None, None, None], (conv.bias.double() - norm.running_mean) * gain + norm.bias
