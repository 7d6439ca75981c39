"""The ReNAS demo's folder: feature tensors `data_{i}.npy` [n, C, V, V] with `label_{i}.npy` [n, 8], i = 0, 1, ...

The tensors (3 GB in the demo) stay on disk: rows are read straight into the array that is handed out.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from common.benchmarks.files import accuracy_column
from common.benchmarks.table import BenchmarkTable, Column, Source
from common.errors import InputError
from common.inputs import read_json
from common.runs.arrays import read_npy, read_npy_header

KIND = "demo_shards"
DATASET = "cifar10"
EPOCHS = (54, 108)  # NAS-Bench-101's training is recorded half-way and at the end
SPLITS = ("train", "valid", "test")
LABELS = len(EPOCHS) * (1 + len(SPLITS))  # per moment: training time, then the accuracies of SPLITS
MANIFEST = "shards.json"  # what encode_nasbench101.py says of the folder that it writes: shards, cells, finished
_DATA = re.compile(r"data_(\d+)\.npy")


class Shard(NamedTuple):
    """One tensor file: rows first .. first + length - 1 of all, from byte `offset` on."""

    path: Path
    first: int
    length: int
    offset: int


@dataclass(frozen=True)
class ShardedTensors:
    """The tensors of all shards as one sequence of rows; holds no tensor and no open file."""

    shards: tuple[Shard, ...]
    shape: tuple[int, int, int]
    dtype: np.dtype

    def __len__(self) -> int:
        return self.shards[-1].first + self.shards[-1].length

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """(n, C, V, V) in the files' own dtype, one read for every run of consecutive indices.

        Raises: IndexError for a row outside the table, InputError when a file was cut short since it was opened.
        """
        indices = np.asarray(indices, dtype=np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"rows {indices.min()}..{indices.max()} of a table of {len(self)}")
        out = np.empty((len(indices), *self.shape), dtype=self.dtype)
        owners = np.searchsorted([shard.first for shard in self.shards], indices, side="right") - 1
        for owner in np.unique(owners):
            shard = self.shards[owner]
            positions = np.flatnonzero(owners == owner)
            local = indices[positions] - shard.first
            starts = np.flatnonzero((np.diff(local, prepend=-2) != 1) | (np.diff(positions, prepend=-2) != 1))
            lengths = np.diff(starts, append=len(local))
            with shard.path.open("rb", buffering=0) as file:
                for row, to, length in zip(local[starts], positions[starts], lengths, strict=True):
                    self._fill(out[to : to + length], shard, int(row), file)
        return out

    def _fill(self, out: np.ndarray, shard: Shard, row: int, file: IO[bytes]) -> None:
        """Read the file's rows from `row` on into the contiguous `out`."""
        view = out.data.cast("B")
        file.seek(shard.offset + row * out[0].nbytes)
        done = 0
        while done < len(view):  # one call hands over at most 2 GB
            got = file.readinto(view[done:])  # type: ignore[attr-defined]
            if not got:
                raise InputError(f"{shard.path}: was cut short while in use; restore the file")
            done += got


def matches(path: Path) -> bool:
    return path.is_dir() and bool(_shard_numbers(path))


def read(path: Path) -> BenchmarkTable:
    """The table: no architectures, only tensors (`prepared`) and what was measured for them.

    Columns: `cifar10_{train|valid|test}_{54|108}` in percent and `time_s_{54|108}`. Folders of fractions and of
    percentages are both read: where most accuracies are within [0, 1], all are fractions and multiplied by 100.

    Raises: InputError naming the file, and the row where there is one, when a shard is missing or cut short, shapes,
    numbers of rows or the folder's manifest (which need not be there) do not agree, a label is not a finite number, or
    an accuracy is out of range.
    """
    count = _count_shards(path)
    tensors = _open_tensors([path / f"data_{i}.npy" for i in range(count)])
    _check_manifest(path / MANIFEST, count, len(tensors))
    labels = np.concatenate([_load_labels(path / f"label_{i}.npy", tensors.shards[i]) for i in range(count)])
    accuracies = labels.reshape(-1, len(EPOCHS), 1 + len(SPLITS))[:, :, 1:]
    scale = 100.0 if np.median(accuracies) <= 1 else 1.0  # not the maximum: one wild label must not decide

    def row_name(row: int) -> str:
        shard = next(number for number, s in enumerate(tensors.shards) if row < s.first + s.length)
        return f"label_{shard}.npy row {row - tensors.shards[shard].first}"

    columns: dict[str, Column] = {}
    for moment, epochs in enumerate(EPOCHS):
        for position, split in enumerate(SPLITS):
            values = accuracies[:, moment, position] * scale
            column = accuracy_column(path, DATASET, split, epochs, values, row_name=row_name)
            columns[column.name] = column
        name, times = f"time_s_{epochs}", labels[:, moment * (1 + len(SPLITS))]
        columns[name] = Column(name, times.copy(), "s", epochs=epochs)
    size = sum(file.stat().st_size for i in range(count) for file in (path / f"data_{i}.npy", path / f"label_{i}.npy"))
    source = Source(KIND, f"prepared feature tensors in {path.name}", str(path), size, _checksum(labels, tensors))
    return BenchmarkTable(source, columns, prepared=tensors)


