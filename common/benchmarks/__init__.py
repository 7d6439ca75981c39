"""Benchmark tables from files: one reader a format, chosen by what the file holds and not by its name."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from common.errors import InputError
from common.inputs import size_of

if TYPE_CHECKING:
    from common.benchmarks.csv_table import Frame
    from common.benchmarks.table import BenchmarkTable
    from common.spaces import SearchSpace

# Kind -> module, imported when it is asked for: a new format is one module and one line here.
READERS = {
    "analognas": "common.benchmarks.analognas",
    "csv": "common.benchmarks.csv_table",
    "nasbench201_pth": "common.benchmarks.nasbench201_pth",
    "nats": "common.benchmarks.nats",
    "macro_json": "common.benchmarks.macro_json",
    "demo_shards": "common.benchmarks.demo_shards",
    "nasbench101": "common.benchmarks.nasbench101.results",
}
CSV = "csv"  # the kind whose space is not known from the format
BUILT_IN, BUILT_IN_SPACE = "analognas", "nasbench201"  # the table that pip installs, read when no path is named
# Names of benchmarks -> environment variables with the paths of their files.
PATH_VARIABLES = {"nasbench101": "NASBENCH101_PATH", "nasbench201": "NASBENCH201_PATH"}


class Reader(Protocol):
    """What a reader module offers."""

    def matches(self, path: Path) -> bool:
        """Whether a file or folder holds this format, decided by its first bytes without running anything in it."""

    def read(self, path: Path) -> BenchmarkTable:
        """The table. Raises InputError naming the file and the place in it that is wrong."""


def load_reader(kind: str) -> Reader:
    """The reader of a kind. Raises InputError naming the known kinds."""
    if kind not in READERS:
        raise InputError(f"unknown kind of benchmark {kind!r}; choose from {', '.join(READERS)}")
    return cast(Reader, importlib.import_module(READERS[kind]))


def load_benchmark(
    data: str | Path | Frame | BenchmarkTable | None = None,
    kind: str | None = None,
    dataset: str | None = None,
    space: SearchSpace | type[SearchSpace] | str | None = None,
) -> BenchmarkTable:
    """The table that a file, folder or data frame holds, with its space built for the images of one data set.

    Args:
        data: a path of any format of READERS; a name of PATH_VARIABLES, for the path in that environment variable; a
            pandas data frame (see `common.benchmarks.csv_table.table_from_frame`); a table, which is only given its
            space; None for the table that pip installs (AnalogNAS-Bench).
        kind: the format, a key of READERS, or a reader of one's own, `my_module:read`, a function from the path to a
            table; None to recognise it by its content.
        dataset: whose number of classes and image size the space's costs are for; None for the table's first.
        space: of the architectures: a space, its name, or `my_module:SPACE`. Only a CSV or a data frame of an
            unregistered space needs it. A space that is handed in, or of one's own module, is taken as it is.

    Raises: InputError when the path does not exist, is of no known kind or not of the named one, is damaged, is of
    another space, or has no such data set. Nothing in a file is ever run: formats that are pickles are taken apart by
    an unpickler that admits plain data and nothing else.
    """
    from common.benchmarks.table import BenchmarkTable

    own = None if space is None else _make_space(space)
    path = data
    try:
        if data is None:
            table = _read_built_in(kind)
        elif isinstance(data, BenchmarkTable):
            table = data
        elif isinstance(data, (str, Path)):
            path = _path_of(data)
            if kind is not None and ":" in kind:
                table = _read_by(kind, path)
            else:
                kind = _kind_of(path, kind)
                table = _read_csv(path, own) if kind == CSV else load_reader(kind).read(path)
        else:
            table = _read_frame(data, own)
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from error
    _check(table, own, dataset)
    if own is not None and not _is_name(space):
        return replace(table, space=own)
    return _for_dataset(table, dataset)


def _is_name(space: object) -> bool:
    """Whether it is the name of a registered space, whose network follows the data set."""
    return isinstance(space, str) and ":" not in space


def _make_space(space: SearchSpace | type[SearchSpace] | str) -> SearchSpace:
    from common.benchmarks.csv_table import TABLE_SETTINGS
    from common.spaces import make_space

    if isinstance(space, str):
        return make_space(space, **TABLE_SETTINGS.get(space, {}))
    return space() if isinstance(space, type) else space


def _read_by(reader: str, path: Path) -> BenchmarkTable:
    """What a user's own reader makes of a path."""
    from common.benchmarks.table import BenchmarkTable
    from common.registry import Registry

    if not path.exists():
        raise InputError(f"{path}: no such file or folder; {reader} was to read it")
    table = Registry("kind of benchmark", {}).make(reader, path)
    if not isinstance(table, BenchmarkTable):
        raise InputError(f"kind of benchmark {reader!r}: made a {type(table).__name__}, not a BenchmarkTable")
    return table


def _read_csv(path: Path, space: SearchSpace | None) -> BenchmarkTable:
    from common.benchmarks import csv_table

    return csv_table.read(path, space)


def _read_frame(frame: Frame, space: SearchSpace | None) -> BenchmarkTable:
    from common.benchmarks.csv_table import table_from_frame

    return table_from_frame(frame, space)


def _path_of(data: str | Path) -> Path:
    """Where a file lies: the path itself, or what the environment says of a benchmark's name."""
    path = Path(data).expanduser()
    variable = PATH_VARIABLES.get(str(data))
    if variable is None or path.exists():
        return path
    if not os.environ.get(variable):
        raise InputError(f"{data}: no such file or folder, and {variable} is not set to the path of the benchmark")
    return Path(os.environ[variable]).expanduser()


def _read_built_in(kind: str | None) -> BenchmarkTable:
    from common.benchmarks import analognas

    if kind not in (None, BUILT_IN):
        load_reader(kind)  # first of all, there must be such a kind
        raise InputError(f"a benchmark of kind {kind!r} needs a path; only {BUILT_IN!r} comes without one")
    return analognas.read(None)


def _kind_of(path: Path, kind: str | None) -> str:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected a benchmark of kind {', '.join(READERS)}")
    if not path.is_dir():
        size_of(path)  # a pipe would be waited for
    found = next((name for name in ([kind] if kind else READERS) if load_reader(name).matches(path)), None)
    if found is None:
        what = f"the content is not of kind {kind!r}" if kind else "not recognised as a benchmark by its content"
        raise InputError(f"{path}: {what}; known kinds: {', '.join(READERS)}")
    return found


def _check(table: BenchmarkTable, space: SearchSpace | None, dataset: str | None) -> None:
    """Raises InputError where the table is not of the space, or has no accuracy on the data set."""
    where = table.source.path or table.source.title
    if space is not None and (table.space is None or table.space.name != space.name):
        there = "tensors only" if table.space is None else f"architectures of {table.space.name}"
        raise InputError(f"{where}: holds {there}, not of {space.name}")
    if dataset is not None and dataset not in table.datasets:
        there = f"the table has: {', '.join(table.datasets)}" if table.datasets else "it has accuracies on none"
        raise InputError(f"{where}: no data set {dataset!r}; {there}")


def _for_dataset(table: BenchmarkTable, dataset: str | None) -> BenchmarkTable:
    """The table with its space built for a data set, by default its first, where something is known of it."""
    from common.datasets import DATASETS, data_set
    from common.spaces import Skeleton

    name = dataset or next(iter(table.datasets), "")
    if name not in DATASETS or table.space is None:
        return table
    facts = data_set(name)
    return replace(table, space=table.space.for_search(Skeleton(facts.num_classes, facts.image_size)))
