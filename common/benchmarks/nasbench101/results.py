"""NAS-Bench-101's own files, `nasbench_only108.tfrecord` and `nasbench_full.tfrecord`, read without TensorFlow.

A file is read once (every checksum verified) into a cache of plain arrays, which holds all repeats and loads in under a
second (`cached_arrays` says where it lies).
"""

from __future__ import annotations

import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from tqdm import tqdm

from common.benchmarks.files import cached_arrays
from common.benchmarks.nasbench101.enumeration import edge_columns
from common.benchmarks.nasbench101.messages import ACCURACIES, MOMENTS, QUANTITIES, BadRecordError, read_messages
from common.benchmarks.nasbench101.tfrecord import Batch, first_record, read_batches
from common.benchmarks.table import PERCENT, BenchmarkTable, Column, Source
from common.errors import InputError
from common.spaces.nasbench101 import INNER, INPUT, MAX_VERTICES, NUM_EDGES, OPS, OUTPUT, NasBench101

KIND = "nasbench101"
DATASET = "cifar10"
BUDGETS = (4, 12, 36, 108)  # epochs
REPEATS = 3
# SHA-256 published in the README of github.com/google-research/nasbench
OFFICIAL = {
    "4c39c3936e36a85269881d659e44e61a245babcb72cb374eacacf75d0e5f4fd1": "official nasbench_only108",
    "3d64db8180fb1b0207212f9032205064312b6907a3bbc81eabea10db2f5c7e9c": "official nasbench_full",
}
CACHE_VERSION = 1  # raise it when the meaning of the cached arrays changes

_HASH = re.compile("[0-9a-f]{32}")


class Runs(NamedTuple):
    """What a file says, cells in the order of their first records."""

    hashes: np.ndarray  # (N, 16) uint8
    codes: np.ndarray  # (N, 26) uint8, of the cells as the file writes them
    params: np.ndarray  # (N,) int64
    budgets: np.ndarray  # (B,) int64 epochs, ascending
    # (B, moments, quantities, repeats, N) float64: seconds and percent, repeats in file order, NaN for missing ones
    values: np.ndarray
    sha256: str


def matches(path: str | Path) -> bool:
    """Whether a file starts with an intact TFRecord header and a JSON list whose first item is a text."""
    start = first_record(Path(path), 64)
    return start is not None and re.match(rb'\s*\[\s*"', start) is not None


def read(path: str | Path) -> BenchmarkTable:
    """The table of a NAS-Bench-101 file, from its cache when that is as new as the file.

    Columns, for every budget of E epochs in the file, longest first: `cifar10_{valid,test,train}_{E}` and the same
    half-way, `.._{E/2}`, means over the repeats in percent; `time_s_{E}` and `time_s_{E/2}`, mean training seconds up
    to there; all of these for the single runs with `_run0` to `_run2` behind the name (accuracies of split "", so
    that nobody takes a single run for the benchmark's value). `params`: trainable parameters. A repeat that the file
    does not have is NaN and left out of the means; the official files have three of every cell.

    Raises: InputError naming file, record and byte offset for a damaged, truncated or foreign file.
    """
    path = Path(path)
    try:
        stat = path.stat()
        fingerprint = f"{KIND} {CACHE_VERSION}, {stat.st_size} bytes, modified {stat.st_mtime_ns}"
        arrays = cached_arrays(path, fingerprint, lambda: _as_arrays(read_runs(path)))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    runs = Runs(**{name: arrays[name] for name in Runs._fields[:-1]}, sha256=str(arrays["sha256"]))
    return _table(path, stat.st_size, runs)


def _as_arrays(runs: Runs) -> dict[str, np.ndarray]:
    return {**runs._asdict(), "sha256": np.array(runs.sha256)}


def _table(path: Path, size: int, runs: Runs) -> BenchmarkTable:
    columns: list[Column] = []
    for budget, of_budget in reversed(list(zip(runs.budgets.tolist(), runs.values, strict=True))):
        for moment, of_moment in reversed(list(zip(MOMENTS, of_budget, strict=True))):
            epochs = budget if moment == "final" else budget // 2
            where = "" if moment == "final" else f"half-way through the {budget}-epoch schedule, "
            for quantity in ("valid", "test", "train", "time"):
                repeats = of_moment[QUANTITIES.index(quantity)]
                if quantity == "time":
                    name, unit, dataset, split = f"time_s_{epochs}", "s", "", ""
                else:
                    name, unit, dataset, split = f"{DATASET}_{quantity}_{epochs}", PERCENT, DATASET, quantity
                columns.append(Column(name, _mean(repeats), unit, dataset, split, epochs, f"{where}mean of the runs"))
                columns += [
                    Column(f"{name}_run{run}", values, unit, dataset, "", epochs, f"{where}a single run")
                    for run, values in enumerate(repeats)
                ]
    columns.append(Column("params", runs.params.astype(np.float64), unit="", note="trainable parameters"))

    budgets = ", ".join(map(str, runs.budgets.tolist()))
    official = OFFICIAL.get(runs.sha256, "not an official file by its checksum")
    title = f"NAS-Bench-101 ({len(runs.codes):,} cells, {budgets} epochs; {official})"
    digits = runs.hashes.tobytes().hex()
    return BenchmarkTable(
        source=Source(KIND, title, str(path), size, runs.sha256),
        columns={column.name: column for column in columns},
        space=NasBench101(),
        codes=runs.codes,
        keys=[digits[start : start + 32] for start in range(0, len(digits), 32)],
    )


