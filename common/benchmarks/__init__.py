"""Benchmark tables from files: one reader a format, chosen by what the file holds and not by its name."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from common.errors import InputError

if TYPE_CHECKING:
    from common.benchmarks.table import BenchmarkTable

# Kind -> module, imported when it is asked for: a new format is one module and one line here.
READERS = {
    "analognas": "common.benchmarks.analognas",
    "nasbench201_csv": "common.benchmarks.nasbench201_csv",
    "nasbench201_pth": "common.benchmarks.nasbench201_pth",
    "nats": "common.benchmarks.nats",
    "darts_csv": "common.benchmarks.darts_csv",
    "macro_json": "common.benchmarks.macro_json",
    "demo_shards": "common.benchmarks.demo_shards",
    "nasbench101": "common.benchmarks.nasbench101_tfrecord",
}
BUILT_IN = "analognas"  # what is read when no path is named: pip installs it with the toolkit
BUILT_IN_SPACE = "nasbench201"


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


def load_benchmark(path: str | Path | None, kind: str | None = None, dataset: str | None = None) -> BenchmarkTable:
    """The table that a file or folder holds, with its space built for the images of one data set.

    Args:
        path: any format of READERS; None for the table that pip installs (AnalogNAS-Bench).
        kind: the format, a key of READERS; None to recognise it by its content.
        dataset: whose number of classes and image size the space's costs are for; None for the table's first.

    Raises: InputError when the path does not exist, is of no known kind or not of the named one, is damaged, or has
    no such data set. Some formats (`nasbench201_pth`, `nats`) are pickles that may run code: name trusted files only.
    """
    try:
        if path is None:
            table = _read_built_in(kind)
        else:
            path = Path(path).expanduser()
            table = load_reader(_kind_of(path, kind)).read(path)
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from error
    return _for_dataset(table, dataset)


def _read_built_in(kind: str | None) -> BenchmarkTable:
    from common.benchmarks import analognas

    if kind not in (None, BUILT_IN):
        raise InputError(f"a benchmark of kind {kind!r} needs a path; only {BUILT_IN!r} comes without one")
    return analognas.read(None)


def _kind_of(path: Path, kind: str | None) -> str:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected a benchmark of kind {', '.join(READERS)}")
    found = next((name for name in ([kind] if kind else READERS) if load_reader(name).matches(path)), None)
    if found is None:
        what = f"the content is not of kind {kind!r}" if kind else "not recognised as a benchmark by its content"
        raise InputError(f"{path}: {what}; known kinds: {', '.join(READERS)}")
    return found


def _for_dataset(table: BenchmarkTable, dataset: str | None) -> BenchmarkTable:
    from common.datasets.specs import IMAGE_SPECS

    if dataset is not None and dataset not in table.datasets:
        raise InputError(f"{table.source.path}: no data set {dataset!r}; the table has: {', '.join(table.datasets)}")
    if table.space is None:
        return table
    spec = IMAGE_SPECS[dataset or table.datasets[0]]
    space = replace(cast(Any, table.space), num_classes=spec.num_classes, image_size=spec.image_size)
    return replace(table, space=space)
