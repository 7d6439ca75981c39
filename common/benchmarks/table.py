"""A benchmark in memory: architectures as codes, and named columns of what was measured for them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from common.encoding.base import FeatureSource
from common.errors import InputError
from common.seeds import named_rngs
from common.spaces import SearchSpace

PERCENT = "%"
BUILT_IN_TITLE = "AnalogNAS-Bench"  # the table that pip installs


@dataclass(frozen=True)
class Column:
    """One measured quantity of every architecture of a table.

    Accuracy columns are called `{dataset}_{split}_{epochs}`, or `{dataset}_{split}` where nobody says how long was
    trained, and hold percent; others (parameters, times, scores) belong to no data set. What was not measured is NaN.
    """

    name: str
    values: np.ndarray  # (N,) float64
    unit: str = PERCENT
    dataset: str = ""
    split: str = ""  # train | valid | test, "" for what has none (parameters, times)
    epochs: int = 0
    note: str = ""


@dataclass(frozen=True)
class Source:
    """Where a table came from, for the run record and the report."""

    kind: str  # the reader's name, e.g. "analognas"
    title: str  # for people, e.g. "AnalogNAS-Bench 0.1.3 (trained NAS-Bench-201 table)"
    path: str
    bytes: int = 0
    sha256: str = ""  # of the file, or of a part that tells folders apart; "" where it would cost more than it is worth


def accuracy_line(accuracy: float, best: float, built_in: bool) -> str:
    """An accuracy with the best of its table where that is the built-in one: 93.99 is much there and little elsewhere.

    best: of the table. Empty where the accuracy is not known.
    """
    if math.isnan(accuracy):
        return ""
    return f"{accuracy:.2f}" + (f" of {best:.2f} at best in {BUILT_IN_TITLE}" if built_in else "")


@dataclass(frozen=True)
class ChosenRows:
    """Some rows of a feature source."""

    source: FeatureSource
    chosen: np.ndarray  # (n,) int64

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    def __len__(self) -> int:
        return len(self.chosen)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        return self.source.rows(self.chosen[indices])


@dataclass(frozen=True)
class BenchmarkTable:
    """N architectures of one space with their measurements.

    `space` and `codes` are None for tables that only hold prepared tensors (the ReNAS demo's shards); these bring
    their own `prepared` feature source.
    """

    source: Source
    columns: dict[str, Column]
    space: SearchSpace | None = None
    codes: np.ndarray | None = None  # (N, space.code_length) uint8
    prepared: FeatureSource | None = None
    labels: Sequence[str] = field(default=())  # names of the rows where there is no space to format them
    keys: Sequence[str] = field(default=())  # canonical keys of the rows, where the file brings them

    def __post_init__(self) -> None:
        for column in self.columns.values():
            if len(column.values) != len(self):
                raise ValueError(f"column {column.name} has {len(column.values)} rows, the table has {len(self)}")

    def __len__(self) -> int:
        rows = self.codes if self.codes is not None else self.prepared
        return 0 if rows is None else len(rows)

    def column(self, name: str) -> Column:
        """Raises InputError naming the columns there are."""
        if name not in self.columns:
            raise InputError(
                f"{self._where}: no column {name!r}; the table has: {', '.join(self.columns) or 'no columns'}"
            )
        return self.columns[name]

    def accuracies(self, dataset: str, split: str) -> list[Column]:
        """The accuracy columns of a data set and split, longest training first."""
        found = [c for c in self.columns.values() if c.dataset == dataset and c.split == split and c.unit == PERCENT]
        return sorted(found, key=lambda c: -c.epochs)

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets with an accuracy, in the order of the columns."""
        return list(dict.fromkeys(c.dataset for c in self.columns.values() if c.dataset and c.unit == PERCENT))

    def head(self, count: int) -> BenchmarkTable:
        """The table's first rows. Raises InputError unless `count` is in 2..len(table)."""
        if not 2 <= count <= len(self):
            raise InputError(f"{self._where}: cannot take {count} of its {len(self)} rows; give 2 to {len(self)}")
        return self.rows(np.arange(count))

    def rows(self, indices: np.ndarray) -> BenchmarkTable:
        """The table of some rows, in the order of `indices` (n,). Raises IndexError for a row that is not there."""
        indices = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            columns={name: replace(column, values=column.values[indices]) for name, column in self.columns.items()},
            codes=None if self.codes is None else self.codes[indices],
            prepared=None if self.prepared is None else ChosenRows(self.prepared, indices),
            labels=tuple(self.labels[index] for index in indices) if self.labels else (),
            keys=tuple(self.keys[index] for index in indices) if self.keys else (),
        )

    def sample(self, count: int, seed: int, column: str | None = None) -> BenchmarkTable:
        """`count` random rows that have a value in a column (by default `default_column`), in the table's order.

        They are the training architectures of `python -m renas` with that seed.
        Raises: InputError when the table has not so many.
        """
        known = np.flatnonzero(~np.isnan(self.values(column)))
        if not 1 <= count <= len(known):
            name = column or self.default_column
            raise InputError(f"{self._where}: cannot sample {count} of {len(known)} rows with a value of {name}")
        chosen = named_rngs(seed, "sample")["sample"].choice(known, size=count, replace=False)
        return self.rows(np.sort(chosen))

    @property
    def default_column(self) -> str:
        """What is learnt unless a column is named: the first data set's validation accuracy after the longest training.

        Test accuracy where there is no validation, and the first column where there are no accuracies.
        Raises: InputError for a table without columns.
        """
        if not self.columns:
            raise InputError(f"{self._where}: it has no columns")
        found = [
            column for split in ("valid", "test") for column in self.accuracies(next(iter(self.datasets), ""), split)
        ]
        return found[0].name if found else next(iter(self.columns))

    def values(self, column: str | None = None) -> np.ndarray:
        """(N,) float64 values of a column, by default of `default_column`; NaN where it was not measured."""
        return self.column(column or self.default_column).values

    @property
    def metrics(self) -> list[str]:
        """Names of the columns that are no accuracies: scores, parameters, times."""
        return [name for name, column in self.columns.items() if not column.dataset]

    @property
    def archs(self) -> list[Any]:
        """The architecture values of all rows. Raises InputError for a table without a space."""
        return [self.arch(row) for row in range(len(self))]

    @property
    def _where(self) -> str:
        return self.source.path or self.source.title

    def arch(self, index: int) -> Any:
        """The architecture value of a row. Raises InputError for a table without a space."""
        if self.space is None or self.codes is None:
            raise InputError(f"{self._where}: holds tensors only, not architectures")
        return self.space.from_code(self.codes[index])

    def arch_text(self, index: int) -> str:
        """The text form of a row's architecture, or the row's name in a table of tensors."""
        if self.space is None:
            return self.labels[index] if self.labels else f"row {index}"
        return self.space.format(self.arch(index))

    def key(self, index: int) -> Hashable:
        """Equal for isomorphic architectures; the row itself where only tensors are known."""
        if self.keys:
            return self.keys[index]
        return int(index) if self.space is None else self.space.canonical_key(self.arch(index))

    def index_of(self, arch: Any) -> int | None:
        """The row of an architecture, exactly as written, or else of the first isomorphic one; None if it has none."""
        if self.space is None:
            return None
        exact = self._rows_by_code.get(self.space.to_codes([arch])[0].tobytes())
        return exact if exact is not None else self._rows_by_key.get(self.space.canonical_key(arch))

    @cached_property
    def _rows_by_code(self) -> dict[bytes, int]:
        assert self.codes is not None
        return {code.tobytes(): row for row, code in enumerate(self.codes)}

    @cached_property
    def _rows_by_key(self) -> dict[Hashable, int]:
        keys: dict[Hashable, int] = {}
        for row in range(len(self)):
            keys.setdefault(self.key(row), row)
        return keys
