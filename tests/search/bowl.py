"""A search problem that costs nothing: a smooth function of the code with an uneven part on top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome
from common.seeds import rng_for
from common.spaces import SearchSpace


@dataclass(frozen=True)
class Bowl(Evaluator):
    """Minus the distance of the live code from a hidden one, and a little noise that an architecture always has."""

    space: SearchSpace
    name = "bowl"

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        code = self.space.live_codes(self.space.to_codes([arch]))[0]
        hidden = rng_for(0, "hidden").integers(self.space.choices, size=len(code))
        noise = rng_for(0, "noise", *code.tolist()).normal()
        return Outcome(float(-np.sum(code != hidden) + 0.1 * noise))
