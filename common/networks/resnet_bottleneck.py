"""ResNet-101 for 32x32 images, named as in the published CIFAR-100 checkpoints (pytorch-cifar100)."""

from __future__ import annotations

from torch import Tensor, nn

from common.networks.base import TappedNetwork
from common.networks.layers import conv_bn

WIDTHS, BLOCKS, EXPANSION = (64, 128, 256, 512), (3, 4, 23, 3), 4


class ResNet101(TappedNetwork):
    """3x3 stem without pooling, four stages of bottleneck blocks; taps after conv2_x, conv4_x and conv5_x."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*conv_bn(3, WIDTHS[0], 3), nn.ReLU(inplace=True))
        width_in = WIDTHS[0]
        stages: list[nn.Sequential] = []
        for index, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS, strict=True)):
            made: list[nn.Module] = []
            for block in range(blocks):
                made.append(Bottleneck(width_in, width, stride=2 if index and not block else 1))
                width_in = width * EXPANSION
            stages.append(nn.Sequential(*made))
        self.conv2_x, self.conv3_x, self.conv4_x, self.conv5_x = stages
        self.fc = nn.Linear(width_in, num_classes)

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        first = self.conv2_x(self.conv1(x))
        second = self.conv4_x(self.conv3_x(first))
        third = self.conv5_x(second)
        return self.fc(third.mean((2, 3))), (first, second, third)


def build(num_classes: int) -> ResNet101:
    return ResNet101(num_classes)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolution, projected shortcut where the shape changes."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * EXPANSION
        self.residual_function = nn.Sequential(
            *conv_bn(width_in, width, 1),
            nn.ReLU(inplace=True),
            *conv_bn(width, width, 3, stride),
            nn.ReLU(inplace=True),
            *conv_bn(width, out, 1),
        )
        changes = stride != 1 or width_in != out
        self.shortcut = nn.Sequential(*(conv_bn(width_in, out, 1, stride) if changes else ()))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.residual_function(x) + self.shortcut(x))