def _check_manifest(manifest: Path, shards: int, cells: int) -> None:
    """Raises InputError where the folder is not what was to be written into it."""
    if not manifest.exists():
        return  # the demo's folder has none
    try:
        said = read_json(manifest)
        finished, expected = said["finished"], (said["shards"], said["cells"])
    except (InputError, KeyError, TypeError):
        raise InputError(f"{manifest}: not a manifest of shards; write the folder again") from None
    if finished is not True:
        raise InputError(f"{manifest}: the writing of these shards was interrupted; give its command again")
    if expected != (shards, cells):
        raise InputError(
            f"{manifest}: {expected[0]} shards of {expected[1]:,} cells were written, but {shards} of {cells:,} are "
            "here; write them again into an empty folder"
        )


def _checksum(labels: np.ndarray, tensors: ShardedTensors) -> str:
    """SHA-256 of all labels and of the first tensor of each shard: the other 3 GB would take longer than the run."""
    digest = hashlib.sha256(labels.tobytes())
    digest.update(tensors.rows(np.array([shard.first for shard in tensors.shards])).tobytes())
    return digest.hexdigest()


def _shard_numbers(path: Path) -> set[int]:
    return {int(match[1]) for file in path.iterdir() if (match := _DATA.fullmatch(file.name))}


def _count_shards(path: Path) -> int:
    """How many shards the folder holds. Raises InputError when one is missing in the sequence, or its labels."""
    numbers = _shard_numbers(path)
    count = max(numbers) + 1
    for number in range(count):
        for name in (f"data_{number}.npy", f"label_{number}.npy"):
            if not (path / name).is_file():
                raise InputError(
                    f"{path / name}: missing; data_0..data_{count - 1} need a tensor and a label file each"
                )
    return count


def _open_tensors(paths: list[Path]) -> ShardedTensors:
    shards: list[Shard] = []
    kinds = []
    rows = 0
    for path in paths:
        shape, dtype, offset = read_npy_header(path)
        if len(shape) != 4 or shape[0] < 1 or shape[2] != shape[3]:
            raise InputError(f"{path}: shape {shape}; tensors [n, channels, vertices, vertices] are needed")
        if dtype not in (np.float32, np.float64):
            raise InputError(f"{path}: holds {dtype}; float32 or float64 of this machine's byte order is needed")
        kinds.append((shape[1:], dtype))
        if kinds[-1] != kinds[0]:
            raise InputError(
                f"{path}: tensors {kinds[-1][0]} {dtype}, but {paths[0].name} has {kinds[0][0]} {kinds[0][1]}"
            )
        shards.append(Shard(path, rows, shape[0], offset))
        rows += shape[0]
    (shape, dtype) = kinds[0]
    return ShardedTensors(tuple(shards), shape, dtype)


def _load_labels(path: Path, shard: Shard) -> np.ndarray:
    shape, dtype, _ = read_npy_header(path)
    if shape != (shard.length, LABELS) or dtype.kind != "f":
        raise InputError(
            f"{path}: {dtype} {shape}; {shard.path.name} asks for floating-point ({shard.length}, {LABELS})"
        )
    labels = read_npy(path).astype(np.float64, copy=False)
    wrong = np.flatnonzero(~np.isfinite(labels).all(axis=1))
    if wrong.size:
        raise InputError(f"{path}: row {wrong[0]}: a label is not a finite number: {labels[wrong[0]].tolist()}")
    return labels
