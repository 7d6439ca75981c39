"""The true accuracy of what is found: a column of a table of trained architectures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.benchmarks import BUILT_IN, BUILT_IN_SPACE, load_benchmark
from common.benchmarks.ofa import AccuracyPredictor, LatencyTable
from common.benchmarks.table import BenchmarkTable, Column, Source
from common.errors import InputError
from common.metrics import rank_of
from common.spaces.base import SearchSpace
from common.spaces.mobilenet import MobileNet

PREDICTED = "predicted"


@dataclass(frozen=True)
class AccuracyTable:
    """A table of trained architectures and the column of it that is reported."""

    table: BenchmarkTable  # of no rows where nobody has trained the space
    column: Column

    @classmethod
    def load(cls, path: str, dataset: str, space: SearchSpace, column: str = "", latency: str = "") -> AccuracyTable:
        """Test accuracy after the longest training (validation where there is no test), or the column of a name.

        Without a path, the installed table for the space that has one, and for others a table that knows nothing. A
        table without accuracies gives its first column. For the MobileNet space the path is that of OFA's accuracy
        predictor, and `latency` that of its table of latencies.
        Raises: InputError when the table is of another space, or has no accuracy on the data set.
        """
        if latency and not (path and space.name == MobileNet.name):
            raise InputError("BENCHMARK.LATENCY is for the MobileNet space, beside BENCHMARK.PATH")
        if not path and space.name != BUILT_IN_SPACE:
            unknown = Column("accuracy", np.zeros(0))
            nothing = Source("none", f"no table of trained {space.title} networks (BENCHMARK.PATH)", "")
            return cls(BenchmarkTable(nothing, {}, space, space.to_codes([])), unknown)
        if path and space.name == MobileNet.name:
            return PredictedAccuracies.read(path, space, latency)
        table = load_benchmark(path or None, space=_unregistered(space))
        where = table.source.path or table.source.title
        if table.space is None:
            raise InputError(f"{where}: holds no architectures")
        if table.space.name != space.name:
            raise InputError(f"{where}: of {table.space.name}, the search is in {space.name}")
        if column or not table.datasets:
            return cls(table, table.column(column or table.default_column))
        if dataset not in table.datasets:
            raise InputError(
                f"{where}: no data set {dataset!r}; the table has: {', '.join(table.datasets)} (choose one as "
                "BENCHMARK.DATASET, or another table as BENCHMARK.PATH)"
            )
        return cls(table, (table.accuracies(dataset, "test") or table.accuracies(dataset, "valid"))[0])

    def __bool__(self) -> bool:
        """Whether there is a table at all."""
        return len(self.table) > 0

    @property
    def whole(self) -> bool:
        """Whether it knows the whole space."""
        return self.table.space is not None and len(self.table) == self.table.space.size

    @property
    def best(self) -> float:
        """The highest accuracy of the table, percent; NaN without a table."""
        return float(np.nanmax(self.column.values)) if self else math.nan

    @property
    def built_in(self) -> bool:
        """Whether it is the table that pip installs, whose accuracies are not those of other tables."""
        return self.table.source.kind == BUILT_IN

    def accuracy(self, arch: Any) -> float:
        """Percent; NaN for an architecture that the table lacks."""
        row = self.table.index_of(arch)
        return math.nan if row is None else float(self.column.values[row])

    def accuracies(self, archs: list[Any]) -> np.ndarray:
        """(n,) percent."""
        return np.array([self.accuracy(arch) for arch in archs], dtype=np.float64)

    def look_up(self, arch: Any) -> dict[str, Any]:
        """What the record says of an architecture; rank 1 is the best accuracy of the table."""
        accuracy = self.accuracy(arch)
        assert self.table.space is not None
        return {
            "arch": self.table.space.format(arch),
            "index": self.table.index_of(arch),
            "test_acc": accuracy,
            "rank": None if math.isnan(accuracy) else rank_of(accuracy, self.column.values),
            "regret": self.best - accuracy,
        }

    def described(self) -> dict[str, Any]:
        """For the summary."""
        source = self.table.source
        return {
            "kind": source.kind,
            "title": source.title,
            "path": source.path,
            "bytes": source.bytes,
            "sha256": source.sha256,
            "column": self.column.name,
            "best": self.best,
            "built_in": self.built_in,
        }


@dataclass(frozen=True)
class PredictedAccuracies(AccuracyTable):
    """Accuracies of MobileNet networks that nobody measured, as OFA's predictor has them; NaN outside OFA's own space.

    There is no best one and no rank among all: the space has 7^20 networks.
    """

    predictor: AccuracyPredictor
    latencies: LatencyTable | None = None

    @classmethod
    def read(cls, path: str, space: SearchSpace, latency: str) -> PredictedAccuracies:
        """Raises InputError for files that are something else."""
        predictor = AccuracyPredictor.load(path)
        source = Source(PREDICTED, "OFA's accuracy predictor (nobody trained these networks)", path,
            Path(path).expanduser().stat().st_size, predictor.sha256)  # fmt: skip
        nothing = BenchmarkTable(source, {}, space, space.to_codes([]))
        column = Column(f"{PREDICTED} ImageNet accuracy", np.zeros(0), dataset="imagenet")
        return cls(nothing, column, predictor, LatencyTable.load(latency) if latency else None)

    def __bool__(self) -> bool:
        return True

    @property
    def whole(self) -> bool:
        return True

    @property
    def best(self) -> float:
        return math.nan

    def accuracy(self, arch: Any) -> float:
        return float(self.accuracies([arch])[0])

    def accuracies(self, archs: list[Any]) -> np.ndarray:
        return self.predictor.accuracies(archs)

    def look_up(self, arch: Any) -> dict[str, Any]:
        latency = {} if self.latencies is None else {
            f"{PREDICTED}_latency_ms": self.latencies.latency(arch), "resolution": self.latencies.resolution
        }  # fmt: skip
        return super().look_up(arch) | {"rank": None, PREDICTED: True} | latency


def _unregistered(space: SearchSpace) -> SearchSpace | None:
    """A space that no reader can know of."""
    from common.spaces import SPACES

    return None if space.name in SPACES else space
