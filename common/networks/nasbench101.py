"""The NAS-Bench-101 network around one cell (Ying et al. 2019, section 2 and figure 1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import torch
from torch import Tensor, nn

from common.networks.base import TappedNetwork
from common.networks.layers import conv_bn
from common.spaces.nasbench101 import (
    MAX_VERTICES,
    MODULES_PER_STACK,
    OPS,
    STACKS,
    Cell101,
    NasBench101,
    vertex_channels,
)

BN_EPS = 1e-5
BN_MOMENTUM = 0.003  # the original's moving averages decay by 0.997 a step; PyTorch names the complement


class Network101(TappedNetwork):
    """Stem, three stacks of three cells with 2x2 max-pooling between them, global pooling, linear.

    Taps: after each stack. Weights start as in the original: convolutions from a normal distribution of variance
    1 / fan-in, the classifier from Glorot's uniform one with zero bias.

    Args: matrix: V x V upper triangular adjacency of a cell without dead vertices. ops: index into OPS of the inner
    vertices. stem_channels: channels of the first stack; they double with every further one.
    """

    def __init__(
        self, matrix: Sequence[Sequence[int]], ops: Sequence[int], stem_channels: int, num_classes: int
    ) -> None:
        super().__init__()
        self.stem = conv_bn_relu(3, stem_channels, 3)
        stacks: list[nn.Sequential] = []
        width_in = stem_channels
        for stack in range(STACKS):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if stack else []
            for _ in range(MODULES_PER_STACK):
                layers.append(Cell(matrix, ops, width_in, stem_channels * 2**stack))
                width_in = stem_channels * 2**stack
            stacks.append(nn.Sequential(*layers))
        self.stacks = nn.ModuleList(stacks)
        self.classifier = nn.Linear(width_in, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = self.stem(x)
        taps: list[Tensor] = []
        for stack in self.stacks:
            x = stack(x)
            taps.append(x)
        return self.classifier(x.mean((2, 3))), tuple(taps)


def build(space: NasBench101, arch: Cell101) -> Network101:
    """The network of a cell in the space's skeleton. Raises ValueError when input and output are not connected."""
    pruned = arch.pruned()
    if pruned is None:
        raise ValueError(f"no path from input to output in {space.format(arch)}")
    return Network101(pruned.matrix, pruned.ops, space.channels, space.num_classes)


class Cell(nn.Module):
    """One cell: `ops[v - 1]` works at inner vertex v, `projections[v]` on the edge from the input to vertex v."""

    def __init__(self, matrix: Sequence[Sequence[int]], ops: Sequence[int], width_in: int, width: int) -> None:
        super().__init__()
        last = len(matrix) - 1
        self.channels = channels_of(matrix, width_in, width)
        self.sources = [[u for u in range(1, v) if matrix[u][v]] for v in range(last + 1)]  # inner ones
        self.projections = nn.ModuleDict(
            {str(v): conv_bn_relu(width_in, self.channels[v], 1) for v in range(1, last + 1) if matrix[0][v]}
        )
        self.ops = nn.ModuleList(operation(OPS[op], self.channels[v]) for v, op in enumerate(ops, start=1))

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for v, op in enumerate(self.ops, start=1):
            summands = [values[u][:, : self.channels[v]] for u in self.sources[v]]
            if str(v) in self.projections:
                summands.append(self.projections[str(v)](x))
            values.append(op(reduce(torch.add, summands)))
        parts = [values[u] for u in self.sources[-1]]
        last = str(len(values))
        if last not in self.projections:
            return torch.cat(parts, dim=1)
        shortcut = self.projections[last](x)
        return torch.cat(parts, dim=1) + shortcut if parts else shortcut


def operation(name: str, channels: int) -> nn.Module:
    """What an inner vertex does to the sum of its inputs."""
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, stride=1, padding=1)
    return conv_bn_relu(channels, channels, {"conv3x3-bn-relu": 3, "conv1x1-bn-relu": 1}[name])


def conv_bn_relu(width_in: int, width: int, kernel: int) -> nn.Sequential:
    """Convolution - batch norm - ReLU."""
    return nn.Sequential(*conv_bn(width_in, width, kernel, eps=BN_EPS, momentum=BN_MOMENTUM), nn.ReLU(inplace=True))


def channels_of(matrix: Sequence[Sequence[int]], width_in: int, width: int) -> list[int]:
    """Channels of every vertex of an unpadded cell, by the rule of `vertex_channels`."""
    n = len(matrix)
    keep = [*range(n - 1), MAX_VERTICES - 1]
    padded = np.zeros((MAX_VERTICES, MAX_VERTICES), dtype=np.int64)
    padded[np.ix_(keep, keep)] = matrix
    return vertex_channels(padded[None], width_in, width)[0, keep].tolist()
