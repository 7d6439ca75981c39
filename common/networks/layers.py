"""What nearly every network is made of."""

from __future__ import annotations

from torch import nn


def conv_bn(
    width_in: int, width: int, kernel: int, stride: int = 1, groups: int = 1, eps: float = 1e-5, momentum: float = 0.1
) -> tuple[nn.Module, nn.Module]:
    """A convolution without bias that keeps the side (at stride 1 and for an odd kernel), and its batch norm."""
    conv = nn.Conv2d(width_in, width, kernel, stride, kernel // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(width, eps, momentum)
