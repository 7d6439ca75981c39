"""Tables of any space with named columns, one row an architecture: a CSV `arch,metric,...`, or a pandas data frame."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from common.benchmarks.files import (
    accuracy_column,
    arch_codes,
    csv_line,
    number_or_nan,
    parse_accuracy_name,
    read_csv,
    read_head,
    sha256_of,
)
from common.benchmarks.table import BenchmarkTable, Column, Source
from common.errors import InputError
from common.spaces import SPACES, SearchSpace, make_space

KIND = "csv"
GENOTYPE = "genotype"  # what DARTS calls an architecture
ARCH_NAMES = ("arch", "architecture", GENOTYPE, "cell")  # what the column of the architectures may be called
IDENTIFIERS = ("index", "hash")  # columns that only number or name the architectures
HASHED = "nasbench101"  # the space whose canonical keys published files give as `hash`
CHECKED = 64  # of them, spread over the file: all 423,624 would take a minute
TRIED = 100  # architectures by which a space is recognised, as long as none can be read
HEAD = 64 << 10  # longer than any header
SURROGATE = "surrogate"  # in the name of a column: what a model of a benchmark predicts
PREDICTED = "predicted by a surrogate model, not trained"

# A table's space where it is not the default one: genotypes of published lists have two different cells.
TABLE_SETTINGS: dict[str, dict[str, Any]] = {"darts": {"tied": False}}


class Unsaid(NamedTuple):
    """What the published files of a space leave out of their columns' names."""

    dataset: str = ""  # of `valid_108`
    epochs: int = 0  # of `cifar10_valid_acc`


UNSAID = {
    "nasbench101": Unsaid(dataset="cifar10"),  # its networks were trained on nothing else
    "darts": Unsaid(epochs=200),  # the list of 500 genotypes of pym1024/SWAP
}


class Frame(Protocol):
    """As much of a pandas data frame as is needed: names of columns, and the values of each."""

    @property
    def columns(self) -> Iterable[Any]: ...

    def __getitem__(self, name: Any, /) -> Iterable[Any]: ...

    def __len__(self) -> int: ...


def matches(path: Path) -> bool:
    """Whether the first line is a header that names a column of architectures."""
    line = read_head(path, HEAD).partition(b"\n")[0]
    try:
        header = next(csv.reader([line.decode("utf-8-sig").strip()]), [])
    except (UnicodeDecodeError, csv.Error):
        return False
    return len(header) > 1 and any(name in ARCH_NAMES for name in header)


def read(path: Path, space: SearchSpace | None = None) -> BenchmarkTable:
    """The table of a CSV, rows in the file's order; see `table_from_columns` for what its columns mean.

    Raises: InputError with line and column for a malformed or repeated architecture, a missing field, anything but a
    number where numbers are, an accuracy outside 0..100, or a column that is there twice.
    """
    header, rows = read_csv(path)
    repeated = [name for name in header if header.count(name) > 1]
    if repeated:
        raise InputError(f"{path}: line 1: column {repeated[0]!r} is repeated")
    fields: Sequence[Sequence[str]] = list(zip(*rows, strict=True))
    columns = dict(zip(header, fields, strict=True))
    source = Source(KIND, path.name, str(path), path.stat().st_size, sha256_of(path))
    return table_from_columns(columns, source, space, csv_line)


def table_from_frame(frame: Frame, space: SearchSpace | None = None) -> BenchmarkTable:
    """The table of a pandas data frame, or of whatever has `columns` and gives their values by name.

    Its columns are those of a CSV (see `table_from_columns`), missing values NaN or None. Architectures must be text:
    read files with `dtype={"arch": str}` where they look like numbers (`02012100`).
    Raises: InputError as `read` does, naming the row (from 0).
    """
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise InputError(f"data frame: column {repeated!r} is repeated")
    columns = {str(name): [*frame[name]] for name in frame.columns}
    if not len(frame):
        raise InputError("data frame: it has no rows")
    return table_from_columns(columns, Source(KIND, "data frame", ""), space, "row {}".format)


