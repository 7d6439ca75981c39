"""A budget in seconds: what a search may spend on training where a table says how long each architecture took."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

from common.search.base import Proposal, Strategy
from common.search.history import History


class TimeLimit(Strategy):
    """Another strategy, cut off before the first evaluation that the seconds left do not pay for.

    As the simulated cost of NATS-Bench (Dong et al., TPAMI 2021), except that no evaluation goes beyond the budget.
    """

    name = "time_limit"

    def __init__(self, strategy: Strategy, seconds: Callable[[Any], float], budget_seconds: float) -> None:
        """seconds: what an evaluation of an architecture costs, at least 0."""
        super().__init__(strategy.space, strategy.seed, strategy.settings)
        self.strategy, self.seconds, self.budget_seconds = strategy, seconds, budget_seconds

    def propose(self, history: History, room: int) -> Proposal:
        made = self.strategy.propose(history, room)
        spent = self.spent(history)
        costs = accumulate(map(self.seconds, made.archs), initial=spent)
        next(costs)
        paid = [arch for arch, cost in zip(made.archs, costs, strict=True) if cost <= self.budget_seconds]
        if paid or not made.archs:
            return Proposal(paid, made.phase, made.ended)
        return Proposal((), ended="" if len(history) else f"no evaluation in {self.budget_seconds:g} s")

    def spent(self, history: History) -> float:
        """Seconds of all evaluations so far."""
        return sum(self.seconds(evaluation.arch) for evaluation in history)
