"""The default combination with RMI: what training-free scores say, and how well a shallow network imitates a teacher.

Ours: the loss of Zheng et al. (CVPR 2022) is one term of several, and is taken of a cheaper training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.evaluators import Context, Evaluator, Outcome, make_evaluator
from common.evaluators.composite import Composite
from rminas.rmi import RmiSettings, make_rmi

# Chosen on development cells, as docs/results/scores.md has it.
UPDATES = 20
POWER = 2.0  # of the loss


@dataclass(frozen=True)
class CombinedRmi(Composite):
    """`combined` - 2 mean of the logarithms of the RMI losses after 1, 2, ... 20 updates.

    The mean over a training says more than its last loss, which jumps from update to update (Ru et al., Speedy
    Performance Estimation for Neural Architecture Search, NeurIPS 2021, sum training losses for the same reason). The
    training is that of the run's settings but for its length, and of the space's shallow networks
    (`SearchSpace.shallow`). -inf for an architecture that one of the two finds unusable.
    """

    parts: tuple[Evaluator, ...]  # combined and rmi
    name = "combined_rmi"

    def join(self, outcomes: Sequence[Outcome]) -> Outcome:
        combined, rmi = outcomes
        if not (combined.usable and rmi.usable):
            return Outcome(-math.inf)
        return Outcome(float(with_loss(np.array(combined.value), -rmi.trajectory)))


def with_loss(combined: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """(...) the values of `CombinedRmi` from those of `combined` (...) and positive losses (..., updates + 1)."""
    return np.asarray(combined - POWER * np.log(losses[..., 1:]).mean(-1))


def make_combined_rmi(context: Context) -> CombinedRmi:
    """With a context's settings of `combined` and of `rmi`. Raises: InputError as these do."""
    settings = context.settings.get("rmi", RmiSettings())
    short = replace(settings, training=replace(settings.training, steps=UPDATES))
    shallow = replace(
        context.with_seed(context.seed), space=context.space.shallow(), settings={**context.settings, "rmi": short}
    )
    return CombinedRmi((make_evaluator("combined", context), make_rmi(shallow)))
