"""The NAS-Bench-201 network around one cell (Dong & Yang 2020, figure 1): the net for search and for the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from common.networks.base import TappedNetwork
from common.networks.layers import conv_bn
from common.spaces.nasbench201 import CONV1, CONV3, EDGES, NONE, POOL, SKIP, STAGES, Cell201, NasBench201


class Network201(TappedNetwork):
    """Stem, three stages of cells with stride-2 residual blocks between them, bn-relu, global pooling, linear.

    Taps (RMI-NAS): after the last cell of the first stage, of the second stage, and after the last bn-relu.
    """

    def __init__(self, ops: Sequence[int], channels: int, cells_per_stage: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, channels, 3))
        stages: list[nn.Sequential] = []
        reductions: list[nn.Module] = []
        for stage in range(STAGES):
            width = channels * 2**stage
            reductions.append(ResidualBlock(width // 2, width) if stage else nn.Identity())
            stages.append(nn.Sequential(*(Cell(ops, width) for _ in range(cells_per_stage))))
        self.reductions = nn.ModuleList(reductions)
        self.stages = nn.ModuleList(stages)
        self.last = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Linear(width, num_classes)

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = self.stem(x)
        taps: list[Tensor] = []
        for reduction, stage in zip(self.reductions, self.stages, strict=True):
            x = stage(reduction(x))
            taps.append(x)
        taps[-1] = x = self.last(x)
        return self.classifier(x.mean((2, 3))), tuple(taps)


def build(space: NasBench201, arch: Cell201) -> Network201:
    """The network of a cell in the space's skeleton."""
    return Network201(arch.ops, space.channels, space.cells_per_stage, space.num_classes)


class Cell(nn.Module):
    """One cell; edges that carry `none` and edges that cannot reach the output are not built."""

    def __init__(self, ops: Sequence[int], width: int) -> None:
        super().__init__()
        self.edges = [edge for edge, op in enumerate(ops) if op != NONE]
        while True:  # drop edges from nodes without input and into nodes without output, until nothing changes
            sources, targets = {EDGES[e][0] for e in self.edges} | {3}, {EDGES[e][1] for e in self.edges} | {0}
            live = [e for e in self.edges if EDGES[e][0] in targets and EDGES[e][1] in sources]
            if live == self.edges:
                break
            self.edges = live
        makers: dict[int, Callable[[], nn.Module]] = {
            CONV1: lambda: conv(width, 1),
            CONV3: lambda: conv(width, 3),
            SKIP: nn.Identity,
        }
        makers[POOL] = lambda: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        self.ops = nn.ModuleList(makers[ops[e]]() for e in self.edges)

    def forward(self, x: Tensor) -> Tensor:
        nodes: list[Tensor | None] = [x, None, None, None]
        for edge, op in zip(self.edges, self.ops, strict=True):
            source, target = EDGES[edge]
            before, came = nodes[target], nodes[source]
            assert came is not None  # edges are in topological order and dead ones are gone
            y = op(came)
            nodes[target] = y if before is None else before + y
        out = nodes[-1]
        return torch.zeros_like(x) if out is None else out


class ResidualBlock(nn.Module):
    """Basic block of stride 2, with an average-pool + 1x1 convolution shortcut and no ReLU after the sum."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(width_in, 3, width, stride=2), conv(width, 3))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, stride=2), nn.Conv2d(width_in, width, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


def conv(width_in: int, kernel: int, width: int | None = None, stride: int = 1) -> nn.Sequential:
    """ReLU - convolution - batch norm."""
    width = width_in if width is None else width
    return nn.Sequential(nn.ReLU(), *conv_bn(width_in, width, kernel, stride))
