"""Search for a whole trade-off between value and cost: active search for the largest gain of hypervolume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from common.metrics import pareto_front
from common.runs.config import at_least, key, one_of
from common.search.active import ActiveSearch, Scores, expected_improvement, learnable_values
from common.search.history import History
from common.spaces.base import SearchSpace


@dataclass(frozen=True)
class ParetoSettings:
    """The defaults were chosen on NAS-Bench-201 (CIFAR-10, 12 epochs) and NAS-Bench-Macro: scripts/study_budgets.py."""

    cost: str = key("flops", "what the value is traded against, known of every architecture: flops or params",
        one_of("flops", "params"))  # fmt: skip
    initial: int = key(20, "random architectures to begin with", at_least(2))
    batch: int = key(5, "architectures evaluated before the predictor is fitted again", at_least(1))
    candidates: int = key(2000, "mutants and random draws to choose from, where there is no pool", at_least(10))


class ParetoSearch(ActiveSearch):
    """Evaluates what is expected to add most to the hypervolume of the front of value and cost.

    The cost of an architecture is known without evaluating it, so that only its value is uncertain: the expected gain
    is a sum of expected improvements over the front's steps (`expected_gain`). Within a batch, what was chosen before
    counts as evaluated, with its predicted mean. The reference point is the median of the initial random values, and
    the highest cost of all candidates: what is worse than a random architecture is no trade-off that anybody wants.
    """

    name = "pareto"
    Settings: ClassVar[type] = ParetoSettings
    settings: ParetoSettings  # type: ignore[assignment]

    def choose_from(self, codes: np.ndarray, scores: Scores, count: int, history: History) -> list[int]:
        values = learnable_values(history.values)
        known = ~np.isnan(values)
        spent = costs_of(self.space, history.archs, self.settings.cost)[known]
        costs = code_costs(self.space, codes, self.settings.cost)
        floor, ceiling = float(np.nanmedian(values[: self.settings.initial])), float(max(costs.max(), spent.max()))
        # Predictions order architectures and need not be in units of values: all is counted in units of predictions.
        floor, *reached = np.interp([floor, *values[known]], np.sort(values[known]), np.sort(scores.trained))
        mean = np.nan_to_num(scores.mean, nan=-np.inf)
        left = np.ones(len(codes), dtype=bool)
        chosen: list[int] = []
        for _ in range(min(count, len(codes))):
            gains = expected_gain(mean, scores.std, costs, np.array(reached), spent, floor, ceiling)
            # Where nothing is expected to gain, the highest mean.
            best = int(np.lexsort((np.where(left, mean, -np.inf), np.where(left, gains, -np.inf)))[-1])
            left[best] = False
            chosen.append(best)
            reached, spent = [*reached, mean[best]], np.append(spent, costs[best])
        return chosen


def expected_gain(
    mean: np.ndarray,
    std: np.ndarray,
    costs: np.ndarray,
    values: np.ndarray,
    spent: np.ndarray,
    floor: float,
    ceiling: float,
) -> np.ndarray:
    """(m,) expected gain of hypervolume by candidates of values N(mean, std^2) and known costs.

    With y(c) the best value of what costs at most c, `floor` where there is none, the gain of a value x at cost c is
    the integral of max(x - y(t), 0) over t from c to the ceiling; y is a step function, so that its expectation is the
    sum of the widths of the steps times the expected improvements over their heights.

    Args: values, spent: (n,) of what was evaluated. floor, ceiling: value and cost of the reference point.
    """
    front = pareto_front(np.maximum(values, floor), spent)
    heights = np.concatenate([[floor], np.maximum(values[front], floor)])
    starts = np.concatenate([[-np.inf], spent[front]])
    ends = np.append(starts[1:], ceiling)
    gains = np.zeros(len(mean))
    for height, start, end in zip(heights, starts, ends, strict=True):
        width = np.maximum(end - np.maximum(costs, start), 0.0)
        reached = np.flatnonzero(width)
        improvement = expected_improvement(mean[reached], std[reached], height)
        gains[reached] += width[reached] * np.maximum(improvement, 0.0)
    return gains


def describe_front(space: SearchSpace, archs: list[Any], values: np.ndarray, kind: str) -> dict[str, Any]:
    """The front of what was evaluated, for a record: cost, and its members with value (n,) and cost, cheapest first."""
    costs = costs_of(space, archs, kind)
    members = [
        {"arch": space.format(archs[place]), "value": float(values[place]), "cost": int(costs[place])}
        for place in pareto_front(values, costs)
    ]
    return {"cost": kind, "members": members}


def code_costs(space: SearchSpace, codes: np.ndarray, kind: str) -> np.ndarray:
    """(n,) float64 FLOPs or parameters."""
    flops, params = space.total_costs(codes)
    return (flops if kind == "flops" else params).astype(np.float64)


def costs_of(space: SearchSpace, archs: list[Any], kind: str) -> np.ndarray:
    """(n,) float64 FLOPs or parameters."""
    return code_costs(space, space.to_codes(archs), kind)
