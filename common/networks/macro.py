"""The NAS-Bench-Macro network: MobileNetV2 blocks and identities in a chain (Su et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from common.networks.base import TappedNetwork
from common.networks.layers import EverySecond, conv_bn
from common.spaces.macro import (
    HEAD_CHANNELS,
    IDENTITY,
    KERNEL_EXPANSION,
    STAGE_LAYERS,
    Macro,
    MacroArch,
    changes_shape,
    layer_plan,
)


class MacroNetwork(TappedNetwork):
    """Stem, three stages of searched layers, a 1x1 convolution, global pooling, linear; taps after each stage.

    Identities that keep the shape are not built.
    """

    def __init__(self, blocks: Sequence[int], stem_channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = conv(3, stem_channels, 3)
        stages = [nn.Sequential() for _ in STAGE_LAYERS]
        for block, (stage, width_in, width, stride) in zip(blocks, layer_plan(stem_channels), strict=True):
            if block != IDENTITY:
                stages[stage].append(InvertedResidual(width_in, width, stride, *KERNEL_EXPANSION[block]))
            elif changes_shape(width_in, width, stride):
                projection = conv(width_in, width, 1, relu=False)
                stages[stage].append(nn.Sequential(EverySecond(), projection) if stride == 2 else projection)
        self.stages = nn.ModuleList(stages)
        self.head = conv(width, HEAD_CHANNELS, 1)
        self.classifier = nn.Linear(HEAD_CHANNELS, num_classes)

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = self.stem(x)
        taps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            taps.append(x)
        return self.classifier(self.head(x).mean((2, 3))), tuple(taps)


def build(space: Macro, arch: MacroArch) -> MacroNetwork:
    """The network of an architecture in the space's skeleton."""
    return MacroNetwork(arch.blocks, space.channels, space.num_classes)


class InvertedResidual(nn.Module):
    """MobileNetV2 block: 1x1 expansion, depthwise convolution, linear 1x1 projection, shortcut where shapes agree."""

    def __init__(self, width_in: int, width: int, stride: int, kernel: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * width_in
        self.body = nn.Sequential(
            conv(width_in, hidden, 1),
            conv(hidden, hidden, kernel, stride, groups=hidden),
            conv(hidden, width, 1, relu=False),
        )
        self.shortcut = not changes_shape(width_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return x + y if self.shortcut else y


def conv(width_in: int, width: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True) -> nn.Sequential:
    """Convolution - batch norm, and a ReLU unless told otherwise."""
    made = nn.Sequential(*conv_bn(width_in, width, kernel, stride, groups))
    return made.append(nn.ReLU(inplace=True)) if relu else made
