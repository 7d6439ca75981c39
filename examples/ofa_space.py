"""A part of a space as a space of one's own: the MobileNets of RMI-NAS that Once-for-All's predictor knows.

    python -m rminas --cfg mb_imagenet SPACE.NAME examples/ofa_space.py:OfaPart RMINAS.STRATEGY screening \\
        BENCHMARK.PATH acc_predictor.pth BUDGET.MAX_FLOPS 450M DATA.PATH imagenet/

OFA has no expansion of 1, and no stage of a single layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from common.spaces.mbconv import Chain
from common.spaces.mobilenet import MobileNet, MobileNetArch


class OfaChain(MobileNetArch):
    """Choice 0, no layer, is for the second to fourth layers of a stage, and never for all three."""

    @classmethod
    def fault(cls, layers: Sequence[int]) -> str:
        if fault := super().fault(layers):
            return fault
        short = [stage for stage in cls.stages(layers) if not stage[0] or not any(stage[1:])]
        return f"OFA has no stage {short[0]}" if short else ""


@dataclass(frozen=True)
class OfaPart(MobileNet):
    chain: ClassVar[type[Chain]] = OfaChain
    size: ClassVar[int | None] = (6 * (7**3 - 1)) ** 5

    def sample(self, rng: np.random.Generator) -> Chain:
        """Every network of the part is equally likely."""
        while True:
            layers = rng.integers(self.choices, size=self.code_length).tolist()
            if not self.fault(layers):
                return self.with_choices(layers)
