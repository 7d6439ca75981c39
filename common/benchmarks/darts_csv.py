"""DARTS accuracies as a CSV: `genotype,cifar10_valid_acc`, one row a genotype, an empty field not measured."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import numpy as np

from common.benchmarks.files import SPLITS, accuracy_column, parse_accuracy_name, read_head, sha256_of
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
    names, rows = _read_rows(path)
    space = Darts(tied=False)
    archs: dict[Genotype, int] = {}
    values = np.empty((len(rows), len(names)))
    for row, (text, *fields) in enumerate(rows):
        try:
            first = archs.setdefault(space.parse(text), row)
            values[row] = [_number(field) for field in fields]
        except InputError as error:
            raise InputError(f"{path}: {_line(row)}: {error}") from None
        if first != row:
            raise InputError(f"{path}: {_line(row)}: the genotype is already given in {_line(first)}")
    columns = {}
    for position, name in enumerate(names):
        parsed = parse_accuracy_name(re.sub("_acc$", f"_{EPOCHS}", name))
        if parsed is None:
            raise InputError(
                f"{path}: line 1: column {name!r} is not DATASET_SPLIT_EPOCHS or DATASET_SPLIT_acc with a data set of "
                f"{', '.join(IMAGE_SPECS)} and a split of {', '.join(SPLITS)}"
            )
        column = accuracy_column(path, *parsed, values[:, position], row_name=_line)
        if column.name in columns:
            raise InputError(f"{path}: line 1: column {name!r} is {column.name} once more")
        columns[column.name] = column
    source = Source(KIND, f"DARTS accuracies {path.name}", str(path), path.stat().st_size, sha256_of(path))
    return BenchmarkTable(source, columns, space, space.to_codes([*archs]))


def _line(row: int) -> str:
    return f"line {row + 2}"  # people count from one, and the header comes first


def _read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Names of the accuracy columns, and all rows with as many fields as the header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            (_, *names), *rows = csv.reader(file)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a text file of comma-separated values ({error})") from None
    for row, fields in enumerate(rows):
        if len(fields) != 1 + len(names):
            raise InputError(f"{path}: {_line(row)}: {len(fields)} fields, the header has {1 + len(names)}")
    if not rows:
        raise InputError(f"{path}: no rows below the header")
    return names, rows


def _number(text: str) -> float:
    """NaN for an empty field."""
    try:
        value = float(text) if text else math.nan
    except ValueError:
        value = math.inf
    if text and not math.isfinite(value):  # 'nan' must not pass for 'not measured' unseen
        raise InputError(f"{text!r} is not a number (leave empty what is missing)")
    return value
