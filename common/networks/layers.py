"""What nearly every network is made of."""

from __future__ import annotations

from torch import nn


def conv_bn(
    width_in: int, width: int, kernel: int, stride: int = 1, groups: int = 1, eps: float = 1e-5, momentum: float = 0.1
) -> tuple[nn.Module, nn.Module]:
    """A convolution without bias that keeps the side (at stride 1 and for an odd kernel), and its batch norm."""
    conv = nn.Conv2d(width_in, width, kernel, stride, kernel // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(width, eps, momentum)


class EverySecond(nn.AvgPool2d):
    """Every second pixel of (B, C, H, W) in both directions, from the first on.

    Before a 1x1 convolution it does what a stride of 2 would, and both are safe in channels-last on a CPU, where
    networks train several times faster: oneDNN's strided 1x1 convolutions are not (`common.training.population`).
    Unlike a slice, its gradient is laid out as its input is.
    """

    def __init__(self) -> None:
        super().__init__(1, stride=2)
