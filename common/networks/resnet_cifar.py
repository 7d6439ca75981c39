"""ResNet-20 for small images (He et al. 2016, section 4.2), named as in the published CIFAR-10 checkpoint."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from common.networks.base import TappedNetwork

WIDTHS, BLOCKS = (16, 32, 64), 3


class ResNet20(TappedNetwork):
    """3x3 stem, three stages of three basic blocks with parameter-free shortcuts (option A); taps after each stage."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = stage(WIDTHS[0], WIDTHS[0], stride=1)
        self.layer2 = stage(WIDTHS[0], WIDTHS[1], stride=2)
        self.layer3 = stage(WIDTHS[1], WIDTHS[2], stride=2)
        self.linear = nn.Linear(WIDTHS[2], num_classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = F.relu(self.bn1(self.conv1(x)))
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        return self.linear(third.mean((2, 3))), (first, second, third)


def build(num_classes: int) -> ResNet20:
    return ResNet20(num_classes)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the shortcut takes every second pixel and fills the new channels with zeros."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.new_channels = stride, width - width_in

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.new_channels:
            half = self.new_channels // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return F.relu(y + x)


def stage(width_in: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(width_in, width, stride), *(BasicBlock(width, width, 1) for _ in range(BLOCKS - 1)))
