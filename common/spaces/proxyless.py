"""The ProxylessNAS-like space of RMI-NAS in XNAS: depth of every stage, kernel and expansion of every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from common.spaces.mbconv import CANDIDATES, Block, Candidate, Chain, MBConvSpace, Plan, Stage, make_divisible

DEPTHS = (4, 4, 4, 4, 4, 1)  # layers at most
STEM, FIRST, STAGES, EXPAND = 32, 16, (24, 40, 80, 96, 192, 320), 1280  # channels at width 1
STRIDES = (2, 2, 2, 1, 2, 1)
ACT = "relu6"


class ProxylessArch(Chain):
    """Choice 0 is no layer. The layers of a stage are its first ones, at least one."""

    depths = DEPTHS

    @classmethod
    def fault(cls, layers: Sequence[int]) -> str:
        found = super().fault(layers)
        for number, stage in enumerate(cls.stages(layers), start=1):
            if not found and 0 in stage[: max(depth_of(stage), 1)]:
                found = f"stage {number} has a gap: its layers must be its first ones, at least one"
        return found


@dataclass(frozen=True)
class Proxyless(MBConvSpace):
    """The space as the port samples it: five stages of 1 to 4 layers and one of a single layer, MobileNetV2 blocks.

    Every layer has one of six MBConv blocks, kernels {3, 5, 7} x expansions {3, 6}; stride and new width are those of
    a stage's first layer, and the first block is fixed (kernel 3, expansion 1). Widths are ProxylessNAS's. Depth is no
    position of its own: a code has a position for each of the 21 possible layers, 0 where there is none.

    Taps: after stage 2, after stage 4, and after the last 1x1 convolution. (The port takes the first two one block
    before the end of these stages, which makes their width depend on the depth.)
    """

    name: ClassVar[str] = "proxyless"
    title: ClassVar[str] = "ProxylessNAS"
    code_length: ClassVar[int] = sum(DEPTHS)
    size: ClassVar[int | None] = sum(len(CANDIDATES) ** depth for depth in range(1, 5)) ** 5 * len(CANDIDATES)
    chain: ClassVar[type[Chain]] = ProxylessArch

    @property
    def plan(self) -> Plan:
        stem, first, *widths = (make_divisible(base * self.width) for base in (STEM, FIRST, *STAGES))
        expand = make_divisible(EXPAND * max(self.width, 1.0))  # as in MobileNetV2, a thin network keeps its head
        stages = tuple(Stage(*sizes, ACT) for sizes in zip(widths, DEPTHS, STRIDES, strict=True))
        return Plan(stem, Block(stem, first, 1, 3, 1, ACT), stages, expand, 0, ACT, (1, 3, 6), norm_eps=1e-3)

    @staticmethod
    def candidates(place: int) -> tuple[Candidate, ...]:
        return (None, *CANDIDATES)

    def sample(self, rng: np.random.Generator) -> ProxylessArch:
        """Every depth of a stage is equally likely, then every block."""
        layers: list[int] = []
        for most in DEPTHS:
            depth = int(rng.integers(1, most + 1))
            layers += [*rng.integers(1, len(CANDIDATES) + 1, size=depth).tolist(), *(0,) * (most - depth)]
        return ProxylessArch(tuple(layers))

    def canonical_key(self, arch: Chain) -> str:
        return self.format(arch)

    def most_voted(self, votes: np.ndarray) -> ProxylessArch:
        """Of every stage the most voted depth, then of every layer the most voted block; ties go to the lower.

        The votes for depth d are those for some d-th layer less those for some (d+1)-th.
        """
        layers: list[int] = []
        for stage in np.split(votes, np.cumsum(DEPTHS)[:-1]):
            there = stage[:, 1:].sum(1)
            depth = 1 + int(np.argmax(there - np.append(there[1:], 0)))
            blocks = 1 + stage[:depth, 1:].argmax(1)
            layers += [*blocks.tolist(), *(0,) * (len(stage) - depth)]
        return ProxylessArch(tuple(layers))


def depth_of(stage: Sequence[int]) -> int:
    """Where the last layer of a stage stands, counted from 1; 0 where there is none."""
    return max((place for place, choice in enumerate(stage, start=1) if choice), default=0)