def _mean(repeats: np.ndarray) -> np.ndarray:
    """(N,): mean over the repeats (R, N) that are there, NaN where none is."""
    mean = repeats.mean(0)
    partial = np.isnan(mean)
    if partial.any():
        some = repeats[:, partial]
        count = (~np.isnan(some)).sum(0)
        mean[partial] = np.where(count > 0, np.nansum(some, axis=0) / np.maximum(count, 1), np.nan)
    return mean


# the file --------------------------------------------------------------------------------------------------------


def read_runs(path: Path) -> Runs:
    """Reads the whole file, past any cache. Raises InputError as `read` does, OSError when it cannot be opened."""
    sha256 = hashlib.sha256()
    rows: dict[str, int] = {}  # graph hash -> row
    codes: list[np.ndarray] = []
    params: list[np.ndarray] = []
    parts: list[_Parsed] = []
    places: list[tuple[int, np.ndarray]] = []  # first record number and offsets of every batch
    with tqdm(total=path.stat().st_size, unit="B", unit_scale=True, desc=path.name, disable=None) as bar:

        def on_block(block: bytes) -> None:
            sha256.update(block)
            bar.update(len(block))

        for batch in read_batches(path, on_block):
            try:
                parsed = _parse(batch, rows)
            except BadRecordError as error:
                _refuse(path, batch.first + error.index, int(batch.offsets[error.index]), str(error))
            codes.append(parsed.codes)
            params.append(parsed.params)
            parts.append(parsed)
            bar.set_postfix_str(f"{batch.first + len(batch.records):,} records, {len(rows):,} cells", refresh=False)
            places.append((batch.first, batch.offsets))
    if not rows:
        raise InputError(f"{path}: holds no records")

    budgets = np.unique(np.concatenate([part.epochs for part in parts]))
    repeats = _repeats(np.concatenate([part.rows for part in parts]), np.concatenate([part.epochs for part in parts]))
    fourth = np.flatnonzero(repeats >= REPEATS)
    if len(fourth):
        first, offsets = next(place for place in reversed(places) if place[0] <= fourth[0])
        _refuse(
            path,
            int(fourth[0]),
            int(offsets[fourth[0] - first]),
            f"more than {REPEATS} runs of one cell with one number of epochs: is the file's content in it twice?",
        )
    values = np.full((len(budgets), len(MOMENTS), len(QUANTITIES), REPEATS, len(rows)), np.nan)
    for part, (first, _) in zip(parts, places, strict=True):
        repeat = repeats[first : first + len(part.rows)]
        values[np.searchsorted(budgets, part.epochs), :, :, repeat, part.rows] = part.values
    values[:, :, ACCURACIES] *= 100.0
    hashes = np.frombuffer(bytes.fromhex("".join(rows)), dtype=np.uint8).reshape(-1, 16)
    return Runs(hashes, np.concatenate(codes), np.concatenate(params), budgets, values, sha256.hexdigest())


def _refuse(path: Path, number: int, offset: int, reason: str) -> NoReturn:
    raise InputError(f"{path}: record {number} at byte {offset}: {reason}")


def _repeats(rows: np.ndarray, epochs: np.ndarray) -> np.ndarray:
    """(R,): how many records of the same cell and number of epochs come before each record."""
    key = rows.astype(np.int64) * (max(BUDGETS) + 1) + epochs
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    lengths = np.diff(np.append(starts, len(key)))
    repeats = np.empty(len(key), dtype=np.int32)
    repeats[order] = np.arange(len(key)) - np.repeat(starts, lengths)
    return repeats


class _Parsed(NamedTuple):
    """A batch of R records, with K cells that were not seen before."""

    rows: np.ndarray  # (R,) int32, of the cells
    epochs: np.ndarray  # (R,) int16
    values: np.ndarray  # (R, moments, quantities) float64, accuracies in [0, 1]
    codes: np.ndarray  # (K, 26) uint8
    params: np.ndarray  # (K,) int64


