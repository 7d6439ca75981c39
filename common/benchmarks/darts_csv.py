"""DARTS accuracies as a CSV: `genotype,cifar10_valid_acc`, one row a genotype, an empty field not measured."""

from __future__ import annotations

import re
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
from common.spaces.darts import Darts, Genotype

KIND = "darts_csv"
EPOCHS = 200  # of a column `{dataset}_{split}_acc`: the published list of 500 genotypes (pym1024/SWAP) says no number
_HEAD = re.compile(rb"(\xef\xbb\xbf)?genotype,")


def matches(path: Path) -> bool:
    return _HEAD.match(read_head(path, 16)) is not None


def read(path: Path) -> BenchmarkTable:
    """The table, rows in the file's order; its space does not tie the reduction cell to the normal one.

    Accuracy columns are any of `{dataset}_{split}_{epochs}`, or `{dataset}_{split}_acc` for 200 epochs, in percent,
    NaN where a field is empty.

    Raises: InputError with the line for a malformed or repeated genotype, a missing field, and anything but a number
    in 0..100; naming the column for a wrong column name.
    """
    (_, *names), rows = read_csv(path)
    space = Darts(tied=False)
    archs: dict[Genotype, int] = {}
    values = np.empty((len(rows), len(names)))
    for row, (text, *fields) in enumerate(rows):
        try:
            first = archs.setdefault(space.parse(text), row)
            values[row] = [_number(field) for field in fields]
        except InputError as error:
            raise InputError(f"{path}: {csv_line(row)}: {error}") from None
        if first != row:
            raise InputError(f"{path}: {csv_line(row)}: the genotype is already given in {csv_line(first)}")
    columns = {}
    for position, name in enumerate(names):
        parsed = parse_accuracy_name(re.sub("_acc$", f"_{EPOCHS}", name))
        if parsed is None:
            raise InputError(
                f"{path}: line 1: column {name!r} is not DATASET_SPLIT_EPOCHS or DATASET_SPLIT_acc with a data set of "
                f"{', '.join(IMAGE_SPECS)} and a split of {', '.join(SPLITS)}"
            )
        column = accuracy_column(path, *parsed, values[:, position], row_name=csv_line)
        if column.name in columns:
            raise InputError(f"{path}: line 1: column {name!r} is {column.name} once more")
        columns[column.name] = column
    source = Source(KIND, f"DARTS accuracies {path.name}", str(path), path.stat().st_size, sha256_of(path))
    return BenchmarkTable(source, columns, space, space.to_codes([*archs]))


def _number(text: str) -> float:
    """NaN for an empty field."""
    try:
        return number_or_nan(text)
    except ValueError:
        raise InputError(f"{text!r} is not a number (leave empty what is missing)") from None
