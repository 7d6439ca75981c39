"""Trade-offs between a value, the higher the better, and a cost, the lower the better: Pareto front and hypervolume."""

from __future__ import annotations

import numpy as np


def pareto_front(values: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Indices of the points (n,) that no other one is as good as in both and better in one, cheapest first.

    Of equal points the first one stands for all; NaN and -inf are on no front.
    """
    usable = np.flatnonzero(np.isfinite(values) & np.isfinite(costs))
    order = usable[np.lexsort((-values[usable], costs[usable]))]
    best_before = np.maximum.accumulate(np.concatenate([[-np.inf], values[order]]))[:-1]
    return order[values[order] > best_before]


def hypervolume(values: np.ndarray, costs: np.ndarray, value: float, cost: float) -> float:
    """The area that points (n,) dominate between them and a reference point: a value below and a cost above them.

    Points beyond the reference in either count nothing, without points it is 0.
    """
    inside = (values > value) & (costs < cost)
    front = pareto_front(values[inside], costs[inside])
    steps = np.append(costs[inside][front], cost)
    return float(np.sum(np.diff(steps) * (values[inside][front] - value)))
