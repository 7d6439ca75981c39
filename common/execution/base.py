"""The contract of executors: where evaluations run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

from common.evaluators.base import Evaluator, Outcome, Request

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Resources:
    """What an executor may use. jobs: at a time, 0 for as many as there are cores. The others are Ray's: where the
    cluster is, and what share of cores and GPUs a job asks for.
    """

    jobs: int = 0
    address: str = ""
    cpus: float = 1.0
    gpus: float = 0.0


class Executor(ABC):
    """Maps an evaluator over architectures, here, in processes, or on other machines. A context manager."""

    name: str  # for people, e.g. "processes (2)"
    one_at_a_time = True  # `map` does one after the other in this process
    remote = False  # nothing is to be done in this process, be it a single job

    @classmethod
    def of(cls, resources: Resources) -> Executor:
        """With these resources; an executor that has no use for any leaves this as it is."""
        return cls()

    @abstractmethod
    def run(self, evaluator: Evaluator, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Positions in `requests` and their outcomes, in the order in which they finish."""

    def map(
        self, work: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Positions in `items` and what `work(shared, item)` makes of them, in the order in which they finish.

        For whole seeds and searches rather than evaluations. `work` is a function of a module; what is `shared` is sent
        to every worker once. Here: one after the other.
        """
        for position, item in enumerate(items):
            yield position, work(shared, item)

    def close(self) -> None:  # noqa: B027 (some have started nothing)
        """Ends what the executor has started; what is still being evaluated is wanted no more."""

    def __enter__(self) -> Executor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def evaluate(evaluator: Evaluator, request: Request) -> Any:
    """`Executor.map`'s work for evaluations."""
    return evaluator.evaluate(request.arch, request.bounds)