def _parse(batch: Batch, rows: dict[str, int]) -> _Parsed:
    """Takes records apart; new cells get the next rows in `rows`. Raises BadRecordError."""
    keys, epochs, adjacencies, operations, metrics = _items(batch.records)
    of_record = [rows.get(key) for key in keys]
    new: list[int] = []
    for index, row in enumerate(of_record):
        if row is None:
            key = keys[index]
            if key not in rows:
                if not _HASH.fullmatch(key):
                    raise BadRecordError(index, f"the hash {key!r} is not 32 hexadecimal digits")
                rows[key] = len(rows)
                new.append(index)
            of_record[index] = rows[key]
    known = np.isin(epochs, BUDGETS)
    if not known.all():
        index = int(np.argmin(known))
        raise BadRecordError(index, f"{epochs[index]} epochs, not one of {', '.join(map(str, BUDGETS))}")
    values, params = read_messages(_messages(metrics))
    return _Parsed(
        np.array(of_record, dtype=np.int32),
        np.array(epochs, dtype=np.int16),
        values,
        _codes([(adjacencies[index], operations[index]) for index in new], new),
        params[new],
    )


_ITEMS = {"hash": str, "epochs": int, "adjacency": str, "operations": str, "metrics": str}


def _items(records: list[bytes]) -> list[tuple[Any, ...]]:
    """The five items of every record: five tuples of R. Raises BadRecordError."""
    try:
        lists = json.loads(b"[" + b",".join(records) + b"]")  # one call for all takes half the time of one for each
    except (ValueError, RecursionError):
        lists = []
    if len(lists) != len(records):
        lists = [_one_list(index, record) for index, record in enumerate(records)]
    for index, items in enumerate(lists):
        if type(items) is not list or len(items) != len(_ITEMS):
            raise BadRecordError(index, f"not a JSON list [{', '.join(_ITEMS)}]")
    columns = list(zip(*lists, strict=True))
    for (name, kind), column in zip(_ITEMS.items(), columns, strict=True):
        if set(map(type, column)) != {kind}:
            index = next(index for index, item in enumerate(column) if type(item) is not kind)
            raise BadRecordError(index, f"its {name} is {column[index]!r}, not of type {kind.__name__}")
    return columns


def _one_list(index: int, record: bytes) -> Any:
    try:
        return json.loads(record)
    except (ValueError, RecursionError) as error:
        raise BadRecordError(index, f"not a JSON list [{', '.join(_ITEMS)}]: {error}") from error


def _messages(metrics: Sequence[str]) -> list[bytes]:
    """The serialised messages; the official files have line breaks in the base64 text. Raises BadRecordError."""
    messages: list[bytes] = []
    try:
        messages.extend(map(binascii.a2b_base64, metrics))
    except ValueError as error:
        raise BadRecordError(len(messages), f"its metrics are not base64 text: {error}") from error
    return messages


def _codes(cells: list[tuple[str, str]], indices: list[int]) -> np.ndarray:
    """(K, 26) codes of (raw_adjacency, raw_operations), as `NasBench101.to_codes` makes them but many at a time.

    indices: of the cells' records, for the error message.
    """
    codes = np.zeros((len(cells), NUM_EDGES + INNER), dtype=np.uint8)
    done = np.zeros(len(cells), dtype=bool)
    lengths = np.array([len(adjacency) for adjacency, _ in cells])
    names = {name: number for number, name in enumerate(dict.fromkeys(name for _, name in cells))}
    listed = np.array([names[name] for _, name in cells], dtype=np.int64)
    ops = np.array([_op_codes(name) for name in names], dtype=np.uint8).reshape(-1, INNER)[listed]
    vertices = np.array([name.count(",") + 1 for name in names])[listed] * ops.any(1)
    for n in range(3, MAX_VERTICES + 1):
        rows = np.flatnonzero((lengths == n * n) & (vertices == n))
        text = "".join([cells[row][0] for row in rows]).encode("ascii", "replace")
        edges = (np.frombuffer(text, dtype=np.uint8) - ord("0")).reshape(-1, n, n)
        allowed = np.triu(np.ones((n, n), dtype=np.uint8), 1)
        done[rows] = (
            (edges <= allowed).all((1, 2))
            & (edges[:, :-1].max(2).min(1) > 0)  # no vertex to prune: all have a successor
            & (edges[:, :, 1:].max(1).min(1) > 0)  # and a predecessor
        )
        sources, targets = np.triu_indices(n, 1)
        codes[rows[:, None], edge_columns(n)] = edges[:, sources, targets]
        codes[rows, NUM_EDGES:] = ops[rows]
    space = NasBench101()
    for row in np.flatnonzero(~done):  # two vertices, something to prune, or wrong
        try:
            codes[row] = space.to_codes([space.from_raw(*cells[row])])[0]
        except ValueError as error:
            raise BadRecordError(indices[row], str(error)) from error
    return codes


def _op_codes(operations: str) -> list[int]:
    """The five operation codes of a cell of 3 to 7 vertices, all 0 for any other text."""
    first, *inner, last = operations.split(",") if "," in operations else ("", "")
    if (first, last) != (INPUT, OUTPUT) or not 0 < len(inner) <= INNER or not set(inner) <= set(OPS):
        return [0] * INNER
    return [*(OPS.index(name) + 1 for name in inner), *[0] * (INNER - len(inner))]
