"""Networks of MBConv blocks: MobileNetV3 as in Once-for-All, and ProxylessNAS's kind of MobileNetV2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from common.networks.base import TappedNetwork
from common.networks.macro import conv
from common.spaces.mbconv import Block, Chain, MBConvSpace, Plan

ACTIVATIONS: dict[str, type[nn.ReLU | nn.ReLU6 | nn.Hardswish]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hswish": nn.Hardswish,
}


class MBConvNetwork(TappedNetwork):
    """Stem, first block, stages of blocks (a skipped layer is just not there), head; taps as the plan says."""

    def __init__(self, plan: Plan, stages: Iterable[Sequence[Block]], num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv(3, plan.stem, 3, stride=2, relu=False), activation(plan.act), InvertedResidual(plan.first)
        )
        self.stages = nn.ModuleList(nn.Sequential(*map(InvertedResidual, blocks)) for blocks in stages)
        self.expand = nn.Sequential(conv(plan.stages[-1].width, plan.expand, 1, relu=False), activation(plan.act))
        self.mix = nn.Sequential()
        if plan.mix:
            self.mix.append(nn.Linear(plan.expand, plan.mix, bias=False)).append(activation(plan.act))
        self.classifier = nn.Linear(plan.mix or plan.expand, num_classes)
        self.taps = plan.taps
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = plan.norm_eps

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = self.stem(x)
        outputs: list[Tensor] = []
        for part in (*self.stages, self.expand):
            x = part(x)
            outputs.append(x)
        first, second, third = self.taps
        return self.classifier(self.mix(x.mean((2, 3)))), (outputs[first], outputs[second], outputs[third])


def build(space: MBConvSpace, arch: Chain) -> MBConvNetwork:
    """The network of a chain of blocks, for both spaces of such."""
    return MBConvNetwork(space.plan, space.blocks(arch), space.num_classes)


class InvertedResidual(nn.Module):
    """1x1 expansion (none for ratio 1), depthwise convolution, squeeze-and-excitation, linear 1x1 projection."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.body = nn.Sequential()
        if block.expansion > 1:
            self.body.append(conv(block.width_in, block.hidden, 1, relu=False)).append(activation(block.act))
        self.body.append(conv(block.hidden, block.hidden, block.kernel, block.stride, block.hidden, relu=False))
        self.body.append(activation(block.act))
        if block.se:
            self.body.append(SqueezeExcitation(block.hidden, block.squeezed))
        self.body.append(conv(block.hidden, block.width, 1, relu=False))
        self.shortcut = block.shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return x + y if self.shortcut else y


class SqueezeExcitation(nn.Module):
    """Every channel is scaled by what two 1x1 convolutions make of all channels' means."""

    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.scale = nn.Sequential(
            nn.Conv2d(width, squeezed, 1), nn.ReLU(inplace=True), nn.Conv2d(squeezed, width, 1), nn.Hardsigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale(x.mean((2, 3), keepdim=True))


def activation(name: str) -> nn.Module:
    return ACTIVATIONS[name](inplace=True)
