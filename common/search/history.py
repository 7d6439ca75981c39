"""The state of a search: what has been evaluated so far, in order, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np

from common.errors import InputError
from common.evaluators.base import Outcome
from common.spaces.base import SearchSpace


@dataclass(frozen=True)
class Evaluation:
    """One finished evaluation. phase: why the strategy asked for it ("warmup", "forest", ...); times in seconds."""

    index: int
    phase: str
    arch: Any
    outcome: Outcome
    evaluate_s: float = 0.0
    propose_s: float = 0.0

    @property
    def value(self) -> float:
        """Higher is better; see `Outcome.value`."""
        return self.outcome.value

    def record(self, space: SearchSpace, seed: int) -> dict[str, Any]:
        """As a line of a run's records; values that are not finite become null there."""
        return {
            "seed": seed,
            "index": self.index,
            "phase": self.phase,
            "arch": space.format(self.arch),
            "value": self.value,
            "trajectory": self.outcome.trajectory,
            "stopped": self.outcome.stopped,
            "evaluate_s": self.evaluate_s,
            "propose_s": self.propose_s,
            **({"failed": self.outcome.failed} if self.outcome.failed else {}),
        }


@dataclass(frozen=True)
class History(Sequence[Evaluation]):
    """The evaluations of a search in the order of their index; never changed, only extended."""

    evaluations: tuple[Evaluation, ...] = field(default=())

    @overload
    def __getitem__(self, index: int) -> Evaluation: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: int | slice) -> Evaluation | History:
        return History(self.evaluations[index]) if isinstance(index, slice) else self.evaluations[index]

    def __len__(self) -> int:
        return len(self.evaluations)

    def __iter__(self) -> Iterator[Evaluation]:
        return iter(self.evaluations)

    def extended(self, evaluations: Iterable[Evaluation]) -> History:
        """This history and what came after it."""
        return History((*self.evaluations, *evaluations))

    @property
    def archs(self) -> list[Any]:
        return [evaluation.arch for evaluation in self.evaluations]

    @property
    def values(self) -> np.ndarray:
        """(n,) float64, higher is better; -inf and NaN as in `Outcome.value`."""
        return np.array([evaluation.value for evaluation in self.evaluations], dtype=np.float64)

    @property
    def best(self) -> Evaluation:
        """The evaluation with the highest value, the earliest of equals. Raises ValueError where none has a value."""
        known = [evaluation for evaluation in self.evaluations if not np.isnan(evaluation.value)]
        return max(known, key=lambda evaluation: evaluation.value)


def read_history(records: Iterable[Mapping[str, Any]], space: SearchSpace, seed: int) -> dict[int, Evaluation]:
    """The evaluations of one seed out of a run's records, by index. Raises InputError for a damaged record."""
    found: dict[int, Evaluation] = {}
    for record in records:
        if record.get("seed") != seed:
            continue
        try:
            index = int(record["index"])
            if index in found or index < 0:
                raise ValueError(f"evaluation {index} is there twice or has no place")
            trajectory = np.array([_number(value) for value in record["trajectory"]], dtype=np.float64)
            failed = str(record.get("failed", ""))
            outcome = Outcome(_number(record["value"]), trajectory, bool(record["stopped"]), failed)
            timing = float(record["evaluate_s"]), float(record["propose_s"])
            found[index] = Evaluation(index, str(record["phase"]), space.parse(record["arch"]), outcome, *timing)
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the records of seed {seed} are damaged after {len(found)} evaluations ({error})"
            ) from None
    return found


def _number(value: float | None) -> float:
    """JSON knows no infinities: null is the value of what failed."""
    return -np.inf if value is None else float(value)
