"""A network's size as a second opinion on it, beside the loss. Not in the paper.

The loss after a few updates and the number of parameters err in different ways, so that both together order networks
better than either: 60 random NAS-Bench-201 networks with a tau of .60 by 60 updates, .50 by parameters, .70 by both.
Each counts in standard deviations of its logarithm over random networks, so that one weight fits any space and any
number of updates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.spaces import SearchSpace


@dataclass(frozen=True)
class Size:
    """log loss / its std - weight * log parameters / its std, as a factor of the loss that orders networks the same."""

    space: SearchSpace
    exponent: float = 0.0  # 0: the loss alone
    typical: float = 1.0  # parameters of a network whose factor is 1

    @classmethod
    def learnt(cls, space: SearchSpace, weight: float, archs: Sequence[Any], losses: Sequence[float]) -> Size:
        """From random networks and their last losses; those with an infinite one say nothing.

        The loss alone where `weight` is 0, or where fewer than two networks of different losses and sizes are left.
        """
        known = [i for i, loss in enumerate(losses) if np.isfinite(loss) and loss > 0]
        if not weight or len(known) < 2:
            return cls(space)
        logs = np.log([losses[i] for i in known])
        sizes = _log_parameters(space, [archs[i] for i in known])
        if sizes.min() == sizes.max():
            return cls(space)
        return cls(space, weight * float(logs.std() / sizes.std()), float(np.exp(sizes.mean())))

    def log_factors(self, archs: Sequence[Any]) -> np.ndarray:
        """(n,) logarithms of what the losses of n architectures are multiplied by."""
        if not self.exponent or not len(archs):
            return np.zeros(len(archs))
        return self.exponent * (np.log(self.typical) - _log_parameters(self.space, archs))


def _log_parameters(space: SearchSpace, archs: Sequence[Any]) -> np.ndarray:
    _, parameters = space.total_costs(space.to_codes(archs))
    return np.log(parameters.astype(np.float64))
