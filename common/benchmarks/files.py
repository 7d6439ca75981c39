"""What the readers share: accuracies and architectures that are checked, csv files, small caches of slow files."""

from __future__ import annotations

import csv
import hashlib
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from common.benchmarks.table import Column
from common.errors import InputError
from common.inputs import read_lines
from common.runs.arrays import read_npz
from common.runs.files import cache_folder, write_atomic
from common.spaces.base import SearchSpace

log = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
CACHE_VERSION = 2  # to be raised whenever what a reader computes from a file changes
_ACCURACY_NAME = re.compile(rf"(\w[\w.-]*?)_({'|'.join(SPLITS)})(?:_([1-9]\d*))?")


def read_head(path: Path, size: int) -> bytes:
    """The first `size` bytes of a file, nothing of a folder."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(size)


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# accuracies --------------------------------------------------------------------------------------------------------


def parse_accuracy_name(name: str) -> tuple[str, str, int] | None:
    """(dataset, split, epochs) of `cifar10_test_200`, epochs 0 of `cifar10_test`; None for a name of another form."""
    match = _ACCURACY_NAME.fullmatch(name)
    return (match[1], match[2], int(match[3] or 0)) if match else None


def accuracy_column(
    path: Path | str,
    dataset: str,
    split: str,
    epochs: int,
    values: np.ndarray,
    *,
    note: str = "",
    row_name: Callable[[int], str] = "row {}".format,
) -> Column:
    """The column `{dataset}_{split}_{epochs}`, or `{dataset}_{split}` where the length of training is not known (0).

    Args: values: (N,) percent, NaN where not measured. row_name: what a message calls a row.
    Raises: InputError when there is no value, one is outside 0..100, or all are in [0, 1], where percent is meant.
    """
    name = f"{dataset}_{split}" + (f"_{epochs}" if epochs else "")
    outside = np.flatnonzero((values < 0) | (values > 100))
    if outside.size:
        row = int(outside[0])
        raise InputError(f"{path}: {row_name(row)}: {name} is {values[row]:g}, not a percentage in 0..100")
    measured = values[~np.isnan(values)]
    if not measured.size:
        raise InputError(f"{path}: {name} has no value in any row; leave the column out")
    if measured.max() <= 1:
        raise InputError(f"{path}: all of {name} is within [0, 1]; accuracies must be given in percent")
    return Column(name, np.ascontiguousarray(values, dtype=np.float64), "%", dataset, split, epochs, note)


# architectures -------------------------------------------------------------------------------------------------------


def arch_codes(
    path: Path | str, space: SearchSpace, texts: Sequence[str], *, row_name: Callable[[int], str] = "row {}".format
) -> np.ndarray:
    """(N, space.code_length) codes of texts. Raises InputError naming the row of one that is malformed or repeated."""
    archs = []
    for row, text in enumerate(texts):
        try:
            archs.append(space.parse(text))
        except ValueError as error:
            raise InputError(f"{path}: {row_name(row)}: {error}") from error
    codes = space.to_codes(archs)
    first: dict[bytes, int] = {}
    for row, code in enumerate(codes):
        if (other := first.setdefault(code.tobytes(), row)) != row:
            raise InputError(f"{path}: {row_name(row)}: the architecture is already given in {row_name(other)}")
    return codes


# csv files -----------------------------------------------------------------------------------------------------------


def csv_line(row: int) -> str:
    """Where a row stands in a csv: people count from one, and the header comes first."""
    return f"line {row + 2}"


def read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header and at least one row, all rows with as many fields as the header. Raises InputError with the line."""
    try:
        header, *rows = csv.reader(read_lines(path, 1 << 20))
    except csv.Error as error:
        raise InputError(f"{path}: not a text file of comma-separated values ({error})") from error
    for row, fields in enumerate(rows):
        if len(fields) != len(header):
            raise InputError(f"{path}: {csv_line(row)}: {len(fields)} fields, the header has {len(header)}")
    if not rows:
        raise InputError(f"{path}: no rows below the header")
    return header, rows


def number_or_nan(text: str) -> float:
    """A finite number, NaN for an empty field. Raises ValueError for others: 'nan' must not pass for 'not measured'."""
    value = float(text) if text else math.nan
    if text and not math.isfinite(value):
        raise ValueError(text)
    return value


# caches ------------------------------------------------------------------------------------------------------------


def cached_arrays(
    path: Path, fingerprint: str, build: Callable[[], Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    """The arrays that `build` makes from a slow file, kept in an npz that loads without it from then on.

    The cache lies beside the file, or where that cannot be written in $XDG_CACHE_HOME or ~/.cache. It counts only as
    long as `fingerprint` is the one it was written with, holds no pickles, and may be deleted at any time.
    """
    fingerprint = f"{CACHE_VERSION} {fingerprint}"  # to which what was written is added
    places = _cache_places(path)
    for place in places:
        if (found := _load_cache(place, fingerprint)) is not None:
            return found
    arrays = build()
    fingerprint += _form(arrays)
    for place in places:
        try:
            write_atomic(place, lambda file: np.savez(file, fingerprint=np.array(fingerprint), **arrays))  # type: ignore[arg-type]
            return arrays
        except OSError as error:
            log.info("cannot write the cache %s: %s", place, error)
    log.warning("no place to write a cache of %s; it will be read in full every time", path)
    return arrays


def _cache_places(path: Path) -> tuple[Path, Path]:
    path = path.resolve()
    key = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    return path.with_name(f".{path.name}.cache.npz"), cache_folder() / f"{path.name}-{key}.npz"


def _load_cache(place: Path, fingerprint: str) -> dict[str, np.ndarray] | None:
    try:
        stored = read_npz(place)
        said = str(stored.pop("fingerprint"))
    except (InputError, KeyError):  # none there, or not one of ours: made anew
        return None
    return stored if said == fingerprint + _form(stored) else None


def _form(arrays: Mapping[str, np.ndarray]) -> str:
    """Names, types and shapes: of a cache that somebody has put other arrays into, they are others."""
    return "".join(f"; {name} {array.dtype} {array.shape}" for name, array in sorted(arrays.items()))
