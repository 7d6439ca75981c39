"""Evaluations side by side within this process, by whatever way the evaluator has for that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from common.evaluators.base import Evaluator, Outcome, Request
from common.execution.base import Executor


class Together(Executor):
    """All requests at once through `Evaluator.evaluate_together` (RMI-NAS: many candidates as one fused network)."""

    name = "together"

    def run(self, evaluator: Evaluator, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        yield from evaluator.evaluate_together(requests)
