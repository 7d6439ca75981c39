"""The contract of trackers: they are shown every record of a run, and keep nothing that the records do not hold."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Point(NamedTuple):
    """Of a curve."""

    curve: str
    value: float
    step: int


class Tracker(ABC):
    """Shows a run's records as it likes. A run that goes on shows what it has again, so that nothing is missing."""

    @abstractmethod
    def __init__(self, folder: Path) -> None:
        """folder: of the run; what an earlier tracker has left there may be replaced."""

    @abstractmethod
    def add(self, record: Mapping[str, Any]) -> None:
        """One record, as a line of `evaluations.jsonl` holds it."""

    def close(self) -> None:  # noqa: B027 (some have nothing open)
        """Everything is on disk when this returns."""


class CurveTracker(Tracker):
    """By seed (and evaluator, or stage): values of evaluations and the best so far, loss curves of what was trained.
    Of a retraining: all numbers of its epochs.

    What is not finite is left out.
    """

    def __init__(self, folder: Path) -> None:
        self._best: dict[str, float] = {}

    @abstractmethod
    def show(self, points: Sequence[Point]) -> None:
        """The points of one record."""

    def add(self, record: Mapping[str, Any]) -> None:
        points = (Point(curve, _number(value), step) for curve, value, step in self._points(record))
        self.show([point for point in points if math.isfinite(point.value)])

    def _points(self, record: Mapping[str, Any]) -> Iterator[tuple[str, Any, int]]:
        if (epoch := record.get("epoch")) is not None:
            yield from ((f"retraining/{name}", value, epoch) for name, value in record.items())
            return
        group = "/".join(str(record[key]) for key in ("evaluator", "stage") if record.get(key))
        group = f"seed_{record.get('seed')}" + (f"/{group}" if group else "")
        if (index := record.get("index")) is not None:
            value = _number(record.get("value"))
            self._best[group] = max(self._best.get(group, -math.inf), -math.inf if math.isnan(value) else value)
            yield f"{group}/value", value, index
            yield f"{group}/best_so_far", self._best[group], index
            for step, negative in enumerate(record.get("trajectory") or ()):
                yield f"{group}/loss_of_candidates/{index}", -_number(negative), step
        else:
            for step, loss in enumerate(record.get("loss") or ()):  # of a predictor's epochs
                yield f"{group}/loss_of_the_predictor", loss, step


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) or hasattr(value, "item") else math.nan
