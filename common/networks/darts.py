"""The DARTS network around a genotype (Liu et al. 2019): the net for search, and for training what was found."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.networks.base import TappedNetwork
from common.networks.layers import EverySecond, conv_bn
from common.spaces.darts import (
    AVG_POOL,
    INPUTS,
    KERNELS,
    MAX_POOL,
    MIN_LAYERS,
    NODES,
    NONE,
    SEP3,
    SEP5,
    SKIP,
    CellPlan,
    Darts,
    Genotype,
    cell_plan,
)
from common.spaces.darts import Cell as CellOps


class DartsNetwork(TappedNetwork):
    """Stem, cells, global pooling, linear; every batch norm with learnt scale and offset.

    Taps (RMI-NAS): after cells layers//3 - 1, 2*layers//3 - 1 and the last. A pooling is followed by a batch norm, as
    in the network that RMI-NAS searched and retrained with (of pt.darts; DARTS' own evaluation network has none).
    `none` operations are not built, nor is the preprocessing of an input that the cell does not use.

    Attributes: drop_path: probability, in [0, 1), that an operation other than an identity is left out for an image,
    in train mode only; set it before every epoch.
    """

    def __init__(
        self,
        genotype: Genotype,
        channels: int,
        layers: int,
        num_classes: int,
        imagenet_stem: bool,
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        if layers < MIN_LAYERS:
            raise ValueError(f"{layers} layers; the two reductions need {MIN_LAYERS} at least")
        self.drop_path = 0.0
        if imagenet_stem:
            half = channels // 2
            self.stem = nn.Sequential(*conv_bn(3, half, 3, 2), nn.ReLU(), *conv_bn(half, channels, 3, 2))
            self.stem_reduce: nn.Module = nn.Sequential(nn.ReLU(), *conv_bn(channels, channels, 3, 2))
        else:
            self.stem = nn.Sequential(*conv_bn(3, 3 * channels, 3))
            self.stem_reduce = nn.Identity()
        plan = cell_plan(channels, layers, imagenet_stem)
        self.cells = nn.ModuleList(Cell(genotype.reduce if p.reduction else genotype.normal, p) for p in plan)
        self.taps = (layers // 3 - 1, 2 * layers // 3 - 1, layers - 1)
        self.auxiliary_at = 2 * layers // 3
        width = len(NODES) * plan[self.auxiliary_at].width
        self.auxiliary_head = AuxiliaryHead(width, num_classes) if auxiliary else None
        self.classifier = nn.Linear(len(NODES) * plan[-1].width, num_classes)

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        taps: list[Tensor] = []
        for index, out in enumerate(self._outputs(x)):
            if index in self.taps:
                taps.append(out)
        return self.classifier(out.mean((2, 3))), tuple(taps)

    def forward_auxiliary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and those of the auxiliary head behind the second reduction, both (B, classes).

        Raises: ValueError for a network without auxiliary head.
        """
        if self.auxiliary_head is None:
            raise ValueError("the network was built without auxiliary head")
        for index, out in enumerate(self._outputs(x)):
            if index == self.auxiliary_at:
                auxiliary = self.auxiliary_head(out)
        return self.classifier(out.mean((2, 3))), auxiliary

    def _outputs(self, x: Tensor) -> Iterator[Tensor]:
        """The output of every cell, first to last."""
        before = self.stem(x)
        last = self.stem_reduce(before)
        drop_path = self.drop_path if self.training else 0.0
        for cell in self.cells:
            before, last = last, cell(before, last, drop_path)
            yield last


def build(space: Darts, arch: Genotype) -> DartsNetwork:
    """The network of a genotype in the space's skeleton."""
    return DartsNetwork(arch, space.channels, space.layers, space.num_classes, space.imagenet_stem)


class Cell(nn.Module):
    """One cell. An input that no operation takes is not preprocessed; a node without operation is zero."""

    def __init__(self, cell: CellOps, plan: CellPlan) -> None:
        super().__init__()
        width = plan.width
        edges = [(source, INPUTS + place // 2, op) for place, (op, source) in enumerate(cell) if op != NONE]
        self.edges = [(source, node) for source, node, _ in edges]
        self.ops = nn.ModuleList(
            make_op(op, width, 2 if plan.reduction and source < INPUTS else 1) for source, _, op in edges
        )
        used = {source for source, _ in self.edges}
        makers = [FactorizedReduce if plan.after_reduction else relu_conv, relu_conv]
        self.preprocess = nn.ModuleList(
            maker(width_in, width) if source in used else nn.Identity()
            for source, (maker, width_in) in enumerate(zip(makers, (plan.width_before, plan.width_last), strict=True))
        )
        self.width = width
        self.stride = 2 if plan.reduction else 1

    def forward(self, before: Tensor, last: Tensor, drop_path: float) -> Tensor:
        inputs = [preprocess(x) for preprocess, x in zip(self.preprocess, (before, last), strict=True)]
        nodes: list[Tensor | None] = [*inputs, *(None for _ in NODES)]
        for (source, node), op in zip(self.edges, self.ops, strict=True):
            came = nodes[source]
            y = op(self._zeros(last) if came is None else came)
            if drop_path and not isinstance(op, nn.Identity):
                y = drop_images(y, drop_path)
            there = nodes[node]
            nodes[node] = y if there is None else there + y
        return torch.cat([self._zeros(last) if node is None else node for node in nodes[INPUTS:]], dim=1)

    def _zeros(self, last: Tensor) -> Tensor:
        """What a node without operation holds; `last` is the cell's input from the last cell."""
        batch, _, height, width = last.shape
        return last.new_zeros(batch, self.width, -(-height // self.stride), -(-width // self.stride))


class FactorizedReduce(nn.Module):
    """ReLU, two 1x1 convolutions of stride 2, one of them a pixel off, side by side, and batch norm; even sides.

    The pixels are taken before the convolutions (`EverySecond`).
    """

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.even = nn.Conv2d(width_in, half, 1, bias=False)
        self.odd = nn.Conv2d(width_in, width - half, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.every_second = EverySecond()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        even, odd = self.every_second(x), self.every_second(F.pad(x, (-1, 0, -1, 0)))
        return self.norm(torch.cat([self.even(even), self.odd(odd)], dim=1))


class AuxiliaryHead(nn.Module):
    """A second classifier on the features behind the second reduction (width channels), for training only.

    Pools to 2 x 2 by two overlapping windows a side: of 5 pixels, as published, where the side is 7 (ImageNet) or 8
    (CIFAR). The second batch norm is that of DARTS' CIFAR head; its ImageNet head lacks it by what its authors call
    a typo.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(width, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        side = x.shape[-1]
        window = min(max(5, -(-side // 2)), side - 1)
        x = F.avg_pool2d(F.relu(x), window, stride=side - window)
        return self.classifier(self.features(x).flatten(1))


def make_op(op: int, width: int, stride: int) -> nn.Module:
    """The operation with index `op` of OPS, which is not `none`."""
    if op == SKIP:
        return nn.Identity() if stride == 1 else FactorizedReduce(width, width)
    if op == MAX_POOL:
        return nn.Sequential(nn.MaxPool2d(3, stride, 1), nn.BatchNorm2d(width))
    if op == AVG_POOL:
        return nn.Sequential(nn.AvgPool2d(3, stride, 1, count_include_pad=False), nn.BatchNorm2d(width))
    kernel = KERNELS[op]
    if op in (SEP3, SEP5):
        return nn.Sequential(*depthwise(width, kernel, stride, 1), *depthwise(width, kernel, 1, 1))
    return nn.Sequential(*depthwise(width, kernel, stride, 2))


def depthwise(width: int, kernel: int, stride: int, dilation: int) -> tuple[nn.Module, ...]:
    """ReLU - depthwise convolution - 1x1 convolution - batch norm.

    A convolution with stride 2 and dilation 2 reads every second pixel only: it is an ordinary one on those, and
    computed so, because the gradients of the other take several times longer on a CPU.
    """
    before: nn.Module = nn.ReLU()
    if stride == dilation == 2:
        before, stride, dilation = nn.Sequential(before, EverySecond()), 1, 1
    padding = dilation * (kernel // 2)
    return (
        before,
        nn.Conv2d(width, width, kernel, stride, padding, dilation, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
    )


def relu_conv(width_in: int, width: int) -> nn.Sequential:
    """ReLU - 1x1 convolution - batch norm."""
    return nn.Sequential(nn.ReLU(), *conv_bn(width_in, width, 1))


def drop_images(x: Tensor, probability: float) -> Tensor:
    """`x` (B, ...) with every image zeroed with a probability, and the others scaled up so that the mean stays."""
    kept = x.new_empty(x.shape[0], *(1,) * (x.ndim - 1)).bernoulli_(1 - probability)
    return x * (kept / (1 - probability))
