"""The choices of the code as one-hot columns: the page to copy for an encoding of one's own."""

from __future__ import annotations

import numpy as np

from common.encoding.base import Encoding
from common.spaces.base import SearchSpace


class OneHot(Encoding):
    """(N, D) float32: the space's own one-hot code, of what can influence the output alone."""

    name = "one_hot"

    def encode(self, space: SearchSpace, codes: np.ndarray) -> np.ndarray:
        return space.one_hot(space.live_codes(codes))


class Costs(Encoding):
    """(N, 2) float64: logarithms of the FLOPs and of the parameters of the whole network."""

    name = "costs"

    def encode(self, space: SearchSpace, codes: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(np.stack(space.total_costs(codes), axis=1), 1.0))

    def columns(self, space: SearchSpace) -> list[str]:
        return ["log FLOPs", "log params"]
