"""NAS-Bench-201 accuracies as a CSV: `index,arch,cifar10_test_200,...`, one row a cell, an empty field not measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from common.benchmarks.files import (
    SPLITS,
    accuracy_column,
    csv_line,
    number_or_nan,
    parse_accuracy_name,
    read_csv,
    read_head,
    sha256_of,
)
from common.benchmarks.table import BenchmarkTable, Source
from common.datasets.specs import IMAGE_SPECS
from common.errors import InputError
from common.spaces.nasbench201 import EDGES, OPS, NasBench201

KIND = "nasbench201_csv"
LEADING = ("index", "arch")
_HEAD = re.compile(rb"(\xef\xbb\xbf)?index,arch,")
_CELL = re.compile(r"\|(\w+)~0\|\+\|(\w+)~0\|(\w+)~1\|\+\|(\w+)~0\|(\w+)~1\|(\w+)~2\|")
_OP_CODES = {op: code for code, op in enumerate(OPS)}


def matches(path: Path) -> bool:
    return _HEAD.match(read_head(path, 16)) is not None


def read(path: Path) -> BenchmarkTable:
    """The table, rows in the file's order.

    Accuracy columns are any of `{dataset}_{split}_{epochs}` in percent, NaN where a field is empty. The `index` column
    is the benchmark's own numbering, for people; it is not read.

    Raises: InputError with line and column for a malformed or repeated cell, a wrong column name, a missing field, and
    anything but a number in 0..100.
    """
    header, rows = read_csv(path)
    names = header[len(LEADING) :]
    codes = cell_codes(path, [row[1] for row in rows], row_name=csv_line)
    columns = {}
    for position, name in enumerate(names):
        parsed = parse_accuracy_name(name)
        if parsed is None or name in columns:
            raise InputError(
                f"{path}: line 1: column {name!r} is repeated or not DATASET_SPLIT_EPOCHS with a data set of "
                f"{', '.join(IMAGE_SPECS)} and a split of {', '.join(SPLITS)}"
            )
        values = _numbers(path, name, [row[len(LEADING) + position] for row in rows])
        columns[name] = accuracy_column(path, *parsed, values, row_name=csv_line)
    source = Source(KIND, f"NAS-Bench-201 accuracies {path.name}", str(path), path.stat().st_size, sha256_of(path))
    return BenchmarkTable(source, columns, NasBench201(), codes)


def cell_codes(path: Path, texts: Sequence[str], *, row_name: Callable[[int], str] = "row {}".format) -> np.ndarray:
    """(N, 6) uint8 codes of cell strings. Raises InputError naming the row of one that is malformed or repeated."""
    space = NasBench201()
    codes = np.empty((len(texts), len(EDGES)), dtype=np.uint8)
    rows: dict[str, int] = {}
    for row, text in enumerate(texts):
        if (first := rows.setdefault(text, row)) != row:
            raise InputError(f"{path}: {row_name(row)}: {text!r} is already given in {row_name(first)}")
        try:
            # A third of the time of `parse`, which is left to find out what is wrong with a text that does not fit.
            codes[row] = [_OP_CODES[op] for op in _CELL.fullmatch(text).groups()]  # type: ignore[union-attr]
        except (AttributeError, KeyError):
            try:
                codes[row] = space.parse(text).ops
            except InputError as error:
                raise InputError(f"{path}: {row_name(row)}: {error}") from error
    return codes


def _numbers(path: Path, name: str, texts: list[str]) -> np.ndarray:
    values = []
    for row, text in enumerate(texts):
        try:
            values.append(number_or_nan(text))
        except ValueError:
            where = f"{path}: {csv_line(row)}"
            raise InputError(f"{where}: {name} is {text!r}, not a number (leave empty what is missing)") from None
    return np.array(values)
