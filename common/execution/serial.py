"""Evaluations one after the other in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from common.evaluators.base import Evaluator, Outcome, Request
from common.execution.base import Executor


class Serial(Executor):
    """Each architecture by itself, with all threads of this process."""

    name = "one at a time"

    def run(self, evaluator: Evaluator, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        for position, (arch, bounds) in enumerate(requests):
            yield position, evaluator.evaluate(arch, bounds)
