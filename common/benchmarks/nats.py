"""The NATS-Bench topology folder (`NATS-tss-v1_0-3ffb9-simple/`): read once, without running anything, then cached."""

from __future__ import annotations

import bz2
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from common.benchmarks.files import cached_arrays
from common.benchmarks.nasbench201_pth import SCHEDULES, results_arrays, results_table, take_accuracies, unmeasured
from common.benchmarks.pickles import PlainUnpickler
from common.benchmarks.table import BenchmarkTable, Source
from common.errors import InputError
from common.inputs import size_of

KIND = "nats"
META = "meta.pickle.pbz2"  # the names of all architectures
RESULTS = "{:06d}.pickle.pbz2"  # of each of them
CELL_MARK = b"~0|"  # stands in every cell string, and in no architecture of NATS-Bench's size space
HEAD = 64 << 10
UNPACKED = 64 << 20  # bytes of one file, far above any of the benchmark


def matches(path: Path) -> bool:
    meta = path / META
    if not meta.is_file():  # nor a pipe
        return False
    try:
        with bz2.open(meta) as file:
            return CELL_MARK in file.read(HEAD)
    except (OSError, EOFError):
        return False


def read(path: Path) -> BenchmarkTable:
    """The table in the benchmark's index order, with the columns of the `.pth` reader.

    The first load reads one file an architecture; later ones read a cache of a few MB (see `cached_arrays`).

    Raises: InputError when a file is missing or damaged.
    """
    stats = [entry.stat() for entry in os.scandir(path)]
    size = sum(stat.st_size for stat in stats)
    newest = max(stat.st_mtime_ns for stat in stats)
    arrays = cached_arrays(path, f"{len(stats)} {size} {newest}", lambda: _read_results(path))
    return results_table(Source(KIND, f"NATS-Bench topology space {path.name}", str(path), size), arrays)


def _read_results(path: Path) -> dict[str, np.ndarray]:
    from tqdm import tqdm

    name = META
    try:
        texts = list(_load(path / META)["meta_archs"])
        values = unmeasured(len(texts))
        for index in tqdm(range(len(texts)), desc="NATS-Bench, once", unit="arch", leave=False, disable=None):
            name = RESULTS.format(index)
            trained = dict(_load(path / name))
            for epochs in SCHEDULES.values():
                if str(epochs) in trained:
                    take_accuracies(values, index, epochs, trained[str(epochs)])
    except Exception as error:  # a damaged pickle can fail in any way
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise InputError(f"{path / name}: missing or damaged ({reason}); unpack the folder again") from error
    return results_arrays(path, texts, values)


def _load(file: Path) -> Any:
    size_of(file)
    with bz2.open(file) as packed:
        content = packed.read(UNPACKED + 1)
    if len(content) > UNPACKED:
        raise ValueError(f"more than {UNPACKED:,} bytes in it")
    return PlainUnpickler(io.BytesIO(content)).load()
