"""ResNets for small images (He et al. 2016, section 4.2), named as in the published CIFAR checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from common.networks.base import TappedNetwork
from common.networks.checkpoints import fill, fold_biases, read_checkpoint, state_dict_of

WIDTHS = (16, 32, 64)


class CifarResNet(TappedNetwork):
    """3x3 stem, three stages of `blocks` basic blocks, so 6 * blocks + 2 layers; taps after each stage.

    projections: a shortcut that changes the shape is a 1x1 convolution with batch norm (option B), not without
    parameters (A).
    """

    def __init__(self, num_classes: int, blocks: int, projections: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = stage(WIDTHS[0], WIDTHS[0], 1, blocks, projections)
        self.layer2 = stage(WIDTHS[0], WIDTHS[1], 2, blocks, projections)
        self.layer3 = stage(WIDTHS[1], WIDTHS[2], 2, blocks, projections)
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


def build_resnet20(num_classes: int) -> CifarResNet:
    """ResNet-20 with parameter-free shortcuts (akamaster/pytorch_resnet_cifar10)."""
    return CifarResNet(num_classes, blocks=3, projections=False)


def build_resnet32(num_classes: int) -> CifarResNet:
    """ResNet-32 with projections."""
    return CifarResNet(num_classes, blocks=5, projections=True)


def load_resnet32(path: Path, num_classes: int) -> CifarResNet:
    """From weights whose projections are called `shortcut` (snu-ccl/FHE-MP-CNN) or `downsample` (alinlab/L2T-ww).

    Raises: InputError when the file is missing, or of another network or number of classes.
    """
    state = state_dict_of(path, read_checkpoint(path))
    network = build_resnet32(num_classes)
    fill(network, "resnet32", path, in_own_form(state))
    return network


def in_own_form(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a ResNet-32 under the names of CifarResNet, whose convolutions have no biases."""
    return fold_biases({key.replace(".downsample.", ".shortcut."): value for key, value in state.items()})


class BasicBlock(nn.Module):
    """Two 3x3 convolutions. Without projections the shortcut takes every second pixel and fills up with zeros."""

    def __init__(self, width_in: int, width: int, stride: int, projections: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.new_channels = stride, width - width_in
        if projections and self.new_channels:
            self.shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "shortcut"):
            x = self.shortcut(x)
        elif self.new_channels:
            half = self.new_channels // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return F.relu(y + x)


def stage(width_in: int, width: int, stride: int, blocks: int, projections: bool) -> nn.Sequential:
    widths = [width_in, *[width] * (blocks - 1)]
    return nn.Sequential(
        *(BasicBlock(before, width, 1 if i else stride, projections) for i, before in enumerate(widths))
    )
