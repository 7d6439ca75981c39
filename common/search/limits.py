"""Which architectures a search may choose from when the user bounds what they cost (`common.budget.Budget`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.search.candidates import Candidates, Pool, WholeSpace
from common.search.latencies import Latencies
from common.spaces.base import SearchSpace


@dataclass(frozen=True)
class Limits:
    """Bounds on the networks of `space`, each included; what has no known latency is outside a bound on it."""

    space: SearchSpace[Any]
    max_params: float = math.inf
    max_flops: float = math.inf
    max_latency: float = math.inf
    latencies: Latencies | None = None

    def admits(self, codes: np.ndarray) -> np.ndarray:
        """(N,) bool of codes (N, code_length): which are within the bounds."""
        return self.excess(codes) <= 0

    def excess(self, codes: np.ndarray) -> np.ndarray:
        """(N,) by how much of a bound it is exceeded, the largest of all; 0 and below within them."""
        over = np.full(len(codes), -1.0)
        if min(self.max_params, self.max_flops) < math.inf:
            flops, params = self.space.total_costs(codes)
            over = np.maximum(flops / self.max_flops, params / self.max_params) - 1
        if self.latencies is not None:
            over = np.maximum(over, np.nan_to_num(self.latencies.of(codes) / self.max_latency - 1, nan=math.inf))
        return over

    def candidates(self, space: SearchSpace[Any]) -> Candidates:
        """What is within, of a space with the same codes. Raises InputError where that is nothing."""
        if self.latencies is not None and self.latencies.listed is not None:
            return Pool(space, codes=self.latencies.listed, limits=self)
        return WholeSpace(space, self)

    def __str__(self) -> str:
        """For messages: "at most 500,000 parameters and 60,000,000 FLOPs"."""
        bounds = ((self.max_params, "parameters"), (self.max_flops, "FLOPs"), (self.max_latency, "ms"))
        return "at most " + " and ".join(f"{bound:,.15g} {unit}" for bound, unit in bounds if bound < math.inf)