def table_from_columns(
    columns: Mapping[str, Sequence[Any]],
    source: Source,
    space: SearchSpace | None = None,
    row_name: Callable[[int], str] = "row {}".format,
) -> BenchmarkTable:
    """A table from its columns by name, fields as text or numbers, "", None or NaN where nothing was measured.

    - one of ARCH_NAMES: the architectures as texts, which `space` parses, by default the registered space that can;
    - `{dataset}_{split}_{epochs}` and `{dataset}_{split}`, split train, valid or test, any data set: accuracies in
      percent (`valid_108` of NAS-Bench-101 and `.._acc` of DARTS as published, see UNSAID);
    - IDENTIFIERS, and columns of text: for people, left out;
    - every other one: a column of its own name, without unit (parameters, a score, seconds).

    Args: source: its title is a file's name; the space and what the table holds are put before it.
    Raises: InputError, see `read`.
    """
    where = source.path or source.title
    arch_name = next((name for name in ARCH_NAMES if name in columns), None)
    if arch_name is None:
        there = ", ".join(columns) or "none"
        raise InputError(f"{where}: no column of architectures ({', '.join(ARCH_NAMES)}); there are: {there}")
    texts = [str(text) for text in columns[arch_name]]
    if space is None:
        space = _recognise(where, arch_name, texts)
    codes = arch_codes(where, space, texts, row_name=row_name)
    keys = _keys(where, columns["hash"], space, codes, row_name) if "hash" in columns else ()
    made: dict[str, Column] = {}
    for name, fields in columns.items():
        if name == arch_name or name in IDENTIFIERS:
            continue
        column = _read_column(where, name, fields, space, row_name)
        if column is None:
            continue
        if column.name in made:
            raise InputError(f"{where}: column {name!r} is {column.name} once more")
        made[column.name] = column
    if not made:
        raise InputError(f"{where}: no column of numbers beside {arch_name!r}")
    holds = "accuracies" if any(column.split for column in made.values()) else "values"
    if any(column.note == PREDICTED for column in made.values()):
        holds = f"{SURROGATE} values, predicted and not trained,"
    return BenchmarkTable(replace(source, title=f"{space.title} {holds} {source.title}"), made, space, codes, keys=keys)


def _keys(
    where: str, hashes: Sequence[Any], space: SearchSpace, codes: np.ndarray, row_name: Callable[[int], str]
) -> Sequence[str]:
    """The hashes where they are the space's canonical keys, of which some are checked; nothing for other spaces."""
    if space.name != HASHED:
        return ()
    for row in np.unique(np.linspace(0, len(codes) - 1, CHECKED).astype(int)).tolist():
        key = space.canonical_key(space.from_code(codes[row]))
        if key != hashes[row]:
            raise InputError(f"{where}: {row_name(row)}: the cell has the hash {key}, not {hashes[row]}")
    return [str(key) for key in hashes]


def _recognise(where: str, arch_name: str, texts: Sequence[str]) -> SearchSpace:
    """The one registered space that the first readable architecture is of."""
    spaces = [make_space(name, **TABLE_SETTINGS.get(name, {})) for name in SPACES]
    for text in texts[:TRIED]:  # not the first alone: it may be the one that is damaged
        found = [space for space in spaces if _parses(space, text)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(space.name for space in found)
            raise InputError(f"{where}: {_shown(text)} reads as an architecture of {names}; say which space it is")
    if arch_name == GENOTYPE:  # so that it is said what is wrong with them
        return make_space("darts", **TABLE_SETTINGS["darts"])
    raise InputError(
        f"{where}: {_shown(texts[0])} reads as an architecture of none of {', '.join(SPACES)}; name its space, "
        "as --space my_module:SPACE"
    )


def _parses(space: SearchSpace, text: str) -> bool:
    try:
        space.parse(text)
    except ValueError:
        return False
    return True


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}...")


def _read_column(
    where: str, name: str, fields: Sequence[Any], space: SearchSpace, row_name: Callable[[int], str]
) -> Column | None:
    """None for a column of text."""
    unsaid = UNSAID.get(space.name, Unsaid())
    accuracy = parse_accuracy_name(re.sub("_acc$", f"_{unsaid.epochs}", name) if unsaid.epochs else name)
    if accuracy is None and unsaid.dataset:
        accuracy = parse_accuracy_name(f"{unsaid.dataset}_{name}")
    values = np.empty(len(fields))
    wrong = -1
    for row, value in enumerate(fields):
        try:
            values[row] = _number(value)
        except ValueError:
            values[row] = np.nan
            wrong = row if wrong < 0 else wrong
    if accuracy is None and np.isnan(values).all():
        return None
    if wrong >= 0:
        raise InputError(
            f"{where}: {row_name(wrong)}: {name} is {fields[wrong]!r}, not a number (leave empty what is missing)"
        )
    note = PREDICTED if SURROGATE in name else ""
    if accuracy is None:
        return Column(name, values, unit="", note=note)
    return accuracy_column(where, *accuracy, values, note=note, row_name=row_name)


def _number(value: Any) -> float:
    """NaN for what is missing. Raises ValueError for what is no finite number."""
    if isinstance(value, str):
        return number_or_nan(value)
    try:
        number = float("nan" if value is None else value)
    except TypeError:  # pandas' NA, or something that is no number
        if str(value) == "<NA>":
            return np.nan
        raise ValueError(value) from None
    if np.isinf(number):
        raise ValueError(value)
    return number
