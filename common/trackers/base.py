"""The contract of trackers: they are shown every record of a run, and keep nothing that the records do not hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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
