"""The MobileNet space of RMI-NAS: OFA-MobileNetV3 with 20 searched layers in five stages (Cai et al., ICLR 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from common.spaces.mbconv import CANDIDATES, CHOICES, Block, Candidate, Chain, MBConvSpace, Plan, Stage, make_divisible

DEPTHS = (4,) * 5
STEM, FIRST, STAGES, EXPAND, MIX = 16, 16, (24, 40, 80, 112, 160), 960, 1280  # channels at width 1
STRIDES = (2, 2, 2, 1, 2)
ACTS = ("relu", "relu", "hswish", "hswish", "hswish")
SE = (False, True, False, True, True)


class MobileNetArch(Chain):
    """Choice 0 is no layer; at the first layer of a stage, which changes the shape, it is `k3e1`."""

    depths = DEPTHS


@dataclass(frozen=True)
class MobileNet(MBConvSpace):
    """The space as the RMI-NAS archive has it: width 1.2, every stage 4 layers deep, 7 choices a layer.

    Six choices are ProxylessNAS's MBConv candidates, kernels {3, 5, 7} x expansions {3, 6} (OFA itself has expansions
    {3, 4, 6}), the seventh is zero: the layer is skipped. Where the shape changes, at the first layer of every stage,
    nothing can be skipped; there the archive's seventh candidate is an MBConv block of kernel 3 and expansion 1, ours
    too. So all 7^20 codes are networks. Taps: after blocks 4, 12 and 20, the fixed first block being block 0 and
    skipped layers counted, that is after stages 1, 3 and 5.
    """

    width: float = 1.2

    name: ClassVar[str] = "mobilenet"
    title: ClassVar[str] = "OFA-MobileNetV3"
    code_length: ClassVar[int] = sum(DEPTHS)
    size: ClassVar[int | None] = CHOICES ** sum(DEPTHS)
    chain: ClassVar[type[Chain]] = MobileNetArch

    @property
    def plan(self) -> Plan:
        stem, first, expand, mix, *widths = (
            make_divisible(base * self.width) for base in (STEM, FIRST, EXPAND, MIX, *STAGES)
        )
        stages = tuple(map(Stage, widths, DEPTHS, STRIDES, ACTS, SE))
        return Plan(stem, Block(stem, first, 1, 3, 1, "relu"), stages, expand, mix, "hswish", (0, 2, 4), norm_eps=1e-5)

    @staticmethod
    def candidates(place: int) -> tuple[Candidate, ...]:
        return (None if place else (3, 1), *CANDIDATES)

    def canonical_key(self, arch: Chain) -> str:
        """The text form with the skipped layers of every stage moved to its end: they are identities."""
        key: list[int] = []
        for first, *others in arch.stages(arch.layers):
            key += [first, *sorted(others, key=lambda choice: choice == 0)]
        return self._format(key)
