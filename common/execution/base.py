"""The contract of executors: where evaluations run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType

from common.evaluators.base import Evaluator, Outcome, Request


class Executor(ABC):
    """Maps an evaluator over architectures, here, in processes, or on other machines. A context manager."""

    name: str  # for people, e.g. "processes (2)"

    @abstractmethod
    def run(self, evaluator: Evaluator, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Positions in `requests` and their outcomes, in the order in which they finish."""

    def close(self) -> None:  # noqa: B027 (some have started nothing)
        """Ends what the executor has started; what is still being evaluated is wanted no more."""

    def __enter__(self) -> Executor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
